"""Winograd's convolution F(m x m, 3x3), m = 6, 4 or 2: (m + 2)^2 products where the definition takes 9 m^2.

Two polynomials h (3 coefficients) and a (m) have a product s (n = m + 2) that its values at n points determine:
evaluate both, multiply point by point, interpolate. With E_k the n x k matrix that evaluates a polynomial of k
coefficients at the points (the last point is infinity, where the value is the leading coefficient),

    s = E_n^-1 [(E_3 h) * (E_m a)].

For fixed h this map from a to s is linear, and its transpose maps n numbers d to the m outputs of correlating them with
h (transposing a convolution gives a correlation):

    y = E_m^T [(E_3 h) * (E_n^-T d)],        in Winograd's letters  y = A^T [(G h) * (B^T d)],

n products where correlation takes 3 m. In two dimensions each matrix acts on rows and on columns, that is, as a
Kronecker product on the n^2 numbers of a flattened n x n tile. With channels, every one of the n^2 products is a matrix
product, (tiles, C) times (C, O).

- Forward: n x n tiles, m apart, of the input.
- Input gradient: the same with C and O exchanged, the 3x3 weights turned by half a turn, and padding 2 - p.
- Weight gradient: y is bilinear in d and h, so with V = B^T d and dY an m x m tile of the output's gradient,
  gh = G^T sum over tiles of (A dY) * V.

F(4x4, 3x3) makes 36 products for 16 outputs (144 by the definition), of weights that take 4 times the memory, F(2x2,
3x3) 16 for 4, of 1.8 times the memory: better for few tiles, where reading the weights is what takes the time. F(6x6,
3x3) makes 64 for 36 (324), of 7 times the memory: better for many tiles and few channels.

The transforms are matrix products, so round numbers in them gain nothing and the points are free:
0, +-3/4, +-3/2 and infinity lose 3 times less accuracy in F(4x4) than the usual 0, +-1, +-2. For F(6x6) none were found
that lose less than the usual 0, +-1/2, +-1, +-2, which lose 4 to 6 times as much as those of F(4x4).

A NaN or an infinity spreads over the outputs of its tiles, where the direct convolution keeps it to its windows.

Reference: A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, arXiv:1509.09308.
Letters, beside the package's: TH TW the tiles down and across, T tiles in a block, V U M the n^2 transformed values of
inputs, weights and products. V and M lie value by value, (n^2, T, channels), so that each product reads and writes runs
of memory, and on the way back the rows of all tiles are one wide product. `panel` is a run of output channels and
`part` one of input channels: a value's U for one of each is to stay in a core's first-level cache while tiles pass by.
The products of parts are added up on the way back to pixels.
"""

import functools
import itertools
import math

import numpy as np

from minigrad.kernels.cpu.blocking import grid_blocks
from minigrad.kernels.cpu.elementwise import relu_in_place
from minigrad.kernels.cpu.memory import Workspace, lasting_empty
from minigrad.kernels.cpu.pooling import max_of_four
from minigrad.kernels.cpu.product import UNCOPIED, uncopied_run
from minigrad.kernels.cpu.threads import blocks, parallel, runs, shares, thread_count
from minigrad.kernels.frozen import form_or_new
from minigrad.kernels.layout import channels_first, channels_last, empty_channels_last


def matrices(m, points):
    """B^T (n, n), A^T (m, n) and G (n, 3) of F(m, 3), in float64; points: n - 1 finite ones, the last is infinity."""
    return np.linalg.inv(_evaluation(points, m + 2)).T, _evaluation(points, m).T, _evaluation(points, 3)


def _evaluation(points, coefficients):
    """E_k: the values at the points and at infinity of a polynomial with k coefficients, (len(points) + 1, k)."""
    finite = [[point**power for power in range(coefficients)] for point in points]
    return np.array([*finite, [0] * (coefficients - 1) + [1]], np.float64)


PARTS = (1, 2, 4, 8)  # into how many parts input channels may be cut


