"""Sums over all but the channel axis and scale-and-shift for each channel, of which batch normalisation is made, and
the joining of channels.

x is (N, C, ...) with channels at axis 1. Channels-last memory is walked in blocks of rows that stay in a core's cache
through all steps, on all threads; sums are carried in the input's precision within a block and in float64 across
blocks, so their error does not grow with the batch.
"""

import itertools

import numpy as np

from minigrad.backend import Workspace, array_module, blocks, parallel
from minigrad.kernels.cuda import channel as gpu
from minigrad.kernels.cuda.launch import floating
from minigrad.kernels.elementwise import relu_in_place
from minigrad.kernels.layout import as_rows, channels_first, channels_last

_BLOCK = 1 << 20  # bytes of one operand in a block: with shorter calls, threads wait for the interpreter

_workspace = Workspace()


def channel_sum(x):
    """(C,) in x's dtype: the sum of x over every axis but 1."""
    xp, rows = array_module(x), as_rows(x)
    if rows is not None and floating(x):
        return gpu.column_sums(rows).astype(x.dtype)
    if rows is None or xp is not np:
        return x.sum(axis=_others(x), dtype=np.float64).astype(x.dtype)
    (rows,), times = _widened(rows)

    def partial(block):
        return _column_sums(rows[block])

    return _folded(sum(parallel(partial, _row_blocks(rows))), times).astype(x.dtype)


def channel_sum_product(x, y):
    """(C,) in x's dtype: the sum of x*y over every axis but 1."""
    xp, xs, ys = array_module(x, y), as_rows(x), as_rows(y)
    if xs is not None and ys is not None and floating(x, y):
        return gpu.column_sums(xs, ys).astype(x.dtype)
    if xs is None or ys is None or xp is not np:
        return (x * y).sum(axis=_others(x), dtype=np.float64).astype(x.dtype)
    (xs, ys), times = _widened(xs, ys)

    def partial(block):
        product = _workspace.empty("product", xs[block].shape, x.dtype)
        np.multiply(xs[block], ys[block], out=product)
        return _column_sums(product)

    return _folded(sum(parallel(partial, _row_blocks(xs))), times).astype(x.dtype)


def channel_moments(x):
    """Mean and variance (biased) of x over every axis but 1, each (C,) in x's dtype, in one pass over memory.

    Each block, while it is in the cache, gives its own mean and squared distances from it; the distances of the blocks'
    means from the mean of all are added at the end (Chan, Golub and LeVeque 1979), so nothing cancels.
    """
    xp, rows = array_module(x), as_rows(x)
    count = x.size // x.shape[1]
    if rows is not None and floating(x):
        mean = (gpu.column_sums(rows) / count).astype(x.dtype)
        return mean, (gpu.column_sums(rows, mean=mean) / count).astype(x.dtype)
    if rows is None or xp is not np:
        mean = x.mean(axis=_others(x), dtype=np.float64)
        squares = xp.square(x - _column(mean.astype(x.dtype), x)).sum(axis=_others(x), dtype=np.float64)
        return mean.astype(x.dtype), (squares / count).astype(x.dtype)
    (rows,), times = _widened(rows)

    def partial(block):
        part = rows[block]
        mean = _column_sums(part) / len(part)
        distance = _workspace.empty("product", part.shape, x.dtype)
        np.subtract(part, mean.astype(x.dtype), out=distance)
        np.square(distance, out=distance)
        return len(part), mean, _column_sums(distance)

    lengths, means, squares = zip(*parallel(partial, _row_blocks(rows)), strict=True)
    lengths, means, squares = (
        np.array(lengths, np.float64)[:, None, None],
        np.reshape(means, (-1, times, x.shape[1])),
        np.reshape(squares, (-1, times, x.shape[1])),
    )
    mean = (lengths * means).sum((0, 1)) / count
    variance = (squares + lengths * (means - mean) ** 2).sum((0, 1)) / count
    return mean.astype(x.dtype), variance.astype(x.dtype)


