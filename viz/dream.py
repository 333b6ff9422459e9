"""DeepDream: a photograph in which a layer sees more of whatever it sees already (Mordvintsev et al. 2015)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad import functional as F
from minigrad.nn import Module

from .objective import Objective, energy, evaluate
from .optimize import Course, Optimized, warn_if_flat
from .random import stream
from .ranges import require
from .target import as_image, as_pixels
from .typing import Images


def deep_dream(
    model: Module,
    image: Images,
    layer: str,
    octaves: int = 4,
    octave_scale: float = 1.4,
    steps: int = 10,
    lr: float = 0.006,
    jitter: int = 32,
    clip: bool = True,
    seed: int = 0,
    **course: Any,
) -> Optimized:
    """`image` (N,3,H,W) in [0,1], changed so that the activations of `layer` grow. Returns an Optimized.

        x <- x + lr * g / mean |g|,    g the gradient of the layer's mean square activation

    From the smallest octave (the image reduced octave_scale**(octaves-1) times) to full size; what one octave has drawn
    is enlarged and added to the photograph at the next. In each step the image is shifted by up to `jitter` pixels in
    each direction (around the edges), all images alike, so that the layer's grid does not show.

    layer: a layer's name, or any Objective that takes images of any size. steps: in each octave. lr: 0.006 is the
    original's 1.5 of 255. `losses["objective"]` is minus the objective at each step of each octave and of the result at
    full size; values are comparable within an octave. course: progress, callback, record as in `optimize_image`; frames
    are enlarged to full size.
    """
    require("deep_dream", octaves=octaves, octave_scale=octave_scale, steps=steps, lr=lr, jitter=jitter)
    objective = layer if isinstance(layer, Objective) else energy(layer)
    photograph, rng = (
        as_image(model, as_pixels("deep_dream", model, image, whole=True)).detach(),
        stream(seed, "deep_dream"),
    )
    full = photograph.shape[2:]
    sizes = [tuple(max(1, round(n / octave_scale**k)) for n in full) for k in reversed(range(octaves))]

    course = Course(octaves * steps, **course)
    with course:
        course.begin(photograph.data)
        _climb(course, model, objective, photograph, sizes, steps, lr, jitter, clip, rng)
    return course.result()


def _climb(
    course: Course,
    model: Module,
    objective: Objective,
    photograph: np.ndarray,
    sizes: list,
    steps: int,
    lr: float,
    jitter: int,
    clip: bool,
    rng: Any,
) -> None:
    drawn = None
    for size in sizes:
        base = _resized(photograph, size)
        dream = base if drawn is None else _clipped(base + _resized(drawn, size), clip)
        for _ in range(steps):
            score, g = _ascent(model, objective, dream, jitter, rng)
            if not course.losses:
                warn_if_flat(g)
            course.note({"objective": -score})
            size = F.abs(g).mean((1, 2, 3), keepdims=True)
            dream = _clipped(dream + g / F.where(size > 0, size, 1.0) * lr, clip)
            if course.stepped(_resized(dream, photograph.shape[2:]).data):
                return
        drawn = dream - base
    with mg.no_grad():
        course.note({"objective": -evaluate(model, [objective], dream).sum()})


def _ascent(model: Module, objective: Objective, dream: Tensor, jitter: int, rng: Any) -> tuple:
    """The objective, summed over images, and its gradient, seen through a random shift."""
    x = mg.Tensor(dream, requires_grad=True)
    shift = tuple(int(s) for s in rng.integers(-jitter, jitter + 1, 2))
    score = evaluate(model, [objective], F.roll(x, shift, (2, 3))).sum()
    return float(score), mg.grad(score, x)


def _clipped(x: Tensor, clip: bool) -> Tensor:
    return F.clamp(x, 0.0, 1.0) if clip else x


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return x if x.shape[2:] == tuple(size) else F.interpolate(x, size, mode="bilinear")
