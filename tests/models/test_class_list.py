"""classes.txt is read in one way, whoever asks: for training, for commands with --data, and by `over`."""

import numpy as np
import pytest

import models
from models.class_list import DatasetError, read_class_list
from models.dataset import open_photographs
from viz.commands.labelled import labelled_images
from viz.many.photographs import Source

GOOD = "\ufeff# label\tfolder\tname\n\n1\tdog\thound\n0\tcat\ttabby cat\t281, 282\t40\n"
WRONG = {
    b"cat\ndog\n": "each line must be label, folder, name, separated by tabs",
    b"0\tcat\n1\tdog\n": "each line must be label, folder, name",
    b"zero\tcat\tcat\n1\tdog\tdog\n": "each line must be label, folder, name",
    b"0\tcat\tcat\n0\tdog\tdog\n": "with a label of its own",
    b"0\tcat\tcat\n1\tcat\tdog\n": "must list each class folder once",
    b"0\tcat\tcaf\xe9\n1\tdog\tdog\n": "is not UTF-8",
}


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        models.save_image(np.full((3, 8, 8), 0.5), tmp_path / "set" / name / "0.png")
    return tmp_path / "set"


def readers(folder, cache):
    """What each reader makes of it: the classes' names in order."""
    yield lambda: list(open_photographs(folder, size=8, cache=cache).classes)
    yield lambda: list(labelled_images(folder, 8, 2, 0).names)
    yield lambda: [name for name, _ in Source(folder).class_rows().values()]


def test_rows_are_sorted_and_know_imagenet():
    assert read_class_list(GOOD.encode(), "here") == [(0, "cat", "tabby cat", (281, 282)), (1, "dog", "hound", ())]
    assert read_class_list(b"0\tcat\ttabby\ta note, 7 of them\n", "here")[0].imagenet == ()
    assert read_class_list(b"", "here") == []


def test_all_read_the_same_classes(folder, tmp_path):
    (folder / "classes.txt").write_text(GOOD, "utf-8")
    assert [read() for read in readers(folder, tmp_path)] == [["tabby cat", "hound"]] * 3


@pytest.mark.parametrize("content", WRONG)
def test_all_refuse_the_same_files(folder, tmp_path, content):
    (folder / "classes.txt").write_bytes(content)
    for read in readers(folder, tmp_path):
        with pytest.raises(DatasetError, match=WRONG[content]):
            read()


@pytest.mark.parametrize(
    ("content", "said"), [("0\tbird\tbird\n", "the folder bird, which is not in"), ("", "no class")]
)
def test_a_list_of_other_folders_is_refused(folder, content, said):
    (folder / "classes.txt").write_text(content)
    with pytest.raises(ValueError, match=f"classes.txt lists {said}"):
        labelled_images(folder, 8, 2, 0)
