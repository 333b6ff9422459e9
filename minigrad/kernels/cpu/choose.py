"""Convolution by the algorithm that suits the shape: direct (any dtype, any argument) or Winograd."""

import functools
import itertools

import numpy as np

from minigrad.kernels.cpu import direct, tuning, winograd
from minigrad.kernels.cpu.elementwise import add_bias_then, clip_in_place, relu_in_place
from minigrad.kernels.frozen import is_frozen
from minigrad.kernels.layout import empty_channels_last
from minigrad.kernels.modes import current_algorithm
from minigrad.kernels.plain import output_hw
from minigrad.kernels.winograd import fits


def conv2d(x, w, bias, stride, padding, dilation, groups, after=None, y=None):
    """See plain.conv2d. after(pixels), where given, changes each block of the output while it is in the cache.

    y, where given, is the array (N,O,OH,OW) to fill and to return: channels-last, or some channels of one that is.
    """
    if _by_winograd(x, w, stride, padding, dilation, groups):
        return winograd.conv2d(x, w, bias, padding, after, y)
    return direct.conv2d(x, w, bias, stride, padding, dilation, groups, after, y)


def conv2d_relu(x, *convolutions, top=None):
    """See plain.conv2d_relu. Several convolutions write into one array, which gets its bias and is rectified then.

    Of few weights the bias is one, and stays: added later, it would be rounded once more.
    """
    rectify = relu_in_place if top is None else functools.partial(clip_in_place, top=top)
    if len(convolutions) == 1:
        return conv2d(x, *convolutions[0], rectify)
    edges = [0, *itertools.accumulate(len(w) for w, *_ in convolutions)]
    w, _, *geometry, _ = convolutions[0]
    shape = len(x), edges[-1], *output_hw(x.shape[2:], w.shape[2:], *geometry)
    y = empty_channels_last(shape, np.result_type(x, w), x)
    joined = np.zeros(edges[-1], y.dtype)
    for (w, bias, *geometry), low, high in zip(convolutions, edges, edges[1:], strict=False):
        own = direct.has_few_weights(w, geometry[3])
        conv2d(x, w, bias if own else None, *geometry, y=y[:, low:high])
        joined[low:high] = 0 if own or bias is None else bias
    return add_bias_then(rectify, y, joined)


def conv2d_relu_max_pool(x, convolution):
    """See plain.conv2d_relu_max_pool: pixels are pooled while they are in the cache."""
    w, bias, stride, padding, *others = convolution
    if _by_winograd(x, w, stride, padding, *others):
        return winograd.conv2d_relu_max_pool(x, w, bias, padding)
    return direct.conv2d_relu_max_pool(x, *convolution)


def conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups):
    """See plain.conv2d_input_grad."""
    if fits(w.shape[2:], stride, dilation, groups, g, w):
        if _prefers_winograd((len(g), *input_hw), *w.shape[:2], _least_tiles(w)):
            return winograd.conv2d_input_grad(g, w, input_hw, padding)
    return direct.conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups)


def conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups):
    """See plain.conv2d_weight_grad."""
    if fits(kernel_hw, stride, dilation, groups, x, g):
        if _prefers_winograd((len(g), *g.shape[2:]), g.shape[1], x.shape[1], tuning.MIN_TILES_WEIGHT_GRAD):
            return winograd.conv2d_weight_grad(x, g, padding)
    return direct.conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups)


def _by_winograd(x, w, stride, padding, dilation, groups):
    if not fits(w.shape[2:], stride, dilation, groups, x, w):
        return False
    grid = (len(x), *output_hw(x.shape[2:], w.shape[2:], stride, padding, dilation))
    return _prefers_winograd(grid, *w.shape[:2], _least_tiles(w))


def _least_tiles(w):
    return tuning.MIN_TILES_FROZEN if is_frozen(w) else tuning.MIN_TILES_CHANGING


def _prefers_winograd(grid, o, c, least):
    """Whether Winograd is to do a convolution that it can do; grid is (N, OH, OW) of what is computed.

    Transforming the weights, or reading their transformed form, must cost less than a quarter of the products saves: it
    does from `least` tiles on.
    """
    algorithm = current_algorithm()
    if algorithm != "auto":
        return algorithm == "winograd" and min(c, o) > 0
    tiles = winograd.tile_count(grid)
    return min(c, o) >= tuning.MIN_CHANNELS and tiles >= least and tiles * o * c >= tuning.MIN_PRODUCTS
