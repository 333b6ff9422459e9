"""Bias hunting: over a folder, does the network look at the object, and where does it look when it is wrong?

For every photograph, the share of the map's mass that falls inside a mask (--masks, pictures of the same names, white
where the object is) or, without masks, inside the central box that holds half of the area. A class that is recognised
by its surroundings has its mass outside. The photographs it gets wrong are drawn with the map of the class that it
names.
"""

from argparse import Namespace
from dataclasses import replace
from functools import partial

import numpy as np
from matplotlib.figure import Figure

import models
import viz
from minigrad.nn import Module
from models.mistakes import UserError
from viz import plot
from viz.attacks import scores
from viz.table import Table

from .job import Job
from .kept import add_store_option, add_worker_options, by_batches, kept
from .labelled import Labelled, add_data_options, labelled_images, model_for
from .methods import METHODS
from .options import parser
from .tables import counted, markdown

options = parser(__doc__, "--data photos --method grad_cam", image=False, target=False)
add_data_options(options, count=240, flat=True)
add, number = options.add_argument, options.number
add(
    "--method",
    choices=METHODS,
    default="grad_cam",
    metavar="NAME",
    help=f"of the map: {', '.join(METHODS)} (default %(default)s)",
)
add("--masks", metavar="DIR", help="where the objects are: DIR/<class>/<name>.png for each photograph")
number("--box", 0.5, "of the area, for the central box", above=0, high=1, metavar="SHARE")
number("--shown", 12, "wrong answers in the figure", low=0)
add_store_option(options)
add_worker_options(options)


def run(job: Job) -> None:
    """Write the table of where the maps lie, class by class, and the wrong answers with theirs."""
    args = job.args
    data = labelled_images(args.data, job.model.input_size, args.count, args.seed, job.model, flat=True)
    model = job.model if data.flat else model_for(job.model, data)
    found, heat = scores_and_maps(job, model, data.images)
    named = found.argmax(1)
    if data.flat:  # what the network names takes the place of what is known
        data = replace(data, labels=named, names=tuple(map(job.class_name, range(found.shape[1]))))
    masks = read_masks(args, data)
    inside = viz.mass_inside(heat, masks)
    rows = viz.bias_table(inside, masks.mean((1, 2)), data.labels, named, data.names)
    if data.flat:
        rows = Table({key: row[key] for key in ("class", "images", "area", "inside")} for row in rows)
    subject = job.subject()
    text = markdown(rows)
    job.write_text(text, ".md", subject)
    job.say(text)
    wrong = np.flatnonzero(named != data.labels)
    place = f"{'the central box' if args.masks is None else 'the masks'}, {masks.mean():.0%} of the area"
    drawn = "" if len(wrong) and args.shown else f"; no figure, {'--shown is 0' if len(wrong) else no_wrong(data)}"
    shown = counted(len(named), "photograph") if data.flat else f"{rows[-1]['accuracy']:.1%} of {len(named)} right"
    mass = "none" if rows[-1]["inside"] is None else f"{rows[-1]['inside']:.1%}"
    job.write(
        f"{shown}, {mass} of the maps' mass inside {place}{drawn}",
        figure=None if drawn else wrong_answers(data, heat, masks, named, inside, wrong[: args.shown], place),
        arrays={
            "image": data.images,
            "map": heat.astype(np.float32),
            "inside": inside,
            "labels": data.labels,
            "named": named,
        },
        numbers={"rows": rows, "wrong": [data.paths[n].name for n in wrong]},
        subject=subject,
    )


def scores_and_maps(job: Job, model: Module, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((N,K), the maps (N,H,W) of the class with the highest)."""

    method = job.args.method
    with kept(job, images) as keep:
        found = by_batches(keep, method, partial(scored, method), model, [images], progress=job.progress)
    return found["scores"], found["map"]


def scored(method: str, model: Module, images: np.ndarray) -> dict[str, np.ndarray]:
    """The scores of a batch, and the maps of the classes that it is taken for."""
    found = scores(model, images)
    return {"scores": found, "map": METHODS[method].map(model, images, found.argmax(1))}


def no_wrong(data: Labelled) -> str:
    """Why there is no figure of wrong answers."""
    return "which answers are wrong is not known" if data.flat else "no answer is wrong"


def read_masks(args: Namespace, data: Labelled) -> np.ndarray:
    """(N,H,W) bool."""
    height, width = data.images.shape[2:]
    if args.masks is None:
        return np.broadcast_to(viz.central_box(height, width, args.box), (len(data.labels), height, width))
    masks = []
    for path in data.paths:
        there = f"{args.masks}/{path.parent.name}/{path.stem}.png"
        masks.append(models.load_image(there, (height, width))[0].mean(0) > 0.5)
        if not masks[-1].any():
            raise UserError(f"--masks: {there} is black all over: where is the object?")
    return np.stack(masks)


def wrong_answers(
    data: Labelled,
    heat: np.ndarray,
    masks: np.ndarray,
    named: np.ndarray,
    inside: np.ndarray,
    wrong: np.ndarray,
    place: str,
) -> Figure:
    """Photographs under the map of the class that each is wrongly taken for, the object's place outlined."""
    overlays = [plot.overlay(data.images[n], heat[n]).transpose(2, 0, 1) for n in wrong]
    pictures = [viz.outline_mask(overlay, masks[n], outside=1) for overlay, n in zip(overlays, wrong, strict=True)]
    labels = [f"{data.names[data.labels[n]]}, taken for {data.names[named[n]]}; {inside[n]:.0%} inside" for n in wrong]
    columns = min((4, 3, 5), key=lambda count: -len(wrong) % count)  # that leaves fewest cells empty
    title = f"Wrong answers, and where the network looks for what it names; outlined: {place}"
    return plot.pictures(pictures, labels, title, columns=min(columns, len(wrong)))
