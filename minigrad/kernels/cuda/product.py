"""Products of stacks of matrices by cuBLAS, without copies.

cupy.matmul copies an operand that is a transposed view. Here a transposed operand costs nothing, and a product can be
added to what is there, as sums over blocks need it. cuBLAS counts matrices by columns: to it, our row-major A (M,K) is
A^T, so it is asked for out^T = B^T A^T.

float32 products are float32's, each rounding within 2^-24, unless `with tf32():` lets the tensor cores do them: they
read float32 numbers to 10 bits of mantissa (rounding errors up to 2^-11 for each factor) and add in float32.
"""

import functools
import threading
from contextlib import contextmanager

import numpy as np

from minigrad.backend import array_module

_TF32_MATH = 3  # CUBLAS_TF32_TENSOR_OP_MATH
_numbers = {dtype: np.array([0, 1], dtype) for dtype in (np.float32, np.float64)}
_zero_one = {np.dtype(dtype): (pair.ctypes.data, pair.ctypes.data + pair.itemsize) for dtype, pair in _numbers.items()}
_allowed = threading.local()


@contextmanager
def tf32(allow=True):
    """Within `with tf32():`, this thread's float32 products on a GPU may round their factors to TF32.

    A sum of K products is then wrong by up to about 2^-10 of the sum of their magnitudes, and as a rule by far less,
    where float32 is within K * 2^-24 of it. Winograd's transforms add to that: of the largest output of one 3x3 layer,
    2.4e-3 with it and 3e-4 with conv_algorithm("direct"), where float32 has 1.4e-6 and 5e-7 (with TF32 emulated, by
    rounding factors). Single pixels of a deep network's gradient can be off by a fifth of the largest one.
    Faster on GPUs of compute capability 8.0 or more, no effect elsewhere. Off unless asked for.
    """
    before = tf32_allowed()
    _allowed.value = bool(allow)
    try:
        yield
    finally:
        _allowed.value = before


def tf32_allowed():
    """Whether this thread is within `with tf32():`."""
    return getattr(_allowed, "value", False)


def multiply(a, b, out, transpose_a=False, transpose_b=False, add=False):
    """Fill out (S,M,N) with a (S,M,K) times b (S,K,N), or add it to out; float32 or float64.

    transpose_a, transpose_b: a is (S,K,M), b is (S,N,K). Rows must be contiguous, and may have gaps between them.
    """
    xp = array_module(a, b, out)
    count, m, n = out.shape
    k = a.shape[1] if transpose_a else a.shape[2]
    if out.size == 0:
        return
    if k == 0:
        if not add:
            out[...] = 0
        return
    cublas, handle = _cublas(xp), xp.cuda.get_cublas_handle()
    size, (zero, one) = out.itemsize, _zero_one[out.dtype]
    gemm = cublas.sgemmStridedBatched if out.dtype == np.float32 else cublas.dgemmStridedBatched
    operands = []
    for matrix in (b, a, out):
        stack, row, _ = matrix.strides
        operands += matrix.data.ptr, max(row // size, matrix.shape[2]), stack // size
    first, second, third = operands[:3], operands[3:6], operands[6:]
    sizes = int(transpose_b), int(transpose_a), n, m, k
    with _math_mode(cublas, handle):
        gemm(handle, *sizes, one, *first, *second, one if add else zero, *third, count)


def matmul_tf32(xp, a, b, out=None):
    """xp.matmul within `tf32`, on a GPU."""
    if not hasattr(xp, "cuda"):
        return xp.matmul(a, b, out=out)
    with _math_mode(_cublas(xp), xp.cuda.get_cublas_handle()):
        return xp.matmul(a, b, out=out)


@functools.cache
def _cublas(xp):
    return xp.cuda.cublas


class _math_mode:
    """This thread's cuBLAS, on the current GPU, set to what `tf32` allows."""

    def __init__(self, cublas, handle):
        self.cublas, self.handle = cublas, handle

    def __enter__(self):
        if allowed := tf32_allowed():
            self.before = self.cublas.getMathMode(self.handle)
            self.cublas.setMathMode(self.handle, _TF32_MATH)
        self.changed = allowed

    def __exit__(self, *exception):
        if self.changed:
            self.cublas.setMathMode(self.handle, self.before)
