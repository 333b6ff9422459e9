"""DeepDream: a photograph in which a layer sees more of whatever it sees already (Mordvintsev et al. 2015).

x <- x + lr * g / mean |g|, g the gradient of the layer's mean square activation, from the smallest octave of the image
to full size (https://research.google/blog/inceptionism-going-deeper-into-neural-networks). One of its channels or
neurons, a class or a contrast of two can take the layer's place. The default network, minivgg_robust, was trained
against attacks: its dreams have things in them, those of minivgg textures (Engstrom et al. 2019, arXiv:1906.00945).
"""

import numpy as np

import viz
from minigrad.nn import Module
from viz import plot
from viz.head import stages
from viz.optimize import Optimized

from .job import Job
from .options import parser
from .pictures import LEAST, add_course_options, course, fall, fitted, history
from .record import network_name
from .target import ANYTHING

options = parser(
    __doc__, "photo.jpg --target relu4_1 --gif 2", target="a layer in the middle of the network", kind=ANYTHING
)
number = options.number
number("--octaves", 4, "sizes, from small to full")
number("--octave-scale", 1.4, "from one size to the next")
number("--jitter", 32, "shift by up to so many", metavar="PIXELS")
number("--size", 384, "longest side", low=LEAST, high=8192, unit="pixels")
number("--lr", 0.006, "how far a step goes", of="deep_dream")
add_course_options(options, steps=10, what="at each size")
options.set_defaults(model="minivgg_robust")


def dreamt(job: Job) -> tuple[np.ndarray, Optimized]:
    """(photograph, Optimized) of what the job asks for, the photograph (1,C,H,W) in [0,1]."""
    args = job.args
    if args.target is None:
        args.target = dreamer(job.model)
    objective, image = job.wanted.objective(), fitted(job, args.image, args.size)
    octaves = {"octaves": args.octaves, "octave_scale": args.octave_scale, "jitter": args.jitter}
    result = viz.deep_dream(job.model, image, objective, steps=args.steps, lr=args.lr, **octaves, **course(job))
    job.left(result, args.octaves * args.steps)
    return image, result


def run(job: Job) -> None:
    """Write the photograph in which the layer sees more of what it sees."""
    args = job.args
    image, result = dreamt(job)
    name, network = job.target_name(), network_name(args.model)
    at_full_size = result.losses["objective"][-min(args.steps, len(result.losses["objective"]) - 1) - 1 :]
    job.write(
        f"dream of {name} by {network}: objective {fall([-v for v in at_full_size])} at full size",
        figure=plot.pictures(
            [image, result.image], ["photograph", f"{network} dreams of {name}"], job.heading("DeepDream")
        ),
        arrays={"image": image} | history(result),
        numbers={"objective": [-v for v in result.losses["objective"]]},
        pictures={"dream": result.image},
        frames=result.frames,
    )


def dreamer(model: Module) -> str:
    """A layer in the middle of the network, where there are textures and parts rather than edges or classes."""
    for name in ("relu4_1", "fire7.relu_expand"):
        if name in model:
            return name
    found = stages(model)
    return found[len(found) // 2]
