"""An index of the patches that every channel of a network responds to most, for the page of `explore`.

The photographs are those of --data; without it they are scikit-image's, cut at several sizes, and rendered scenes, so
that the index may be given to others. For each channel of each rectified layer it keeps the strongest responses, at
most one from a photograph, as Zeiler and Fergus 2013 (arXiv:1311.2901, figure 2) show them.
"""

from pathlib import Path

import numpy as np

import models
import viz
from minigrad import nn
from minigrad.nn import Module
from minigrad.nn.activations import Activation
from models.mistakes import UserError
from viz.ground_truth.scenes import scenes
from viz.random import stream
from viz.target import channels

from .job import Job
from .labelled import labelled_images
from .options import parser
from .tables import counted

PHOTOGRAPHS = (
    *("astronaut", "cat", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "colorwheel", "camera"),
    *("brick", "grass", "gravel", "coins"),
)
CUTS, SCENES = 4, 16  # of each photograph; of the rendered scenes

options = parser(__doc__, "--data photos --model minivgg", False, False)
options.add_argument("--data", type=Path, metavar="DIR", help="a folder of class folders (default: free photographs)")
options.number("--count", 240, "how many photographs of --data", low=1)
options.number("--patches", 9, "for each channel", low=1)


def run(job: Job) -> None:
    """Write the file of best patches of every rectified channel."""
    args, model = job.args, job.model
    if args.data is None:
        options.refuse(args, ["count"], "without --data")
        images = free_pictures(model.input_size, args.seed)
    else:
        images = labelled_images(args.data, model.input_size, args.count, args.seed, model).images
    layers = rectified(model)
    index = viz.index_patches(model, images, layers, args.patches, job.progress)
    found = sum(len(places[0]) for places in index.places.values())
    job.write(
        f"{counted(len(index), 'photograph')}, {found} channels of {len(layers)} layers",
        numbers={"photographs": len(index), "channels": found, "layers": layers},
        arrays=index.arrays,
    )


def rectified(model: Module) -> list[str]:
    """The names of the activations that have positions."""
    rows = model.layers((channels(model), *model.input_size))
    return [
        row.name for row in rows if isinstance(model[row.name], nn.ReLU | Activation) and len(row.output_shape) == 3
    ]


def free_pictures(size: tuple[int, int], seed: int) -> np.ndarray:
    """(N,3,H,W): cuts of scikit-image's photographs, of a third of their short side to all, and rendered scenes."""
    try:
        from skimage import data
    except ImportError:
        raise UserError("no --data was given, and scikit-image's pictures need scikit-image: pip install it") from None
    found, rng = [], stream(seed, "patch_index")
    for name in PHOTOGRAPHS:
        whole = models.load_image(getattr(data, name)())
        for share in np.linspace(1, 1 / 3, CUTS):
            side = int(share * min(whole.shape[2:]))
            top, left = (int(rng.integers(n - side + 1)) for n in whole.shape[2:])
            found.append(models.load_image(whole[..., top : top + side, left : left + side], size))
    drawn = scenes(SCENES, seed).images
    return np.concatenate([*found, *(models.load_image(one[None], size) for one in drawn)])
