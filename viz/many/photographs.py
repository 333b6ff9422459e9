"""Photographs by the thousand: a folder, a tar archive or a list of paths, in batches of files still encoded.

A photograph is known by its place in the order of the source, by its name there, and by its bytes. Only names are kept
in memory.
"""

import hashlib
import os
import warnings
from array import array
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, tee
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

import models
from minigrad.nn import Module
from models import class_list
from models.class_list import read_class_list
from models.dataset import SUFFIXES, archived
from models.images import ImageError
from models.mistakes import UserError

from ..style import luminance
from ..target import channels


@dataclass(frozen=True)
class Batch:
    """Photographs `first`, `first` + 1 and so on of a source. files: the bytes of each, or a sentence why there are
    none. modified: when, in nanoseconds since 1970, 0 where there are none."""

    first: int
    names: tuple[str, ...]
    files: tuple[bytes | str, ...]
    modified: tuple[int, ...]


class Files:
    """Pictures below a folder, by their paths from there."""

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root, self.names = root, names

    @property
    def class_list(self) -> bytes | None:
        """The content of a classes.txt beside them; None where there is none."""
        listing = self.root / class_list.NAME
        return listing.read_bytes() if listing.is_file() else None

    def stamp(self, place: Any) -> tuple | None:
        """(bytes, when modified) of a file; None if there is none."""
        try:
            found = os.stat(self.root / self.names[place])
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def read(self, places: Iterable[int]) -> Iterator[bytes | str]:
        """The file at each of the places in `names`, which ascend."""
        for place in places:
            path = self.root / self.names[place]
            try:
                yield path.read_bytes()
            except OSError as error:
                yield f"{error.strerror or error}"


def below(root: Path) -> Files:
    """The pictures in a folder and in all folders below it, in order of their names."""
    found = []
    for parent, folders, files in os.walk(root, onerror=_left_out):
        folders[:] = [name for name in folders if not name.startswith(".")]
        pictures = [name for name in files if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")]
        found += [Path(parent, name).relative_to(root).as_posix() for name in pictures]
    return Files(root, sorted(found))


def _left_out(error: OSError) -> None:
    warnings.warn(f"{error.filename} is left out, for it cannot be read: {error.strerror}", stacklevel=2)


def listed(path: Path) -> Files:
    """The pictures that a text names, a path on each line, from the text's folder; one may stand there twice."""
    with open(path, encoding="utf-8-sig") as file:
        return Files(path.parent, [line for line in map(str.strip, file) if line])


class Archive:
    """The pictures in a tar archive, in its own order, for a compressed one can only be read from its beginning."""

    def __init__(self, path: Path) -> None:
        self.root, self.names, self.class_list = path, [], None
        self.sizes, self.modified = array("q"), array("q")
        for member, read in archived(self.root):
            if PurePosixPath(member.name).name == class_list.NAME:
                self.class_list = read()
            else:
                self.names.append(member.name)
                self.sizes.append(member.size)
                self.modified.append(int(1e9 * member.mtime))

    def stamp(self, place: Any) -> tuple | None:
        return self.sizes[place], self.modified[place]

    def read(self, places: Iterable[int]) -> Iterator[bytes | str]:
        """As those of Files; the archive is read once, up to the last of the places."""
        wanted, place = iter(places), -1
        next_one = next(wanted, None)
        for member, read in archived(self.root):
            if next_one is None:
                return
            if PurePosixPath(member.name).name == class_list.NAME:
                continue
            place += 1
            if place == next_one:
                yield read()
                next_one = next(wanted, None)


class Source:
    """Photographs in order. names: of those taken. folders: the names of those that they lie in. key: a checksum of
    the names."""

    def __init__(self, path: Path, count: int | None = None) -> None:
        """path: a folder, a tar archive, or a text with a path on each line. count: take so many, evenly spaced."""
        self._files = _opened(Path(path))
        if not self._files.names:
            raise UserError(f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))})")
        whole = len(self._files.names)
        self.places = np.arange(whole) if count is None else np.arange(min(count, whole)) * whole // min(count, whole)
        self.path, self.names = Path(path), [in_unicode(self._files.names[place]) for place in self.places]
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(f"{name}\n".encode())
        self.key = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.names)

    def where(self, place: int) -> Path:
        """The Path of a photograph, below that of an archive, for what is said of it."""
        return self._files.root / self.names[place]

    @property
    def folders(self) -> set[str]:
        return {PurePosixPath(name).parent.name for name in self.names}

    def class_rows(self) -> dict | None:
        """{folder: (name, ImageNet indices)} of a classes.txt beside them, by label; None where there is none. Raises
        DatasetError."""
        if self._files.class_list is None:
            return None
        rows = read_class_list(self._files.class_list, self.path)
        return {row.folder: (row.name, row.imagenet) for row in rows}

    def files(self, wanted: Iterable[int]) -> Iterator[tuple[int, bytes | str]]:
        """(place in `names`, bytes or a sentence) of each of the places, which ascend."""
        wanted, again = tee(wanted)
        yield from zip(wanted, self._files.read(self.places[i] for i in again), strict=True)

    def batches(self, size: int, done: Container[int] = frozenset()) -> Iterator[Batch]:
        """Batches of `size` photographs, but for those whose first one's place is in `done`."""

        def spans() -> Iterator[range]:
            for first in range(0, len(self), size):
                if first not in done:
                    yield range(first, min(first + size, len(self)))

        files = self.files(chain.from_iterable(spans()))
        for span in spans():
            modified = tuple((self.stamp(i) or (0, 0))[1] for i in span)  # before they are read: see `changed`
            yield Batch(span.start, tuple(self.names[i] for i in span), tuple(next(files)[1] for _ in span), modified)

    def stamp(self, place: Any) -> tuple | None:
        return self._files.stamp(self.places[place])

    def changed(self, rows: list[dict]) -> set[int]:
        """The places of photographs that are others now than those of a store's rows, which ascend. As git does, it
        reads those alone whose size or time is another; one that is gone has not changed."""
        differ = (
            row for row in rows if self.stamp(int(row["photograph"])) != (int(row["bytes"]), int(row["modified"]))
        )
        differ, again = tee(differ)
        files = self.files(int(row["photograph"]) for row in again)
        return {
            place
            for row, (place, file) in zip(differ, files, strict=True)
            if isinstance(file, bytes) and hashlib.sha256(file).hexdigest() != row["sha256"]
        }


