"""The direct convolution: windows laid out as rows of a matrix (im2col), times the weights. Any dtype, any argument.

Everything here is one operation, a correlation on channels-last arrays with the window's first tap at row
`origin` of the input for output row 0 (x counts as zero outside itself):

    out[n, i, j, o] = sum over a, b, c of  x[n, i*sh + a*dh + origin_h, j*sw + b*dw + origin_w, c] * w[a, b, c, o]

- Forward: origin = -padding.
- Input gradient: input row r gets g[i] * w[a] wherever r = i*sh + a*dh - ph. Rows with the same (r + ph) mod sh = q
  meet the same taps, those with a*dh mod sh = q, and for these rows the sum is a correlation of stride 1 over g with
  the taps reversed. So it is one correlation for each of the sh*sw phases, each writing every sh-th row of gx; no
  scattered addition, hence no two threads that write the same place.
- Weight gradient: the same windows, transposed, times g.

The work is cut into blocks of output rows whose windows stay in caches. How a block is filled depends on the shape:

    pixels                no window to copy: the pixels as they lie, times the weights    1x1, stride 1
    windows by channels   im2col, copied in runs of channels, times the weights           the rule
    windows by pixels     im2col, copied tap by tap in runs of pixels, times the weights  few channels, or few positions
    taps weighed          the sum over taps of a view of the input times a number         one channel in each group:
                                                                                          see depthwise.py
    products shifted      pixels times the weights of all taps, then sums, shifted        few outputs
    products spread       g times the weights, added to the pixels that each tap took     few pixels, frozen weights
    products scattered    the same in one product, channel by channel                     few pixels, or few channels

`_way`, `_copies_by_pixels` and `_spreads` say when exactly. What is few, and how large a block is, is in tuning.py and
may be changed there. What a block holds must not depend on which thread takes it.
"""

import math

import numpy as np

from minigrad.kernels.cpu import depthwise, tuning
from minigrad.kernels.cpu.blocking import phases, taps_of
from minigrad.kernels.cpu.elementwise import add_bias, relu_in_place
from minigrad.kernels.cpu.memory import Workspace, lasting_empty
from minigrad.kernels.cpu.pooling import max_of_four
from minigrad.kernels.cpu.product import matmul, pixels_times, uncopied_run
from minigrad.kernels.cpu.threads import blocks, parallel, runs, shares, thread_count
from minigrad.kernels.cpu.windows import columns_of, copy, row_blocks, tile_of, windows_of
from minigrad.kernels.frozen import form
from minigrad.kernels.layout import as_rows, channels_first, channels_last, empty_channels_last
from minigrad.kernels.plain import output_hw

_workspace = Workspace()

# ---- forward, input gradient, weight gradient ------------------------------------------------------------------------


def conv2d(x, w, bias, stride, padding, dilation, groups, after=None, y=None):
    """y (N,O,OH,OW) of x (N,C,H,W), w (O,C/G,KH,KW), bias (O,) or None; all geometry in (row, column) pairs.

    after(pixels), where given, changes each block of y, (..., O), while it is in the cache. y: see choose.conv2d.
    """
    if y is None:
        shape = len(x), len(w), *output_hw(x.shape[2:], w.shape[2:], stride, padding, dilation)
        y = empty_channels_last(shape, np.result_type(x, w), x)
    if w.shape[2:] == stride == (1, 1) and padding == (0, 0) and groups == 1 and (rows := as_rows(x)) is not None:
        pixels_times(rows, _turned(w, len(rows)), bias, channels_last(y).reshape(-1, len(w)), after)
        return y
    origin, way = (-padding[0], -padding[1]), _way(w.shape, stride, groups)
    _correlate(way, channels_last(x), w, bias, channels_last(y), stride, dilation, origin, groups, after)
    return y


