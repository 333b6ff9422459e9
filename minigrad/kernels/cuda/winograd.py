"""Winograd's F(4x4, 3x3) on a GPU: kernels/winograd.py has the mathematics, the points and the matrices.

Three steps for a block of tiles, as there:

    V = B^T d B                 winograd_input: one thread takes one channel of one tile, 36 numbers in registers
    M = V U^T                   36 products (T,C) x (C,O), one call of cuBLAS
    y = max(A^T M A + bias, 0)  winograd_output: one thread gives one channel of one tile, with bias and rectifier

Neighbouring threads take neighbouring channels, so that every load and store of a warp is one run of channels-last
memory, and each of the 36 planes of V and M is (T, C) without gaps. The transforms are C++ written out from the
matrices, number by number, without those that are 0.

    U = G h G^T                 winograd_weight, kept where the weight is frozen; (36,O,C) for the forward pass and,
                                of turned taps, for the input gradient, where U is multiplied untransposed
    E = A dY A^T                winograd_output_grad, for the weight gradient
    gh = G^T (sum of E^T V) G   one call of cuBLAS for each block, which adds to the sum; winograd_weight_grad

A block's V and M take at most about `_BLOCK` bytes, of which half is alive at a time: an H100's second-level cache
holds 50 MB. Where U is large, blocks are larger, so that reading U for each is little beside its work.
"""

import numpy as np

from minigrad.device import array_module
from minigrad.kernels import winograd
from minigrad.kernels.cuda.launch import SHORT, Kernel, near_equal, on_gpu, rows_of
from minigrad.kernels.cuda.product import multiply
from minigrad.kernels.frozen import form_or_new
from minigrad.kernels.layout import channels_last, empty_channels_last

_BLOCK = 64 << 20  # bytes of V and M in a block; by arithmetic, not measured
_PER_WEIGHT = 8  # or so many times the bytes of U


def fits(kernel_hw, stride, dilation, groups, *arrays):
    """Whether the convolution is one this file can do: what winograd.fits says, on a GPU."""
    return winograd.fits(kernel_hw, stride, dilation, groups, *arrays) and on_gpu(*arrays)


# ---------------------------------------------------------------------------------------------------------------------
# Public: forward, input gradient, weight gradient
# ---------------------------------------------------------------------------------------------------------------------


def conv2d(x, w, bias, padding, rectify=False):
    """y (N,O,OH,OW) of x (N,C,H,W), w (O,C,3,3), bias (O,) or None; stride 1. rectify: max(y, 0)."""
    (n, _, h, width), (ph, pw) = x.shape, padding
    y = empty_channels_last((n, len(w), max(0, h + 2 * ph - 2), max(0, width + 2 * pw - 2)), x.dtype, x)
    _correlate(rows_of(x), _transformed(w, False), bias, channels_last(y), (-ph, -pw), rectify)
    return y


def conv2d_input_grad(g, w, input_hw, padding):
    """gx (N,C,*input_hw) of g (N,O,OH,OW)."""
    gx = empty_channels_last((len(g), w.shape[1], *input_hw), g.dtype, g)
    origin = (padding[0] - 2, padding[1] - 2)
    _correlate(rows_of(g), _transformed(w, True), None, channels_last(gx), origin, turned=True)
    return gx


def conv2d_weight_grad(x, g, padding):
    """gw (O,C,3,3) of x (N,C,H,W) and g (N,O,OH,OW)."""
    xp, x, g = array_module(x, g), rows_of(x), rows_of(g)
    c, o = x.shape[3], g.shape[3]
    total, grid = xp.zeros((36, o, c), np.float32), _tile_grid(g.shape)
    for first, tiles in _blocks(grid, c + o, total.nbytes):
        v, e = xp.empty((36, tiles, c), np.float32), xp.empty((36, tiles, o), np.float32)
        _input(xp, tiles * c, x, v, first, tiles, *grid[1:], *x.shape[1:], -padding[0], -padding[1])
        _output_grad(xp, tiles * o, g, e, first, tiles, *grid[1:], *g.shape[1:], 0, 0)
        multiply(e, v, total, transpose_a=True, add=True)
    gw = xp.empty((o, c, 3, 3), np.float32)
    _weight_grad(xp, o * c, total, gw, o * c)
    return gw


