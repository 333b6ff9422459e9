"""Several attribution methods and several classes side by side, every method with its default settings.

A row is a class, a column a method; coarse maps lie over the photograph, fine ones stand alone. Maps of three channels
are summed over them. Where a method does not apply to the network, the sentence that says why stands in its place. For
the equations and papers see --help of each method.
"""

import models
from models.mistakes import UserError, users_mistake
from viz import plot

from .attribution import COMMANDS, call
from .options import chosen, names, once, parser

COARSE = ("grad_cam", "grad_cam_plus_plus", "score_cam", "layer_cam", "eigen_cam", "occlusion", "rise")

EXAMPLE = "photo.jpg --methods saliency,guided_backprop,grad_cam --targets cat,zebra"
options = parser(__doc__, EXAMPLE, target=False)
options.add_argument(
    "--methods",
    default="saliency,guided_backprop,grad_cam",
    metavar="A,B,...",
    help=f"any of {', '.join(COMMANDS)} (default %(default)s)",
)
options.add_argument("--targets", metavar="A,B,...", help="classes by name or index (default: the top two)")


def run(job):
    methods, targets = chosen(job.args.methods, COMMANDS), chosen_targets(job)
    classes = [job.class_name(target) for target in targets]
    maps = [[attribution(job, method, target) for method in methods] for target in targets]

    found = {(t, m): heat for t, row in zip(targets, maps, strict=True) for m, heat in zip(methods, row, strict=True)}
    arrays = {f"{t}_{m}": heat for (t, m), heat in found.items() if not isinstance(heat, str)}
    refused = {m: heat for (_, m), heat in found.items() if isinstance(heat, str)}
    if not arrays:
        raise UserError(next(iter(refused.values())))
    rows = [f"{name} (p = {job.probabilities[target]:.3g})" for name, target in zip(classes, targets, strict=True)]
    title = f"{job.image_name}, seen by {job.model.name}"
    job.write(
        figure=plot.attribution_grid(job.image, maps, rows, methods, title, over=COARSE),
        arrays={"image": job.image, **arrays},
        numbers={
            "probabilities": {name: job.probabilities[t] for name, t in zip(classes, targets, strict=True)},
            "refused": refused,
        },
        line=f"{', '.join(methods)} for {', '.join(classes)}",
    )


def chosen_targets(job):
    if job.args.targets is None:
        return [int(index) for index in (-job.probabilities).argsort(kind="stable")[:2]]
    return once([models.find_class(job.model, name) for name in names(job.args.targets)], "class")


def attribution(job, method, target):
    """(H,W): the method's map of the image for a class; the sentence by which it refuses this network."""
    try:
        found = call(job, method, target=target)
    except (NotImplementedError, ValueError, RuntimeError) as error:
        sentence = users_mistake(error)
        if sentence is None:
            raise
        return sentence
    return found[0].sum(0) if found.ndim == 4 else found[0]
