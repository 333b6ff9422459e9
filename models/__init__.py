"""Convolutional networks of photographs, their weights, and the pictures and names that go in and come out.

import models

model = models.load("minivgg")                      # or build("vgg16", seed=0), or a path
image = models.load_image("cat.jpg", model.input_size)
scores = model(image)                               # (1, classes), before the softmax
models.find_class(model, "cat")
"""

from . import installed  # noqa: F401  isort: skip: before all that needs it
from .architectures import build
from .catalogue import load
from .description import register
from .from_torch import from_torch
from .hdf5 import WeightsError
from .images import ImageError, load_image, save_image
from .known import unknown
from .labels import find_class
from .layers import Preprocess
from .model import Model, fold_batch_norm
from .to_torch import to_torch
from .weights_file import save as save_weights

__all__ = [
    "ImageError",
    "Model",
    "Preprocess",
    "WeightsError",
    "build",
    "find_class",
    "fold_batch_norm",
    "from_torch",
    "load",
    "load_image",
    "register",
    "save_image",
    "save_weights",
    "to_torch",
    "unknown",
]
