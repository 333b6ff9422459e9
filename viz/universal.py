"""One perturbation for all images."""

from typing import Any

import numpy as np

from minigrad.nn import Module

from .attacks import aimed_by_name, check_budget, checked_images, scores, within_ball
from .minimal_attacks import deepfool
from .progress import tqdm
from .random import stream
from .ranges import require
from .target import check_pixels
from .typing import Callback, Images


@aimed_by_name
def universal_perturbation(
    model: Module,
    image: Images,
    *,
    epsilon: float = 10 / 255,
    norm: str = "linf",
    fooling_rate: float = 0.8,
    epochs: int = 5,
    candidates: int = 10,
    steps: int = 10,
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
) -> Any:
    """A perturbation v that changes the class of most images (Moosavi-Dezfooli et al. 2017, arXiv:1610.08401, algorithm
    1).

    Over and over, through the images in random order: where x + v still has the class of x, DeepFool's shortest way
    from x + v over a border is added to v, and v is projected onto the ball of radius epsilon; until `fooling_rate` of
    the images change class, or `epochs` rounds are done.

    image: (N,3,H,W) in [0, 1]. norm: "linf" or "l2", of the budget. candidates, steps: DeepFool's. callback(epoch, v,
    rate): after every round; True stops.

    Returns v (1,3,H,W) of the image's dtype, |v| <= epsilon: the one with the highest rate met at the end of a round.
    Add it with `apply_perturbation`.
    """
    image = checked_images("universal_perturbation", model, image)
    if not epsilon > 0:
        raise ValueError(f"universal_perturbation: epsilon must be above 0, got {epsilon}")
    require("universal_perturbation", epochs=epochs, fooling_rate=fooling_rate, candidates=candidates, steps=steps)
    check_budget("universal_perturbation", image, epsilon, norm)
    own, rng = scores(model, image).argmax(1), stream(seed, "universal_perturbation")
    v = best = np.zeros_like(image[:1])
    best_rate = 0.0
    bar = tqdm(total=epochs * len(image), desc="universal_perturbation", disable=not progress)
    for epoch in range(epochs):
        for n in rng.permutation(len(image)):
            bar.update()
            x = apply_perturbation(image[n : n + 1], v)
            if scores(model, x).argmax(1)[0] != own[n]:
                continue
            over = deepfool(model, x, label=own[n : n + 1], candidates=candidates, steps=steps)
            v = within_ball(v + (over - x), epsilon, norm)
        rate = float((scores(model, apply_perturbation(image, v)).argmax(1) != own).mean())
        bar.set_postfix_str(f"fooling rate {rate:.1%}")
        if rate > best_rate:
            best, best_rate = v, rate
        if rate >= fooling_rate or callback and callback(epoch, v, rate):
            break
    bar.close()
    return best


def apply_perturbation(image: Images, v: np.ndarray) -> np.ndarray:
    """clip(image + v, 0, 1): images (N,3,H,W) with the perturbation v (1,3,H,W), of the image's dtype."""
    check_pixels("apply_perturbation", "image", image)
    return np.clip(image + v, 0, 1).astype(image.dtype)
