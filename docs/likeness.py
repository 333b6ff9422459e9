"""Do optimised pictures go through a network as photographs do? The table of docs/techniques/optimised_images.md.

    python docs/likeness.py DIR

DIR: the photographs, as for `--data` of the commands; 40 of each class are drawn. A picture made for a class is
compared with the 40 of it and with those of all others (`viz.natural_path`): 1 is as like the class's photographs as
they are like each other, 0 only as like as the others. A cell has a number for each of --targets. The photograph
attacked is the first of the others.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import models  # noqa: E402  (found in ROOT)
import viz  # noqa: E402
from viz.commands.labelled import labelled_images  # noqa: E402
from viz.commands.tables import markdown  # noqa: E402

EACH, STEPS, EPSILON = 40, 150, 8 / 255  # photographs of each class; of the optimisation; the attack's budget
LAYERS = ("relu2_2", "relu3_2", "relu4_2", "relu5_2", "relu6")


def made(model, target, photograph):
    """{how: an image (1,3,H,W)} that the network takes for the class."""
    robust = {"parameterization": "fourier", "transforms": viz.robust()}
    attacked = viz.pgd(model, photograph, target=target, epsilon=EPSILON)
    return {
        f"Fourier, robust, {STEPS} steps": viz.maximize(model, target, steps=STEPS, **robust).image,
        f"pixels alone, {STEPS} steps": viz.maximize(model, target, steps=STEPS, transforms=[]).image,
        f"PGD {round(255 * EPSILON)}/255 on a photograph of another class": attacked,
    }


def relative(model, data, target):
    """{how: (L,)}: how like photographs of the class each picture is, layer by layer."""
    index = models.find_class(model, target)
    own = data.labels == list(data.names).index(model.labels[index])
    pictures = made(model, target, data.images[~own][:1])
    path = viz.natural_path(model, np.concatenate([*pictures.values()]), data.images[own], data.images[~own], LAYERS)
    return dict(zip(pictures, path.relative, strict=True))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, metavar="DIR")
    options.add_argument("--model", default="minivgg", help="(default %(default)s)")
    options.add_argument("--targets", default="cat,zebra,church", metavar="A,B,...", help="(default %(default)s)")
    given = options.parse_args()
    model = models.load(given.model)
    data = labelled_images(given.data, model.input_size, EACH * len(model.labels), 0, model)
    found = [relative(model, data, target) for target in given.targets.split(",")]
    rows = [
        {"made by": how, **{layer: " / ".join(f"{one[how][k]:.2f}" for one in found) for k, layer in enumerate(LAYERS)}}
        for how in found[0]
    ]
    print(markdown(rows))


if __name__ == "__main__":
    main()
