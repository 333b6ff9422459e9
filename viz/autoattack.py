"""APGD, an attack that chooses its own steps, and an ensemble of attacks whose verdict needs no tuning.

Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
arXiv:2003.01690. Where the paper leaves a choice (rounding of checkpoints, "at most" three quarters), it is that of the
authors' code. What is shared by all attacks is in viz/attacks.py. Letters: N images, K classes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad.nn import Module

from .attack_report import as_saved
from .attacks import (
    aim,
    aimed_by_name,
    check_budget,
    checked_images,
    distance_to,
    left_alone,
    project,
    random_in_ball,
    require_class,
    scores,
    steepest,
)
from .progress import tqdm
from .random import streams
from .ranges import require
from .square import SquareSearch
from .target import as_leaf, logits, pick
from .typing import Callback, Classes, Images, Target

MOMENTUM = 0.75  # alpha of the paper: how much of a step is the gradient's
RISING = 0.75  # rho: a step size that rises less often is halved


# ---- losses ----------------------------------------------------------------------------------------------------------


def logits_ratio(scores: Tensor, label: Classes | None, target: Target | None = None) -> Tensor:
    """(N,): the difference of logits ratio of scores z (N,K), a Tensor, which an attack makes large.

        DLR = -(z_y - max over i != y of z_i) / (z_(1) - z_(3))                                  (equation 6)
        with a target t: -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)                            (equation 7)

    z_(k) is the k-th largest. Neither a shift nor a scale of all scores changes it, so a network cannot hide its
    gradient by being sure. label (y), target (t): (N,) class indices.
    """
    needed = 3 if target is None else 4
    if scores.shape[1] < needed:
        raise ValueError(
            f"the logits ratio needs {needed} classes, the network has {scores.shape[1]}: take cross-entropy"
        )
    order = scores.numpy().argsort(1)[:, ::-1]
    first, third = pick(scores, order[:, 0]), pick(scores, order[:, 2])
    if target is None:
        other = np.where(order[:, 0] == label, order[:, 1], order[:, 0])
        return (pick(scores, other) - pick(scores, label)) / (first - third + 1e-12)
    low = 0.5 * third + 0.5 * pick(scores, order[:, 3])
    return (pick(scores, target) - pick(scores, label)) / (first - low + 1e-12)


def checkpoints(steps: int) -> list[int]:
    """The numbers of steps after which APGD looks back: 22 % of them, then 3 % less each time, down to 6 %."""
    window, less, least = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    found, at = [], window
    while at <= steps:
        found.append(at)
        window = max(window - less, least)
        at += window
    return found


# ---- APGD ------------------------------------------------------------------------------------------------------------


@aimed_by_name
def apgd(
    model: Module,
    image: Images,
    *,
    target: Target | None = None,
    label: Classes | None = None,
    epsilon: float = 8 / 255,
    norm: str = "linf",
    loss: str = "cross_entropy",
    steps: int = 100,
    samples: int = 1,
    seed: int = 0,
    key: Any = None,
    progress: bool = False,
    callback: Callback | None = None,
) -> np.ndarray:
    """Auto-PGD (Croce and Hein 2020, algorithm 1): projected gradient ascent with momentum and steps that halve.

        z = project(x_k + size * d)        x_(k+1) = project(x_k + 3/4 (z - x_k) + 1/4 (x_k - x_(k-1)))

    from a point drawn in the ball, with d as in `pgd` and size 2 * epsilon at first. At each of `checkpoints` an image
    whose loss rose in at most three quarters of the steps since the last, or whose best loss and step size are those of
    the last, goes on from its best point with half the size.

    image: (N,3,H,W) in [0, 1]. target, label: see the top of viz/attacks.py. loss: "cross_entropy", or "dlr", the
    `logits_ratio` of the label; with a target, of the image's highest other class. epsilon, norm, samples, seed, key,
    progress, callback: as in `pgd`, callback's third argument being the loss.

    Returns (N,3,H,W) of the image's dtype: of the points met that fool the network the one of highest loss; of all of
    them where none does. Where the class is not `label` already, it is the image itself.
    """
    image = checked_images("apgd", model, image)
    require("apgd", steps=steps, samples=samples)
    check_budget("apgd", image, epsilon, norm)
    if loss not in ("cross_entropy", "dlr"):
        raise ValueError(f'apgd: loss must be "cross_entropy" or "dlr", got {loss!r}')
    chosen, direction = aim("apgd", model, image, target, label)
    require_class("apgd", chosen)

    if loss == "cross_entropy":
        rising = lambda z: direction * distance_to(z, chosen)  # noqa: E731
    elif target is None:
        rising = partial(logits_ratio, label=chosen)
    else:
        rising = partial(logits_ratio, label=others_by_score(scores(model, image), chosen)[:, 0], target=chosen)
    fooled = lambda z: (z.argmax(1) == chosen) == (direction < 0)  # noqa: E731
    left = left_alone(model, image, chosen, direction, label)
    start = random_in_ball(image, epsilon, norm, streams(seed, "apgd", image, key))
    climb = _Climb(model, image, start, rising, fooled, epsilon, norm, samples)
    return np.where(left, image, climb.run(steps, progress, callback))


def others_by_score(scores: np.ndarray, own: list[int] | np.ndarray) -> np.ndarray:
    """(N,K-1) the classes other than `own` (N,), the highest of scores (N,K) first."""
    order = scores.argsort(1)[:, ::-1]
    return order[order != np.asarray(own)[:, None]].reshape(len(order), -1)


class _Climb:
    """One run of APGD. rising: a Tensor of scores (N,K) to the losses (N,) that are to grow. fooled: scores (N,K), an
    array, to (N,) bool."""

    def __init__(
        self,
        model: Module,
        image: np.ndarray,
        start: np.ndarray,
        rising: Callable[..., Any],
        fooled: Callable[..., Any],
        epsilon: float,
        norm: str,
        samples: int,
    ) -> None:
        self.model, self.image, self.rising, self.fooled = model, image, rising, fooled
        self.epsilon, self.norm, self.samples = epsilon, norm, samples
        self.x = self.previous = start
        self.gradient, self.loss, fools = self.measured(start)
        self.best, self.best_loss, self.best_gradient = start.copy(), self.loss.copy(), self.gradient.copy()
        self.found, self.found_loss, self.found_fools = start.copy(), self.loss.copy(), fools  # what is returned
        self.size = np.full((len(image), 1, 1, 1), 2 * epsilon, image.dtype)
        self.rises = np.zeros(len(image), int)  # since the last checkpoint, as the rest:
        self.halved, self.last_best = np.ones(len(image), bool), self.loss.copy()

    def run(self, steps: int, progress: bool = False, callback: Callback | None = None) -> np.ndarray:
        """The points (N,3,H,W) to return."""
        ends = checkpoints(steps)
        last = 0
        for step in tqdm(range(steps), "apgd", disable=not progress):
            if callback and callback(step, self.x, self.loss):
                break
            self.step(MOMENTUM if step else 1.0)
            if step + 1 in ends:
                self.look_back(step + 1 - last)
                last = step + 1
        return self.found

    def step(self, share: float) -> None:
        z = self.valid(self.x + self.size * steepest(self.gradient, self.norm))
        moved = self.valid(self.x + share * (z - self.x) + (1 - share) * (self.x - self.previous))
        self.previous, self.x = self.x, moved
        self.gradient, loss, fools = self.measured(moved)
        self.rises += loss > self.loss
        self.loss = loss

        better = loss > self.best_loss
        for kept, new in ((self.best, moved), (self.best_loss, loss), (self.best_gradient, self.gradient)):
            kept[better] = new[better]
        better = (fools > self.found_fools) | ((fools == self.found_fools) & (loss > self.found_loss))
        for kept, new in ((self.found, moved), (self.found_loss, loss), (self.found_fools, fools)):
            kept[better] = new[better]

    def look_back(self, window: int) -> None:
        """At a checkpoint, `window` steps after the last."""
        stuck = ~self.halved & (self.last_best >= self.best_loss)
        self.halved = (self.rises <= RISING * window) | stuck
        self.last_best, self.rises = self.best_loss.copy(), np.zeros_like(self.rises)
        again = self.halved[:, None, None, None]
        self.size = np.where(again, self.size / 2, self.size)
        self.x = np.where(again, self.best, self.x)
        self.gradient = np.where(again, self.best_gradient, self.gradient)

    def valid(self, x: np.ndarray) -> np.ndarray:
        return project(x, self.image, self.epsilon, self.norm).astype(self.image.dtype)

    def measured(self, x: np.ndarray) -> tuple:
        """(gradient (N,3,H,W), loss (N,), fools (N,)) at x, means over `samples` passes."""
        gradient, loss, z = 0.0, 0.0, 0.0
        for _ in range(self.samples):
            variable = as_leaf(self.model, x)
            found = logits(self.model, variable)
            losses = self.rising(found)
            gradient = gradient + mg.grad(losses.sum(), variable).numpy() / self.samples
            loss = loss + losses.numpy() / self.samples
            z = z + found.numpy() / self.samples
        return gradient, loss, self.fooled(z)


# ---- the ensemble ----------------------------------------------------------------------------------------------------


@aimed_by_name
def auto_attack(
    model: Module,
    image: Images,
    *,
    label: Classes | None = None,
    epsilon: float = 8 / 255,
    norm: str = "linf",
    steps: int = 100,
    targets: int = 9,
    queries: int = 5000,
    samples: int = 1,
    seed: int = 0,
    key: Any = None,
    progress: bool = False,
) -> np.ndarray:
    """APGD on the cross-entropy, APGD on the targeted logits ratio, and the Square attack, one after the other.

    This is AutoAttack (Croce and Hein 2020, section 5) without FAB: each attack gets the images that withstood those
    before it. The second runs once for each of the `targets` most likely other classes; of a network with 3 classes it
    is the untargeted ratio, of one with 2 it is left out. With `samples` above 1 the network is taken for a random one,
    and as in the authors' version for those it is APGD on the cross-entropy and on the untargeted ratio alone.

    image: (N,3,H,W) in [0, 1]. label: the class to leave, by default the network's own. epsilon, norm: the budget.
    steps: of each APGD. queries: of Square. seed, key: see viz/random.py.

    An image counts as fooled once its picture of 256 levels is. Returns (N,3,H,W) of the image's dtype: those that
    withstood everything as they were.
    """
    image = checked_images("auto_attack", model, image)
    require("auto_attack", steps=steps, samples=samples)
    check_budget("auto_attack", image, epsilon, norm)
    require("auto_attack", targets=targets, queries=queries)
    label, _ = aim("auto_attack", model, image, None, label)
    require_class("auto_attack", label)
    clean = scores(model, image)
    others = others_by_score(clean, label)

    attacked, standing = image.copy(), clean.argmax(1) == label
    losses = _losses(clean.shape[1], targets, samples)
    stages = [*losses, None] if samples == 1 else losses  # None is Square
    for stage, loss in enumerate(tqdm(stages, "auto_attack", disable=not progress)):
        rows = np.flatnonzero(standing)
        if not len(rows):
            break
        x, own, rngs = image[rows], label[rows], streams(seed, f"auto_attack {stage}", image, key)
        rngs = [rngs[n] for n in rows]
        if loss is None:
            found = SquareSearch(model, x, own, 1, epsilon, norm, 0.8, rngs).run(queries)
        else:
            rising = partial(loss, label=own, others=others[rows])
            start = random_in_ball(x, epsilon, norm, rngs)
            fooled = lambda z, own=own: z.argmax(1) != own  # noqa: E731
            found = _Climb(model, x, start, rising, fooled, epsilon, norm, samples).run(steps)
        fell = scores(model, as_saved(found).astype(image.dtype)).argmax(1) != own
        attacked[rows[fell]], standing[rows[fell]] = found[fell], False
    return attacked


def _losses(classes: Any, targets: Any, samples: int) -> list:
    """The losses of the ensemble's runs of APGD, functions of (scores, label, others): others by score, (N,K-1)."""
    cross_entropy = lambda z, label, others: distance_to(z, label)  # noqa: E731
    ratio = lambda z, label, others: logits_ratio(z, label)  # noqa: E731
    if classes == 2:
        return [cross_entropy]
    if classes == 3 or samples > 1:
        return [cross_entropy, ratio]
    to = [lambda z, label, others, k=k: logits_ratio(z, label, others[:, k]) for k in range(min(targets, classes - 1))]
    return [cross_entropy, *to]
