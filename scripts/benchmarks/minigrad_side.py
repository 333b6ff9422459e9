"""The cases as minigrad does them. A step returns what it computed, as a Tensor, and does not wait for a GPU."""

from itertools import chain, count
from pathlib import Path

import numpy as np

import minigrad as mg
import models
import viz
from benchmarks import cases
from minigrad import functional as F
from minigrad.device import to_device
from models.augment import Augmentation, prefetch, to_float, training_batches
from models.memory import keep_freed_memory
from models.training import workers

CLASSES = 12
PHOTOGRAPHS, STORED = 1024, 128  # how many, and their side in pixels, for "fed"


def inputs(case):
    """(N,3,H,W) float32 in [0,1], the same for every engine."""
    return np.random.default_rng(0).random((case.batch, 3, case.size, case.size), dtype=np.float32)


def fed(case, device):
    """Batches (models.augment.Batch) without end, made ahead as train.py makes them, on the host."""
    rng = np.random.default_rng(0)
    photographs = rng.integers(0, 256, (PHOTOGRAPHS, STORED, STORED, 3), dtype=np.uint8)
    labels, members = np.arange(PHOTOGRAPHS) % CLASSES, np.arange(PHOTOGRAPHS)
    how = {"size": case.size, "batch_size": case.batch, "augmentation": Augmentation(), "seed": 0}
    epochs = (training_batches(photographs, labels, members, **how, epoch=epoch) for epoch in count())
    return prefetch(chain.from_iterable(epochs), workers(device))


def steps(case, folder, device="cpu"):
    """{"minigrad": step}"""
    model = models.load(Path(folder) / f"{case.network}.h5", device=device)
    keep_freed_memory()  # as the scripts do once they have their network; in this process it serves all engines
    if case.kind == "fed":
        batches = fed(case, device)
        return {"minigrad": training(model, lambda: moved(next(batches), device))}
    images = to_device(inputs(case), device)
    if case.kind == "training":
        target = targets(np.arange(len(images)) % CLASSES, device)
        return {"minigrad": training(model, lambda: (images, target))}
    make = {"forward": forward, "gradient": gradient, "style": style}.get(case.kind)
    return {"minigrad": make(model, images) if make else sweep(case, model, images)}


def moved(batch, device):
    return to_float(to_device(batch.views, device)), targets(batch.labels, device)


def targets(labels, device):
    """What cross_entropy takes: labels, or on a GPU probabilities, which need not be checked (see Trainer._target)."""
    return labels if device == "cpu" else to_device(np.eye(CLASSES, dtype=np.float32)[labels], device)


def forward(model, images):
    model.requires_grad_(False)

    def step():
        with mg.no_grad():
            return model(mg.Tensor(images))

    return step


def gradient(model, images):
    model.requires_grad_(False)

    def step():
        x = mg.Tensor(images, requires_grad=True)
        return mg.grad(model(x)[:, 0].sum(), x)

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
        return mg.grad(loss, x)

    return step


def sweep(case, model, images):
    """A method of hundreds of forward passes; Score-CAM's largest value is 1, as the reference's is."""
    model.requires_grad_(False)
    side, stride = cases.square(case)

    def score_cam():
        found = viz.score_cam(model, images, 0, layer=cases.swept_layer(case))
        return found / found.max()

    return {
        "score_cam": score_cam,
        "occlusion": lambda: viz.occlusion(model, images, 0, patch=side, stride=stride),
        "rise": lambda: viz.rise(model, images, 0, samples=cases.SAMPLES),
    }[case.kind]


def training(model, batch):
    """Cross entropy, backward pass, SGD with momentum; batch normalisation and dropout as in training.

    batch() gives (images, targets), where the model is.
    """
    model.train().requires_grad_(True)
    if "drop6" in dict(model.named_modules()):
        model["drop6"].rng = np.random.default_rng(0)
    optimizer = mg.optim.SGD(model.parameters(), cases.LEARNING_RATE, momentum=cases.MOMENTUM)

    def step():
        images, target = batch()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(mg.Tensor(images)), target)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
