"""Products of matrices, shared out to the kernels' own threads.

BLAS has threads of its own, but while a pass lasts they would compete with ours for the cores.
"""

import functools
import math

import numpy as np

from minigrad.kernels.cpu import tuning
from minigrad.kernels.cpu.elementwise import add_bias
from minigrad.kernels.cpu.threads import blocks, parallel, shares, thread_count


@functools.lru_cache
def uncopied_run(rows, length, width):
    """How many of `rows` to multiply at a time by a (length, width) matrix, so that BLAS copies nothing: a divisor of
    `rows`, or all of them where no divisor is close."""
    limit = tuning.UNCOPIED // (length * width)
    return next((run for run in range(min(rows, limit), limit // 4, -1) if rows % run == 0), rows)


def matmul(a, b, out=None):
    """a @ b for stacks of matrices, (..., M, K) by (..., K, N), shared out along the longer of N and M.

    Along K where K is far longer, or where results are so small that NumPy keeps the interpreter's lock for them: then
    each thread has a sum of its own.
    """
    small = a.size * b.shape[-1] < tuning.MIN_MULTIPLICATIONS and a.nbytes + b.nbytes < tuning.MIN_READ_BYTES
    if small or a.dtype != b.dtype or a.dtype.kind != "f":
        return np.matmul(a, b, out=out)
    (m, k), n = a.shape[-2:], b.shape[-1]
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), m, n)
    if k > tuning.LONG_SUM * max(m, n) or math.prod(shape) <= tuning.GIL_HELD_RESULTS * thread_count():
        first, *others = parallel(lambda run: np.matmul(a[..., run], b[..., run, :]), shares(k))
        return np.add(first, sum(others), out=out)

    y = np.empty(shape, a.dtype) if out is None else out
    if n >= m:
        parallel(lambda run: np.matmul(a, b[..., run], out=y[..., run]), shares(n))
    else:
        parallel(lambda run: np.matmul(a[..., run, :], b, out=y[..., run, :]), shares(m))
    return y


def pixels_times(rows, matrix, bias, y, after=None):
    """Fill y (pixels, O): rows (pixels, C) times a matrix (C,O), plus a bias (O,) or None: a 1x1 convolution.

    after(pixels), where given, changes each block of y while it is in the cache.
    """
    c, o = matrix.shape
    few = matrix.size <= tuning.FEW_WEIGHTS
    matrix = np.ascontiguousarray(matrix) if few else matrix

    def fill(block):
        part, target = rows[block], y[block]
        run = uncopied_run(*part.shape, o) if few else len(part)
        matmul(part.reshape(-1, run, c), matrix, out=target.reshape(-1, run, o))
        if bias is not None:
            add_bias(target, bias)
        if after is not None:
            after(target)

    if len(rows):
        parallel(fill, blocks(len(rows), max(tuning.WINDOW_BYTES, matrix.nbytes) // (c * y.itemsize)))
