"""Winograd's convolution F(4x4, 3x3): 36 products for 16 outputs of a 3x3 window, where the definition takes 144.

Two polynomials h (3 coefficients) and a (4) have a product s (6) that its values at 6 points determine: evaluate both,
multiply point by point, interpolate. With E_k the 6xk matrix that evaluates a polynomial of k coefficients at the
points (the last point is infinity, where the value is the leading coefficient),

    s = E_6^-1 [(E_3 h) * (E_4 a)].

For fixed h this map from a to s is linear, and its transpose maps 6 numbers d to the 4 outputs of correlating them with
h (transposing a convolution gives a correlation):

    y = E_4^T [(E_3 h) * (E_6^-T d)],        in Winograd's letters  y = A^T [(G h) * (B^T d)],

6 products where correlation takes 12. In two dimensions each matrix acts on rows and on columns, that is, as a
Kronecker product on the 36 numbers of a flattened 6x6 tile: A^T is 16x36, G is 36x9, B^T is 36x36. With channels, every
one of the 36 products is a matrix product, (tiles, C) times (C, O).

- Forward: 6x6 tiles, 4 apart, of the input.
- Input gradient: the same with the roles of C and O exchanged, the 3x3 weights turned by half a turn, and padding 2 - p.
- Weight gradient: y is bilinear in d and h, so with V = B^T d and dY a 4x4 tile of the output's gradient,
  gh = G^T sum over tiles of (A dY) * V.

The transforms are matrix products of 36x36 with 36xC, tile by tile, so round numbers in them gain nothing and the
points are free: 0, +-3/4, +-3/2 and infinity lose 4 times less accuracy than the usual 0, +-1, +-2.

Reference: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, arXiv:1509.09308.
Letters, beside the package's: TH TW the tiles down and across, T tiles in a block, V U M the 36 transformed values of
inputs, weights and products, `panel` a run of output channels narrow enough for (C, panel) to stay in first-level cache.
"""

import numpy as np

from minigrad.backend import Workspace, blocks, parallel
from minigrad.kernels.blocking import crop, grid_blocks
from minigrad.kernels.layout import channels_last, empty_channels_last

_POINTS = (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2)  # and infinity


def _evaluation(coefficients):
    """E_k: the values at the points and at infinity of a polynomial with k coefficients, (6, k)."""
    finite = [[point**power for power in range(coefficients)] for point in _POINTS]
    return np.array([*finite, [0] * (coefficients - 1) + [1]], np.float64)


_A, _G, _B = _evaluation(4), _evaluation(3), np.linalg.inv(_evaluation(6))
_INPUT = np.kron(_B.T, _B.T).astype(np.float32)  # (36, 36)
_WEIGHT = np.kron(_G, _G).astype(np.float32)  # (36, 9)
_OUTPUT = np.kron(_A.T, _A.T).astype(np.float32)  # (16, 36)
_OUTPUT_GRAD = np.ascontiguousarray(_OUTPUT.T)  # (36, 16)
_WITH_BIAS = np.hstack([_OUTPUT, np.ones((16, 1), np.float32)])  # (16, 37): the bias rides as a 37th product

_workspace = Workspace()


def fits(kernel_hw, stride, dilation, groups, *arrays):
    """Whether the convolution is one this file can do: 3x3, stride 1, dilation 1, one group, float32 in NumPy."""
    return (
        tuple(kernel_hw) == (3, 3)
        and tuple(stride) == tuple(dilation) == (1, 1)
        and groups == 1
        and all(type(a) is np.ndarray and a.dtype == np.float32 for a in arrays)
    )


# ---------------------------------------------------------------------------------------------------------------------
# Public: forward, input gradient, weight gradient
# ---------------------------------------------------------------------------------------------------------------------


def conv2d(x, w, bias, padding):
    """y (N,O,OH,OW) of x (N,C,H,W), w (O,C,3,3), bias (O,) or None; stride 1."""
    (n, _, h, width), (ph, pw) = x.shape, padding
    y = empty_channels_last((n, len(w), max(0, h + 2 * ph - 2), max(0, width + 2 * pw - 2)), x.dtype, x)
    _correlate(channels_last(x), _transform_weight(w), bias, channels_last(y), (-ph, -pw))
    return y


def conv2d_input_grad(g, w, input_hw, padding):
    """gx (N,C,*input_hw) of g (N,O,OH,OW)."""
    gx = empty_channels_last((len(g), w.shape[1], *input_hw), g.dtype, g)
    u = _transform_weight(w.transpose(1, 0, 2, 3), turned=True)
    _correlate(channels_last(g), u, None, channels_last(gx), (padding[0] - 2, padding[1] - 2))
    return gx


def conv2d_weight_grad(x, g, padding):
    """gw (O,C,3,3) of x (N,C,H,W) and g (N,O,OH,OW)."""
    x, g = channels_last(x), channels_last(g)
    origin, c, o = (-padding[0], -padding[1]), x.shape[3], g.shape[3]
    todo = _tile_blocks(g.shape, 64)

    def partial(share):
        total = np.zeros((36, o, c), np.float32)
        for block in share:
            v = _transform_input(x, block, g.shape, origin)
            e = _transform_output_grad(g, block)
            total += np.matmul(e.transpose(1, 2, 0), v.transpose(1, 0, 2))
        return total

    du = sum(parallel(partial, [todo[i::2] for i in range(2)]))
    gw = _WEIGHT.T @ du.reshape(36, o * c)
    return np.ascontiguousarray(gw.reshape(9, o, c).transpose(1, 2, 0)).reshape(o, c, 3, 3)


