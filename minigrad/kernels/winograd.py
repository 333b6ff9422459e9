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
- Input gradient: the same with C and O exchanged, the 3x3 weights turned by half a turn, and padding 2 - p.
- Weight gradient: y is bilinear in d and h, so with V = B^T d and dY a 4x4 tile of the output's gradient,
  gh = G^T sum over tiles of (A dY) * V.

The transforms are matrix products of 36x36 with 36xC, tile by tile, so round numbers in them gain nothing and the
points are free: 0, +-3/4, +-3/2 and infinity lose 4 times less accuracy than the usual 0, +-1, +-2.

A NaN or an infinity spreads over the outputs of the tiles it lies in, where the direct convolution would keep it to the
windows it lies in.

Reference: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, arXiv:1509.09308.
Letters, beside the package's: TH TW the tiles down and across, T tiles in a block, V U M the 36 transformed values of
inputs, weights and products, `panel` a run of output channels that is narrow enough for (C, panel) to stay in cache.
"""

import math

import numpy as np

from minigrad.backend import Workspace, blocks, parallel, thread_count
from minigrad.kernels.blocking import grid_blocks
from minigrad.kernels.frozen import form
from minigrad.kernels.layout import channels_last, empty_channels_last

_POINTS = (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2)  # and infinity


def _evaluation(coefficients):
    """E_k: the values at the points and at infinity of a polynomial with k coefficients, (6, k)."""
    finite = [[point**power for power in range(coefficients)] for point in _POINTS]
    return np.array([*finite, [0] * (coefficients - 1) + [1]], np.float64)


# In float64, for kernels of other kinds: B^T (6, 6), A^T (4, 6) and G (6, 3).
INPUT_TRANSFORM, OUTPUT_TRANSFORM, G = np.linalg.inv(_evaluation(6)).T, _evaluation(4).T, _evaluation(3)

_INPUT, _OUTPUT = INPUT_TRANSFORM.astype(np.float32), OUTPUT_TRANSFORM.astype(np.float32)
_OUTPUT_GRAD = np.ascontiguousarray(_OUTPUT.T)  # A (6, 4)
_WEIGHT = np.kron(G, G).astype(np.float32)  # (36, 9)
_WITH_BIAS = np.hstack([_OUTPUT, np.ones((4, 1), np.float32)])  # (4, 7): the bias rides as a 7th column of the tile

_CACHE = 1 << 21  # bytes of V and M in a block: most of a core's second-level cache
_LARGE = 6 << 20  # bytes of U, or of a sum of products, above which the threads share it out between them
_MANY = 256  # tiles in a block that all threads work on together
_UNCOPIED = 10**6  # OpenBLAS multiplies (a, b) by (b, c) without first copying them while a * b * c is at most this,
_WIDEST = 16384  # and so a 6x6 matrix by rows of this length
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


def conv2d(x, w, bias, padding, rectify=False):
    """y (N,O,OH,OW) of x (N,C,H,W), w (O,C,3,3), bias (O,) or None; stride 1. rectify: max(y, 0)."""
    (n, _, h, width), (ph, pw) = x.shape, padding
    y = empty_channels_last((n, len(w), max(0, h + 2 * ph - 2), max(0, width + 2 * pw - 2)), x.dtype, x)
    _correlate(_contiguous(x), _transformed(w, False), bias, channels_last(y), (-ph, -pw), rectify)
    return y


def conv2d_input_grad(g, w, input_hw, padding):
    """gx (N,C,*input_hw) of g (N,O,OH,OW)."""
    gx = empty_channels_last((len(g), w.shape[1], *input_hw), g.dtype, g)
    origin = (padding[0] - 2, padding[1] - 2)
    _correlate(_contiguous(g), _transformed(w, True), None, channels_last(gx), origin)
    return gx


def conv2d_weight_grad(x, g, padding):
    """gw (O,C,3,3) of x (N,C,H,W) and g (N,O,OH,OW)."""
    x, g = _contiguous(x), _contiguous(g)
    c, o = x.shape[3], g.shape[3]
    sum_products = _sum_products_by_value if 36 * c * o * 4 > _LARGE else _sum_products_by_tiles
    products = sum_products(x, g, (-padding[0], -padding[1]))
    gw = _WEIGHT.T @ products.reshape(36, o * c)
    return np.ascontiguousarray(gw.reshape(9, o, c).transpose(1, 2, 0)).reshape(o, c, 3, 3)


def _contiguous(x):
    """(N,C,H,W) as a contiguous (N,H,W,C) array; a copy only where memory is not channels-last already."""
    return np.ascontiguousarray(channels_last(x))


# ---------------------------------------------------------------------------------------------------------------------
# The correlation, block by block
# ---------------------------------------------------------------------------------------------------------------------


def _correlate(x, u, bias, out, origin, rectify=False):
    """Fill out (N,OH,OW,O) from x (N,H,W,C) and u, the transformed weights; origin: the row and column of x under the
    first tap."""
    (_correlate_by_value if u.nbytes > _LARGE else _correlate_by_tiles)(x, u, bias, out, origin, rectify)


def _correlate_by_tiles(x, u, bias, out, origin, rectify):
    """Each thread takes a block of tiles through all steps: everything but x, u and out stays in its cache."""
    _, panels, c, panel = u.shape

    def block(place):
        v, target = _new_points("inputs", place, out, c)
        _to_points(x, _INPUT, place, origin, target)
        m, tiles = _new_points("products", place, out, panels * panel)
        by_panel = m.reshape(36, -1, panels, panel).transpose(0, 2, 1, 3)
        np.matmul(v[:, None], u, out=by_panel)
        _to_pixels(tiles, bias, place, out, rectify)

    tiles = min(_CACHE // (144 * (c + panels * panel)), _UNCOPIED // (c * panel))
    parallel(block, _tile_blocks(out.shape, max(24, tiles)))


def _correlate_by_value(x, u, bias, out, origin, rectify):
    """Where u is too large to be read for every block: each thread does some of the 36 products for many tiles."""
    _, panels, c, panel = u.shape
    o = panels * panel
    for place in _tile_blocks(out.shape, _MANY):
        v = _gather_points(x, _INPUT, place, origin, "inputs", out)
        m, tiles = _new_points("products", place, out, o)
        run = _largest_divisor(v.shape[1], _UNCOPIED // (c * panel))
        v = v.reshape(36, -1, 1, run, c)
        products = m.reshape(36, -1, run, panels, panel).transpose(0, 1, 3, 2, 4)

        def multiply(values, v=v, products=products):
            np.matmul(v[values], u[values, None], out=products[values])

        def finish(inner, place=place, tiles=tiles):
            _to_pixels(tiles[inner], bias, _within(place, inner), out, rectify)

        parallel(multiply, blocks(36, 4))
        parallel(finish, grid_blocks(*tiles.shape[:3], max(1, _CACHE // (288 * o))))


def _largest_divisor(number, limit):
    """The largest divisor of `number` that is at most `limit`, or `number` itself where that one is small."""
    divisor = next((n for n in range(min(number, limit), limit // 4, -1) if number % n == 0), number)
    return max(1, divisor)


def _sum_products_by_tiles(x, g, origin):
    """The sum over tiles of (A dY) * V, (36, O, C): each thread sums over blocks of tiles of its own."""
    c, o = x.shape[3], g.shape[3]

    def partial(share):
        total = np.zeros((36, o, c), np.float32)
        product = _workspace.empty("products", total.shape, np.float32)
        for place in share:
            v, target = _new_points("inputs", place, g, c, by_value=True)
            _to_points(x, _INPUT, place, origin, target)
            e, target = _new_points("output_grads", place, g, o, by_value=True)
            _to_points(g, _OUTPUT_GRAD, place, (0, 0), target)
            total += np.matmul(e.transpose(0, 2, 1), v, out=product)
        return total

    todo, threads = _tile_blocks(g.shape, max(64, _CACHE // (144 * (c + o)))), thread_count()
    sums = parallel(partial, [todo[i::threads] for i in range(min(threads, max(1, len(todo))))])
    return sum(sums[1:], sums[0])


def _sum_products_by_value(x, g, origin):
    """The same where a sum for each thread would be large: each thread sums some of the 36 values over all tiles."""
    total = np.zeros((36, g.shape[3], x.shape[3]), np.float32)
    for place in _tile_blocks(g.shape, _MANY):
        v = _gather_points(x, _INPUT, place, origin, "inputs", g)
        e = _gather_points(g, _OUTPUT_GRAD, place, (0, 0), "output_grads", g)

        def multiply(values, v=v, e=e):
            total[values] += np.matmul(e[values].transpose(0, 2, 1), v[values])

        parallel(multiply, blocks(36, 4))
    return total


def _tile_blocks(shape, tiles):
    """[(images, tile rows)] for an output (N,OH,OW,_), about `tiles` tiles in each."""
    return grid_blocks(shape[0], -(-shape[1] // 4), -(-shape[2] // 4), tiles)


# ---------------------------------------------------------------------------------------------------------------------
# From pixels to the 36 values of each tile, and back
# ---------------------------------------------------------------------------------------------------------------------


def _new_points(name, place, out, c, by_value=False):
    """Room for the values of the tiles of one block: as (36, T, C), and seen as (N, TH, TW, 6, 6, C).

    In memory tile by tile, or by_value: all tiles' first values, then all their second ones, and so on.
    """
    (images, rows), tw = place, -(-out.shape[2] // 4)
    n, th = images.stop - images.start, rows.stop - rows.start
    if by_value:
        points = _workspace.empty(name, (36, n * th * tw, c), np.float32)
        return points, points.reshape(6, 6, n, th, tw, c).transpose(2, 3, 4, 0, 1, 5)
    points = _workspace.empty(name, (n * th * tw, 36, c), np.float32)
    return points.transpose(1, 0, 2), points.reshape(n, th, tw, 6, 6, c)


def _gather_points(x, matrix, place, origin, name, out):
    """The values (36, T, C) of the tiles of a block too large for one core's cache, by all threads; by_value."""
    points, target = _new_points(name, place, out, x.shape[3], by_value=True)

    def part(inner):
        _to_points(x, matrix, _within(place, inner), origin, target[inner])

    parallel(part, grid_blocks(*target.shape[:3], max(1, _CACHE // (288 * x.shape[3]))))
    return points


def _within(place, inner):
    """A part of a block, counted from the block's start, counted from the start of everything."""
    return tuple(slice(run.start + by.start, run.stop + by.start) for run, by in zip(inner, place, strict=True))


def _to_points(x, matrix, place, origin, target):
    """Fill target (N, TH, TW, 6, 6, C) with tiles of x, `matrix` (6, k) applied to their rows and columns.

    Tiles are k x k, 4 apart, from row and column `origin`. First all rows of x under a row of tiles at once, then the
    columns of each tile. Where rows are outside x, and so 0, the columns of `matrix` that would meet them are left out.
    """
    (images, rows), k = place, matrix.shape[1]
    (h, w, c), (n, th, tw) = x.shape[1:], target.shape[:3]
    width = 4 * (tw - 1) + k
    left, right = min(max(0, -origin[1]), width), min(max(0, w - origin[1]), width)

    half = _workspace.empty("half", (n, th, 6, width * c), np.float32)
    half[..., : left * c] = 0
    half[..., right * c :] = 0
    for first, last, top in _tile_rows(rows, origin[0], k, h):
        low, high = max(0, -top), min(k, h - top)
        if low >= high or left >= right:
            half[:, first:last] = 0
            continue
        start = ((images.start * h + top + low) * w + left + origin[1]) * c
        shape = (n, last - first, high - low, (right - left) * c)
        source = _view(x, start, shape, (h * w * c, 4 * w * c, w * c, 1))
        for lo in range(0, source.shape[3], _WIDEST):
            hi = min(lo + _WIDEST, source.shape[3])
            np.matmul(
                matrix[:, low:high], source[..., lo:hi], out=half[:, first:last, :, left * c + lo : left * c + hi]
            )

    line = width * c
    tiles = _view(half, 0, (n, th, tw, 6, k, c), (th * 6 * line, 6 * line, 4 * c, line, c, 1))
    np.matmul(matrix, tiles, out=target)


def _tile_rows(rows, origin, k, h):
    """[(first, last, top)]: runs of tile rows, counted within the block, and the row of x where the first one starts.

    Tile rows that lie within x are one run; any other is a run of its own.
    """
    tops = [4 * row + origin for row in range(rows.start, rows.stop)]
    inside = [i for i, top in enumerate(tops) if top >= 0 and top + k <= h]
    runs = [(i, i + 1, top) for i, top in enumerate(tops) if top < 0 or top + k > h]
    return runs + ([(inside[0], inside[-1] + 1, tops[inside[0]])] if inside else [])


def _to_pixels(m, bias, place, out, rectify):
    """A^T m A + bias: the products m (N, TH, TW, 6, 6, O) into their 4x4 outputs, as far as these lie in out; rectified
    while they are in the cache if so asked."""
    (images, rows), (oh, w, o), (n, th, tw) = place, out.shape[1:], m.shape[:3]
    h = min(oh, 4 * rows.stop) - 4 * rows.start
    columns = 6 if bias is None else 7
    matrix = _OUTPUT if bias is None else _WITH_BIAS

    half = _workspace.empty("half", (n, th, tw, 4, columns * o), np.float32)
    np.matmul(_OUTPUT, m.reshape(n, th, tw, 6, 6 * o), out=half[..., : 6 * o])
    if bias is not None:
        half[..., 6 * o :] = bias
    half = half.reshape(n, th, tw, 4, columns, o)

    for tile_rows, height in ((slice(0, h // 4), 4), (slice(h // 4, th), h % 4)):
        for tile_columns, width in ((slice(0, w // 4), 4), (slice(w // 4, tw), w % 4)):
            source = half[:, tile_rows, tile_columns, :height]
            if source.size and width:
                start = (images.start * oh + 4 * (rows.start + tile_rows.start)) * w + 4 * tile_columns.start
                strides = (oh * w * o, 4 * w * o, 4 * o, w * o, o, 1)
                pixels = _view(out, start * o, (*source.shape[:4], width, o), strides)
                np.matmul(matrix[:width], source, out=pixels)
                if rectify:
                    np.maximum(pixels, 0, out=pixels)


def _view(array, start, shape, strides):
    """A view of a contiguous array: from its element `start`, by strides counted in elements."""
    size = array.itemsize
    return np.ndarray(shape, array.dtype, array, start * size, tuple(size * stride for stride in strides))


def _transformed(w, turned):
    """U (36, panels, C, panel) of w (O,C,3,3); `turned`: for the input gradient, of w turned by half a turn, with O and
    C exchanged. Kept where the weight is frozen, else scratch memory."""
    taps = w.transpose(1, 0, 2, 3) if turned else w
    o, c = taps.shape[:2]
    panel = _panel(o, c)

    def fill(u):
        _transform_weight(taps, np.ascontiguousarray(_WEIGHT[:, ::-1]) if turned else _WEIGHT, u)

    shape = (36, o // panel, c, panel)
    u = form(w, ("winograd", turned), shape, fill)
    if u is None:
        fill(u := _workspace.empty("weights", shape, np.float32))
    return u


def _transform_weight(w, matrix, u):
    """Fill u (36, panels, C, panel) from w (O,C,3,3); matrix (36, 9)."""
    _, panels, c, panel = u.shape
    # the 36x9 matrix meets this many columns at a time, few enough for OpenBLAS not to copy them
    run = math.gcd(c, max(1, 2048 // panel)) * panel

    def fill(part):
        i, channels = part
        taps = w[i * panel : (i + 1) * panel, channels].transpose(2, 3, 1, 0)
        by_tap = _workspace.empty("taps", taps.shape, np.float32)
        by_tap[...] = taps
        target = u[:, i, channels].reshape(36, -1, run).transpose(1, 0, 2)
        np.matmul(matrix, by_tap.reshape(9, -1, run).transpose(1, 0, 2), out=target)

    step = run // panel
    runs = [slice(step * part.start, step * part.stop) for part in blocks(c // step, 16)]
    parallel(fill, [(i, channels) for i in range(panels) for channels in runs])


def _panel(o, c):
    """The width of a panel of the O output channels: the largest multiple of 16 that divides O, or all of O.

    At most 64 channels, or 32 where there are many input channels: so measured, with OpenBLAS' AVX-512 kernels.
    """
    widest = 64 if c < 256 else 32
    return next((width for width in (64, 48, 32, 16) if width <= widest and o % width == 0), o)
