"""Pooling on a GPU, forward and back, with the functions, ties and NaNs of cpu/pooling.py.

On the way forward a thread gives one number of the output, walking its window tap by tap; on the way back, one number
of the input's gradient, walking the windows over it: what a scattered addition would do, in a fixed order.
"""

import numpy as np

from minigrad.device import array_module
from minigrad.kernels.cuda.launch import TYPES, Kernel, floating, index_type, rows_of
from minigrad.kernels.layout import channels_last, empty_channels_last
from minigrad.kernels.plain import output_hw

_WINNERS = {np.dtype(np.uint8): "unsigned char", np.dtype(np.uint16): "unsigned short", np.dtype(np.uint32): "unsigned"}


def _fits(x, winner=None):
    """Whether this file can pool x: float32 or float64 on a GPU, with winners as max_pool gives them."""
    return floating(x) and (winner is None or winner.dtype in _WINNERS)


def max_pool(x, kernel, stride, padding, dilation, ceil_mode, with_winner=True):
    """(y, winner or None) of x (N,C,H,W)."""
    if not _fits(x):
        return NotImplemented
    shape = (*x.shape[:2], *output_hw(x.shape[2:], kernel, stride, padding, dilation, ceil_mode))
    y = empty_channels_last(shape, x.dtype, x)
    winner = empty_channels_last(shape, np.min_scalar_type(kernel[0] * kernel[1] - 1), x) if with_winner else None
    word = TYPES[x.dtype] if winner is None else _WINNERS[winner.dtype]
    x, out = rows_of(x), channels_last(y)
    arrays = (x, out, out if winner is None else channels_last(winner))
    _launch(_max_pool, arrays, out, x, out, (*kernel, *stride, *padding, *dilation, int(with_winner)), WINNER=word)
    return y, winner


def window_scatter(g, winner, input_hw, kernel, stride, padding, dilation):
    """gx (N,C,*input_hw): every g (N,C,OH,OW) added where `winner` says its window's value came from."""
    if not _fits(g, winner):
        return NotImplemented
    gx = empty_channels_last((*g.shape[:2], *input_hw), g.dtype, g)
    g, winner, out = rows_of(g), rows_of(winner), channels_last(gx)
    geometry, word = (*kernel, *stride, *padding, *dilation), _WINNERS[winner.dtype]
    _launch(_window_scatter, (g, winner, out), out, out, g, geometry, WINNER=word)
    return gx


def window_gather(x, winner, kernel, stride, padding, dilation):
    """y (N,C,OH,OW): the value of x (N,C,H,W) that each window's `winner` names."""
    if not _fits(x, winner):
        return NotImplemented
    y = empty_channels_last(winner.shape, x.dtype, x)
    x, winner, out = rows_of(x), rows_of(winner), channels_last(y)
    geometry, word = (*kernel, *stride, *padding, *dilation), _WINNERS[winner.dtype]
    _launch(_window_gather, (x, winner, out), out, x, out, geometry, WINNER=word)
    return y


def window_sum(x, kernel, stride, padding, ceil_mode=False):
    """y (N,C,OH,OW): the sum of every window of x (N,C,H,W)."""
    if not _fits(x):
        return NotImplemented
    out_hw = output_hw(x.shape[2:], kernel, stride, padding, ceil_mode=ceil_mode)
    y = empty_channels_last((*x.shape[:2], *out_hw), x.dtype, x)
    x, out = rows_of(x), channels_last(y)
    _launch(_window_sum, (x, out), out, x, out, (*kernel, *stride, *padding, 1, 1))
    return y


def window_spread(g, input_hw, kernel, stride, padding):
    """gx (N,C,*input_hw): every g (N,C,OH,OW) added all over its window."""
    if not _fits(g):
        return NotImplemented
    gx = empty_channels_last((*g.shape[:2], *input_hw), g.dtype, g)
    g, out = rows_of(g), channels_last(gx)
    _launch(_window_spread, (g, out), out, out, g, (*kernel, *stride, *padding, 1, 1))
    return gx


def _launch(kernel, arrays, out, image, windows, numbers, **words):
    """One thread for each element of out; image is the (N,H,W,C) array, windows the (N,OH,OW,C) one."""
    kernel = kernel.of(T=TYPES[out.dtype], INDEX=index_type(image.size, windows.size), **words)
    kernel(array_module(out), out.size, *arrays, *image.shape, *windows.shape[1:3], *numbers)


# ---------------------------------------------------------------------------------------------------------------------
# CUDA source
# ---------------------------------------------------------------------------------------------------------------------

_SIZES = r"""long long n, long long h_, long long w_, long long c_, long long oh_, long long ow_, long long kh_,
        long long kw_, long long sh_, long long sw_, long long ph_, long long pw_, long long dh_, long long dw_"""

_OF_WINDOWS = r"""
    const INDEX h = h_, w = w_, c = c_, oh = oh_, ow = ow_, i = (INDEX)THREAD;
    const INDEX kh = kh_, kw = kw_, sh = sh_, sw = sw_, ph = ph_, pw = pw_, dh = dh_, dw = dw_;
    if (THREAD >= n * oh * ow * c) return;
    const INDEX channel = i % c, position = i / c, column = position % ow, above = position / ow;
    const INDEX row = above % oh, image = above / oh, top = row * sh - ph, left = column * sw - pw;
    const T* source = x + image * h * w * c + channel;
"""

