"""Why adversarial examples are no wonder: a linear classifier in many dimensions (Goodfellow et al. 2015, section 3).

x + epsilon * sign(w) moves the score w.x by epsilon * |w|_1, which grows with the number of values; random signs of the
same size hardly move it. For pictures of more and more pixels, a linear classifier is trained, and on photographs that
it has not seen its lead, the right class's score less that of the strongest rival, is set beside both moves: medians
over those photographs that it names right, for only these have a lead to lose. There is no --target: the lead is that
of each photograph's own class.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import viz
from minigrad.nn import Module
from viz import plot
from viz.attacks import scores
from viz.linear import linear_classifier, templates, train_linear

from .job import Job
from .labelled import add_data_options, labelled_images
from .options import distance, once, parser

options = parser(__doc__, "--data photos --epsilon 8/255", image=False, target=False, model=None)
add_data_options(options, count=600)
options.number("--epsilon", "8/255", "the step in every value", above=0, high=1, type=distance)
options.number("--sizes", [8, 16, 32, 64], "sides", low=1, high=8192, unit="pixels", nargs="+")
options.number("--epochs", 15, "of training, at each size")


def run(job: Job) -> None:
    """Write the two moves beside the lead, for each size of picture."""
    args = job.args
    rows, shown = [], []
    for size in once(args.sizes, "size"):
        data = labelled_images(args.data, size, args.count, args.seed)
        model = linear_classifier((3, size, size), len(data.names), args.seed).to(args.device)
        held_out = np.arange(len(data.labels)) % 5 == 0
        train_linear(
            model, data.images[~held_out], data.labels[~held_out], args.epochs, seed=args.seed, progress=job.progress
        )
        row, example = measure(model, data.images[held_out], data.labels[held_out], args.epsilon, job.rng)
        rows.append(row)
        shown.append(example)
    job.write(
        line(rows[-1]),
        figure=figure([row for row in rows if row["median_lead"] is not None], args.epsilon),
        arrays={f"templates_{row['size']}": example["templates"] for row, example in zip(rows, shown, strict=True)},
        numbers={"rows": rows},
        pictures={"original": shown[-1]["image"], "attacked": shown[-1]["attacked"]},
    )


def line(row: Mapping[str, Any]) -> str:
    """What was measured at one size, in a sentence."""
    values, new = f"{row['dimensions']} values", f"{row['images']} new photographs"
    if row["median_lead"] is None:
        return f"{values}: none of {new} is named right, so that there is no lead to move"
    return (
        f"{values}: of the {row['clean']:.1%} of {new} that are named right, the median lead is "
        f"{row['median_lead']:.2f}, and moves by {row['measured_move']:.2f} (epsilon * |w|_1 = "
        f"{row['predicted_move']:.2f}; random signs {row['random_move']:.2f}), accuracy to {row['attacked']:.1%}"
    )


def figure(rows: Sequence[Mapping[str, Any]], epsilon: float) -> Figure:
    """Of the sizes at which some photograph is named right; None if there are none."""
    if not rows:
        return None
    moves = {"by sign(w)": "measured_move", "the lead itself": "median_lead", "by random signs": "random_move"}
    dimensions = [row["dimensions"] for row in rows]
    low, high = (f"{bound(row['clean'] for row in rows):.0%}" for bound in (min, max))
    title = (
        f"What a step of {255 * epsilon:.3g}/255 in every value does to the lead: medians over the new photographs "
        f"that are named right, {low if low == high else f'{low} to {high}'} of them"
    )
    series = {name: (dimensions, [row[key] for row in rows]) for name, key in moves.items()}
    return plot.curves(series, "values of an image", "score, of those named right", title, log="both")


def measure(
    model: Module, images: np.ndarray, labels: np.ndarray, epsilon: float, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """For each image, the border to its strongest rival is attacked: (numbers, arrays of the last image).

    The medians are over the images that are named right, None where there are none.
    """
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
    attacked, right = viz.as_saved(np.concatenate(attacked)), lead > 0

    def typical(values: Any) -> float | None:
        return float(np.median(np.array(values)[right])) if right.any() else None

    numbers = {
        "size": images.shape[-1],
        "dimensions": images[0].size,
        "images": len(rows),
        "predicted_move": typical(predicted),
        "measured_move": typical(measured),
        "random_move": typical(random),
        "median_lead": typical(lead),
        "clean": viz.accuracy(model, images, labels),
        "attacked": viz.accuracy(model, attacked, labels),
    }
    return numbers, {"image": images[-1:], "attacked": attacked[-1:], "templates": w}
