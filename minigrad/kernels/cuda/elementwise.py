"""Elementwise passes that would be several on CuPy's ufuncs: bias and rectifier, and the rectifier's gradient."""

from minigrad.device import array_module
from minigrad.kernels.cuda.launch import TYPES, Kernel, floating, index_type, on_gpu
from minigrad.kernels.layout import in_memory_order

_bias_relu = Kernel(
    "bias_relu",
    r"""
// y[size] += bias[c], the last axis of y being c; and rectified (a NaN stays)
extern "C" __global__ void bias_relu(T* __restrict__ y, const T* __restrict__ bias, long long size, long long c,
        long long with_bias, long long rectify) {
    const INDEX i = (INDEX)THREAD;
    if (i >= (INDEX)size) return;
    const T value = y[i] + (with_bias ? bias[i % (INDEX)c] : (T)0);
    y[i] = rectify && value <= 0 ? (T)0 : value;
}
""",
    T="float",
    INDEX="int",
)

_relu_grad = Kernel(
    "relu_grad",
    r"""
// gx = g where x > 0, else 0, also where g is infinite or a NaN
extern "C" __global__ void relu_grad(const T* __restrict__ g, const T* __restrict__ x, T* __restrict__ gx,
        long long size) {
    const long long i = THREAD;
    if (i < size) gx[i] = x[i] > 0 ? g[i] : (T)0;
}
""",
    T="float",
)

KERNELS = (_bias_relu, _relu_grad)


def bias_relu(y, bias, rectify):
    """y (positions, C), contiguous, plus bias (C,) or None, and then rectified if so asked; in place."""
    kernel = _bias_relu.of(T=TYPES[y.dtype], INDEX=index_type(y.size))
    flags = (0 if bias is None else 1, int(rectify))
    kernel(array_module(y), y.size, y, y if bias is None else bias, y.size, y.shape[1], *flags)


def add(a, b):
    """a + b, channels-last where a is: CuPy's sum would not be."""
    alike = type(a) is type(b) and a.shape == b.shape and a.dtype == b.dtype
    if not alike or not on_gpu(a, b):
        return NotImplemented
    return array_module(a, b).add(a, b, out=array_module(a).empty_like(a))


def relu(x):
    """max(x, 0), channels-last where x is."""
    xp = array_module(x)
    return xp.maximum(x, 0, out=xp.empty_like(x))


def relu_grad(g, x):
    """g where x > 0, else 0, in x's memory order."""
    if not floating(g, x) or g.shape != x.shape:
        return NotImplemented
    xp = array_module(g, x)
    gx = xp.empty_like(x)
    flat_g, flat_x, flat_gx = in_memory_order(g, x, gx)
    if flat_g is None:
        return NotImplemented
    _relu_grad.of(T=TYPES[x.dtype])(xp, x.size, flat_g, flat_x, flat_gx, x.size)
    return gx
