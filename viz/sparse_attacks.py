"""Adversarial examples that change few pixels: the one-pixel attack and JSMA.

`target` and `label` as in viz/attacks.py. Letters: N images, C H W of an image, D = C*H*W its values.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.nn import Module

from .attack_report import as_saved
from .attacks import aim, aimed_by_name, checked_images, distance, is_reached, measured, require_class, scores
from .objective import Objective
from .progress import tqdm
from .random import streams
from .ranges import require
from .target import as_leaf, logits, pick
from .typing import Callback, Classes, Images, Target

AT_ONCE = 64  # candidates that go through the network in a pass

# ---- one pixel -------------------------------------------------------------------------------------------------------


@aimed_by_name
def one_pixel(
    model: Module,
    image: Images,
    *,
    target: Target | None = None,
    label: Classes | None = None,
    pixels: int = 1,
    population: int = 400,
    generations: int = 100,
    seed: int = 0,
    key: Any = None,
    progress: bool = False,
    callback: Callback | None = None,
) -> np.ndarray:
    """The one-pixel attack (Su, Vargas and Sakurai 2019, arXiv:1710.08864): differential evolution, no gradient.

    A candidate is, for each pixel, its row, its column and its colour. The first candidates are drawn uniformly in
    position, and N(128, 127) in colour; a child is a + 0.5 * (b - c) of three others, all of its values taken over, and
    replaces its parent where it is better: where the label is less probable, or the target more. An image is done once
    its class is not the label (untargeted) or is the target, and left as it is where that holds at once; of an
    Objective or a function of the output, once its score is below 0, or above. Colours are kept on 256 levels, so that
    saving loses nothing.

    image: (N,3,H,W) in [0, 1]. pixels: how many may change. population, generations: of the evolution; each generation
    costs `population` forward passes. seed, key: see viz/random.py. callback(n, generations done, log probability of
    the label or target, the best so far): after each batch of candidates; True ends image n.

    Returns (N,3,H,W) of the image's dtype: `image` but for at most `pixels` pixels.
    """
    image = checked_images("one_pixel", model, image)
    require("one_pixel", pixels=pixels, generations=generations, population=population)
    chosen, direction = aim("one_pixel", model, image, target, label)
    rngs = streams(seed, "one_pixel", image, key)
    attacked = image.copy()
    begins_done = is_reached(model, image, chosen) == (direction < 0)
    for n in tqdm(np.flatnonzero(~begins_done), "one_pixel", disable=not progress):
        report = (lambda generation, value, n=n: callback(n, generation, value)) if callback else None
        one = chosen if isinstance(chosen, Objective) else int(chosen[n])
        search = _PixelSearch(model, image[n], one, direction, pixels)
        attacked[n] = search.run(population, generations, rngs[n], report)
    return attacked


class _PixelSearch:
    """One image's evolution. A candidate is a vector of (row, column, C colours) for each pixel, all from 0 to 1."""

    def __init__(self, model: Module, image: np.ndarray, chosen: Any, direction: Any, pixels: int) -> None:
        self.model, self.image, self.chosen, self.direction, self.pixels = model, image, chosen, direction, pixels
        self.generation, self.best, self.ended = 0, np.inf, False

    def run(
        self, population: int, generations: int, rng: np.random.Generator, report: Callable[..., Any] | None
    ) -> np.ndarray:
        """The image (C,H,W) under the best candidate."""
        from scipy.optimize import differential_evolution

        channels = len(self.image)
        first = rng.random((population, self.pixels, 2 + channels))
        first[:, :, 2:] = np.clip(rng.normal(128, 127, (population, self.pixels, channels)) / 255, 0, 1)

        def after(intermediate_result: Any) -> bool:
            self.generation += 1
            best = self.painted(intermediate_result.x[:, None])
            return self.ended or bool(is_reached(self.model, best, self.chosen)[0] == (self.direction < 0))

        result = differential_evolution(
            partial(self.fitness, report=report),
            bounds=[(0, 1)] * first[0].size,
            strategy="rand1bin",
            mutation=0.5,
            recombination=1.0,  # no crossover
            init=first.reshape(population, -1),
            maxiter=generations,
            tol=0,
            polish=False,
            vectorized=True,
            updating="deferred",
            callback=after,
            rng=rng,
        )
        return self.painted(result.x[:, None])[0]

    def painted(self, candidates: np.ndarray) -> np.ndarray:
        """(S,C,H,W): the image under each column of `candidates` (values, S)."""
        channels, height, width = self.image.shape
        points = candidates.T.reshape(candidates.shape[1], self.pixels, 2 + channels)
        rows = np.minimum((points[..., 0] * height).astype(int), height - 1)
        columns = np.minimum((points[..., 1] * width).astype(int), width - 1)
        painted = np.repeat(self.image[None], len(points), axis=0)
        for p in range(self.pixels):
            painted[np.arange(len(points)), :, rows[:, p], columns[:, p]] = as_saved(points[:, p, 2:])
        return painted

    def fitness(self, candidates: np.ndarray, report: Callable[..., Any] | None) -> np.ndarray:
        """(S,): what evolution makes small, `loss`; infinite for those that are left out once the report says so."""
        found = np.full(candidates.shape[1], np.inf)
        for start in range(0, len(found), AT_ONCE):
            if not self.ended:
                found[start : start + AT_ONCE] = self.loss(candidates[:, start : start + AT_ONCE])
                self.best = min(self.best, found.min())
                self.ended = bool(report and report(self.generation, self.direction * self.best))
        return found

    def loss(self, candidates: np.ndarray) -> np.ndarray:
        """(S,): the label's log probability (or an Objective's score), or minus the target's."""
        if isinstance(self.chosen, Objective):
            away = measured(self.model, self.painted(candidates), lambda model, x: distance(model, x, self.chosen))
            return -self.direction * away.astype(np.float64)
        z = scores(self.model, self.painted(candidates)).astype(np.float64)
        top = z.max(1, keepdims=True)
        log_p = z[:, self.chosen] - top[:, 0] - np.log(np.exp(z - top).sum(1))
        return self.direction * log_p


