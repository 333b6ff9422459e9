"""Is an attribution any good? Numbers that do not depend on how convincing the picture looks.

    completeness          do the attributions add up to the score they explain?
    insertion_deletion    does the score follow when pixels come and go in the order of the map?
    pointing_game         does the map's maximum fall on the object? (`mosaics` makes objects of known place)
    positive_share        how much of the positive attribution does?
    sparseness            does the attribution lie on few pixels?
    sensitivity           does the attribution stay the same where the image hardly changes?
    model_randomization   does the map depend on what the network has learned?
    random_logit          does the map depend on the class?

`image` is (N,3,H,W), an attribution (N,3,H,W) or (N,H,W); results have one number for each image, of which
viz/intervals.py makes means with intervals. Whether an attribution predicts how the score changes under noise is asked
in viz/fidelity.py.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.nn import Module

from .perturbation import filling, passes, watched, watched_many
from .progress import tqdm
from .random import drawn, stream, streams, taken_for
from .ranges import require
from .target import as_image, fixed_target, in_pixels, is_class, require_units, value_range
from .typing import Callback, Images, Method, Target, Unit


def per_pixel(attribution: np.ndarray, how: str = "magnitude") -> np.ndarray:
    """(N,H,W) of an attribution (N,3,H,W) or (N,H,W): the channels' sum of |a| ("magnitude"), of a ("signed"), or the
    positive part of that ("positive")."""
    if how not in ("magnitude", "signed", "positive"):
        raise ValueError(f"per_pixel: how must be magnitude, signed or positive, got {how!r}")
    a = np.asarray(attribution)
    if a.ndim not in (3, 4):
        raise ValueError(f"an attribution must be (N,H,W) or (N,3,H,W), got shape {a.shape}")
    a = a[:, None] if a.ndim == 3 else a
    if how == "magnitude":
        return abs(a).sum(1)
    return a.sum(1) if how == "signed" else np.maximum(a.sum(1), 0)


def completeness(
    model: Module,
    image: Images,
    attribution: np.ndarray,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    baseline: Any = 0.0,
) -> np.ndarray:
    """(N,): the sum of the attributions minus (y(x) - y(baseline)), 0 for a complete method (Sundararajan et al. 2017).

    baseline: a number or an array that broadcasts to the image; None for methods that share out y(x) itself, as LRP.
    """
    if baseline is not None:
        require_units(model, "completeness: baseline", baseline)
    target = fixed_target(model, image, target, layer)
    x = as_image(model, image).numpy()
    expected = watched(model, x, target, layer, unit)
    if baseline is not None:
        expected = expected - watched(model, x * 0 + np.asarray(baseline, x.dtype), target, layer, unit)
    return _rows(checked_attribution("completeness", attribution, x)).sum(1) - expected


def checked_attribution(name: str, attribution: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`attribution`, (N,3,H,W) or (N,H,W), as an array of numbers, one for each of the images x."""
    a = np.asarray(attribution)
    if a.shape not in (x.shape, (len(x), *x.shape[2:])):
        raise ValueError(f"{name}: the attribution must be {x.shape} or {(len(x), *x.shape[2:])}, got {a.shape}")
    return finite(name, "the attribution", a)


def finite(name: str, what: str, values: np.ndarray) -> np.ndarray:
    """`values` as they are; raises ValueError, which says `what` they are, where one is NaN or infinite."""
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: {what} has NaN or infinite values")
    return values


def _rows(attribution: np.ndarray) -> np.ndarray:
    """(N,D) float64: what belongs to each image in a row."""
    a = np.asarray(attribution, np.float64)
    return a.reshape(len(a), math.prod(a.shape[1:]))


# ---- insertion and deletion ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curves:
    """`fraction` (S+1,) of the pixels changed, 0 to 1; `insertion` and `deletion` (N,S+1), the class probability, or
    the score of a target that is no class."""

    fraction: np.ndarray
    insertion: np.ndarray
    deletion: np.ndarray

    @property
    def insertion_area(self) -> np.ndarray:
        """(N,): the area below the insertion curve; higher is better."""
        return np.trapezoid(self.insertion, self.fraction, axis=1)

    @property
    def deletion_area(self) -> np.ndarray:
        """(N,): the area below the deletion curve; lower is better."""
        return np.trapezoid(self.deletion, self.fraction, axis=1)

    def _repr_png_(self) -> bytes:
        """For notebooks: both curves, means over the images."""
        from .plot import curves

        lines = {name: (self.fraction, getattr(self, name).mean(0)) for name in ("insertion", "deletion")}
        return curves(lines, "share of the pixels changed", "probability of the class")._repr_png_()


