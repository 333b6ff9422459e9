"""Pictures made of pictures: tiles in a grid, and outlines drawn on an image. Arrays in, arrays out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .ranges import require
from .typing import Images


def tile(images: np.ndarray, columns: int | None = None, gap: int = 1, fill: Any = 1.0) -> np.ndarray:
    """(3,H,W): images (K,3,h,w) or (K,1,h,w) in rows of `columns` (about a square by default), `gap` pixels apart."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"tile: images must be (K,3,h,w) or (K,1,h,w), got shape {images.shape}")
    count, _, height, width = images.shape
    if not count:
        raise ValueError("tile: there are no images to put beside each other")
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.full((3, rows * (height + gap) - gap, columns * (width + gap) - gap), fill, images.dtype)
    for n, image in enumerate(images):
        top, left = (n // columns) * (height + gap), (n % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def outline_box(image: Images, box: Any, colour: Sequence[float] = (1.0, 0.85, 0.0), width: int = 1) -> np.ndarray:
    """(3,H,W): `image`, (3,H,W) or (1,H,W), with the edge of `box` drawn inside it.

    box: top, left, bottom, right; the last two exclusive.
    """
    drawn = _coloured("outline_box", image)
    top, left, bottom, right = box
    edge = np.zeros(drawn.shape[1:], bool)
    edge[top:bottom, left:right] = True
    edge[top + width : bottom - width, left + width : right - width] = False
    drawn[:, edge] = np.array(colour, drawn.dtype)[:, None]
    return drawn


def outline_mask(
    image: Images, mask: np.ndarray, colour: Sequence[float] = (1.0, 0.85, 0.0), outside: float = 0.35
) -> np.ndarray:
    """(3,H,W): `image`, as there, with the rim of `mask` (H,W) coloured, and what is outside it times `outside`."""
    require("outline_mask", outside=outside)
    mask = np.asarray(mask, bool)
    inside = np.pad(mask, 1)
    surrounded = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    drawn = _coloured("outline_mask", image)
    drawn[:, ~mask] *= drawn.dtype.type(outside)
    drawn[:, mask & ~surrounded] = np.array(colour, drawn.dtype)[:, None]
    return drawn


def _coloured(name: str, image: np.ndarray) -> np.ndarray:
    """A copy of floats (3,H,W) of an image (3,H,W) or (1,H,W)."""
    image = np.asarray(image)
    if image.ndim != 3 or len(image) not in (1, 3) or image.dtype.kind != "f":
        raise ValueError(f"{name}: image must be floats (3,H,W) or (1,H,W), got {image.dtype} of shape {image.shape}")
    return np.repeat(image, 3, 0) if len(image) == 1 else image.copy()


def enlarge(images: np.ndarray, side: int) -> np.ndarray:
    """Each of `images` (K,3,h,w) a whole factor larger, by the nearest pixel, to sides of at least `side` pixels."""
    factor = max(1, -(-side // min(images.shape[2:])))
    return images.repeat(factor, 2).repeat(factor, 3)
