"""The direct convolution on a GPU: windows laid out as rows of a matrix (im2col), times the weights by cuBLAS.

cpu/direct.py says what is computed. Columns are (positions, G, KH*KW*C/G), channels fastest, so that

- forward: each group's columns times its weights, then bias and rectifier in one pass;
- weight gradient: the output's gradient, transposed, times the columns;
- input gradient: the output's gradient times the weights gives the gradient of the columns, and each pixel adds up what
  the windows over it hold for it (col2im): a gather, so no two threads write the same place.

A 1x1 convolution is a product without columns. Two cases have kernels of their own: few input values for each output
(few_channels.py), and one input channel in each group (depthwise.py). Columns take at most about `_BLOCK` bytes, or
those of one image in the input gradient.
"""

import math

from minigrad.device import array_module
from minigrad.kernels.cuda import depthwise, few_channels
from minigrad.kernels.cuda.elementwise import bias_relu
from minigrad.kernels.cuda.launch import TYPES, Kernel, index_type, lanes, near_equal, rows_of
from minigrad.kernels.cuda.product import multiply
from minigrad.kernels.frozen import form_or_new
from minigrad.kernels.layout import channels_last, empty_channels_last
from minigrad.kernels.plain import output_hw

_BLOCK = 64 << 20  # bytes of columns in a block: about a second-level cache, by arithmetic, not measured
_CUTS = 256  # parts of a long sum that are to run at once: two for each multiprocessor of an H100
_SHORTEST = 1024  # terms in such a part


# ---------------------------------------------------------------------------------------------------------------------
# Public: forward, input gradient, weight gradient
# ---------------------------------------------------------------------------------------------------------------------


