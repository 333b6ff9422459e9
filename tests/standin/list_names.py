"""What CuPy offers, from the real package: names of its functions and methods, and the arguments that they take.

    python -m venv out/cupy && out/cupy/bin/pip install cupy-cuda13x==14.2.0
    out/cupy/bin/python tests/standin/list_names.py

writes cupy_names.json beside this file, or, where it is there already, keeps of it what the installed CuPy has as well:
delete it first, then run this with the oldest and with the newest CuPy that are to be supported. No GPU is needed.
"""

import inspect
import json
import re
from pathlib import Path

PATH = Path(__file__).with_name("cupy_names.json")
MODULES = ("", "ndarray", "fft", "linalg", "lib.stride_tricks", "cuda", "cuda.runtime", "cuda.Device", "random")


def names(cupy):
    """{module or class: {name: what it is}}; "ufunc", "" for what is no function, or the names of its arguments."""
    found = {}
    for path in MODULES:
        owner = cupy
        for part in filter(None, path.split(".")):
            owner = getattr(owner, part)
        found[path] = {
            n: kind(cupy, getattr(owner, n)) for n in dir(owner) if n.endswith("__") or not n.startswith("_")
        }
    return found


def kind(cupy, value):
    if isinstance(value, cupy.ufunc):
        return "ufunc"
    return arguments(value) if callable(value) and not isinstance(value, type) else ""


def arguments(function):
    """Comma-separated names of arguments; "*" where any number of them is taken, "**" for any keyword."""
    try:
        return ", ".join(
            {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(p.kind.name, name)
            for name, p in inspect.signature(function).parameters.items()
            if name != "self"
        )
    except (TypeError, ValueError):  # compiled: the first line of its description has them
        first = (function.__doc__ or "").partition("\n")[0]
        listed = re.match(r"[\w.]+\(self(?:, )?(.*)\)", first)
        if listed is None:
            return "*, **"
        each = [argument.partition("=")[0].split()[-1] for argument in listed[1].split(", ") if argument]
        return ", ".join("*" if name.startswith("*") else name for name in each)


def in_both(one, other):
    """What two versions have in common, down to the arguments."""
    if isinstance(one, dict):
        return {name: in_both(value, other[name]) for name, value in one.items() if name in other}
    if one == other or "*, **" in (one, other):
        return other if one == "*, **" else one
    return ", ".join(name for name in one.split(", ") if name in other.split(", "))


if __name__ == "__main__":
    import cupy

    listed = {"versions": [cupy.__version__], "names": names(cupy)}
    if PATH.exists():
        before = json.loads(PATH.read_text())
        listed = {
            "versions": before["versions"] + listed["versions"],
            "names": in_both(before["names"], listed["names"]),
        }
    PATH.write_text(json.dumps(listed, indent=1, sort_keys=True) + "\n")
