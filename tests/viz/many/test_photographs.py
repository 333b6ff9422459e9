"""A folder, a tar archive and a list give the same photographs in batches; one that cannot be read is told."""

import os
import shutil
import sys
import tarfile

import numpy as np
import pytest

import models
from models.mistakes import UserError
from viz.many.photographs import Source, decoded


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for name in ("cat", "dog", "zebra"):
        (root / name).mkdir()
        for n in range(3):
            models.save_image(rng.random((3, 20, 24)), root / name / f"{n}.png")
    (root / "notes.txt").write_text("none of it")
    (root / ".hidden").mkdir()
    shutil.copy(root / "cat" / "0.png", root / ".hidden" / "0.png")
    (root / "classes.txt").write_text(
        "# label folder name\n0\tcat\ttabby\t281,282\n1\tdog\thound\n2\tzebra\tzebra\t340\n"
    )
    return root


@pytest.fixture(scope="module", params=["folder", "tar", "tar.gz", "list"])
def path(request, folder, tmp_path_factory):
    if request.param == "folder":
        return folder
    if request.param == "list":
        path = folder / "list.txt"
        path.write_text("".join(f"{one.relative_to(folder)}\n" for one in sorted(folder.glob("[a-z]*/*.png"))))
        return path
    path = tmp_path_factory.mktemp("archive") / f"photographs.{request.param}"
    with tarfile.open(path, "w:gz" if request.param == "tar.gz" else "w") as tar:
        for one in ("classes.txt", "notes.txt", ".hidden", "cat", "dog", "zebra"):
            tar.add(folder / one, one)
    return path


def test_each_gives_all_files_in_order(path, folder):
    source = Source(path)
    assert sorted(source.names) == [f"{name}/{n}.png" for name in ("cat", "dog", "zebra") for n in range(3)]
    batches = list(source.batches(4))
    assert [(batch.first, len(batch.names)) for batch in batches] == [(0, 4), (4, 4), (8, 1)]
    for batch in batches:
        assert batch.names == tuple(source.names[batch.first : batch.first + 4])
        assert batch.files == tuple((folder / name).read_bytes() for name in batch.names)
    assert [batch.first for batch in source.batches(4, {0, 8})] == [4]
    assert next(source.batches(4, {0})).files == batches[1].files
    assert source.class_rows() == {"cat": ("tabby", (281, 282)), "dog": ("hound", ()), "zebra": ("zebra", (340,))}
    assert source.folders == {"cat", "dog", "zebra"}


def test_some_are_evenly_spaced(path):
    whole, some = Source(path), Source(path, 3)
    assert some.names == whole.names[::3] and len(Source(path, 100)) == 9 and some.key != whole.key
    (batch,) = some.batches(5)
    assert [name for name in batch.names] == some.names
    assert batch.files == tuple(file for _, file in whole.files([0, 3, 6]))


def test_what_cannot_be_read_is_told(tmp_path):
    model = models.build("minivgg", seed=0)
    models.save_image(np.random.default_rng(0).random((3, 8, 8)), tmp_path / "b.png")
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes((tmp_path / "b.png").read_bytes()[:100])
    (tmp_path / "list.txt").write_text("a.png\nb.png\nc.png\nd.png\nb.png\n")
    (batch,) = Source(tmp_path / "list.txt").batches(8)
    images, errors = decoded(model, batch)
    assert images.shape == (2, 3, *model.input_size)
    np.testing.assert_array_equal(
        images[0], models.load_image(tmp_path / "b.png", model.input_size, model.short_side)[0]
    )
    assert sorted(errors) == [0, 2, 3]
    assert "not a picture" in errors[0] and "cut short" in errors[2] and errors[3] == "No such file or directory"


@pytest.mark.parametrize(
    "name, said", [("nowhere", "does not exist"), ("empty", "holds no pictures"), ("bytes", "is none of these")]
)
def test_what_is_no_source_is_refused(tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=said):
        Source(tmp_path / name)


def test_a_damaged_archive_is_told(folder, tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(folder / "cat", "cat")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged or cut short"):
        Source(tmp_path / "a.tar.gz")


def test_one_picture_is_a_source_too(folder):
    source = Source(folder / "dog" / "1.png")
    (batch,) = source.batches(4)
    assert batch.names == ("1.png",) and batch.files == ((folder / "dog" / "1.png").read_bytes(),)


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take no such names")
@pytest.mark.parametrize("archived", [False, True])
def test_a_name_that_is_not_utf8_is_escaped(folder, tmp_path, archived):
    shutil.copy(folder / "cat" / "0.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    path = tmp_path
    if archived:
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(tmp_path / os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"caf\xe9.png"))
    (batch,) = Source(path).batches(4)
    assert batch.names == (r"caf\xe9.png",) and batch.files == ((folder / "cat" / "0.png").read_bytes(),)


def test_a_byte_order_mark_is_no_part_of_a_list(folder, tmp_path):
    (tmp_path / "list.txt").write_text(f"{folder / 'cat' / '0.png'}\n{folder / 'cat' / '1.png'}\n", "utf-8-sig")
    (batch,) = Source(tmp_path / "list.txt").batches(4)
    assert batch.files == tuple((folder / "cat" / f"{n}.png").read_bytes() for n in range(2))


def test_a_folder_that_cannot_be_read_is_told(folder, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if os.path.basename(path) == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.warns(UserWarning, match="dog is left out, for it cannot be read: Permission denied"):
        source = Source(folder)
    assert source.folders == {"cat", "zebra"}
