"""A network layer by layer: the page of Zeiler and Fergus (2013, arXiv:1311.2901, figure 2) for our networks.

For some channels of each layer: the nine photographs' patches that they respond to most, and the unit projected back to
pixels by the deconvnet, each patch exactly the receptive field. Deeper layers see larger patches. Before the first max
pool there are no switches: what is projected back is the same for every patch.
"""

from contextlib import nullcontext

import numpy as np

import viz
from minigrad import nn
from models.mistakes import UserError
from viz import plot
from viz.head import stages
from viz.patches import METHODS
from viz.remarks import silence

from .attribution import heading
from .job import Job
from .labelled import add_data_options, labelled_images
from .options import names, parser

options = parser(__doc__, "--data photos --per-layer 3", image=False, target=False)
add_data_options(options, count=240)
add = options.add_argument
add(
    "--layers",
    metavar="A,B,...",
    help="of which channels are drawn (default: the last maps of each of the first five sizes)",
)
options.number("--per-layer", 3, "channels of each, drawn by --seed from those that respond", low=1)
options.renamed("--channels", "--per-layer")
add(
    "--method",
    choices=tuple(METHODS),
    help="how a unit is projected (default: deconvnet, or guided_backprop without max pools to take switches from)",
)
SIDE = 60  # pixels of a patch's side on the page, at least


def run(job: Job) -> None:
    """Write the strongest patches of each layer, as the paper shows them."""
    args, model = job.args, job.model
    layers = names(args.layers) or stages(model)[:5]
    pooled = any(isinstance(module, nn.MaxPool2d) for _, module in model.named_modules())
    method = args.method or ("deconvnet" if pooled else "guided_backprop")
    data = labelled_images(args.data, model.input_size, args.count, args.seed, model)
    maxima = viz.channel_maxima(model, data.images, layers, progress=job.progress)
    pictures, labels, arrays, numbers = [], [], {}, {}
    for layer in layers:
        channels = viz.live_channels(maxima[layer], args.per_layer, 9, job.rng)
        if len(channels) < args.per_layer:
            raise UserError(
                f"{layer} has {len(channels)} channels that respond in 9 photographs: give a larger --count"
            )
        for channel in channels:
            found = viz.top_patches(model, data.images, layer, int(channel), 9, maxima[layer])
            with silence() if pooled else nullcontext():  # the first layers lie before the pools: see the description
                back = viz.projections(model, data.images, found, method)
            back = np.stack([plot.centred(p) for p in back]).astype(np.float32)
            pictures += [viz.tile(viz.enlarge(patches, SIDE), gap=3) for patches in (found.pixels, back)]
            names_of = (f"{kind}_{layer}_{channel}" for kind in ("patches", "projections"))
            arrays |= dict(zip(names_of, pictures[-2:], strict=True))
            labels += [f"{layer}, channel {channel}", f"{found.pixels.shape[2]}x{found.pixels.shape[3]} pixels"]
        numbers[layer] = {"channels": channels, "receptive_field": found.box[0, 2:] - found.box[0, :2]}
    shown = f"strongest patches of {len(data.labels)} photographs, and {heading(method).lower()}"
    title = f"{model.name}, layer by layer: {shown}"
    job.write(
        title,
        figure=plot.pictures(pictures, labels, title, columns=2 * args.per_layer),
        arrays=arrays,
        numbers=numbers,
        settings={"method": method},
    )
