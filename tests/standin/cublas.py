"""The few functions of `cupy.cuda.cublas` that the kernels call, by NumPy, on addresses as cuBLAS takes them."""

import ctypes
import threading

import numpy as np

CUBLAS_DEFAULT_MATH, CUBLAS_TF32_TENSOR_OP_MATH = 0, 3
_HANDLE = 7
_mode = threading.local()
calls: list = []  # (m, n, k, batch) of all products, in order; for tests to count


def get_cublas_handle():
    return _HANDLE


def getMathMode(handle):
    assert handle == _HANDLE
    return getattr(_mode, "value", CUBLAS_DEFAULT_MATH)


def setMathMode(handle, mode):
    assert handle == _HANDLE and mode in (CUBLAS_DEFAULT_MATH, CUBLAS_TF32_TENSOR_OP_MATH)
    _mode.value = mode


def sgemmStridedBatched(*args):
    _strided_batched(np.dtype(np.float32), *args)


def dgemmStridedBatched(*args):
    _strided_batched(np.dtype(np.float64), *args)


def _strided_batched(
    dtype, handle, transa, transb, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, count
):
    """C = alpha op(A) op(B) + beta C for `count` triples of column-major matrices; all are addresses but the sizes."""
    assert handle == _HANDLE and min(m, n, k, count) >= 1
    assert max(m, n, k, lda, ldb, ldc, count) < 2**31
    a_shape, b_shape = ((k, m) if transa else (m, k)), ((n, k) if transb else (k, n))
    assert lda >= a_shape[0] and ldb >= b_shape[0] and ldc >= m
    mats_a = _matrices(dtype, a, *a_shape, lda, stride_a, count)
    mats_b = _matrices(dtype, b, *b_shape, ldb, stride_b, count)
    target = _matrices(dtype, c, m, n, ldc, stride_c, count)
    scale, keep = (_matrices(dtype, pointer, 1, 1, 1, 1, 1)[0, 0, 0] for pointer in (alpha, beta))
    if dtype == np.float32 and getMathMode(handle) == CUBLAS_TF32_TENSOR_OP_MATH:
        mats_a, mats_b = tf32(mats_a), tf32(mats_b)
    product = np.matmul(
        mats_a.swapaxes(1, 2) if transa else mats_a, mats_b.swapaxes(1, 2) if transb else mats_b, dtype=dtype
    )
    target[...] = scale * product if keep == 0 else scale * product + keep * target  # beta 0: C is not read
    calls.append((m, n, k, count))


def tf32(values):
    """float32 rounded to the 10 bits of mantissa that TF32 keeps, halves away from zero."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32)


def _matrices(dtype, address, rows, columns, leading, stride, count):
    """(count, rows, columns): column-major matrices at an address."""
    size = (count - 1) * stride + (columns - 1) * leading + rows
    memory = (ctypes.c_byte * (size * dtype.itemsize)).from_address(int(address))
    flat = np.frombuffer(memory, dtype)
    strides = [dtype.itemsize * step for step in (stride, 1, leading)]
    return np.lib.stride_tricks.as_strided(flat, (count, rows, columns), strides)