# ---------------------------------------------------------------------------------------------------------------------
# The correlation, block by block
# ---------------------------------------------------------------------------------------------------------------------


def _correlate(x, u, bias, out, origin):
    """Fill out (N,OH,OW,O) from x (N,H,W,C), whose row `origin` meets the first tap for output row 0, and weights u."""
    o = out.shape[3]

    def block(place):
        v = _transform_input(x, place, out.shape, origin)
        m = _workspace.empty("products", (len(v), 37, o), np.float32)
        _multiply(v, u, m)
        _write_output(m, bias, place, out)

    parallel(block, _tile_blocks(out.shape, 64))


def _tile_blocks(shape, tiles):
    """[(images, tile rows)] for an output (N,OH,OW,_), about `tiles` tiles in each."""
    return grid_blocks(shape[0], -(-shape[1] // 4), -(-shape[2] // 4), tiles)


def _transform_input(x, place, out_shape, origin):
    """V (T, 36, C) of the tiles under a block of outputs."""
    images, rows = place
    tw, c = -(-out_shape[2] // 4), x.shape[3]
    th, x = rows.stop - rows.start, x[images]
    top = 4 * rows.start + origin[0]
    strip = crop(x, top, origin[1], 4 * th + 2, 4 * tw + 2, lambda *like: _workspace.empty("strip", *like))
    sn, sh, sw, sc = strip.strides
    tiles = np.lib.stride_tricks.as_strided(
        strip, (len(x), th, tw, 6, 6, c), (sn, 4 * sh, 4 * sw, sh, sw, sc), writeable=False
    )
    d = _workspace.empty("tiles", tiles.shape, np.float32)
    d[...] = tiles
    d = d.reshape(-1, 36, c)
    return np.matmul(_INPUT, d, out=_workspace.empty("inputs", d.shape, np.float32))


def _transform_output_grad(g, place):
    """A dY (T, 36, O) of the 4x4 tiles of a block of g; what sticks out of g counts as 0."""
    images, rows = place
    tw, o = -(-g.shape[2] // 4), g.shape[3]
    th, g = rows.stop - rows.start, g[images]
    strip = crop(g, 4 * rows.start, 0, 4 * th, 4 * tw, lambda *like: _workspace.empty("strip", *like))
    tiles = strip.reshape(len(g), th, 4, tw, 4, o).transpose(0, 1, 3, 2, 4, 5)
    d = _workspace.empty("tiles", tiles.shape, np.float32)
    d[...] = tiles
    d = d.reshape(-1, 16, o)
    return np.matmul(_OUTPUT_GRAD, d, out=_workspace.empty("output_grads", (len(d), 36, o), np.float32))


def _multiply(v, u, m):
    """The 36 products: m[:, :36] (T, 36, O) of v (T, 36, C) and u (36, panels, C, panel)."""
    panels, panel = u.shape[1], u.shape[3]
    by_panel = m[:, :36].reshape(len(m), 36, panels, panel).transpose(1, 2, 0, 3)
    np.matmul(v.transpose(1, 0, 2)[:, None], u, out=by_panel)


def _write_output(m, bias, place, out):
    """The 4x4 outputs of every tile, bias added, into their place; what sticks out of `out` is dropped."""
    images, rows = place
    o, tw = out.shape[3], -(-out.shape[2] // 4)
    th, target = rows.stop - rows.start, out[images, 4 * rows.start : 4 * rows.stop]
    y = _workspace.empty("outputs", (len(m), 16, o), np.float32)
    if bias is None:
        np.matmul(_OUTPUT, m[:, :36], out=y)
    else:
        m[:, 36] = bias
        np.matmul(_WITH_BIAS, m, out=y)
    y = y.reshape(len(target), th, tw, 4, 4, o).transpose(0, 1, 3, 2, 4, 5)
    whole_h, whole_w = target.shape[1] // 4, target.shape[2] // 4
    edge_h, edge_w = target.shape[1] % 4, target.shape[2] % 4
    target[:, : 4 * whole_h, : 4 * whole_w].reshape(len(target), whole_h, 4, whole_w, 4, o)[...] = y[
        :, :whole_h, :, :whole_w
    ]
    if edge_w:
        target[:, : 4 * whole_h, 4 * whole_w :].reshape(len(target), whole_h, 4, edge_w, o)[...] = y[
            :, :whole_h, :, whole_w, :edge_w
        ]
    if edge_h:
        bottom = y[:, whole_h, :edge_h].reshape(len(target), edge_h, 4 * tw, o)
        target[:, 4 * whole_h :] = bottom[:, :, : target.shape[2]]


def _transform_weight(w, turned=False):
    """U (36, panels, C, panel) of w (O, C, 3, 3); with `turned`, of w turned by half a turn."""
    o, c = w.shape[:2]
    panel = _panel(o)
    u = np.empty((36, o // panel, c, panel), np.float32)
    matrix = _WEIGHT[:, ::-1] if turned else _WEIGHT
    matrix = np.ascontiguousarray(matrix)

    def fill(i):
        taps = w[i * panel : (i + 1) * panel].transpose(2, 3, 1, 0)
        by_tap = _workspace.empty("taps", (9, c * panel), np.float32)
        by_tap.reshape(taps.shape)[...] = taps
        np.matmul(matrix, by_tap, out=u[:, i].reshape(36, c * panel))

    parallel(fill, range(o // panel))
    return u


def _panel(o):
    """The width of a panel of output channels: the largest multiple of 16 up to 64 that divides o, or all of o."""
    return next((width for width in (64, 48, 32, 16) if o % width == 0), o)