def insertion_deletion(
    model: Module,
    image: Images,
    maps: np.ndarray,
    target: Target | None = None,
    steps: int = 32,
    fill: Any = 0.5,
    blur: Any = "gaussian",
    seed: int = 0,
    key: Any = None,
    progress: bool = False,
    callback: Callback | None = None,
) -> Any:
    """Curves of the class probability as pixels come or go, highest of `maps` (N,H,W) first (Petsiuk et al. 2018).

    Where a network has one output, whose probability is always 1, or the target is no class, they are of the score
    itself.

    Deletion replaces them with `fill` (see viz.perturbation.filling); insertion starts from a blurred image and puts
    them back. steps: points of the curve. blur: "gaussian" (sigma 5, 11 pixels wide), or "authors". Pixels of equal
    value are in random order, drawn from `seed` and `key` (see viz/random.py), so that a flat map is no better than
    chance. callback(points, of how many, Curves so far): after each batch; True ends with these.

    As the paper's authors measure, so that numbers can be set beside theirs: steps=H, fill="mean", blur="authors",
    whose kernel is the Gaussian folded back at its 11 pixels, nearly flat, on a picture framed in the mean colour.
    """
    require("insertion_deletion", steps=steps)
    target = fixed_target(model, image, target)
    x = as_image(model, image).numpy()
    grey = filling("insertion_deletion", model, fill, x)
    n, c, h, w = x.shape
    if np.shape(maps) != (n, h, w):
        raise ValueError(f"insertion_deletion: maps must be {(n, h, w)}, one for each image, got {np.shape(maps)}")
    finite("insertion_deletion", "the map", maps)
    blurred = _blurred(model, x, blur)
    ties = drawn(streams(seed, "insertion_deletion", x, key), lambda rng: rng.random(h * w))
    order = np.empty((n, h * w), int)
    for row, tie, flat in zip(order, ties, _rows(maps), strict=True):
        row[:] = np.lexsort((tie, -flat))
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(h * w)[None], 1)
    rank = rank.reshape(n, 1, h, w)

    counts = np.linspace(0, h * w, steps + 1).round().astype(int)
    insertion, deletion, output = [], [], "probability" if is_class(target) else "logit"

    def so_far(done: int) -> Curves:
        return Curves(counts[:done] / (h * w), np.concatenate(insertion).T, np.concatenate(deletion).T)

    with tqdm(total=len(counts), desc="insertion and deletion", disable=not progress) as bar:
        for some in passes("insertion_deletion", x, model, len(counts)):
            changed = rank < counts[some, None, None, None, None]
            for curve, come, gone in ((insertion, x, blurred), (deletion, grey, x)):
                curve.append(watched_many(model, np.where(changed, come, gone), target, None, None, output))
            bar.update(len(changed))
            if callback and callback(some.stop, len(counts), so_far(some.stop)):
                break
    return so_far(some.stop)


def _blurred(model: Module, x: np.ndarray, blur: Any) -> np.ndarray:
    from scipy.ndimage import convolve1d, gaussian_filter, gaussian_filter1d

    wide = x.astype(np.promote_types(x.dtype, np.float32), copy=False)  # scipy has no float16
    if blur == "gaussian":
        return gaussian_filter(wide, (0, 0, 5, 5), truncate=1.0).astype(x.dtype)
    if blur != "authors":
        raise ValueError(f"insertion_deletion: blur must be gaussian or authors, got {blur!r}")
    mean, kernel = filling("insertion_deletion", model, "mean", wide), gaussian_filter1d(np.eye(11)[5], 5)
    framed = convolve1d(convolve1d(wide - mean, kernel, 2, mode="constant"), kernel, 3, mode="constant")
    return (mean + framed).astype(x.dtype)


# ---- where the attribution falls -------------------------------------------------------------------------------------


def pointing_game(maps: np.ndarray, boxes: np.ndarray, tolerance: int = 15) -> np.ndarray:
    """(N,) bool: whether the maximum of each map (N,H,W) lies in its box (Zhang et al. 2016, arXiv:1608.00507).

    boxes: (N,4) ints, top, left, bottom, right, in pixels, the last two outside. tolerance: pixels by which a maximum
    may miss, 15 as published. The first of equal maxima counts; a map that is the same everywhere is a miss.
    """
    require("pointing_game", tolerance=tolerance)
    maps, boxes = _checked_boxes("pointing_game", maps, boxes)
    top, left, bottom, right = boxes.T
    row, column = np.divmod(_rows(maps).argmax(1), maps.shape[2])
    inside = (row >= top - tolerance) & (row < bottom + tolerance)
    inside &= (column >= left - tolerance) & (column < right + tolerance)
    return inside & (maps.max((1, 2)) > maps.min((1, 2)))


