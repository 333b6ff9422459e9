"""Sums over all but the channel axis, and scale-and-shift for each channel, as cpu/channel.py has them, on a GPU.

Memory is channels-last, as a matrix of rows of C channels. For a sum, a thread adds up one channel of one run of rows,
in float64, neighbouring threads take neighbouring channels, and the runs are added at the end.
"""

from minigrad.device import array_module
from minigrad.kernels.cuda.launch import TYPES, Kernel, floating, index_type
from minigrad.kernels.layout import as_rows, channels_first, channels_last

_THREADS = 1 << 17  # that are to share in a sum: an H100 holds 270,000
_SHORTEST = 32  # rows in a run


def channel_sum(x):
    """(C,) in x's dtype: the sum of x over every axis but 1."""
    rows = _rows(x)
    return NotImplemented if rows is None else _column_sums_of(*rows).astype(x.dtype)


def channel_sum_product(x, y):
    """(C,) in x's dtype: the sum of x*y over every axis but 1."""
    rows = _rows(x, y)
    return NotImplemented if rows is None else _column_sums_of(*rows).astype(x.dtype)


def channel_sums(x, y):
    """(2,C): channel_sum(x) and channel_sum_product(x, y)."""
    rows = _rows(x, y)
    if rows is None:
        return NotImplemented
    return array_module(x).stack([_column_sums_of(rows[0]), _column_sums_of(*rows)]).astype(x.dtype)


def channel_moments(x):
    """Mean and variance (biased) of x over every axis but 1, each (C,) in x's dtype."""
    rows = _rows(x)
    if rows is None:
        return NotImplemented
    count = x.size // x.shape[1]
    mean = (_column_sums_of(*rows) / count).astype(x.dtype)
    return mean, (_column_sums_of(*rows, mean=mean) / count).astype(x.dtype)


def channel_affine(x, scale, shift):
    """x * scale[c] + shift[c]."""
    rows = _rows(x)
    if rows is None or not floating(x, scale, shift):
        return NotImplemented
    return _like(_affine_of(*rows, scale, None, None, shift), x)


def channel_affine2(x, a, y, b, c):
    """x * a[c] + y * b[c] + c[c]."""
    rows = _rows(x, y)
    if rows is None or not floating(x, a, y, b, c):
        return NotImplemented
    return _like(_affine_of(rows[0], a, rows[1], b, c), x)


def concatenate(xs, axis):
    """Arrays (N,C,H,W) joined along channels, channels-last."""
    if axis != 1 or xs[0].ndim != 4:
        return NotImplemented
    return channels_first(array_module(*xs).concatenate([channels_last(x) for x in xs], 3))


def _rows(*arrays):
    """Channels-last arrays as (positions, C) rows; None where one is not so, or not float32 or float64."""
    rows = [as_rows(x) for x in arrays]
    return None if any(r is None for r in rows) or not floating(*arrays) else rows


def _like(rows, x):
    """(positions, C) rows seen as (N, C, ...)."""
    return array_module(rows).moveaxis(rows.reshape(x.shape[0], *x.shape[2:], x.shape[1]), -1, 1)


def _column_sums_of(xs, ys=None, mean=None):
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


def _affine_of(xs, a, ys, b, shift):
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
