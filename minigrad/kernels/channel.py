"""Sums over all but the channel axis, and scale-and-shift for each channel: what batch normalisation is made of.

x is (N, C, ...) with channels at axis 1. Channels-last memory is walked in blocks of rows that stay in a core's cache
through all steps, on all threads; sums are carried in the input's precision within a block and in float64 across
blocks, so their error does not grow with the batch.
"""

import numpy as np

from minigrad.backend import Workspace, array_module, blocks, parallel
from minigrad.kernels.layout import as_rows

_BLOCK = 1 << 18  # bytes of one operand in a block

_workspace = Workspace()


def channel_sum(x):
    """(C,) in x's dtype: the sum of x over every axis but 1."""
    xp, rows = array_module(x), as_rows(x)
    if rows is None or xp is not np:
        return x.sum(axis=_others(x), dtype=np.float64).astype(x.dtype)

    def partial(block):
        part = rows[block]
        return (np.ones(len(part), x.dtype) @ part).astype(np.float64)

    return sum(parallel(partial, _row_blocks(rows))).astype(x.dtype)


def channel_sum_product(x, y):
    """(C,) in x's dtype: the sum of x*y over every axis but 1."""
    xp, xs, ys = array_module(x, y), as_rows(x), as_rows(y)
    if xs is None or ys is None or xp is not np:
        return (x * y).sum(axis=_others(x), dtype=np.float64).astype(x.dtype)

    def partial(block):
        product = _workspace.empty("product", xs[block].shape, x.dtype)
        np.multiply(xs[block], ys[block], out=product)
        return (np.ones(len(product), x.dtype) @ product).astype(np.float64)

    return sum(parallel(partial, _row_blocks(xs))).astype(x.dtype)


def channel_variance(x, mean):
    """(C,) in x's dtype: the mean of (x - mean[c])**2 over every axis but 1."""
    xp, rows = array_module(x, mean), as_rows(x)
    count = x.size // x.shape[1]
    if rows is None or xp is not np:
        return (xp.square(x - _column(mean, x)).sum(axis=_others(x), dtype=np.float64) / count).astype(x.dtype)

    def partial(block):
        squares = _workspace.empty("product", rows[block].shape, x.dtype)
        np.subtract(rows[block], mean, out=squares)
        np.square(squares, out=squares)
        return (np.ones(len(squares), x.dtype) @ squares).astype(np.float64)

    return (sum(parallel(partial, _row_blocks(rows))) / count).astype(x.dtype)


def channel_affine(x, scale, shift):
    """x * scale[c] + shift[c], channels-last where x is."""
    xp, rows = array_module(x, scale, shift), as_rows(x)
    if rows is None or xp is not np:
        return x * _column(scale, x) + _column(shift, x)
    y = np.empty_like(rows)

    def fill(block):
        np.multiply(rows[block], scale, out=y[block])
        y[block] += shift

    parallel(fill, _row_blocks(rows))
    return _like(y, x)


def channel_affine2(x, a, y, b, c):
    """x * a[c] + y * b[c] + c[c], for each channel: batch normalisation's input gradient from g and x."""
    xp, xs, ys = array_module(x, a, y, b, c), as_rows(x), as_rows(y)
    if xs is None or ys is None or xp is not np:
        return x * _column(a, x) + y * _column(b, x) + _column(c, x)
    out = np.empty_like(xs)

    def fill(block):
        term = _workspace.empty("product", xs[block].shape, x.dtype)
        np.multiply(xs[block], a, out=out[block])
        np.multiply(ys[block], b, out=term)
        term += c
        out[block] += term

    parallel(fill, _row_blocks(xs))
    return _like(out, x)


def _row_blocks(rows):
    return blocks(len(rows), _BLOCK // max(1, rows.shape[1] * rows.itemsize))


def _others(x):
    return (0, *range(2, x.ndim))


def _column(values, x):
    """(C,) made to broadcast against (N, C, ...)."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def _like(rows, x):
    """(positions, C) rows seen as (N, C, ...)."""
    return np.moveaxis(rows.reshape(x.shape[0], *x.shape[2:], x.shape[1]), -1, 1)
