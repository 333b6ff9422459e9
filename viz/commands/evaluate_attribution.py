"""Attribution methods measured over photographs with known classes, as a table in Markdown and JSON.

Insertion (higher is better) and deletion (lower): the area below the class's probability as pixels come or go in the
order of the map (Petsiuk et al. 2018, arXiv:1806.07421). Pointing: how often the map's maximum falls on the right one
of four photographs in a mosaic (Zhang et al. 2016, arXiv:1608.00507), and share, how much of its positive part does
(Boehle et al. 2021, arXiv:2104.00032): chance is 25 %. Infidelity (lower): what share of the change of the score under
noise the attribution, best scaled, leaves unexplained (Yeh et al. 2019, arXiv:1901.09392; viz/fidelity.py): chance is
1 - 1/(noises - 1). Seconds are those of one explanation.

By name (--measures) also: road, the class's probability once the least relevant pixels are imputed less that once the
most relevant are, the mean over shares of 10 to 90 % (Rong et al. 2022, arXiv:2202.00449; chance is 0); faithfulness,
the correlation of sums of the map with what the loss of those pixels does (Bhatt et al. 2020, arXiv:2005.00631; 0);
other_class, the rank correlation with the map of another class (Sixt et al. 2020, arXiv:1912.09818; 1 if the class does
not matter); and sparseness, the map's Gini index (Chalasani et al. 2020, arXiv:1810.06583; neither end is better).

Photographs that the network gets wrong are left out. "random" and "centre" look at nothing: a method should beat them.
Where a method does not apply to the network, the sentence that says why stands in its row. Behind each mean stands the
interval that 95 % of such draws of photographs would give; a second table has the differences to the centre, photograph
by photograph, which are known better than the means.
"""

import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
import viz
from minigrad.nn import Module
from models.mistakes import UserError
from viz import plot
from viz.checks import Curves
from viz.remarks import silence
from viz.target import as_image, logits

from .attribution import heading
from .job import Job
from .kept import Keep, add_store_option, add_worker_options, by_batches, kept
from .labelled import add_data_options, labelled_images, model_for
from .methods import METHODS, Method, chosen_methods, or_refusal, refusals
from .options import chosen, parser
from .tables import markdown, with_refusals

OF_MEASURES = {"curves": ("steps", "curves"), "grid": ("tiles",), "infidelity": ("noises", "sigma")}  # and options
DEFAULT = tuple(OF_MEASURES)  # insertion and deletion; pointing and share; infidelity
MEASURES = (*DEFAULT, "road", "faithfulness", "other_class", "sparseness")
FIRST = ("seconds", "insertion", "deletion", "pointing", "share", "infidelity")  # columns; others follow by name

options = parser(__doc__, "--data imagenette --count 200", False, False)
add_data_options(options, 200)
add, number = options.add_argument, options.number
add(
    "--methods",
    default=",".join(METHODS),
    metavar="A,B,...",
    help=f"of attribution (default: all of {', '.join(METHODS)})",
)
number("--steps", 16, "points of the insertion and deletion curves")
add(
    "--curves",
    choices=("ours", "authors"),
    default="ours",
    help="cover with grey and begin with a Gaussian blur, or, to "
    "compare with papers, as the code of Petsiuk et al. does, a step for each row of pixels (default %(default)s)",
)
number("--noises", 128, "noisy images for infidelity", low=3)
number("--sigma", 0.1, "of that noise, in units of pixels in [0, 1]", above=0, high=1)
add(
    "--measures",
    default=",".join(DEFAULT),
    metavar="A,B,...",
    help=f"what is measured, any of {', '.join(MEASURES)} (default: {', '.join(DEFAULT)})",
)
add(
    "--tiles",
    choices=("full", "half"),
    default="full",
    help="mosaics of four photographs at the network's input size, "
    "as published, or at half of it, for networks that take no larger picture (default %(default)s)",
)
number("--batch-size", 10, "photographs explained at a time")
add_store_option(options)
add_worker_options(options)