def in_unicode(name: str) -> str:
    """The name; of one that is not UTF-8, with the bytes that are not as escapes, such as "caf\\xe9.jpg"."""
    found = os.fsencode(name).decode("utf-8", "backslashreplace")
    return name if found == name else found  # the same object: the names are what a long run keeps in memory


def _opened(path: Path) -> Files | Archive:
    kinds = "a folder, a tar archive, a text with a path on each line, or a picture"
    if path.is_dir():
        return below(path)
    if not path.exists():
        raise UserError(f"{path} does not exist: give {kinds}")
    if path.suffix.lower() in SUFFIXES:
        return Files(path.parent, [path.name])
    import tarfile

    if tarfile.is_tarfile(path):
        return Archive(path)
    try:
        return listed(path)
    except UnicodeDecodeError:
        raise UserError(f"{path} is none of these: {kinds}") from None


def decoded(model: Module, batch: Batch) -> tuple:
    """((N,C,H,W) images of those that can be read, at the model's input size; {place in the batch: sentence} of the
    others)."""
    images, errors = [], {}
    for place, file in enumerate(batch.files):
        if isinstance(file, str):
            errors[place] = file
            continue
        try:
            images.append(at_input_size(model, file))
        except ImageError as error:
            errors[place] = str(error)
    c = channels(model)
    return np.concatenate(images) if images else np.zeros((0, c, *model.input_size), np.float32), errors


def at_input_size(model: Module, picture: Any, load: Callable[..., np.ndarray] = models.load_image) -> np.ndarray:
    """(1,C,H,W) float32 in [0,1] of what load(picture, size, short_side) takes: at the model's input size,
    centre-cropped as the model asks; its luminance, (1,1,H,W), where the model sees grey.

    A picture of that size already, such as one saved by attack.py, is taken as it is.
    """
    size, short_side = model.input_size, model.short_side
    if short_side is None or (whole := load(picture)).shape[2:] != size:
        whole = load(picture, size, short_side)
    return in_channels(model, whole)


def thumbnail(model: Module, file: bytes) -> np.ndarray:
    """(3,H,W) for a page: the part that the network sees, in colour."""
    return models.load_image(file, model.input_size, model.short_side)[0]


def in_channels(model: Module, pictures: np.ndarray) -> np.ndarray:
    """Pictures (N,3,H,W) as the network takes them: (N,1,H,W), their luminance, for one that sees grey."""
    count = channels(model)
    if count not in (1, 3):
        raise UserError(
            f"{getattr(model, 'name', 'this network')} takes images of {count} channels, and a picture has three: call "
            "viz in Python, with arrays"
        )
    if count == 3 or pictures.shape[1] == 1:
        return pictures
    return pictures[:, :1] if (pictures == pictures[:, :1]).all() else luminance(pictures)
