"""The project's own network and photograph for stages 6 to 8, in float64, where rounding decides no ReLU or pool."""

from functools import cache

import numpy as np

import models

from .material import PHOTOGRAPH, WEIGHTS


@cache
def network():
    """The project's MiniVGG with weights in float64, frozen."""
    model = models.load(WEIGHTS).requires_grad_(False)
    model.load_state_dict({name: array.astype(np.float64) for name, array in model.state_dict().items()})
    return model.eval()


def photograph(size=None):
    """(1,3,size,size) float64 in [0,1]: the middle of the photograph; None: all of it."""
    image = models.load_image(PHOTOGRAPH).astype(np.float64)
    begin = 0 if size is None else (image.shape[2] - size) // 2
    return image[:, :, begin : begin + (size or image.shape[2]), begin : begin + (size or image.shape[3])]
