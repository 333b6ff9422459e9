"""The templates of a linear classifier of pixels, before training and after: what it looks for, as pictures.

Each class's weights have the shape of an image. Training turns noise into blurred averages of the class, against those
of the others (Stanford's CS231n, "Linear classification").
"""

import numpy as np

import viz
from viz import plot

from .job import Job
from .labelled import add_data_options, labelled_images
from .options import parser

options = parser(__doc__, "--data photos --count 2000", image=False, target=False, model=None)
add_data_options(options, count=1200)
add, number = options.add_argument, options.number
number("--size", 32, "side of the images", low=1, high=8192, unit="pixels")
number("--epochs", 20, "of training")
number("--weight-decay", 30.0, "keeps it from learning photographs by heart, and smooths the templates")


def run(job: Job) -> None:
    """Train the linear classifier, and write its templates from before and after."""
    args = job.args
    data = labelled_images(args.data, args.size, args.count, args.seed)
    model = viz.linear_classifier((3, args.size, args.size), len(data.names), args.seed)
    held_out = np.arange(len(data.labels)) % 5 == 0
    before = viz.templates(model)
    with job.stoppable():
        losses = viz.train_linear(
            model,
            data.images[~held_out],
            data.labels[~held_out],
            args.epochs,
            weight_decay=args.weight_decay,
            seed=args.seed,
            progress=job.progress,
            callback=job.until_stopped(args.epochs, lambda epoch, _: epoch + 1),
        )
    after = viz.templates(model)
    right = {
        name: viz.accuracy(model, data.images[part], data.labels[part])
        for name, part in (("training", ~held_out), ("held_out", held_out))
    }
    pictures = [plot.centred(template) for template in (*before, *after)]
    labels = [f"{name}, {when}" for when in ("before", "after") for name in data.names]
    title = (
        f"Templates at {args.size} px, grey is 0; {right['held_out']:.1%} of {held_out.sum()} held-out images right, "
        f"{right['training']:.1%} of those trained with, {1 / len(data.names):.1%} by chance"
    )
    job.write(
        f"training accuracy {right['training']:.1%}, held-out {right['held_out']:.1%}, loss {losses[-1]:.3f}",
        figure=plot.pictures(pictures, labels, job.heading(title), columns=min(6, len(data.names))),
        arrays={"before": before, "after": after},
        numbers={"accuracy": right, "losses": losses, "classes": data.names},
    )
