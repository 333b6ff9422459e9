"""The networks that all engines run, written once: weights for minigrad (.h5) and torch (.pth), layers as JSON.

python -m benchmarks.prepare FOLDER NETWORK...; the name "photograph" stands for the sample, cat.png.
"""

import json
import sys
from pathlib import Path

import torch

import models
from benchmarks import cases
from models.description import describe

PHOTOGRAPH = "photograph"


def network(name):
    """He-initialised; "minivgg_bn" and "resnet18_bn" have batch normalisation, as they are trained."""
    if name == "vgg16_features":  # the same weights: their scale is that of the whole network's
        return models.build("vgg16_features")
    if name == "resnet18_bn":
        return models.build("resnet18")
    if name in cases.FOLDED:
        return models.fold_batch_norm(models.build(name))
    return models.build(name.removesuffix("_bn"), batch_norm=name.endswith("_bn"))


def main(folder, *names):
    for name in names:
        if name == PHOTOGRAPH:
            from skimage import data

            models.save_image(models.load_image(data.cat()), Path(folder) / "cat.png")
            continue
        model, base = network(name), Path(folder) / name
        models.save_weights(model, base.with_suffix(".h5"))
        base.with_suffix(".json").write_text(json.dumps(describe(model)))
        arrays = {key: torch.from_numpy(array) for key, array in model.state_dict().items()}
        torch.save(arrays, base.with_suffix(".pth"))


if __name__ == "__main__":
    main(*sys.argv[1:])
