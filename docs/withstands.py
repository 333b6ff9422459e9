"""How many photographs of a fixed draw a network still names right when an attack is done with them.

    python docs/withstands.py imagenette_cat_zebra_128px.tar.gz --attack square --model minivgg_robust --out out

The draw is `numpy.random.default_rng(0).permutation` of the validation split, the first --count of it at the network's
size; images are rounded to 256 levels before and after the attack. Every batch is kept in --out: the same command goes
on where it was stopped.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import models  # noqa: E402  (found in ROOT)
import viz  # noqa: E402
from models.augment import whole  # noqa: E402
from models.dataset import open_photographs  # noqa: E402
from viz.commands.record import sha256  # noqa: E402
from viz.many.store import Writer  # noqa: E402
from viz.many.work import identity  # noqa: E402

EPSILON, BATCH = 4 / 255, 50  # L-infinity; photographs
ATTACKS = {
    "pgd": lambda model, x, y: viz.pgd(model, x, label=y, epsilon=EPSILON, steps=20),
    "apgd": lambda model, x, y: viz.apgd(model, x, label=y, epsilon=EPSILON, steps=100),
    "square": lambda model, x, y: viz.square_attack(model, x, label=y, epsilon=EPSILON, queries=1000),
    "auto": lambda model, x, y: viz.auto_attack(model, x, label=y, epsilon=EPSILON, steps=100, queries=1000),
}


def named_right(model, x, y):
    return viz.attacks.scores(model, x).argmax(1) == y


def withstood(model, attack, x, y):
    """(N,2) bool: which images are named right untouched, and which of them still are when attacked."""
    x = viz.as_saved(x)
    clean = named_right(model, x, y)
    attacked = clean.copy()
    if clean.any():
        attacked[clean] = named_right(model, viz.as_saved(attack(model, x[clean], y[clean])), y[clean])
    return np.stack([clean, attacked], 1)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, metavar="DATA", help="the photographs, as for scripts/train.py")
    options.add_argument("--attack", choices=ATTACKS, default="apgd", help="(default %(default)s)")
    options.add_argument("--model", default="minivgg_robust", metavar="MODEL", help="(default %(default)s)")
    options.add_argument("--count", type=int, default=1000, metavar="N", help="of the draw (default %(default)s)")
    options.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="(default %(default)s)")
    given = options.parse_args()
    model = models.load(given.model)
    side = model.input_size[0]
    photographs = open_photographs(given.data, side, given.out)
    chosen = np.random.default_rng(0).permutation(photographs.split()[1])[: given.count]
    question = {"attack": given.attack, "weights": identity(model), "photographs": sha256(photographs.digests)}
    found = np.empty((0, 2), bool)
    with Writer(given.out / f"withstands_{given.attack}", question) as store:
        for start in range(0, len(chosen), BATCH):
            rows = chosen[start : start + BATCH]

            def compute(rows=rows):
                images = whole(photographs.images[rows], side)
                return {"right": withstood(model, ATTACKS[given.attack], images, photographs.labels[rows])}

            found = np.concatenate([found, store.remembered(f"{start} {len(rows)}", compute)["right"]])
            clean, attacked = (viz.estimate(column).text("{:.1%}") for column in found.T)
            print(f"{len(found)} photographs: {clean} right untouched, {attacked} under {given.attack}", flush=True)


if __name__ == "__main__":
    main()
