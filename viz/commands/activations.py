"""What a layer says of a photograph: its activation maps, the strongest channels first.

With --place, the arithmetic of one number of them: the patches that it is made of, of those input channels that add
most, each with its kernel, their products and the sum; the rest, the bias, and who takes the number next.
"""

from typing import Any

import numpy as np

import viz
from models.mistakes import UserError
from viz import plot
from viz.arithmetic import Arithmetic
from viz.cam import default_layer

from .job import Job
from .options import parser
from .target import read_unit

options = parser(__doc__, "photo.jpg --layer relu1_1 --top 32", target=False)
options.add_argument("--layer", metavar="NAME", help="where to look (default: the last rectified convolution)")
options.number("--top", 23, "how many channels, the strongest", low=1)
options.add_argument("--own", action="store_true", help="each map on its own scale (default: one for all)")
options.add_argument("--place", metavar="CHANNEL,ROW,COLUMN", help="the arithmetic of this number, in place of maps")
options.renamed("--count", "--top")


def run(job: Job) -> None:
    """Write the maps of the layer's strongest channels beside the photograph, or the arithmetic of a place."""
    args = job.args
    layer = args.layer or default_layer(job.model)
    if args.place is not None:
        return place(job, layer, read_unit(args.place))
    a = viz.activation_maps(job.model, job.image, layer)
    if a.ndim != 4:
        raise UserError(f"--layer {layer} has no maps, its output is a vector of {a.shape[1]}: take a layer before it")
    channels = viz.strongest_channels(a, args.top)
    silent = int((a[0].max((1, 2)) <= 0).sum())
    title = f"{layer} of {job.image_name}: {len(channels)} of {a.shape[1]} channels, {silent} silent"
    job.write(
        title,
        figure=plot.maps(
            a[0, channels],
            [f"channel {c}" for c in channels],
            title,
            "activation",
            shared=not args.own,
            image=job.image,
        ),
        arrays={"image": job.image, "activations": a, "channels": channels},
        numbers={"silent": silent, "strongest": channels, "means": a[0, channels].mean((1, 2))},
        settings={"layer": layer},
    )


def place(job: Job, layer: str, unit: tuple[int, ...]) -> None:
    """Write what one number is made of, and who takes it."""
    if job.args.own or job.args.top != options.get_default("top"):
        raise UserError("--place is of one number: it takes no --top and no --own")
    found, uses = viz.arithmetic(job.model, job.image, layer, unit), viz.uses(job.model, job.image, layer, unit)
    weighted = [one for one in found.terms if one.kernel is not None]
    arrays = {"image": job.image, "patches": [one.patch for one in found.terms]}
    arrays |= {"kernels": [one.kernel for one in weighted], "products": [one.patch * one.kernel for one in weighted]}
    added = [f"{one.sum:.3g} (channel {one.channel})" for one in weighted]
    added += [f"{found.rest:.3g} (of {found.more} others)"] if found.more else []
    added += [f"{found.bias:.3g} (bias)"] if found.bias is not None else []
    words = (f"{what} {n}" for what, n in zip(("channel", "row", "column"), unit, strict=False))
    title = f"{layer}, {', '.join(words)}: {found.value:.3g}"
    job.write(
        f"{title}: {found.note}" + (f": {' + '.join(added)}" if added else ""),
        figure=drawn(found, title) if has_patches(found) else None,
        arrays={name: np.array(one) for name, one in arrays.items() if len(one)},
        numbers={
            **{name: getattr(found, name) for name in ("value", "source", "note", "rest", "more", "bias")},
            "channels": [one.channel for one in found.terms],
            "sums": [one.sum for one in weighted],
            "inputs": [vars(one) for one in found.inputs],
            "uses": [vars(one) for one in uses],
        },
    )


def has_patches(found: Arithmetic) -> bool:
    """Whether an Arithmetic is of patches that can be drawn."""
    return any(one.patch.size > 1 for one in found.terms)


def drawn(found: Arithmetic, title: str) -> Any:
    """A row for each input channel: its patch, the kernel, their products."""
    cells, labels = [], []
    for one in found.terms:
        cells.append(np.where(np.isfinite(one.patch), one.patch, np.nan))
        labels.append(f"channel {one.channel} of {found.source or 'the photograph'}")
        if one.kernel is not None:
            cells += [one.kernel, one.patch * one.kernel]
            labels += ["times its kernel", f"their products, sum {one.sum:.3g}"]
    return plot.maps(cells, labels, title, "value", columns=3 if len(cells) > 1 else 1, shared=False)
