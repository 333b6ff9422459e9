"""The image that a class, a channel or a neuron likes best, by gradient ascent on the pixels.

--preset fourier (the default) takes colour-decorrelated Fourier coefficients in place of pixels, and shows the network
the image padded, shifted, scaled and turned (Olah et al. 2017, https://distill.pub/2017/feature-visualization). The
default network, minivgg_robust, was trained against attacks: what it likes best is one large thing, what minivgg likes
best many small ones (Engstrom et al. 2019, arXiv:1906.00945).

--preset paper makes a raw score large (Simonyan et al. 2013, arXiv:1312.6034, section 2): the network sees the image
through its preprocessing, pixels stay in [0,1] after every step, and the image is kept from becoming noise as Yosinski
et al. 2015 (arXiv:1506.06579) do: a little blur every few steps, jitter and, if asked, an L2 penalty. All of it can be
changed by the options below. It is the default for networks that see grey, and with options that change pixels.

--preset blog follows a widely read blog post to the letter, and differs in everything: x ~ N(0,1) goes into the network
WITHOUT its preprocessing, the CROSS-ENTROPY with the class falls by plain steps x <- x - grad, NOTHING IS CLIPPED, and
nothing regularises the first 1000 steps; 1000 more follow with 10 * cross-entropy + 0.005 * total variation. Its
pixels have no particular range: the picture shows them scaled from their smallest to their largest value, and its
probabilities are those of the network without preprocessing.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import minigrad as mg
import models
import viz
from minigrad import functional as F
from minigrad.nn import Module
from models.mistakes import UserError
from viz import plot
from viz.optimize import LBFGS, OPTIMIZERS, Optimized
from viz.target import as_image, channels, logits
from viz.transform import jitter

from .changing import Changing
from .job import Job
from .options import parser, read_scores
from .pictures import GIF, LR, course, history, in_channels
from .record import network_name
from .target import ANYTHING, SCORE, Target

PAPER = {
    "parameterization": "pixels",
    "optimizer": "adam",
    "lr": 0.03,
    "steps": 400,
    "start": "noise",
    "l2_weight": 0.0,
    "tv_weight": 0.0,
    "blur": 0.5,
    "blur_every": 2,
    "clip_norm": 0.0,
    "clip_contribution": 0.0,
    "jitter": 8,
    "robust": False,
}
PRESETS = {
    "paper": PAPER,
    "fourier": PAPER | {"parameterization": "fourier", "lr": 0.05, "steps": 256, "blur": 0.0, "robust": True},
    "blog": {"steps": 1000},
}

ON_PIXELS = ("start", "blur", "blur_every", "clip_norm", "clip_contribution")  # options that fourier has no use for
CHANGEABLE = {"pixels": ("lr", "l2_weight", "tv_weight", "blur", "jitter"), "fourier": ("lr", "l2_weight", "tv_weight")}
LARGER = {"minivgg": 160, "minivgg_robust": 160}  # pixels of a side, where several objects fit in
SIZE = "default: the model's, 160 for minivgg and minivgg_robust"

options = parser(__doc__, "--targets cat,zebra", image=False, target="none, one of the two is needed", kind=ANYTHING)
add, number = options.add_argument, options.number
add("--targets", metavar="A,B,...", help=f"an image for each of several: {SCORE}; in place of --target")
add("--centre", action="store_true", help="with --target LAYER:CHANNEL: the neuron at the centre of that channel's map")
add("--preset", choices=PRESETS, help="see above (default: fourier); options override it")
number("--size", int, "side of the image", low=1, high=8192, unit="pixels", shown=SIZE)
number("--steps", int, "of the ascent", shown="paper 400, fourier 256, blog 1000 and 1000 more")
add("--start", metavar="zeros|grey|noise|IMAGE", help="where the image begins (paper: noise)")
add(
    "--optimizer",
    choices=(*OPTIMIZERS, LBFGS),
    help="what moves the pixels (default adam); lbfgs goes without blur and jitter",
)
number("--lr", float, LR, shown="paper 0.03, fourier 0.05")
number("--l2-weight", float, "of sum (x - 1/2)^2", metavar="WEIGHT", shown="default 0")
number("--tv-weight", float, "of the total variation", metavar="WEIGHT", shown="default 0")
add("--tv-kind", choices=viz.TV_KINDS, default="l1", help="its convention (default %(default)s)")
number("--blur", float, "sigma of a blur every --blur-every steps", low=0, high=100, unit="pixels", shown="paper 0.5")
number("--blur-every", int, "steps from one blur to the next", low=1, metavar="STEPS", shown="paper 2")
number(
    "--clip-norm",
    float,
    "grey so many of smallest norm every 10 steps",
    low=0,
    high=100,
    unit="percent",
    shown="default 0",
)
number(
    "--clip-contribution",
    float,
    "likewise of smallest contribution",
    low=0,
    high=100,
    unit="percent",
    shown="default 0",
)
number("--jitter", int, "shift by up to so many, if not --robust, which shifts itself", shown="paper 8")
add(
    "--robust",
    action="store_true",
    default=None,
    help="pad, shift, scale and turn the image before each step (fourier: always)",
)
add("--no-clip", action="store_true", help="let pixels leave [0,1]")
add(
    "--change",
    nargs="+",
    metavar="STEP:NAME=VALUE",
    help="lr, l2-weight, tv-weight, and of pixels blur and jitter, from that step on",
)
number("--gif", 0, GIF, low=0, metavar="N", shown="default 0: none")
options.set_defaults(model="minivgg_robust")
options.renamed("--l2", "--l2-weight")
options.renamed("--tv", "--tv-weight")


def run(job: Job) -> None:
    """Write the image that each target likes best, and what the network says of the saved picture."""
    if channels(job.model) not in (1, 3):
        raise UserError(f"images of {channels(job.model)} channels cannot be shown: call viz.maximize in Python")
    args = job.args
    if args.preset is None:
        pixels = args.optimizer == LBFGS or any(getattr(args, name) is not None for name in ON_PIXELS)
        args.preset = "paper" if pixels or channels(job.model) == 1 else "fourier"
    targets, part = wanted(job)
    result = blog(job, targets) if job.args.preset == "blog" else ascend(job, targets)
    job.left(result, steps_asked(args))
    shown, network = result.image, job.model
    low, high = 0.0, 1.0
    if job.args.preset == "blog" or job.args.no_clip:
        low, high = float(shown.min()), float(shown.max())
        shown = (shown - low) / (high - low)
    if job.args.preset == "blog":
        network = viz.without_preprocessing(network)

    called = network_name(args.model)
    saved = low + viz.as_saved(shown) * (high - low)  # what the 8-bit picture, put back in its range, holds
    numbers = {"range": (low, high), "losses": {name: (v[0], v[-1]) for name, v in result.losses.items()}}
    labels = [target.name(job.class_name) for target in targets]
    of_scores = targets[0].layer is None
    if of_scores:
        before, after = (probabilities(network, image, targets) for image in (result.image, saved))
        numbers["probabilities"] = {label: in_short(p) for label, p in zip(labels, before, strict=True)}
        numbers["probabilities_saved"] = {label: in_short(p) for label, p in zip(labels, after, strict=True)}
        shares = [", ".join(f"{one:.3g}" for one in p) for p in after]
        labels = [f"{label} (p = {p})" for label, p in zip(labels, shares, strict=True)]
    job.write(
        f"{args.preset}, by {called}: {', '.join(labels)}" + (", from the 8-bit pictures" if of_scores else ""),
        figure=plot.pictures(list(shown), labels, job.heading(f"What {called} likes best ({args.preset})")),
        arrays=history(result),
        numbers=numbers,
        pictures={str(i): image[None] for i, image in enumerate(shown)},
        frames=[np.clip((frame - low) / (high - low), 0, 1) for frame in result.frames],
        settings=settings(args) | {"size": result.image.shape[2:]},
        part=part,
    )


def wanted(job: Job) -> tuple[list[Target], str]:
    """The Targets, and for --targets a name of the files."""
    args = job.args
    if args.target is not None and args.targets is not None:
        raise UserError("give --target or --targets, not both")
    if args.target is None and args.targets is None:
        raise UserError("say what to maximise: --target TARGET, or several classes, --targets A,B")
    if args.centre and (args.targets is not None or len(job.wanted.unit or ()) != 1):
        raise UserError("--centre goes with --target LAYER:CHANNEL")
    if args.targets is None:
        return [job.wanted], ""
    targets = read_scores(job.model, args.targets, job.class_name)
    return targets, "_".join(target.name(job.class_name, "-") for target in targets)


def settings(args: Namespace) -> dict[str, Any]:
    """{option: value} in effect: the preset's, but for those that were given."""
    given = {name: getattr(args, name) for name in PAPER if getattr(args, name, None) is not None}
    unchanging = {"blur": 0.0, "jitter": 0, "robust": False} if args.optimizer == LBFGS else {}
    return PRESETS[args.preset] | unchanging | given


