"""Folders and archives of labelled photographs, decoded once into one array of bytes.

A data set is a folder, or a ``.tar``/``.tar.gz`` of one, laid out in either of two ways:

    DIR/train/<class>/*.jpg and DIR/val/<class>/*.jpg     the split is given
    DIR/<class>/*.jpg                                     the split is drawn, by a seed

``DIR/classes.txt``, when present, names and orders the classes (class_list.py), with labels 0, 1, 2 and so on. Without
it the classes are the folders in alphabetical order, under their own names.
"""

import hashlib
import io
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from . import class_list
from .catalogue import home
from .class_list import DatasetError, read_class_list
from .images import ImageError, load_image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
PARTS = ("train", "val")
FORMAT = 1  # of the cache; a change of what is stored makes old files unreachable


@dataclass(frozen=True)
class Photographs:
    """Every photograph of a data set: ``images`` (N,S,S,3) uint8 in RGB, memory-mapped, and what is known of each."""

    images: np.ndarray
    labels: np.ndarray  # (N,) int64, an index into classes
    parts: np.ndarray  # (N,) "train" or "val" where the folders say so, else ""
    digests: np.ndarray  # (N,) SHA-256 of the files' bytes
    names: tuple[str, ...]  # paths inside the data set
    classes: tuple[str, ...]
    folders: tuple[str, ...]  # the classes' folders

    def split(self, seed: int = 0, fraction: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
        """Indices for training and for validation, ascending; never the same picture on both sides.

        Folders named train and val decide for themselves. Otherwise ``fraction`` of each class, at least one picture,
        is held out, drawn by ``seed``; copies of a file count as one picture and stay together.
        """
        if not 0 < fraction < 1:
            raise DatasetError(f"the share held out must lie between 0 and 1, got {fraction}")
        if self.parts[0]:
            held_out = self.parts == "val"
            shared = np.isin(self.digests, self.digests[held_out]) & ~held_out
            if shared.any():
                name = self.names[int(np.flatnonzero(shared)[0])]
                raise DatasetError(f"{name} is in val too ({shared.sum()} such files): delete one copy of each")
        else:
            held_out = np.isin(self.digests, self._draw(np.random.default_rng(seed), fraction))
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def _draw(self, rng: np.random.Generator, fraction: float) -> np.ndarray:
        digests, first = np.unique(self.digests, return_index=True)
        owners = self.labels[first]
        chosen = []
        for label, name in enumerate(self.classes):
            pictures = digests[owners == label]
            if len(pictures) < 2:
                raise DatasetError(f"class {name} needs at least two different pictures, one of them to validate with")
            count = min(max(1, round(fraction * len(pictures))), len(pictures) - 1)
            chosen.append(rng.permutation(pictures)[:count])
        return np.concatenate(chosen)


class Joined:
    """Images (N,S,S,3) and (K,S,S,3) as one array (N+K,S,S,3) to take some from, nothing being copied before."""

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        if first.shape[1:] != second.shape[1:]:
            raise ValueError(f"images of shapes {first.shape[1:]} and {second.shape[1:]} cannot be joined")
        self.first, self.second = first, second
        self.shape = (len(first) + len(second), *first.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray:
        """(M,S,S,3): the images at the indices ``chosen`` (M,), none of them negative."""
        later = chosen >= len(self.first)
        images = np.empty((len(chosen), *self.shape[1:]), self.first.dtype)
        images[~later] = self.first[chosen[~later]]
        images[later] = self.second[chosen[later] - len(self.first)]
        return images


def open_photographs(
    path: str | Path, size: int = 128, cache: str | Path | None = None, progress: bool = False
) -> Photographs:
    """Decode the data set at ``path`` (a folder or tar archive), or find it decoded in the folder ``cache``.

    Each picture is turned upright, converted to RGB, resized so that its short side is ``size`` pixels, and cropped to
    its central square. The result is kept in ``cache`` (None: ``datasets`` in ``catalogue.home()``) under a name made
    from the listing (names, sizes, times of change), so a changed folder is decoded anew. ``progress`` shows a bar.
    Raises DatasetError for a layout that is neither of the two, and for a picture that cannot be read.
    """
    path = Path(path)
    source = _open_source(path)
    stem = Path(cache or home() / "datasets") / source.key(size)
    array, listing = stem.with_suffix(".npy"), stem.with_suffix(".json")
    if not (array.exists() and listing.exists()):  # the listing is written last: where it is, the array is whole
        _decode_all(source, size, array, listing, progress)
    facts = json.loads(listing.read_text())
    return Photographs(
        images=np.load(array, mmap_mode="r"),
        labels=np.array(facts["labels"], dtype=np.int64),
        parts=np.array(facts["parts"]),
        digests=np.array(facts["digests"]),
        names=tuple(facts["names"]),
        classes=tuple(facts["classes"]),
        folders=tuple(facts["folders"]),
    )


# ---------------------------------------------------------------- where the files are


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root
        files = (p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        self.names = sorted(p.relative_to(root).as_posix() for p in files if not _hidden(p.relative_to(root)))

    def key(self, size: int) -> str:
        facts = [(name, *_size_and_time(self.root / name)) for name in (*self.names, *self._class_file())]
        return _key(size, str(self.root.resolve()), facts)

    def _class_file(self) -> list[str]:
        return [class_list.NAME] if (self.root / class_list.NAME).is_file() else []

    def class_list(self) -> bytes | None:
        return (self.root / class_list.NAME).read_bytes() if self._class_file() else None

    def read(self) -> Iterator[tuple[str, bytes]]:
        for name in self.names:
            yield name, (self.root / name).read_bytes()


class _Archive:
    """A tar file whose pictures lie below one top folder or none. Read in its own order: a gzip stream has no index."""

    def __init__(self, path: Path) -> None:
        self.root = path

    def key(self, size: int) -> str:
        return _key(size, str(self.root.resolve()), _size_and_time(self.root))

    @cached_property
    def top(self) -> PurePosixPath:
        """The folder that everything lies in: ``birds`` in birds.tar.gz, or none."""
        pictures = [PurePosixPath(name) for name, _ in self._files(lambda path: path.suffix.lower() in SUFFIXES)]
        tops = {path.parts[0] for path in pictures}
        wrapped = len(tops) == 1 and not tops & set(PARTS) and all(len(path.parts) > 2 for path in pictures)
        return PurePosixPath(tops.pop() if wrapped else ".")

    @cached_property
    def names(self) -> list[str]:
        return sorted(str(path) for path, _ in self._below_top(lambda path: path.suffix.lower() in SUFFIXES))

    def class_list(self) -> bytes | None:
        for _, read in self._below_top(lambda path: path.name == class_list.NAME and path.parent == self.top):
            return read()
        return None

    def read(self) -> Iterator[tuple[str, bytes]]:
        wanted = set(self.names)
        for path, read in self._below_top(lambda path: path.suffix.lower() in SUFFIXES):
            if str(path) in wanted:
                yield str(path), read()

    def _below_top(self, wanted: Callable[[PurePosixPath], bool]) -> Iterator[Any]:
        for path, read in self._files(wanted):
            yield path.relative_to(self.top), read

    def _files(self, wanted: Callable[[PurePosixPath], bool]) -> Iterator[Any]:
        for member, read in archived(self.root):
            if wanted(path := PurePosixPath(member.name)):
                yield path, read


def archived(path: Path) -> Iterator[Any]:
    """(member, a function that gives its bytes) of the pictures in a tar archive, and every classes.txt, in its order;
    hidden ones are left out. Raises DatasetError for an archive that is damaged."""
    import tarfile

    try:
        with tarfile.open(path) as tar:
            while member := tar.next():
                tar.members.clear()  # type: ignore[attr-defined]  # not in typeshed; it would grow with the archive
                name = PurePosixPath(member.name)
                known = name.suffix.lower() in SUFFIXES or name.name == class_list.NAME
                if member.isfile() and known and not _hidden(name):
                    yield member, lambda member=member: cast(IO[bytes], tar.extractfile(member)).read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path} is damaged or cut short: {error}") from error


def _open_source(path: Path) -> _Folder | _Archive:
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise DatasetError(f"{path} does not exist: give a folder of class folders, or a tar archive of one")
    import tarfile

    if not tarfile.is_tarfile(path):
        raise DatasetError(f"{path} is neither a folder nor a tar archive")
    return _Archive(path)


def _hidden(path: PurePath) -> bool:
    return any(part.startswith(".") and part != "." for part in path.parts)


def _size_and_time(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _key(size: int, place: str, facts: Any) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, size, place, facts]).encode()).hexdigest()
    return f"{Path(place).name.split('.')[0]}-{size}px-{digest[:16]}"