def positive_share(maps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N,): the part of each map's positive sum that lies in its box (Boehle et al. 2021, arXiv:2104.00032).

    maps (N,H,W) and boxes as for `pointing_game`. 0 for a map without positive values.
    """
    maps, boxes = _checked_boxes("positive_share", maps, boxes)
    positive = np.maximum(maps, 0).astype(np.float64)
    inside = [m[t:b, l:r].sum() for m, (t, l, b, r) in zip(positive, boxes, strict=True)]
    whole = positive.sum((1, 2))
    return np.array(inside) / np.where(whole > 0, whole, 1)


def mosaics(images: np.ndarray, labels: Any, count: int, seed: int = 0) -> Any:
    """Pictures of four images of different classes, for the grid pointing game (Boehle et al. 2021, section 3.2).

    images: (M,3,H,W); labels: (M,) ints. Returns pictures (count,3,2H,2W), the classes (count,) to explain, and the
    boxes (count,4), as for `pointing_game`, of the tile that shows each. Drawn from `seed`. Theirs are 3 x 3, of images
    classified right with high confidence: which images are given is the caller's choice.
    """
    labels, rng = np.asarray(labels), stream(seed, "mosaics")
    kinds = np.unique(labels)
    if len(kinds) < 4:
        raise ValueError(f"mosaics: needs images of at least 4 classes, got {len(kinds)}")
    h, w = images.shape[2:]
    pictures = np.empty((count, images.shape[1], 2 * h, 2 * w), images.dtype)
    found, boxes = np.empty(count, int), np.empty((count, 4), int)
    corners = [(0, 0), (0, w), (h, 0), (h, w)]
    for i in range(count):
        chosen = rng.choice(kinds, 4, replace=False)
        for kind, (top, left) in zip(chosen, corners, strict=True):
            pictures[i, :, top : top + h, left : left + w] = images[rng.choice(np.flatnonzero(labels == kind))]
        place = rng.integers(4)
        found[i], (top, left) = chosen[place], corners[place]
        boxes[i] = top, left, top + h, left + w
    return pictures, found, boxes


def _checked_boxes(name: str, maps: Any, boxes: Any) -> tuple:
    maps, boxes = np.asarray(maps), np.asarray(boxes)
    if maps.ndim != 3 or boxes.shape != (len(maps), 4):
        raise ValueError(f"{name}: maps must be (N,H,W) and boxes (N,4), got {maps.shape} and {boxes.shape}")
    return finite(name, "the map", maps), boxes


def sparseness(maps: np.ndarray) -> np.ndarray:
    """(N,): the Gini index of each map's |values| (Chalasani et al. 2020, arXiv:1810.06583).

        G = 1 - 2 sum_k a_k / sum(a) * (d - k + 1/2) / d,  with a_1 <= ... <= a_d

    0 where all pixels count alike, nearly 1 where one counts alone. maps: (N,H,W) or (N,3,H,W), each value for itself;
    a map of zeros has 0. It says nothing of whether these are the right pixels.
    """
    a = np.sort(abs(np.asarray(maps, np.float64)).reshape(len(maps), -1), axis=1)
    d, total = a.shape[1], a.sum(1)
    weights = (d - np.arange(1, d + 1) + 0.5) / d
    return np.where(total > 0, 1 - 2 * (a * weights).sum(1) / np.where(total > 0, total, 1), 0)


# ---- small changes of the image --------------------------------------------------------------------------------------


def sensitivity(
    model: Module,
    image: Images,
    method: Method,
    target: Target | None = None,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
    key: Any = None,
) -> np.ndarray:
    """(N,): max over |d| <= radius of ||a(x + d) - a(x)|| / ||a(x)|| (Yeh et al. 2019; relative, as in their code).

    method: `method(model, image, target)` returns an attribution, such as viz.saliency. One that draws, as SmoothGrad,
        draws the same for x + d as for x, so that only what the image does is measured.
    d is uniform, `samples` times, each photograph's own, from seed and key (see viz/random.py).
    """
    require("sensitivity", radius=radius, samples=samples)
    if value_range(model) == (0, 1):
        in_pixels("sensitivity", "radius", radius)
    target = fixed_target(model, image, target)
    x = as_image(model, image).numpy()
    rngs = streams(seed, "sensitivity", x, key)
    first = _rows(method(model, x, target))
    norm = np.linalg.norm(first, axis=1)
    worst = np.zeros(len(x))
    for _ in range(samples):
        d = drawn(rngs, lambda rng: rng.uniform(-radius, radius, x.shape[1:])).astype(x.dtype)
        with taken_for(x + d, x):
            moved = _rows(method(model, x + d, target))
        worst = np.maximum(worst, np.linalg.norm(moved - first, axis=1) / np.where(norm > 0, norm, 1))
    return worst
