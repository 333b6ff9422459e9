"""Does an attribution predict how the score changes, under noise or as pixels go?

The definition of infidelity (Yeh et al. 2019, arXiv:1901.09392) depends on the attribution's unit, and most of it is
the mean change, which no linear map predicts: any noise lowers a score. `relative_infidelity` leaves both out, and then
an uninformative map has a known value. Of `faithfulness_correlation` (Bhatt et al. 2020, arXiv:2005.00631) it is 0.
"""

from typing import Any

import numpy as np

from minigrad.nn import Module

from .checks import checked_attribution
from .perturbation import filling, passes, watched, watched_many
from .random import drawn, streams
from .ranges import require
from .target import as_image, fixed_target, in_pixels, value_range
from .typing import Images, Target, Unit


def infidelity(
    model: Module,
    image: Images,
    attribution: np.ndarray,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    samples: int = 128,
    sigma: float = 0.1,
    scaled: bool = False,
    seed: int = 0,
    key: Any = None,
) -> np.ndarray:
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
    model: Module,
    image: Images,
    attribution: np.ndarray,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    samples: int = 128,
    sigma: float = 0.1,
    seed: int = 0,
    key: Any = None,
) -> np.ndarray:
    """(N,): the share of the variance of y(x) - y(x - I) that the best scaled I . a leaves unexplained, 0 to 1.

    It is the infidelity without the means of both, over that of no attribution at all: 1 - r^2 of their correlation. A
    map that knows nothing has `chance_infidelity(samples)` on average. Arguments as for `infidelity`; samples: at least
    3. 1 where the map or the score does not change.
    """
    how = samples, sigma, seed, key
    predicted, actual = _changes("relative_infidelity", model, image, attribution, target, layer, unit, *how)
    predicted, actual = predicted - predicted.mean(0), actual - actual.mean(0)
    norm = (predicted**2).sum(0) * (actual**2).sum(0)
    return 1 - (predicted * actual).sum(0) ** 2 / np.where(norm > 0, norm, 1)


def chance_infidelity(samples: int) -> float:
    """The relative infidelity of a map that knows nothing, on average: noise in `samples` draws is fitted by chance."""
    return 1 - 1 / (samples - 1)


def faithfulness_correlation(
    model: Module,
    image: Images,
    attribution: np.ndarray,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    fraction: float = 0.1,
    fill: Any = 0.0,
    samples: int = 100,
    seed: int = 0,
    key: Any = None,
) -> np.ndarray:
    """(N,): the correlation of sum_S a with y(x) - y(x where S is filled), over random sets S of pixels (Bhatt 2020).

    From -1 to 1, 0 on average for a map that knows nothing, and 0 where the map or the
    score does not change. fraction: of the pixels, the size of S. fill: see `viz.perturbation.filling`; the baseline of
    the article. attribution, seed, key: as for `infidelity`; samples: how many sets, at least 3.
    """
    require("faithfulness_correlation", fraction=fraction, samples=samples)
    target = fixed_target(model, image, target, layer)
    x = as_image(model, image).numpy()
    filled = filling("faithfulness_correlation", model, fill, x)
    a = checked_attribution("faithfulness_correlation", attribution, x).astype(np.float64)
    a = (a if a.ndim == 3 else a.sum(1)).reshape(len(x), x.shape[2] * x.shape[3])
    size = max(1, round(fraction * a.shape[1]))
    rngs = streams(seed, "faithfulness_correlation", x, key)
    before = watched(model, x, target, layer, unit)
    said, fell = np.empty((2, samples, len(x)))
    for k in passes("faithfulness_correlation", x, model, samples):
        chosen = np.stack([drawn(rngs, lambda rng: rng.permutation(a.shape[1]) < size) for _ in range(samples)[k]])
        gone = chosen.reshape(len(chosen), len(x), 1, *x.shape[2:])
        said[k] = (a * chosen).sum(2)
        fell[k] = before - watched_many(model, np.where(gone, filled, x), target, layer, unit, "logit")
    said, fell = said - said.mean(0), fell - fell.mean(0)
    norm = np.sqrt((said**2).sum(0) * (fell**2).sum(0))
    return (said * fell).sum(0) / np.where(norm > 0, norm, 1)


def _changes(
    name: str,
    model: Module,
    image: Images,
    attribution: np.ndarray,
    target: Any,
    layer: str | None,
    unit: Any,
    samples: int,
    sigma: float,
    seed: int,
    key: Any,
) -> tuple:
    """I . a and y(x) - y(x - I) for each noise I, both (samples, N)."""
    require(name, sigma=sigma, samples=samples)
    if value_range(model) == (0, 1):
        in_pixels(name, "sigma", sigma)
    target = fixed_target(model, image, target, layer)
    x = as_image(model, image).numpy()
    a = checked_attribution(name, attribution, x).astype(np.float64)
    a = np.broadcast_to(a[:, None] if a.ndim == 3 else a, x.shape)
    rngs = streams(seed, name, x, key)
    before = watched(model, x, target, layer, unit)
    predicted, actual = np.empty((2, samples, len(x)))
    for k in passes(name, x, model, samples):
        noise = np.stack([drawn(rngs, lambda rng: rng.standard_normal(x.shape[1:])) for _ in range(samples)[k]])
        noise = (sigma * noise).astype(x.dtype)
        predicted[k] = (noise * a).sum((2, 3, 4))
        actual[k] = before - watched_many(model, x - noise, target, layer, unit, "logit")
    return predicted, actual
