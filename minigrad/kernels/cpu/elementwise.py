"""Passes over whole arrays that NumPy does on one core: here in blocks, on all of them.

Arrays may lie in memory in any order of axes, as long as it is the same for all and without gaps; anything else is
left to plain.py.
"""

import functools

import numpy as np

from minigrad.kernels.cpu import tuning
from minigrad.kernels.cpu.threads import blocks, parallel
from minigrad.kernels.layout import as_rows, in_memory_order


def add(a, b):
    """a + b, where the two are alike and large."""
    alike = type(a) is type(b) is np.ndarray and a.shape == b.shape and a.dtype == b.dtype
    if not alike or a.nbytes < tuning.OPERAND_BYTES:
        return NotImplemented
    flat_a, flat_b = in_memory_order(a, b)
    if flat_a is None:
        return NotImplemented
    y = np.empty_like(a)
    (flat_y,) = in_memory_order(y)
    parallel(lambda run: np.add(flat_a[run], flat_b[run], out=flat_y[run]), _runs(a))
    return y


def relu(x):
    """max(x, 0); a NaN stays."""
    y = np.empty_like(x)
    flat_x, flat_y = in_memory_order(x, y)
    if flat_x is None:
        return NotImplemented
    parallel(lambda run: _relu(flat_x[run], flat_y[run]), _runs(x))
    return y


def add_bias_then(rectify, y, bias):
    """y += bias, and rectify(y) while it is in the cache, of y (N,O,...), channels-last, and bias (O,); returns y."""
    rows = as_rows(y)

    def change(run):
        add_bias(rows[run], bias)
        rectify(rows[run])

    parallel(change, blocks(len(rows), tuning.OPERAND_BYTES // (rows.itemsize * max(1, len(bias)))))
    return y


def add_bias(y, bias):
    """y (..., O) += bias (O,) in place, on one core: positions are joined to rows as long as NumPy's buffer, since
    shorter ones would be copied there."""
    rows, times = y.size // max(1, len(bias)), -(-tuning.NUMPY_BUFFER // max(1, len(bias)))
    if rows < 2 * times or not y.flags.c_contiguous:
        y += bias
        return
    rows, last = y.reshape(rows, -1), rows - rows % times
    long = rows[:last].reshape(-1, times * len(bias))
    long += np.tile(bias, times)
    rows[last:] += bias


def relu_in_place(x):
    """x = max(x, 0) in place, on one core."""
    (flat,) = in_memory_order(x)
    if flat is None:
        np.maximum(x, 0, out=x)
    else:
        _relu(flat, flat)


def clip_in_place(x, top):
    """x = min(max(x, 0), top) in place, on one core."""
    np.clip(x, 0, top, out=x)


def _relu(x, y):
    """y = max(x, 0) of 1-D arrays, against a row of zeros: of float32, NumPy takes the maximum of two arrays faster
    than of an array and a number. The row is as long as NumPy's buffer: a shorter one would be copied there."""
    split, zeros = len(x) - len(x) % tuning.NUMPY_BUFFER, _zeros(x.dtype)
    if split:
        np.maximum(x[:split].reshape(-1, tuning.NUMPY_BUFFER), zeros, out=y[:split].reshape(-1, tuning.NUMPY_BUFFER))
    if split < len(x):
        np.maximum(x[split:], zeros[: len(x) - split], out=y[split:])


@functools.lru_cache
def _zeros(dtype):
    return np.zeros(tuning.NUMPY_BUFFER, dtype)


def relu_grad(g, x):
    """g where x > 0, else 0: by their bits, so that an infinite g does not make a NaN where x is not positive."""
    return _where_it_holds(lambda x: x > 0, g, x)


def relu6_grad(g, x):
    """g where 0 < x < 6, else 0, by their bits."""
    return _where_it_holds(_between, g, x)


def _between(x):
    inside = x > 0
    return np.logical_and(inside, x < 6, out=inside)


def _where_it_holds(condition, g, x):
    """g where condition(x), else 0."""
    if g.dtype.kind != "f" or g.itemsize > 8 or g.shape != x.shape:
        return NotImplemented
    bits = f"i{g.itemsize}"
    gx = np.empty_like(x, dtype=g.dtype)
    flat_g, flat_x, flat_gx = in_memory_order(g, x, gx)
    if flat_g is None:
        np.bitwise_and(g.view(bits), np.negative(condition(x).view(np.int8)), out=gx.view(bits))
        return gx

    def keep(run):
        mask = condition(flat_x[run]).view(np.int8)
        np.bitwise_and(flat_g[run].view(bits), np.negative(mask, out=mask), out=flat_gx[run].view(bits))

    parallel(keep, _runs(x))
    return gx


def where(condition, a, b):
    """a where condition, else b, by their bits: np.where branches at every number, and takes ten times as long."""
    if a.dtype != b.dtype or a.dtype.kind != "f" or a.itemsize > 8 or condition.dtype.kind != "b":
        return NotImplemented
    bits = f"i{a.itemsize}"
    mask, a, b = np.negative(condition.view(np.int8)), a.view(bits), b.view(bits)
    if b.ndim == 0 and b == 0:
        return np.asarray(np.bitwise_and(a, mask)).view(f"f{a.itemsize}")
    kept = np.asarray(np.bitwise_and(np.bitwise_xor(a, b), mask))
    return np.bitwise_xor(kept, b, out=kept).view(f"f{a.itemsize}")


def _runs(x):
    """x, flat, in blocks for the threads."""
    return blocks(x.size, tuning.OPERAND_BYTES // x.itemsize)
