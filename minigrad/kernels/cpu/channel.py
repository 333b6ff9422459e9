"""Sums over all but the channel axis and scale-and-shift for each channel, of which batch normalisation is made, and
the joining of channels.

x is (N, C, ...) with channels at axis 1, channels-last in memory: other sums are in sums.py, the rest in plain.py. It
is walked in blocks of rows that stay in a core's cache through all steps, on all threads; sums are carried in the
input's precision within a block and in float64 across blocks, so their error does not grow with the batch.
"""

import itertools

import numpy as np

from minigrad.kernels.cpu import tuning
from minigrad.kernels.cpu.memory import Workspace
from minigrad.kernels.cpu.sums import add_rows, axis_sum
from minigrad.kernels.cpu.threads import blocks, parallel
from minigrad.kernels.layout import as_rows, channels_first

_workspace = Workspace()


def channel_sum(x):
    """(C,) in x's dtype: the sum of x over every axis but 1."""
    rows = as_rows(x)
    if rows is None:
        return axis_sum(x, (0, *range(2, x.ndim))).reshape(-1)
    (rows,), times = _widened(rows)

    def partial(block):
        return _column_sums(rows[block])

    return _folded(sum(parallel(partial, _row_blocks(rows))), times).astype(x.dtype)


def channel_sum_product(x, y):
    """(C,) in x's dtype: the sum of x*y over every axis but 1."""
    xs, ys = as_rows(x), as_rows(y)
    if xs is None or ys is None:
        return NotImplemented
    (xs, ys), times = _widened(xs, ys)

    def partial(block):
        return _column_sums(_product(xs[block], ys[block]))

    return _folded(sum(parallel(partial, _row_blocks(xs))), times).astype(x.dtype)


def channel_sums(x, y):
    """(2,C): channel_sum(x) and channel_sum_product(x, y), in one pass and to the bit where memory is channels-last."""
    xs, ys = as_rows(x), as_rows(y)
    if xs is None or ys is None:
        return np.stack([channel_sum(x), channel_sum(x * y)])
    (xs, ys), times = _widened(xs, ys)

    def partial(block):
        return np.stack([_column_sums(xs[block]), _column_sums(_product(xs[block], ys[block]))])

    by_column = sum(parallel(partial, _row_blocks(xs)))
    return by_column.reshape(2, times, -1).sum(1).astype(x.dtype)


def channel_moments(x):
    """Mean and variance (biased) of x over every axis but 1, each (C,) in x's dtype, in one pass over memory.

    Each block, while it is in the cache, gives its own mean and squared distances from it; the distances of the blocks'
    means from the mean of all are added at the end (Chan, Golub and LeVeque 1979), so nothing cancels. Squares beyond
    the dtype are inf.
    """
    rows, count = as_rows(x), x.size // x.shape[1]
    if rows is None:
        return NotImplemented
    (rows,), times = _widened(rows)

    @np.errstate(over="ignore", invalid="ignore")  # of the thread that runs it
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


def channel_affine(x, scale, shift):
    """y = x * scale[c] + shift[c], channels-last."""
    rows = as_rows(x)
    if rows is None:
        return NotImplemented
    (rows,), times = _widened(rows)
    scale, shift = np.tile(scale, times), np.tile(shift, times)
    y = np.empty_like(rows)

    def fill(block):
        np.multiply(rows[block], scale, out=y[block])
        y[block] += shift

    parallel(fill, _row_blocks(rows))
    return _like(y, x)


def channel_affine2(x, a, y, b, c):
    """x * a[c] + y * b[c] + c[c], for each channel: batch normalisation's input gradient from g and x."""
    xs, ys = as_rows(x), as_rows(y)
    if xs is None or ys is None:
        return NotImplemented
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


def concatenate(xs, axis):
    """Arrays (N,C,H,W) joined along channels, channels-last."""
    parts = [as_rows(x) for x in xs] if axis == 1 and xs[0].ndim == 4 else [None]
    if any(part is None for part in parts):
        return NotImplemented
    edges = [0, *itertools.accumulate(part.shape[1] for part in parts)]
    y = np.empty((len(parts[0]), edges[-1]), np.result_type(*parts))

    def fill(block):
        for part, low, high in zip(parts, edges, edges[1:], strict=False):
            y[block, low:high] = part[block]

    parallel(fill, _row_blocks(y))
    return channels_first(y.reshape(len(xs[0]), *xs[0].shape[2:], y.shape[1]))


def _widened(*arrays):
    """Arrays (positions, C) as (positions / times, times * C), and times: NumPy likes long inner loops."""
    positions, channels = arrays[0].shape
    times = 1
    while 2 * times * channels <= tuning.WIDE_ROW and positions and positions % (2 * times) == 0:
        times *= 2
    return [a.reshape(positions // times, times * channels) for a in arrays], times


def _product(x, y):
    """x * y in memory of this thread's."""
    return np.multiply(x, y, out=_workspace.empty("product", x.shape, x.dtype))


def _folded(values, times):
    """(times * C,) sums of widened columns as (C,)."""
    return np.reshape(values, (times, -1)).sum(0)


def _column_sums(part):
    """(columns,) in float64; within the block the sum is matrix products, in the precision of its dtype."""
    return add_rows(part[None])[0].astype(np.float64)


def _row_blocks(rows):
    return blocks(len(rows), tuning.OPERAND_BYTES // max(1, rows.shape[1] * rows.itemsize))


def _like(rows, x):
    """(positions, C) rows seen as (N, C, ...)."""
    return np.moveaxis(rows.reshape(x.shape[0], *x.shape[2:], x.shape[1]), -1, 1)
