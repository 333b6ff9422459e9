"""A photograph in the style of a painting, or of several (Gatys et al. 2016, "Image Style Transfer Using Convolutional
Neural Networks", CVPR, equations 1 to 7).

minimise content weight * 1/2 sum (F - P)^2 + style weight * sum_l w_l / (4 N_l^2 M_l^2) sum (G_l - A_l)^2, and, if
asked, the total variation, over the pixels of the image.
"""

import argparse
from pathlib import Path

import numpy as np

import viz
from viz import plot
from viz.coarse_to_fine import factors
from viz.optimize import Optimized

from .job import Job
from .options import names, parser
from .pictures import LEAST, STYLE_LAYERS, add_course_options, course, fall, fitted, history, start_of

options = parser(__doc__, "photo.jpg --style painting.jpg", target=False)
add, number = options.add_argument, options.number
add("--style", nargs="+", required=True, metavar="IMAGE", help="one picture or several")
number("--blend", float, "a weight for each style", nargs="+", metavar="W", shown="default: equal")
add("--content-layers", metavar="A,B,...", help="of the photograph (default: relu4_2 of VGG)")
add("--style-layers", metavar="A,B,...", help=f"of the style (default: {STYLE_LAYERS})")
number("--content-weight", 1.0, "of the photograph")
number("--style-weight", float, "of the style", shown="default: one that suits the network")
number("--tv-weight", 0.0, "of the sum of squared differences")
add("--normalization", choices=viz.NORMALIZATIONS, default="gatys", help="of the style loss (default %(default)s)")
number("--style-scale", 1.0, "resize the style: below 1, finer strokes")
add(
    "--average-pooling",
    action=argparse.BooleanOptionalAction,
    help="in place of max pooling (default: where the network lets it be replaced)",
)
add("--original-colours", action="store_true", help="keep the photograph's colours (luminance transfer)")
number(
    "--layer-weights",
    float,
    "one for each style layer",
    nargs="+",
    low=0,
    high=1e12,
    metavar="W",
    shown="default: those that weigh the layers alike",
)
number("--scales", 3, "sizes, each twice the one before, none with a side under 64 pixels")
add(
    "--start",
    metavar="content|style|noise|grey|zeros|IMAGE",
    default="content",
    help="where the image begins (default %(default)s)",
)
number("--size", 512, "longest side of the pictures", low=LEAST, high=8192, unit="pixels")
add_course_options(options, steps=200, lr=0.02, optimizer="lbfgs")


def transferred(job: Job) -> tuple[np.ndarray, list[np.ndarray], Optimized]:
    """(content, styles, Optimized) of what the job asks for, pictures (1,C,H,W) in [0,1]."""
    args = job.args
    content = fitted(job, args.image, args.size)
    styles = [fitted(job, path, args.size) for path in args.style]
    plain = {name: getattr(args, name) for name in ("blend", "content_weight", "style_weight", "tv_weight")}
    plain |= {name: getattr(args, name) for name in ("normalization", "style_scale", "average_pooling", "scales")}
    args.scales = len(factors(content.shape[2:], args.scales))  # as many as there will be
    result = viz.style_coarse_to_fine(
        job.model,
        content,
        styles,
        names(args.content_layers),
        names(args.style_layers),
        **plain,
        layer_weights=args.layer_weights or "balanced",
        start=start_of(job, args.start, content.shape[2:]),
        original_colors=args.original_colours,
        optimizer=args.optimizer,
        lr=args.lr,
        steps=args.steps,
        **course(job),
    )
    job.left(result, args.scales * args.steps)
    return content, styles, result


def run(job: Job) -> None:
    """Write the photograph in the style, beside both."""
    args = job.args
    content, styles, result = transferred(job)
    by = " and ".join(Path(path).stem for path in args.style)
    labels = ["content", *(["style"] if len(styles) == 1 else [f"style {i}" for i in range(1, len(styles) + 1)])]
    job.write(
        f"style loss {fall(result.losses['style'])}, content loss {fall(result.losses['content'])}",
        figure=plot.pictures(
            [content, *(like(style, content) for style in styles), result.image],
            [*labels, "result"],
            job.heading(f"{job.image_name} in the style of {by}, {args.steps} steps"),
            columns=len(styles) + 2,
        ),
        arrays={"image": content} | history(result),
        numbers={name: {"first": values[0], "last": values[-1]} for name, values in result.losses.items()},
        pictures={"result": result.image},
        frames=result.frames,
        settings=result.settings,
    )


def like(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The middle of a style, of the shape of the content, for a figure without empty cells."""
    (h, w), (height, width) = style.shape[2:], content.shape[2:]
    rows, columns = min(h, max(1, round(w * height / width))), min(w, max(1, round(h * width / height)))
    top, left = (h - rows) // 2, (w - columns) // 2
    return style[:, :, top : top + rows, left : left + columns]
