"""What a layer says of a photograph: its activation maps, the strongest channels first."""

import viz
from models.mistakes import UserError
from viz import plot
from viz.cam import default_layer

from .job import Job
from .options import parser

options = parser(__doc__, "photo.jpg --layer relu1_1 --top 32", target=False)
options.add_argument("--layer", metavar="NAME", help="where to look (default: the last rectified convolution)")
options.number("--top", 23, "how many channels, the strongest", low=1)
options.add_argument("--own", action="store_true", help="each map on its own scale (default: one for all)")
options.renamed("--count", "--top")


def run(job: Job) -> None:
    """Write the maps of the layer's strongest channels beside the photograph."""
    args = job.args
    layer = args.layer or default_layer(job.model)
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
    )
