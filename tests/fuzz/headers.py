"""Strategies that edit the JSON in valid files: sound JSON of absurd numbers, other names, missing and nested parts."""

import io
import json
import zipfile

from hypothesis import strategies as st

NUMBERS = (0, 1, -1, 2, 3, 7, 64, 1 << 12, 1 << 20, 1 << 31, -(1 << 40), 1 << 62, 0.5, None, True)
NAMES = ("Sequential", "Functional", "Dense", "Conv2D", "Conv2DTranspose", "UpSampling2D", "Reshape", "ZeroPadding2D")
NAMES += ("Add", "RandomFlip", "input_1", "first", "scores", "same", "nearest", "F64", "BF16", "I64", "", "??")


def _places(value, found):
    """(container, key) of everything within a value of JSON."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found.append((value, key))
        _places(value[key], found)
    return found


def _edit(draw, value):
    """One to five parts of a value of JSON changed, in place."""
    for _ in range(draw(st.integers(1, 5))):
        places = _places(value, [])
        if not places:
            return
        container, key = places[draw(st.integers(0, len(places) - 1))]
        change = draw(st.sampled_from(("number", "number", "name", "list", "other", "drop")))
        if change == "drop":
            del container[key]
        elif change == "other":  # a part from elsewhere: layers within layers, a layer twice
            source, name = places[draw(st.integers(0, len(places) - 1))]
            container[key] = json.loads(json.dumps(source[name]))
        else:
            one = draw(st.sampled_from(NAMES if change == "name" else NUMBERS))
            container[key] = [one] * draw(st.integers(0, 5)) if change == "list" else one


@st.composite
def edited_safetensors(draw, seeds):
    """A safetensors file with its header edited, of the right length."""
    content = draw(st.sampled_from(seeds))
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    _edit(draw, header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


@st.composite
def edited_archive(draw, seeds):
    """A Keras archive with its config.json edited."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(draw(st.sampled_from(seeds)))) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                _edit(draw, config)
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return made.getvalue()