def steps_asked(args: Namespace) -> int:
    """How many steps there are to take: the blog's recipe has two stages."""
    return (2 if args.preset == "blog" else 1) * settings(args)["steps"]


def blog(job: Job, targets: Sequence[Target]) -> Optimized:
    """The blog's recipe, which leaves nothing to choose but the size and the number of steps."""
    refused = [name for name in (*PAPER, "change") if name != "steps"]
    changed = [name for name in refused if getattr(job.args, name, None) is not None]
    if changed or job.args.no_clip:
        raise UserError(f"the blog's recipe has no --{(changed or ['no-clip'])[0].replace('_', '-')}: drop it")
    if len(targets) > 1:
        raise UserError("the blog's recipe makes one image at a time: give one --target")
    if len(targets[0].classes) != 1:
        raise UserError("the blog's recipe is for classes: give --target CLASS")
    steps = settings(job.args)["steps"]
    size = None if job.args.size is None else (job.args.size,) * 2
    return viz.maximize_as_blog(job.model, targets[0].classes[0], size=size, steps=steps, tv_steps=steps, **course(job))


def ascend(job: Job, targets: Sequence[Target]) -> Optimized:
    """The images, by the settings in effect."""
    args = job.args
    chosen = settings(args)
    if not chosen["tv_weight"]:
        options.refuse(args, ["tv_kind"], "without --tv-weight")
    start, size = chosen["start"], args.size or LARGER.get(args.model, job.model.input_size)
    if start not in ("zeros", "grey", "noise"):
        start = in_channels(job.model, models.load_image(start, size))

    now = changing(args, chosen)
    named = {name for name, value in chosen.items() if value} | set(now.changeable if args.change is not None else ())
    penalties, after_step = {}, []
    if "l2_weight" in named:
        penalties["l2"] = lambda x: viz.l2(x, now["l2_weight"])
    if "tv_weight" in named:
        penalties["tv"] = lambda x: viz.total_variation(x, args.tv_kind, now["tv_weight"])
    if "blur" in named:
        after_step.append((chosen["blur_every"], lambda x, g: viz.gaussian_blur(x, now["blur"]) if now["blur"] else x))
    if chosen["clip_norm"]:
        after_step.append((10, lambda x, g: viz.clip_small_norm(x, chosen["clip_norm"])))
    if chosen["clip_contribution"]:
        after_step.append((10, lambda x, g: viz.clip_small_contribution(x, g, chosen["clip_contribution"])))
    if chosen["robust"]:
        options.refuse(args, ["jitter"], "with --preset fourier or --robust, whose transforms shift")
    if not chosen["blur"]:
        options.refuse(args, ["blur_every"], "without --blur")
    shifted = [lambda x, rng: jitter(now["jitter"])(x, rng) if now["jitter"] else x]
    transforms = viz.robust() if chosen["robust"] else shifted if "jitter" in named else []
    plain = {name: chosen[name] for name in ("parameterization", "optimizer", "steps")}
    return viz.maximize(
        job.model,
        [target.objective(args.centre) for target in targets],
        start,
        size,
        **plain,
        lr=(lambda step: now["lr"]) if args.change is not None else chosen["lr"],
        penalties=penalties,
        after_step=after_step,
        transforms=transforms,
        clip=not args.no_clip,
        **course(job) | {"callback": stepping(job, now)},
    )