# ---- JSMA ------------------------------------------------------------------------------------------------------------


@aimed_by_name
def jsma(
    model: Module,
    image: Images,
    *,
    target: Target,
    theta: float = 1.0,
    gamma: float = 0.02,
    candidates: int = 512,
    progress: bool = False,
    callback: Callback | None = None,
) -> np.ndarray:
    """The Jacobian-based saliency map attack (Papernot et al. 2016, arXiv:1511.07528, algorithms 2 and 3).

    With a = dZ_target/dx_i and b = sum over j != target of dZ_j/dx_i, both summed over a pair of values (p, q), each
    step changes by theta the pair with the largest -a*b among those with a > 0 and b < 0 (a < 0 and b > 0 for a
    negative theta), until the class is the target, no such pair is left, or gamma * D values have changed. A value that
    has reached 0 or 1 is not changed again.

    image: (N,3,H,W) in [0, 1]. target: a class, or one for each image. theta: the step, from -1 to 1;
    1 paints a value full on, -1 black. candidates: pairs are sought among this many values with the largest a / std(a)
    - b / std(b) (times the sign of theta), so the search is exact where D is no larger; all pairs of a photograph would
    be 10^9. callback(step, x, still (N,) bool): after each step; True stops.

    Returns (N,3,H,W) of the image's dtype.
    """
    image = checked_images("jsma", model, image)
    if not 0 < abs(theta) <= 1:
        raise ValueError(f"jsma: needs theta from -1 to 1 and not 0, got {theta}")
    require("jsma", gamma=gamma, candidates=candidates)
    if target is None:
        raise ValueError("jsma: needs a target, the class to reach")
    targets, _ = aim("jsma", model, image, target, None)
    require_class("jsma", targets)
    shape, size = image.shape, image[0].size

    x = image.reshape(len(image), size).copy()
    free = _can_move(x, theta)
    active = np.arange(len(x))
    for step in tqdm(range(max(1, math.floor(gamma * size / 2))), "jsma", disable=not progress):
        top, a, b = _jacobian(model, x[active].reshape(-1, *shape[1:]), targets[active])
        unfinished = top != targets[active]
        active, a, b = active[unfinished], a[unfinished], b[unfinished]
        pairs = [best_pair(a[i], b[i], free[n], math.copysign(1, theta), candidates) for i, n in enumerate(active)]
        found = [i for i, pair in enumerate(pairs) if pair is not None]
        active, pairs = active[found], [pairs[i] for i in found]
        if not len(active):
            break
        for n, pair in zip(active, pairs, strict=True):
            x[n, pair] = np.clip(x[n, pair] + theta, 0, 1)
            free[n, pair] = _can_move(x[n, pair], theta)
        if callback and callback(step, x.reshape(shape), np.isin(np.arange(len(x)), active)):
            break
    return x.reshape(shape)


def _can_move(x: np.ndarray, theta: float) -> np.ndarray:
    return x < 1 if theta > 0 else x > 0


def _jacobian(model: Module, x: np.ndarray, targets: np.ndarray) -> tuple:
    """(top classes (n,), a (n,D), b (n,D)): the derivatives of the target's score and of the sum of all others'."""
    variable = as_leaf(model, x)
    y = logits(model, variable)
    own = pick(y, targets)
    a = mg.grad(own.sum(), variable).numpy().reshape(len(x), -1)
    b = mg.grad(y.sum() - own.sum(), variable).numpy().reshape(len(x), -1)
    return y.numpy().argmax(1), a, b


def best_pair(a: np.ndarray, b: np.ndarray, free: np.ndarray, sign: float, candidates: int) -> np.ndarray | None:
    """[p, q] with the largest -(a_p + a_q) * (b_p + b_q) where sign*(a_p + a_q) > 0 > sign*(b_p + b_q); None if none.

    a, b: (D,) derivatives; free: (D,) bool, which values may change.
    """
    usable = np.flatnonzero(free)
    a, b = (v.astype(np.float64) for v in (a, b))
    a, b = (v / (v.std() or 1) for v in (a, b))  # b sums over many classes
    if len(usable) > candidates:
        usable = usable[np.argpartition(-sign * (a - b)[usable], candidates)[:candidates]]
    alpha, beta = (sign * (v[usable][:, None] + v[usable]) for v in (a, b))
    worth = np.where((alpha > 0) & (beta < 0), -alpha * beta, 0)
    worth = np.triu(worth, 1)  # each pair once, and no value with itself
    if not worth.any():
        return None
    return usable[list(np.unravel_index(worth.argmax(), worth.shape))]
