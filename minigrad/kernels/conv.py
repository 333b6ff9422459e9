"""Convolution by the algorithm that suits the shape: direct (any dtype, any argument) or Winograd.

All geometry comes in (row, column) pairs; `groups` is an int. Arguments are taken as checked by the caller.
"""

import threading
from contextlib import contextmanager

from minigrad.backend import array_module
from minigrad.kernels import direct, winograd
from minigrad.kernels.cuda import direct as gpu_direct
from minigrad.kernels.cuda import winograd as gpu_winograd
from minigrad.kernels.cuda.launch import floating, on_gpu
from minigrad.kernels.frozen import is_frozen
from minigrad.kernels.pooling import max_pool

_ALGORITHMS = ("auto", "direct", "winograd")

# From how many tiles of 2x2 outputs on Winograd wins on the CPU, as measured: with weights that are transformed once
# and for all, with weights that are transformed each time, and for the gradient of weights.
_FROZEN, _CHANGING, _GRADIENT = 16, 36, 160
_ENOUGH = 1 << 17  # and from how many tiles times O times C on

_chosen = threading.local()


@contextmanager
def conv_algorithm(name):
    """Within `with conv_algorithm(name):`, this thread convolves by that algorithm.

    "auto" chooses by shape and dtype; "direct" is the reference, exact to rounding; "winograd" takes Winograd for every
    convolution it can do (3x3, stride 1, dilation 1, one group, float32), however small, and direct for the others.
    Raises ValueError for any other name.
    """
    if name not in _ALGORITHMS:
        raise ValueError(f"conv_algorithm: name is {name!r}, expected one of {', '.join(map(repr, _ALGORITHMS))}")
    before = current_algorithm()
    _chosen.name = name
    try:
        yield
    finally:
        _chosen.name = before


def current_algorithm():
    """The name in force in this thread: "auto", "direct" or "winograd"."""
    return getattr(_chosen, "name", "auto")


def conv2d(x, w, bias, stride, padding, dilation, groups, rectify=False, pool=False):
    """y (N,O,OH,OW) of x (N,C,H,W), w (O,C/groups,KH,KW) and bias (O,) or None; with `rectify`, max(y, 0); with `pool`,
    the largest of each 2x2 of that, (N,O,OH//2,OW//2)."""
    if bias is not None and on_gpu(bias):
        bias = array_module(bias).ascontiguousarray(bias)  # kernels there get a pointer, not strides
    fast = _winograd(x)
    grid = (x.shape[0], *direct.output_hw(x.shape[2:], w.shape[2:], stride, padding, dilation))
    fits = fast.fits(w.shape[2:], stride, dilation, groups, x, w)
    by_winograd = fits and _prefers(fast, grid, *w.shape[:2], _FROZEN if is_frozen(w) else _CHANGING)
    if by_winograd and fast is winograd:
        return winograd.conv2d(x, w, bias, padding, rectify, pool)
    if by_winograd:
        y = fast.conv2d(x, w, bias, padding, rectify)
    else:
        y = _direct(x, w).conv2d(x, w, bias, stride, padding, dilation, groups, rectify)
    return max_pool(y, (2, 2), (2, 2), (0, 0), (1, 1), ceil_mode=False, with_winner=False)[0] if pool else y


def conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups):
    """gx (N,C,*input_hw) of g (N,O,OH,OW): what conv2d's input receives, which is the transposed convolution of g.

    input_hw may be larger than the windows reach: rows and columns that no window covers are 0.
    """
    fast = _winograd(g)
    if fast.fits(w.shape[2:], stride, dilation, groups, g, w):
        if _prefers(fast, (g.shape[0], *input_hw), *w.shape[:2], _FROZEN if is_frozen(w) else _CHANGING):
            return fast.conv2d_input_grad(g, w, input_hw, padding)
    return _direct(g, w).conv2d_input_grad(g, w, input_hw, stride, padding, dilation, groups)


def conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups):
    """gw (O,C/groups,KH,KW): what conv2d's weight receives, of x (N,C,H,W) and g (N,O,OH,OW)."""
    fast = _winograd(x)
    if fast.fits(kernel_hw, stride, dilation, groups, x, g):
        if _prefers(fast, (g.shape[0], *g.shape[2:]), g.shape[1], x.shape[1], _GRADIENT):
            return fast.conv2d_weight_grad(x, g, padding)
    return _direct(x, g).conv2d_weight_grad(x, g, kernel_hw, stride, padding, dilation, groups)


def _winograd(array):
    return gpu_winograd if on_gpu(array) else winograd


def _direct(*arrays):
    return gpu_direct if floating(*arrays) else direct


def _prefers(fast, grid, o, c, least):
    """Whether Winograd is to do a convolution that it can do; grid is (N, OH, OW) of what is computed.

    Transforming the weights, or reading their transformed form, must cost less than a quarter of the products saves.
    On the CPU it does from `least` tiles on: _FROZEN, _CHANGING or _GRADIENT. On a GPU, by arithmetic alone: an H100
    reads 3e12 bytes and does 5e13 operations a second. A weight takes 144 bytes transformed and 72 operations for a
    tile, and 36 bytes and 288 operations otherwise, so that Winograd wins from 9 tiles on, and from about 20 where it
    also transforms it.
    """
    algorithm = current_algorithm()
    if algorithm != "auto":
        return algorithm == "winograd" and min(c, o) > 0
    if min(c, o) < 16:
        return False
    if fast is gpu_winograd:
        return winograd.tile_count(grid, 4) >= 16
    tiles = winograd.tile_count(grid, 2)
    return tiles >= least and tiles * o * c >= _ENOUGH
