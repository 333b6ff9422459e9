"""classes.txt: which classes the folders of photographs are, read in one way wherever such a file lies.

A line for each class: label, folder, name, and perhaps its ImageNet indices (281,282), separated by tabs. Other columns
and lines that start with # are ignored.
"""

import re
from typing import NamedTuple

NAME = "classes.txt"


class DatasetError(ValueError):
    """The folder or archive cannot be used as it is; the message says what to change."""


class ListedClass(NamedTuple):
    """imagenet: indices of the classes of ImageNet that it is, () where the file does not say."""

    label: int
    folder: str
    name: str
    imagenet: tuple[int, ...]


def read_class_list(content: bytes, where: object) -> list[ListedClass]:
    """The classes in the order of their labels. where: the file's folder, for sentences.

    Raises DatasetError for a line that is none, and for a label or a folder that comes twice.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DatasetError(f"{where}/{NAME} is not UTF-8: save it so, or rename it") from None
    rows = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    if any(len(row) < 3 or not re.fullmatch("[0-9]+", row[0]) for row in rows):
        raise DatasetError(
            f"{where}/{NAME}: each line must be label, folder, name, separated by tabs; rename a file that is another"
        )
    found = sorted(ListedClass(int(row[0]), row[1], row[2], _indices(row[3:4])) for row in rows)
    if len({one.label for one in found}) < len(found) or len({one.folder for one in found}) < len(found):
        raise DatasetError(f"{where}/{NAME} must list each class folder once, with a label of its own")
    return found


def _indices(column: list[str]) -> tuple[int, ...]:
    return tuple(map(int, re.findall("[0-9]+", column[0]))) if column and re.fullmatch("[0-9, ]+", column[0]) else ()
