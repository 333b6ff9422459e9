"""Several attribution methods and several classes side by side, every method with its default settings.

A row is a class, a column a method; coarse maps lie over the photograph, fine ones stand alone. Maps of three channels
are summed over them. For the equations and papers see --help of each method's own script.
"""

import models
from viz import plot

from .attribution import call
from .mistakes import UserError
from .options import parser

FINE = (
    "saliency",
    "deconvnet",
    "guided_backprop",
    "input_x_gradient",
    "integrated_gradients",
    "smooth_grad",
    "guided_grad_cam",
    "lrp",
)
COARSE = ("grad_cam", "grad_cam_plus_plus", "score_cam", "layer_cam", "eigen_cam", "occlusion", "rise")
METHODS = FINE + COARSE

options = parser(
    __doc__,
    "photo.jpg --methods saliency,guided_backprop,grad_cam --targets cat,zebra",
    target=False,
)
options.add_argument(
    "--methods",
    default="saliency,guided_backprop,grad_cam",
    metavar="A,B,...",
    help=f"any of {', '.join(METHODS)} (default %(default)s)",
)
options.add_argument("--targets", metavar="A,B,...", help="classes by name or index (default: the top two)")


def run(job):
    methods = [name.strip() for name in job.args.methods.split(",")]
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise UserError(f"there is no method {unknown[0]!r}; the methods are: {', '.join(METHODS)}")
    targets = chosen_targets(job)
    names = [job.class_name(target) for target in targets]
    maps = [[attribution(job, method, target) for method in methods] for target in targets]

    arrays = {
        f"{t}_{m}": heat for t, row in zip(targets, maps, strict=True) for m, heat in zip(methods, row, strict=True)
    }
    rows = [f"{name} (p = {job.probabilities[target]:.3g})" for name, target in zip(names, targets, strict=True)]
    title = f"{job.image_name}, seen by {job.model.name}"
    job.write(
        figure=plot.attribution_grid(job.image, maps, rows, methods, title, over=COARSE),
        arrays={"image": job.image, **arrays},
        numbers={
            "probabilities": {name: job.probabilities[target] for name, target in zip(names, targets, strict=True)}
        },
        line=f"{', '.join(methods)} for {', '.join(names)}",
    )


def chosen_targets(job):
    if job.args.targets is None:
        return [int(index) for index in (-job.probabilities).argsort(kind="stable")[:2]]
    return [models.find_class(job.model, name.strip()) for name in job.args.targets.split(",")]


def attribution(job, method, target):
    """(H,W): the method's map of the image for a class."""
    found = call(job, method, target=target)
    return found[0].sum(0) if found.ndim == 4 else found[0]
