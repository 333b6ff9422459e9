"""The files of a result: names for them, and arrays, pictures and records written whole or not at all."""

import functools
import hashlib
import io
import json
import math
import os
import platform
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
import models
import viz
from minigrad.serialization import replacing
from models.mistakes import UserError
from models.own import is_own
from viz.intervals import Estimate

RECORDED = (
    "minigrad",
    "numpy",
    "scipy",
    "h5py",
    "pillow",
    "matplotlib",
    "scikit-image",
    "cupy-cuda12x",
    "cupy-cuda13x",
)


LONGEST = 100  # characters of a file's name, without its ending


def file_stem(*parts: str) -> str:
    """A file name from any text: letters, digits, "-" and "." stay, runs of anything else become one "_".

    A long one is cut, and ends in a checksum of the whole.
    """
    name = re.sub(r"[^\w.-]+", "_", "_".join(parts)).strip("._") or "result"
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 7].rstrip('._')}_{checksum(name)}"


def network_name(model: str) -> str:
    """What --model's network is called in results: by its file, or by its module and function."""
    return model.replace(":", ".").replace(".", "_") if is_own(model) else Path(model).stem


def source_name(path: Path) -> str:
    """What a folder of photographs is called in results; an archive or a list, by its name without endings."""
    name = path.resolve().name
    return name.partition(".")[0] or name if path.is_file() else name


def checksum(text: str) -> str:
    """Six hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def in_words(option: str, value: Any) -> str:
    """An option that is not at its default, for a file's name: "steps-100", "signed", "channels-3-17"."""
    if value is True:
        return option
    listed = value if isinstance(value, list | tuple) else [value]
    texts = [
        Path(str(one)).stem if "/" in str(one) else f"{one:.4g}" if isinstance(one, float) else str(one)
        for one in listed
    ]
    return "-".join([option, *texts])


def plain(value: Any) -> Any:
    """`value` as JSON knows it: arrays as lists, paths and dtypes as text, NaN and infinities as null."""
    if isinstance(value, dict):
        found = {str(key): plain(item) for key, item in value.items()}
        known = {key: [one.low, one.high] for key, one in value.items() if isinstance(one, Estimate)}
        return found | {f"{key}_interval": plain(interval) for key, interval in known.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def code_sha256() -> str:
    """A checksum of the code that computes: minigrad, models and viz as they are installed."""
    digest = hashlib.sha256()
    for package in (minigrad, models, viz):
        root = Path(package.__file__).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root.parent).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def versions() -> dict[str, str]:
    """{package: version} of what a result depends on, as far as it is installed.

    By the names of the folders in which packages are recorded, NAME-VERSION.dist-info or .egg-info: importlib.metadata,
    which reads what is in them, takes ten times as long.
    """
    installed = {}
    for recorded in (path for folder in sys.path for path in Path(folder).glob("*-*.*-info")):
        name, number = recorded.stem.split("-")[:2]
        installed.setdefault(name.replace("_", "-").lower(), number)
    found = {"python": platform.python_version(), "platform": platform.platform()}
    return found | {name: installed[name] for name in RECORDED if name in installed}


def save_arrays(arrays: Mapping[str, Any], path: Path) -> None:
    """As np.savez_compressed does, but in a third of the time: floats hardly shrink further at its level, 6."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            file = io.BytesIO()
            np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980: the same arrays, the same bytes
            archive.writestr(entry, file.getbuffer(), zipfile.ZIP_DEFLATED, compresslevel=1)


def save_figure(figure: Any, path: Path) -> None:
    """A matplotlib Figure or a PIL image as PNG, compressed in a third of the time and a tenth larger."""
    if hasattr(figure, "savefig"):
        figure.savefig(path, format="png", pil_kwargs={"compress_level": 1})
    else:
        figure.save(path, format="png", compress_level=1)


def save(base: Path, suffix: str, write: Callable[[Path], Any]) -> Path:
    """Let `write(path)` make the file `base` + suffix, which is replaced as a whole; returns its path."""
    path = base.with_name(base.name + suffix)
    with replacing(path) as temporary:
        write(temporary)
    return path


def as_json(record: Mapping[str, Any]) -> str:
    return json.dumps(plain(record), indent=1, ensure_ascii=False) + "\n"


def asked(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record is the answer to: options (but for where results go), picture and weights, and whether it ended.

    A picture is known by its pixels, wherever it lies.
    """
    known = ("out", "store", "quiet", "workers", "scheduler", *(["image"] if record["image"] else []))
    options = {key: value for key, value in record["options"].items() if key not in known}
    return {"options": options} | {key: record[key] for key in ("image", "weights", "stopped_early")}


def answered(base: Path) -> dict[str, Any] | None:
    """What the result at `base` (a path without its suffix) is the answer to; None if there is no record."""
    try:
        return asked(json.loads(base.with_name(base.name + ".json").read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}  # somebody else's file, which stays


def described(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """{name: shape and dtype} of arrays."""
    return {name: {"shape": np.shape(array), "dtype": np.asarray(array).dtype} for name, array in arrays.items()}


def check_folder(out: Path) -> None:
    """Before any work: that `out` is or can become a folder that may be written to."""
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise UserError(f"--out {out}: {there} is not a folder")
    try:
        with tempfile.TemporaryDirectory(dir=there):
            pass
    except OSError as error:
        raise UserError(f"--out {out}: the folder {there} may not be written to ({error.strerror})") from None
