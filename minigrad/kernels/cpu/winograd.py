"""Winograd's convolution for a CPU: kernels/winograd.py has the mathematics, the points and the matrices.

What is added to it here is the order of the work, so that it stays in caches. Three words say how it is cut:

- a block of tiles is taken through all steps, from pixels to pixels, before the next one (winograd_tiles.py);
- a panel is a run of output channels, a part a run of input channels. One value's U for one of each stays in a core's
  first-level cache while the tiles of a block pass by. The products of parts are added up on the way back to pixels.

There are two ways to do a correlation, and two for the gradient of weights, by the size of U:

    U at most LARGEST_WHOLE_U   every thread has blocks of its own, and reads all of U for each     _by_blocks
    U larger                    all threads work on one block, on some of its n^2 products each     _all_together

For many tiles, for which U would be made again and again, it may be twice as large; for few tiles, and weights that
change, half as large.

Sizes come from tuning.py and may be changed there. What may not: the order in which products are summed decides the
last bits, so a block's size must not depend on which thread takes it.

Letters: see kernels/winograd.py. U is (n^2, parts, panels, depth, width): depth = C/parts, width = O/panels.
"""

import functools
import itertools
import math
import operator

import numpy as np

from minigrad.kernels.cpu import tuning
from minigrad.kernels.cpu.blocking import grid_blocks
from minigrad.kernels.cpu.elementwise import relu_in_place
from minigrad.kernels.cpu.memory import lasting_empty
from minigrad.kernels.cpu.pooling import max_of_four
from minigrad.kernels.cpu.product import uncopied_run
from minigrad.kernels.cpu.threads import blocks, parallel, runs, shares, thread_count
from minigrad.kernels.cpu.winograd_tiles import F2, F4, F6, Tiles, to_pixels, within, workspace
from minigrad.kernels.frozen import form_or_new, is_frozen
from minigrad.kernels.layout import channels_first, channels_last, empty_channels_last

_scratch = functools.partial(workspace.empty, "weights")  # for weights that are not kept

# ---- forward, input gradient, weight gradient ------------------------------------------------------------------------


def conv2d(x, w, bias, padding, after=None, y=None):
    """y (N,O,OH,OW) of x (N,C,H,W), w (O,C,3,3), bias (O,) or None; stride 1.

    after(pixels), where given, changes each block of y, (N,h,OW,O), while it is in the cache. y: see choose.conv2d.
    """
    if y is None:
        y = empty_channels_last((len(x), len(w), *_output_hw(x, padding)), x.dtype, x)
    _correlate(x, w, False, y.shape[2:], (-padding[0], -padding[1]), _into(y, bias, after))
    return y


