"""DeepDream: a photograph in which a layer sees more of whatever it sees already (Mordvintsev et al. 2015).

x <- x + lr * g / mean |g|, g the gradient of the layer's mean square activation, from the smallest octave of the image
to full size (https://research.google/blog/inceptionism-going-deeper-into-neural-networks). With --unit a channel of
the layer takes its place.
"""

from command import UserError, main, parser
from pictures import add_course_options, course, fall, fitted, history

import viz
from viz import plot

options = parser(__doc__, "python scripts/dream.py photo.jpg --layer relu4_1 --gif 2", target=False, neuron=True)
add = options.add_argument
add("--octaves", type=int, default=4, help="sizes, from small to full (default %(default)s)")
add("--octave-scale", type=float, default=1.4, help="from one size to the next (default %(default)s)")
add("--jitter", type=int, default=32, metavar="PIXELS", help="shift by up to so many (default %(default)s)")
add("--size", type=int, default=384, help="longest side in pixels (default %(default)s)")
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


if __name__ == "__main__":
    raise SystemExit(main(options, run))
