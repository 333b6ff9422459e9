"""What can be said against one map: of this photograph, by this method, on this network.

Does the map depend on what the network has learned (Adebayo et al. 2018, arXiv:1810.03292)? Does the score follow it
under insertion and deletion (Petsiuk et al. 2018, arXiv:1806.07421) further than it follows the same method's maps of
other photographs, this map shifted, and a blob at the centre? Does noise that nobody sees move it (Yeh et al. 2019,
arXiv:1901.09392)? Do other methods agree? Nothing here can prove a map right; each check may speak against it.

The other photographs are those of --data, or scikit-image's.
"""

from pathlib import Path
from typing import Any

import numpy as np

import models
import viz
from models.mistakes import UserError
from viz import trust_figure
from viz.remarks import silence

from .attribution import heading
from .job import Job
from .labelled import labelled_images
from .methods import METHODS
from .options import parser
from .pictures import in_channels
from .target import SCORE

PICTURES = ("astronaut", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "colorwheel")
TRIED = [name for name in METHODS if name not in ("random", "centre")]

options = parser(__doc__, "photo.jpg --target cat --method grad_cam", kind=SCORE)
add, number = options.add_argument, options.number
add(
    "--method",
    choices=TRIED,
    default="grad_cam",
    metavar="NAME",
    help=f"of attribution: {', '.join(TRIED)} (default %(default)s)",
)
add("--data", type=Path, metavar="DIR", help="a folder of class folders, whose photographs are the others")
number("--count", 8, "how many photographs of --data", low=4)
number("--draws", 5, "of the weights", low=2)
number("--steps", 16, "points of the insertion and deletion curves")


def run(job: Job) -> None:
    """Write the findings against the map, and the verdict."""
    args, found = job.args, tried(job)
    findings, title = found.findings, job.title(f"{heading(args.method)} on trial")
    words = "\n".join(f"  {trust_figure.SIGNS[one.against]:10} {name}: {one.text}" for name, one in findings.items())
    job.write(
        f"{title}\n{found.verdict}\n{words}\n",
        figure=trust_figure.figure(job.image, found, title),
        arrays={"image": job.image, "map": found.map, "random_map": found.random_map},
        numbers={
            "verdict": found.verdict,
            "findings": {name: {"against": one.against, "text": one.text} for name, one in findings.items()},
            "rank after the top layer": found.top,
            "rank after all layers": found.all,
            "insertion": found.insertion,
            "deletion": found.deletion,
            "rivals": {
                kind: {"insertion": one.insertion.tolist(), "deletion": one.deletion.tolist()}
                for kind, one in found.rivals.items()
            },
            "as good": {measure: found.as_good(measure) for measure in ("insertion", "deletion")},
            "change under noise": found.change,
            "agreement": {
                name: found.agreement[heading(name)] for name in panel(args.method) if heading(name) in found.agreement
            },
            "agreement by chance": found.chance,
        },
    )


def tried(job: Job) -> viz.Trust:
    """The Trust of what was asked for."""
    args = job.args
    method = METHODS[args.method]
    with silence():  # on maps that are zero: here that is a result
        return viz.trust(
            job.model,
            job.image,
            method,
            **job.explained_classes,
            others=others(job),
            how=method.how,
            panel={heading(name): one for name, one in panel(args.method).items()},
            draws=args.draws,
            steps=args.steps,
            seed=args.seed,
            progress=job.progress,
            callback=job.so_far,
        )


def panel(method: str) -> dict[str, Any]:
    """The methods that a map by this one is compared with."""
    return {name: one for name, one in viz.trusted.PANEL.items() if name != method}


def others(job: Job) -> np.ndarray:
    """(M,3,H,W): photographs that are not the one explained."""
    if job.args.data is not None:
        return labelled_images(job.args.data, job.model.input_size, job.args.count, job.args.seed, job.model).images
    try:
        from skimage import data
    except ImportError:
        raise UserError("no --data was given, and scikit-image's pictures need scikit-image: pip install it") from None
    loaded = [models.load_image(getattr(data, name)(), job.model.input_size) for name in PICTURES]
    return in_channels(job.model, np.concatenate(loaded))
