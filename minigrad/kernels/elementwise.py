"""Passes over whole arrays that NumPy does on one core: here in blocks, on all of them.

Arrays may lie in memory in any order of axes, as long as it is the same for all and without gaps; anything else takes
NumPy's (or CuPy's) plain way.
"""

import functools

import numpy as np

from minigrad.backend import array_module, blocks, parallel
from minigrad.kernels.cuda import elementwise as gpu
from minigrad.kernels.cuda.launch import floating, on_gpu
from minigrad.kernels.layout import in_memory_order

_BLOCK = 1 << 18  # elements in a block: with shorter calls, threads wait for each other at the interpreter's lock
_ROW = 1 << 13  # elements, NumPy's default buffer for each operand


def add(a, b):
    """a + b, as NumPy adds them."""
    alike = type(a) is type(b) and a.shape == b.shape and a.dtype == b.dtype
    if alike and on_gpu(a, b):  # CuPy's sum would not be channels-last where a is
        return array_module(a, b).add(a, b, out=array_module(a).empty_like(a))
    if not alike or type(a) is not np.ndarray or a.size < 2 * _BLOCK:
        return a + b
    flat_a, flat_b = in_memory_order(a, b)
    if flat_a is None:
        return a + b
    y = np.empty_like(a)
    (flat_y,) = in_memory_order(y)
    parallel(lambda run: np.add(flat_a[run], flat_b[run], out=flat_y[run]), blocks(a.size, _BLOCK))
    return y


def relu(x):
    """max(x, 0); a NaN stays."""
    xp = array_module(x)
    y = xp.empty_like(x)
    flat_x, flat_y = in_memory_order(x, y)
    if xp is not np or flat_x is None:
        return xp.maximum(x, 0, out=y)
    parallel(lambda run: _relu(flat_x[run], flat_y[run]), blocks(x.size, _BLOCK))
    return y


def relu_in_place(x):
    """x = max(x, 0) in place, on one core."""
    (flat,) = in_memory_order(x)
    if type(x) is np.ndarray and flat is not None:
        _relu(flat, flat)
    else:
        array_module(x).maximum(x, 0, out=x)


def _relu(x, y):
    """y = max(x, 0) of 1-D arrays, against zeros: of float32, NumPy takes the maximum of two arrays faster than that of
    an array and a number. Not if it copies the zeros into its buffer, as it does rows that fit there twice."""
    split, zeros = len(x) - len(x) % _ROW, _zeros(x.dtype)
    if split:
        np.maximum(x[:split].reshape(-1, _ROW), zeros, out=y[:split].reshape(-1, _ROW))
    if split < len(x):
        np.maximum(x[split:], zeros[: len(x) - split], out=y[split:])


@functools.lru_cache
def _zeros(dtype):
    return np.zeros(_ROW, dtype)


def relu_grad(g, x):
    """g where x > 0, else 0: by their bits, so that an infinite g does not make a NaN where x is not positive."""
    xp = array_module(g, x)
    if floating(g, x) and g.shape == x.shape and (gx := gpu.relu_grad(g, x)) is not None:
        return gx
    bits = f"i{g.itemsize}"
    gx = xp.empty_like(x, dtype=g.dtype)
    flat_g, flat_x, flat_gx = in_memory_order(g, x, gx)
    if xp is not np or flat_g is None:
        xp.bitwise_and(g.view(bits), xp.negative((x > 0).view(np.int8)), out=gx.view(bits))
        return gx

    def keep(run):
        mask = (flat_x[run] > 0).view(np.int8)
        np.bitwise_and(flat_g[run].view(bits), np.negative(mask, out=mask), out=flat_gx[run].view(bits))

    parallel(keep, blocks(x.size, _BLOCK))
    return gx
