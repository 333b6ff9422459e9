"""The two networks of tests/golden/make_attribution.py, with the weights that are stored beside captum's values."""

from pathlib import Path

import numpy as np

from minigrad import nn

PATH = Path(__file__).parent.parent / "golden" / "attribution.npz"


def reference(name):
    """(network in float64, images, targets, {method: captum's values}) of "vgg" or "squeezenet"."""
    with np.load(PATH) as file:
        found = {key.partition("/")[2]: file[key] for key in file if key.startswith(f"{name}/")}
    model = {"vgg": vgg, "squeezenet": squeezenet}[name]()
    names = [key.rpartition(".")[0] for key in model.state_dict() if key.endswith(".weight")]
    state = {}
    for i, layer in enumerate(names):
        state |= {f"{layer}.weight": found[f"w{i}"], f"{layer}.bias": found[f"b{i}"]}
    model.load_state_dict(state)
    return model, found["image"], found["target"].tolist(), found


def vgg():
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 4, 3, padding=1),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(4, 6, 3, padding=1),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc3": nn.Linear(54, 8),
            "relu3": nn.ReLU(),
            "fc4": nn.Linear(8, 5),
        }
    )


def squeezenet():
    branches = {"1x1": nn.Conv2d(3, 4, 1), "3x3": nn.Conv2d(3, 4, 3, padding=1)}
    fire = {
        "squeeze": nn.Conv2d(6, 3, 1),
        "relu_squeeze": nn.ReLU(),
        "expand": nn.Parallel(branches),
        "relu_expand": nn.ReLU(),
    }
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 6, 3, stride=2),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(3, 2, ceil_mode=True),
            "fire2": nn.Sequential(fire),
            "drop2": nn.Dropout(),
            "conv10": nn.Conv2d(8, 5, 1),
            "relu10": nn.ReLU(),
            "gap": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
        }
    )
