"""The stand-in's RawKernel runs CUDA source, and refuses what would be a fault or a wrong result on a GPU."""

import numpy as np
import pytest

from tests.standin import cublas, raw_kernel

pytestmark = pytest.mark.skipif(raw_kernel.COMPILER is None, reason="no C++ compiler: the kernels' source is not run")

ADD = r"""
struct Sizes { long long first, count; };
extern "C" __global__ void add(const float* __restrict__ x, double* y, float by, const Sizes sizes) {
    const long long i = sizes.first + (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < sizes.count) y[i] = x[i] + by;
}
"""


def sizes(*numbers):
    return np.array(numbers, np.int64).view(f"V{8 * len(numbers)}")


def test_threads_and_blocks(standin):
    x, y = standin.arange(10, dtype=np.float32), standin.zeros(10)
    standin.RawKernel(ADD, "add")((3,), (4,), (x, y, np.float32(0.5), sizes(2, 9)))
    assert y.tolist() == [0, 0, *[i + 0.5 for i in range(2, 9)], 0]
    where = r"""extern "C" __global__ void where(long long* out) {
        const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
        const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
        out[block * blockDim.x * blockDim.y * blockDim.z + thread] += block * 1000 + thread;
    }"""
    out = standin.zeros(2 * 3 * 4 * 5 * 6 * 7, dtype=np.int64)
    standin.RawKernel(where, "where")((2, 3, 4), (5, 6, 7), (out,))
    assert out.tolist() == [block * 1000 + thread for block in range(24) for thread in range(210)]


def test_what_cupy_would_pass_on_without_a_word_is_refused(standin):
    kernel = standin.RawKernel(ADD, "add")
    x, y, by, n = standin.arange(10, dtype=np.float32), standin.zeros(10), np.float32(1), sizes(0, 10)
    for wrong, error, sentence in (
        ((x, y, by), TypeError, "has 4 parameters, got 3"),
        ((y, y, by, n), TypeError, "argument 0 is a pointer to float32, got an array of float64"),
        ((x.get(), y, by, n), TypeError, "argument 0 must be an array on the device"),
        ((x, y, 1.0, n), TypeError, "argument 2 is a float32"),
        ((x, y, by, 10), TypeError, "argument 3 is"),
        ((x, y, by, sizes(0, 10, 3)), TypeError, "argument 3 is"),
    ):
        with pytest.raises(error, match=sentence):
            kernel((1,), (32,), wrong)
    for grid, block in (((0,), (1,)), ((1,), (2048,)), ((1, 70000), (1,)), ((1,), (64, 32)), ((1.0,), (1,))):
        with pytest.raises(ValueError):
            kernel(grid, block, (x, y, by, n))
    four = r'extern "C" __global__ void four(const float4* x) {}'
    standin.RawKernel(four, "four")((1,), (1,), (x,))
    with pytest.raises(ValueError, match="not aligned to 16 bytes"):
        standin.RawKernel(four, "four")((1,), (1,), (x[1:],))
    with pytest.raises(RuntimeError, match="does not compile"):
        standin.RawKernel('extern "C" __global__ void bad() { nothing; }', "bad")((1,), (1,), ())
    with standin.cuda.Device(1), pytest.raises(ValueError, match="different from the current device"):
        kernel((1,), (32,), (x, y, by, n))


def test_cublas_multiplies_columns(standin):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 4, 5))
    x, y, out = standin.asarray(a), standin.asarray(b), standin.zeros((2, 3, 5))
    one = np.ones(1)
    gemm, pointers = standin.cuda.cublas.dgemmStridedBatched, (y.data.ptr, 5, 20, x.data.ptr, 4, 12)
    for times in (1, 2):  # out^T += b^T a^T
        gemm(7, 0, 0, 5, 3, 4, one.ctypes.data, *pointers, one.ctypes.data, out.data.ptr, 5, 15, 2)
        np.testing.assert_allclose(out.get(), times * (a @ b))


def test_tf32_keeps_ten_bits():
    values = np.array([1, 1 + 2**-10, 1 + 2**-11, 1 + 2**-12, -3.14159, 1e30], np.float32)
    rounded = cublas.tf32(values)
    assert rounded[:4].tolist() == [1, 1 + 2**-10, 1 + 2**-10, 1]
    assert (np.abs(rounded - values) <= 2.0**-11 * np.abs(values)).all()
