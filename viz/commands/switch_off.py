"""Channels of a layer switched off: what that does to the score of a class, one by one and together.

Each channel is set to 0 alone, and beside the fall of the score stands the channel's relevance by LRP's epsilon rule:
what an attribution claims, and what an intervention finds (Morcos et al. 2018, arXiv:1803.06959). The curves switch
more and more channels off, in the order of either and in random orders: if the claims hold, both fall far below chance.
With --channels those are switched off together, and as many others at random beside them.
"""

import numpy as np

import viz
from models.mistakes import UserError
from viz import plot
from viz.perturbation import watched
from viz.random import stream

from .job import Job
from .options import parser
from .tables import markdown
from .target import SCORE

options = parser(__doc__, "photo.jpg --target cat --layer relu5_2", kind=SCORE)
add, number = options.add_argument, options.number
add("--layer", metavar="NAME", help="where to look (default: the last rectified convolution)")
number("--channels", int, "which, to switch off together", low=0, nargs="+", shown="default: each alone, and ever more")
number("--draws", 20, "random sets or orders of channels beside them", low=2)


def run(job: Job) -> None:
    """Write what the channels are worth: together, if they are named, or one by one."""
    layer = job.args.layer or viz.default_layer(job.model)
    if job.args.channels is None:
        one_by_one(job, layer)
    else:
        together(job, layer)


def together(job: Job, layer: str) -> None:
    """The set that was asked for, against random sets of as many channels that respond at all."""
    chosen, alive = sorted(set(job.args.channels)), live(job, layer)
    fall = viz.switch_off(job.model, job.image, layer, chosen, **job.explained_classes)[0]
    rng = stream(job.args.seed, "switch_off")
    others = np.setdiff1d(alive, chosen)
    if len(others) < len(chosen):
        raise UserError(f"only {len(others)} other channels of {layer} respond: name fewer --channels")
    sets = [rng.permutation(others)[: len(chosen)] for _ in range(job.args.draws)]
    chance = np.array([viz.switch_off(job.model, job.image, layer, one, **job.explained_classes)[0] for one in sets])
    larger = viz.estimate(chance >= fall)
    job.write(
        f"{job.title(f'{layer}, channels {chosen} off')}: the score "
        f"{'rises' if fall < 0 else 'falls'} by {abs(fall):.3g}; {len(chosen)} others lower it by "
        f"{viz.estimate(chance).text('{:.3g}')}, and by as much in {larger.text('{:.0%}')} of {len(chance)} draws",
        figure=plot.bars(
            ["these", "others, mean of draws"], [fall, chance.mean()], f"{layer}: {len(chosen)} off", label="fall"
        ),
        numbers={"layer": layer, "channels": chosen, "fall": fall, "others": viz.estimate(chance), "as_much": larger},
        arrays={"image": job.image, "others": chance},
    )


def live(job: Job, layer: str) -> np.ndarray:
    """The channels that respond to the photograph at all."""
    a = viz.activation_maps(job.model, job.image, layer)[0]
    return np.flatnonzero(a.reshape(len(a), -1).any(1))


def one_by_one(job: Job, layer: str) -> None:
    """Each channel alone, then more and more of them: by effect, by relevance and at random."""
    explained = job.explained_classes
    effects = viz.channel_effects(job.model, job.image, layer, **explained, progress=job.progress)[0]
    relevance = viz.channel_relevance(job.model, job.image, layer=layer, rule="epsilon", **explained)[0]
    score = watched(job.model, job.image, **explained)[0]
    rng = stream(job.args.seed, "switch_off")
    counts = np.unique(np.round(np.geomspace(1, len(effects), 12)).astype(int))
    orders = {"by effect": [np.argsort(-effects)], "by relevance": [np.argsort(-relevance)]}
    orders["at random"] = [rng.permutation(len(effects)) for _ in range(job.args.draws)]
    curves = {}
    for name, several in orders.items():
        falls = [
            [0.0, *(viz.switch_off(job.model, job.image, layer, order[:n], **explained)[0] for n in counts)]
            for order in several
        ]
        curves[name] = score - np.array(falls)  # (orders, counts + 1)

    top = np.argsort(-effects)[:10]
    rows = [{"channel": int(c), "fall alone": float(effects[c]), "relevance": float(relevance[c])} for c in top]
    agree = float(np.corrcoef(effects, relevance)[0, 1]) if effects.any() and relevance.any() else 0.0
    xs = np.array([0, *counts])
    figure = plot.curves(
        {name: (xs, found.mean(0)) for name, found in curves.items()},
        f"channels of {layer} switched off, of {len(effects)}",
        "score",
        job.title("Channels switched off"),
    )
    job.write(
        f"{job.title(f'channels of {layer} switched off')}: channel {top[0]} alone lowers the score of {score:.3g} by "
        f"{effects[top[0]]:.3g}; effect and relevance correlate by {agree:.2f}\n{markdown(rows, '{:.3g}')}",
        figure=figure,
        arrays={
            "image": job.image,
            "effects": effects,
            "relevance": relevance,
            **{f"score_{k}": v for k, v in curves.items()},
        },
        numbers={"layer": layer, "score": score, "channels off": xs, "correlation": agree, "strongest": rows},
    )
