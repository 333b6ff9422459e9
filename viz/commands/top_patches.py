"""The patches of a folder's photographs that a channel responds to most, beside what of them it responds to.

Each patch is exactly the unit's receptive field. Beside it is the unit projected back to pixels, by guided
backpropagation (Springenberg et al. 2014) or the deconvnet (Zeiler and Fergus 2013).
"""

from functools import partial
from typing import Any

import numpy as np

import viz
from minigrad import nn
from minigrad.nn import Module
from minigrad.nn.activations import Activation
from models.mistakes import UserError
from viz import plot
from viz.cam import default_layer
from viz.patches import METHODS
from viz.target import channels as channels_of

from .attribution import heading
from .job import Job
from .kept import Keep, add_store_option, add_worker_options, by_batches, kept
from .labelled import Labelled, add_data_options, labelled_images
from .options import once, parser
from .tables import counted

options = parser(__doc__, "--data photos --layer relu3_1 --channels 3 17", False, False)
add_data_options(options, count=240, flat=True)
add, number = options.add_argument, options.number
add(
    "--layer",
    metavar="NAME",
    help="where to look (default: the last rectified convolution that sees less than half of a photograph)",
)
number("--channels", int, "which", low=0, nargs="+", shown="default: four drawn by --seed from those that respond")
number("--patches", 9, "for each channel", low=1)
add("--method", choices=tuple(METHODS), default="guided_backprop", help="how a unit is projected (default %(default)s)")
add_store_option(options)
add_worker_options(options)


def run(job: Job) -> None:
    """Write the strongest patches of the layer's channels, with what of them it responds to."""
    args, model = job.args, job.model
    data = labelled_images(args.data, model.input_size, args.count, args.seed, model, flat=True)
    once(args.channels, "channel")
    layer = args.layer or of_parts(model)
    with kept(job, data.images) as keep:
        write(job, data, layer, keep)


def write(job: Job, data: Labelled, layer: str, keep: Keep) -> None:
    """The patches of the layer's channels, as a figure, arrays and numbers."""
    args, model = job.args, job.model
    strongest = maxima_of(job, data.images, layer, keep)
    channels = args.channels or viz.live_channels(strongest, 4, args.patches, job.rng)
    if not len(channels):
        raise UserError(
            f"no channel of {layer} responds in {args.patches} photographs, of {len(data.labels)} there are: give "
            "fewer --patches, or a larger --count"
        )
    pictures, labels, arrays, numbers = [], [], {}, {}
    for channel in channels:
        found = viz.top_patches(model, data.images, layer, int(channel), args.patches, strongest)
        back = projections(job, data.images, found, keep)
        shown = np.stack([plot.centred(p) for p in back]).astype(np.float32)
        pictures += [viz.tile(viz.enlarge(patches, 60), gap=3) for patches in (found.pixels, shown)]
        labels += [f"channel {channel}, {found.activation[0]:.2f} to {found.activation[-1]:.2f}", heading(args.method)]
        arrays |= {f"patches_{channel}": found.pixels, f"projections_{channel}": back, f"boxes_{channel}": found.box}
        numbers[int(channel)] = [
            {"file": data.paths[n].name, "class": data.names[data.labels[n]] or None, "activation": float(value)}
            for n, value in zip(found.image, found.activation, strict=True)
        ]
    size = pictures and found.pixels.shape[2:]
    title = (
        f"{layer}: the strongest of {counted(len(data.labels), 'photograph')}, patches of {size[0]}x{size[1]} pixels, "
        "grey beyond a photograph's edge"
    )
    job.write(
        title,
        figure=plot.pictures(pictures, labels, title, columns=4),
        arrays=arrays,
        numbers=numbers,
        settings={"layer": layer},
    )


def maxima_of(job: Job, images: np.ndarray, layer: str, keep: Keep) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The layer's entry of viz.channel_maxima."""

    found = by_batches(keep, layer, partial(maxima, layer), job.model, [images], progress=job.progress)
    return found["activation"], found["row"], found["column"]


def maxima(layer: str, model: Module, images: np.ndarray) -> dict[str, np.ndarray]:
    """Where each channel of the layer is strongest in each of a batch's photographs."""
    found = viz.channel_maxima(model, images, [layer])[layer]
    return dict(zip(("activation", "row", "column"), found, strict=True))


def projections(job: Job, images: np.ndarray, found: viz.Patches, keep: Keep) -> np.ndarray:
    """(K,3,RH,RW): of the K patches, as viz.projections gives them."""

    def compute() -> dict[str, np.ndarray]:
        return {"projections": viz.projections(job.model, images, found, job.args.method)}

    return keep(f"{found.layer}, channel {found.channel}", compute)["projections"]


def of_parts(model: Module) -> Any:
    """The last activation whose receptive field is less than half of a photograph in each direction, or the default
    layer."""
    rows = model.layers((channels_of(model), *model.input_size))
    small = [
        row.name
        for row in rows
        if isinstance(model[row.name], nn.ReLU | Activation)
        and len(row.output_shape) == 3
        and all(2 * n < side for n, side in zip(row.receptive_field.size, model.input_size, strict=True))
    ]
    return small[-1] if small else default_layer(model)