def run(job: Job) -> None:
    """Write the table of measures for each method, and their chart."""
    methods, measures = chosen_methods(job.args.methods), chosen(job.args.measures, MEASURES, "measure")
    for measure_name, its in OF_MEASURES.items():
        if measure_name not in measures:
            options.refuse(job.args, its, f"without --measures {measure_name}")
    if job.args.curves == "authors":
        options.refuse(job.args, ["steps"], "with --curves authors, which are of a step for each row")
    model, images, labels = right_ones(job)
    mosaics = pictured(job, images, labels) if "grid" in measures else None

    measured, refused, arrays, before = {}, {}, {}, []
    photographs = images, labels
    with job.stoppable(), kept(job, images) as keep:
        for name in methods:
            if job.stopped:
                break
            found = or_refusal(lambda name=name: measure(job, name, model, photographs, mosaics, measures, keep))
            if isinstance(found, str):
                refused[name] = found
            else:
                measured[name] = found
                arrays |= {f"{name}_{key}": value for key, value in found.items()}
            job.done = len(measured) + len(refused), len(methods)
            if measured:
                before = write(job, name, measured, refused, arrays, len(images), before)
    refusals(measured | refused)


def pictured(job: Job, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The mosaics of four photographs each, one for each photograph."""
    if len(set(labels)) < 4:
        raise UserError(f"the mosaics need photographs of at least 4 classes, --data has {len(set(labels))}")
    return viz.mosaics(images if job.args.tiles == "full" else halved(images), labels, len(images), job.args.seed)


def write(
    job: Job,
    name: str,
    measured: Mapping[str, Mapping[str, np.ndarray]],
    refused: Mapping[str, str],
    arrays: Mapping[str, Any],
    count: int,
    before: list[Path],
) -> list[Path]:
    """After each method, so that nothing is lost if the run is cut off: until the last one under the part "so_far".

    before: the paths of that part, which go once all is there. Returns them.
    """
    done, of = job.done
    numbers, whole = tables(measured, refused, count, job.args.noises), done == of or job.stopped
    line = f"{name}: {refused[name]}" if name in refused else f"{name}, {done} of {of}"
    if whole:
        line += f"\n\n{numbers['table']}\n{numbers.get('differences_table', '')}"
    written = job.write(line, chart(job, measured, count), arrays, numbers, part="" if whole else "so_far")
    if not whole:
        return written
    for path in before:
        path.unlink()
    return []


def chance_of(noises: int) -> dict[str, float]:
    """{measure: what a map that knows nothing gets}, of those where that is known."""
    known = {"pointing": 0.25, "share": 0.25, "road": 0.0, "faithfulness": 0.0}
    return known | {"infidelity": viz.chance_infidelity(noises)}


def tables(
    measured: Mapping[str, Mapping[str, np.ndarray]], refused: Mapping[str, str], count: int, noises: int
) -> dict[str, Any]:
    """The numbers of the record, with the tables in Markdown."""
    chance = chance_of(noises)
    rows = [{"method": name} | {k: viz.estimate(v) for k, v in found.items()} for name, found in measured.items()]
    by_chance = {"method": "chance"} | {key: chance.get(key) for key in rows[0] if key != "method"}
    text = markdown(with_refusals([*rows, by_chance], refused), "{:.3f}")
    numbers = {"images": count, "chance": chance, "rows": rows, "refused": refused, "table": text}
    if "centre" not in measured:
        return numbers
    against = [
        {"less the centre": name} | {k: viz.difference(v, measured["centre"][k]) for k, v in found.items()}
        for name, found in measured.items()
        if name != "centre"
    ]
    return numbers | {"differences": against, "differences_table": markdown(against, "{:+.3f}") if against else ""}


HIGHER = ("insertion", "pointing", "share", "road", "faithfulness")  # is better
LOWER = ("deletion", "infidelity", "other_class")


def chart(job: Job, measured: Mapping[str, Mapping[str, np.ndarray]], count: int) -> Figure:
    """The means as a table, with chance where it is known; the best of each column is the darkest, the worst white."""
    columns = [key for key in next(iter(measured.values())) if key in HIGHER + LOWER]
    if not columns:
        return None
    known = chance_of(job.args.noises)
    means = [[found[key].mean() for key in columns] for found in measured.values()]
    means = np.array([*means, [known.get(key, np.nan) for key in columns]])
    good = means * [1 if key in HIGHER else -1 for key in columns]
    low, high = np.nanmin(good, 0), np.nanmax(good, 0)
    shades = np.where(high > low, (good - low) / np.where(high > low, high - low, 1), 0.5)
    title = job.heading(f"Attributions of {job.model.name} measured, means over {count} photographs; dark is good")
    names = [f"{key.replace('_', ' ')} ({'higher' if key in HIGHER else 'lower'} is better)" for key in columns]
    return plot.matrix(means, [*map(heading, measured), "chance"], names, title, shades=shades)


def halved(images: np.ndarray) -> np.ndarray:
    """(N,3,H,W) as (N,3,H/2,W/2), each pixel the mean of four."""
    n, c, h, w = images.shape
    return images[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def right_ones(job: Job) -> tuple[Module, np.ndarray, np.ndarray]:
    """The model with the photographs' classes, and up to --count photographs that it gets right, with their classes."""
    drawn = labelled_images(job.args.data, job.model.input_size, 2 * job.args.count, job.args.seed, job.model)
    model = model_for(job.model, drawn)
    with mg.no_grad():
        batches = np.array_split(drawn.images, -(-len(drawn.images) // 32))
        guesses = np.concatenate([logits(model, as_image(model, batch)).numpy().argmax(1) for batch in batches])
    right = np.flatnonzero(guesses == drawn.labels)
    chosen = np.sort(job.rng.permutation(right)[: job.args.count])
    if not len(chosen):
        raise UserError(f"{job.args.model} gets none of the photographs of --data {job.args.data} right")
    return model, drawn.images[chosen], drawn.labels[chosen]


def measure(
    job: Job,
    name: str,
    model: Module,
    photographs: tuple[np.ndarray, np.ndarray],
    mosaics: tuple[np.ndarray, ...] | None,
    measures: Sequence[str],
    keep: Keep,
) -> dict[str, np.ndarray]:
    """{measure: (N,) values} of one method."""
    arrays = [*photographs, *(mosaics or ())]
    compute = partial(measured_of, job.args, name, measures)
    found = by_batches(keep, name, compute, model, arrays, job.args.batch_size, job.progress)
    place = {key: n for n, key in enumerate(FIRST)}  # a store gives them by name
    return dict(sorted(found.items(), key=lambda one: (place.get(one[0], len(FIRST)), one[0])))


def measured_of(
    args: Namespace,
    name: str,
    measures: Sequence[str],
    model: Module,
    images: np.ndarray,
    labels: np.ndarray,
    *mosaics: np.ndarray,
) -> dict[str, np.ndarray]:
    """{measure: (N,) values} of one method for one batch."""
    method, began = METHODS[name], time.perf_counter()
    attribution = method(model, images, labels)
    new = {"seconds": np.full(len(images), (time.perf_counter() - began) / len(images))}
    if "curves" in measures:
        curves = insertion_deletion(args, model, images, viz.per_pixel(attribution, method.how), labels)
        new |= {"insertion": curves.insertion_area, "deletion": curves.deletion_area}
    if "grid" in measures:
        pictures, classes, boxes = mosaics
        maps = method.map(model, pictures.astype(images.dtype), classes)
        new["pointing"] = viz.pointing_game(maps, boxes, tolerance=0).astype(float)
        new["share"] = viz.positive_share(maps, boxes)
    if "infidelity" in measures:
        how = {"samples": args.noises, "sigma": args.sigma, "seed": args.seed}
        new["infidelity"] = viz.relative_infidelity(model, images, attribution, labels, **how)
    return new | further(args, method, measures, model, images, attribution, labels)


def further(
    args: Namespace,
    method: Method,
    measures: Sequence[str],
    model: Module,
    images: np.ndarray,
    attribution: np.ndarray,
    labels: np.ndarray,
) -> dict[str, np.ndarray]:
    """{measure: (N,)} of those that are asked for by name."""
    maps = viz.per_pixel(attribution, method.how)
    found = {
        "road": lambda: viz.road(model, images, maps, labels, seed=args.seed).gap,
        "faithfulness": lambda: viz.faithfulness_correlation(model, images, maps, labels, seed=args.seed),
        "other_class": lambda: viz.random_logit(model, images, method, labels, seed=args.seed)[0],
        "sparseness": lambda: viz.sparseness(maps),
    }
    with silence():  # on another class's map that is zero: here that is a result
        return {name: measure() for name, measure in found.items() if name in measures}


def insertion_deletion(
    args: Namespace, model: Module, images: np.ndarray, maps: np.ndarray, labels: np.ndarray
) -> Curves:
    """The curves with our settings, or with those of the authors' code."""
    authors = {"steps": images.shape[2], "fill": "mean", "blur": "authors"}
    how = authors if args.curves == "authors" else {"steps": args.steps}
    return viz.insertion_deletion(model, images, maps, labels, seed=args.seed, **how)
