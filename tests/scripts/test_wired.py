"""Every command on a network of residual sums, a gate and a concatenation, with no name that VGG has: a result each."""

import numpy as np
import pytest

import models
from minigrad import nn
from tests.scripts import tiny
from viz.commands.command import find, main
from viz.commands.techniques import COMMANDS

NAMES = sorted(
    {name for name, *_ in COMMANDS.values()} - {"gallery", "explore", "ground_truth", "linear_demo", "templates"}
)
C = 8


def block(rng):
    """A basic block of He et al. 2015, its sum gated as by Hu et al. 2017."""
    gate = {"mean": nn.AdaptiveAvgPool2d(1), "fc": nn.Conv2d(C, C, 1, rng=rng), "sigmoid": nn.Sigmoid()}
    return nn.Graph(
        {
            "conv": nn.Conv2d(C, C, 3, padding=1, bias=False, rng=rng),
            "bn": nn.BatchNorm2d(C),
            "gate": nn.Product({"maps": nn.Identity(), "squeeze": nn.Sequential(gate)}),
            "add": (nn.Call("add"), ["gate", "input"]),
            "act": nn.ReLU6(),
        }
    )


def network():
    """For tiny's pictures of 16 pixels, and its classes."""
    rng, given = np.random.default_rng(0), tiny.network()
    wide = {"a": nn.Conv2d(C, C // 2, 3, 2, 1, rng=rng), "b": nn.Conv2d(C, C // 2, 1, 2, rng=rng)}
    layers = {
        "preprocess": given["preprocess"],
        "stem": nn.Conv2d(3, C, 3, padding=1, rng=rng),
        "first": block(rng),
        "down": nn.Parallel(wide),
        "act": nn.LeakyReLU(0.1),
        "second": nn.Sequential({"0": block(rng), "1": block(rng)}),
        "gap": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(C, len(tiny.CLASSES), rng=rng),
    }
    return tiny.balanced(models.Model(layers, "wired", (16, 16), tiny.CLASSES).eval())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("wired")


@pytest.fixture(scope="module")
def photographs(folder):
    return tiny.photographs(folder / "photographs", model=network())


@pytest.fixture(scope="module")
def weights(folder):
    models.save_weights(network(), folder / "wired.h5")
    return folder / "wired.h5"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_every_command_takes_it(name, folder, photographs, weights, capsys):
    words, ours = tiny.arguments(name, *photographs), []
    while words:  # VGG's names of layers left out: the defaults are what is tried
        word = words.pop(0)
        if word in ("--layer", "--layers"):
            words.pop(0)
        else:
            ours.append(word)
    code = main(
        name, find(name).options, find(name).run, [*ours, "--model", str(weights), "--out", str(folder / "out")]
    )
    out, err = capsys.readouterr()
    assert code == 0 and " -> " in out and "Traceback" not in err, err


def test_layers_are_found_by_what_they_are(weights):
    import viz

    model = models.load(weights)
    assert viz.default_layer(model) == "second"
    assert viz.head.stages(model) == ["first", "second"]


@pytest.mark.parametrize("name", ["classify", "saliency", "grad_cam", "lrp", "occlusion", "attack", "compare"])
def test_a_network_of_dense_maps_is_one_sentence(name, folder, photographs, capsys):
    layers = {"stem": nn.Conv2d(3, C, 3, padding=1, rng=np.random.default_rng(0)), "act": nn.ReLU()}
    models.save_weights(models.Model({"preprocess": models.Preprocess(), **layers}, "dense", (16, 16)), folder / "d.h5")
    words = [*tiny.arguments(name, *photographs), "--model", str(folder / "d.h5"), "--out", str(folder / "out")]
    code = main(name, find(name).options, find(name).run, words)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert f"{name}: the network's output is (1, 8, 16, 16), not the scores of classes" in err
