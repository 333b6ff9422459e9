"""Depthwise convolution, one input channel in each group: sums over taps of a view of the input times a number.

NumPy's einsum multiplies and adds in one pass. Where windows move by one pixel, several of them in a row are one run of
memory, and a run is as long as einsum best takes it.
"""

import functools
import itertools
import math

import numpy as np

from minigrad.kernels.cpu import tuning
from minigrad.kernels.cpu.blocking import crop, phases
from minigrad.kernels.cpu.elementwise import add_bias
from minigrad.kernels.cpu.memory import Workspace
from minigrad.kernels.cpu.threads import parallel
from minigrad.kernels.cpu.windows import row_blocks
from minigrad.kernels.frozen import form_or_new
from minigrad.kernels.layout import channels_last

_workspace = Workspace()


def weigh_taps(w, bias, stride, dilation, groups, positions):
    """A way to fill a block of a correlation with weights (O,1,KH,KW) and bias (O,) or None: see direct.py."""
    repeat, taps = len(w) // groups, (slice(None), slice(None))

    def fill(tile, target):
        tile = np.repeat(tile, repeat, axis=3) if repeat > 1 else tile
        _weigh(tile, w, taps, stride, dilation, target)
        if bias is not None:
            add_bias(target, bias)

    return fill, groups + 2 * len(w)


def input_grad(g, w, gx, stride, padding, dilation):
    """Fill gx (N,C,H,W), the input gradient by g (N,C,OH,OW), w (C,1,KH,KW): phase by phase of rows and columns (see
    direct.py), those of a stride each as a whole, and then put between the others."""
    g, gx = channels_last(g), channels_last(gx)
    n, height, width, c = gx.shape
    by_row = phases(height, w.shape[2], stride[0], padding[0], dilation[0])
    by_column = phases(width, w.shape[3], stride[1], padding[1], dilation[1])
    (top, below), (left, right) = _reach(by_row), _reach(by_column)

    def fill_block(block):
        images, rows = block  # of each phase
        area = rows.stop - rows.start + below - top, -(-width // stride[1]) + right - left
        tile = crop(g[images], rows.start + top, left, *area, _tile)
        for down, across in itertools.product(by_row, by_column):
            target = gx[images, down.outputs, across.outputs][:, rows]
            if target.size == 0:  # a later phase may have one row less
                continue
            if down.taps == slice(0, 0) or across.taps == slice(0, 0):
                target[...] = 0
                continue
            phase = target if stride[1] == 1 else _workspace.empty("phase", target.shape, gx.dtype)
            read = tile[:, down.origin - top :, across.origin - left :]
            _weigh(read, w, (down.taps, across.taps), (1, 1), (down.dilation, across.dilation), phase)
            if phase is not target:
                target[...] = phase

    rows_and_columns = -(-height // stride[0]), -(-width // stride[1])
    parallel(fill_block, row_blocks((n, *rows_and_columns), gx.itemsize * 3 * c * math.prod(stride), 0))


def _reach(several):
    """(first, last): where windows of these phases begin and end to read g, counted from the row that they fill."""
    return min(phase.origin for phase in several), max(phase.origin + phase.span for phase in several)


def _tile(shape, dtype):
    return _workspace.empty("tile", shape, dtype)


def _weigh(tile, w, taps, stride, dilation, out):
    """out (n,rows,columns,C) = the sum over `taps`, slices of rows and columns of the weights w (C,1,KH,KW), of what
    windows of tile (n,rows read,columns read,C) have there times the weight."""
    (n, rows, columns, c), (sn, sh, sw, sc) = out.shape, tile.strides
    joined = stride[1] == 1 and sw == c * sc and out[0, 0].flags.c_contiguous
    at_once = _divisor(columns, tuning.RUN_OF_TAPS // c) if joined else 1
    weights = _repeated(w, taps, at_once)
    runs = n, rows, columns // at_once, *weights.shape
    strides = sn, sh * stride[0], sw * stride[1] * at_once, sh * dilation[0], sw * dilation[1], sc
    windows = np.lib.stride_tricks.as_strided(tile, runs, strides)
    np.einsum("nhkabx,abx->nhkx", windows, weights, out=out.reshape(*runs[:3], runs[-1]))


def _repeated(w, taps, times):
    """`taps` of weights (C,1,KH,KW) as (KH,KW,times*C), for so many windows next to each other."""
    ordered = w.transpose(2, 3, 1, 0)[*taps]
    kh, kw, _, c = ordered.shape

    def fill(weights):
        weights.reshape(kh, kw, times, c)[...] = ordered

    return form_or_new(w, f"{times} times {taps}", (kh, kw, times * c), fill)


@functools.lru_cache
def _divisor(number, limit):
    """The largest divisor of a number that is at most `limit`, or 1."""
    return next((d for d in range(min(number, limit), 1, -1) if number % d == 0), 1)
