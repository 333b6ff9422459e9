"""Contact sheets: what the standard network and the one trained against attacks show of the same photographs.

    python docs/sheets.py photo.jpg other.jpg --out out
    python docs/sheets.py photo.jpg --models before.h5,minivgg

A sheet for each photograph (none: scikit-image's cat), a row for each network, a column for each kind of picture:
saliency, guided backpropagation, Grad-CAM, LRP, the ideal image of the class, a dream, an inversion, a style. All by
viz' defaults, few steps for what is optimised, one seed. About two minutes a sheet on two cores.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import models  # noqa: E402  (found in ROOT)
import viz  # noqa: E402
from viz import plot  # noqa: E402
from viz.commands.gallery.optimised import waves  # noqa: E402
from viz.plot import Scale, overlay  # noqa: E402

NETWORKS = "minivgg,minivgg_robust"
STEPS = {"ideal": 192, "dream": 10, "inversion": 150, "style": 60}
DREAMT, INVERTED = "relu4_1", "relu3_1"
SIDE = 224  # pixels of what may be of any size


def sheet(picture, name, style, networks):
    """The Figure of one photograph, a path or a picture; style: a picture (1,3,h,w)."""
    images, labels = [], []
    for network in networks:
        model = models.load(network)
        image = models.load_image(picture, model.input_size)
        probabilities = viz.target.probabilities(viz.target.logits(model, viz.target.as_image(model, image))).numpy()[0]
        target = int(probabilities.argmax())
        named = f"{network}: {model.labels[target]} ({probabilities[target]:.2f})"
        columns = row(model, image, models.load_image(picture, (SIDE, SIDE)), target, style)
        images += columns.values()
        labels += [named, *list(columns)[1:]]
    return plot.pictures(images, labels, name, columns=len(images) // len(networks))


def row(model, image, large, target, style):
    """{title: (3,h,w)}: the photograph, and what the network shows of it. image: as it sees it; large: of SIDE."""
    relevance = viz.lrp(model, image, target)[0].sum(0)
    return {
        "photograph": image[0],
        "saliency": coloured(viz.saliency(model, image, target)[0]),
        "guided backprop": plot.centred(viz.guided_backprop(model, image, target)[0]),
        "Grad-CAM": overlay(image[0], viz.grad_cam(model, image, target)[0]).transpose(2, 0, 1),
        "LRP": coloured(relevance),
        "ideal image": ideal(model, target),
        "dream": viz.deep_dream(model, large, DREAMT, steps=STEPS["dream"], seed=0).image[0],
        f"inversion of {INVERTED}": viz.invert(model, image, INVERTED, steps=STEPS["inversion"], seed=0).image[0],
        "style": viz.style_transfer(model, large, style, steps=STEPS["style"], seed=0).image[0],
    }


def ideal(model, target):
    made = viz.maximize(
        model, target, parameterization="fourier", transforms=viz.robust(), steps=STEPS["ideal"], size=160, seed=0
    )
    return made.image[0]


def coloured(heat):
    """(3,h,w) of a map (h,w), in the colours of its own scale."""
    return np.asarray(Scale.of(heat).colours(heat))[..., :3].transpose(2, 0, 1)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("photographs", nargs="*", type=Path, metavar="IMAGE")
    options.add_argument("--style", type=Path, metavar="IMAGE", help="of the last column (default: waves, drawn here)")
    options.add_argument("--models", default=NETWORKS, metavar="A,B", help="(default %(default)s)")
    options.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    style = waves(SIDE) if given.style is None else models.load_image(given.style, (SIDE, SIDE))
    for path in given.photographs or [None]:
        name, picture = ("cat", sample()) if path is None else (path.stem, path)
        sheet(picture, name, style, given.models.split(",")).savefig(given.out / f"sheet_{name}.png")
        print(given.out / f"sheet_{name}.png", flush=True)


def sample():
    from skimage import data

    return data.cat()


if __name__ == "__main__":
    main()
