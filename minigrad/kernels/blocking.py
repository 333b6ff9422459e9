"""Cutting an (N, H, W) grid of positions into blocks for the threads, and reading an input with zeros around it."""

from minigrad.backend import blocks


def grid_blocks(n, height, width, positions):
    """[(images, rows)], slices that cut n grids of height x width into blocks of about `positions` positions each.

    A block is several whole grids where they are small, and some rows of one grid where they are not.
    """
    if n == 0 or height == 0 or width == 0:
        return []
    if positions >= height * width and n > 1:
        return [(images, slice(0, height)) for images in blocks(n, positions // (height * width))]
    return [(slice(i, i + 1), rows) for i in range(n) for rows in blocks(height, positions // width)]


def crop(x, top, left, height, width, empty):
    """x (N,H,W,C) from row `top` and column `left`, (N,height,width,C), zeros where that is outside x.

    A view where all of it is inside. Otherwise a copy, into an array that `empty(shape, dtype)` makes.
    """
    n, h, w, c = x.shape
    if top >= 0 and left >= 0 and top + height <= h and left + width <= w:
        return x[:, top : top + height, left : left + width]
    tile = empty((n, height, width, c), x.dtype)
    r0, r1 = min(max(-top, 0), height), min(max(h - top, 0), height)
    c0, c1 = min(max(-left, 0), width), min(max(w - left, 0), width)
    tile[:, :r0] = 0
    tile[:, r1:] = 0
    tile[:, r0:r1, :c0] = 0
    tile[:, r0:r1, c1:] = 0
    if r0 < r1 and c0 < c1:
        tile[:, r0:r1, c0:c1] = x[:, top + r0 : top + r1, left + c0 : left + c1]
    return tile
