"""A new image with the texture of a picture, from noise: its Gram matrices and nothing else.

minimise sum_l w_l / (4 N_l^2 M_l^2) sum (G_l - A_l)^2 (Gatys et al. 2015, "Texture Synthesis Using Convolutional
Neural Networks", arXiv:1505.07376): style transfer without the content. The default network, minivgg_robust, gives back
the stones of a gravel, minivgg their grain.
"""

import viz
from viz import plot

from .job import Job
from .options import names, parser
from .pictures import LEAST, STYLE_LAYERS, add_course_options, course, fall, fitted, history

options = parser(__doc__, "bark.jpg --width 400 --height 200", target=False)
add, number = options.add_argument, options.number
add("--layers", metavar="A,B,...", help=f"whose Gram matrices are met (default: {STYLE_LAYERS})")
add("--normalization", choices=viz.NORMALIZATIONS, default="gatys", help="of the loss (default %(default)s)")
add("--average-pooling", action="store_true", help="in place of max pooling")
number("--tv-weight", 0.0, "of the sum of squared differences")
number("--style-scale", 1.0, "resize the picture first")
number("--size", 256, "longest side of the picture", low=LEAST, high=8192, unit="pixels")
number("--width", int, "of the result", low=1, high=8192, unit="pixels", shown="default: the picture's")
number("--height", int, "of the result", low=1, high=8192, unit="pixels", shown="default: the picture's")
add_course_options(options, steps=200, lr=0.05, optimizer="lbfgs")
options.set_defaults(model="minivgg_robust")


def run(job: Job) -> None:
    """Write a new picture with the texture of the style."""
    args = job.args
    picture = fitted(job, args.image, args.size)
    size = (args.height or picture.shape[2], args.width or picture.shape[3])
    plain = {name: getattr(args, name) for name in ("normalization", "average_pooling", "tv_weight", "style_scale")}
    plain |= {name: getattr(args, name) for name in ("optimizer", "lr", "steps")}
    _, layers = viz.default_layers(job.model, (), names(args.layers))
    result = viz.synthesize_texture(job.model, picture, layers, size, **plain, **course(job))
    job.left(result, args.steps)
    job.write(
        f"style loss {fall(result.losses['style'])}",
        figure=plot.pictures(
            [picture, result.image], ["picture", "the same texture"], job.heading("Texture synthesis")
        ),
        arrays={"image": picture} | history(result),
        numbers={name: {"first": values[0], "last": values[-1]} for name, values in result.losses.items()},
        pictures={"result": result.image},
        frames=result.frames,
        settings={"layers": layers},
    )