def conv2d(x, w, bias, stride, padding, dilation, groups, rectify=False):
    """y (N,O,OH,OW) of x (N,C,H,W), w (O,C/G,KH,KW), bias (O,) or None; all float32 or all float64."""
    (o, cg, *kernel_hw), xp = w.shape, array_module(x, w)
    out_hw = output_hw(x.shape[2:], kernel_hw, stride, padding, dilation)
    y = empty_channels_last((x.shape[0], o, *out_hw), x.dtype, x)
    x, out = rows_of(x), channels_last(y)
    geometry = (*kernel_hw, *stride, *padding, *dilation)
    if cg == 1 and groups > 1:
        depthwise.forward(x, w, bias, out, geometry, rectify)
    elif groups == 1 and few_channels.fits(w.shape):
        few_channels.forward(x, w, bias, out, geometry, rectify)
    elif y.size:
        weights, rows = _by_window(w, groups), out.reshape(-1, o)
        if _is_pointwise(kernel_hw, stride, padding):
            multiply(_stack(x.reshape(len(rows), -1), groups), weights, _stack(rows, groups), transpose_b=True)
        else:
            for first, count in _blocks(len(rows), weights.nbytes // o * groups):
                columns = _columns(xp, x, first, count, out_hw, groups, geometry)
                target = _stack(rows[first : first + count], groups)
                multiply(_stack(columns, groups), weights, target, transpose_b=True)
        if bias is not None or rectify:
            bias_relu(rows, bias, rectify)
    return y


def conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups):
    """gx (N,C,*input_hw) of g (N,O,OH,OW)."""
    (o, cg, *kernel_hw), xp = w.shape, array_module(g, w)
    gx = empty_channels_last((len(g), cg * groups, *input_hw), g.dtype, g)
    g, out = rows_of(g), channels_last(gx)
    geometry = (*kernel_hw, *stride, *padding, *dilation)
    if cg == 1 and groups > 1:
        depthwise.input_grad(g, w, out, geometry)
    elif _is_pointwise(kernel_hw, stride, padding) and g.shape[1:3] == tuple(input_hw):
        multiply(_stack(g.reshape(-1, o), groups), _by_window(w, groups), _stack(out.reshape(-1, cg * groups), groups))
    elif gx.size:
        weights, positions = _by_window(w, groups), math.prod(g.shape[1:3])
        for first, count in _blocks(len(g), max(1, positions) * weights.nbytes // o * groups):
            rows = g[first : first + count].reshape(-1, o)
            columns = xp.empty((len(rows), weights.size // o * groups), g.dtype)
            multiply(_stack(rows, groups), weights, _stack(columns, groups))
            _add_columns(xp, columns, out[first : first + count], g.shape[1:3], groups, geometry)
    return gx


def conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups):
    """gw (O,C/G,KH,KW) of x (N,C,H,W) and g (N,O,OH,OW)."""
    xp, x, g = array_module(x, g), rows_of(x), rows_of(g)
    c, o, out_hw = x.shape[3], g.shape[3], g.shape[1:3]
    geometry = (*kernel_hw, *stride, *padding, *dilation)
    if groups > 1 and c == groups:
        return depthwise.weight_grad(x, g, geometry)
    length = math.prod(kernel_hw) * c
    total = xp.zeros((groups, o // groups, length // groups), x.dtype)
    rows = g.reshape(-1, o)
    if len(rows) and _is_pointwise(kernel_hw, stride, padding):
        _add_products(xp, rows, x.reshape(len(rows), -1), total)
    else:
        for first, count in _blocks(len(rows), length * x.itemsize):
            columns = _columns(xp, x, first, count, out_hw, groups, geometry)
            _add_products(xp, rows[first : first + count], columns, total)
    return xp.ascontiguousarray(total.reshape(o, *kernel_hw, c // groups).transpose(0, 3, 1, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Products
# ---------------------------------------------------------------------------------------------------------------------


def _is_pointwise(kernel_hw, stride, padding):
    return tuple(kernel_hw) == tuple(stride) == (1, 1) and tuple(padding) == (0, 0)


def _stack(rows, groups):
    """(positions, G * length) seen as (G, positions, length)."""
    return rows.reshape(len(rows), groups, rows.shape[1] // groups).transpose(1, 0, 2)


def _by_window(w, groups):
    """(G, O/G, KH*KW*C/G): the weights in the order of columns; kept where the weight is frozen."""
    o, c, kh, kw = w.shape
    shape = (groups, o // groups, kh * kw * c)
    if kh * kw == 1:
        return array_module(w).ascontiguousarray(w).reshape(shape)

    def fill(matrix):
        matrix.reshape(o, kh, kw, c)[...] = w.transpose(0, 2, 3, 1)

    return form_or_new(w, "by window", shape, fill)


def _add_products(xp, rows, columns, total):
    """Add rows^T columns to total (G, O/G, K/G).

    Positions are many, and outputs may be too few to keep a GPU busy: then the sum is cut into parts, a stack of
    products, which are added at the end.
    """
    groups, o, length = total.shape
    parts = min(len(rows) // _SHORTEST, _CUTS // (-(-o // 64) * -(-length // 64)))
    if groups > 1 or parts < 2:
        multiply(_stack(rows, groups), _stack(columns, groups), total, transpose_a=True, add=True)
        return
    run = len(rows) // parts
    head, sums = parts * run, xp.empty((parts, o, length), total.dtype)
    multiply(rows[:head].reshape(parts, run, o), columns[:head].reshape(parts, run, length), sums, transpose_a=True)
    total += sums.sum(axis=0)
    if head < len(rows):
        multiply(rows[None, head:], columns[None, head:], total, transpose_a=True, add=True)


def _blocks(count, bytes_each):
    """[(first, how many)] in near-equal blocks of at most about `_BLOCK` bytes."""
    return near_equal(count, max(1, _BLOCK // max(1, bytes_each)))


# ---------------------------------------------------------------------------------------------------------------------
# Columns
# ---------------------------------------------------------------------------------------------------------------------


def _columns(xp, x, first, count, out_hw, groups, geometry):
    """(count, G * KH*KW*C/G): the windows of output positions from `first`, of x (N,H,W,C)."""
    h, w, c = x.shape[1:]
    columns = xp.empty((count, geometry[0] * geometry[1] * c), x.dtype)
    v = lanes(c // groups, x, columns)
    kernel = _im2col.of(T=TYPES[x.dtype], V=v, INDEX=index_type(x.size, columns.size, first + count))
    sizes = (*out_hw, h, w, c // groups, groups)
    kernel(xp, columns.size // v, x, columns, first, count, *sizes, *geometry)
    return columns


def _add_columns(xp, columns, out, out_hw, groups, geometry):
    """Fill out (n,H,W,C), the adjoint of _columns for whole images."""
    n, h, w, c = out.shape
    v = lanes(c // groups, columns, out)
    kernel = _col2im.of(T=TYPES[out.dtype], V=v, INDEX=index_type(out.size, columns.size))
    kernel(xp, out.size // v, columns, out, n, *out_hw, h, w, c // groups, groups, *geometry)


_SIZES = r"""long long oh_, long long ow_, long long h_, long long w_, long long c_, long long groups_, long long kh_,
        long long kw_, long long sh, long long sw, long long ph, long long pw, long long dh, long long dw"""
_SHORT = r"""const INDEX oh = oh_, ow = ow_, h = h_, w = w_, c = c_ / V, groups = groups_, kh = kh_, kw = kw_;"""

_im2col = Kernel(
    "im2col",
    r"""
// columns[count][groups][kh][kw][c] of positions from `first`, of x[n][h][w][groups][c]; 0 outside x
extern "C" __global__ void im2col(const T* __restrict__ x, T* __restrict__ columns, long long first, long long count,
        SIZES) {
    SHORT
    const INDEX i = (INDEX)THREAD;
    if (THREAD >= count * groups * kh * kw * c) return;
    const INDEX channel = i % c, at_b = i / c, b = at_b % kw, at_a = at_b / kw, a = at_a % kh, at_group = at_a / kh;
    const INDEX group = at_group % groups, position = (INDEX)first + at_group / groups;
    const INDEX column = position % ow, above = position / ow, row = above % oh, image = above / oh;
    const INDEX r = row * (INDEX)sh - (INDEX)ph + a * (INDEX)dh, s = column * (INDEX)sw - (INDEX)pw + b * (INDEX)dw;
    Pack value = {};
    if (r >= 0 && r < h && s >= 0 && s < w)
        value = ((const Pack*)x)[(((image * h + r) * w + s) * groups + group) * c + channel];
    ((Pack*)columns)[i] = value;
}
""".replace("SIZES", _SIZES).replace("SHORT", _SHORT),
    T="float",
    V=4,
    INDEX="int",
)

_col2im = Kernel(
    "col2im",
    r"""
// out[n][h][w][groups][c]: the sum of what columns[n][oh][ow][groups][kh][kw][c] hold for each pixel
extern "C" __global__ void col2im(const T* __restrict__ columns, T* __restrict__ out, long long n, SIZES) {
    SHORT
    const INDEX i = (INDEX)THREAD;
    if (THREAD >= n * h * w * groups * c) return;
    const INDEX channel = i % c, at_group = i / c, group = at_group % groups, pixel = at_group / groups;
    const INDEX column = pixel % w, above = pixel / w, row = above % h, image = above / h;
    Pack total = {};
    for (INDEX a = 0; a < kh; a++) {
        const INDEX top = row + (INDEX)ph - a * (INDEX)dh, r = top / (INDEX)sh;
        if (top < 0 || r * (INDEX)sh != top || r >= oh) continue;
        for (INDEX b = 0; b < kw; b++) {
            const INDEX left = column + (INDEX)pw - b * (INDEX)dw, s = left / (INDEX)sw;
            if (left < 0 || s * (INDEX)sw != left || s >= ow) continue;
            const INDEX place = ((((image * oh + r) * ow + s) * groups + group) * kh + a) * kw + b;
            const Pack value = ((const Pack*)columns)[place * c + channel];
            #pragma unroll
            for (int v = 0; v < V; v++) total.at[v] += value.at[v];
        }
    }
    ((Pack*)out)[i] = total;
}
""".replace("SIZES", _SIZES).replace("SHORT", _SHORT),
    T="float",
    V=4,
    INDEX="int",
)

KERNELS = (_im2col, _col2im)