def conv2d_relu_max_pool(x, w, bias, padding):
    """The largest of each 2x2 of relu(conv2d(...)), (N,O,OH//2,OW//2), which alone goes to memory."""
    oh, ow = _output_hw(x, padding)
    y = empty_channels_last((len(x), len(w), oh // 2, ow // 2), x.dtype, x)

    def finish(tiling, products, block):
        images, rows = block
        first, last = tiling.m * rows.start, min(oh, tiling.m * rows.stop)
        shape = (images.stop - images.start, last - first, ow, len(w))
        pixels = workspace.empty("inputs", shape, np.float32)  # V has served, and its memory is in the cache
        to_pixels(tiling, products, bias, pixels)
        pooled = channels_last(y)[images, first // 2 : last // 2]  # m is even, so no window crosses blocks
        max_of_four(channels_first(pixels), channels_first(pooled))
        relu_in_place(pooled)

    _correlate(x, w, False, (oh, ow), (-padding[0], -padding[1]), finish)
    return y


def conv2d_input_grad(g, w, input_hw, padding):
    """gx (N,C,*input_hw) of g (N,O,OH,OW)."""
    gx = empty_channels_last((len(g), w.shape[1], *input_hw), g.dtype, g)
    _correlate(g, w, True, input_hw, (padding[0] - 2, padding[1] - 2), _into(gx))
    return gx


def conv2d_weight_grad(x, g, padding):
    """gw (O,C,3,3) of x (N,C,H,W) and g (N,O,OH,OW)."""
    (c, o), grid = (x.shape[1], g.shape[1]), (len(g), *g.shape[2:])
    inputs = Tiles("inputs", _contiguous(x), F4.BT, F4, (-padding[0], -padding[1]), grid)
    gradients = Tiles("output_grads", _contiguous(g), F4.A, F4, (0, 0), grid)
    sum_products = _sum_by_blocks if _bytes_of_u(F4, o, c) <= tuning.LARGEST_WHOLE_U else _sum_all_together
    gw = F4.weight.T @ sum_products(inputs, gradients, (F4.n**2, o, c)).reshape(F4.n**2, o * c)
    return np.ascontiguousarray(gw.reshape(9, o, c).transpose(1, 2, 0)).reshape(o, c, 3, 3)


def _into(y, bias=None, after=None):
    """The `finish` of _correlate that brings a block's products to its place in y (N,O,OH,OW)."""

    def finish(tiling, products, block):
        images, rows = block
        pixels = channels_last(y)[images, tiling.m * rows.start : tiling.m * rows.stop]
        to_pixels(tiling, products, bias, pixels)
        if after is not None:
            after(pixels)

    return finish


def _output_hw(x, padding):
    return tuple(max(0, size + 2 * p - 2) for size, p in zip(x.shape[2:], padding, strict=True))


def _contiguous(x):
    """(N,C,H,W) as a contiguous (N,H,W,C) array; a copy only where memory is not channels-last already."""
    return np.ascontiguousarray(channels_last(x))


# ---- the correlation -------------------------------------------------------------------------------------------------


def _correlate(x, w, turned, output_hw, origin, finish):
    """The products for an output (N,_,*output_hw) of x (N,C,H,W) and w (O,C,3,3), or w `turned`: by half a turn, with O
    and C exchanged.

    origin: x's row and column under the first tap. finish(tiling, products, block): what becomes of the products of a
    block, (parts, n^2, N, TH, TW, O).
    """
    grid = (len(x), *output_hw)
    tiling = _quickest(grid, *w.shape[:2])
    tiles = Tiles("inputs", _contiguous(x), tiling.BT, tiling, origin, grid)
    *_, width = _cut(w, turned)
    in_panels = width <= tuning.PANELS[0]  # else O cannot be cut
    largest, count = tuning.LARGEST_WHOLE_U, tile_count(grid, tiling)
    if count > tuning.MANY_TILES:
        largest *= 2
    elif count <= tuning.FEW_TILES and tiling is not F6 and not is_frozen(w):  # made for this once
        largest //= 2
    whole = _bytes_of_u(tiling, *w.shape[:2]) <= largest or not in_panels
    (_by_blocks if whole else _all_together)(tiling, tiles, w, turned, finish)


def _quickest(grid, o, c):
    """The tiling for an output of `grid` (N,OH,OW) and weights (O,C,3,3), or C and O exchanged.

    A tile takes n^2 products and a weight has n^2 values. F(6x6) only where U is made as a whole.
    """
    tilings = (F6, F4, F2) if _bytes_of_u(F6, o, c) <= tuning.LARGEST_WHOLE_U else (F4, F2)
    return min(tilings, key=lambda tiling: tiling.n**2 * (tile_count(grid, tiling) + tuning.WEIGHT_COST_IN_TILES))


def _bytes_of_u(tiling, o, c):
    return 4 * tiling.n**2 * o * c


def tile_count(grid, tiling=F2):
    """How many tiles an output of `grid` (N,OH,OW) takes."""
    return grid[0] * math.prod(tiling.count(grid[1:]))


def _by_blocks(tiling, tiles, w, turned, finish):
    """Each thread takes a block of tiles through all steps."""
    u = _whole_u(w, turned, tiling)
    values, parts, panels, depth, width = u.shape

    def through_all_steps(block):
        v = tiles.values(block).reshape(values, -1, parts, 1, depth)
        products = _empty_products(tiles.shape(block), u.shape)
        target = products.reshape(parts, values, -1, panels, width)
        np.matmul(v.transpose(0, 2, 3, 1, 4), u, out=target.transpose(1, 0, 3, 2, 4))
        finish(tiling, products, block)

    room = tuning.BLOCK_BYTES + u.nbytes // 2  # every block reads all of U: the larger U, the larger the block
    size = min(room // (4 * values * parts * (depth + panels * width)), tuning.UNCOPIED // (depth * width))
    parallel(through_all_steps, tiles.blocks(max(tuning.MIN_BLOCK, size)))


def _all_together(tiling, tiles, w, turned, finish):
    """For large U: all threads do the products of one block, and each makes what it needs of U in its own cache.

    U is never there as a whole. A thread makes some panels of it for some of the n^2 values, from the taps, of which
    there are n^2 / 9 times fewer, multiplies the block by it, and takes the next.
    """
    taps, matrix = _taps(w, turned), tiling.of_weights(turned)
    parts, panels, _, depth, width = taps.shape
    steps, values = _in_steps(taps), tiling.n**2
    by_value = shares(values)
    by_panel = runs(panels, tuning.U_AT_ONCE // (4 * -(-values // len(by_value)) * depth * width))
    todo = list(itertools.product(range(parts), by_panel, by_value))
    for block in tiles.blocks(tuning.BLOCK_OF_ALL, cut=runs):
        v = tiles.values_by_all(block)
        products = _empty_products(tiles.shape(block), (values, parts, panels, depth, width))
        rows = uncopied_run(v.shape[1], depth, width)
        v = v.reshape(values, -1, rows, parts, 1, depth).transpose(0, 3, 4, 1, 2, 5)
        target = products.reshape(parts, values, -1, rows, panels, width).transpose(1, 0, 4, 2, 3, 5)

        def multiply(item, v=v, target=target):
            part, some_panels, some_values = item
            shape = (some_values.stop - some_values.start, some_panels.stop - some_panels.start)
            u = workspace.empty("some of U", (*shape, steps.shape[2], steps.shape[4]), np.float32)
            np.matmul(matrix[some_values], steps[part, some_panels], out=u.transpose(1, 2, 0, 3))
            u = u.reshape(*shape, 1, depth, width)
            np.matmul(v[some_values, part], u, out=target[some_values, part, some_panels])

        def finish_some(inner, block=block, products=products):
            finish(tiling, products[:, :, *inner], within(block, inner))

        parallel(multiply, todo)
        tiles_in_cache = tuning.BLOCK_BYTES // (4 * values * panels * width)
        parallel(finish_some, grid_blocks(*tiles.shape(block), max(1, tiles_in_cache)))


def _empty_products(tiles_shape, u_shape):
    """Room for the products of a block: (parts, n^2, N, TH, TW, O)."""
    values, parts, panels, _, width = u_shape
    return workspace.empty("products", (parts, values, *tiles_shape, panels * width), np.float32)


# ---- the gradient of weights: the sum over tiles of (A dY A^T) * V, (36, O, C) ---------------------------------------


def _sum_by_blocks(inputs, gradients, shape):
    """Each thread sums over blocks of tiles of its own."""

    def partial(own):
        total, product = None, workspace.empty("products", shape, np.float32)
        for block in own:
            v, e = inputs.values(block), gradients.values(block)
            if total is None:
                total = np.matmul(e.transpose(0, 2, 1), v)
            else:
                total += np.matmul(e.transpose(0, 2, 1), v, out=product)
        return np.zeros(shape, np.float32) if total is None else total

    size = tuning.BLOCK_BYTES // (2 * 4 * F4.n**2 * (shape[1] + shape[2]))
    todo, threads = inputs.blocks(max(tuning.MIN_BLOCK_WEIGHT_GRAD, size)), thread_count()
    sums = parallel(partial, [todo[i::threads] for i in range(min(threads, max(1, len(todo))))])
    return functools.reduce(operator.iadd, sums)


def _sum_all_together(inputs, gradients, shape):
    """Each thread sums some of the 36 values over all tiles: for large sums, of which there is only one then."""
    total = np.zeros(shape, np.float32)
    for block in inputs.blocks(tuning.BLOCK_OF_ALL, cut=runs):
        v, e = inputs.values_by_all(block), gradients.values_by_all(block)

        def add_products(some, v=v, e=e):
            total[some] += np.matmul(e[some].transpose(0, 2, 1), v[some])

        parallel(add_products, blocks(len(total), tuning.VALUES_AT_ONCE))
    return total


# ---- the weights in panels and parts ---------------------------------------------------------------------------------


def _whole_u(w, turned, tiling):
    """U of w (O,C,3,3), or of w `turned`. Kept where the weight is frozen, else scratch memory."""
    parts, panels, depth, width = cut = _cut(w, turned)

    def fill(u):
        step = _rows_in_step(depth, width)
        rows = [slice(step * run.start, step * run.stop) for run in blocks(depth // step, tuning.STEPS_AT_ONCE)]

        def transform(item):
            source = _by_tap(w, turned)[item]
            taps = workspace.empty("taps", source.shape, np.float32)
            taps[...] = source
            part, panel, _, some = item
            steps = _in_steps(taps)
            target = u[:, part, panel, some].reshape(len(u), len(steps), -1)
            np.matmul(tiling.of_weights(turned), steps, out=target.transpose(1, 0, 2))

        parallel(transform, itertools.product(range(parts), range(panels), [slice(None)], rows))

    return form_or_new(w, ("winograd", tiling.m, turned), (tiling.n**2, *cut), fill, lasting_empty, _scratch)


def _taps(w, turned):
    """w tap by tap, (parts, panels, 9, depth, width), without gaps; kept as U is."""
    parts, panels, depth, width = _cut(w, turned)

    def fill(taps):
        by_tap = _by_tap(w, turned)

        def copy(item):
            taps[item] = by_tap[item]

        parallel(copy, np.ndindex(parts, panels))

    return form_or_new(w, ("taps", turned), (parts, panels, 9, depth, width), fill, lasting_empty, _scratch)


def _by_tap(w, turned):
    """w (O,C,3,3), or with O and C exchanged, seen as (parts, panels, 9, depth, width)."""
    parts, panels, depth, width = _cut(w, turned)
    if turned:
        return w.reshape(parts, depth, panels, width, 9).transpose(0, 2, 4, 1, 3)
    return w.reshape(panels, width, parts, depth, 9).transpose(2, 0, 4, 3, 1)


def _in_steps(taps):
    """Taps (..., 9, depth, width) as the columns of matrices (..., steps, 9, columns) that BLAS multiplies uncopied."""
    *others, _, depth, width = taps.shape
    return taps.reshape(*others, 9, -1, _rows_in_step(depth, width) * width).swapaxes(-3, -2)


def _rows_in_step(depth, width):
    return math.gcd(depth, max(1, tuning.TAP_COLUMNS // width))


def _cut(w, turned):
    """(parts, panels, depth, width) of w (O,C,3,3), or with O and C exchanged if `turned`."""
    o, c = w.shape[:2]
    return _panels_and_parts(c, o) if turned else _panels_and_parts(o, c)


@functools.lru_cache(maxsize=256)
def _panels_and_parts(o, c):
    """(parts, panels, depth, width): how O outputs and C inputs are cut, into equal runs; all O are one panel where no
    width divides it."""
    widest = tuning.PANELS[0] if c < tuning.MANY_INPUTS else tuning.PANELS[0] // 2
    width = next((width for width in tuning.PANELS if width <= widest and o % width == 0), o)
    parts = next((n for n in tuning.PARTS if c % n == 0 and c // n * width <= tuning.NUMBERS_OF_U), 1)
    return parts, o // width, c // parts, width
