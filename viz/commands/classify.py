"""Classify a photograph: the classes of highest probability, the softmax of the network's scores."""

import numpy as np

import models
from viz import plot

from .options import parser

options = parser(__doc__, "photo.jpg --top 5", target=False)
options.number("--top", 5, "how many classes to show", low=1, metavar="K")


def run(job):
    best = np.argsort(-job.probabilities, kind="stable")[: job.args.top]
    names, values = [job.class_name(index) for index in best], job.probabilities[best]
    foreign = bool(models.unknown(job.model, job.scores)[0])
    job.write(
        figure=plot.bars(names, values, f"{job.image_name}, seen by {job.model.name}", image=job.image, highlight=0),
        arrays={"image": job.image, "probabilities": job.probabilities},
        numbers={"top": [{"class": c, "name": n, "p": p} for c, n, p in zip(best, names, values, strict=True)]}
        | {"unknown": foreign},
        line="classes: "
        + ", ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True))
        + (f"; probably none of what {job.model.name} knows" if foreign else ""),
    )
