"""The order of texts in an attribute of variable length, from the bytes of an HDF5 file, without the HDF5 library.

From a damaged one the library allocates gigabytes before it notices. Here the file is its own bound. Such a text lies
in a global heap collection (HDF5 file format, III.E): "GCOL", a version, a size, then objects of an index, a size and
their bytes. The attribute's value is a row of references to them: length, address of the collection, index.
"""

import mmap
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

REFERENCE = struct.Struct("<IQI")
COLLECTION = struct.Struct("<4sB3xQ")
OBJECT = struct.Struct("<HHIQ")


def in_written_order(path: str | Path, names: Collection[str]) -> list[str] | None:
    """`names`, in the order in which some attribute of the file at `path` lists exactly them; None if none does."""
    wanted = {name.encode() for name in names}
    if not wanted:
        return []
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        text_of = {reference: text for reference, text in _heap_texts(content) if text in wanted}
        first = next(iter(wanted))
        for reference in [reference for reference, text in text_of.items() if text == first]:
            place = content.find(reference)
            while place >= 0:
                row = _row_around(content, place, text_of)
                if len(row) == len(wanted) == len(set(row)):
                    return [text.decode() for text in row]
                place = content.find(reference, place + 1)
    return None


def text_that_begins(path: str | Path, starts: tuple) -> bytes | None:
    """The first text of the file at `path` that begins with one of the bytes `starts`; None if none does."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return next((text for _, text in _heap_texts(content) if text.startswith(starts)), None)


def _heap_texts(content: Any) -> Iterator[tuple[bytes, bytes]]:
    """(reference, text) of every object of every collection."""
    start = content.find(b"GCOL")
    while start >= 0:
        if start + COLLECTION.size <= len(content):
            _, version, size = COLLECTION.unpack_from(content, start)
            end, place = min(start + size, len(content)), start + COLLECTION.size
            while version == 1 and place + OBJECT.size <= end:
                index, _, _, length = OBJECT.unpack_from(content, place)
                if index == 0 or place + OBJECT.size + length > end:  # 0 is the free space at the end
                    break
                text = content[place + OBJECT.size : place + OBJECT.size + length]
                yield REFERENCE.pack(length & 0xFFFFFFFF, start, index), text
                place += OBJECT.size + (length + 7) // 8 * 8
        start = content.find(b"GCOL", start + 4)


def _row_around(content: Any, place: int, text_of: dict) -> list | None:
    """The texts of the unbroken row of references that `place` is in."""
    step = REFERENCE.size
    while place >= step and content[place - step : place] in text_of:
        place -= step
    row = []
    while content[place : place + step] in text_of and len(row) < len(text_of):
        row.append(text_of[content[place : place + step]])
        place += step
    return row
