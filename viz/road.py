"""ROAD: remove pixels and debias (Rong et al. 2022, arXiv:2202.00449).

Deletion by grey squares or a black fill lets the network see *where* something was removed, and the shape of a mask can
tell the class by itself. Here a removed pixel becomes what its neighbours would lead one to expect, with a little
noise, so that little but its own information goes: the noisy linear imputation. For each removed pixel

    x_i = sum over its neighbours j of w_ij x_j,   w = 1/6 beside it, 1/12 at its corners

one sparse system of linear equations for each image, with the weights scaled to add up to 1 at the image's rim.

Letters: N images, S shares of pixels removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.nn import Module

from .checks import finite
from .perturbation import watched
from .progress import tqdm
from .random import streams
from .ranges import require
from .target import as_image, fixed_target, is_class
from .typing import Images, Target

SHARES = tuple(k / 10 for k in range(1, 10))  # as published
NEIGHBOURS = {(r, c): 1 / 12 if r and c else 1 / 6 for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)}


@dataclass(frozen=True)
class Road:
    """`shares` (S,) of the pixels removed; `most` and `least` (N,S), the class probability once the most, or the least,
    relevant of them are gone. The paper has the accuracy there, which one image does not have."""

    shares: np.ndarray
    most: np.ndarray
    least: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """(N,): the mean of least - most: how much more the pixels at the top of the map are worth to the class than
        those at its end. Higher is better, 0 on average for a map that knows nothing. The paper keeps both orders
        apart; half of this, of scores, is pytorch-grad-cam's ROADCombined."""
        return (self.least - self.most).mean(1)

    def _repr_png_(self) -> bytes:
        """For notebooks: both curves, means over the images."""
        from .plot import curves

        lines = {f"{name} relevant first": (self.shares, getattr(self, name).mean(0)) for name in ("most", "least")}
        return curves(lines, "share of the pixels removed", "probability of the class")._repr_png_()


def road(
    model: Module,
    image: Images,
    maps: np.ndarray,
    target: Target | None = None,
    shares: Sequence[float] = SHARES,
    noise: float = 0.01,
    seed: int = 0,
    key: Any = None,
    progress: bool = False,
) -> Any:
    """The class probability as pixels go in the order of `maps` (N,H,W) and against it, as a `Road`; of a target that
    is no class, its score.

    shares: of the pixels, each above 0 and below 1. noise: the deviation of what is added to an imputed value, in units
    of the image; 0.01 as published. seed, key: of the noise and of the order of equal pixels, each photograph's own
    (see viz/random.py).
    """
    require("road", fraction=list(shares))
    if max(shares) >= 1:
        raise ValueError(f"road: shares must be below 1, for an image that is all gone has no neighbours, got {shares}")
    target = fixed_target(model, image, target)
    x = as_image(model, image).numpy()
    n, c, h, w = x.shape
    if np.shape(maps) != (n, h, w):
        raise ValueError(f"road: maps must be {(n, h, w)}, one for each image, got {np.shape(maps)}")
    finite("road", "the map", maps)
    rngs = streams(seed, "road", x, key)
    order = np.empty((n, h * w), int)
    for row, rng, m in zip(order, rngs, np.asarray(maps, np.float64), strict=True):
        row[:] = np.lexsort((rng.random(h * w), -m.ravel()))
    curves = {"most": [], "least": []}
    for share in tqdm(shares, desc="ROAD", disable=not progress):
        count = round(share * h * w)
        for name, gone in (("most", order[:, :count]), ("least", order[:, h * w - count :])):
            removed = np.zeros((n, h * w), bool)
            np.put_along_axis(removed, gone, True, 1)
            filled = np.empty_like(x)
            for place, one, mask, rng in zip(filled, x, removed.reshape(n, h, w), rngs, strict=True):
                place[:] = imputed(one, mask, noise, rng)
            curves[name].append(watched(model, filled, target, output="probability" if is_class(target) else "logit"))
    return Road(np.asarray(shares), *(np.stack(curve, 1) for curve in curves.values()))


def imputed(image: np.ndarray, removed: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """`image` (C,H,W) with its `removed` pixels (H,W) replaced by what their neighbours say, and noise from `rng`."""
    if not removed.any():
        return image.copy()
    from scipy.sparse.linalg import spsolve

    matrix, right = _equations(image, removed)
    values = spsolve(matrix, right).reshape(right.shape)
    filled = image.copy()
    filled[:, removed] = (values + noise * rng.standard_normal(values.shape)).T
    return filled


def _equations(image: np.ndarray, removed: np.ndarray) -> tuple:
    """(matrix (M,M), right side (M,C)) of the equations of M removed pixels, times the sum of their weights."""
    from scipy.sparse import csc_array

    rows, columns = np.nonzero(removed)
    number = np.full(removed.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    total, right = np.zeros(len(rows)), np.zeros((len(rows), len(image)))
    entries = []
    for (down, across), weight in NEIGHBOURS.items():
        r, c = rows + down, columns + across
        there = (r >= 0) & (r < removed.shape[0]) & (c >= 0) & (c < removed.shape[1])
        equation, r, c = np.flatnonzero(there), r[there], c[there]
        total[equation] += weight
        known = ~removed[r, c]
        right[equation[known]] += weight * image[:, r[known], c[known]].T
        unknown = equation[~known], number[r[~known], c[~known]]
        entries.append((*unknown, np.full(len(unknown[0]), -weight)))
    entries.append((np.arange(len(rows)), np.arange(len(rows)), total))
    i, j, values = (np.concatenate(one) for one in zip(*entries, strict=True))
    return csc_array((values, (i, j)), shape=(len(rows), len(rows))), right
