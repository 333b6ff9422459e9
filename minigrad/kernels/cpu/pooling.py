"""Pooling in blocks of output rows, on all threads: the largest value and the sum of every window, and the way back.

As in plain.py a window is walked tap by tap, and what all windows have at one tap is a strided view of the input. The
input is copied to be padded only where largest values are sought with their places; elsewhere a tap serves only those
windows in which it lies inside the input (Tap in blocking.py). Largest values are found along the columns and then
along the rows: KH + KW passes instead of KH * KW, and the first ones in long runs of memory. The way back from windows
that overlap goes by one index for each.
"""

import functools

import numpy as np

from minigrad.kernels.cpu import tuning
from minigrad.kernels.cpu.blocking import crop, grid_blocks, taps_of
from minigrad.kernels.cpu.memory import Workspace
from minigrad.kernels.cpu.threads import parallel
from minigrad.kernels.layout import channels_first, channels_last, empty_channels_last, zeros_channels_last
from minigrad.kernels.plain import output_hw

_workspace = Workspace()


# ---- max pooling -----------------------------------------------------------------------------------------------------


def max_pool(x, kernel, stride, padding, dilation, ceil_mode, with_winner=True):
    """(y, winner): the largest value of every window of x (N,C,H,W), and its position in the window, a*KW + b.

    Ties go to the first in row-major order; a NaN wins over numbers and later NaNs over earlier ones, as in torch.
    winner has the smallest unsigned dtype that holds KH*KW - 1; with_winner=False skips it and gives None.
    """
    out_hw = output_hw(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    if not with_winner:
        return _largest(x, out_hw, kernel, stride, padding, dilation), None
    shape = (*x.shape[:2], *out_hw)
    y = empty_channels_last(shape, x.dtype, x)
    winner = empty_channels_last(shape, np.min_scalar_type(kernel[0] * kernel[1] - 1), x)
    disjoint = _disjoint(x.shape[2:], out_hw, kernel, stride, padding, dilation)
    geometry = kernel, stride, padding, dilation

    def fill(block):
        if disjoint and kernel == stride == (2, 2) and _fill_of_four(x, y, winner, block):
            return
        if not _fill_by_sides(x, y, winner, block, *geometry):
            _fill_by_taps(x, y, winner, block, *geometry)

    parallel(fill, _blocks(shape, 2 * x.itemsize * stride[0] * stride[1]))  # as much again is kept of the columns
    return y, winner


def _fill_by_taps(x, y, winner, block, kernel, stride, padding, dilation):
    """Fill y and winner in a block, whatever x holds."""
    images, rows = block
    best, where = y[images, :, rows], winner[images, :, rows]
    best[...] = _least(x.dtype)
    where[...] = _first_taps(y.shape[2:], kernel, stride, padding, dilation)[rows]
    for number, tap in enumerate(taps_of(x.shape[2:], y.shape[2:], kernel, stride, padding, dilation)):
        outputs, values = tap.within(rows, x[images])
        current = best[:, :, *outputs]
        better = values > current
        if x.dtype.kind == "f":
            better |= values != values
        # taps come in rising order, so the last one that was better is the largest number
        latest = where[:, :, *outputs]
        np.maximum(latest, better * latest.dtype.type(number), out=latest)
        np.maximum(current, values, out=current)


def _fill_by_sides(x, y, winner, block, kernel, stride, padding, dilation):
    """Fill y and winner in a block, down the columns first, in long runs of memory, and then along the rows: KH + KW
    steps in place of KH * KW. False where there is a NaN: then the block is to be filled tap by tap."""
    images, rows = block
    best, where = y[images, :, rows], winner[images, :, rows]
    top, left, number = rows.start * stride[0] - padding[0], -padding[1], where.dtype.type
    down, across = (
        [slice(k * d, k * d + (n - 1) * s + 1, s) for k in range(size)]
        for n, s, d, size in zip(best.shape[2:], stride, dilation, kernel, strict=True)
    )
    size, empty = (down[-1].stop, across[-1].stop), functools.partial(_workspace.empty, "tile")
    tile = channels_first(crop(channels_last(x[images]), top, left, *size, empty, outside=_least(x.dtype)))
    # of each column: the largest value, and the number of its first place
    band = _scratch("band", (*best.shape[:3], tile.shape[3]), x)
    place = _scratch("place", band.shape, x, where.dtype)
    band[...], place[...] = tile[:, :, down[0]], 0
    for a, taken in enumerate(down[1:], 1):
        values, numbers = tile[:, :, taken], _scratch("numbers", band.shape, x, where.dtype)
        larger = np.greater(values, band, out=_scratch("larger", band.shape, x, np.bool_))
        np.multiply(larger.view(np.uint8), number(a * kernel[1]), out=numbers)
        np.maximum(place, numbers, out=place)
        np.maximum(band, values, out=band)

    best[...], where[...] = band[..., across[0]], place[..., across[0]]
    for b, taken in enumerate(across[1:], 1):
        values, numbers = _copied("values", band[..., taken]), _copied("numbers", place[..., taken])
        numbers += number(b)
        earlier = numbers < where  # which wins where values are the same
        earlier &= values >= best
        earlier |= values > best
        numbers -= where
        numbers *= earlier.view(np.uint8)
        where += numbers  # unsigned numbers come back round
        np.maximum(best, values, out=best)
    if any(padding):  # of -inf alone, the first tap inside the input
        first = _first_taps(y.shape[2:], kernel, stride, padding, dilation)[rows]
        np.maximum(where, first.astype(where.dtype), out=where)
    return x.dtype.kind != "f" or not best.size or not np.isnan(best.max())


def _copied(name, x):
    """x (N,C,H,W), without gaps, in memory of this thread's."""
    found = _scratch(name, x.shape, x)
    found[...] = x
    return found


def _largest(x, out_hw, kernel, stride, padding, dilation):
    """y (N,C,OH,OW): the largest value of every window of x, down the columns first."""
    (h, w), (oh, ow) = x.shape[2:], out_hw
    y = empty_channels_last((*x.shape[:2], oh, ow), x.dtype, x)
    of_four = kernel == stride == (2, 2) and _disjoint((h, w), out_hw, kernel, stride, padding, dilation)
    down = taps_of((h, w), (oh, w), (kernel[0], 1), (stride[0], 1), (padding[0], 0), (dilation[0], 1))
    across = taps_of((oh, w), (oh, ow), (1, kernel[1]), (1, stride[1]), (0, padding[1]), (1, dilation[1]))

    def fill(block):
        images, rows = block
        if of_four:
            return max_of_four(x[images, :, 2 * rows.start : 2 * rows.stop], y[images, :, rows])
        best = y[images, :, rows]
        band = _scratch("rows", (*best.shape[:3], w), x)
        _largest_of(down, rows, x[images], band)
        _largest_of(across, slice(0, band.shape[2]), band, best)

    parallel(fill, _blocks(y.shape, x.itemsize * stride[0] * stride[1]))
    return y


def _largest_of(taps, rows, x, out):
    """Fill out: the largest of what the taps have in x for output rows `rows`. The first two that all windows have are
    compared at once, so that nothing need be filled in beforehand."""
    found = [tap.within(rows, x) for tap in taps]
    whole = [values for _, values in found if values.shape == out.shape]
    if len(whole) > 1:
        np.maximum(whole[0], whole[1], out=out)
    else:
        out[...] = whole[0] if whole else _least(x.dtype)
    for outputs, values in found:
        if not any(values is done for done in whole[:2]):
            some = out[:, :, *outputs]
            np.maximum(some, values, out=some)


def _least(dtype):
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _fill_of_four(x, y, winner, block):
    """Fill y and winner in a block of 2x2 windows that neither overlap nor stick out.

    False where there is a NaN: then the block is to be filled tap by tap.
    """
    images, rows = block
    x, y = x[images], y[images, :, rows]
    x = x[:, :, 2 * rows.start : 2 * rows.stop, : 2 * y.shape[3]]
    a, b, c, d = x[:, :, ::2, ::2], x[:, :, ::2, 1::2], x[:, :, 1::2, ::2], x[:, :, 1::2, 1::2]
    upper = np.maximum(a, b, out=_scratch("upper", y.shape, y))
    lower = np.maximum(c, d, out=_scratch("lower", y.shape, y))
    np.maximum(upper, lower, out=y)
    if x.dtype.kind == "f" and y.size and np.isnan(y.max()):
        return False
    # 0 or 1 in the upper row, 2 or 3 in the lower one: above + in_lower * (2 + below - above), in place, for arithmetic
    # is much faster than masked assignment
    above, below, in_lower = (
        np.greater(high, low, out=_scratch(name, y.shape, y, np.bool_)).view(np.uint8)
        for name, high, low in (("above", b, a), ("below", d, c), ("in_lower", lower, upper))
    )
    below -= above
    below += 2
    below *= in_lower
    np.add(above, below, out=winner[images, :, rows])
    return True


def max_of_four(x, y):
    """y (N,C,OH,OW): the largest of each 2x2 of x (N,C,H,W), on one core. Rows first: long runs of memory."""
    x = x[:, :, : 2 * y.shape[2], : 2 * y.shape[3]]
    rows = x[:, :, ::2]
    rows = np.maximum(rows, x[:, :, 1::2], out=_scratch("rows", rows.shape, x))
    np.maximum(rows[..., ::2], rows[..., 1::2], out=y)


def _scratch(name, shape, like, dtype=None):
    """An uninitialised (N,C,H,W) array, channels-last in memory, of the dtype of `like` or another."""
    n, c, h, w = shape
    return channels_first(_workspace.empty(name, (n, h, w, c), dtype or like.dtype))


def window_scatter(g, winner, input_hw, kernel, stride, padding, dilation):
    """gx (N,C,*input_hw): every g (N,C,OH,OW) added where `winner` says its window's value came from."""
    geometry = kernel, stride, padding, dilation
    if g.dtype.kind == "f" and _disjoint(input_hw, g.shape[2:], *geometry):
        return _spread_out(g, winner, input_hw, *geometry)
    if not _all_reach(input_hw, g.shape[2:], *geometry):
        return NotImplemented
    gx = zeros_channels_last((*g.shape[:2], *input_hw), g.dtype, g)

    def fill(block):
        images, rows = block
        taken, given = _taken(winner, block, input_hw, *geometry), channels_last(g[images, :, rows])
        np.add.at(channels_last(gx).reshape(-1), taken.reshape(-1), given.reshape(-1))

    values = g.itemsize * stride[0] * stride[1]
    for blocks in _waves(g.shape, values, dilation[0] * (kernel[0] - 1) // stride[0]):
        parallel(fill, blocks)
    return gx


def _spread_out(g, winner, input_hw, kernel, stride, padding, dilation):
    """gx of windows that neither overlap nor stick out: tap by tap, in place."""
    taps = taps_of(input_hw, g.shape[2:], kernel, stride, padding, dilation)
    covered = kernel == stride and input_hw == tuple(np.multiply(g.shape[2:], stride))
    gx = (empty_channels_last if covered else zeros_channels_last)((*g.shape[:2], *input_hw), g.dtype, g)

    def fill(block):
        images, rows = block
        for number, tap in enumerate(taps):
            outputs, target = tap.within(rows, gx[images])
            mine = winner[images, :, rows][:, :, *outputs] == number
            _keep(g[images, :, rows][:, :, *outputs], mine, out=target)

    parallel(fill, _blocks(g.shape, g.itemsize * stride[0] * stride[1]))
    return gx


def window_gather(x, winner, kernel, stride, padding, dilation):
    """y (N,C,OH,OW): the value of x (N,C,H,W) that each window's `winner` names; adjoint of window_scatter."""
    if not _all_reach(x.shape[2:], winner.shape[2:], kernel, stride, padding, dilation):
        return NotImplemented
    y = empty_channels_last(winner.shape, x.dtype, x)
    numbers = np.ascontiguousarray(channels_last(x)).reshape(-1)

    def fill(block):
        images, rows = block
        channels_last(y)[images, rows] = numbers[_taken(winner, block, x.shape[2:], kernel, stride, padding, dilation)]

    parallel(fill, _blocks(winner.shape, x.itemsize * stride[0] * stride[1]))
    return y


def _taken(winner, block, input_hw, kernel, stride, padding, dilation):
    """(n,rows,OW,C): where in the flat input, channels-last, the values of a block's windows come from."""
    images, rows = block
    numbers, (h, w) = channels_last(winner[images, :, rows]), input_hw
    c = numbers.shape[3]
    taps = np.arange(kernel[0])[:, None] * dilation[0] * w + np.arange(kernel[1]) * dilation[1]
    top = np.arange(rows.start, rows.stop) * stride[0] - padding[0]
    left = np.arange(numbers.shape[2]) * stride[1] - padding[1]
    corner = (np.arange(images.start, images.stop)[:, None, None] * h + top[:, None]) * w + left
    taken = np.take(taps.reshape(-1) * c, numbers, mode="clip")  # which spares a check
    taken += (corner * c)[..., None] + np.arange(c)
    return taken


def _keep(values, mask, out):
    """Fill and return out: values where mask, else 0. By their bits, 5 times faster than np.where or a masked copy."""
    bits = f"i{values.itemsize}"
    np.bitwise_and(values.view(bits), np.negative(mask.view(np.int8)), out=out.view(bits))
    return out


# ---- sums over windows, for average pooling --------------------------------------------------------------------------


def window_sum(x, kernel, stride, padding, ceil_mode=False):
    """y (N,C,OH,OW): the sum of every window of x (N,C,H,W). Sums along columns first, then along rows."""
    (h, w), (oh, ow) = x.shape[2:], output_hw(x.shape[2:], kernel, stride, padding, ceil_mode=ceil_mode)
    y = zeros_channels_last((*x.shape[:2], oh, ow), x.dtype, x)
    down = taps_of((h, w), (oh, w), (kernel[0], 1), (stride[0], 1), (padding[0], 0), (1, 1))
    across = taps_of((oh, w), (oh, ow), (1, kernel[1]), (1, stride[1]), (0, padding[1]), (1, 1))

    def fill(block):
        images, rows = block
        band = zeros_channels_last((*x[images].shape[:2], rows.stop - rows.start, w), x.dtype, x)
        for tap in down:
            outputs, values = tap.within(rows, x[images])
            band[:, :, *outputs] += values
        for tap in across:
            outputs, values = tap.within(slice(0, band.shape[2]), band)
            y[images, :, rows][:, :, *outputs] += values

    parallel(fill, _blocks(y.shape, x.itemsize * stride[0] * stride[1]))
    return y


def window_spread(g, input_hw, kernel, stride, padding):
    """gx (N,C,*input_hw): every g (N,C,OH,OW) added all over its window; adjoint of window_sum."""
    (h, w), (oh, ow) = input_hw, g.shape[2:]
    gx = zeros_channels_last((*g.shape[:2], h, w), g.dtype, g)
    down = taps_of((h, w), (oh, w), (kernel[0], 1), (stride[0], 1), (padding[0], 0), (1, 1))
    across = taps_of((oh, w), (oh, ow), (1, kernel[1]), (1, stride[1]), (0, padding[1]), (1, 1))

    def fill(block):
        images, rows = block
        values = g[images, :, rows]
        band = zeros_channels_last((*values.shape[:3], w), g.dtype, g)
        for tap in across:
            outputs, target = tap.within(slice(0, values.shape[2]), band)
            target += values[:, :, *outputs]
        for tap in down:
            outputs, target = tap.within(rows, gx[images])
            target += band[:, :, *outputs]

    for blocks in _waves(g.shape, g.itemsize * stride[0] * stride[1], (kernel[0] - 1) // stride[0]):
        parallel(fill, blocks)
    return gx


# ---- taps and blocks -------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _first_taps(out_hw, kernel, stride, padding, dilation):
    """(OH, OW): each window's first tap inside the input, the winner where all values are -inf."""
    rows, columns = map(_first_inside, out_hw, stride, padding, dilation)
    return rows[:, None] * kernel[1] + columns


@functools.lru_cache(maxsize=256)
def _all_reach(hw, out_hw, kernel, stride, padding, dilation):
    """Whether every window has a tap inside the input."""
    for size, out, k, s, p, d in zip(hw, out_hw, kernel, stride, padding, dilation, strict=True):
        first = _first_inside(out, s, p, d)
        if np.any(first >= k) or np.any(np.arange(out) * s - p + first * d >= size):
            return False
    return True


def _first_inside(out, stride, padding, dilation):
    """(out,): along an axis, each window's first tap at or behind the input's begin."""
    return np.maximum(0, -((np.arange(out) * stride - padding) // dilation))


def _disjoint(hw, out_hw, kernel, stride, padding, dilation):
    """Whether windows neither overlap nor stick out of the input."""
    return all(
        d * (k - 1) < s and p == 0 and (out - 1) * s + d * (k - 1) < size
        for size, out, k, s, p, d in zip(hw, out_hw, kernel, stride, padding, dilation, strict=True)
    )


def _blocks(shape, bytes_per_value, least=1):
    """[(images, rows)]: an (N,C,OH,OW) output in blocks of about WINDOW_BYTES of input, of at least so many rows."""
    n, c, oh, ow = shape
    return grid_blocks(n, oh, ow, max(least * ow, tuning.WINDOW_BYTES // max(1, c * bytes_per_value)))


def _waves(shape, bytes_per_value, reach):
    """The same blocks in one list or two, done one list after the other: blocks of a list write to different pixels.

    A window overlaps with those of the next `reach` rows. So blocks of at least so many rows overlap only with the next
    one, and every second block goes into the second list.
    """
    blocks = _blocks(shape, bytes_per_value, 2 * reach)
    if reach == 0 or all(rows.stop - rows.start == shape[2] for _, rows in blocks):
        return [blocks]
    if min(rows.stop - rows.start for _, rows in blocks) < reach:
        return [[(slice(i, i + 1), slice(0, shape[2])) for i in range(shape[0])]]
    return [blocks[::2], blocks[1::2]]