# ---------------------------------------------------------------- which class, which part


@dataclass(frozen=True)
class _Listing:
    """What is known of the pictures before any is decoded, in order of name."""

    names: list[str]
    labels: list[int]
    parts: list[str]
    classes: list[str]
    folders: list[str]


def _list(names: list[str], listed: bytes | None, where: Path) -> _Listing:
    given = {name.split("/")[0] for name in names if name.count("/") > 1} & set(PARTS)
    if len(given) == 1:
        missing = next(part for part in PARTS if part not in given)
        raise DatasetError(f"{where} has a folder {given.pop()} but no folder {missing} with class folders in it")
    if given:  # pictures beside train and val belong to neither
        names = [name for name in names if name.split("/")[0] in PARTS]
    if not names:
        raise DatasetError(f"{where} holds no pictures ({', '.join(sorted(SUFFIXES))})")

    depth = 1 if given else 0
    steps = [name.split("/") for name in names]
    for name, path in zip(names, steps, strict=True):
        if len(path) < depth + 2:
            raise DatasetError(f"{where}: {name} lies outside any class folder")
    folders = [path[depth] for path in steps]
    parts = [path[0] if given else "" for path in steps]
    classes = _classes(listed, sorted(set(folders)), where)
    present = set(zip(parts, folders, strict=True))
    for part in PARTS if given else ():
        for folder in classes:
            if (part, folder) not in present:
                raise DatasetError(f"{where}: class {folder} has no pictures in {part}")

    index = {folder: i for i, folder in enumerate(classes)}
    return _Listing(names, [index[folder] for folder in folders], parts, list(classes.values()), list(classes))


