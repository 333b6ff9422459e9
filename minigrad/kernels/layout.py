"""Channels-last memory under channels-first shapes."""

import math

from minigrad.device import array_module


def channels_last(x):
    """(N, C, H, W) seen as (N, H, W, C), without a copy."""
    return x.transpose(0, 2, 3, 1)


def channels_first(x):
    """(N, H, W, C) seen as (N, C, H, W), without a copy."""
    return x.transpose(0, 3, 1, 2)


def empty_channels_last(shape, dtype, like):
    """An uninitialised (N, C, H, W) array, channels-last in memory, on the device of `like`."""
    n, c, h, w = shape
    return channels_first(array_module(like).empty((n, h, w, c), dtype))


def zeros_channels_last(shape, dtype, like):
    """A zeroed (N, C, H, W) array, channels-last in memory, on the device of `like`."""
    n, c, h, w = shape
    return channels_first(array_module(like).zeros((n, h, w, c), dtype))


def as_rows(x):
    """(N, C, ...) seen as (positions, C) rows where memory is channels-last; None where that would need a copy."""
    last = x.transpose(0, *range(2, x.ndim), 1)
    return last.reshape(math.prod(last.shape[:-1]), x.shape[1]) if last.flags.c_contiguous else None


def in_memory_order(*arrays):
    """Arrays of one shape as 1-D views in the order of memory; all None where they differ in it or have gaps."""
    first = arrays[0]
    order = sorted(range(first.ndim), key=lambda axis: -first.strides[axis])
    ordered = [array.transpose(order) for array in arrays]
    if not all(array.flags.c_contiguous for array in ordered):
        return [None] * len(arrays)
    return [array.reshape(-1) for array in ordered]
