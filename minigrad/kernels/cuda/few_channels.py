"""The convolution where few values meet in each output, as in a network's first layer: no columns, no cuBLAS.

A thread takes V neighbouring output channels of `_PIXELS` neighbouring output pixels: for each tap and input channel it
reads V weights and one number for each pixel. Neighbouring threads take neighbouring output channels, so that a warp
reads the same numbers of x and runs of the weights, which are (KH*KW*C, O). With bias and rectifier.
"""

import math

from minigrad.device import array_module
from minigrad.kernels.cuda.launch import TYPES, Kernel, index_type, lanes
from minigrad.kernels.frozen import form_or_new

_MOST = 64  # values to an output; an RGB image's 3x3 windows have 27
_PIXELS = 4


def fits(weight_shape):
    """Whether the weight (O,C,KH,KW) is of few values for each output."""
    return math.prod(weight_shape[1:]) <= _MOST and weight_shape[0] >= 8


def forward(x, w, bias, out, geometry, rectify):
    """Fill out (N,OH,OW,O) from x (N,H,W,C), both contiguous, and w (O,C,KH,KW)."""
    xp, (n, oh, ow, o) = array_module(x, w), out.shape
    weights = _by_tap(w)
    runs = -(-ow // _PIXELS)
    v = lanes(o, weights, out)
    kernel = _few_channels.of(T=TYPES[x.dtype], V=v, INDEX=index_type(x.size, out.size))
    flags = (0 if bias is None else 1, int(rectify))
    sizes = (n * oh * runs, runs, oh, ow, *x.shape[1:], o)
    kernel(xp, n * oh * runs * (o // v), x, weights, weights if bias is None else bias, out, *sizes, *geometry, *flags)


def _by_tap(w):
    """(KH*KW*C, O): the weights, output channels fastest; kept where the weight is frozen."""
    o, c, kh, kw = w.shape

    def fill(matrix):
        matrix.reshape(kh, kw, c, o)[...] = w.transpose(2, 3, 1, 0)

    return form_or_new(w, "by tap", (kh * kw * c, o), fill)


_few_channels = Kernel(
    "few_channels",
    r"""
// out[n][oh][ow][o] of x[n][h][w][c] and weights[kh][kw][c][o]; plus bias[o], and rectified (a NaN stays)
extern "C" __global__ void few_channels(const T* __restrict__ x, const T* __restrict__ weights,
        const T* __restrict__ bias, T* __restrict__ out, long long all_runs, long long runs, long long oh, long long ow,
        long long h, long long w, long long c, long long o, long long kh, long long kw, long long sh, long long sw,
        long long ph, long long pw, long long dh, long long dw, long long with_bias, long long rectify) {
    const INDEX i = (INDEX)THREAD, packs = (INDEX)o / V;
    if (THREAD >= all_runs * packs) return;
    const INDEX pack = i % packs, run = i / packs, first = run % (INDEX)runs * PIXELS, above = run / (INDEX)runs;
    const INDEX row = above % (INDEX)oh, image = above / (INDEX)oh;
    T total[PIXELS][V] = {};
    for (int a = 0; a < (int)kh; a++) {
        const INDEX r = row * (INDEX)sh - (INDEX)ph + a * (INDEX)dh;
        if (r < 0 || r >= (INDEX)h) continue;
        for (int b = 0; b < (int)kw; b++) {
            const INDEX s = first * (INDEX)sw - (INDEX)pw + b * (INDEX)dw;
            const T* pixels = x + ((image * (INDEX)h + r) * (INDEX)w + s) * (INDEX)c;
            const Pack* taps = (const Pack*)weights + (INDEX)((a * kw + b) * c) * packs + pack;
            for (int k = 0; k < (int)c; k++) {
                const Pack weight = taps[k * packs];
                #pragma unroll
                for (int p = 0; p < PIXELS; p++) {
                    const INDEX at = s + p * (INDEX)sw;
                    const T value = at >= 0 && at < (INDEX)w ? pixels[p * (INDEX)(sw * c) + k] : (T)0;
                    #pragma unroll
                    for (int v = 0; v < V; v++) total[p][v] += value * weight.at[v];
                }
            }
        }
    }
    #pragma unroll
    for (int p = 0; p < PIXELS; p++) {
        if (first + p >= (INDEX)ow) return;
        Pack value;
        #pragma unroll
        for (int v = 0; v < V; v++) {
            const T sum = total[p][v] + (with_bias ? bias[pack * V + v] : (T)0);
            value.at[v] = rectify && sum <= 0 ? (T)0 : sum;
        }
        ((Pack*)out)[((image * (INDEX)oh + row) * (INDEX)ow + first + p) * packs + pack] = value;
    }
}
""",
    T="float",
    V=4,
    INDEX="int",
    PIXELS=_PIXELS,
)

KERNELS = (_few_channels,)
