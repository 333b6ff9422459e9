"""Write what networks' own photographs look like to them into their weights files, for `models.unknown` to go by.

    python docs/class_means.py imagenette_cat_zebra_128px.tar.gz --models minivgg minivgg_robust --others pictures/*

Training does so by itself; this is for the files that are there. They are written to --out with the same weights. Says
of each network, by both scores of models/known.py, how many held-out photographs pass where the threshold is set on the
other half of them, and how many of --others, pictures of none of its classes, are caught where it is set on all.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import models  # noqa: E402  (found in ROOT)
import viz  # noqa: E402
from models.dataset import open_photographs  # noqa: E402
from models.known import last_maps, learn, shares, threshold  # noqa: E402
from models.training import answers, probabilities  # noqa: E402


def scores(model, images, members):
    """{score: (M,)} of images[members], images (N,S,S,3) uint8."""
    side, layer = model.input_size[0], last_maps(model)
    seen = answers(lambda x: shares(model, x, layer), images, members, side)
    return {
        "largest probability": probabilities(model, images, members, side).max(1),
        "class means": model.known.cosines(seen),
    }


def as_bytes(path, size):
    """(H,W,3) uint8: a picture as a network of that size gets it."""
    return np.rint(255 * models.load_image(path, size)[0]).astype(np.uint8).transpose(1, 2, 0)


def in_half(model):
    """Whether float16 holds all weights as they are."""
    return all(np.array_equal(a, a.astype(np.float16)) for a in model.state_dict().values())


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, metavar="DATA", help="the photographs, as for scripts/train.py")
    options.add_argument("--models", nargs="+", default=["minivgg", "minivgg_robust"], metavar="MODEL")
    options.add_argument("--others", nargs="*", default=[], type=Path, metavar="FILE", help="pictures of other things")
    options.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="(default %(default)s)")
    given = options.parse_args()
    for name in given.models:
        model = models.load(name)
        photographs = open_photographs(given.data, max(128, *model.input_size))
        members, held_out = photographs.split()
        model.known = learn(model, photographs.images, photographs.labels, members, held_out)
        given.out.mkdir(parents=True, exist_ok=True)
        path = given.out / f"{model.name}.h5"
        models.save_weights(model, path, half=in_half(model))
        print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")

        own = scores(model, photographs.images, np.random.default_rng(0).permutation(held_out))
        pictures = [as_bytes(other, model.input_size) for other in given.others]
        foreign = scores(model, np.stack(pictures), np.arange(len(pictures))) if pictures else {}
        for score, values in own.items():
            first, second = np.array_split(values, 2)
            print(f"{score}: {viz.estimate(second >= threshold(first)).text('{:.1%}')} of {len(second)} pass")
            if foreign:
                caught = foreign[score] < threshold(values)
                which = ", ".join(path.name for path, one in zip(given.others, caught, strict=True) if one)
                print(f"  {caught.sum()} of {len(caught)} caught, {viz.estimate(caught).text('{:.0%}')}: {which}")


if __name__ == "__main__":
    main()
