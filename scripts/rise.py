"""RISE: the mean of random masks, weighted by the probability of the class behind them.

S = 1 / (p n) * sum_i y(x * M_i) M_i over n random masks M_i that keep a share p (Petsiuk et al. 2018, arXiv:1806.07421,
equation 6). The network is only asked, never differentiated.
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/rise.py photo.jpg --target cat --samples 4000", neuron=True)
options.add_argument("--samples", type=int, default=2000, help="how many masks (default %(default)s)")
options.add_argument("--cells", type=int, default=7, help="cells of a mask in each direction (default %(default)s)")
options.add_argument("--keep", type=float, default=0.5, help="share of cells that stay (default %(default)s)")
options.add_argument(
    "--output",
    choices=("probability", "logit"),
    default="probability",
    help="the weight of a mask: the class's probability, or its score before the softmax (default %(default)s)",
)
options.add_argument("--batch-size", type=int, default=32, help="masked images at a time (default %(default)s)")


def run(job):
    names = ("samples", "cells", "keep", "output", "batch_size", "seed")
    how = {name: getattr(job.args, name) for name in names}
    how |= {"progress": job.progress, "callback": lambda _: job.stopped}
    with job.stoppable():
        maps = viz.rise(job.model, job.image, **job.explained, **how)
    shown = maps - maps.mean()  # every map lies around the mean over the masks, which would drown what differs
    label = f"mean {job.args.output} where the pixel is kept, less its mean {maps.mean():.3g}"
    job.write(
        figure=sheet.attribution(job.image, shown, job.title("RISE"), label),
        arrays={"image": job.image, "map": maps},
        numbers={"largest": maps.max(), "smallest": maps.min()},
        line=job.title("RISE"),
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
