"""Convolution by the algorithm that suits the shape: direct (any dtype, any argument) or Winograd."""

from minigrad.kernels.cpu import direct, winograd
from minigrad.kernels.cpu.pooling import max_pool
from minigrad.kernels.frozen import is_frozen
from minigrad.kernels.modes import current_algorithm
from minigrad.kernels.plain import output_hw

# From how many tiles of 2x2 outputs on Winograd wins, as measured: with weights that are transformed once and for all,
# with weights that are transformed each time, and for the gradient of weights.
_FROZEN, _CHANGING, _GRADIENT = 16, 36, 160
_ENOUGH = 1 << 17  # and from how many tiles times O times C on


def conv2d(x, w, bias, stride, padding, dilation, groups):
    """See plain.conv2d."""
    return _forward(x, w, bias, stride, padding, dilation, groups)


def conv2d_relu(x, w, bias, stride, padding, dilation, groups):
    """See plain.conv2d_relu: rectified while the output's blocks are in the cache."""
    return _forward(x, w, bias, stride, padding, dilation, groups, rectify=True)


def conv2d_relu_max_pool(x, w, bias, stride, padding, dilation, groups):
    """See plain.conv2d_relu_max_pool: Winograd's pixels are pooled while they are in the cache."""
    if _by_winograd(x, w, stride, padding, dilation, groups):
        return winograd.conv2d(x, w, bias, padding, rectify=True, pool=True)
    y = direct.conv2d(x, w, bias, stride, padding, dilation, groups, rectify=True)
    return max_pool(y, (2, 2), (2, 2), (0, 0), (1, 1), ceil_mode=False, with_winner=False)[0]


def _forward(x, w, bias, stride, padding, dilation, groups, rectify=False):
    if _by_winograd(x, w, stride, padding, dilation, groups):
        return winograd.conv2d(x, w, bias, padding, rectify)
    return direct.conv2d(x, w, bias, stride, padding, dilation, groups, rectify)


def _by_winograd(x, w, stride, padding, dilation, groups):
    if not winograd.fits(w.shape[2:], stride, dilation, groups, x, w):
        return False
    grid = (x.shape[0], *output_hw(x.shape[2:], w.shape[2:], stride, padding, dilation))
    return _prefers_winograd(grid, *w.shape[:2], _FROZEN if is_frozen(w) else _CHANGING)


def conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups):
    """See plain.conv2d_input_grad."""
    if winograd.fits(w.shape[2:], stride, dilation, groups, g, w):
        if _prefers_winograd((g.shape[0], *input_hw), *w.shape[:2], _FROZEN if is_frozen(w) else _CHANGING):
            return winograd.conv2d_input_grad(g, w, input_hw, padding)
    return direct.conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups)


def conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups):
    """See plain.conv2d_weight_grad."""
    if winograd.fits(kernel_hw, stride, dilation, groups, x, g):
        if _prefers_winograd((g.shape[0], *g.shape[2:]), g.shape[1], x.shape[1], _GRADIENT):
            return winograd.conv2d_weight_grad(x, g, padding)
    return direct.conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups)


def _prefers_winograd(grid, o, c, least):
    """Whether Winograd is to do a convolution that it can do; grid is (N, OH, OW) of what is computed.

    Transforming the weights, or reading their transformed form, must cost less than a quarter of the products saves: it
    does from `least` tiles on, _FROZEN, _CHANGING or _GRADIENT.
    """
    algorithm = current_algorithm()
    if algorithm != "auto":
        return algorithm == "winograd" and min(c, o) > 0
    tiles = winograd.tile_count(grid, 2)
    return min(c, o) >= 16 and tiles >= least and tiles * o * c >= _ENOUGH
