"""Classify a photograph: the classes of highest probability, the softmax of the network's scores."""

import numpy as np
from command import UserError, main, parser

from viz import plot

options = parser(__doc__, "python scripts/classify.py photo.jpg --top 5", target=False)
options.add_argument("--top", type=int, default=5, metavar="K", help="how many classes to show (default %(default)s)")


def run(job):
    if job.args.top < 1:
        raise UserError(f"--top must be at least 1, got {job.args.top}")
    best = np.argsort(-job.probabilities, kind="stable")[: job.args.top]
    names, values = [job.class_name(index) for index in best], job.probabilities[best]
    job.write(
        figure=plot.bars(names, values, f"{job.image_name}, seen by {job.model.name}", image=job.image, highlight=0),
        arrays={"image": job.image, "probabilities": job.probabilities},
        numbers={"top": [{"class": c, "name": n, "p": p} for c, n, p in zip(best, names, values, strict=True)]},
        line="classes: " + ", ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True)),
    )


if __name__ == "__main__":
    raise SystemExit(main(options, run))