class Tiling:
    """F(m x m, 3x3): m x m outputs of an n x n tile of the input, n = m + 2, by n^2 products; and its matrices."""

    def __init__(self, m, points):
        b, a, g = matrices(m, points)
        self.m, self.n, self.points = m, m + 2, points
        self.input, self.output = b.astype(np.float32), a.astype(np.float32)  # B^T and A^T
        self.output_grad = np.ascontiguousarray(self.output.T)  # A
        self.weight = np.kron(g, g).astype(np.float32)  # (n^2, 9)
        self.turned = np.ascontiguousarray(self.weight[:, ::-1])  # the same for weights turned by half a turn
        self.sums = {parts: np.hstack([self.output] * parts) for parts in PARTS}  # A^T of a sum of products
        self.with_bias = np.hstack([self.output, np.ones((m, 1), np.float32)])  # the bias rides as one more column

    def of_weights(self, turned):
        """The matrix (n^2, 9) for weights, or for their `turned` selves."""
        return self.turned if turned else self.weight


LARGEST = Tiling(6, (0, 1 / 2, -1 / 2, 1, -1, 2, -2))
LARGE = Tiling(4, (0, 3 / 4, -3 / 4, 3 / 2, -3 / 2))
SMALL = Tiling(2, (0, 1, -1))
_WEIGHTS = 16  # tiles whose products take as long as the weights, which are read transformed or made so, as measured

_CACHE = 6 << 20  # bytes of V or M or both in a block: three times a second-level cache; less costs more in calls
_SHARED = 6 << 20  # bytes above which U is made in pieces, and the threads share out the values of a sum of products
_PIECE = 5 << 18  # bytes of U that a thread makes at a time: with some of V they fit in its second-level cache
_TOGETHER = 256  # tiles in a block that all threads work on together
_WIDEST = 15000  # numbers in rows that an n x n matrix is multiplied by: BLAS does not copy them
_PANEL = 64  # channels of a panel at most
_FIRST_CACHE = 1 << 13  # numbers of U that fit in a core's first-level cache and leave room for others
_workspace = Workspace()
_scratch = functools.partial(_workspace.empty, "weights")  # for weights that are not kept


def fits(kernel_hw, stride, dilation, groups, *arrays):
    """Whether the convolution is one this file can do: 3x3, stride 1, dilation 1, one group, float32."""
    return (
        tuple(kernel_hw) == (3, 3)
        and tuple(stride) == tuple(dilation) == (1, 1)
        and groups == 1
        and all(a.dtype == np.float32 for a in arrays)
    )


# ---------------------------------------------------------------------------------------------------------------------
# Public: forward, input gradient, weight gradient
# ---------------------------------------------------------------------------------------------------------------------


