"""FGSM, PGD and DeepFool against torchattacks, on the same weights (tests/golden/make_attacks.py)."""

from pathlib import Path

import numpy as np
import pytest

import viz
from minigrad import nn

GOLDEN = Path(__file__).parents[1] / "golden" / "attacks.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        found = {name: file[name] for name in file.files}
    convolutions = [nn.Conv2d(found[f"w{i}"].shape[1], len(found[f"w{i}"]), 3, padding=1) for i in (0, 1)]
    layers = {"conv1": convolutions[0], "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2)}
    layers |= {"conv2": convolutions[1], "relu2": nn.ReLU(), "flatten": nn.Flatten()}
    layers["fc"] = nn.Linear(*found["w2"].shape[::-1])
    model = nn.Sequential(layers)
    names = ("conv1", "conv2", "fc")
    model.load_state_dict(
        {f"{name}.weight": found[f"w{i}"] for i, name in enumerate(names)}
        | {f"{name}.bias": found[f"b{i}"] for i, name in enumerate(names)}
    )
    return model, found


LINF = {"epsilon": 0.05, "step_size": 0.02, "steps": 5, "random_start": False}
L2 = {"epsilon": 0.4, "step_size": 0.15, "steps": 5, "random_start": False, "norm": "l2"}


@pytest.mark.parametrize(
    "name, attack",
    [
        ("fgsm", lambda model, x, aim: viz.fgsm(model, x, **aim, epsilon=0.05)),
        ("pgd", lambda model, x, aim: viz.pgd(model, x, **aim, **LINF)),
        ("pgd_l2", lambda model, x, aim: viz.pgd(model, x, **aim, **L2)),
    ],
)
@pytest.mark.parametrize("targeted", [False, True])
def test_attacks_agree_with_torchattacks(golden, name, attack, targeted):
    model, found = golden
    aim = {"target": found["target"]} if targeted else {"label": found["label"]}
    expected = found[f"{name}_targeted" if targeted else name]
    assert np.abs(expected - found["image"]).max() > 0.02
    np.testing.assert_allclose(attack(model, found["image"], aim), expected, rtol=0, atol=1e-9)


def test_deepfools_first_step_agrees_with_torchattacks(golden):
    model, found = golden
    moved = viz.deepfool(model, found["image"], label=found["label"], steps=1, overshoot=0.02)
    np.testing.assert_allclose(moved, found["deepfool"], rtol=0, atol=1e-10)
