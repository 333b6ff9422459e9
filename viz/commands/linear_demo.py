"""Why adversarial examples are no wonder: a linear classifier in many dimensions (Goodfellow et al. 2015, section 3).

x + epsilon * sign(w) moves the score w.x by epsilon * |w|_1, which grows with the number of values; random signs of the
same size hardly move it. For pictures of more and more pixels, a linear classifier is trained, and on photographs that
it has not seen its lead, the right class's score less that of the strongest rival, is set beside both moves.
"""

import numpy as np

import viz
from viz import plot
from viz.attacks import scores
from viz.linear import linear_classifier, templates, train_linear

from .labelled import add_data_options, labelled_images
from .options import distance, parser

options = parser(__doc__, "--data photos --epsilon 8/255", image=False, target=False, model=None)
add_data_options(options, count=600)
options.number("--epsilon", "8/255", "the step in every value", low=0, high=1, type=distance)
options.number("--sizes", [8, 16, 32, 64], "sides", low=1, high=8192, unit="pixels", nargs="+")
options.number("--epochs", 15, "of training, at each size")


def run(job):
    args = job.args
    rows, shown = [], []
    for size in args.sizes:
        data = labelled_images(args.data, size, args.count, args.seed)
        model = linear_classifier((3, size, size), len(data.names), args.seed).to(args.device)
        held_out = np.arange(len(data.labels)) % 5 == 0
        train_linear(
            model, data.images[~held_out], data.labels[~held_out], args.epochs, seed=args.seed, progress=job.progress
        )
        row, example = measure(model, data.images[held_out], data.labels[held_out], args.epsilon, job.rng)
        rows.append(row)
        shown.append(example)
    dimensions = [row["dimensions"] for row in rows]
    series = {
        "by sign(w)": (dimensions, [row["measured_move"] for row in rows]),
        "by random signs": (dimensions, [row["random_move"] for row in rows]),
        "the lead itself": (dimensions, [row["median_lead"] for row in rows]),
    }
    series = {name: line for name, line in series.items() if None not in line[1]}
    title = f"What a step of {255 * args.epsilon:.3g}/255 in every value does to the lead: medians over new photographs"
    last = rows[-1]
    job.write(
        f"{last['dimensions']} values: the lead moves by {last['measured_move']:.2f} (epsilon * |w|_1 = "
        f"{last['predicted_move']:.2f}; random signs {last['random_move']:.2f}), accuracy {last['clean']:.1%} to "
        f"{last['attacked']:.1%}",
        figure=plot.curves(series, "values of an image", "score", title, log=True),
        arrays={f"templates_{row['size']}": example["templates"] for row, example in zip(rows, shown, strict=True)},
        numbers={"rows": rows},
        pictures={"original": shown[-1]["image"], "attacked": shown[-1]["attacked"]},
    )


def measure(model, images, labels, epsilon, rng):
    """For each image, the border to its strongest rival is attacked: (numbers, arrays of the last image)."""
    z = scores(model, images)
    rows = np.arange(len(z))
    rival = np.where(np.arange(z.shape[1]) == labels[:, None], -np.inf, z).argmax(1)
    w = templates(model)
    lead = z[rows, labels] - z[rows, rival]
    attacked, predicted, measured, random = [], [], [], []
    for n in rows:
        weight = w[rival[n]] - w[labels[n]]
        x, move = viz.linear_attack(weight, images[n : n + 1], epsilon=epsilon)
        after = scores(model, x)[0]
        attacked.append(np.clip(x, 0, 1))
        predicted.append(move)
        random.append(abs(epsilon * (weight * rng.choice((-1, 1), weight.shape)).sum()))
        measured.append(lead[n] - (after[labels[n]] - after[rival[n]]))
    attacked = viz.as_saved(np.concatenate(attacked))
    numbers = {
        "size": images.shape[-1],
        "dimensions": images[0].size,
        "images": len(rows),
        "predicted_move": float(np.median(predicted)),
        "measured_move": float(np.median(measured)),
        "random_move": float(np.median(random)),
        "median_lead": float(np.median(lead[lead > 0])) if (lead > 0).any() else None,
        "clean": viz.accuracy(model, images, labels),
        "attacked": viz.accuracy(model, attacked, labels),
    }
    return numbers, {"image": images[-1:], "attacked": attacked[-1:], "templates": w}
