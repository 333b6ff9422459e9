"""Products of matrices, shared out to the kernels' own threads.

BLAS has threads of its own, but they would come on top of ours, which wait spinning while a pass lasts.
"""

import math

import numpy as np

from minigrad.kernels.cpu.threads import parallel, shares, thread_count

UNCOPIED = 10**6  # OpenBLAS multiplies (a, b) by (b, c) without first copying them while a * b * c is at most this
_SMALL = 1 << 22  # multiplications: a product with fewer is done before our threads have started
_SHORT = 1 << 20  # numbers: unless it reads more, which two cores do faster than one
_HELD = 500  # numbers in the results of a stack, up to which NumPy's matmul holds the interpreter's lock throughout


def uncopied_run(rows, length, width):
    """How many of `rows` to multiply at a time by a (length, width) matrix, so that BLAS copies nothing: a divisor of
    `rows`, or all of them where no divisor is close."""
    limit = UNCOPIED // (length * width)
    return next((run for run in range(min(rows, limit), limit // 4, -1) if rows % run == 0), rows)


def matmul(a, b, out=None):
    """a @ b for stacks of matrices, (..., M, K) by (..., K, N), cut along N or M.

    Along K where K is far longer, or results of shares of N and M are so small that one thread holds up the others.
    """
    small = a.size * b.shape[-1] < _SMALL and a.size + b.size < _SHORT
    if small or a.dtype != b.dtype or a.dtype.kind != "f":
        return np.matmul(a, b, out=out)
    (m, k), n = a.shape[-2:], b.shape[-1]
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), m, n)
    if k > 32 * max(m, n) or math.prod(shape) <= _HELD * thread_count():
        first, *others = parallel(lambda run: np.matmul(a[..., run], b[..., run, :]), shares(k))
        return np.add(first, sum(others), out=out)

    y = np.empty(shape, a.dtype) if out is None else out
    if n >= m:
        parallel(lambda run: np.matmul(a, b[..., run], out=y[..., run]), shares(n))
    else:
        parallel(lambda run: np.matmul(a[..., run, :], b, out=y[..., run, :]), shares(m))
    return y