def _correlate(x, u, bias, out, origin, rectify=False, turned=False):
    """Fill out (N,OH,OW,O) from x (N,H,W,C) and u, the transformed weights (36,O,C), or, for the input gradient,
    (36,C,O); origin: the row and column of x under the first tap."""
    xp, c, o, grid = array_module(x, u), x.shape[3], out.shape[3], _tile_grid(out.shape)
    for first, tiles in _blocks(grid, c + o, u.nbytes):
        v, m = xp.empty((36, tiles, c), np.float32), xp.empty((36, tiles, o), np.float32)
        _input(xp, tiles * c, x, v, first, tiles, *grid[1:], *x.shape[1:], *origin)
        multiply(v, u, m, transpose_b=not turned)
        # without a bias, u stands in for an array that is not read
        flags = (0 if bias is None else 1, int(rectify))
        _output(xp, tiles * o, m, u if bias is None else bias, out, first, tiles, *grid[1:], *out.shape[1:], *flags)


def _tile_grid(shape):
    """(N, TH, TW) tiles of an output (N,OH,OW,_)."""
    return shape[0], *winograd.F4.count(shape[1:3])


def _blocks(grid, channels, weight_bytes):
    """[(first tile, number of tiles)] in near-equal blocks; channels: of V and M together."""
    total = grid[0] * grid[1] * grid[2]
    size = max(1, max(_BLOCK, _PER_WEIGHT * weight_bytes) // (144 * channels))
    return near_equal(total, min(size, SHORT // channels))  # threads of a block are numbered by an int


def _transformed(w, turned):
    """U (36,O,C) of w (O,C,3,3); `turned`: of w turned by half a turn. Kept where the weight is frozen."""
    xp = array_module(w)
    shape = (36, *w.shape[:2])

    def fill(u):
        taps = xp.ascontiguousarray(w)
        _weight(xp, w.shape[0] * w.shape[1], taps, u, w.shape[0] * w.shape[1], int(turned))

    return form_or_new(w, ("winograd", turned), shape, fill)


# ---------------------------------------------------------------------------------------------------------------------
# CUDA source
# ---------------------------------------------------------------------------------------------------------------------


def _combination(row, values):
    """The C++ expression sum of row[k] * values[k], without the terms that are 0 and the products with 1."""
    terms = []
    for number, value in zip(row, values, strict=True):
        if abs(number) > 1e-12:  # the matrix of the input transform is an inverse, with rounding errors for zeros
            terms.append(value if abs(number - 1) < 1e-12 else f"{np.float32(number)!s}f * {value}")
    return " + ".join(terms) or "0.0f"


def _two_sided(matrix):
    """Lines of C++ from d[k][k] to y[m][m] = matrix d matrix^T, for an (m, k) matrix, all in registers."""
    m, k = matrix.shape
    lines = [f"float half[{m}][{k}], y[{m}][{m}];"]
    for j in range(k):
        lines += [f"half[{i}][{j}] = {_combination(matrix[i], [f'd[{r}][{j}]' for r in range(k)])};" for i in range(m)]
    for i in range(m):
        lines += [f"y[{i}][{j}] = {_combination(matrix[j], [f'half[{i}][{r}]' for r in range(k)])};" for j in range(m)]
    return "\n    ".join(lines)


_PLACE = r"""
    const int channels = (int)c, thread = (int)THREAD;
    if (THREAD >= tiles * c) return;
    const int channel = thread % channels, tile = (int)first + thread / channels;
    const int column = tile % (int)tw, above = tile / (int)tw, row = above % (int)th, image = above / (int)th;
"""

_TO_POINTS = r"""
// values[36][tiles][c] of tiles K x K, 4 apart, of x[n][h][w][c], from row `top` and column `left`; 0 outside x
extern "C" __global__ void NAME(const float* __restrict__ x, float* __restrict__ values, long long first,
        long long tiles, long long th, long long tw, long long h, long long w, long long c, long long top,
        long long left) {
    PLACE
    const int r = 4 * row + (int)top, s = 4 * column + (int)left;
    const float* source = x + ((image * h + r) * w + s) * c + channel;
    float d[K][K];
    #pragma unroll
    for (int i = 0; i < K; i++)
        #pragma unroll
        for (int j = 0; j < K; j++) {
            const bool inside = (unsigned)(r + i) < (unsigned)h && (unsigned)(s + j) < (unsigned)w;
            d[i][j] = inside ? source[(i * w + j) * c] : 0.0f;
        }
    TRANSFORM
    float* target = values + thread;
    #pragma unroll
    for (int i = 0; i < 36; i++) target[i * tiles * c] = y[i / 6][i % 6];
}
"""

_TO_PIXELS = r"""
// y[n][h][w][c], 4 x 4 pixels of each tile, from values[36][tiles][c]; plus bias[c], and rectified (a NaN stays)
extern "C" __global__ void winograd_output(const float* __restrict__ values, const float* __restrict__ bias,
        float* __restrict__ out, long long first, long long tiles, long long th, long long tw, long long h, long long w,
        long long c, long long with_bias, long long rectify) {
    PLACE
    float d[6][6];
    #pragma unroll
    for (int i = 0; i < 36; i++) d[i / 6][i % 6] = values[i * tiles * c + thread];
    const float shift = with_bias ? bias[channel] : 0.0f;
    TRANSFORM
    const int r = 4 * row, s = 4 * column;
    float* target = out + ((image * h + r) * w + s) * c + channel;
    #pragma unroll
    for (int i = 0; i < 4; i++)
        #pragma unroll
        for (int j = 0; j < 4; j++)
            if (r + i < (int)h && s + j < (int)w) {
                const float value = y[i][j] + shift;
                target[(i * w + j) * c] = rectify && value <= 0.0f ? 0.0f : value;
            }
}
"""

_WEIGHTS = r"""
// u[36][pairs] of taps[pairs][3][3]; with `turned`, of taps turned by half a turn
extern "C" __global__ void winograd_weight(const float* __restrict__ taps, float* __restrict__ u, long long pairs,
        long long turned) {
    const long long pair = THREAD;
    if (pair >= pairs) return;
    float d[3][3];
    #pragma unroll
    for (int i = 0; i < 9; i++) d[i / 3][i % 3] = taps[pair * 9 + (turned ? 8 - i : i)];
    TRANSFORM
    #pragma unroll
    for (int i = 0; i < 36; i++) u[i * pairs + pair] = y[i / 6][i % 6];
}
"""

_WEIGHT_GRAD = r"""
// gw[pairs][3][3] of sums[36][pairs]
extern "C" __global__ void winograd_weight_grad(const float* __restrict__ sums, float* __restrict__ gw,
        long long pairs) {
    const long long pair = THREAD;
    if (pair >= pairs) return;
    float d[6][6];
    #pragma unroll
    for (int i = 0; i < 36; i++) d[i / 6][i % 6] = sums[i * pairs + pair];
    TRANSFORM
    #pragma unroll
    for (int i = 0; i < 9; i++) gw[pair * 9 + i] = y[i / 3][i % 3];
}
"""


def _kernel(name, template, matrix):
    """The kernel of a template, with the two-sided transform by `matrix` written out."""
    code = template.replace("PLACE", _PLACE.strip()).replace("TRANSFORM", _two_sided(matrix))
    return Kernel(name, code.replace("NAME", name), K=matrix.shape[1])


_input = _kernel("winograd_input", _TO_POINTS, winograd.F4.BT)
_output = _kernel("winograd_output", _TO_PIXELS, winograd.F4.AT)
_output_grad = _kernel("winograd_output_grad", _TO_POINTS, winograd.F4.AT.T)
_weight = _kernel("winograd_weight", _WEIGHTS, winograd.F4.G)
_weight_grad = _kernel("winograd_weight_grad", _WEIGHT_GRAD, winograd.F4.G.T)

KERNELS = (_input, _output, _output_grad, _weight, _weight_grad)
