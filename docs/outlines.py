"""How much of a network's maps lies on what a person would point at, as a table.

    python docs/outlines.py FOLDER --models minivgg,minivgg_robust

The outlines were drawn on the photographs before a map of them was looked at. Of FOLDER the photographs are taken that
have a name in OUTLINES; the sample photograph always is. The share of a map's positive part inside stands with how many
times the outline's own share of the picture that is: a map that knows nothing has 1. "blurred" is what the class asked
for loses of its score, less the mean of all scores, where what is outlined is blurred, "elsewhere" the mean of twelve
such losses where the same shape is blurred elsewhere.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from skimage import data

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import models  # noqa: E402  (found in ROOT)
import viz  # noqa: E402
from viz.commands.methods import METHODS  # noqa: E402
from viz.commands.tables import markdown  # noqa: E402

SHOWN = ("grad_cam", "lrp", "guided_grad_cam", "centre")
BLUR, OTHERS, OVERLAP = 6, 12, 0.25  # pixels; masks elsewhere, and what they share with the outline at most
SIDE, FINER = 112, 8  # the outlines' unit is 1/112 of the side of the square that a network sees

# (photograph, class, what is outlined): polygons of x, y, x, y, ...
OUTLINES = {
    ("sample", "cat", "head"): [
        (0, 0, 112, 0, 112, 15, 110, 22, 105, 27, 104, 34, 107, 46, 106, 55, 103, 64, 98, 72, 92, 79, 89, 86)
        + (88, 94, 85, 101, 72, 106, 60, 107, 50, 105, 40, 104, 28, 101, 20, 96, 12, 88, 5, 80, 0, 74),
    ],
    ("sample", "cat", "eyes, nose and muzzle"): [
        (22, 34, 30, 31.5, 40, 32, 47, 38, 51, 46, 52, 54, 45, 55.5, 35, 54.5, 27, 50, 22.5, 42),
        (82, 52, 83, 46, 88, 42, 95, 41, 100, 43, 100, 50, 97, 57, 90, 61.5, 84, 58),
        (56, 80, 66, 83, 82, 84, 88, 86, 88, 95, 84, 101, 72, 105, 58, 106, 44, 104, 32, 100, 28, 92, 32, 84, 44, 79),
    ],
    ("siamese.jpg", "cat", "head"): [
        (45, 22, 51.5, 23.5, 57, 25, 63.5, 24.5, 71, 20, 68.5, 30, 69.5, 34, 68, 40, 64, 44, 60, 46, 55.5, 43)
        + (50, 39, 45, 34, 44, 28),
    ],
    ("tabby.jpeg", "cat", "head"): [
        (6.5, 7.5, 14, 7, 22, 10, 31, 18.5, 36.5, 22, 54, 18.5, 56, 8.5, 61, 0, 76, 0, 78, 17, 84, 31, 84.5, 46, 85, 57)
        + (78, 68.5, 68, 76, 56.5, 78.5, 44, 78, 31, 73, 22, 64, 19, 54, 18, 43, 14, 31, 8, 17),
    ],
    ("cat_portrait.jpg", "cat", "head"): [
        (17.5, 28.5, 17.5, 20, 21, 10, 25.5, 5, 30, 10, 32, 18, 43, 19.5, 49, 14, 55, 12, 54.5, 20, 50, 30, 50, 34)
        + (49, 41.5, 44.5, 47, 37.5, 49, 29, 47, 21, 44, 16.5, 37),
    ],
    ("cat_dog.png", "cat", "head"): [
        (71, 60.5, 74.5, 63.5, 80, 63.5, 84, 59.5, 86, 67, 85.5, 74, 82.5, 79.5, 78, 81, 73, 78.5, 71, 73),
    ],
    ("zebra.jpg", "zebra", "both zebras"): [
        (5.5, 39.5, 10, 34, 28.5, 31, 48.5, 30, 64, 32, 83, 31, 112, 34, 112, 52, 94, 52, 86, 56.5, 84.5, 64, 85, 88)
        + (80, 89.5, 73, 71, 70, 85, 63.5, 94, 58.5, 85, 58.5, 64, 40, 61, 43, 86.5, 37, 86.5, 31, 62, 24, 62, 23, 85)
        + (30, 95, 23, 96, 14, 85, 11.5, 65, 4, 54),
    ],
    ("tuebingen.jpg", "church", "tower"): [(79, 18.5, 76, 28, 75, 41, 83, 36.5, 82.5, 28)],
}


def mask_of(polygons, height, width):
    """(height,width) bool: the pixels of which more than half lie in one of the polygons."""
    picture = Image.new("L", (width * FINER, height * FINER))
    for polygon in polygons:
        scaled = np.reshape(polygon, (-1, 2)) * [width * FINER / SIDE, height * FINER / SIDE]
        ImageDraw.Draw(picture).polygon([tuple(point) for point in scaled], fill=1)
    return np.asarray(picture).reshape(height, FINER, width, FINER).mean((1, 3)) > 0.5


def elsewhere(mask, rng):
    """OTHERS masks (H,W): `mask` moved round the picture by some way, without what they share with it, OVERLAP at most.

    A mask too large for such a way has none.
    """
    moved = (np.roll(mask, rng.integers(mask.shape), (0, 1)) for _ in range(100 * OTHERS))
    return [other & ~mask for other in moved if (other & mask).sum() <= OVERLAP * mask.sum()][:OTHERS]


def losses(model, image, mask, target):
    """(what the class's score, less the mean of all, loses by a blur of mask; the mean of those by one elsewhere)."""
    places = [np.zeros_like(mask), mask, *elsewhere(mask, np.random.default_rng(0))]
    blurred = gaussian_filter(image[0], (0, BLUR, BLUR))
    scores = viz.attacks.scores(model, np.stack([np.where(place, blurred, image[0]) for place in places]))
    score = scores[:, target] - scores.mean(1)
    lost = score[0] - score[1:]
    return lost[0], lost[1:].mean() if len(lost) > 1 else np.nan


def row(model, name, picture, target, what, polygons):
    """The photograph's row: the two classes named first, the outline's share, and that of each map's positive part."""
    image = models.load_image(picture, model.input_size)
    mask, index = mask_of(polygons, *image.shape[2:]), models.find_class(model, target)
    probabilities = viz.target.probabilities(viz.target.logits(model, viz.target.as_image(model, image))).numpy()[0]
    first, second = probabilities.argsort()[::-1][:2]
    found = {"network": model.name, "photograph": name}
    found |= {"named": f"{model.labels[first]} {probabilities[first]:.2f}"}
    found |= {"then": f"{model.labels[second]} {probabilities[second]:.2f}"}
    found |= {"asked": target, "outlined": what, "area": float(mask.mean())}
    for key in SHOWN:
        heat = METHODS[key].map(model, image, index)
        inside = float(viz.mass_inside(np.maximum(heat, 0), mask)[0])
        found[key] = f"{inside:.0%} ({inside / mask.mean():.1f})"
    lost = losses(model, image, mask, index)
    return found | {"blurred": f"{lost[0]:.2f}", "elsewhere": f"{lost[1]:.2f}".replace("nan", "")}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="of photographs")
    options.add_argument("--models", default="minivgg,minivgg_robust", metavar="A,B", help="(default %(default)s)")
    given = options.parse_args()
    rows = []
    for model in map(models.load, given.models.split(",")):
        for (name, target, what), polygons in OUTLINES.items():
            path = given.folder and given.folder / name
            if name == "sample" or path and path.is_file():
                picture = data.cat() if name == "sample" else path
                rows.append(row(model, name, picture, target, what, polygons))
    print(markdown(rows, "{:.0%}"))


if __name__ == "__main__":
    main()
