"""Why adversarial examples are no wonder: a linear classifier in many dimensions (Goodfellow et al. 2015, section 3).

x + epsilon * sign(w) moves the score w.x by epsilon * |w|_1. For pictures of more and more pixels, a linear classifier
is trained, and its score is moved by the same epsilon, too little to see in any one pixel.
"""

import numpy as np

import viz
from viz import plot
from viz.attacks import scores
from viz.linear import linear_classifier, templates, train_linear

from .labelled import add_data_options, labelled_images
from .options import distance, parser

options = parser(__doc__, "--data photos --epsilon 2/255", image=False, target=False, model=None)
add_data_options(options, count=600)
options.number("--epsilon", "2/255", "the step in every value", low=0, high=1, type=distance)
options.number("--sizes", [8, 16, 32, 64], "sides", low=1, high=8192, unit="pixels", nargs="+")
options.number("--epochs", 15, "of training, at each size")


def run(job):
    args = job.args
    rows, shown = [], []
    for size in args.sizes:
        data = labelled_images(args.data, size, args.count, args.seed)
        model = linear_classifier((3, size, size), len(data.names), args.seed).to(args.device)
        train_linear(model, data.images, data.labels, args.epochs, seed=args.seed, progress=job.progress)
        row, example = measure(model, data, args.epsilon)
        rows.append(row)
        shown.append(example)
    dimensions = [row["dimensions"] for row in rows]
    series = {
        "epsilon * |w|_1": (dimensions, [row["predicted_move"] for row in rows]),
        "measured move": (dimensions, [row["measured_move"] for row in rows]),
        "median lead": (dimensions, [row["median_lead"] for row in rows]),
    }
    title = f"How far the lead of the right class falls when every value moves by {255 * args.epsilon:.3g}/255"
    last = rows[-1]
    job.write(
        f"{last['dimensions']} values: the score moves by {last['measured_move']:.2f} (epsilon * |w|_1 = "
        f"{last['predicted_move']:.2f}), accuracy {last['clean']:.1%} to {last['attacked']:.1%}",
        figure=plot.curves(series, "values of an image", "score", title),
        arrays={f"templates_{row['size']}": example["templates"] for row, example in zip(rows, shown, strict=True)},
        numbers={"rows": rows},
        pictures={"original": shown[-1]["image"], "attacked": shown[-1]["attacked"]},
    )


def measure(model, data, epsilon):
    """For each image, the border to its strongest rival is attacked: (numbers, arrays of the last image)."""
    z = scores(model, data.images)
    rows = np.arange(len(z))
    rival = np.where(np.arange(z.shape[1]) == data.labels[:, None], -np.inf, z).argmax(1)
    w = templates(model)
    lead = z[rows, data.labels] - z[rows, rival]
    attacked, predicted, measured = [], [], []
    for n in rows:
        weight = w[rival[n]] - w[data.labels[n]]
        x, move = viz.linear_attack(weight, data.images[n : n + 1], epsilon=epsilon)
        after = scores(model, x)[0]
        attacked.append(np.clip(x, 0, 1))
        predicted.append(move)
        measured.append(lead[n] - (after[data.labels[n]] - after[rival[n]]))
    attacked = viz.as_saved(np.concatenate(attacked))
    numbers = {
        "size": data.images.shape[-1],
        "dimensions": data.images[0].size,
        "images": len(rows),
        "predicted_move": float(np.median(predicted)),
        "measured_move": float(np.median(measured)),
        "median_lead": float(np.median(lead[lead > 0])) if (lead > 0).any() else None,
        "clean": viz.accuracy(model, data.images, data.labels),
        "attacked": viz.accuracy(model, attacked, data.labels),
    }
    return numbers, {"image": data.images[-1:], "attacked": attacked[-1:], "templates": w}
