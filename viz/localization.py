"""From an attribution map to a place: a region, a box, a segmentation.

Letters: N images, H W height and width. Boxes are (top, left, bottom, right) in pixels, the last two exclusive.
"""

from typing import Any

import numpy as np

from .grabcut import grabcut
from .ranges import require
from .target import as_pixels
from .typing import Images


def localize(heat: np.ndarray, fraction: float = 0.15) -> Any:
    """The largest connected region of each map (N,H,W) that reaches `fraction` of its maximum, and its box.

    0.15 is what Selvaraju et al. (2017, section 4.1) take for Grad-CAM. Regions are connected over edges and corners.

    Returns (masks (N,H,W) bool, boxes (N,4) int). A map without a positive value has an empty mask and a box of zeros.
    """
    heat = np.asarray(heat)
    if heat.ndim != 3:
        raise ValueError(f"localize: heat must be maps (N,H,W), got shape {heat.shape}")
    if not np.isfinite(heat).all():
        raise ValueError("localize: the map has NaN or infinite values")
    require("localize", fraction=fraction)
    peak = heat.max((1, 2), keepdims=True)
    masks, boxes = (heat >= fraction * peak) & (peak > 0), np.empty((len(heat), 4), int)
    for mask, box in zip(masks, boxes, strict=True):
        mask[:] = largest_component(mask)
        box[:] = bounding_box(mask)
    return masks, boxes


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask (H,W), over edges and corners; of equals the first in row-major order."""
    from scipy.ndimage import label

    parts, count = label(mask, structure=np.ones((3, 3)))
    if not count:
        return np.zeros_like(mask)
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax()


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a mask (H,W); zeros if it is empty."""
    if not mask.any():
        return 0, 0, 0, 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


def box_iou(a: Any, b: Any) -> Any:
    """Area of the intersection over area of the union of boxes a (...,4) and b (...,4); 0 for two empty ones."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.maximum(size, 0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both
    return both / np.where(union > 0, union, 1)


def seeds(heat: np.ndarray, foreground: float = 0.95, background: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """(surely object, surely background), masks (H,W): the pixels above and below these quantiles of a map (H,W).

    The quantiles are those of Simonyan et al. (2013, arXiv:1312.6034, section 3.2).
    """
    if not 0 <= background < foreground <= 1:
        raise ValueError(f"seeds: needs 0 <= background < foreground <= 1, got {background} and {foreground}")
    low, high = np.quantile(heat, [background, foreground])
    return (heat >= high) & (heat > low), heat <= low


def segment(
    image: Images,
    heat: np.ndarray,
    foreground: Any = 0.95,
    background: Any = 0.3,
    components: int = 5,
    iterations: int = 5,
    seed: int = 0,
) -> Any:
    """Weakly supervised segmentation (Simonyan et al. 2013, section 3.2): GrabCut from the seeds of an attribution map.

    image: (3,H,W) in [0, 1]. heat: (H,W), such as a saliency map. foreground, background: quantiles, see `seeds`.

    Returns (H,W) bool: the largest connected part of what GrabCut calls object.
    """
    require("segment", components=components, iterations=iterations)
    certain, outside = seeds(heat, foreground, background)
    image = as_pixels("segment", None, image)[0]
    return largest_component(grabcut(image, certain, outside, components, iterations, seed=seed))
