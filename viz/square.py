"""The Square attack: random search that only asks the network for its scores.

Andriushchenko, Croce, Flammarion and Hein 2020, "Square Attack: a query-efficient black-box adversarial attack via
random search", arXiv:1912.00049. No gradient is used, so nothing that hides the gradient stops it.

Letters: N images, C H W of an image, s the side of a square.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.nn import Module

from .attacks import (
    aim,
    aimed_by_name,
    check_budget,
    checked_images,
    distance_to,
    left_alone,
    require_class,
    scores,
)
from .progress import tqdm
from .random import drawn, streams
from .ranges import require
from .typing import Callback, Classes, Images, Target

# Of 10,000 queries, those at which the squares' area is halved: as in the authors' code.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@aimed_by_name
def square_attack(
    model: Module,
    image: Images,
    *,
    target: Target | None = None,
    label: Classes | None = None,
    epsilon: float = 8 / 255,
    norm: str = "linf",
    queries: int = 5000,
    area: float = 0.8,
    seed: int = 0,
    key: Any = None,
    progress: bool = False,
    callback: Callback | None = None,
) -> np.ndarray:
    """The Square attack (Andriushchenko et al. 2020, algorithms 1 to 3), in L-infinity or L2.

    From vertical stripes of +-epsilon (in L2: a grid of 5 x 5 bumps of random sign), each query changes what lies in a
    square at a random place: in L-infinity it becomes +-epsilon in each channel; in L2 it takes the length of a second
    square, and what the budget has left. The change is kept where the loss falls: the label's score minus the highest
    other, or with a target its cross-entropy. An image that is fooled is left alone.

    image: (N,3,H,W) in [0, 1]. target, label: see the top of viz/attacks.py. epsilon: the budget in `norm` ("linf" or
    "l2"; images for L2 have at least 10 pixels a side). queries: changes tried for each image. area: the share of the
    picture that the first squares cover, halved as the search goes on: AutoAttack's 0.8; the paper's is 0.05 for
    ImageNet in L-infinity and 0.1 in L2. seed, key: see viz/random.py. callback(query, x, loss (N,)): called before
    every query with the images and losses of all N; True stops.

    Returns (N,3,H,W) of the image's dtype, within the budget and [0, 1]. Where the class is not `label` already, it is
    the image itself. The squares of an image do not depend on the batch; where two losses are equal but for rounding,
    which of them is kept may (docs/verify.md, "What is equal to what").
    """
    image = checked_images("square_attack", model, image)
    check_budget("square_attack", image, epsilon, norm)
    require("square_attack", queries=queries, area=area)
    chosen, direction = aim("square_attack", model, image, target, label)
    require_class("square_attack", chosen)
    left = left_alone(model, image, chosen, direction, label)
    rngs = streams(seed, "square_attack", image, key)
    search = SquareSearch(model, image, chosen, direction, epsilon, norm, area, rngs)
    return np.where(left, image, search.run(queries, progress, callback))


class SquareSearch:
    """The search for images (N,C,H,W) that leave (direction 1) or reach (-1) the classes `chosen` (N,)."""

    def __init__(
        self,
        model: Module,
        image: np.ndarray,
        chosen: np.ndarray | None,
        direction: int,
        epsilon: float,
        norm: str,
        area: float,
        rngs: list[np.random.Generator] | None,
    ) -> None:
        self.model, self.image, self.chosen, self.direction = model, image, chosen, direction
        self.epsilon, self.norm, self.area, self.rngs = epsilon, norm, area, rngs
        if norm == "l2" and min(image.shape[2:]) < 10:
            raise ValueError(f"square_attack: L2 needs images of at least 10 pixels a side, got {image.shape[2:]}")

    def run(self, queries: int, progress: bool = False, callback: Callback | None = None) -> np.ndarray:
        first = _stripes if self.norm == "linf" else _bumps
        change = _square_of_corners if self.norm == "linf" else _square_of_length
        delta = drawn(self.rngs, lambda rng: first(rng, self.image.shape[1:], self.epsilon))
        x = np.clip(self.image + delta, 0, 1).astype(self.image.dtype)
        loss, fooled = self.measured(x, np.arange(len(x)))
        for query in tqdm(range(queries), "square_attack", disable=not progress):
            rows = np.flatnonzero(~fooled)
            if not len(rows) or callback and callback(query, x, loss):
                break
            side = self.side(query / queries)
            changed = [change(self.rngs[n], x[n], self.image[n], side, self.epsilon) for n in rows]
            changed = np.stack(changed).astype(x.dtype)
            found, fools = self.measured(changed, rows)
            better = (found < loss[rows]) | fools
            x[rows[better]], loss[rows[better]], fooled[rows[better]] = changed[better], found[better], fools[better]
        return x

    def side(self, done: float) -> int:
        """The squares' side when this share of the queries is done."""
        height, width = self.image.shape[2:]
        area = self.area / 2 ** sum(int(done * 10000) > bound for bound in HALVINGS)
        side = round(math.sqrt(area * height * width))
        if self.norm == "l2":
            side = max(side, 3) + (max(side, 3) + 1) % 2  # odd
        return min(max(side, 1), height, width)

    def measured(self, x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(loss, fooled) of images x, those of `rows`."""
        z, own = scores(self.model, x), self.chosen[rows]
        if self.direction < 0:
            return distance_to(mg.from_numpy(z), own).numpy(), z.argmax(1) == own
        others = np.where(np.arange(z.shape[1]) == own[:, None], -np.inf, z)
        return z[np.arange(len(z)), own] - others.max(1), z.argmax(1) != own


# ---- L-infinity ------------------------------------------------------------------------------------------------------


def _signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], shape)


def _stripes(rng: np.random.Generator, shape: Sequence[int], epsilon: float) -> np.ndarray:
    channels, _, width = shape
    return epsilon * _signs(rng, channels, 1, width) * np.ones(shape)


def _square_of_corners(
    rng: np.random.Generator, x: np.ndarray, image: np.ndarray, side: int, epsilon: float
) -> np.ndarray:
    """Algorithm 2: x with image +- epsilon in a square, one sign for each channel, made valid."""
    row, column = _place(rng, x, side)
    window = (slice(None), slice(row, row + side), slice(column, column + side))
    changed = x.copy()
    moved = x[window] + 2 * epsilon * _signs(rng, len(x), 1, 1)
    changed[window] = np.clip(np.clip(moved, image[window] - epsilon, image[window] + epsilon), 0, 1)
    return changed


def _place(rng: np.random.Generator, x: np.ndarray, side: int) -> tuple[int, int]:
    return rng.integers(x.shape[1] - side + 1), rng.integers(x.shape[2] - side + 1)


# ---- L2 --------------------------------------------------------------------------------------------------------------


def _bump(height: int, width: int) -> np.ndarray:
    """The pyramid of equation 2, (height,width): at distance d of the middle the sum over c >= d of 1 / (c + 1)^2."""
    n = max(height, width) // 2
    rows, columns = abs(np.arange(height) - height // 2), abs(np.arange(width) - width // 2)
    sums = np.cumsum(1.0 / np.arange(n + 1, 0, -1) ** 2)[::-1]
    return sums[np.maximum(rows[:, None], columns)]


def two_bumps(rng: np.random.Generator, side: int) -> np.ndarray:
    """A bump and its negative, side by side, as a square (side,side) of length 1, turned or not."""
    upper = side // 2
    halves = [half / np.linalg.norm(half) for half in (_bump(upper, side), _bump(side - upper, side))]
    found = np.concatenate([halves[0], -halves[1]]) / math.sqrt(2)
    return found.T if rng.random() < 0.5 else found


def _bumps(rng: np.random.Generator, shape: Sequence[int], epsilon: float) -> np.ndarray:
    """The start: as many squares of a fifth of the short side as there is room for, in the middle; length epsilon."""
    channels, height, width = shape
    side = min(height, width) // 5
    delta = np.zeros(shape)
    top, left = height % side // 2, width % side // 2
    for row in range(top, height - side + 1, side):
        for column in range(left, width - side + 1, side):
            square = two_bumps(rng, side) * _signs(rng, channels, 1, 1)
            delta[:, row : row + side, column : column + side] = square
    return epsilon * delta / np.linalg.norm(delta)


def _square_of_length(
    rng: np.random.Generator, x: np.ndarray, image: np.ndarray, side: int, epsilon: float
) -> np.ndarray:
    """Algorithm 3: one square gets another direction, and the length of a second, which is emptied, and of what the
    budget has left, shared by the channels."""
    delta = (x - image).astype(np.float64)
    (row, column), (row2, column2) = _place(rng, x, side), _place(rng, x, side)
    first = (slice(None), slice(row, row + side), slice(column, column + side))
    second = (slice(None), slice(row2, row2 + side), slice(column2, column2 + side))
    inside = np.zeros(x.shape[1:], bool)
    inside[first[1:]] = inside[second[1:]] = True

    unused = max(epsilon**2 - (delta**2).sum(), 0)
    length = np.sqrt((delta**2 * inside).sum((1, 2), keepdims=True) + unused / len(x))
    old = delta[first] / np.maximum(_length(delta[first]), 1e-12)
    new = two_bumps(rng, side) * _signs(rng, len(x), 1, 1) + old
    delta[second] = 0
    delta[first] = length * new / np.maximum(_length(new), 1e-12)
    return np.clip(image + epsilon * delta / max(np.linalg.norm(delta), 1e-12), 0, 1)


def _length(delta: np.ndarray) -> np.ndarray:
    """Of each channel of (C,s,s), (C,1,1)."""
    return np.sqrt((delta**2).sum((1, 2), keepdims=True))
