"""What is looked at: photographs, the classes explained in them, and how much work may go into each section."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import models
import viz
from minigrad.nn import Module
from models.dataset import SUFFIXES
from models.mistakes import UserError
from models.model import Model
from viz.attacks import scores

from ..command import find
from ..pictures import in_channels

SHARPER = 4  # how many times the network's pixels a photograph has on the page, along each side


@dataclass(frozen=True)
class Budget:
    """How much work goes into a page. The sections take about as long as one another."""

    explained: int = 3  # classes with all attributions
    considered: int = 10  # the likeliest classes, of which these are chosen
    class_images: int = 6
    class_steps: int = 96
    channel_layers: int = 3
    channels: int = 2  # of each of these layers
    channel_steps: int = 64
    frames: int = 17  # of a film, the first and the last included
    layers: int = 16  # whose maps are shown
    maps: int = 8  # of each of them
    patch_channels: int = 3  # of each layer
    patches: int = 6
    attack_steps: int = 30
    style_side: int = 192
    style_steps: int = 48  # at each of two sizes
    more: int = 6  # photographs beside the first
    points: int = 240  # photographs in the map


@dataclass(frozen=True)
class Photograph:
    """One photograph: where it is, image (1,3,h,w) as the network sees it, and the same part with more pixels."""

    path: Path | None
    image: np.ndarray
    sharp: np.ndarray

    @property
    def name(self) -> str:
        return self.path.name if self.path else "the sample photograph"

    @property
    def argument(self) -> list[str]:
        """What stands for it in a command; nothing for the sample."""
        return [str(self.path)] if self.path else []


@dataclass
class Study:
    """A run of the gallery: `job` as commands know it, the paths of all photographs, and the budget.

    did: called after each piece of work, with how much it was, for the progress bar. seconds: what each
    section took, once it is done. grown: {class: Film} of the class images made so far.
    """

    job: object
    paths: list
    style: np.ndarray | None
    budget: Budget
    did: object = field(default=lambda units=1: None)
    seconds: dict = field(default_factory=dict)
    grown: dict = field(default_factory=dict)

    @property
    def model(self) -> Model:
        return self.job.model

    @cached_property
    def first(self) -> Photograph:
        return self.photograph(self.paths[0])

    @cached_property
    def others(self) -> list[Photograph]:
        """The photographs beside the first that are shown."""
        return [self.photograph(path) for path in self.paths[1 : 1 + self.budget.more]]

    def photograph(self, path: Any) -> Photograph:
        """The Photograph at a path; None is the sample."""
        job, size, short_side = self.job, self.model.input_size, self.model.short_side
        image = job.image
        if path != job.args.image:
            image = in_channels(self.model, job.photograph(path, size, short_side))
        if short_side is not None and (whole := job.photograph(path)).shape[2:] == size:
            short_side, path_or_whole = None, whole
        else:
            path_or_whole = path
        sharp = tuple(SHARPER * n for n in size)
        sharp = job.photograph(path_or_whole, sharp, None if short_side is None else SHARPER * short_side)
        return Photograph(None if path is None else Path(path), image, sharp)

    @cached_property
    def classes(self) -> list[int]:
        """The classes explained: --target or the top one, then likely ones whose maps differ (see `differing`)."""
        ranked = [int(c) for c in np.argsort(-self.job.probabilities, kind="stable")]
        candidates = list(dict.fromkeys([self.job.target, *ranked]))[: self.budget.considered]
        try:
            maps = viz.grad_cam(self.model, np.repeat(self.first.image, len(candidates), 0), candidates, signed=True)
        except (NotImplementedError, ValueError):  # a network without maps
            return candidates[: self.budget.explained]
        return [candidates[i] for i in differing(maps, self.budget.explained)]

    @cached_property
    def pool(self) -> tuple[np.ndarray, list[str]]:
        """(images (N,3,h,w), captions): what patches and the map are taken from."""
        if len(self.paths) >= 12:
            images = [self.job.photograph(p, self.model.input_size, self.model.short_side) for p in self.paths]
            images = [in_channels(self.model, image) for image in images]
            return np.concatenate(images), [Path(p).name for p in self.paths]
        return self.crops((1, 2, 3, 4), overlap=False)

    def crops(self, parts: Sequence[int], overlap: bool) -> tuple[np.ndarray, list[str]]:
        """Squares cut from the photographs, at the network's size: sides of 1/part, side by side or overlapping."""
        size, images, captions = self.model.input_size, [], []
        for photograph in [self.first, *self.others]:
            height, width = photograph.sharp.shape[2:]
            for part in parts:
                count = 2 * part - 1 if overlap else part
                for i in range(count):
                    for j in range(count):
                        h, w = height // part, width // part
                        top, left = (round(n * k / max(count - 1, 1)) for n, k in ((height - h, i), (width - w, j)))
                        cut = photograph.sharp[..., top : top + h, left : left + w]
                        images.append(in_channels(self.model, models.load_image(cut, size)))
                        captions.append(f"part of {photograph.name}")
        return np.concatenate(images), captions

    def command(self, technique: str, *options: str, photograph: bool = True) -> str:
        """The command line that makes one result alone."""
        words = self.first.argument if photograph else []
        named = self.job.model_named(find(technique).options.get_default("model"))
        return self.job.command(technique, *words, *named, *options)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """(N,K) of images (N,3,h,w)."""
        return probabilities(self.model, images)

    def unknown(self, image: np.ndarray) -> bool:
        """Whether an image (1,3,h,w) is probably of none of the model's classes."""
        return bool(models.unknown(self.model, image)[0])

    def bars(self, probabilities: np.ndarray, count: int = 5) -> list[dict[str, Any]]:
        """The likeliest classes as {"name", "value", "explained"}."""
        ranked = np.argsort(-probabilities, kind="stable")[:count]
        return [
            {"name": self.job.class_name(c), "value": float(probabilities[c]), "explained": int(c) in self.classes}
            for c in ranked
        ]

    def record_every(self, steps: int) -> int:
        """How many steps lie between two frames of a film."""
        return max(1, math.ceil(steps / (self.budget.frames - 1)))

    def step(self, *_: Any) -> None:
        """A callback for viz's optimisers."""
        self.did()


