"""Linear classifiers of pixels, and what they have learnt: a template for each class, which is a picture.

Letters: N images, K classes, C H W of an image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, nn, optim
from minigrad import functional as F
from minigrad.nn import Module

from .progress import tqdm
from .random import stream
from .ranges import require
from .target import check_pixels
from .typing import Callback, Classes, Images


def linear_classifier(shape: Sequence[int], classes: int, seed: int = 0) -> Any:
    """A network whose score of a class is w.(x - 1/2) + b: layers "centre", "flatten" and "fc", w drawn small from
    `seed`.

    shape: (C,H,W) of an image in [0, 1]. The grey 1/2 is taken off so that weights and bias are not at odds in
    training.
    """
    fc = nn.Linear(int(np.prod(shape)), classes)
    weight = 0.01 * stream(seed, "linear_classifier").standard_normal(fc.weight.shape)
    fc.weight.data = weight.astype(np.float32)
    model = nn.Sequential({"centre": Centre(), "flatten": nn.Flatten(), "fc": fc})
    model.image_shape = tuple(shape)
    return model


class Centre(nn.Module):
    """x - 1/2."""

    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5


def train_linear(
    model: Module,
    image: Images,
    label: Classes,
    epochs: int = 20,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
) -> list[float]:
    """Train a `linear_classifier` in place, where it is, by Adam on the cross-entropy; returns the losses by epoch.

    image: (N,C,H,W) in [0, 1]. label: (N,) class indices. weight_decay: decoupled; it smooths the templates.
    callback(epoch, loss): after each; True stops.
    """
    require("train_linear", epochs=epochs, lr=lr, weight_decay=weight_decay, batch_size=batch_size)
    image, label = np.asarray(image, np.float32), np.asarray(label)
    if len(image) != len(label):
        raise ValueError(f"train_linear: {len(image)} images but {len(label)} labels; give one for each")
    if not len(image):
        raise ValueError("train_linear: there are no images to train with")
    check_pixels("train_linear", "image", image)
    rng = stream(seed, "train_linear")
    optimizer = optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay, decoupled=True)
    losses, device = [], model["fc"].weight.device
    for epoch in tqdm(range(epochs), "train_linear", disable=not progress):
        order, total = rng.permutation(len(image)), 0.0
        for start in range(0, len(image), batch_size):
            chosen = order[start : start + batch_size]
            x, y = (mg.from_numpy(a[chosen]).to(device) for a in (image, label))
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        losses.append(total / len(image))
        if callback and callback(epoch, losses[-1]):
            break
    return losses


def templates(model: Module) -> np.ndarray:
    """(K,C,H,W): the weights of a `linear_classifier` as images, signed: what speaks for each class, pixel by pixel."""
    return model["fc"].weight.numpy().reshape(-1, *model.image_shape).copy()
