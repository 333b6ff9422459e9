"""Opening HDF5 files that anybody may have written: no link followed, nothing larger than the file, plain errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

MOST_COMPRESSED = 64  # weights are noise: they do not shrink; data that unpacks to more than this is a trap


class WeightsError(ValueError):
    """A weights file that cannot be used; the message says why and, where it can, what to do."""


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[Any]:
    """The h5py.File at `path`, for reading; whatever fails inside becomes a WeightsError that names the file."""
    import h5py

    path = Path(path)
    if path.is_dir():
        raise WeightsError(f"{path} is a folder, not a weights file")
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}")
    if path.stat().st_size == 0:
        raise WeightsError(f"{path} is empty (zero bytes)")
    try:
        open(path, "rb").close()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror})") from None
    try:
        file = h5py.File(path, "r", locking=False)
    except Exception:  # HDF5's own messages are paragraphs
        raise WeightsError(f"{path} is not an HDF5 file, or is cut short") from None
    with file:
        try:
            yield file
        except WeightsError as error:
            raise WeightsError(f"{path}: {shown(error)}") from None
        except Exception as error:
            raise WeightsError(f"{path} is damaged ({shown(error)})") from None


def shown(error: object, longest: int = 500) -> str:
    """What an exception says, in one printable line: names that a file gives may hold anything and be of any length."""
    words = " ".join(str(error).split()) or type(error).__name__
    text = "".join(letter if letter.isprintable() else "?" for letter in words)
    return text if len(text) <= longest else f"{text[:longest]} ..."


def attribute(parent: Any, name: str) -> Any:
    """The value of an attribute of fixed size (text as bytes); None if it has none, or one of variable length.

    Those are never read: from a damaged one, the HDF5 library allocates gigabytes before it notices.
    """
    if name not in parent.attrs:
        return None
    kind = parent.attrs.get_id(name).dtype
    return parent.attrs[name] if kind.kind in "Siuf" else None


def node(parent: Any, name: str) -> Any:
    """parent[name], if it is really there and not a link to somewhere else; else WeightsError."""
    import h5py

    if type(parent.get(name, getlink=True)) is not h5py.HardLink:
        raise WeightsError(f"{name} is missing, or a link to another place or file, which is never followed")
    return parent[name]


def group(parent: Any, name: str) -> Any:
    """parent[name], if it is really there and a group; else WeightsError. (Walking a data set might never end.)"""
    import h5py

    found = node(parent, name)
    if not isinstance(found, h5py.Group):
        raise WeightsError(f"{name} is not a group")
    return found


def dataset(parent: Any, name: str) -> Any:
    """parent[name], if it is a data set with its values in this very file, no more than fit it; else WeightsError."""
    import h5py

    found = node(parent, name)
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise WeightsError(f"{name} is not a plain data set of this file")
    size, offset = found.file.id.get_filesize(), found.id.get_offset()
    if (offset is not None and offset + found.nbytes > size) or found.nbytes > MOST_COMPRESSED * size:
        raise WeightsError(f"{found.name} declares shape {found.shape}, more than the file holds")
    return found
