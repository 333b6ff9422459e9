"""Images that a class, a channel or a neuron likes best, by gradient ascent on the pixels.

    result = viz.maximize(model, "zebra")                           # the class score
    result = viz.maximize(model, viz.channel("relu4_1", 12))        # a channel's mean activation
    result = viz.maximize(model, "zebra", parameterization="fourier", transforms=viz.robust(), steps=512)

Simonyan et al. 2013 (arXiv:1312.6034, section 2), Yosinski et al. 2015 (arXiv:1506.06579), Olah et al. 2017.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad.nn import Module

from .fourier import FourierImage
from .network import without_preprocessing
from .objective import as_objective, evaluate, log_probability
from .optimize import LBFGS, Optimized, optimize_image
from .random import drawn, stream
from .regularize import GREY, total_variation
from .target import as_image, as_images, as_pixels, channels, require_pixels, require_rgb
from .transform import jitter, transformed

STARTS = ("zeros", "grey", "noise")
PARAMETERIZATIONS = ("pixels", "fourier")


def maximize(
    model: Module,
    objective: Any,
    start: Any = "noise",
    size: Any = None,
    parameterization: Any = "pixels",
    optimizer: Any = "adam",
    lr: float | Callable[[int], float] = 0.05,
    steps: int = 256,
    penalties: Any = None,
    after_step: Any = (),
    transforms: Any = None,
    clip: bool = True,
    seed: int = 0,
    **course: Any,
) -> Optimized:
    """The image that makes `objective` large. Returns an Optimized; its `.image` is (N,3,H,W) in [0,1].

        minimise  - sum_i objective_i(x_i) + sum of penalties(x)

    objective: an Objective (class_score, log_probability, channel, neuron, energy, their sums and multiples); a class,
        an index or a name, which stands for its raw score; or a list of these, each for an image of its own.
    start: "zeros" (black), "grey", "noise" (grey with deviation 0.1, alike for every objective), or images (N,3,H,W).
    size: (H, W) or one number; by default that of `start` or the model's input.
    parameterization: "pixels", or "fourier": colour-decorrelated Fourier coefficients, which start from noise.
    optimizer: "sgd", "momentum", "adam" or "lbfgs". lr: its learning rate, or a function that gives it for a step,
        from 1; with pixels, in units of their range.
    penalties: {name: function of the image Tensor that gives a scalar}, such as
        {"tv": lambda x: viz.total_variation(x, "l1", 0.01)}.
    after_step: pairs (every, change(x, gradient)) of arrays, such as (4, lambda x, g: viz.gaussian_blur(x, 0.5)).
    transforms: transforms through which the model sees the image, drawn anew at each step (see viz.transform); by
        default a jitter by a thirty-second of the image, and none for lbfgs, which needs a fixed function.
    clip: keep pixels in [0,1] after every step. Always so for "fourier".
    course: progress, callback, record: see `optimize_image`.
    """
    objectives = [as_objective(o) for o in (objective if isinstance(objective, list | tuple) else [objective])]
    if not objectives:
        raise ValueError("maximize: the list of objectives is empty: give one at least")
    start, rng = start if isinstance(start, str) else as_images(model, start), stream(seed, "maximize: transforms")
    x, decode = _start(model, start, size, len(objectives), parameterization, seed, clip)
    if transforms is None:
        transforms = [] if optimizer == LBFGS else [jitter(max(1, _size(model, start, size)[0] // 32))]
    if optimizer == LBFGS and transforms:
        raise ValueError("maximize: lbfgs needs a function that does not change from step to step: transforms=[]")
    if after_step and decode:
        raise ValueError('maximize: after_step changes pixels, so it needs parameterization="pixels"')

    def losses(image: Tensor) -> dict:
        seen = transformed(image, transforms, rng) if transforms else image
        terms = {"objective": -evaluate(model, objectives, seen).sum()}
        return terms | {name: penalty(image) for name, penalty in (penalties or {}).items()}

    clip = (0.0, 1.0) if clip and not decode else None
    return optimize_image(losses, x, optimizer, lr, steps, clip, decode, after_step, **course)


def maximize_as_blog(
    model: Module,
    target: Any,
    start: Any = None,
    size: Any = None,
    steps: int = 1000,
    tv_steps: int = 1000,
    seed: int = 0,
    **course: Any,
) -> Optimized:
    """An "ideal image" as a widely read blog post makes it: no preprocessing, no clipping, cross-entropy, plain steps.

        x ~ N(0,1);  x <- x - grad( CE(x, target) )                         `steps` times
        then         x <- x - grad( 10 CE(x, target) + 0.005 TV_l1(x) )     `tv_steps` times

    CE is the cross-entropy of the softmax and TV_l1 the sum of absolute differences of neighbouring pixels. The network
    is fed x itself: its preprocessing layer is left out, so x has no particular range. Score the result with
    `viz.without_preprocessing(model)`.

    target: a class, by index or name. start: in place of the noise, an array (N,3,H,W), such as a photograph in [0,1].
    size: (H, W); by default the model's input. tv_steps: 0 leaves the second phase out.
    Returns an Optimized with the losses of both phases; "objective" is the cross-entropy, 10 times it in the second.
    """
    network = without_preprocessing(model)
    if start is None:
        shape = (1, channels(model), *_size(model, None, size))
        start = stream(seed, "maximize_as_blog").standard_normal(shape, np.float32)
    plain = partial(maximize, network, optimizer="sgd", lr=1.0, transforms=[], clip=False, **course)
    first = plain(log_probability(target), start, steps=steps)
    if first.stopped or not tv_steps:
        return first

    penalties = {"tv": lambda x: total_variation(x, "l1", 0.005)}
    try:
        second = plain(10 * log_probability(target), first.image, steps=tv_steps, penalties=penalties)
    except KeyboardInterrupt:  # before the second phase had begun
        return replace(first, stopped=True)
    losses = {
        "objective": first.losses["objective"][:-1] + second.losses["objective"],
        "tv": [0.0] * (len(first.losses["objective"]) - 1) + second.losses["tv"],
    }
    frames = first.frames[:-1] + second.frames
    return Optimized(second.image, losses, second.stopped, frames, first.steps + second.steps)


def _start(model: Module, start: Any, size: Any, count: int, parameterization: str, seed: int, clip: bool) -> tuple:
    """The leaf to optimise, and the function that makes an image of it (None for pixels)."""
    if parameterization not in PARAMETERIZATIONS:
        raise ValueError(
            f"maximize: parameterization is {parameterization!r}, choose from {', '.join(PARAMETERIZATIONS)}"
        )
    if parameterization == "fourier":
        if not isinstance(start, str) or start != "noise":
            raise ValueError('maximize: the fourier parameterization starts from noise: start="noise"')
        require_rgb("maximize: the fourier parameterization", model)
        fourier = FourierImage(_size(model, None, size))
        weights = next((tensor for _, tensor in model.named_tensors()), mg.Tensor(np.float32(0)))
        first = np.repeat(fourier.start(1, stream(seed, "maximize: start")), count, 0)
        coefficients = mg.Tensor(first).to(weights.device).astype(weights.dtype)
        return mg.Tensor(coefficients, requires_grad=True), fourier

    rngs = [stream(seed, "maximize: start") for _ in range(count)]
    return start_image(model, start, None if size is None else _size(model, None, size), rngs, clip), None


def start_image(
    model: Module,
    start: np.ndarray | str,
    size: tuple[int, int] | None,
    rngs: list[np.random.Generator],
    clip: bool = True,
) -> Tensor:
    """The leaf Tensor (N,C,H,W) to start from: "zeros", "grey", "noise", or images; size (H, W) or None.

    rngs: a Generator for the noise of each of the N images. clip: whether images are kept in [0, 1], and must begin so.
    """
    require_pixels("an optimised image", model)
    count = len(rngs)
    if not isinstance(start, str):
        image = as_images(model, start)
        image = as_pixels("an optimised image", model, image, argument="start") if clip else np.asarray(image)
        if size is not None and image.shape[2:] != tuple(size):
            raise ValueError(f"start has shape {image.shape}, which is not of size {tuple(size)}")
        return as_image(model, np.repeat(image, count, 0) if len(image) == 1 else image)
    if start not in STARTS:
        raise ValueError(f"start is {start!r}, choose from {', '.join(STARTS)} or give an image")
    shape = (channels(model), *_size(model, None, size))
    image = np.full((count, *shape), 0.0 if start == "zeros" else GREY, np.float32)
    if start == "noise":
        image += 0.1 * drawn(rngs, lambda rng: rng.standard_normal(shape, np.float32))
    return as_image(model, image)


def _size(model: Module, start: Any, size: Any) -> Any:
    """(H, W) from `size`, from a start image, or from the model."""
    if size is None and start is not None and not isinstance(start, str):
        return np.shape(start)[2:]
    if size is None:
        size = getattr(model, "input_size", None)
        if size is None:
            raise ValueError("maximize: this model has no input_size: give size=(H, W)")
    return (size, size) if isinstance(size, int | np.integer) else tuple(size)
