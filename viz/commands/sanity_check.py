"""Sanity check of attribution methods: do their maps depend on what the network has learned?

The weights are drawn anew layer after layer, from the top, and each map is compared with that of the trained network,
by rank correlation and SSIM (Adebayo et al. 2018, arXiv:1810.03292, section 4.1). A method whose maps stay alike would
show the same for a network that knows nothing. Numbers are means over --draws of the weights and over photographs, with
95 % intervals for other draws and photographs, where there are five of them at least; the first draw and photograph are
shown. A deep network takes long (--looks times --draws maps by each method): fewer of either, or of --methods, make it
short. Where a method does not apply to the network, the sentence that says why stands in its row.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import viz
from minigrad.nn import Module
from models.mistakes import UserError
from viz import plot
from viz.intervals import Estimate
from viz.randomization import Randomization
from viz.remarks import silence

from .attribution import heading
from .job import Job
from .kept import Keep, add_store_option, add_worker_options, kept
from .labelled import WHERE, labelled_images
from .methods import METHODS, SLOW, chosen_methods, or_refusal, refusals
from .options import parser
from .tables import markdown, with_refusals

FLAT = ("random", "centre")
DEFAULT = ",".join(name for name in METHODS if name not in SLOW + FLAT)
FEWEST = 5  # draws or photographs: an interval of fewer would be far too narrow
DRAWN = 8  # methods whose maps are drawn; more would make a figure of several screens

options = parser(__doc__, "photo.jpg --methods saliency,guided_backprop,grad_cam")
options.add_argument(
    "--methods",
    default=DEFAULT,
    metavar="A,B,...",
    help=f"any of {', '.join(METHODS)} (default: all but {', '.join((*SLOW, *FLAT))})",
)
options.add_argument("--data", type=Path, metavar="DIR", help=f"in place of IMAGE: {WHERE}")
options.number("--count", 20, "how many photographs of --data", low=1)
options.number("--draws", 10, "of the weights", low=1)
options.number("--looks", 16, "at a map for each draw, after so many of the layers, evenly", low=2)
add_store_option(options)
add_worker_options(options)


def run(job: Job) -> None:
    """Write the maps as layers are randomised, and how like the trained network's they stay."""
    methods = chosen_methods(job.args.methods)
    images, targets = photographs(job)
    found = {}
    with job.stoppable(), kept(job, images) as keep:
        for name in tqdm(methods, "sanity_check", disable=not job.progress):
            if job.stopped and found:
                break
            found[name] = or_refusal(lambda name=name: randomizations(job, images, targets, name, keep))
            job.done = len(found), len(methods)
    write(job, images, found)


def randomizations(job: Job, images: np.ndarray, targets: Any, name: str, keep: Keep) -> list[Randomization]:
    """The Randomization of each draw of the weights."""
    compute = partial(randomized, name, job.args.looks)
    items = {f"{name}, draw {n}": (images, targets, (job.args.seed, n)) for n in range(job.args.draws)}
    found = []
    for its in keep.all(compute, job.model, items):
        layers = tuple(np.char.decode(its["layers"], "utf-8").tolist())
        found.append(Randomization(layers, its["maps"], its["spearman"], its["ssim"]))
    return found


def randomized(
    name: str, looks: int, model: Module, images: np.ndarray, targets: Any, seed: tuple[int, int]
) -> dict[str, np.ndarray]:
    """The parts of a Randomization, with the maps of the first photograph alone, which is shown."""
    with silence():  # on maps that are zero: here that is a result
        found = viz.model_randomization(model, images, METHODS[name], targets, seed, looks=looks)
    layers = np.char.encode(np.array(found.layers), "utf-8")
    return {"layers": layers, "maps": found.maps[:, :1], "spearman": found.spearman, "ssim": found.ssim}


def photographs(job: Job) -> tuple[np.ndarray, Any]:
    """(N,3,H,W) images and the classes to explain: IMAGE and --target, or those of --data and each one's top class."""
    if job.args.data is None:
        options.refuse(job.args, ["count"], "without --data")
        return job.image, job.target
    if job.args.image or job.args.target:
        raise UserError("give IMAGE and --target, or --data, not both")
    return labelled_images(job.args.data, job.model.input_size, job.args.count, job.args.seed, job.model).images, None


def write(job: Job, images: np.ndarray, found: Mapping[str, list[Randomization]]) -> None:
    """Write the table, the maps and the curves of all methods that do not refuse the network."""
    refused = refusals(found)
    found = {name: draws for name, draws in found.items() if name not in refused}
    layers = next(iter(found.values()))[0].layers
    rows = [
        {"method": name} | {f"{kind} {layer}": value for kind, layer, value in summary(draws)}
        for name, draws in found.items()
    ]
    shown = sorted(k for k in {0, 1, 2, len(layers) // 2, len(layers)} if k <= len(layers))
    drawn_of = list(found)[:DRAWN]
    maps = [[found[name][0].maps[k][0] for k in shown] for name in drawn_of]
    maps += [[sentence] * len(shown) for sentence in refused.values()]
    columns = ["trained", *(f"down to {layers[k - 1]}" for k in shown[1:])]
    table = markdown(with_refusals(rows, refused), "{:.2f}")
    likeness = {f"{name}_{kind}": drawn(draws, kind) for name, draws in found.items() for kind in ("spearman", "ssim")}
    curves = {name: likeness[f"{name}_spearman"].mean((0, 2)) for name in found}
    some = f", of the first {DRAWN} of {len(found)} methods" if len(found) > DRAWN else ""
    title = job.heading("Maps as layers are randomised" + some)
    likeness_title = job.heading(
        "Rank correlation with the trained network's map: near 1, the map does not depend on what was learned"
    )
    job.write(
        figure=plot.attribution_grid(
            images[0], maps, list(map(heading, [*drawn_of, *refused])), columns, title, over=()
        ),
        arrays=likeness,  # each (draws, layers + 1, photographs)
        numbers={
            "layers": layers,
            "rows": rows,
            "refused": refused,
            "table": table,
            "images": len(images),
            "draws": job.args.draws,
        },
        line=f"sanity check of {', '.join(found)}",
    )
    job.write(
        figure=plot.matrix(
            list(curves.values()),
            list(map(heading, curves)),
            ["trained", *layers],
            likeness_title,
            "layers randomised, down to",
        ),
        line=f"\n{table}",
        part="likeness",
    )


def drawn(draws: Sequence[Randomization], kind: str) -> np.ndarray:
    """(D,L+1,N): a likeness of D draws."""
    return np.stack([getattr(one, kind) for one in draws])


def summary(draws: Sequence[Randomization]) -> Iterator[tuple[str, str, Estimate]]:
    """(kind, place, mean over draws and images) after the top layer, half of the layers, and all."""
    count = len(draws[0].layers)
    for kind, values in (("rank", drawn(draws, "spearman")), ("SSIM", drawn(draws, "ssim"))):
        for place, k in (("top", 1), ("half", (count + 1) // 2), ("all", count)):
            few = any(1 < n < FEWEST for n in values[:, k].shape)
            mean = viz.estimate(values[:, k])
            yield kind, place, Estimate(mean, math.nan, math.nan) if few else mean