def probabilities(model: Module, images: np.ndarray) -> np.ndarray:
    """(N,K) float64, what a model says of images (N,3,h,w)."""
    z = scores(model, images).astype(np.float64)
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def differing(maps: np.ndarray, count: int, alike: float = 0.5) -> list[int]:
    """Indices of `count` of the maps (N,H,W), in order, without those that look like one before.

    Two maps look alike where the cosine of the angle between them is above `alike`. Where too few are left, those
    follow that are least like any chosen one.
    """
    flat = np.reshape(maps, (len(maps), -1)).astype(np.float64)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    cosines, chosen = flat @ flat.T, [0]
    while len(chosen) < min(count, len(maps)):
        nearest = {i: cosines[i, chosen].max() for i in range(len(maps)) if i not in chosen}
        chosen.append(next((i for i, cosine in nearest.items() if cosine <= alike), min(nearest, key=nearest.get)))
    return chosen


def photographs(given: Iterable[Any], seed: int, most: int) -> list[Path | None]:
    """The paths of pictures in `given`, files and folders (with their own), at most `most` of them, drawn by `seed`."""
    paths = []
    for path in map(Path, given):
        if not path.is_dir():
            paths.append(path)
            continue
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise UserError(f"the folder {path} holds no pictures ({', '.join(sorted(SUFFIXES))})")
        paths += found
    if len(paths) > most:
        kept = np.sort(np.random.default_rng(seed).permutation(len(paths))[:most])
        paths = [paths[i] for i in kept]
    return paths or [None]
