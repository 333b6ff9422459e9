"""Saliency: how much each pixel changes the score of a class, a layer, a channel or a neuron.

M = max over channels of |dy/dx|, y the score before the softmax (Simonyan et al. 2013, arXiv:1312.6034, section 3).
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/saliency.py photo.jpg --target zebra", neuron=True)
options.add_argument(
    "--reduce",
    choices=("max", "sum", "l2"),
    default="max",
    help="how the three channels' |dy/dx| become one number (default %(default)s, as the paper)",
)


def run(job):
    maps = viz.saliency(job.model, job.image, **job.explained, reduce=job.args.reduce)
    label = {"max": "max over channels of |dy/dx|", "sum": "sum over channels of |dy/dx|", "l2": "length of dy/dx"}
    job.write(
        figure=sheet.attribution(job.image, maps, job.title("Saliency"), label[job.args.reduce]),
        arrays={"image": job.image, "map": maps},
        numbers={"largest": maps.max(), "mean": maps.mean()},
        line=job.title("saliency"),
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