def changing(args: Namespace, chosen: dict[str, Any]) -> Changing:
    """The settings in effect, step by step."""
    if args.change is not None and args.optimizer == LBFGS:
        raise UserError("lbfgs needs a function that stays as it is: leave --change out, or take another --optimizer")
    changeable = CHANGEABLE[chosen["parameterization"]]
    if chosen["robust"]:
        changeable = tuple(name for name in changeable if name != "jitter")
    return Changing(chosen, [] if args.change is None else args.change, changeable)  # which may become more meanwhile


def stepping(job: Job, now: Changing) -> Callable[..., bool]:
    """The callback of the ascent, by which the next step's settings come into effect."""

    def callback(step: int, image: np.ndarray, losses: Mapping[str, float]) -> bool:
        stop = job.frame is not None and job.frame(step, image, losses)
        now.begin(step + 1)
        return stop

    return callback


def probabilities(network: Module, images: np.ndarray, targets: Sequence[Target]) -> list[list[float]]:
    """[[p, ...], ...]: each image's probabilities of its own class, or of the two of its contrast."""
    with mg.no_grad():
        p = F.softmax(logits(network, as_image(network, images)), 1).numpy()
    return [[float(row[c]) for c in target.classes] for row, target in zip(p, targets, strict=True)]


def in_short(shares: list[float]) -> float | list[float]:
    """Of a single class the number, of a contrast's two the list."""
    return shares[0] if len(shares) == 1 else shares