def conv2d(x, w, bias, padding, rectify=False, pool=False):
    """y (N,O,OH,OW) of x (N,C,H,W), w (O,C,3,3), bias (O,) or None; stride 1.

    rectify: max(y, 0). pool: the largest of each 2x2 of that, (N,O,OH//2,OW//2), which alone goes to memory.
    """
    (n, _, h, width), (ph, pw), o = x.shape, padding, len(w)
    oh, ow = max(0, h + 2 * ph - 2), max(0, width + 2 * pw - 2)
    y = empty_channels_last((n, o, oh // 2, ow // 2) if pool else (n, o, oh, ow), x.dtype, x)
    out = channels_last(y)

    def finish(tiling, products, place):
        images, rows = place
        rows = slice(tiling.m * rows.start, min(oh, tiling.m * rows.stop))
        if not pool:
            target = out[images, rows]
            _to_pixels(tiling, products, bias, target)
        else:
            shape = (images.stop - images.start, rows.stop - rows.start, ow, o)
            pixels = _workspace.empty("inputs", shape, np.float32)  # V has served, and its memory is in the cache
            _to_pixels(tiling, products, bias, pixels)
            target = out[images, rows.start // 2 : rows.stop // 2]  # tiles have an even number of rows
            max_of_four(channels_first(pixels), channels_first(target))
        if rectify:
            relu_in_place(target)

    _correlate(_contiguous(x), w, False, (n, oh, ow), (-ph, -pw), finish)
    return y


def conv2d_input_grad(g, w, input_hw, padding):
    """gx (N,C,*input_hw) of g (N,O,OH,OW)."""
    gx = empty_channels_last((len(g), w.shape[1], *input_hw), g.dtype, g)
    out, origin = channels_last(gx), (padding[0] - 2, padding[1] - 2)

    def finish(tiling, products, place):
        images, rows = place
        _to_pixels(tiling, products, None, out[images, tiling.m * rows.start : tiling.m * rows.stop])

    _correlate(_contiguous(g), w, True, (len(g), *input_hw), origin, finish)
    return gx


def conv2d_weight_grad(x, g, padding):
    """gw (O,C,3,3) of x (N,C,H,W) and g (N,O,OH,OW)."""
    x, g = _contiguous(x), _contiguous(g)
    c, o = x.shape[3], g.shape[3]
    sum_products = _sum_products_by_value if 36 * c * o * 4 > _SHARED else _sum_products_by_tiles
    products = sum_products(x, g, (-padding[0], -padding[1]))
    gw = LARGE.weight.T @ products.reshape(36, o * c)
    return np.ascontiguousarray(gw.reshape(9, o, c).transpose(1, 2, 0)).reshape(o, c, 3, 3)


def _contiguous(x):
    """(N,C,H,W) as a contiguous (N,H,W,C) array; a copy only where memory is not channels-last already."""
    return np.ascontiguousarray(channels_last(x))


# ---------------------------------------------------------------------------------------------------------------------
# The correlation, block by block
# ---------------------------------------------------------------------------------------------------------------------


def _correlate(x, w, turned, grid, origin, finish):
    """The products for an output of `grid` (N,OH,OW), of x (N,H,W,C) and w or its `turned` self.

    origin: x's row and column under the first tap. finish(tiling, products, place): what becomes of those of a block.
    """
    tiling = _tiling(grid, *w.shape[:2])
    small = 4 * tiling.n**2 * w.shape[0] * w.shape[1] <= _SHARED
    *_, panel = _pieces_of(w, turned)
    by_tiles = small or panel > _PANEL  # U as a whole, also where its outputs cannot be cut into panels
    (_correlate_by_tiles if by_tiles else _correlate_by_pieces)(tiling, x, w, turned, grid, origin, finish)


def _tiling(grid, o, c):
    """The quickest tiles for an output of `grid` (N,OH,OW) and weights (O,C,3,3), or C and O exchanged.

    A tile takes n^2 products and a weight has n^2 values. The largest ones only where U is made as a whole.
    """
    fit = 4 * LARGEST.n**2 * o * c <= _SHARED
    tilings = (LARGEST, LARGE, SMALL) if fit else (LARGE, SMALL)
    return min(tilings, key=lambda tiling: tiling.n**2 * (tile_count(grid, tiling.m) + _WEIGHTS))


def tile_count(grid, m):
    """How many m x m tiles an output of `grid` (N,OH,OW) takes."""
    return grid[0] * -(-grid[1] // m) * -(-grid[2] // m)


def _correlate_by_tiles(tiling, x, w, turned, grid, origin, finish):
    """Each thread takes a block of tiles through all steps."""
    u = _transformed(w, turned, tiling)
    values, parts, panels, depth, panel = u.shape
    c, o = parts * depth, panels * panel

    def block(place):
        v = _points("inputs", x, tiling.input, tiling, place, origin, grid)
        products = _new_products(place, grid, o, parts, tiling)
        by_part = v.reshape(values, -1, parts, 1, depth).transpose(0, 2, 3, 1, 4)
        np.matmul(by_part, u, out=products.reshape(parts, values, -1, panels, panel).transpose(1, 0, 3, 2, 4))
        finish(tiling, products, place)

    room = _CACHE + u.nbytes // 2  # every block reads all of U: the larger U, the larger the block
    tiles = min(room // (4 * values * (c + parts * o)), UNCOPIED // (depth * panel))
    parallel(block, _tile_blocks(grid, max(24, tiles), tiling.m))


def _correlate_by_pieces(tiling, x, w, turned, grid, origin, finish):
    """Where U is too large to be read for every block: the threads share out the products of many tiles.

    U is never there as a whole. A thread takes a piece of it, some panels by some of the n^2 values, makes it from the
    taps, which are n^2 / 9 times as small, multiplies by it while it is in its cache, and takes the next.
    """
    taps, matrix = _taps(w, turned), tiling.of_weights(turned)
    parts, panels, _, depth, panel = taps.shape
    run = _rows_at_once(depth, panel) * panel
    columns = taps.reshape(parts, panels, 9, -1, run).swapaxes(2, 3)  # as in _transform, but once for all pieces
    values, o = tiling.n**2, panels * panel
    together = shares(values)
    groups = runs(panels, _PIECE // (4 * -(-values // len(together)) * depth * panel))
    pieces = list(itertools.product(range(parts), groups, together))
    for place in _tile_blocks(grid, _TOGETHER, tiling.m, cut=runs):
        v = _points_by_all("inputs", x, tiling.input, tiling, place, origin, grid)
        products = _new_products(place, grid, o, parts, tiling)
        tiles = uncopied_run(v.shape[1], depth, panel)
        v = v.reshape(values, -1, tiles, parts, 1, depth).transpose(0, 3, 4, 1, 2, 5)
        target = products.reshape(parts, values, -1, tiles, panels, panel).transpose(1, 0, 4, 2, 3, 5)

        def multiply(piece, v=v, target=target):
            part, group, some = piece
            shape = (some.stop - some.start, group.stop - group.start)
            u = _workspace.empty("piece", (*shape, columns.shape[2], run), np.float32)
            np.matmul(matrix[some], columns[part, group], out=u.transpose(1, 2, 0, 3))
            np.matmul(v[some, part], u.reshape(*shape, 1, depth, panel), out=target[some, part, group])

        def finish_part(inner, place=place, products=products):
            finish(tiling, products[:, :, *inner], _within(place, inner))

        parallel(multiply, pieces)
        parallel(finish_part, grid_blocks(*products.shape[2:5], max(1, _CACHE // (4 * values * o))))


def _sum_products_by_tiles(x, g, origin):
    """The sum over tiles of (A dY) * V, (36, O, C): each thread sums over blocks of tiles of its own."""
    c, o = x.shape[3], g.shape[3]

    def partial(share):
        total = np.zeros((36, o, c), np.float32)
        product = _workspace.empty("products", total.shape, np.float32)
        for place in share:
            v = _points("inputs", x, LARGE.input, LARGE, place, origin, g.shape)
            e = _points("output_grads", g, LARGE.output_grad, LARGE, place, (0, 0), g.shape)
            total += np.matmul(e.transpose(0, 2, 1), v, out=product)
        return total

    todo, threads = _tile_blocks(g.shape, max(64, _CACHE // (288 * (c + o)))), thread_count()
    sums = parallel(partial, [todo[i::threads] for i in range(min(threads, max(1, len(todo))))])
    return sum(sums[1:], sums[0])


def _sum_products_by_value(x, g, origin):
    """The same where a sum for each thread would be large: each thread sums some of the 36 values over all tiles."""
    total = np.zeros((36, g.shape[3], x.shape[3]), np.float32)
    for place in _tile_blocks(g.shape, _TOGETHER, cut=runs):
        v = _points_by_all("inputs", x, LARGE.input, LARGE, place, origin, g.shape)
        e = _points_by_all("output_grads", g, LARGE.output_grad, LARGE, place, (0, 0), g.shape)

        def multiply(values, v=v, e=e):
            total[values] += np.matmul(e[values].transpose(0, 2, 1), v[values])

        parallel(multiply, blocks(36, 4))
    return total


def _tile_blocks(grid, tiles, m=4, cut=blocks):
    """[(images, tile rows)] for an output (N,OH,OW,...), about `tiles` tiles in each; cut: see `grid_blocks`."""
    return grid_blocks(grid[0], -(-grid[1] // m), -(-grid[2] // m), tiles, cut)


# ---------------------------------------------------------------------------------------------------------------------
# From pixels to the n^2 values of each tile, and back
# ---------------------------------------------------------------------------------------------------------------------


def _points(name, x, matrix, tiling, place, origin, grid):
    """The values (n^2, T, C) of the tiles of one block, by this thread."""
    points, target = _new_points(name, place, grid, x.shape[3], tiling)
    _to_points(x, matrix, tiling.m, place, origin, target)
    return points


def _points_by_all(name, x, matrix, tiling, place, origin, grid):
    """The same for a block too large for one core's cache, by all threads."""
    points, target = _new_points(name, place, grid, x.shape[3], tiling)

    def fill(inner):
        _to_points(x, matrix, tiling.m, _within(place, inner), origin, target[inner])

    parallel(fill, grid_blocks(*target.shape[:3], max(1, _CACHE // (4 * tiling.n**2 * x.shape[3]))))
    return points


def _new_points(name, place, grid, c, tiling):
    """Room for the values of the tiles of one block: (n^2, T, C), and the same seen as (N, TH, TW, n, n, C)."""
    side = tiling.n
    points = _workspace.empty(name, (side, side, *_tile_grid(place, grid, tiling), c), np.float32)
    return points.reshape(side**2, -1, c), points.transpose(2, 3, 4, 0, 1, 5)


def _new_products(place, grid, o, parts, tiling):
    """Room for the products of one block: (parts, n^2, N, TH, TW, O)."""
    return _workspace.empty("products", (parts, tiling.n**2, *_tile_grid(place, grid, tiling), o), np.float32)


def _tile_grid(place, grid, tiling):
    """(N, TH, TW) of a block."""
    images, rows = place
    return images.stop - images.start, rows.stop - rows.start, -(-grid[2] // tiling.m)


def _within(place, inner):
    """A part of a block, counted from the block's start, counted from the start of everything."""
    return tuple(slice(run.start + by.start, run.stop + by.start) for run, by in zip(inner, place, strict=True))


def _to_points(x, matrix, m, place, origin, target):
    """Fill target (N, TH, TW, n, n, C) with tiles of x, `matrix` (n, k) applied to their rows and columns.

    Tiles are k x k, m apart, from row and column `origin`. First all rows of x under a row of tiles at once, then the
    columns of each tile. Where rows are outside x, and so 0, the columns of `matrix` that would meet them are left out.
    """
    (images, rows), (side, k) = place, matrix.shape
    (h, w, c), (n, th, tw) = x.shape[1:], target.shape[:3]
    width = m * (tw - 1) + k
    left, right = min(max(0, -origin[1]), width), min(max(0, w - origin[1]), width)

    half = _workspace.empty("half", (n, th, side, width * c), np.float32)
    half[..., : left * c] = 0
    half[..., right * c :] = 0
    for first, last, top in _tile_rows(rows, origin[0], m, k, h):
        low, high = max(0, -top), min(k, h - top)
        if low >= high or left >= right:
            half[:, first:last] = 0
            continue
        start = ((images.start * h + top + low) * w + left + origin[1]) * c
        shape = (n, last - first, high - low, (right - left) * c)
        source = _view(x, start, shape, (h * w * c, m * w * c, w * c, 1))
        inside = half[:, first:last, :, left * c : right * c]
        for run in runs(source.shape[3], _WIDEST):
            np.matmul(matrix[:, low:high], source[..., run], out=inside[..., run])

    line = width * c
    tiles = _view(half, 0, (n, th, tw, side, k, c), (th * side * line, side * line, m * c, line, c, 1))
    np.matmul(matrix, tiles, out=target)


def _tile_rows(rows, origin, m, k, h):
    """[(first, last, top)]: runs of tile rows, counted within the block, and the row of x where the first one starts.

    Tile rows that lie within x are one run; any other is a run of its own.
    """
    tops = [m * row + origin for row in range(rows.start, rows.stop)]
    inside = [i for i, top in enumerate(tops) if top >= 0 and top + k <= h]
    at_edges = [(i, i + 1, top) for i, top in enumerate(tops) if top < 0 or top + k > h]
    return at_edges + ([(inside[0], inside[-1] + 1, tops[inside[0]])] if inside else [])


def _to_pixels(tiling, products, bias, out):
    """A^T M A + bias: the sums of the products (parts, n^2, N, TH, TW, O) into their m x m outputs, as far as these lie
    in out (N,h,w,O), which is contiguous. First the rows of all tiles at once, then the columns of each tile."""
    (h, w, o), (parts, _, n, th, tw) = out.shape[1:], products.shape[:5]
    m, side = tiling.m, tiling.n
    columns, matrix = (side, tiling.output) if bias is None else (side + 1, tiling.with_bias)

    half = _workspace.empty("half", (m, columns, n, th, tw, o), np.float32)
    source = products.reshape(parts * side, side, n, -1).transpose(1, 2, 0, 3)
    target = half.reshape(m, columns, n, -1)[:, :side].transpose(1, 2, 0, 3)
    for run in runs(source.shape[3], _WIDEST // parts):  # the matrix is `parts` times as wide
        np.matmul(tiling.sums[parts], source[..., run], out=target[..., run])
    if bias is not None:
        half[:, side] = bias
    half = half.transpose(2, 3, 0, 4, 1, 5)  # (N, TH, m, TW, columns, O)
    for tile_rows, height in ((slice(0, h // m), m), (slice(h // m, th), h % m)):
        for tile_columns, width in ((slice(0, w // m), m), (slice(w // m, tw), w % m)):
            source = half[:, tile_rows, :height, tile_columns]
            if source.size and width:
                start = (m * tile_rows.start * w + m * tile_columns.start) * o
                strides = (h * w * o, m * w * o, w * o, m * o, o, 1)
                pixels = _view(out, start, (*source.shape[:4], width, o), strides)
                np.matmul(matrix[:width], source, out=pixels)


def _view(array, start, shape, strides):
    """A view of a contiguous array: from its element `start`, by strides counted in elements."""
    size = array.itemsize
    return np.ndarray(shape, array.dtype, array, start * size, tuple(size * stride for stride in strides))


def _transformed(w, turned, tiling):
    """U (n^2, parts, panels, C/parts, panel) of w (O,C,3,3); `turned`: for the input gradient, of w turned by half a
    turn, with O and C exchanged. Kept where the weight is frozen, else scratch memory."""
    parts, panels, depth, panel = pieces = _pieces_of(w, turned)

    def fill(u):
        w9, step = _by_tap(w, turned), _rows_at_once(depth, panel)
        channels = [slice(step * run.start, step * run.stop) for run in blocks(depth // step, 16)]

        def part_of(item):
            part, i, some = item
            source = w9[part, i : i + 1, :, some]
            taps = _workspace.empty("taps", source.shape, np.float32)
            taps[...] = source
            _transform(tiling.of_weights(turned), taps, u[:, part, i : i + 1, some])

        parallel(part_of, itertools.product(range(parts), range(panels), channels))

    return form_or_new(w, ("winograd", tiling.m, turned), (tiling.n**2, *pieces), fill, lasting_empty, _scratch)


def _taps(w, turned):
    """(parts, panels, 9, C/parts, panel): w in pieces and tap by tap, O and C exchanged if `turned`; kept as U is."""
    parts, panels, depth, panel = _pieces_of(w, turned)

    def fill(taps):
        w9 = _by_tap(w, turned)

        def copy(item):
            taps[item] = w9[item]

        parallel(copy, np.ndindex(parts, panels))

    return form_or_new(w, ("taps", turned), (parts, panels, 9, depth, panel), fill, lasting_empty, _scratch)


def _by_tap(w, turned):
    """w (O,C,3,3), or with O and C exchanged, seen in pieces and tap by tap: (parts, panels, 9, C/parts, panel)."""
    parts, panels, depth, panel = _pieces_of(w, turned)
    if turned:
        return w.reshape(parts, depth, panels, panel, 9).transpose(0, 2, 4, 1, 3)
    return w.reshape(panels, panel, parts, depth, 9).transpose(2, 0, 4, 3, 1)


def _transform(matrix, taps, target):
    """target (n^2, panels, depth, panel) = matrix (n^2, 9) times taps (panels, 9, depth, panel), a run at a time."""
    panels, _, depth, panel = taps.shape
    run = _rows_at_once(depth, panel) * panel
    columns = taps.reshape(panels, 9, -1, run).swapaxes(1, 2)
    np.matmul(matrix, columns, out=target.reshape(len(matrix), panels, -1, run).transpose(1, 2, 0, 3))


def _rows_at_once(depth, panel):
    """How many of `depth` rows of a panel the matrix meets at a time: n^2 x 9 by 9 x 2048 is below UNCOPIED."""
    return math.gcd(depth, max(1, 2048 // panel))


def _pieces_of(w, turned):
    """`_pieces` of w (O,C,3,3), or with O and C exchanged if `turned`."""
    o, c = w.shape[:2]
    return _pieces(c, o) if turned else _pieces(o, c)


@functools.lru_cache(maxsize=256)
def _pieces(o, c):
    """(parts, panels, C/parts, panel): how O outputs and C inputs are cut, into equal runs.

    A panel is the largest multiple of 16 that divides O, at most _PANEL, or half of that where there are many input
    channels: so measured, with OpenBLAS' AVX-512 kernels. Where none divides O, it is all of O.
    """
    widest = _PANEL if c < 256 else _PANEL // 2
    panel = next((width for width in (64, 48, 32, 16) if width <= widest and o % width == 0), o)
    parts = next((n for n in PARTS if c % n == 0 and c // n * panel <= _FIRST_CACHE), 1)
    return parts, o // panel, c // parts, panel
