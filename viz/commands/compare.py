"""Several attribution methods and several classes side by side, every method with its default settings.

A row is a class, a column a method, or the other way round where there are many methods. Coarse maps lie over the
photograph, fine ones stand alone. Maps are those of the methods' own figures; pictures of three channels are summed
over them. Where a method does not apply to the network, the sentence that says why stands in its place. For the
equations and papers see --help of each method.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from models.mistakes import UserError
from viz import plot

from .attribution import COMMANDS, call, heading, signed
from .job import Job
from .methods import COARSE, or_refusal
from .options import chosen, parser, read_scores
from .target import SCORE, Target

WIDEST = 5  # columns of methods; more would be small

EXAMPLE = "photo.jpg --methods saliency,guided_backprop,grad_cam --targets cat,zebra"
options = parser(__doc__, EXAMPLE, target=False)
options.add_argument(
    "--methods",
    default="saliency,guided_backprop,grad_cam",
    metavar="A,B,...",
    help=f"any of {', '.join(COMMANDS)} (default %(default)s)",
)
options.add_argument("--targets", metavar="A,B,...", help=f"several of: {SCORE} (default: the top two classes)")


def run(job: Job) -> None:
    """Write the grid of maps, and the sentences of methods that refuse the network."""
    methods, targets = chosen(job.args.methods, COMMANDS), chosen_targets(job)
    classes = [target.name(job.class_name) for target in targets]
    shares = [[float(job.probabilities[index]) for index in target.classes] for target in targets]
    maps = [[attribution(job, method, target) for method in methods] for target in targets]

    found = {(t, m): heat for t, row in zip(targets, maps, strict=True) for m, heat in zip(methods, row, strict=True)}
    arrays = {
        f"map_{'-'.join(map(str, t.classes))}_{m}": heat for (t, m), heat in found.items() if not isinstance(heat, str)
    }
    refused = {m: heat for (_, m), heat in found.items() if isinstance(heat, str)}
    if not arrays:
        raise UserError(next(iter(refused.values())))
    rows = [f"{name} (p = {', '.join(f'{p:.3g}' for p in some)})" for name, some in zip(classes, shares, strict=True)]
    title = f"{job.image_name}, seen by {job.model.name}"
    job.write(
        figure=grid(job.image, maps, rows, methods, title),
        arrays={"image": job.image, **arrays},
        numbers={
            "probabilities": {job.class_name(c): job.probabilities[c] for target in targets for c in target.classes},
            "refused": refused,
        },
        line=f"{', '.join(methods)} for {', '.join(classes)}",
    )


def grid(
    image: np.ndarray, maps: Sequence[Sequence[Any]], rows: Sequence[str], methods: Sequence[str], title: str
) -> Figure:
    """A row for each target and a column for each method, or the other way round where there are many methods."""
    names, over = ([heading(method) for method in some] for some in (methods, COARSE))
    if len(methods) <= WIDEST:
        return plot.attribution_grid(image, maps, rows, names, title, over=over)
    return plot.attribution_grid(image, list(zip(*maps, strict=True)), names, rows, title, over=over)


def chosen_targets(job: Job) -> list[Target]:
    """Those of --targets, or the two likeliest classes."""
    if job.args.targets is None:
        return [Target((int(index),)) for index in (-job.probabilities).argsort(kind="stable")[:2]]
    return read_scores(job.model, job.args.targets, job.class_name)


def attribution(job: Job, method: str, target: Target) -> np.ndarray:
    """(H,W): the method's map of the image for a target; the sentence by which it refuses this network."""
    found = or_refusal(lambda: call(job, method, **target.arguments))
    return found if isinstance(found, str) else (COMMANDS[method].draw or signed)(found)[0]