def _classes(listed: bytes | None, folders: list[str], where: Path) -> dict[str, str]:
    """{folder: name} in order of label."""
    if len(folders) < 2:
        raise DatasetError(f"{where} has one class folder ({folders[0]}); a classifier needs at least two")
    if listed is None:
        return {folder: folder for folder in folders}
    rows = read_class_list(listed, where)
    classes = {row.folder: row.name for row in rows}
    if [row.label for row in rows] != list(range(len(rows))) or set(classes) != set(folders):
        raise DatasetError(f"{where}/{class_list.NAME} must list each class folder once, with labels 0, 1, 2 and so on")
    return classes


# ---------------------------------------------------------------- decoding


def _decode_all(source: _Folder | _Archive, size: int, array: Path, facts: Path, progress: bool) -> None:
    from tqdm import tqdm

    listing = _list(source.names, source.class_list(), source.root)
    place = {name: i for i, name in enumerate(listing.names)}
    digests = [""] * len(place)
    array.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=array.parent) as scratch:
        unfinished = Path(scratch) / "images.npy"
        shape = (len(place), size, size, 3)
        images = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
        for name, data in tqdm(source.read(), "decoding", len(place), unit="image", disable=not progress):
            if name in place:
                images[place[name]] = decode(data, size, f"{source.root}/{name}")
                digests[place[name]] = hashlib.sha256(data).hexdigest()
        images.flush()
        written = Path(scratch) / "facts.json"
        written.write_text(json.dumps({**asdict(listing), "digests": digests}))
        os.replace(unfinished, array)
        os.replace(written, facts)


def decode(data: bytes, size: int, name: str) -> np.ndarray:
    """(size,size,3) uint8: the central square of an encoded picture, as ``load_image`` gives it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (2 * size, 2 * size))  # lets a JPEG decode large photographs at a fraction of their size
            pixels = load_image(image, size)[0]
    except UnidentifiedImageError:  # whose message names only the bytes in memory
        raise DatasetError(f"{name} cannot be read as a picture (no known format): replace or delete it") from None
    except (Image.DecompressionBombError, ImageError, OSError, SyntaxError) as error:
        raise DatasetError(f"{name} cannot be read as a picture ({error}): replace or delete it") from error
    return np.rint(pixels * 255).astype(np.uint8).transpose(1, 2, 0)
