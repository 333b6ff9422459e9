"""Transformation robustness: an image that must excite a unit however it is moved has less to gain from noise.

Each function gives a transform, `transform(x, rng) -> x`, differentiable in the Tensor x (N,C,H,W); rng draws what is
random. Olah et al. 2017 ("Feature Visualization", Distill), section "The Enemy of Feature Visualization".

Letters: N images, C channels, H W height and width, M pixels of the output.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import Function, Tensor
from minigrad import functional as F
from minigrad.device import array_module
from minigrad.functional.convert import constant_like

from .regularize import GREY


def jitter(pixels: int) -> Callable[..., Any]:
    """Shift by up to `pixels` in each direction; what leaves on one side comes back on the other."""
    return lambda x, rng: F.roll(x, tuple(int(s) for s in rng.integers(-pixels, pixels + 1, 2)), (2, 3))


def pad(pixels: int, value: float = GREY) -> Callable[..., Any]:
    """Add a grey frame: what later transforms bring in from outside."""
    return lambda x, rng: F.pad(x, (pixels,) * 4, value=value)


def crop(pixels: int) -> Callable[..., Any]:
    """Cut out a part `pixels` smaller in each direction, anywhere: shifts by up to half of it, and nothing wraps."""

    def transform(x: Tensor, rng: np.random.Generator) -> Tensor:
        top, left = (int(s) for s in rng.integers(0, pixels + 1, 2))
        return x[:, :, top : x.shape[2] - pixels + top, left : x.shape[3] - pixels + left]

    return transform


def scale(low: float, high: float) -> Callable[..., Any]:
    """Enlarge by a factor drawn from low to high."""
    return lambda x, rng: scaled(x, rng.uniform(low, high))


def scale_among(factors: tuple[Any, ...]) -> Callable[..., Any]:
    """Enlarge by one of these factors."""
    return lambda x, rng: scaled(x, rng.choice(factors))


def scaled(x: Tensor, factor: float) -> Tensor:
    """x (N,C,H,W) enlarged, bilinearly."""
    return F.interpolate(x, tuple(max(1, round(n * factor)) for n in x.shape[2:]), mode="bilinear")


def rotate(degrees: float) -> Callable[..., Any]:
    """Turn about the centre by an angle drawn from -degrees to degrees; grey comes in at the corners."""
    return lambda x, rng: rotated(x, rng.uniform(-degrees, degrees))


def rotate_among(angles: Any) -> Callable[..., Any]:
    """Turn about the centre by one of these angles, in degrees."""
    return lambda x, rng: rotated(x, rng.choice(angles))


def robust(like: str = "minigrad") -> list:
    """Transforms in turn: a frame, jitter, scale, rotation, and jitter again.

    like: "article" are those that Olah et al. 2017 list: a frame of 16, jitter by up to 16, a scale of 0.95, 0.975, 1,
        1.025 or 1.05, a turn by -5, -4, ... or 5 degrees, jitter by up to 8. "lucid" are the standard ones of their
        code, lucid 0.3: a frame of 12, crops by 8 and by 4, which do not wrap, between them a scale of 0.9, 0.92, ...
        or 1.1 and a turn by -10, -9, ... or 10 degrees, which is 0 in six cases of 26. "minigrad" is stronger than
        both: a frame of 12, jitter by up to 8 and 4, any scale from 0.9 to 1.1, any turn from -10 to 10 degrees.

    The draws are theirs. Scaling and turning are bilinear and bring in grey; lucid turns by the nearest pixel and
    brings in black.
    """
    if like == "article":
        return [pad(16), jitter(16), scale_among(ARTICLE_SCALES), rotate_among(range(-5, 6)), jitter(8)]
    if like == "lucid":
        return [pad(12), crop(8), scale_among(LUCID_SCALES), rotate_among([*range(-10, 11), *[0] * 5]), crop(4)]
    if like == "minigrad":
        return [pad(12), jitter(8), scale(0.9, 1.1), rotate(10), jitter(4)]
    raise ValueError(f"robust: like must be article, lucid or minigrad, got {like!r}")


ARTICLE_SCALES = (1, 0.975, 1.025, 0.95, 1.05)
LUCID_SCALES = tuple(1 + (i - 5) / 50 for i in range(11))


def transformed(x: Tensor, transforms: list[Callable[..., Any]], rng: np.random.Generator) -> Tensor:
    """x (N,C,H,W) through all transforms, then cut (or framed in grey) to its size about the centre."""
    height, width = x.shape[2:]
    for transform in transforms:
        x = transform(x, rng)
    rows, columns = height - x.shape[2], width - x.shape[3]
    return F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), value=GREY)


# ---- rotation --------------------------------------------------------------------------------------------------------


def rotated(x: Tensor, degrees: float, fill: float = GREY) -> Tensor:
    """x (N,C,H,W) turned anticlockwise about its centre, bilinearly; `fill` outside the image."""
    height, width = x.shape[2:]
    angle = np.deg2rad(degrees)
    i, j = np.mgrid[:height, :width]
    i, j = i - (height - 1) / 2, j - (width - 1) / 2
    # Where each output pixel comes from. Rows grow downwards.
    rows = np.cos(angle) * i + np.sin(angle) * j + (height - 1) / 2
    columns = -np.sin(angle) * i + np.cos(angle) * j + (width - 1) / 2

    index, weight = _neighbours(rows.ravel(), columns.ravel(), height, width)
    index, weight = constant_like(x, index, index.dtype), constant_like(x, weight)
    return Gather(index.data, weight.data, (height, width))(x - fill) + fill


def _neighbours(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> tuple:
    """index (4,M) into the flattened image and weight (4,M), 0 outside, of the pixels around M positions."""
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    index, weight = [], []
    for i in (top, top + 1):
        for j in (left, left + 1):
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            share = (1 - np.abs(rows - i)) * (1 - np.abs(columns - j))
            index.append(np.where(inside, i * width + j, 0))
            weight.append(np.where(inside, share, 0.0))
    return np.stack(index), np.stack(weight)


class Gather(Function):
    """y (N,C,H,W): every pixel a weighted sum of pixels of x: sum_k weight[k] x[index[k]], both (K, H*W)."""

    def __init__(self, index: np.ndarray, weight: np.ndarray, hw: tuple[int, int]) -> None:
        self.index, self.weight, self.hw = index, weight, hw

    def forward(self, x: np.ndarray) -> np.ndarray:
        pixels = x.reshape(*x.shape[:2], -1)
        return sum(w * pixels[..., i] for i, w in zip(self.index, self.weight, strict=True)).reshape(x.shape)

    def vjp(self, g: Tensor) -> Tensor:
        return Scatter(self.index, self.weight, self.hw)(g)


class Scatter(Function):
    """The adjoint of Gather: every pixel of g added, weighted, where Gather took it from."""

    def __init__(self, index: np.ndarray, weight: np.ndarray, hw: tuple[int, int]) -> None:
        self.index, self.weight, self.hw = index, weight, hw

    def forward(self, g: np.ndarray) -> np.ndarray:
        xp = array_module(g)
        pixels, index = g.reshape(-1, g.shape[2] * g.shape[3]), self.index.ravel()
        sums = [xp.bincount(index, (self.weight * row).ravel(), pixels.shape[1]) for row in pixels]
        return xp.stack(sums).astype(g.dtype).reshape(g.shape)

    def vjp(self, gg: Tensor) -> Tensor:
        return Gather(self.index, self.weight, self.hw)(gg)
