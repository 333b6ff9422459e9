"""Small networks that name the kind of one part of a scene, their cue, and two wirings of them.

They are trained in a minute or two and kept in a folder. A network is worth asking what it looks at only if it knows
its cue: `trained` refuses to give one that names fewer than 95 % of new scenes right.
"""

from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.nn import Module
from models.architectures.resnet import block
from models.layers import Preprocess
from models.training import one_cycle

from ..progress import trange
from ..random import stream
from ..target import as_leaf
from ..typing import Images
from .scenes import KINDS, PARTS, SIZE, scenes

WIDTHS = (8, 16, 32)
SCENES, STEPS, BATCH, RATE = 5000, 400, 64, 0.01  # to train with
ENOUGH = 0.95  # of CHECKED new scenes
SEEDS_TRIED = (0, 1000, 2000)  # after the one asked for
CHECKED, FIRST_CHECKED = 500, 10_000_000  # numbered so far on that nobody explains them


def plain_layers(rng: np.random.Generator) -> dict[str, Any]:
    """Convolutions and ReLUs as in VGG, without normalisation; (N,3,S,S) to maps (N,32,S/4,S/4)."""
    layers, channels = {}, 3
    for stage, width in enumerate(WIDTHS, 1):
        for place in (1, 2)[: 1 + (stage < len(WIDTHS))]:
            layers[f"conv{stage}_{place}"] = nn.Conv2d(channels, width, 3, padding=1, rng=rng)
            layers[f"relu{stage}_{place}"] = nn.ReLU()
            channels = width
        if stage < len(WIDTHS):
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
    return layers


def residual_layers(rng: np.random.Generator) -> dict[str, Any]:
    """The blocks of ResNet, with batch normalisation; (N,3,S,S) to maps (N,32,S/4,S/4)."""
    stem = {"conv1": nn.Conv2d(3, 8, 3, padding=1, bias=False, rng=rng), "bn1": nn.BatchNorm2d(8), "relu": nn.ReLU()}
    blocks = {
        f"layer{stage}": block("basic", channels, width, stride, rng)
        for stage, channels, width, stride in ((1, 8, 8, 1), (2, 8, 16, 2), (3, 16, 32, 2))
    }
    return stem | blocks


ARCHITECTURES = {"plain": plain_layers, "residual": residual_layers}


def build(architecture: str, seed: int = 0) -> Module:
    """A network for scenes with fresh weights: `preprocess`, the maps, and the scores of their mean over places."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"build: architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
    rng = stream(seed, "scene network", architecture)
    head = {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(WIDTHS[-1], KINDS, rng=rng)}
    preprocess = Preprocess(mean=(0.5,) * 3, std=(0.25,) * 3)
    model = nn.Sequential({"preprocess": preprocess, **ARCHITECTURES[architecture](rng), **head})
    model.input_size, model.labels = (SIZE, SIZE), None
    return model


def train(
    model: Module, cue: str, seed: int = 0, steps: int | None = None, count: int = SCENES, progress: bool = False
) -> list[float]:
    """Train `model` in place to name the kind of the part `cue`, by Adam; returns the loss of each step.

    The scenes are the first `count` of a seed of their own, so that scenes of other seeds are new to the network.
    steps: 400 where none are given.
    """
    steps = STEPS if steps is None else steps
    drawn = scenes(count, seed=(seed, 1))
    rng, losses, device = stream(seed, "scene training", cue), [], model["fc"].weight.device
    optimizer = optim.Adam(model.requires_grad_().train().parameters(), lr=RATE)
    for step in trange(steps, desc=f"learning the {cue}", disable=not progress):
        chosen = rng.integers(count, size=BATCH)
        optimizer.lr = one_cycle(step, steps, RATE, warmup=0.15)
        x, y = (mg.from_numpy(values[chosen]).to(device) for values in (drawn.images, drawn.kinds[cue]))
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval().requires_grad_(False)
    return losses


def accuracy(model: Module, cue: str, seed: int = 0) -> float:
    """The share of new scenes of which the network names the kind of `cue`."""
    drawn = scenes(CHECKED, seed, FIRST_CHECKED)
    return float((scored(model, drawn.images).argmax(1) == drawn.kinds[cue]).mean())


def scored(model: Module, images: Images, batch_size: int = 100) -> np.ndarray:
    """(N,K): the scores of the array `images`, wherever the model is."""
    with mg.no_grad():
        starts = range(0, len(images), batch_size)
        return np.concatenate([model(as_leaf(model, images[i : i + batch_size])).numpy() for i in starts])


def trained(architecture: str, cue: str, folder: Any, seed: int = 0, progress: bool = False) -> Module:
    """The network of that architecture and cue, frozen: read from `folder`, or else trained and kept there.

    A training may come to nothing, on one processor and not on another, which rounds otherwise: where fewer than 95 %
    of new scenes are named right, it is begun again, with seed + 1000 and then seed + 2000. Raises RuntimeError if none
    of the three learns.
    """
    if cue not in PARTS:
        raise ValueError(f"trained: cue must be one of {', '.join(PARTS)}, got {cue!r}")
    path = Path(folder) / f"{architecture}_{cue}_{seed}.h5"
    if path.is_file():
        model = build(architecture, seed)
        model.load_state_dict(mg.load(path))
        return model.eval().requires_grad_(False)
    for begun in SEEDS_TRIED:
        model = build(architecture, seed + begun)
        train(model, cue, seed + begun, progress=progress)
        found = accuracy(model, cue, seed)
        if found >= ENOUGH:
            path.parent.mkdir(parents=True, exist_ok=True)
            mg.save(path, model.state_dict())
            return model
    raise RuntimeError(f"the {architecture} network names the {cue} of {found:.1%} of new scenes: try another seed")
