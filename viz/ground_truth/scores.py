"""How near an attribution comes to what is known to matter. All take maps (N,H,W) and give one number for each.

gain                 how much more of the map lies in the mask than of a map that knows nothing: the relevance mass
                     accuracy of Arras et al. (2022, arXiv:2003.07258), less what chance has
top_k_precision      of as many of the highest pixels as the mask has, how many lie in it: their relevance rank accuracy
null_test            does the map fit its own mask better than those of other scenes?
part_sums            what the map says of each part of a scene
part_effects         what each part does to the score: the truth, by changing it
rank_correlation     whether the two agree about the order of the parts
missed_and_invented  parts that matter and are not named by the map, and parts named that do not matter
"""

from typing import Any

import numpy as np

from minigrad.nn import Module

from ..bias import mass_inside
from ..perturbation import watched
from ..typing import Target
from .scenes import KINDS, PARTS

MATTERS = 0.2  # of the largest effect in the scene


def gain(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(N,): (s - a) / (1 - a), for the share s of the map's positive part in its mask and the mask's area a: 1 for a
    map that lies inside, 0 for one that is the same everywhere, below for one that avoids the mask."""
    share = np.nan_to_num(mass_inside(np.maximum(maps, 0), masks))
    area = np.asarray(masks).mean((1, 2))
    return (share - area) / (1 - area)


def top_k_precision(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(N,): of the k highest pixels the share in the mask of k pixels. Of equal pixels at the border each counts in
    part, so that a flat map gets what chance would give it."""
    found = np.empty(len(maps))
    for n, (values, inside) in enumerate(zip(_flat(maps), _flat(masks), strict=True)):
        least = np.sort(values)[::-1][inside.sum() - 1]
        above, tied = values > least, values == least
        taken = (inside.sum() - above.sum()) / tied.sum()
        found[n] = ((above & inside).sum() + taken * (tied & inside).sum()) / inside.sum()
    return found


def null_test(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(N,): the share of the other scenes' masks that hold less of the map than its own (ties: half): 1/2 on average
    for maps that have nothing to do with their own scene, whatever they prefer, the centre or the edges. NaN where
    there is no other."""
    maps, masks = np.maximum(_flat(maps), 0).astype(np.float64), _flat(masks).astype(np.float64)
    if len(maps) < 2:
        return np.full(len(maps), np.nan)
    held = maps @ masks.T / masks.sum(1)  # map by mask, for each pixel of the mask
    own = np.diag(held)[:, None]
    better = (own > held) + 0.5 * (own == held)
    return (better.sum(1) - 0.5) / (len(maps) - 1)


def part_excess(maps: np.ndarray, masks: dict[str, Any]) -> np.ndarray:
    """(N,P): how much more of each map lies in each of P masks, {part: (N,H,W)}, than by their areas would: of a map
    that knows nothing 0 on average, however large the part."""
    maps = np.asarray(maps, np.float64)
    whole = maps.sum((1, 2))
    return np.stack([(maps * mask).sum((1, 2)) - whole * np.asarray(mask).mean((1, 2)) for mask in masks.values()], 1)


def part_effects(model: Module, scenes: Any, target: Target | None, batch_size: int = 100) -> np.ndarray:
    """(N,P): how far the score of `target` (N,) falls when a part becomes of another kind, the mean over the others.

    It is the effect of an intervention that leaves pictures of the same sort (see scenes.py), and needs no map.
    """
    before = _scored(model, scenes.images, target, batch_size)
    effects = np.zeros((len(scenes), len(PARTS)))
    for p, part in enumerate(PARTS):
        for step in range(1, KINDS):
            other = scenes.changed(part, (scenes.kinds[part] + step) % KINDS)
            effects[:, p] += before - _scored(model, other.images, target, batch_size)
    return effects / (KINDS - 1)


def rank_correlation(excess: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """(N,): Spearman's, over the parts of each scene (N,P); 0 where either says the same of all."""
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=1) for values in (excess, effects)]
    a, b = (r - r.mean(1, keepdims=True) for r in ranks)
    norm = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return (a * b).sum(1) / np.where(norm > 0, norm, 1)


def missed_and_invented(excess: np.ndarray, effects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(missed, invented), each (N,): the share of the parts that matter which the map does not name, and the share of
    those that do not which it names; NaN where a scene has no such part.

    A part matters if its effect is at least a fifth of the scene's largest. The map names it if it has an excess there.
    """
    matters, named = effects >= MATTERS * effects.max(1, keepdims=True), excess > 0
    return tuple(_share(wrong, among) for wrong, among in ((~named, matters), (named, ~matters)))


def _share(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    count = among.sum(1)
    return np.divide((values & among).sum(1), count, out=np.full(len(values), np.nan), where=count > 0)


def _scored(model: Module, images: np.ndarray, target: Any, batch_size: int) -> np.ndarray:
    parts = range(0, len(images), batch_size)
    return np.concatenate([watched(model, images[i : i + batch_size], target[i : i + batch_size]) for i in parts])


def _flat(values: Any) -> np.ndarray:
    return np.asarray(values).reshape(len(values), -1)
