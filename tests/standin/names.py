"""What CuPy has (cupy_names.json, made by list_names.py), and which arguments it takes."""

import json
from pathlib import Path

import numpy as np

LISTED = json.loads(Path(__file__).with_name("cupy_names.json").read_text())["names"]


def check(name, listed, args, kwargs):
    """TypeError for an argument that CuPy's function `name` does not take; listed: what it takes."""
    known = listed.split(", ") if listed else []
    if "*" not in known and len(args) > len(known):
        raise TypeError(f"cupy.{name} takes {len(known)} arguments ({listed}), got {len(args)}")
    if "**" not in known and (extra := kwargs.keys() - set(known)):
        raise TypeError(f"cupy.{name} takes no argument {', '.join(sorted(extra))}; it takes {listed}")


def wrapped(result, wrap):
    """NumPy's result, arrays and numbers in it by `wrap`."""
    if isinstance(result, np.ndarray | np.generic):
        return wrap(np.asarray(result))
    if isinstance(result, list | tuple):
        return (
            type(result)(*(wrapped(r, wrap) for r in result))
            if hasattr(result, "_fields")
            else type(result)(wrapped(r, wrap) for r in result)
        )
    return result