def channel_affine(x, scale, shift, rectify=False):
    """y = x * scale[c] + shift[c], channels-last where x is. rectify: max(y, 0), while y is in the cache."""
    xp, rows = array_module(x, scale, shift), as_rows(x)
    if rows is None or xp is not np:
        if rows is not None and floating(x, scale, shift):
            y = _like(gpu.affine(rows, scale, None, None, shift), x)
        else:
            y = x * _column(scale, x) + _column(shift, x)
        return xp.maximum(y, 0, out=y) if rectify else y
    (rows,), times = _widened(rows)
    scale, shift = np.tile(scale, times), np.tile(shift, times)
    y = np.empty_like(rows)

    def fill(block):
        np.multiply(rows[block], scale, out=y[block])
        y[block] += shift
        if rectify:
            relu_in_place(y[block])

    parallel(fill, _row_blocks(rows))
    return _like(y, x)


def channel_affine2(x, a, y, b, c):
    """x * a[c] + y * b[c] + c[c], for each channel: batch normalisation's input gradient from g and x."""
    xp, xs, ys = array_module(x, a, y, b, c), as_rows(x), as_rows(y)
    if xs is not None and ys is not None and floating(x, a, y, b, c):
        return _like(gpu.affine(xs, a, ys, b, c), x)
    if xs is None or ys is None or xp is not np:
        return x * _column(a, x) + y * _column(b, x) + _column(c, x)
    (xs, ys), times = _widened(xs, ys)
    a, b, c = (np.tile(values, times) for values in (a, b, c))
    out = np.empty_like(xs)

    def fill(block):
        term = _workspace.empty("product", xs[block].shape, x.dtype)
        np.multiply(xs[block], a, out=out[block])
        np.multiply(ys[block], b, out=term)
        term += c
        out[block] += term

    parallel(fill, _row_blocks(xs))
    return _like(out, x)


def concatenate(xs, axis, rectify=False):
    """Arrays one after the other along an axis, channels-last where (N,C,H,W) are joined along channels.

    rectify: max(y, 0); channels-last arrays are rectified on the way.
    """
    xp = array_module(*xs)
    if axis == 1 and xs[0].ndim == 4:
        parts = [as_rows(x) for x in xs]
        if xp is np and all(part is not None for part in parts):
            y = _side_by_side(parts, rectify)
            return channels_first(y.reshape(len(xs[0]), *xs[0].shape[2:], y.shape[1]))
        y = channels_first(xp.concatenate([channels_last(x) for x in xs], 3))
    else:
        y = xp.concatenate(xs, axis)
    return xp.maximum(y, 0, out=y) if rectify else y


def _side_by_side(parts, rectify):
    """Arrays (positions, C) as one; rectify: max(y, 0)."""
    edges = [0, *itertools.accumulate(part.shape[1] for part in parts)]
    y = np.empty((len(parts[0]), edges[-1]), np.result_type(*parts))
    zeros = np.zeros(edges[-1], y.dtype)  # of float32, NumPy takes the maximum of two arrays faster than of one and 0

    def fill(block):
        for part, low, high in zip(parts, edges, edges[1:], strict=False):
            if rectify:
                np.maximum(part[block], zeros[low:high], out=y[block, low:high])
            else:
                y[block, low:high] = part[block]

    parallel(fill, _row_blocks(y))
    return y


def _widened(*arrays):
    """Arrays (positions, C) as (positions / times, times * C), and times: NumPy likes long inner loops."""
    positions, channels = arrays[0].shape
    times = 1
    while 2 * times * channels <= 1024 and positions and positions % (2 * times) == 0:
        times *= 2
    return [a.reshape(positions // times, times * channels) for a in arrays], times


def _folded(values, times):
    """(times * C,) sums of widened columns as (C,)."""
    return np.reshape(values, (times, -1)).sum(0)


def _column_sums(part):
    """(columns,) in float64; within the block the sum is a matrix product, in the precision of its dtype."""
    return (np.ones(len(part), part.dtype) @ part).astype(np.float64)


def _row_blocks(rows):
    return blocks(len(rows), _BLOCK // max(1, rows.shape[1] * rows.itemsize))


def _others(x):
    return (0, *range(2, x.ndim))


def _column(values, x):
    """(C,) made to broadcast against (N, C, ...)."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def _like(rows, x):
    """(positions, C) rows seen as (N, C, ...)."""
    return array_module(rows).moveaxis(rows.reshape(x.shape[0], *x.shape[2:], x.shape[1]), -1, 1)
