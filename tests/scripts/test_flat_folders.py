"""What --data takes: folders, archives and lists, of class folders or, for what needs no classes, of none."""

import json
import tarfile

import numpy as np
import pytest

import models
from models.mistakes import UserError
from tests.scripts import tiny
from viz.commands.labelled import labelled_images

COMMANDS = {
    "top_patches": ["--layer", "relu2_1", "--channels", 0, "--patches", 2],
    "embedding": [],
    "bias": [],
}


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """(weights, a folder of six pictures and a text)"""
    root, rng = tmp_path_factory.mktemp("flat"), np.random.default_rng(0)
    (root / "few").mkdir()
    for n in range(6):
        models.save_image(rng.random((3, 4, 4), np.float32).repeat(4, 1).repeat(4, 2), root / "few" / f"{n}.png")
    (root / "few" / "notes.txt").write_text("of a day")
    return tiny.write(root), root / "few"


def listed(folder, out):
    """The same pictures as a text that lists them."""
    (out / "few.txt").write_text("".join(f"{path}\n" for path in sorted(folder.glob("*.png"))))
    return out / "few.txt"


def packed(folder, out):
    """The same as an archive of the folder."""
    with tarfile.open(out / "few.tar", "w") as archive:
        archive.add(folder, "few")
    return out / "few.tar"


@pytest.mark.parametrize("of", [lambda folder, out: folder, listed, packed], ids=["folder", "list", "archive"])
@pytest.mark.parametrize("name", COMMANDS)
def test_pictures_will_do(script, flat, tmp_path, tmp_path_factory, name, of):
    weights, folder = flat
    folder = of(folder, tmp_path_factory.mktemp("of"))
    code, said, heard = script(name, "--data", folder, "--model", weights, "--out", tmp_path, *COMMANDS[name])
    assert code == 0, heard
    (record,) = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    numbers = record["numbers"]
    if name == "top_patches":
        assert all(found["class"] is None and found["activation"] > 0 for found in numbers["0"])
    elif name == "embedding":
        assert numbers["silhouette"] is None and numbers["images"] == 6 and "silhouette" not in said
    else:
        assert sum(row["images"] for row in numbers["rows"][:-1]) == numbers["rows"][-1]["images"] == 6
        assert set(numbers["rows"][0]) == {"class", "images", "area", "inside"} and "right" not in said


@pytest.mark.parametrize("name", ["evaluate_attribution", "robustness"])
def test_what_needs_classes_says_so(script, flat, name):
    code, _, heard = script(name, "--data", flat[1], "--model", flat[0])
    assert code == 2 and "holds no class folders" in heard


@pytest.fixture(scope="module", params=[".", "val"])
def given(request, tmp_path_factory):
    """{kind: the same photographs of four classes}, the folder's broken one among them."""
    root = tmp_path_factory.mktemp("given") / "few"
    folder = tiny.photographs(root / request.param)[0]
    (folder / "cat" / "9.png").write_bytes(b"no picture")
    (root / "classes.txt").write_text(
        "".join(f"{n}\t{name}\t{name.upper()}\t{n}\n" for n, name in enumerate(tiny.CLASSES))
    )
    for name in ("a.tar", "a.tgz"):
        with tarfile.open(root.parent / name, "w:gz" if name == "a.tgz" else "w") as tar:
            tar.add(root, "photographs")
    lines = [f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*.png"), reverse=True)]
    (root / "list.txt").write_text("".join(lines))
    return {"folder": root, "tar": root.parent / "a.tar", "tgz": root.parent / "a.tgz", "list": root / "list.txt"}


@pytest.mark.parametrize("kind", ["tar", "tgz", "list"])
def test_archives_and_lists_hold_what_the_folder_does(given, kind):
    with pytest.warns(UserWarning, match="left out 1 of 13 photographs, the first: .*cat/9.png: the picture is not"):
        whole, other = (labelled_images(given[one], 16, 100, 0) for one in ("folder", kind))
    assert (whole.names, whole.folders, whole.imagenet) == (other.names, other.folders, other.imagenet)
    assert whole.names == ("CAT", "DOG", "TIGER", "ZEBRA") and whole.imagenet == ((0,), (1,), (2,), (3,))
    assert len(whole.labels) == len(other.labels) == 12
    pixels = [
        {(label, image.tobytes()) for label, image in zip(of.labels, of.images, strict=True)} for of in (whole, other)
    ]
    assert pixels[0] == pixels[1] and len(pixels[0]) == 12
    for path, label in zip(other.paths, other.labels, strict=True):
        assert path.parent.name == tiny.CLASSES[label] and str(path).startswith(str(given[kind].parent))


@pytest.mark.parametrize(
    "name", ["evaluate_attribution", "robustness", "sanity_check", "embedding", "top_patches", "bias"]
)
def test_measuring_takes_archives(script, given, tmp_path, name):
    if name == "sanity_check":
        pytest.importorskip("skimage", reason="scikit-image is not installed: pip install 'minigrad[test]'")
    words = tiny.SHORT[name].replace("{DATA}", str(given["tar"])).split()
    words += ["--data", given["tar"], "--draws", 1] if name == "sanity_check" else []
    code, _, heard = script(name, *words, "--model", tiny.write(tmp_path), "--out", tmp_path)
    assert code == 0, heard


def test_a_class_without_pictures_is_told(tmp_path):
    tiny.photographs(tmp_path / "few")
    (tmp_path / "few" / "classes.txt").write_text("0\tcat\tcat\n1\thorse\thorse\n")
    with pytest.raises(UserError, match="lists the folder horse, which is not in it, or has no pictures"):
        labelled_images(tmp_path / "few", 16, 8, 0)
