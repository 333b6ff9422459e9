"""Texture or shape: photographs of one class in the texture of another, and which of the two the network names.

Geirhos et al. 2019, arXiv:1811.12231: people go by shape, convolutional networks trained on photographs by texture. The
images are made by our own style transfer (Gatys et al. 2016). Only photographs that the network names right are used.
"""

import numpy as np
from matplotlib.figure import Figure

import models
import viz
from models.mistakes import UserError
from viz import plot
from viz.attacks import scores

from .job import Job
from .labelled import Labelled, add_data_options, labelled_images, model_for
from .options import parser

options = parser(__doc__, "--data photos --count 24", image=False, target=False)
add_data_options(options, count=24)
add, number = options.add_argument, options.number
add("--styled-by", metavar="MODEL", help="the network whose layers style transfer looks at (default: --model)")
number("--steps", 60, "of style transfer")
number("--style-weight", float, "of the texture", shown="default: one that suits the network")
number("--content-weight", 16.0, "of the shape, which is to stay recognisable")


def run(job: Job) -> None:
    """Write the pictures of two cues, and how often the network follows the shape."""
    args = job.args
    data = labelled_images(args.data, job.model.input_size, 4 * args.count, args.seed, job.model)
    model = model_for(job.model, data)
    right = np.flatnonzero(scores(model, data.images).argmax(1) == data.labels)
    shapes, textures = pairs(data.labels, right, args.count, job.rng)
    styled_by = job.model if args.styled_by is None else models.load(args.styled_by, device=args.device).eval()
    with job.stoppable():
        images = viz.cue_conflict(
            styled_by,
            data.images[shapes],
            data.images[textures],
            steps=args.steps,
            seed=args.seed,
            style_weight=args.style_weight,
            content_weight=args.content_weight,
            progress=job.progress,
            callback=job.until_stopped(args.count, lambda n, _: n + 1),
        )
    images = viz.as_saved(images)
    shapes, textures = shapes[: len(images)], textures[: len(images)]
    found = viz.shape_decisions(model, images, data.labels[shapes], data.labels[textures])
    named = scores(model, images).argmax(1)
    bias = "never shape or texture" if found["shape_bias"] is None else f"shape bias {found['shape_bias']:.1%}"
    job.write(
        f"{len(images)} cue-conflict images: shape {found['shape']:.1%}, texture {found['texture']:.1%}, {bias}",
        figure=figure(job, data, images, shapes, textures, named, bias),
        arrays={"images": images, "shape": data.labels[shapes], "texture": data.labels[textures], "named": named},
        numbers=found | {"classes": data.names},
        settings={"styled_by": args.styled_by or args.model},
    )


def pairs(labels: np.ndarray, usable: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` pairs (shape, texture) of indices among `usable`, of different classes, none of them twice."""
    possible = (labels[usable][:, None] != labels[usable]).sum()
    if possible < count:
        raise UserError(f"the {len(usable)} photographs that are named right make {possible} pairs: --count is {count}")
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count:
        shape, texture = rng.choice(usable, 2, replace=False)
        if labels[shape] != labels[texture] and (shape, texture) not in chosen:
            chosen.append((shape, texture))
    return np.array(chosen).T


def figure(
    job: Job, data: Labelled, images: np.ndarray, shapes: np.ndarray, textures: np.ndarray, named: np.ndarray, bias: str
) -> Figure:
    """For the first pictures: where the shape is from, where the texture is from, and what both became."""
    shown = range(min(6, len(images)))
    pictures = [stage[n] for n in shown for stage in (data.images[shapes], data.images[textures], images)]
    labels = []
    for n in shown:
        shape, texture = (data.names[data.labels[i[n]]] for i in (shapes, textures))
        labels += [f"shape: {shape}", f"texture: {texture}", f"named {data.names[named[n]]}"]
    some = f", the first {len(shown)} of them shown" if len(shown) < len(images) else ""
    title = job.heading(f"Shape against texture in {len(images)} pictures, {bias}{some}")
    return plot.pictures(pictures, labels, title, columns=6)
