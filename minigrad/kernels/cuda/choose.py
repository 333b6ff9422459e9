"""Convolution on a GPU by the algorithm that suits the shape: direct (float32 or float64) or Winograd."""

from minigrad.device import array_module
from minigrad.kernels.cuda import direct, winograd
from minigrad.kernels.cuda.channel import concatenate
from minigrad.kernels.cuda.launch import floating
from minigrad.kernels.cuda.pooling import max_pool
from minigrad.kernels.modes import current_algorithm
from minigrad.kernels.plain import output_hw

_LEAST = 16  # tiles of 4x4 outputs from which on Winograd wins


def conv2d(x, w, bias, stride, padding, dilation, groups):
    """See plain.conv2d."""
    return _forward(x, w, bias, stride, padding, dilation, groups)


def conv2d_relu(x, *convolutions, top=None):
    """See plain.conv2d_relu: bias and rectifier in one pass, and another one for the top."""
    parts = [_forward(x, *arguments, rectify=True) for arguments in convolutions]
    if any(part is NotImplemented for part in parts):
        return NotImplemented
    y = parts[0] if len(parts) == 1 else concatenate(parts, 1)
    return y if top is None else array_module(y).minimum(y, top, out=y)


def conv2d_relu_max_pool(x, convolution):
    """See plain.conv2d_relu_max_pool."""
    y = conv2d_relu(x, convolution)
    if y is NotImplemented:
        return y
    return max_pool(y, (2, 2), (2, 2), (0, 0), (1, 1), ceil_mode=False, with_winner=False)[0]


def _forward(x, w, bias, stride, padding, dilation, groups, rectify=False):
    if not floating(x, w):
        return NotImplemented
    if bias is not None:
        bias = array_module(bias).ascontiguousarray(bias)  # kernels get a pointer, not strides
    grid = (x.shape[0], *output_hw(x.shape[2:], w.shape[2:], stride, padding, dilation))
    if winograd.fits(w.shape[2:], stride, dilation, groups, x, w) and _prefers_winograd(grid, *w.shape[:2]):
        return winograd.conv2d(x, w, bias, padding, rectify)
    return direct.conv2d(x, w, bias, stride, padding, dilation, groups, rectify)


def conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups):
    """See plain.conv2d_input_grad."""
    if not floating(g, w):
        return NotImplemented
    grid = (g.shape[0], *input_hw)
    if winograd.fits(w.shape[2:], stride, dilation, groups, g, w) and _prefers_winograd(grid, *w.shape[:2]):
        return winograd.conv2d_input_grad(g, w, input_hw, padding)
    return direct.conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups)


def conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups):
    """See plain.conv2d_weight_grad."""
    if not floating(x, g):
        return NotImplemented
    grid = (g.shape[0], *g.shape[2:])
    if winograd.fits(kernel_hw, stride, dilation, groups, x, g) and _prefers_winograd(grid, g.shape[1], x.shape[1]):
        return winograd.conv2d_weight_grad(x, g, padding)
    return direct.conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups)


def _prefers_winograd(grid, o, c):
    """Whether Winograd is to do a convolution that it can do; grid is (N, OH, OW) of what is computed.

    Transforming the weights, or reading their transformed form, must cost less than a quarter of the products saves, by
    arithmetic alone: an H100 reads 3e12 bytes and does 5e13 operations a second. A weight takes 144 bytes transformed
    and 72 operations for a tile, and 36 bytes and 288 operations otherwise, so that Winograd wins from 9 tiles on, and
    from about 20 where it also transforms it.
    """
    algorithm = current_algorithm()
    if algorithm != "auto":
        return algorithm == "winograd" and min(c, o) > 0
    n, oh, ow = grid
    return min(c, o) >= 16 and n * -(-oh // 4) * -(-ow // 4) >= _LEAST
