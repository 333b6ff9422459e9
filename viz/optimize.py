"""The loop behind every optimised image: losses of an image, an optimiser on its pixels, and the course it takes.

    result = optimize_image(lambda image: {"content": ..., "tv": ...}, start, optimizer="adam", lr=0.05, steps=200)

The losses are added up and made small. Ctrl-C ends the loop, not the program: the image as far as it has come is the
result, with `stopped` set. Before the first loss is known there is no result, and Ctrl-C goes on to the caller.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, optim
from minigrad.device import array_module, current_device, to_numpy

from .animation import save_gif
from .ranges import require
from .remarks import remark
from .typing import Callback

OPTIMIZERS = {
    "sgd": optim.SGD,
    "momentum": lambda params, lr: optim.SGD(params, lr, momentum=0.9),
    "adam": optim.Adam,
}
LBFGS = "lbfgs"


@dataclass
class Optimized:
    """An optimised image and how it came about.

    image: (N,3,H,W) array, in [0,1] where it was clipped. losses: for each term, summed over the images, its value
    before the first step and after every step (after Ctrl-C, without the last). stopped: whether Ctrl-C or the callback
    ended it early. frames: the images on the way, if they were recorded. steps: how many were taken. settings:
    what was chosen where nothing was asked for, by name.
    """

    image: np.ndarray
    losses: dict
    stopped: bool = False
    frames: list = field(default_factory=list)
    steps: int = 0
    settings: dict = field(default_factory=dict)

    @property
    def total(self) -> list[float]:
        """The sum of all losses, before the first step and after every step."""
        return [sum(terms) for terms in zip(*self.losses.values(), strict=False)]

    def _repr_png_(self) -> bytes:
        """For notebooks: the images; where pixels leave [0,1], scaled from their smallest to their largest value."""
        from .plot import pictures

        low, high = min(0.0, float(self.image.min())), max(1.0, float(self.image.max()))
        return pictures(list((self.image - low) / (high - low)))._repr_png_()

    def save_gif(self, path: Any, seconds: float = 0.08) -> None:
        """Write the recorded frames as an animated GIF, each shown for `seconds`."""
        save_gif(self.frames, path, seconds)


class Course:
    """What happens beside the optimisation: history, progress bar, callback, frames, and Ctrl-C, which it absorbs.

    `with course:` around the loop; in it `course.begin(image)`, then `course.note(terms)` for every evaluation that
    counts and, after every step, `course.stepped(image)`, which is True when it is time to stop. `course.result()` has
    the image of the last whole step.
    """

    def __init__(self, steps: int, progress: bool = False, callback: Callback | None = None, record: int = 0) -> None:
        self.steps, self.progress, self.callback, self.record = steps, progress, callback, record
        self.losses, self.frames, self.image, self.step, self.stopped = {}, [], None, 0, False
        self.bar = None

    def __enter__(self) -> "Course":
        if self.progress:
            from tqdm import tqdm

            self.bar = tqdm(total=self.steps, desc="optimising", unit="step")
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if self.bar is not None:
            self.bar.close()
        absorbed = kind is KeyboardInterrupt and bool(self.losses)  # before the first loss there is nothing to keep
        self.stopped |= absorbed
        return absorbed

    def note(self, terms: dict[str, Any]) -> None:
        """Take down the losses {name: scalar Tensor or number} of the image as it is now."""
        for name, loss in terms.items():
            loss = float(loss)
            if not np.isfinite(loss):
                raise FloatingPointError(f"the loss {name!r} is {loss} after step {self.step}: lower the learning rate")
            self.losses.setdefault(name, []).append(loss)
        if self.bar is not None:
            self.bar.set_postfix_str(", ".join(f"{name} {v[-1]:.4g}" for name, v in self.losses.items()), refresh=False)

    def begin(self, image: np.ndarray) -> None:
        """Take down the image (array) before the first step."""
        self.image = image
        if self.record:
            self.frames.append(to_numpy(image).copy())

    def stepped(self, image: np.ndarray) -> bool:
        """Count a step that led to `image` (array); True if the callback wants no more."""
        self.step += 1
        self.image = image
        if self.record and (self.step % self.record == 0 or self.step == self.steps):
            self.frames.append(to_numpy(image).copy())
        if self.bar is not None:
            self.bar.update()
        if self.callback is not None and self.callback(self.step, to_numpy(image), self.latest()):
            self.stopped = True
        return self.stopped

    def latest(self) -> dict[str, Any]:
        """{name: loss} as last noted."""
        return {name: values[-1] for name, values in self.losses.items()}

    def result(self) -> "Optimized":
        """The Optimized of the course so far."""
        return Optimized(to_numpy(self.image), self.losses, self.stopped, self.frames, self.step)


def optimize_image(
    losses: Callable[..., Any],
    x: Tensor,
    optimizer: str = "adam",
    lr: float | Callable[[int], float] = 0.05,
    steps: int = 200,
    clip: tuple[float, float] | None = (0.0, 1.0),
    decode: Any = None,
    after_step: Any = (),
    **course: Any,
) -> "Optimized":
    """Make losses(image) small, from the leaf Tensor x. Returns an Optimized.

    losses: a function of the image, a Tensor (N,3,H,W), that gives {name: scalar Tensor}.
    x: the image, or what `decode` (a differentiable function of Tensors) makes an image of.
    optimizer: "sgd", "momentum" (0.9), "adam", or "lbfgs", which picks its own step lengths, for one image at a time,
        and ignores lr.
    lr: above 0, with adam at most 1, else at most 1000; or a function that gives it for a step, from 1.
    clip: the range that x is kept in after every step, or None.
    after_step: pairs (every, change): after each `every` steps, x becomes change(x, gradient), both arrays.
    course: progress (bool, shows a bar), record (keep every so many-th image), and callback(step, image, {loss: value})
        after every step, whose losses are those before the step; it may return True to stop.
    """
    course, decode = Course(steps, **course), decode or (lambda x: x)
    rate = _rate(lr)
    _check(optimizer, rate(1), steps, clip, after_step, len(x))
    if clip is not None:
        x.data = _clipped(x.data, clip)
    with course:
        course.begin(decode(x.detach()).data)
        if optimizer == LBFGS:
            _lbfgs(course, losses, x, steps, clip, decode)
        else:
            _descend(course, losses, x, OPTIMIZERS[optimizer]([x], rate(1)), rate, steps, clip, decode, after_step)
    return course.result()


def _rate(lr: float | Callable[[int], float]) -> Callable[[int], float]:
    """The learning rate as a function of the step."""
    return lr if callable(lr) else lambda step: lr


def _descend(
    course: "Course",
    losses: Callable[..., dict],
    x: Tensor,
    optimizer: Any,
    rate: Callable[[int], float],
    steps: int,
    clip: tuple[float, float] | None,
    decode: Callable[..., Any],
    after_step: Any,
) -> None:
    image = decode(x)
    for step in range(1, steps + 1):
        terms = losses(image)
        gradient = mg.grad(_total(terms), x)
        if step == 1:
            warn_if_flat(gradient)
            unit = _unit(gradient) if isinstance(optimizer, optim.Adam) else 1.0
        course.note(terms)
        terms = None  # free the graph before the step

        x.grad = gradient if unit == 1 else gradient / unit
        optimizer.lr = rate(step)
        optimizer.step()
        for every, change in after_step:
            if step % every == 0:
                with current_device(x.data):
                    x.data = change(x.data, gradient.data)
        if clip is not None:
            x.data = _clipped(x.data, clip)
        image = decode(x)
        if course.stepped(image.data):
            break
    with mg.no_grad():
        course.note(losses(image))


def _lbfgs(
    course: "Course",
    losses: Callable[..., dict],
    x: Tensor,
    steps: int,
    clip: tuple[float, float] | None,
    decode: Callable[..., Any],
) -> None:
    latest = {}
    warn_if_flat(mg.grad(_total(losses(decode(x))), x))

    def total(candidate: np.ndarray) -> Tensor:
        terms = losses(decode(candidate))
        latest.update({name: float(loss) for name, loss in terms.items()})
        if not course.losses:
            course.note(latest)
        return _total(terms)

    def accepted(_: Any, candidate: np.ndarray, __: Any) -> Any:
        x.data = candidate.data
        course.note(latest)  # the last point that the line search tried is the one it takes
        return course.stepped(decode(candidate).data)

    optim.lbfgs(total, x.detach(), max_iter=steps, bounds=clip, callback=accepted)


def warn_if_flat(gradient: Tensor) -> None:
    """Warn of a first gradient, a Tensor, that is 0 all over."""
    if gradient.size and not (gradient != 0).sum().item():
        remark(
            "the gradient is 0 all over the first image, so nothing moves: it fulfils what is asked for, or rectifiers "
            "let nothing pass: start elsewhere",
            stacklevel=4,
        )


def _unit(gradient: Any) -> float:
    """The power of two near the largest gradient where Adam, which squares it and adds 1e-8 to the root, would see
    nothing or infinity; else 1."""
    largest = float(abs(gradient).max()) if gradient.size else 0.0
    return 2.0 ** math.frexp(largest)[1] if largest and not 1e-7 < largest < 1e15 else 1.0


def _total(terms: dict) -> Tensor:
    first, *rest = terms.values()
    for loss in rest:
        first = first + loss
    return first


def _clipped(x: Any, clip: tuple[float, float] | None) -> Any:
    with current_device(x):
        return array_module(x).clip(x, *clip)


def _check(
    optimizer: Any, lr: float, steps: int, clip: tuple[float, float] | None, after_step: Any, images: Any
) -> None:
    if optimizer not in (*OPTIMIZERS, LBFGS):
        raise ValueError(f"optimizer is {optimizer!r}: choose from {', '.join([*OPTIMIZERS, LBFGS])}")
    require("an optimised image", steps=steps)
    require(optimizer, lr=lr)
    if clip is not None and not clip[0] < clip[1]:
        raise ValueError(f"clip must be (low, high) or None, got {clip}")
    if optimizer == LBFGS and images > 1:
        raise ValueError(
            f"lbfgs takes steps of one length for all {images} images, so that each would depend on the others: "
            "give one image at a time, or another optimizer"
        )
    if optimizer == LBFGS and after_step:
        raise ValueError("lbfgs needs a smooth course: after_step goes with sgd, momentum or adam")
    if any(every < 1 for every, _ in after_step):
        raise ValueError("after_step holds pairs (every, change) with every at least 1")