_OF_PIXELS = r"""
    const INDEX h = h_, w = w_, c = c_, oh = oh_, ow = ow_, i = (INDEX)THREAD;
    const INDEX kh = kh_, kw = kw_, sh = sh_, sw = sw_, ph = ph_, pw = pw_, dh = dh_, dw = dw_;
    if (THREAD >= n * h * w * c) return;
    const INDEX channel = i % c, pixel = i / c, column = pixel % w, above = pixel / w;
    const INDEX row = above % h, image = above / h;
    T total = 0;
    for (INDEX a = 0; a < kh; a++) {
        const INDEX down = row + ph - a * dh, r = down / sh;
        if (down < 0 || r * sh != down || r >= oh) continue;
        for (INDEX b = 0; b < kw; b++) {
            const INDEX across = column + pw - b * dw, s = across / sw;
            if (across < 0 || s * sw != across || s >= ow) continue;
            const INDEX place = ((image * oh + r) * ow + s) * c + channel;
            ADD;
        }
    }
    gx[i] = total;
"""


def _kernel(name, code, **words):
    for part, text in (("OF_WINDOWS", _OF_WINDOWS), ("OF_PIXELS", _OF_PIXELS), ("SIZES", _SIZES)):
        code = code.replace(part, text.strip())
    return Kernel(name, code, T="float", INDEX="int", **words)


_max_pool = _kernel(
    "max_pool",
    r"""
// y[n][oh][ow][c], the largest value of each window of x[n][h][w][c], and its tap a * kw + b: the first of equals, the
// last NaN, and the first tap inside x where all are -infinity
extern "C" __global__ void max_pool(const T* __restrict__ x, T* __restrict__ y, WINNER* __restrict__ winner, SIZES,
        long long with_winner) {
    OF_WINDOWS
    T best = (T)(-1e300 * 1e300);  // -infinity
    INDEX which = (top < 0 ? (dh - 1 - top) / dh : 0) * kw + (left < 0 ? (dw - 1 - left) / dw : 0);
    for (INDEX a = 0; a < kh; a++) {
        const INDEX r = top + a * dh;
        if (r < 0 || r >= h) continue;
        for (INDEX b = 0; b < kw; b++) {
            const INDEX s = left + b * dw;
            if (s < 0 || s >= w) continue;
            const T value = source[(r * w + s) * c];
            if (value > best || value != value) {
                best = value;
                which = a * kw + b;
            }
        }
    }
    y[i] = best;
    if (with_winner) winner[i] = (WINNER)which;
}
""",
    WINNER="unsigned char",
)

_window_scatter = _kernel(
    "window_scatter",
    r"""
// gx[n][h][w][c]: the sum of g[n][oh][ow][c] over the windows that each pixel won
extern "C" __global__ void window_scatter(const T* __restrict__ g, const WINNER* __restrict__ winner,
        T* __restrict__ gx, SIZES) {
    OF_PIXELS
}
""",
    WINNER="unsigned char",
    ADD="if ((INDEX)winner[place] == a * kw + b) total += g[place]",
)

_window_gather = _kernel(
    "window_gather",
    r"""
// y[n][oh][ow][c]: the value of x[n][h][w][c] at each window's winner, 0 where that is outside x
extern "C" __global__ void window_gather(const T* __restrict__ x, const WINNER* __restrict__ winner,
        T* __restrict__ y, SIZES) {
    OF_WINDOWS
    const INDEX tap = winner[i], r = top + tap / kw * dh, s = left + tap % kw * dw;
    y[i] = tap < kh * kw && r >= 0 && r < h && s >= 0 && s < w ? source[(r * w + s) * c] : (T)0;
}
""",
    WINNER="unsigned char",
)

_window_sum = _kernel(
    "window_sum",
    r"""
// y[n][oh][ow][c]: the sum of each window of x[n][h][w][c]
extern "C" __global__ void window_sum(const T* __restrict__ x, T* __restrict__ y, SIZES) {
    OF_WINDOWS
    double total = 0;  // a window may be a whole image
    for (INDEX a = 0; a < kh; a++) {
        const INDEX r = top + a * dh;
        if (r < 0 || r >= h) continue;
        for (INDEX b = 0; b < kw; b++) {
            const INDEX s = left + b * dw;
            if (s >= 0 && s < w) total += source[(r * w + s) * c];
        }
    }
    y[i] = (T)total;
}
""",
)

_window_spread = _kernel(
    "window_spread",
    r"""
// gx[n][h][w][c]: the sum of g[n][oh][ow][c] over the windows over each pixel
extern "C" __global__ void window_spread(const T* __restrict__ g, T* __restrict__ gx, SIZES) {
    OF_PIXELS
}
""",
    ADD="total += g[place]",
)

KERNELS = (_max_pool, _window_scatter, _window_gather, _window_sum, _window_spread)