def conv2d_relu_max_pool(x, w, bias, stride, padding, dilation, groups):
    """The largest of each 2x2 of relu(conv2d(...)), (N,O,OH//2,OW//2), which alone goes to memory."""
    oh, ow = output_hw(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y = empty_channels_last((len(x), len(w), oh // 2, ow // 2), np.result_type(x, w), x)
    fill, numbers = _way(w.shape, stride, groups)(w, bias, stride, dilation, groups, len(x) * oh * ow)
    x, origin = channels_last(x), (-padding[0], -padding[1])

    def fill_block(block):
        images, rows = block  # of y; twice as many rows are computed
        tile = tile_of(x[images], slice(2 * rows.start, 2 * rows.stop), ow, w.shape[2:], stride, dilation, origin)
        pixels = _workspace.empty("pixels", (len(tile), 2 * (rows.stop - rows.start), ow, len(w)), y.dtype)
        fill(tile, pixels)
        pooled = y[images, :, rows]
        max_of_four(channels_first(pixels), pooled)
        relu_in_place(pooled)

    parallel(fill_block, row_blocks((len(x), oh // 2, 2 * ow), (numbers + len(w)) * y.itemsize, w.nbytes))
    return y


def conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups):
    """gx (N,C,*input_hw) of g (N,O,OH,OW): the transposed convolution."""
    cg, shape = w.shape[1], (g.shape[0], w.shape[1] * groups, *input_hw)
    whole = w.shape[2:] == stride == (1, 1) and input_hw == g.shape[2:] and groups == 1
    gx = empty_channels_last(shape, np.result_type(g, w), g)
    if whole and (rows := as_rows(g)) is not None:
        pixels_times(rows, w[:, :, 0, 0], None, as_rows(gx))
        return gx
    if _spreads(shape, groups) and (by_window := _kept_by_window(w, groups)) is not None:
        _spread_products(g, by_window.reshape(len(w), *w.shape[2:], cg), gx, stride, padding, dilation)
        return gx
    if groups == 1 and stride != (1, 1) and tuning.FEW_OUTPUTS * cg <= len(w):
        _scatter_products(g, w, gx, stride, padding, dilation, runs(len(g), 1))
        return gx
    several = groups == 1 and math.prod(w.shape[2:]) > 1
    if several and 0 < g.size < cg * len(w):  # fewer pixels than channels
        _scatter_products(g, w, gx, stride, padding, dilation, [slice(None)])
        return gx
    if several and stride != (1, 1) and 0 < g.size <= tuning.FEW_PIXELS * cg * len(w):
        _scatter_products(g, w, gx, stride, padding, dilation, shares(len(g)))
        return gx
    if cg == 1 < groups == len(w):
        depthwise.input_grad(g, w, gx, stride, padding, dilation)
        return gx
    # (C, O/G, KH, KW): the roles of O and C swapped, group by group
    swapped = w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2).reshape(cg * groups, -1, *w.shape[2:])

    for rows in phases(input_hw[0], w.shape[2], stride[0], padding[0], dilation[0]):
        for columns in phases(input_hw[1], w.shape[3], stride[1], padding[1], dilation[1]):
            out = channels_last(gx)[:, rows.outputs, columns.outputs]
            if out.size == 0:
                continue
            taps = swapped[:, :, rows.taps, columns.taps]
            if taps.size == 0:
                out[...] = 0
                continue
            geometry = (1, 1), (rows.dilation, columns.dilation), (rows.origin, columns.origin)
            way = _way(taps.shape, (1, 1), groups)
            _correlate(way, channels_last(g), taps, None, out, *geometry, groups)
    return gx


def conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups):
    """gw (O,C/G,KH,KW) of x (N,C,H,W) and g (N,O,OH,OW)."""
    length, o, dtype = math.prod(kernel_hw) * x.shape[1] // groups, g.shape[1] // groups, np.result_type(x, g)
    x, g = channels_last(x), channels_last(g)
    origin = (-padding[0], -padding[1])
    by_pixels = _copies_by_pixels(x.shape[3] // groups, math.prod(g.shape[:3]), o)

    def partial(own):
        """The sum over one thread's blocks, (G, O/G, KH*KW*C/G); a single block of all is shared out by `matmul`."""
        total = None
        for images, rows in own:
            g_block = g[images, rows]
            tile = tile_of(x[images], rows, g.shape[2], kernel_hw, stride, dilation, origin)
            windows = windows_of(tile, g_block.shape[1:3], kernel_hw, stride, dilation)
            g_rows = columns_of(g_block[:, :, :, None, None], groups, False, "g")
            columns = columns_of(windows, groups, by_pixels, "columns")
            if by_pixels and len(g_rows[0]) > o:  # BLAS is faster the other way round, and the result is soon turned
                product = matmul(columns.swapaxes(1, 2), g_rows).swapaxes(1, 2)
            else:
                product = matmul(g_rows.swapaxes(1, 2), columns)
            total = product if total is None else np.add(total, product, out=total)
        return total

    todo = row_blocks(g.shape, length * groups * dtype.itemsize, length * g.shape[3] * dtype.itemsize)
    owned = [todo[i :: thread_count()] for i in range(thread_count())]
    partials = parallel(partial, [own for own in owned if own])
    gw = sum(partials[1:], partials[0]) if partials else np.zeros((groups, o, length), dtype)
    if by_pixels:
        return gw.reshape(groups * o, -1, *kernel_hw)
    by_channel = gw.reshape(groups * o, *kernel_hw, -1).transpose(0, 3, 1, 2)
    gw = np.empty(by_channel.shape, dtype)
    copy(by_channel, gw)
    return gw


# ---- the correlation, and the ways to fill a block of it -------------------------------------------------------------


def _way(w_shape, stride, groups):
    """How the output of a correlation with weights (O,C/G,KH,KW) is filled."""
    o, cg, *kernel_hw = w_shape
    if cg == 1 and groups > 1:
        return depthwise.weigh_taps
    if tuning.FEW_OUTPUTS * o <= cg and groups == 1 and stride == (1, 1) and math.prod(kernel_hw) > 1:
        return _shift_products
    return _multiply_windows


def has_few_weights(w, groups):
    """Whether the weights (O,C/G,KH,KW) of a group stay in the first-level cache."""
    return w.size // groups <= tuning.FEW_WEIGHTS


def _copies_by_pixels(channels, positions, outputs):
    """Whether windows are copied tap by tap, in runs of pixels, or window by window, in runs of `channels` numbers.

    It decides the order of a window's numbers: (C/G, KH, KW) by pixels, which is the weights' own, and (KH, KW, C/G) by
    channels. Where positions are few, reordering the weights would cost more than the longer runs save.
    """
    return channels < tuning.FEW_CHANNELS or positions < outputs


def _turned(w, pixels):
    """Weights (O,C,1,1) as (C,O): frozen ones in that order of memory where BLAS would turn more than it multiplies."""
    view = w[:, :, 0, 0].T
    if pixels > max(view.shape) and view.size > tuning.FEW_WEIGHTS:
        return view
    turned = form(w, "turned", view.shape, lambda made: np.copyto(made, view))
    return view if turned is None else turned


def _spreads(shape, groups):
    """Whether the input gradient (N,C,H,W) has so few pixels that frozen weights do better in the order of windows."""
    n, c, h, w = shape
    return groups == 1 and n * h * w < c


def _correlate(way, x, w, bias, out, stride, dilation, origin, groups, after=None):
    """Fill out (N,OH,OW,O) from x (N,H,W,C), w (O,C/G,KH,KW), which may be a transposed view, and bias (O,) or None."""
    fill, numbers = way(w, bias, stride, dilation, groups, math.prod(out.shape[:3]))

    def fill_block(block):
        images, rows = block
        target = out[images, rows]
        fill(tile_of(x[images], rows, out.shape[2], w.shape[2:], stride, dilation, origin), target)
        if after is not None:
            after(target)

    parallel(fill_block, row_blocks(out.shape, numbers * out.dtype.itemsize, w.size * out.dtype.itemsize))


# A way makes fill(tile, target), which fills target (n,rows,OW,O) from the part of x that its windows cover, and says
# how many numbers it needs in the cache for each position.


def _multiply_windows(w, bias, stride, dilation, groups, positions):
    """The windows as the rows of a matrix, times the weights, plus the bias.

    Few weights are kept in order and multiplied in short products. With windows copied by pixels, each then gets a 1 at
    its end, and the bias is a weight like others.
    """
    kept = _kept_by_window(w, groups)
    by_pixels = kept is None and _copies_by_pixels(w.shape[1], positions, w.shape[0] // groups)
    if kept is None:
        ordered = w if by_pixels else w.transpose(0, 2, 3, 1)
        kept = ordered.reshape(groups, w.shape[0] // groups, -1)
    matrix = kept.swapaxes(1, 2)  # (G, KH*KW*C/G, O/G)
    few = has_few_weights(w, groups)
    ones = few and by_pixels and bias is not None
    if ones:
        matrix = np.concatenate([matrix, bias.reshape(groups, 1, -1)], axis=1)
    matrix = (np.ascontiguousarray(matrix) if few else matrix)[:, None]

    def fill(tile, target):
        windows = windows_of(tile, target.shape[1:3], w.shape[2:], stride, dilation)
        columns = columns_of(windows, groups, by_pixels, "columns", ones)
        run = uncopied_run(*columns.shape[1:], matrix.shape[3]) if few else columns.shape[1]
        columns = columns.reshape(groups, -1, run, columns.shape[2])
        if groups == 1 and target.flags.c_contiguous and target.dtype == np.result_type(columns, matrix):
            matmul(columns, matrix, out=target.reshape(1, -1, run, w.shape[0]))
        else:
            product = matmul(columns, matrix).reshape(groups, -1, matrix.shape[3])
            target[...] = product.swapaxes(0, 1).reshape(target.shape)
        if bias is not None and not ones:
            add_bias(target, bias)

    return fill, groups * w[0].size


def _kept_by_window(w, groups):
    """(G, O/G, KH*KW*C/G): frozen weights in the order of windows; None where these are not kept, or need no order."""
    o, c, kh, kw = w.shape
    if c < tuning.FEW_CHANNELS or kh * kw == 1:
        return None

    def fill(matrix):
        matrix.reshape(o, kh, kw, c)[...] = w.transpose(0, 2, 3, 1)

    return form(w, "by window", (groups, o // groups, kh * kw * c), fill, lasting_empty)


def _shift_products(w, bias, stride, dilation, groups, positions):
    """Every pixel times the weights of all taps, then sums of shifted products; of stride 1.

    For few outputs the image is not copied once for each tap, as windows are, and the sums are of few channels.
    """
    o, c, kh, kw = w.shape
    matrix = w[:, :, ::-1, ::-1].transpose(0, 2, 3, 1).reshape(-1, c)  # (O*KH*KW, C), taps in reverse

    def fill(tile, target):
        n, h, width, _ = tile.shape
        products = np.matmul(matrix, tile.reshape(-1, c).T).reshape(o, kh, kw, n, h, width)
        _, rows, columns, _ = target.shape
        total = 0
        for a in range(kh):
            for b in range(kw):
                top, left = a * dilation[0], b * dilation[1]
                total += products[:, kh - 1 - a, kw - 1 - b, :, top : top + rows, left : left + columns]
        target[...] = total.transpose(1, 2, 3, 0)
        if bias is not None:
            add_bias(target, bias)

    return fill, c + 2 * kh * kw * o


def _spread_products(g, w, gx, stride, padding, dilation):
    """Fill gx (N,C,H,W), the input gradient, by the transpose of im2col: for each tap, g (N,O,OH,OW) times w
    (O,KH,KW,C) is added to the pixels that the tap took. Threads share out the channels.
    """
    rows = np.ascontiguousarray(channels_last(g)).reshape(-1, len(w))
    taps = taps_of(gx.shape[2:], g.shape[2:], w.shape[1:3], stride, padding, dilation)
    w = w.reshape(len(w), len(taps), -1)

    def fill(channels):
        target = gx[:, channels]
        target[...] = 0
        product = _workspace.empty("columns", (len(rows), target.shape[1]), g.dtype)
        by_position = product.reshape(len(g), *g.shape[2:], -1).transpose(0, 3, 1, 2)
        for number, tap in enumerate(taps):
            np.matmul(rows, w[:, number, channels], out=product)
            outputs, pixels = tap.within(slice(0, g.shape[2]), target)
            pixels += by_position[:, :, *outputs]

    parallel(fill, blocks(gx.shape[1], tuning.SPREAD_CHANNELS))


def _scatter_products(g, w, gx, stride, padding, dilation, todo):
    """Fill gx (N,C,H,W), the input gradient: for each slice of images in `todo` one product of w (O,C,KH,KW), as it
    lies in memory, with the pixels of g (N,O,OH,OW), which is added tap by tap to the pixels that the tap took.

    For few channels: phase by phase, g would be copied and framed in zeros for each. For few pixels, which are mostly
    border: no product meets a zero of the padding.
    """
    o, c, *kernel = w.shape
    matrix = w.reshape(o, -1).T
    taps = taps_of(gx.shape[2:], g.shape[2:], tuple(kernel), stride, padding, dilation)
    g = g.transpose(2, 3, 0, 1)  # (OH,OW,N,O): with the images last, sums over pixels are of long runs

    def fill(images):
        pixels = g[:, :, images]
        products = matmul(matrix, pixels.reshape(-1, o).T).reshape(c, len(taps), *pixels.shape[:3])
        total = np.zeros((c, *gx.shape[2:], pixels.shape[2]), gx.dtype).transpose(3, 0, 1, 2)
        for number, tap in enumerate(taps):
            outputs, target = tap.within(slice(0, len(g)), total)
            target += products[:, number].transpose(3, 0, 1, 2)[:, :, *outputs]
        gx[images] = total

    parallel(fill, todo)
