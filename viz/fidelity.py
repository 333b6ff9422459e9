"""Infidelity: does an attribution predict how the score changes under noise? (Yeh et al. 2019, arXiv:1901.09392)

The definition depends on the attribution's unit, and most of it is the mean change, which no linear map predicts: any
noise lowers a score. `relative_infidelity` leaves both out, and then an uninformative map has a known value.
"""

import numpy as np

from .perturbation import watched
from .random import drawn, streams
from .target import as_image, fixed_target, in_pixels, value_range


def infidelity(
    model,
    image,
    attribution,
    target=None,
    layer=None,
    unit=None,
    samples=128,
    sigma=0.1,
    scaled=False,
    seed=0,
    key=None,
):
    """(N,): E[(I . a - (y(x) - y(x - I)))^2] over noise I ~ N(0, sigma^2) (Yeh et al. 2019, definition 2.1).

    attribution: a, (N,3,H,W), or (N,H,W), which then counts for every channel. scaled: multiply a by the number that
    makes the result least, so that methods of different units can be compared. sigma: in units of the image. seed, key:
    of the noise, each photograph's own (see viz/random.py).
    """
    predicted, actual = _changes(
        "infidelity", model, image, attribution, target, layer, unit, samples, sigma, seed, key
    )
    if scaled:
        norm = (predicted**2).sum(0)
        predicted = predicted * (predicted * actual).sum(0) / np.where(norm > 0, norm, 1)
    return ((predicted - actual) ** 2).mean(0)


def relative_infidelity(
    model, image, attribution, target=None, layer=None, unit=None, samples=128, sigma=0.1, seed=0, key=None
):
    """(N,): the share of the variance of y(x) - y(x - I) that the best scaled I . a leaves unexplained, 0 to 1.

    It is the infidelity without the means of both, over that of no attribution at all: 1 - r^2 of their correlation. A
    map that knows nothing has `chance_infidelity(samples)` on average. Arguments as for `infidelity`; samples: at least
    3. 1 where the map or the score does not change.
    """
    if samples < 3:
        raise ValueError(f"relative_infidelity: samples must be at least 3, got {samples}")
    how = samples, sigma, seed, key
    predicted, actual = _changes("relative_infidelity", model, image, attribution, target, layer, unit, *how)
    predicted, actual = predicted - predicted.mean(0), actual - actual.mean(0)
    norm = (predicted**2).sum(0) * (actual**2).sum(0)
    return 1 - (predicted * actual).sum(0) ** 2 / np.where(norm > 0, norm, 1)


def chance_infidelity(samples):
    """The relative infidelity of a map that knows nothing, on average: noise in `samples` draws is fitted by chance."""
    return 1 - 1 / (samples - 1)


def _changes(name, model, image, attribution, target, layer, unit, samples, sigma, seed, key):
    """I . a and y(x) - y(x - I) for each noise I, both (samples, N)."""
    if value_range(model) == (0, 1):
        in_pixels(name, "sigma", sigma)
    target = fixed_target(model, image, target, layer)
    x = as_image(model, image).numpy()
    a = np.asarray(attribution, np.float64)
    a = np.broadcast_to(a[:, None] if a.ndim == 3 else a, x.shape)
    rngs = streams(seed, name, x, key)
    before = watched(model, x, target, layer, unit)
    predicted, actual = np.empty((2, samples, len(x)))
    for k in range(samples):
        noise = (sigma * drawn(rngs, lambda rng: rng.standard_normal(x.shape[1:]))).astype(x.dtype)
        predicted[k] = (noise * a).sum((1, 2, 3))
        actual[k] = before - watched(model, x - noise, target, layer, unit)
    return predicted, actual
