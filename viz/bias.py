"""Bias hunting: does a network look at the object, or at something that tends to be near it?

Over a folder of photographs: the share of the attribution's mass that falls inside a mask or box, for the right answers
and for the wrong ones, class by class.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .table import Table


def mass_inside(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(N,): the share of each map's |value| that lies inside its mask; NaN for a map that is zero all over.

    heat: (N,H,W). mask: (N,H,W), or (H,W) for all, bool.
    """
    heat, mask = np.abs(np.asarray(heat, np.float64)), np.asarray(mask, bool)
    if heat.ndim != 3 or mask.shape not in (heat.shape, heat.shape[1:]):
        raise ValueError(f"mass_inside: heat (N,H,W) and mask (N,H,W) or (H,W) do not fit: {heat.shape}, {mask.shape}")
    total = heat.sum((1, 2))
    return np.divide((heat * mask).sum((1, 2)), total, out=np.full(len(heat), np.nan), where=total > 0)


def central_box(height: int, width: int, share: float = 0.5) -> np.ndarray:
    """(H,W) bool: the box around the centre with the image's proportions and this share of its area."""
    if not 0 < share <= 1:
        raise ValueError(f"central_box: share must be in (0, 1], got {share}")
    side = share**0.5
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    return np.outer(np.abs(rows - height / 2) <= side * height / 2, np.abs(columns - width / 2) <= side * width / 2)


def bias_table(inside: np.ndarray, area: np.ndarray, label: Any, named: np.ndarray, names: Sequence[str]) -> list:
    """Rows of plain numbers, one for each class in `label` and last one for all.

    inside: (N,) from `mass_inside`. area: (N,) the masks' share of the image, what a map that knows nothing would get.
    label, named: (N,) the true classes and the network's. names: of the classes.

    Each row: "class", "images", "accuracy", "area", "inside" (means), "inside_right" and "inside_wrong" (None where
    there is no such image), and "most_taken_for", the wrong class most often named, or None.
    """
    inside, area, label, named = (np.asarray(x) for x in (inside, area, label, named))
    if not len(label):
        raise ValueError("bias_table: there are no images")
    rows = Table()
    for index in [*np.unique(label), None]:
        member = np.full(len(label), True) if index is None else label == index
        right = named == label
        wrong = named[member & ~right]
        taken = None if index is None or not len(wrong) else names[np.bincount(wrong).argmax()]
        rows.append(
            {
                "class": "all" if index is None else str(names[index]),
                "images": int(member.sum()),
                "accuracy": float(right[member].mean()),
                "area": float(area[member].mean()),
                "inside": _mean(inside[member]),
                "inside_right": _mean(inside[member & right]),
                "inside_wrong": _mean(inside[member & ~right]),
                "most_taken_for": None if taken is None else str(taken),
            }
        )
    return rows


def _mean(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None
