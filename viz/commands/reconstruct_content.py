"""What layers of a network keep of a photograph's content: an image, found from noise, with their activations.

minimise 1/2 sum (F - P)^2 (Gatys et al. 2016, equation 1): style transfer without the style. Each layer gives an image
of its own; --together takes one image for the sum over all of them.
"""

import viz
from viz import plot

from .job import Job
from .options import names, once, parser
from .pictures import LEAST, STYLE_LAYERS, add_course_options, course, fall, fitted, start_of, stopped_in

options = parser(__doc__, "photo.jpg --layers relu1_1,relu3_1,relu5_1", target=False)
add, number = options.add_argument, options.number
add("--layers", metavar="A,B,...", help=f"what is kept (default: {STYLE_LAYERS})")
add("--together", action="store_true", help="one image for all layers")
number("--tv-weight", 0.0, "of the sum of squared differences")
add("--start", metavar="noise|grey|zeros|IMAGE", default="noise", help="where the image begins (default %(default)s)")
number("--size", 224, "longest side", low=LEAST, high=8192, unit="pixels")
add_course_options(options, steps=200, lr=0.05, optimizer="lbfgs")


def run(job: Job) -> None:
    """Write for each layer what it keeps of the photograph."""
    args = job.args
    image = fitted(job, args.image, args.size)
    start = start_of(job, args.start, image.shape[2:])
    layers = once(names(args.layers), "layer") or viz.default_layers(job.model, ())[1]
    groups = [layers] if args.together else [[layer] for layer in layers]
    titles, found, frames = [", ".join(group) for group in groups], {}, []
    for group in groups:
        plain = {name: getattr(args, name) for name in ("tv_weight", "optimizer", "lr", "steps")} | {"start": start}
        try:
            result = viz.reconstruct_content(job.model, image, group, **plain, **course(job))
        except KeyboardInterrupt:
            if not found:
                raise
            job.stopped = True
            break
        found[", ".join(group)] = result
        frames += result.frames
        job.left(result, args.steps)
        if job.stopped:
            break
    losses = "; ".join(f"{name}: content loss {fall(result.losses['content'])}" for name, result in found.items())
    job.write(
        stopped_in(job, losses, titles, found),
        figure=plot.pictures(
            [image, *(result.image for result in found.values())],
            ["photograph", *found],
            stopped_in(job, "Content, reconstructed", titles, found),
        ),
        arrays={"image": image} | {f"result_{name}": result.image for name, result in found.items()},
        numbers={name: (result.losses["content"][0], result.losses["content"][-1]) for name, result in found.items()},
        pictures={name: result.image for name, result in found.items()},
        frames=frames,
        settings={"layers": layers},
    )
