"""The depthwise convolution: one input channel in each group, so that there is nothing to multiply by cuBLAS.

A thread gives one number: of the output, of the input's gradient, or one run of a weight's gradient, whose runs are
added at the end. Weights are as ever (O,1,KH,KW), with O a multiple of C: output channel o reads input channel
o / (O/C).
"""

import math

from minigrad.device import array_module
from minigrad.kernels.cuda.launch import TYPES, Kernel, index_type

_THREADS = 1 << 17  # that are to share in a weight gradient: an H100 holds 270,000
_SHORTEST = 64  # positions in a run


def forward(x, w, bias, out, geometry, rectify):
    """Fill out (N,OH,OW,O) from x (N,H,W,C), both contiguous."""
    xp, w = array_module(x, w), array_module(w).ascontiguousarray(w)
    flags = (0 if bias is None else 1, int(rectify))
    kernel = _forward.of(T=TYPES[x.dtype], INDEX=index_type(x.size, out.size))
    kernel(xp, out.size, x, w, w if bias is None else bias, out, *_sizes(x, out), *geometry, *flags)


def input_grad(g, w, out, geometry):
    """Fill out (N,H,W,C) from g (N,OH,OW,O), both contiguous."""
    xp, w = array_module(g, w), array_module(w).ascontiguousarray(w)
    kernel = _input_grad.of(T=TYPES[g.dtype], INDEX=index_type(g.size, out.size))
    kernel(xp, out.size, g, w, out, *_sizes(out, g), *geometry)


def weight_grad(x, g, geometry):
    """gw (O,1,KH,KW) of x (N,H,W,C) and g (N,OH,OW,O), both contiguous."""
    xp, o, positions, taps = array_module(x, g), g.shape[3], math.prod(g.shape[:3]), geometry[0] * geometry[1]
    runs = max(1, min(positions // _SHORTEST, _THREADS // (o * taps)))
    sums = xp.empty((runs, taps, o), x.dtype)
    kernel = _weight_grad.of(T=TYPES[x.dtype], INDEX=index_type(x.size, g.size, sums.size))
    kernel(xp, sums.size, x, g, sums, runs, positions, *_sizes(x, g), *geometry)
    return xp.ascontiguousarray(sums.sum(axis=0).T).reshape(o, 1, *geometry[:2])


def _sizes(x, y):
    """n, h, w, c of the input and oh, ow, o of the output."""
    return (*x.shape, *y.shape[1:])


_SIZES = r"""long long n, long long h_, long long w_, long long c_, long long oh_, long long ow_, long long o_,
        long long kh_, long long kw_, long long sh_, long long sw_, long long ph_, long long pw_, long long dh_,
        long long dw_"""
_SHORT = r"""const INDEX h = h_, w = w_, c = c_, oh = oh_, ow = ow_, o = o_, each = o / c;
    const INDEX kh = kh_, kw = kw_, sh = sh_, sw = sw_, ph = ph_, pw = pw_, dh = dh_, dw = dw_;"""


def _kernel(name, code):
    code = code.replace("SIZES", _SIZES).replace("SHORT", _SHORT)
    return Kernel(name, code, T="float", INDEX="int")


_forward = _kernel(
    "depthwise",
    r"""
// out[n][oh][ow][o] of x[n][h][w][c] and weights[o][kh][kw]; plus bias[o], and rectified (a NaN stays)
extern "C" __global__ void depthwise(const T* __restrict__ x, const T* __restrict__ weights,
        const T* __restrict__ bias, T* __restrict__ out, SIZES, long long with_bias, long long rectify) {
    SHORT
    const INDEX i = (INDEX)THREAD;
    if (THREAD >= n * oh * ow * o) return;
    const INDEX channel = i % o, position = i / o, column = position % ow, above = position / ow;
    const INDEX row = above % oh, image = above / oh;
    T total = with_bias ? bias[channel] : (T)0;
    for (INDEX a = 0; a < kh; a++) {
        const INDEX r = row * sh - ph + a * dh;
        if (r < 0 || r >= h) continue;
        for (INDEX b = 0; b < kw; b++) {
            const INDEX s = column * sw - pw + b * dw;
            if (s < 0 || s >= w) continue;
            total += x[((image * h + r) * w + s) * c + channel / each] * weights[(channel * kh + a) * kw + b];
        }
    }
    out[i] = rectify && total <= 0 ? (T)0 : total;
}
""",
)

_input_grad = _kernel(
    "depthwise_input_grad",
    r"""
// out[n][h][w][c] of g[n][oh][ow][o] and weights[o][kh][kw]
extern "C" __global__ void depthwise_input_grad(const T* __restrict__ g, const T* __restrict__ weights,
        T* __restrict__ out, SIZES) {
    SHORT
    const INDEX i = (INDEX)THREAD;
    if (THREAD >= n * h * w * c) return;
    const INDEX channel = i % c, pixel = i / c, column = pixel % w, above = pixel / w, row = above % h;
    const INDEX image = above / h;
    T total = 0;
    for (INDEX a = 0; a < kh; a++) {
        const INDEX top = row + ph - a * dh, r = top / sh;
        if (top < 0 || r * sh != top || r >= oh) continue;
        for (INDEX b = 0; b < kw; b++) {
            const INDEX left = column + pw - b * dw, s = left / sw;
            if (left < 0 || s * sw != left || s >= ow) continue;
            for (INDEX k = channel * each; k < (channel + 1) * each; k++)
                total += g[((image * oh + r) * ow + s) * o + k] * weights[(k * kh + a) * kw + b];
        }
    }
    out[i] = total;
}
""",
)

_weight_grad = _kernel(
    "depthwise_weight_grad",
    r"""
// sums[runs][kh][kw][o]: each run's part of the sum over all positions of x[n][h][w][c] times g[n][oh][ow][o]
extern "C" __global__ void depthwise_weight_grad(const T* __restrict__ x, const T* __restrict__ g,
        T* __restrict__ sums, long long runs, long long positions, SIZES) {
    SHORT
    const INDEX i = (INDEX)THREAD;
    if (THREAD >= runs * kh * kw * o) return;
    const INDEX channel = i % o, at_b = i / o, b = at_b % kw, at_a = at_b / kw, a = at_a % kh, run = at_a / kh;
    T total = 0;
    for (INDEX position = positions * run / runs; position < positions * (run + 1) / runs; position++) {
        const INDEX column = position % ow, above = position / ow, row = above % oh, image = above / oh;
        const INDEX r = row * sh - ph + a * dh, s = column * sw - pw + b * dw;
        if (r >= 0 && r < h && s >= 0 && s < w)
            total += x[((image * h + r) * w + s) * c + channel / each] * g[position * o + channel];
    }
    sums[i] = total;
}
""",
)

KERNELS = (_forward, _input_grad, _weight_grad)
