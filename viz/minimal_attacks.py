"""Adversarial examples as near to the image as can be: DeepFool and Carlini and Wagner's attack.

`target` and `label` as in viz/attacks.py. Letters: N images, K classes, M the classes looked at, C H W of an image.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, optim
from minigrad import functional as F
from minigrad.nn import Module

from .attacks import aim, aimed_by_name, checked_images, distance, measured
from .objective import Objective
from .progress import tqdm
from .ranges import require
from .target import as_leaf, logits, pick
from .typing import Callback, Classes, Images, Target

# ---- DeepFool --------------------------------------------------------------------------------------------------------


@aimed_by_name
def deepfool(
    model: Module,
    image: Images,
    *,
    label: Classes | None = None,
    norm: str = "l2",
    candidates: int = 10,
    overshoot: float = 0.02,
    steps: int = 50,
    progress: bool = False,
    callback: Callback | None = None,
) -> np.ndarray:
    """DeepFool (Moosavi-Dezfooli, Fawzi and Frossard 2016, arXiv:1511.04599, algorithm 2): over the nearest border.

    At each step the network is taken as linear. With f_k = y_k - y_label and w_k its gradient, the border to class k is
    |f_k| / |w_k|_2 away; x moves to the nearest of them, by r = |f_l| / |w_l|_2^2 * w_l. After a step, the image is
    x0 + (1 + overshoot) * (sum of the r), clipped to [0, 1]; an image rests once its class is not `label`.

    Of an Objective or a function of the output as label, the border is where its score is 0 (algorithm 1).

    image: (N,3,H,W) in [0, 1]. label: the class to leave; None for the network's own. norm: "l2", or "linf", where the
    distance is |f_k| / |w_k|_1 and r = |f_l| / |w_l|_1 * sign(w_l). candidates: how many classes, the highest scores at
    x0, are looked at (each costs a backward pass). callback(step, x, still (N,) bool): after every step; True stops.

    Returns (N,3,H,W) of the image's dtype; an image that `steps` do not suffice for comes back as far as it got.
    """
    image = checked_images("deepfool", model, image)
    if norm not in ("l2", "linf"):
        raise ValueError(f'deepfool: norm must be "l2" or "linf", got {norm!r}')
    require("deepfool", candidates=candidates, steps=steps, overshoot=overshoot)
    labels, _ = aim("deepfool", model, image, None, label)

    x, moved, others = image.copy(), np.zeros_like(image), None
    active = np.arange(len(image))
    for step in tqdm(range(steps), "deepfool", disable=not progress):
        if isinstance(labels, Objective):
            f, w = _border_of_score(model, x[active], labels)
        else:
            chosen = None if others is None else others[active]
            f, w, chosen = _borders(model, x[active], labels[active], chosen, candidates)
            others = chosen if others is None else others
        still = f.max(1) <= 0  # no other class has a higher score yet
        active, f, w = active[still], f[still], w[still]
        if not len(active):
            break
        moved[active] += _to_nearest_border(f, w, norm)
        x[active] = np.clip(image[active] + (1 + overshoot) * moved[active], 0, 1)
        if callback and callback(step, x, np.isin(np.arange(len(image)), active)):
            break
    return x


def _borders(model: Module, x: np.ndarray, labels: np.ndarray, others: np.ndarray, candidates: int) -> tuple:
    """f (n,M) and its gradients w (n,M,C,H,W), for the M classes `others` (n,M), which are chosen here when None."""
    variable = as_leaf(model, x)
    y = logits(model, variable)
    if others is None:
        ranked = np.argsort(-y.numpy(), axis=1, kind="stable")
        ranked = ranked[ranked != labels[:, None]].reshape(len(x), -1)
        others = ranked[:, : candidates - 1]
    own = pick(y, labels)
    leads = [pick(y, others[:, m]) - own for m in range(others.shape[1])]
    w = np.stack([mg.grad(lead.sum(), variable).numpy() for lead in leads], axis=1)
    return np.stack([lead.numpy() for lead in leads], axis=1), w, others


def _border_of_score(model: Module, x: np.ndarray, objective: Any) -> tuple:
    """The same for the one border of an Objective, f (n,1) and w (n,1,C,H,W): f is minus its score."""
    variable = as_leaf(model, x)
    f = distance(model, variable, objective)
    return f.numpy()[:, None], mg.grad(f.sum(), variable).numpy()[:, None]


def _to_nearest_border(f: np.ndarray, w: np.ndarray, norm: str) -> np.ndarray:
    """(n,C,H,W): the shortest step in `norm` that a linear model needs to its nearest border."""
    flat = w.reshape(*w.shape[:2], -1).astype(np.float64)
    length = np.sqrt((flat**2).sum(2)) if norm == "l2" else np.abs(flat).sum(2)  # of the dual norm
    length = np.where(length > 0, length, 1e-300)  # a border that no step comes nearer to is as good as infinitely far
    distance = np.abs(f) / length
    nearest = (np.arange(len(f)), distance.argmin(1))
    direction = flat[nearest] / length[nearest][:, None] if norm == "l2" else np.sign(flat[nearest])
    return (distance[nearest][:, None] * direction).reshape(len(f), *w.shape[2:]).astype(w.dtype)


# ---- Carlini and Wagner ----------------------------------------------------------------------------------------------


@aimed_by_name
def carlini_wagner(
    model: Module,
    image: Images,
    *,
    target: Target | None = None,
    label: Classes | None = None,
    kappa: float = 0.0,
    c: float = 0.1,
    searches: int = 6,
    steps: int = 200,
    lr: float = 0.01,
    progress: bool = False,
    callback: Callback | None = None,
) -> np.ndarray:
    """Carlini and Wagner's L2 attack (2017, arXiv:1608.04644, section VI).

    Minimises |x - x0|_2^2 + c * max(margin(x), -kappa) over w, where x = (tanh(w) + 1) / 2 is always valid, by Adam.
    The margin is max over others of Z - Z_target for a target, Z_label - max over others of Z without; it is negative
    for an adversarial image, and so may all Z be. Of an Objective or a function of the output it is the score that is
    to fall below 0 (label), or minus the one that is to rise above it (target). `searches` times, c is bisected for
    each image: down after a success, up (by 10 until the first success) after a failure.

    image: (N,3,H,W) in [0, 1]. kappa: the lead in score that is asked for. c: where the search begins. steps, lr: of
    Adam, in each search. callback(search, step, best distance (N,)): before every step; True stops everything.

    Returns (N,3,H,W) of the image's dtype: the nearest adversarial image met, which is the image itself where it is one
    already, or where none was met.
    """
    image = checked_images("carlini_wagner", model, image)
    require("carlini_wagner", kappa=kappa, c=c, searches=searches, steps=steps, lr=lr)
    chosen, direction = aim("carlini_wagner", model, image, target, label)

    def is_hit(margin: np.ndarray) -> np.ndarray:
        return margin <= -kappa if kappa else margin < 0

    met = measured(model, image, lambda model, x: distance(model, x, chosen, cw_margin)) * -direction
    best, nearest = image.copy(), np.where(is_hit(met), 0.0, np.inf)
    weight, low, high = np.full(len(image), float(c)), np.zeros(len(image)), np.full(len(image), np.inf)
    bar = tqdm(total=searches * steps, desc="carlini_wagner", disable=not progress)
    for search in range(searches):
        succeeded = np.zeros(len(image), bool)
        course = _descend(model, image, chosen, direction, weight, kappa, steps, lr)
        for step, (x, squared, margin) in enumerate(course):
            bar.update()
            hit = is_hit(margin)
            succeeded |= hit
            better = hit & (squared < nearest)
            best[better], nearest[better] = x[better], squared[better]
            if callback and callback(search, step, np.sqrt(nearest)):
                return best
        high = np.where(succeeded, weight, high)
        low = np.where(succeeded, low, weight)
        weight = np.where(np.isinf(high), weight * 10, (low + high) / 2)
    bar.close()
    return best


def _descend(
    model: Module,
    image: np.ndarray,
    chosen: Any,
    direction: Any,
    weight: np.ndarray,
    kappa: float,
    steps: int,
    lr: float,
) -> Iterator[Any]:
    """Yields (x, squared distance (N,), margin (N,)), arrays, before each of Adam's steps on w."""
    x0 = as_leaf(model, image).detach()
    w = as_leaf(model, np.arctanh((2 * image.astype(np.float64) - 1) * (1 - 1e-6)))
    scale = mg.from_numpy(weight.astype(x0.dtype)).to(x0.device)
    optimizer = optim.Adam([w], lr=lr)
    for _ in range(steps):
        x = (F.tanh(w) + 1.0) * 0.5
        squared = F.square(x - x0).sum((1, 2, 3))
        margin = distance(model, x, chosen, cw_margin) * float(-direction)
        loss = squared + scale * F.maximum(margin, -kappa)
        yield x.numpy(), squared.numpy(), margin.numpy()
        w.grad = mg.grad(loss.sum(), w)
        optimizer.step()


def cw_margin(scores: Tensor, classes: list[int] | np.ndarray) -> Tensor:
    """(N,): the highest of the other classes' scores (N,K) minus the score of `classes` (N,). Tensors.

    The other classes are told apart by minus infinity, not by multiplying with 0: with that, the maximum would never be
    below 0, and wrong whenever all scores are negative.
    """
    own = mg.from_numpy(np.asarray(classes)[:, None] == np.arange(scores.shape[1])).to(scores.device)
    return F.where(own, -np.inf, scores).max(1) - pick(scores, classes)
