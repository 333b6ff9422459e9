"""Geometry of windows: cutting an (N, H, W) grid of positions into blocks for the threads, reading an input with zeros
around it, and walking windows tap by tap or the input phase by phase."""

import functools
import math

from minigrad.kernels.cpu.threads import blocks


def grid_blocks(n, height, width, positions, cut=blocks):
    """[(images, rows)], slices that cut n grids of height x width into blocks of about `positions` positions each.

    A block is several whole grids where they are small, and some rows of one grid where they are not. `cut` cuts a
    length into runs of about a size: `blocks` for blocks that threads share out, `runs` for one after the other.
    """
    if n == 0 or height == 0 or width == 0:
        return []
    if positions >= height * width and n > 1:
        return [(images, slice(0, height)) for images in cut(n, positions // (height * width))]
    return [(slice(i, i + 1), rows) for i in range(n) for rows in cut(height, positions // width)]


def crop(x, top, left, height, width, empty, outside=0):
    """x (N,H,W,C) from row `top` and column `left`, (N,height,width,C), `outside` where that is outside x.

    A view where all of it is inside. Otherwise a copy, into an array that `empty(shape, dtype)` makes.
    """
    n, h, w, c = x.shape
    if top >= 0 and left >= 0 and top + height <= h and left + width <= w:
        return x[:, top : top + height, left : left + width]
    tile = empty((n, height, width, c), x.dtype)
    r0, r1 = min(max(-top, 0), height), min(max(h - top, 0), height)
    c0, c1 = min(max(-left, 0), width), min(max(w - left, 0), width)
    tile[:, :r0] = outside
    tile[:, r1:] = outside
    tile[:, r0:r1, :c0] = outside
    tile[:, r0:r1, c1:] = outside
    if r0 < r1 and c0 < c1:
        tile[:, r0:r1, c0:c1] = x[:, top + r0 : top + r1, left + c0 : left + c1]
    return tile


class Tap:
    """One position (a, b) of the window: input row i*stride + offset belongs to output row i; columns alike."""

    def __init__(self, offset, hw, out_hw, stride):
        self.offset, self.stride = offset, stride
        # the outputs for which this tap lies inside the input
        self.low = tuple(max(0, -(o // s)) for o, s in zip(offset, stride, strict=True))
        self.high = tuple(
            min(out, (size - 1 - o) // s + 1) for o, s, size, out in zip(offset, stride, hw, out_hw, strict=True)
        )

    def within(self, rows, x):
        """For output rows `rows`: (index of the outputs this tap serves, counted from rows.start; their view of x)."""
        low = (max(self.low[0], rows.start), self.low[1])
        high = (max(low[0], min(self.high[0], rows.stop)), max(low[1], self.high[1]))
        outputs = slice(low[0] - rows.start, high[0] - rows.start), slice(low[1], high[1])
        inputs = tuple(
            slice(lo * s + o, hi * s + o if hi > lo else lo * s + o, s)
            for lo, hi, s, o in zip(low, high, self.stride, self.offset, strict=True)
        )
        return outputs, x[:, :, *inputs]


@functools.lru_cache(maxsize=256)
def taps_of(hw, out_hw, kernel, stride, padding, dilation):
    """All taps of the window, in row-major order."""
    return tuple(
        Tap((a * dilation[0] - padding[0], b * dilation[1] - padding[1]), hw, out_hw, stride)
        for a in range(kernel[0])
        for b in range(kernel[1])
    )


class Phase:
    """Every `stride`-th input row from `start`: which taps reach them (reversed), and from where in g."""

    def __init__(self, start, size, kernel, stride, padding, dilation):
        self.outputs = slice(start, size, stride)
        hits = [a for a in range(kernel) if (start + padding - a * dilation) % stride == 0]
        step = stride // math.gcd(stride, dilation)  # from one tap that hits to the next
        self.taps = slice(hits[-1], None, -step) if hits else slice(0, 0)
        # the row of g that the last of these taps takes for the first of these rows
        self.origin = (start + padding - hits[-1] * dilation) // stride if hits else 0
        self.dilation = dilation * step // stride
        self.span = max(0, len(hits) - 1) * self.dilation  # rows of g from the first of these taps to the last


@functools.lru_cache(maxsize=256)
def phases(size, kernel, stride, padding, dilation):
    return tuple(Phase(start, size, kernel, stride, padding, dilation) for start in range(min(stride, size)))
