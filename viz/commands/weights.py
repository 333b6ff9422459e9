"""The weights of a layer as images: a convolution's kernels, or the rows of a linear layer.

The first layer's kernels are in colour. Deeper kernels have more than three input channels: for each filter, some of
them are shown in grey. Ranges go from a filter's smallest weight (black) to its largest (white), or from all filters'
with --shared.
"""

import numpy as np

import viz
from viz import plot

from .job import Job
from .options import parser

options = parser(__doc__, "--layer conv1_1", image=False, target=False)
options.add_argument("--layer", metavar="NAME", help="where to look (default: the first layer with weights)")
options.add_argument("--shared", action="store_true", help="one range for all filters (default: each its own)")
options.number("--filters", 64, "how many, the first ones", low=1)
options.number("--inputs", 8, "how many input channels of a deeper filter", low=1)
options.renamed("--count", "--filters")
options.renamed("--channels", "--inputs")


def run(job: Job) -> None:
    """Write the layer's weights as pictures."""
    args = job.args
    layer = args.layer or next(name for name in job.model.names() if hasattr(job.model[name], "weight"))
    images = viz.weight_images(job.model, layer, args.shared)
    shown = images[: args.filters]
    if shown.shape[1] == 3:
        picture = viz.tile(shown)
    else:
        some = shown[:, : args.inputs]
        picture = viz.tile(np.stack([viz.tile(kernel[:, None], columns=some.shape[1]) for kernel in some]), gap=2)
    scale = max(1, 480 // max(picture.shape[1:]))
    ranges = "one range for all" if args.shared else "each to its own range"
    title = f"{job.model.name}, {layer}: {len(shown)} of {len(images)} filters of {images.shape[1:]}, {ranges}"
    job.write(
        title,
        figure=plot.pictures([picture.repeat(scale, 1).repeat(scale, 2)], title=title),
        arrays={"images": images, "weight": job.model[layer].weight.numpy()},
        pictures={"tiles": picture},
        settings={"layer": layer},
    )
