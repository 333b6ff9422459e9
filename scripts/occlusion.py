"""Occlusion: how much the score falls when a grey square covers a part of the photograph.

Each pixel gets the mean fall over the squares that cover it (Zeiler and Fergus 2013, arXiv:1311.2901, section 4.2).
"""

from command import main, parser

import viz
from viz import sheet

options = parser(__doc__, "python scripts/occlusion.py photo.jpg --target cat --patch 24", neuron=True)
options.add_argument("--patch", type=int, default=16, help="side of the square in pixels (default %(default)s)")
options.add_argument("--stride", type=int, default=8, help="pixels between squares (default %(default)s)")
options.add_argument("--fill", type=float, default=0.5, help="grey level of the square (default %(default)s)")
options.add_argument(
    "--output",
    choices=("logit", "probability"),
    default="logit",
    help="what falls: the score before the softmax, or after it (default %(default)s)",
)
options.add_argument("--batch-size", type=int, default=32, help="covered images at a time (default %(default)s)")


def run(job):
    names = ("patch", "stride", "fill", "output", "batch_size")
    how = {name: getattr(job.args, name) for name in names}
    maps = viz.occlusion(job.model, job.image, **job.explained, **how, progress=job.progress)
    job.write(
        figure=sheet.attribution(job.image, maps, job.title("Occlusion"), f"fall of the {job.args.output}"),
        arrays={"image": job.image, "map": maps},
        numbers={"largest": maps.max(), "smallest": maps.min()},
        line=job.title("occlusion"),
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
