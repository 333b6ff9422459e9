"""The cases as minigrad does them. A step returns what it computed, as an array."""

from pathlib import Path

import numpy as np

import minigrad as mg
import models
import viz
from benchmarks import cases
from minigrad import functional as F
from models.memory import keep_freed_memory


def inputs(case):
    """(N,3,H,W) float32 in [0,1], the same for every engine."""
    return np.random.default_rng(0).random((case.batch, 3, case.size, case.size), dtype=np.float32)


def steps(case, folder):
    """{"minigrad": step}"""
    model = models.load(Path(folder) / f"{case.network}.h5")
    make = {"forward": forward, "gradient": gradient, "style": style, "training": training}[case.kind]
    return {"minigrad": make(model, inputs(case))}


def forward(model, images):
    model.requires_grad_(False)

    def step():
        with mg.no_grad():
            return model(mg.Tensor(images)).numpy()

    return step


def gradient(model, images):
    model.requires_grad_(False)

    def step():
        x = mg.Tensor(images, requires_grad=True)
        return mg.grad(model(x)[:, 0].sum(), x).numpy()

    return step


def style(model, images):
    """Gatys et al.'s two losses, of the image itself as content and of the image turned upside down as style."""
    model.requires_grad_(False)
    with mg.no_grad():
        content = model.activations(mg.Tensor(images), [cases.CONTENT_LAYER])[cases.CONTENT_LAYER] * 0.5
        found = model.activations(mg.Tensor(images[:, :, ::-1].copy()), cases.STYLE_LAYERS)
        grams = {layer: viz.gram(a) * (0.5 / (a.shape[2] * a.shape[3])) for layer, a in found.items()}

    def step():
        x = mg.Tensor(images, requires_grad=True)
        found = model.activations(x, [cases.CONTENT_LAYER, *cases.STYLE_LAYERS])
        loss = viz.content_loss(found[cases.CONTENT_LAYER], content)
        for layer, gram in grams.items():
            loss = loss + viz.style_loss(found[layer], gram) * cases.STYLE_WEIGHT
        return mg.grad(loss, x).numpy()

    return step


def training(model, images):
    """Cross entropy, backward pass, SGD with momentum; batch normalisation and dropout as in training."""
    keep_freed_memory()  # as train.py does; in this process it serves both engines
    model.train().requires_grad_(True)
    model["drop6"].rng = np.random.default_rng(0)
    labels = np.arange(len(images)) % 12
    optimizer = mg.optim.SGD(model.parameters(), cases.LEARNING_RATE, momentum=cases.MOMENTUM)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(mg.Tensor(images)), labels)
        loss.backward()
        optimizer.step()
        return loss.numpy()

    return step
