"""Sums over all but the channel axis, and scale-and-shift for each channel, as kernels/channel.py has them, on a GPU.

Memory is channels-last, as a matrix of rows of C channels. For a sum, a thread adds up one channel of one run of rows,
in float64, neighbouring threads take neighbouring channels, and the runs are added at the end.
"""

from minigrad.backend import array_module
from minigrad.kernels.cuda.launch import TYPES, Kernel, index_type

_THREADS = 1 << 17  # that are to share in a sum: an H100 holds 270,000
_SHORTEST = 32  # rows in a run


def column_sums(xs, ys=None, mean=None):
    """(C,) in float64: the sums of the columns of xs (rows, C), of xs * ys, or of (xs - mean)^2 for a mean (C,)."""
    xp, (rows, c) = array_module(xs), xs.shape
    runs = max(1, min(rows // _SHORTEST, _THREADS // max(1, c)))
    sums = xp.empty((runs, c), "float64")
    term = "x[i]" if ys is None else "x[i] * (double)y[i]"
    other = xs if ys is None else ys
    if mean is not None:
        term, other = "(x[i] - y[channel]) * (double)(x[i] - y[channel])", mean
    kernel = _column_sums.of(T=TYPES[xs.dtype], INDEX=index_type(xs.size, sums.size), TERM=term)
    kernel(xp, sums.size, xs, other, sums, runs, rows, c)
    return sums.sum(axis=0)


def affine(xs, a, ys, b, shift):
    """xs * a + ys * b + shift for rows (positions, C) and a, b, shift (C,); ys and b may be None."""
    xp = array_module(xs, a, shift)
    a, b, shift = (None if vector is None else xp.ascontiguousarray(vector) for vector in (a, b, shift))
    out = xp.empty_like(xs)
    term = "x[i] * a[channel] + shift[channel]"
    if ys is not None:
        term = "x[i] * a[channel] + (y[i] * b[channel] + shift[channel])"
    kernel = _affine.of(T=TYPES[xs.dtype], INDEX=index_type(xs.size), TERM=term)
    kernel(xp, xs.size, xs, a, xs if ys is None else ys, a if b is None else b, shift, out, xs.size, xs.shape[1])
    return out


_column_sums = Kernel(
    "column_sums",
    r"""
// sums[runs][c]: each run's part of the sum of TERM over the rows of x[rows][c]
extern "C" __global__ void column_sums(const T* __restrict__ x, const T* __restrict__ y, double* __restrict__ sums,
        long long runs, long long rows, long long c) {
    const INDEX thread = (INDEX)THREAD, channel = thread % (INDEX)c, run = thread / (INDEX)c;
    if (THREAD >= runs * c) return;
    double total = 0;
    for (INDEX row = rows * run / runs; row < rows * (run + 1) / runs; row++) {
        const INDEX i = row * (INDEX)c + channel;
        total += TERM;
    }
    sums[thread] = total;
}
""",
    T="float",
    INDEX="int",
    TERM="x[i]",
)

_affine = Kernel(
    "affine",
    r"""
// out[size] = TERM, for x, y and out of rows of c channels
extern "C" __global__ void affine(const T* __restrict__ x, const T* __restrict__ a, const T* __restrict__ y,
        const T* __restrict__ b, const T* __restrict__ shift, T* __restrict__ out, long long size, long long c) {
    const INDEX i = (INDEX)THREAD, channel = i % (INDEX)c;
    if (i < (INDEX)size) out[i] = TERM;
}
""",
    T="float",
    INDEX="int",
    TERM="x[i] * a[channel] + shift[channel]",
)

KERNELS = (_column_sums, _affine)
