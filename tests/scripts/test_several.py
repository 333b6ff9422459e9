"""Several photographs at one command: each as if alone, and a table; folders are classified, with their accuracy."""

import csv
import json
import shutil

import pytest

import models
from models.labels import read_labels
from tests.scripts import tiny


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, _ = tiny.photographs(tmp_path_factory.mktemp("pictures") / "few")
    return root


@pytest.fixture
def run(script, network, tmp_path):
    return lambda name, *argv: script(name, *argv, "--model", network, "--out", tmp_path / "out")


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_each_is_as_if_it_were_alone(run, folder, tmp_path):
    names = [folder / "cat" / "0.png", folder / "zebra" / "1.png"]
    code, said, _ = run("smooth_grad", *names, "--samples", 4)
    assert code == 0 and said.count("smoothgrad: ") + said.count("SmoothGrad: ") == 2 and "2 photographs -> " in said
    rows = read(tmp_path / "out" / "smooth_grad_2-photographs_tiny3.csv")
    assert [row["photograph"] for row in rows] == list(map(str, names))
    assert [row["explained"] for row in rows] == ["cat", "zebra"]
    together = json.loads((tmp_path / "out" / "smooth_grad_1_tiny3_samples-4.json").read_text())
    shutil.rmtree(tmp_path / "out")
    run("smooth_grad", names[1], "--samples", 4)
    alone = json.loads((tmp_path / "out" / "smooth_grad_1_tiny3_samples-4.json").read_text())
    assert together["numbers"] == alone["numbers"] and together["image"] == alone["image"]
    assert float(rows[1]["largest"]) == pytest.approx(alone["numbers"]["largest"])
    assert not list((tmp_path / "out").glob("*.csv"))


def test_one_that_cannot_be_read_is_a_row(run, folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    code, said, _ = run("grad_cam", tmp_path / "broken.png", folder / "dog" / "0.png", "--target", "dog")
    assert code == 0 and "2 photographs; 1 without an answer, the first for: " in said
    broken, dog = read(tmp_path / "out" / "grad_cam_2-photographs_tiny3_dog.csv")
    assert "is not a picture" in broken["error"] and broken["largest"] == ""
    assert dog["explained"] == "dog" and 0 < float(dog["probability"]) <= 1 and dog["error"] == ""


def test_none_that_can_be_read_is_a_mistake(run, tmp_path):
    code, said, heard = run("saliency", tmp_path / "a.png", tmp_path / "b.png")
    assert code == 2 and "there is no file" in heard and not said


@pytest.mark.parametrize("name", ["saliency", "lrp"])
def test_a_folder_is_for_over(run, folder, name):
    code, _, heard = run(name, folder)
    assert code == 2 and "is a folder, not a picture: name pictures, or compute over all in it with" in heard
    assert f"over.py {folder} --do {name} --model" in heard


def test_pictures_are_classified_a_line_each(run, folder, tmp_path):
    code, said, _ = run("classify", folder / "cat" / "0.png", folder / "dog" / "1.png")
    assert code == 0 and said.count("classes: ") == 2
    rows = read(tmp_path / "out" / "classify_2-photographs_tiny3.csv")
    assert [row["named"] for row in rows] == ["cat", "dog"]


def test_a_folder_of_classes_has_its_accuracy(run, folder, tmp_path):
    few = tmp_path / "few"
    shutil.copytree(folder, few)
    (few / "cat" / "0.png").rename(few / "dog" / "a.png")
    (few / "unknown").mkdir()
    shutil.copy(few / "dog" / "0.png", few / "unknown" / "b.png")
    (few / "cat" / "broken.png").write_bytes(b"no picture")
    code, said, _ = run("classify", few)
    assert code == 0 and "14 photographs: 12 of a known class, named right 91.7%" in said
    assert "among five 100.0%" in said and "dog/a.png: cat" in said
    rows = {row["name"]: row for row in read(tmp_path / "out" / "classify_few_tiny3.csv")}
    assert (
        rows["dog/a.png"]["right"] == "0" and rows["cat/1.png"]["right"] == "1" and rows["unknown/b.png"]["right"] == ""
    )
    assert "not a picture" in rows["cat/broken.png"]["error"]
    numbers = json.loads((tmp_path / "out" / "classify_few_tiny3.json").read_text())["numbers"]
    assert numbers["right"] == pytest.approx(11 / 12) and numbers["errors"] == 1


def test_folders_may_have_wordnet_ids(run, script, folder, tmp_path):
    model = tiny.network()
    model.labels = read_labels(f"n0000000{n} {name}" for n, name in enumerate(tiny.CLASSES))
    models.save_weights(model, tmp_path / "named.h5")
    shutil.copytree(folder, tmp_path / "few")
    for n, name in enumerate(tiny.CLASSES):
        (tmp_path / "few" / name).rename(tmp_path / "few" / f"n0000000{n}")
    code, said, _ = script("classify", tmp_path / "few", "--model", tmp_path / "named.h5")
    assert code == 0 and "12 of a known class, named right 100.0%" in said


def test_a_flat_folder_has_no_accuracy(run, folder, tmp_path):
    code, said, _ = run("classify", folder / "cat")
    assert code == 0 and "3 photographs; no folder is named as a class" in said
