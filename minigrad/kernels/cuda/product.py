"""Products of stacks of matrices by cuBLAS, without copies.

cupy.matmul copies an operand that is a transposed view. Here a transposed operand costs nothing, and a product can be
added to what is there, as sums over blocks need it. cuBLAS counts matrices by columns: to it, our row-major A (M,K) is
A^T, so it is asked for out^T = B^T A^T.

float32 products are float32's, each rounding within 2^-24, unless `with tf32():` lets the tensor cores do them: they
read float32 numbers to 10 bits of mantissa (rounding errors up to 2^-11 for each factor) and add in float32.
"""

import functools

import numpy as np

from minigrad.device import array_module
from minigrad.kernels.modes import tf32_allowed

_TF32_MATH = 3  # CUBLAS_TF32_TENSOR_OP_MATH
_numbers = {dtype: np.array([0, 1], dtype) for dtype in (np.float32, np.float64)}
_zero_one = {np.dtype(dtype): (pair.ctypes.data, pair.ctypes.data + pair.itemsize) for dtype, pair in _numbers.items()}


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


def matmul(a, b):
    """a @ b of stacks of matrices by CuPy; within `tf32`, by the tensor cores."""
    if not tf32_allowed():
        return NotImplemented
    xp = array_module(a, b)
    with _math_mode(_cublas(xp), xp.cuda.get_cublas_handle()):
        return xp.matmul(a, b)


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
