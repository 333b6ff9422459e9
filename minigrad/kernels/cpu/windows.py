"""Windows of the direct convolution: blocks of outputs whose windows stay in caches, and windows as a matrix's rows."""

import numpy as np

from minigrad.kernels.cpu import tuning
from minigrad.kernels.cpu.blocking import crop, grid_blocks
from minigrad.kernels.cpu.memory import Workspace
from minigrad.kernels.cpu.threads import blocks, parallel
from minigrad.kernels.layout import channels_last

_workspace = Workspace()


def row_blocks(shape, bytes_per_position, weight_bytes):
    """[(images, rows)] of an (N,OH,OW,_) output whose windows stay in caches.

    Blocks are no smaller than the weights, which every block reads. Where that makes one block of all, `matmul` shares
    out its product by output channels, so that each thread reads weights of its own.
    """
    budget = max(tuning.WINDOW_BYTES, weight_bytes)
    return grid_blocks(*shape[:3], max(1, budget // max(1, bytes_per_position)))


def tile_of(x, rows, ow, kernel_hw, stride, dilation, origin):
    """The part of x that the windows of output rows `rows` read, zeros outside x: (n, rows read, columns read, C)."""
    height = (rows.stop - rows.start - 1) * stride[0] + (kernel_hw[0] - 1) * dilation[0] + 1
    width = (ow - 1) * stride[1] + (kernel_hw[1] - 1) * dilation[1] + 1
    top = rows.start * stride[0] + origin[0]

    def empty(shape, dtype):
        n, h, w, c = shape
        if c < tuning.FEW_CHANNELS:
            return channels_last(_workspace.empty("tile", (n, c, h, w), dtype))
        return _workspace.empty("tile", shape, dtype)

    return crop(x, top, origin[1], height, width, empty)


def windows_of(tile, out_hw, kernel_hw, stride, dilation):
    """(n, rows, columns, KH, KW, C): a view of the window of every output position."""
    n, _, _, c = tile.shape
    sn, sh, sw, sc = tile.strides
    strides = (sn, sh * stride[0], sw * stride[1], sh * dilation[0], sw * dilation[1], sc)
    return np.lib.stride_tricks.as_strided(tile, (n, *out_hw, *kernel_hw, c), strides)


def columns_of(windows, groups, by_pixels, name, ones=False):
    """(n, rows, columns, KH, KW, C) as matrices (G, positions, KH*KW*C/G), copied only where it must be.

    ones: with a last column of ones, where windows are copied by pixels.
    """
    n, oh, ow, kh, kw, c = windows.shape
    positions, length = n * oh * ow, kh * kw * c // groups
    split = windows.reshape(n, oh, ow, kh, kw, groups, c // groups)
    if by_pixels:
        columns = _workspace.empty(name, (groups, length + ones, positions), split.dtype)
        by_channel = columns[:, :length].reshape(groups, c // groups, kh, kw, n, oh, ow)
        copy(split.transpose(6, 5, 3, 4, 0, 1, 2), by_channel.swapaxes(0, 1))
        columns[:, length:] = 1
        return columns.swapaxes(1, 2)
    if groups > 1:
        split = split.transpose(5, 0, 1, 2, 3, 4, 6)
    if split.flags.c_contiguous:
        columns = split
    else:
        columns = _workspace.empty(name, split.shape, split.dtype)
        copy(split, columns)
    return columns.reshape(groups, positions, length)


def copy(source, target):
    """target[...] = source, on all threads where that is much and this is not one of several blocks."""

    def fill(run):
        target[run] = source[run]

    parallel(fill, blocks(len(target), tuning.OPERAND_BYTES // max(1, target[:1].nbytes)))
