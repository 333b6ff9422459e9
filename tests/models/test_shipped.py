"""The embedded network as it is shipped: its size, what it says of itself, and what it sees."""

import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

import minigrad as mg
import models
import viz

WEIGHTS = Path(models.__file__).parent / "weights"
ARCHIVE = Path(__file__).parents[2].parent / "shared" / "data" / "sets" / "imagenette_cat_zebra_128px.tar.gz"


@pytest.fixture(scope="module")
def model():
    return models.load("minivgg")


def probabilities(model, image):
    with mg.no_grad():
        return mg.functional.softmax(model(mg.from_numpy(image)), 1).numpy()


def test_it_is_small(model):
    assert (WEIGHTS / "minivgg.h5").stat().st_size <= 8 << 20
    assert sum(tensor.size for _, tensor in model.named_tensors()) <= 4_000_000
    kinds = {type(layer).__name__ for _, layer in model.children()}
    assert kinds >= {"Preprocess", "Conv2d", "ReLU", "MaxPool2d", "Linear"} and "BatchNorm2d" not in kinds


def test_its_record_holds_the_command_and_the_accuracy(model):
    record = json.loads((WEIGHTS / "minivgg.json").read_text("utf-8"))["numbers"]
    assert record["command"] == model.provenance["command"]
    assert record["validation"]["top1"] == model.provenance["validation"]["top1"] >= 0.925
    right = sum(c["accuracy"] * c["images"] for c in record["classes"].values())
    total = sum(c["images"] for c in record["classes"].values())
    assert total == 4665 and right / total == pytest.approx(record["validation"]["top1"])


def test_the_robust_twin_withstands_what_the_other_does_not(model):
    robust, photograph = models.load("minivgg_robust"), models.load_image(data.cat(), (112, 112))
    assert (WEIGHTS / "minivgg_robust.h5").stat().st_size <= 7 << 20 and robust.name == "minivgg_robust"
    record = json.loads((WEIGHTS / "minivgg_robust.json").read_text("utf-8"))["numbers"]
    assert record["validation"]["top1"] >= 0.84 and record["attacks"]["pgd-20 linf 4/255"] >= 0.62
    cat = models.find_class(robust, "cat")
    left = []
    for network in (model, robust):
        assert probabilities(network, photograph)[0].argmax() == cat
        attacked = viz.pgd(network, photograph, label="cat", epsilon=2 / 255)
        left.append(probabilities(network, attacked)[0, cat])
    assert left[1] > 10 * left[0]


def test_both_say_how_sure_they_must_be():
    for name in ("minivgg", "minivgg_robust"):
        assert 1 / 12 < models.load(name).provenance["known"] < 0.9


@pytest.mark.parametrize("name", ["minivgg", "minivgg_robust"])
def test_the_cat_is_known_and_what_makes_other_channels_answer_is_not(name):
    network = models.load(name)
    assert network.known.layer == "gap" and network.known.means.shape == (12, 384)
    grass = models.load_image(data.grass(), network.input_size)
    assert not models.unknown(network, models.load_image(data.cat(), network.input_size)).any()
    assert models.unknown(network, grass).all()


def test_it_knows_a_cat_wherever_it_is_cut(model):
    photograph = data.cat()
    for crop in (photograph, photograph[:, ::-1], photograph[20:280, 60:400]):
        p = probabilities(model, models.load_image(crop, model.input_size))[0]
        assert p.argmax() == models.find_class(model, "cat") and p.max() > 0.5


def test_it_is_right_about_validation_photographs(model):
    """Every 20th of them, read from the archive: a sample of the 4,665 that the record counts."""
    if not ARCHIVE.exists():
        pytest.skip("needs the photographs of twelve classes in ../shared/data/sets")
    right, seen = 0, 0
    with tarfile.open(ARCHIVE) as archive:
        files = [m for m in archive if m.isfile() and "/val/" in m.name]
        folders = sorted({Path(m.name).parent.name for m in files})
        for file in sorted(files, key=lambda m: m.name)[::20]:
            image = models.load_image(Image.open(archive.extractfile(file)), model.input_size)
            right += probabilities(model, image)[0].argmax() == folders.index(Path(file.name).parent.name)
            seen += 1
    assert seen == 234 and right / seen > 0.9, f"{right} of {seen} right"
