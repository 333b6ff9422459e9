"""Pictures made of pictures: tiles in a grid, and outlines drawn on an image. Arrays in, arrays out."""

import numpy as np


def tile(images, columns=None, gap=1, fill=1.0):
    """(3,H,W): images (K,3,h,w) or (K,1,h,w) in rows of `columns` (about a square by default), `gap` pixels apart."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"tile: images must be (K,3,h,w) or (K,1,h,w), got shape {images.shape}")
    count, _, height, width = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.full((3, rows * (height + gap) - gap, columns * (width + gap) - gap), fill, images.dtype)
    for n, image in enumerate(images):
        top, left = (n // columns) * (height + gap), (n % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def outline_box(image, box, colour=(1.0, 0.85, 0.0), width=1):
    """(3,H,W): `image` with the edge of `box` (top, left, bottom, right; the last two exclusive) drawn inside it."""
    drawn = np.array(image, copy=True)
    top, left, bottom, right = box
    edge = np.zeros(image.shape[1:], bool)
    edge[top:bottom, left:right] = True
    edge[top + width : bottom - width, left + width : right - width] = False
    drawn[:, edge] = np.array(colour, drawn.dtype)[:, None]
    return drawn


def outline_mask(image, mask, colour=(1.0, 0.85, 0.0), outside=0.35):
    """(3,H,W): `image` with the rim of `mask` (H,W) coloured, and what is outside it times `outside`."""
    inside = np.pad(mask, 1)
    surrounded = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    drawn = np.where(mask, image, outside * image).astype(image.dtype)
    drawn[:, mask & ~surrounded] = np.array(colour, drawn.dtype)[:, None]
    return drawn


def enlarge(images, side):
    """Each of `images` (K,3,h,w) a whole factor larger, by the nearest pixel, to sides of at least `side` pixels."""
    factor = max(1, -(-side // min(images.shape[2:])))
    return images.repeat(factor, 2).repeat(factor, 3)
