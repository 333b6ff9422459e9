"""One perturbation that changes the class of most photographs (Moosavi-Dezfooli et al. 2017, arXiv:1610.08401).

Half of the photographs make it, the other half measure it. No true class is asked for: what counts is whether the
network still says what it said.
"""

from argparse import Namespace

import numpy as np
from matplotlib.figure import Figure

import viz
from models.mistakes import UserError
from viz import plot
from viz.attacks import scores

from .job import Job
from .labelled import add_data_options, labelled_images
from .options import MOST, distance, parser

options = parser(__doc__, "--data photos --epsilon 10/255", image=False, target=False)
add_data_options(options, count=200)
add, number = options.add_argument, options.number
number("--epsilon", "10/255", f"the budget, {MOST}", above=0, type=distance)
add("--norm", choices=("linf", "l2"), default="linf", help="of the budget (default %(default)s)")
number("--fooling-rate", 0.8, "stop once this share is fooled")
number("--epochs", 5, "rounds through the photographs")
options.renamed("--rate", "--fooling-rate")


def run(job: Job) -> None:
    """Write one perturbation for all photographs, and whom it fools among those it has not seen."""
    args, model = job.args, job.model
    if args.count < 4:
        raise UserError(f"--count must be at least 4, two photographs for each half, got {args.count}")
    data = labelled_images(args.data, model.input_size, args.count, args.seed, model)
    mine, others = data.images[::2], data.images[1::2]
    rates = []

    def note(epoch: int, v: np.ndarray, rate: float) -> bool:
        rates.append(rate)
        return epoch + 1

    callback = job.until_stopped(args.epochs, note)
    budget = {"epsilon": args.epsilon, "norm": args.norm, "fooling_rate": args.fooling_rate, "epochs": args.epochs}
    with job.stoppable():
        v = viz.universal_perturbation(
            model,
            mine,
            **budget,
            candidates=5,
            seed=args.seed,
            progress=job.progress,
            callback=callback,
        )
    before, after = scores(model, others).argmax(1), scores(model, saved(others, v)).argmax(1)
    fooled = before != after
    chance = float((scores(model, saved(others, noise(v, args, job.rng))).argmax(1) != before).mean())
    numbers = {
        "held_out": len(others),
        "fooling_rate": float(fooled.mean()),
        "fooling_rate_of_noise": chance,
        "fooling_rate_by_round": rates,
        "linf": abs(v).max(),
        "l2": float((v.astype(float) ** 2).sum() ** 0.5),
    }
    job.write(
        f"{fooled.mean():.1%} of {len(others)} other photographs change class (noise of that size: {chance:.1%})",
        figure=figure(job, v, others, saved(others, v), before, after, fooled, chance),
        arrays={"perturbation": v, "before": before, "after": after},
        numbers=numbers,
    )


def saved(images: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The images with the perturbation, on the levels of a picture file."""
    return viz.as_saved(viz.apply_perturbation(images, v))


def noise(v: np.ndarray, args: Namespace, rng: np.random.Generator) -> np.ndarray:
    """What the perturbation is to be compared with: random signs, or in L2 normal noise, of the same size."""
    if args.norm == "linf":
        return (args.epsilon * rng.choice((-1, 1), v.shape)).astype(v.dtype)
    drawn = rng.standard_normal(v.shape)
    return (drawn * (args.epsilon / np.linalg.norm(drawn))).astype(v.dtype)


def figure(
    job: Job,
    v: np.ndarray,
    clean: np.ndarray,
    attacked: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    fooled: np.ndarray,
    chance: float,
) -> Figure:
    """The perturbation, and some of the photographs that it fools."""
    shown = fooled.nonzero()[0][:: max(1, fooled.sum() // 7)][:7]
    pictures = [plot.centred(v)] + [attacked[n] for n in shown]
    labels = ["the perturbation, made visible"]
    labels += [f"called {job.class_name(before[n])}, now {job.class_name(after[n])}" for n in shown]
    share = f"{fooled.mean():.0%} of {len(clean)} photographs change class, {chance:.0%} by noise of that size"
    return plot.pictures(pictures, labels, job.heading(f"{255 * abs(v).max():.0f}/255 at most: {share}"), columns=4)
