"""How maps become colours: scales, colour maps, and a map laid over a photograph. Nothing here imports matplotlib.

Images are (3,H,W) or (1,3,H,W) in [0,1]; heat maps are (H,W) or (1,H,W), and signed if they hold a negative value: then
their colours diverge from 0 (red for, blue against), otherwise they go from black to yellow. Colours span the map up to
its 99.5th percentile, so that one pixel does not darken all others.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito's, for all eyes


@cache
def table(signed: bool) -> np.ndarray:
    """(256,3) in [0,1]: matplotlib's "RdBu_r" if signed, else its "inferno"; in a file, for importing it is slow."""
    return np.load(Path(__file__).with_name("colours.npy"))[int(signed)]


@dataclass(frozen=True)
class Scale:
    """How values become colours: 0 to `high`, or -`high` to `high` if signed."""

    high: float
    signed: bool
    clipped: bool

    @classmethod
    def of(cls, maps: list[np.ndarray] | np.ndarray, percentile: float = 99.5) -> "Scale":
        """The scale that suits one map or several that share it."""
        values = np.concatenate([np.ravel(m) for m in maps]) if isinstance(maps, list | tuple) else np.ravel(maps)
        values = values[np.isfinite(values)]
        size = np.sort(np.abs(values)) if values.size else np.zeros(1)
        largest = float(size[-1])
        place = percentile / 100 * (size.size - 1)  # np.percentile would import numpy.ma, a twentieth of a cold start
        high = float(np.interp(place, np.arange(size.size), size))
        if high < largest / 20:  # a few bright points on black: nothing else is to be seen anyway
            high = largest
        return cls(high or 1.0, bool((values < 0).any()), largest > high > 0)

    @property
    def colormap(self) -> Any:
        """matplotlib's colour map, for its charts."""
        from matplotlib import colormaps

        return colormaps["RdBu_r" if self.signed else "inferno"]

    @property
    def norm(self) -> Any:
        """matplotlib's Normalize from values to [0,1], for its charts."""
        from matplotlib.colors import Normalize

        return Normalize(self.low, self.high, clip=True)

    @property
    def low(self) -> float:
        return -self.high if self.signed else 0.0

    def colours(self, heat: np.ndarray) -> np.ndarray:
        """(H,W,3) in [0,1]; a value that is no number is grey."""
        heat = as_map(heat)
        share = np.clip((np.nan_to_num(heat) - self.low) / (self.high - self.low), 0, 1)
        rgb = table(self.signed)[np.minimum(share * 256, 255).astype(np.uint8)]
        rgb[~np.isfinite(heat)] = 0.5
        return rgb


def overlay(image: np.ndarray, heat: np.ndarray, scale: Scale | None = None) -> np.ndarray:
    """(H,W,3): the image in grey, and over it the map's colours, the more opaque the larger the value."""
    picture, heat = as_picture(image), as_map(heat)
    if picture.shape[:2] != heat.shape:
        raise ValueError(f"overlay: the map is {heat.shape}, the image {picture.shape[:2]}: bring them to one size")
    scale = scale or Scale.of(heat)
    grey = picture @ np.array([0.299, 0.587, 0.114])
    opacity = 0.9 * np.clip(np.abs(np.nan_to_num(heat)) / scale.high, 0, 1)[..., None]
    return (1 - opacity) * grey[..., None] + opacity * scale.colours(heat)


def centred(gradient: np.ndarray) -> np.ndarray:
    """(3,H,W) in [0,1]: a signed (3,H,W) array as colours, 0 at mid-grey."""
    gradient = np.asarray(gradient, dtype=np.float64)
    gradient = gradient.reshape(gradient.shape[-3:])
    return np.clip(0.5 + 0.5 * gradient / Scale.of(gradient).high, 0, 1)


def as_picture(image: np.ndarray) -> np.ndarray:
    """(H,W,3) in [0,1] of an image (3,H,W), (1,3,H,W), or grey (1,H,W)."""
    image = np.asarray(image, dtype=np.float64)
    if image.ndim == 4 and len(image) == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"a figure's image is (3,H,W) or (1,3,H,W), got {image.shape}")
    return np.clip(np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3)), 0, 1)


def as_map(heat: np.ndarray) -> np.ndarray:
    """(H,W) of a map (H,W), (1,H,W) or (1,1,H,W)."""
    heat = np.asarray(heat, dtype=np.float64)
    if heat.ndim < 2 or heat.size != math.prod(heat.shape[-2:]):
        raise ValueError(f"a figure's map is (H,W) or (1,H,W), got {heat.shape}")
    return heat.reshape(heat.shape[-2:])
