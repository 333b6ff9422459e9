"""docs/attend.py: what it asks of Grad-CAM is Grad-CAM, it is learnt, and only the last layers change."""

import json
import sys

import numpy as np
import pytest
from skimage import data

import minigrad as mg
import models
import viz
from tests.docs_scripts import cats_and_zebras, script

attend = script("attend")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def distance(model, x, labels, wanted):
    return abs(attend.seen(model, x, labels) - wanted).sum((1, 2)).mean()


def test_what_is_trained_is_grad_cam(rng):
    model, labels = models.load("minivgg"), np.full(4, 2)
    x = np.concatenate([models.load_image(data.cat(), (side, side))[:, :, :64, :64] for side in (64, 80, 96, 112)])
    maps = attend.parts(model)[0](mg.from_numpy(x)).numpy()
    cam = viz.grad_cam(model, x, labels, upsample=False)
    assert cam.any((1, 2)).all()
    expected = cam / np.maximum(cam.sum((1, 2), keepdims=True), 1e-6)
    np.testing.assert_allclose(attend.seen(model, maps, labels), expected, atol=1e-5)


def test_its_derivative_is_that_of_the_loss(rng):
    """By central differences in float64, through the gradient in `looked`."""
    labels = np.array([1, 0, 1])
    head = mg.nn.Sequential({"gap": mg.nn.AdaptiveAvgPool2d(1), "flat": mg.nn.Flatten()})
    weights = mg.Tensor(rng.normal(size=(2, 6)), requires_grad=True)
    maps = mg.Tensor(abs(rng.normal(size=(3, 6, 2, 2))), requires_grad=True)
    wanted = mg.Tensor(rng.uniform(size=(3, 2, 2)))

    def loss(weights, maps):
        scores = mg.functional.linear(head(maps), mg.functional.relu(weights))
        return ((attend.looked(maps, scores, labels) - wanted) ** 2).sum()

    mg.check_gradients(loss, [weights, maps])


def test_close_ups_lie_about_their_centres_and_inside(rng):
    centres = np.array([[0.5, 0.25], [0.0, 1.0], [0.9, 0.9]]).repeat(50, axis=0)
    boxes = attend.CloseUps(area=(0.1, 0.1), centres=centres).boxes(150, 128, 128, 112, rng)
    assert (boxes >= 0).all() and (boxes <= 128).all()
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], 128 * 0.1**0.5)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 / 128
    assert abs(middles[:50].mean(0) - centres[0]).max() < 0.05
    assert (middles[50:100, 0] < 0.35).all() and (middles[50:100, 1] > 0.65).all()


def test_grad_cam_goes_where_it_is_wanted_and_the_first_layers_stay(rng, monkeypatch):
    model, start = models.load("minivgg"), models.load("minivgg")
    photograph = models.load_image(data.cat(), model.input_size)
    views = photograph * rng.uniform(0.5, 1, (32, 3, 1, 1)).astype(np.float32)
    x, labels = attend.parts(model)[0](mg.from_numpy(views)).numpy(), np.full(32, models.find_class(model, "zebra"))
    wanted = np.zeros((32, 7, 7), np.float32)
    wanted[:, 0, 0] = 1
    close, whole = attend.Views(x, labels, wanted), attend.Views(x, labels, np.zeros_like(wanted))
    before = distance(model, x, labels, wanted)
    monkeypatch.setattr(attend, "SCORES", 0.0)  # which holds it back
    attend.learn_to_look(model, start, whole, close, 30, rng)
    assert distance(model, x, labels, wanted) < before - 0.01
    changed = {
        name for name, array in model.state_dict().items() if not np.array_equal(array, start.state_dict()[name])
    }
    assert {name.split(".")[0] for name in changed} == {"conv5_1", "conv5_2", "fc6", "fc7"}


def test_the_command_writes_the_mean_of_its_seeds_and_a_record(tmp_path, monkeypatch, capsys):
    cats_and_zebras(tmp_path / "data", 48)
    network = models.build("minivgg", seed=0, labels=("cat", "zebra"))
    network.input_size = (48, 48)
    network.provenance = {"command": "train", "validation": {"size": 48, "top1": 0.5}}
    models.save_weights(network, tmp_path / "net.h5")
    monkeypatch.setenv("MINIGRAD_HOME", str(tmp_path / "home"))
    out = tmp_path / "out"
    words = [str(tmp_path / "data"), "--start", str(tmp_path / "net.h5"), "--steps", "2", "--seeds", "0", "1"]
    monkeypatch.setattr(sys, "argv", ["attend.py", *words, "--way", "0.5", "--out", str(out)])
    attend.main()
    first, each = network.state_dict(), [models.load(out / f"minivgg_seed{seed}.h5").state_dict() for seed in (0, 1)]
    assert not np.array_equal(each[0]["fc6.weight"], each[1]["fc6.weight"])
    after, said = models.load(out / "minivgg.h5"), capsys.readouterr().out
    for name, array in after.state_dict().items():
        expected = (first[name] + (each[0][name] + each[1][name]) / 2) / 2
        np.testing.assert_allclose(array, expected, rtol=1e-3, atol=1e-6)  # kept as float16
    assert after.known.means.shape == (2, 384)
    assert "before: " in said and "now: " in said and said.count(" of 8 right") == 2
    record = json.loads((out / "minivgg.json").read_text())["numbers"]
    then = record["then"]
    assert record["command"] == "train" and then["seeds"] == [0, 1] and "--way 0.5" in then["command"]
    right = sum(c["accuracy"] * c["images"] for c in record["classes"].values())
    assert right / 8 == pytest.approx(record["validation"]["top1"]) and (out / "minivgg_confusion.png").exists()

    monkeypatch.setattr(attend, "learn_to_look", lambda *_: pytest.fail("a seed that is there was trained again"))
    attend.main()


def test_smoothed_labels_go_to_their_own_kind_first():
    labels = models.load("minivgg").labels
    targets = attend.soft_labels(labels)
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(targets.diagonal(), 1 - attend.RECIPE.label_smoothing, rtol=1e-6)
    behind = {name: labels[np.argsort(-row)[1]] for name, row in zip(labels, targets, strict=True)}
    assert behind["cat"] == "English springer" and behind["English springer"] == "cat"
    cat = dict(zip(labels, targets[labels.index("cat")], strict=True))
    assert [cat["zebra"], cat["tench"]] == pytest.approx([16 * cat["golf ball"], 4 * cat["golf ball"]])
    assert set(labels) == set(attend.KINDS)
    np.testing.assert_allclose(attend.soft_labels(["a", "b", "c"])[0], [0.9, 0.05, 0.05], rtol=1e-6)


def test_what_comes_second_is_of_the_kind_of_what_is_named_right():
    classes = ["cat", "zebra", "church", "other"]
    guessed = np.array([[6, 3, 1, 0], [6, 1, 3, 0], [3, 6, 1, 0], [1, 6, 3, 0], [1, 0, 6, 3]]) / 10
    found = attend.second_of_its_kind(guessed, np.array([0, 0, 0, 1, 2]), classes)
    assert {name: close.tolist() for name, close in found.items()} == {
        "cat": [True, False],  # the third is named a zebra
        "zebra": [False],
        "church": [False],
        "other": [],
    }
