"""DeepDream: a photograph in which a layer sees more of whatever it sees already (Mordvintsev et al. 2015).

x <- x + lr * g / mean |g|, g the gradient of the layer's mean square activation, from the smallest octave of the image
to full size (https://research.google/blog/inceptionism-going-deeper-into-neural-networks). With --unit a channel of
the layer takes its place.
"""

import viz
from models.mistakes import UserError
from viz import plot

from .options import parser
from .pictures import LEAST, add_course_options, course, fall, fitted, history

options = parser(__doc__, "photo.jpg --layer relu4_1 --gif 2", target=False, neuron=True)
add, number = options.add_argument, options.number
number("--octaves", 4, "sizes, from small to full")
number("--octave-scale", 1.4, "from one size to the next")
number("--jitter", 32, "shift by up to so many", metavar="PIXELS")
number("--size", 384, "longest side", low=LEAST, high=8192, unit="pixels")
add_course_options(options, steps=10, lr=0.006)


def run(job):
    args = job.args
    if args.unit and not args.layer:
        raise UserError("--unit needs the name of its --layer")
    layer = args.layer or dreamer(job.model)
    objective = layer
    if args.unit:
        objective = (viz.neuron if len(args.unit) == 3 else viz.channel)(layer, *args.unit)
    image = fitted(job, args.image, args.size)
    octaves = {"octaves": args.octaves, "octave_scale": args.octave_scale, "jitter": args.jitter}
    result = viz.deep_dream(job.model, image, objective, steps=args.steps, lr=args.lr, **octaves, **course(job))
    job.stopped = result.stopped
    at_full_size = result.losses["objective"][-min(args.steps, len(result.losses["objective"]) - 1) - 1 :]
    job.write(
        f"dream of {layer}: objective {fall([-v for v in at_full_size])} at full size",
        figure=plot.pictures([image, result.image], ["photograph", f"{job.model.name} dreams of {layer}"], "DeepDream"),
        arrays=history(result),
        numbers={"objective": [-v for v in result.losses["objective"]]},
        pictures={"dream": result.image},
        frames=result.frames,
    )


def dreamer(model):
    """A layer in the middle of the network, where there are textures and parts rather than edges or classes."""
    for name in ("relu4_1", "fire7.relu_expand"):
        if name in model:
            return name
    raise UserError("name the layer that is to dream: --layer NAME")
