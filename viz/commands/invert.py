"""What a layer still knows of a photograph: an image, found from noise, with the same activations.

minimise |A(x) - A(photo)|^2 / |A(photo)|^2 + penalties on the range and the roughness of x
(Mahendran and Vedaldi 2015, arXiv:1412.0035, equation 5). Several layers, one beside the other. A deep layer may be
met closely by a picture far from the photograph: what sets them apart is what the layer does not know.
"""

import viz
from viz import plot

from .job import Job
from .options import names, once, parser
from .pictures import LEAST, add_course_options, course, fitted, start_of, stopped_in

options = parser(__doc__, "photo.jpg --layers relu1_1,relu3_1,relu5_1", target=False)
add, number = options.add_argument, options.number
add(
    "--layers",
    metavar="A,B,...",
    help="which are asked, each for an image of its own (default: a convolutional layer of each stage)",
)
number("--alpha", 6.0, "power of the penalty on range", above=0, high=100)
number("--alpha-weight", 0.01, "of the penalty on range")
number("--beta", 2.0, "power of the total variation")
number("--tv-weight", 1.0, "of the total variation")
add("--start", metavar="noise|grey|zeros|IMAGE", default="noise", help="where the image begins (default %(default)s)")
number("--size", 224, "longest side", low=LEAST, high=8192, unit="pixels")
add_course_options(options, steps=300, lr=0.03, optimizer="adam")


TITLE = "What the layers know: how far the layer is off (square error, of its square sum), and the pixels (mean)"


def run(job: Job) -> None:
    """Write for each layer the image that has its activations."""
    args = job.args
    image = fitted(job, args.image, args.size)
    start = start_of(job, args.start, image.shape[2:])
    layers = once(names(args.layers), "layer") or viz.default_layers(job.model, ())[1]
    penalties = {name: getattr(args, name) for name in ("alpha", "alpha_weight", "beta", "tv_weight")}
    found, frames = {}, []
    for layer in layers:
        plain = {"start": start, "optimizer": args.optimizer, "lr": args.lr, "steps": args.steps}
        try:
            found[layer] = viz.invert(job.model, image, layer, **plain, **penalties, **course(job))
        except KeyboardInterrupt:
            if not found:
                raise
            job.stopped = True
            break
        frames += found[layer].frames
        job.left(found[layer], args.steps)
        if job.stopped:
            break
    pixels = {layer: float(abs(result.image - image).mean()) for layer, result in found.items()}
    misses = {layer: result.losses["features"][-1] for layer, result in found.items()}
    off = {layer: f"off by {miss:.2%}, pixels by {pixels[layer]:.2f}" for layer, miss in misses.items()}
    job.write(
        stopped_in(job, f"inverted {'; '.join(f'{layer}: {text}' for layer, text in off.items())}", layers, found),
        figure=plot.pictures(
            [image, *(result.image for result in found.values())],
            ["photograph", *(f"{layer}: {text}" for layer, text in off.items())],
            stopped_in(job, TITLE, layers, found),
        ),
        arrays={"image": image} | {f"result_{layer}": result.image for layer, result in found.items()},
        numbers={"features": misses, "pixels": pixels},
        pictures={layer: result.image for layer, result in found.items()},
        frames=frames,
        settings={"layers": layers},
    )
