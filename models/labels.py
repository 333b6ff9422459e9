"""Class names: ImageNet's thousand, MiniVGG's twelve, and finding the one that a person means."""

import difflib
import functools
import operator
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .model import Model

MINIVGG_CLASSES = (
    "n01440764 tench, Tinca tinca",
    "n02102040 English springer, English springer spaniel",
    "n02121808 cat, domestic cat, house cat",
    "n02391049 zebra",
    "n02979186 cassette player",
    "n03000684 chain saw, chainsaw",
    "n03028079 church, church building",
    "n03394916 French horn, horn",
    "n03417042 garbage truck, dustcart",
    "n03425413 gas pump, gasoline pump, petrol pump, island dispenser",
    "n03445777 golf ball",
    "n03888257 parachute, chute",
)


class AmbiguousClass(ValueError):
    """A name that several classes have."""


class Label(str):
    """A class's short name; `.names` holds all its names and `.synset` its WordNet id ("" if it has none).

    Made from a line such as "n02123597 Siamese cat, Siamese", which `str(label.line)` gives back.
    """

    line: str
    names: tuple[str, ...]
    synset: str

    def __new__(cls, line: str) -> "Label":
        line = line.strip()
        synset, names = re.fullmatch(r"(n\d{8}\s)?(.*)", line, re.DOTALL).groups()
        names = tuple(name.strip() for name in names.split(",") if name.strip())
        if not names:
            raise ValueError(f"a class label needs a name, got {line!r}")
        label = super().__new__(cls, names[0])
        label.line, label.names, label.synset = line, names, (synset or "").strip()
        return label

    def __reduce__(self) -> tuple:
        return Label, (self.line,)


def read_labels(lines: Sequence[str]) -> tuple[Any, ...]:
    """The tuple of `Label`s in an iterable of lines; blank lines and lines that start with # are skipped."""
    return tuple(Label(line) for line in lines if line.strip() and not line.startswith("#"))


def class_names(given: Any) -> Any:
    """The tuple of `Label`s that is meant: "imagenet" for its thousand, the path of a text with a name on each line, or
    the names themselves; None stays None. Raises ValueError for what holds no names, OSError for a file not there."""
    if given is None or (isinstance(given, str) and given == "imagenet"):
        return given and imagenet_labels()
    if isinstance(given, str | Path):
        try:
            lines = Path(given).read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            raise ValueError(
                f"{given} is no text in UTF-8: give a file with the name of a class on each line"
            ) from None
    else:
        lines = [getattr(one, "line", one) for one in given]
    if not (found := read_labels(lines)):
        raise ValueError(f"there is no name of a class in {given!r}")
    return found


@functools.cache
def imagenet_labels() -> tuple[Any, ...]:
    """ImageNet's 1,000 classes, in order."""
    return read_labels((Path(__file__).parent / "imagenet.txt").read_text("utf-8").splitlines())


def minivgg_labels() -> tuple[Any, ...]:
    """The 12 classes that the embedded MiniVGG tells apart, in order."""
    return read_labels(MINIVGG_CLASSES)


def find_class(model: Model, wanted: int | str) -> int:
    """The index of a class of `model`, given as an index (284, "284"), a name, a WordNet id or a part of one name.

    "_" counts as a space, and case matters only between Cardigan (a dog) and cardigan. The first of these that fits
    decides: a class's short name, any of its names, whole words of the names of one class only, whole words of one
    short name only. Raises ValueError that lists the candidates of an ambiguous name, those called so
    by their second names too (AmbiguousClass), the names near an unknown one, or the range of indices.
    """
    labels = tuple(
        label if isinstance(label, Label) else Label(str(label)) for label in (getattr(model, "labels", None) or ())
    )
    if not isinstance(wanted, str):
        return _checked_index(model, wanted, labels)
    if re.fullmatch(r"\s*[+-]?\d+\s*", wanted):
        return _checked_index(model, int(wanted), labels)
    if not labels:
        raise ValueError(f"this model has no class names: give class {wanted!r} as an index")
    name = wanted.replace("_", " ").strip().casefold()
    if not name:
        raise ValueError("the class name is empty: give a name or an index")

    for fits in (
        lambda label: wanted == label,
        lambda label: name in (label.casefold(), label.synset),
        lambda label: name in (other.casefold() for other in label.names),
        lambda label: _has_words(label, name),
        lambda label: any(_has_words(other, name) for other in label.names),
    ):
        found = [index for index, label in enumerate(labels) if fits(label)]
        if len(found) == 1:
            return found[0]
        if found:
            found = [i for i, label in enumerate(labels) if i in found or _is_kind(label, name)]
            raise AmbiguousClass(f"class {wanted!r} is ambiguous, it may be {_listing(labels, found)}")
    raise ValueError(f"no class is called {wanted!r}{_near(labels, name)}")


def _is_kind(label: str, name: str) -> bool:
    """Whether a name of the class ends in these words: a tabby cat is a cat."""
    return any(other.casefold().endswith(f" {name}") for other in label.names)


def _has_words(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text.casefold()) is not None


def _checked_index(model: Any, index: int, labels: Sequence[Any]) -> int:
    try:
        index = operator.index(index)
    except TypeError:
        raise ValueError(f"a class is an index or a name, got {type(index).__name__}") from None
    count = len(labels) or _outputs(model)
    if not 0 <= index < count:
        raise ValueError(f"class {index} is out of range: this model has classes 0 to {count - 1}")
    return index


def _outputs(model: Any) -> int | None:
    """Outputs of the last layer that has weights (where the model carries no names to count)."""
    return [weight.shape[0] for name, weight in model.state_dict().items() if name.endswith("weight")][-1]


def _listing(labels: Sequence[Any], indices: Sequence[int], most: int = 8) -> str:
    shown = ", ".join(f"{index} {', '.join(labels[index].names)!r}" for index in indices[:most])
    rest = len(indices) - most
    return shown + (f" and {rest} more" if rest > 0 else "")


def _near(labels: Sequence[Any], name: str) -> str:
    """Names like the one asked for, whole or by one word of theirs ("retreiver" is near "golden retriever")."""
    by_piece = {}
    for label in labels:
        for other in label.names:
            for piece in dict.fromkeys((other, *other.split())):
                by_piece.setdefault(piece.casefold(), []).append(other)
    near = []
    for piece in difflib.get_close_matches(name, by_piece, n=5, cutoff=0.7):
        near += [other for other in by_piece[piece] if other not in near]
    if near:
        return f"; near names: {', '.join(near[:8])}"
    return (
        f"; the classes are: {', '.join(labels)}" if len(labels) <= 20 else ": see the model's labels for all of them"
    )
