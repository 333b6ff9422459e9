"""Options and pictures that optimised images share."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import models
from viz.many.photographs import in_channels
from viz.optimize import Optimized
from viz.ranges import RANGES

from .job import Job
from .options import Parser

LR = f"learning rate; with adam {RANGES['adam.lr']}"
GIF = "write the course, every N-th step, as a GIF"
STYLE_LAYERS = "relu1_1, relu2_1, relu3_1, relu4_1, relu5_1 of VGG"
LEAST = 16  # pixels of a picture's long side


def add_course_options(
    options: Parser,
    steps: int,
    lr: float | None = None,
    optimizer: str | None = None,
    optimizers: Sequence[str] = ("sgd", "momentum", "adam", "lbfgs"),
    what: str = "of the optimisation",
) -> None:
    """--steps, --lr, --optimizer and --gif, with these defaults; without --optimizer where that is None. what:
    says --help of the steps."""
    options.number("--steps", steps, what)
    if lr is not None:
        options.number("--lr", lr, LR)
    if optimizer is not None:
        options.add_argument(
            "--optimizer", choices=optimizers, default=optimizer, help="what moves the pixels (default %(default)s)"
        )
    options.number("--gif", 0, GIF, low=0, metavar="N", shown="default 0: none")


def course(job: Job) -> dict[str, Any]:
    """The keyword arguments of viz's optimisers that --quiet, --seed and --gif decide."""
    return {"seed": job.args.seed, "progress": job.progress, "record": job.args.gif, "callback": job.frame}


def fitted(job: Job, path: Any, side: int) -> np.ndarray:
    """(1,C,H,W): the picture at `path` (None: the sample) with its long side reduced to `side` pixels, uncropped."""
    picture = job.photograph(path)
    height, width = picture.shape[2:]
    scale = min(1.0, side / max(height, width))
    found = in_channels(job.model, models.load_image(picture, (round(height * scale), round(width * scale))))
    if path == vars(job.args).get("image"):
        job.fitted = found
    return found


def history(result: Optimized) -> dict[str, Any]:
    """The arrays of an optimised image: the result and each loss."""
    return {"result": result.image} | {f"loss_{name}": values for name, values in result.losses.items()}


STARTS = ("noise", "grey", "zeros")


def start_of(job: Job, start: str, size: tuple[int, int]) -> Any:
    """--start as viz takes it: one of its words as it is, or the picture of that path at `size`, (H, W)."""
    if start in (*STARTS, "content", "style"):
        return start
    return in_channels(job.model, models.load_image(start, size))


def stopped_in(job: Job, text: str, groups: Sequence[str], found: Mapping[str, Any]) -> str:
    """The text, and, if the work was stopped, in which of `groups` (an image for each) and which were not begun.

    found: the images of the first of them.
    """
    if not job.stopped:
        return text
    rest = ", ".join(groups[len(found) :])
    return f"{text}, {job.ending}, in {groups[len(found) - 1]}" + (f"; not begun: {rest}" if rest else "")


def fall(values: Sequence[float]) -> str:
    """ "from 12.3 to 0.45 (-96.3 %)"."""
    change = 100 * (values[-1] / values[0] - 1) if values[0] else math.nan
    digits = ".5g" if -100 < change < -99.9 else ".1f"  # which would make it all
    change = f" ({change:+{digits}} %)" if values[0] else ""
    return f"from {values[0]:.4g} to {values[-1]:.4g}{change}"
