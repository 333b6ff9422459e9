"""Pooling.

A max pool picks one element of each window; which one, its `winner`, is decided in the forward pass and then kept.
With the winners fixed, pooling is linear, and so are the two functions that its derivatives are made of:

    y  = x[winner]                     MaxPool2d, WindowGather
    gx = g added at winner             WindowScatter

An average pool is linear to begin with: AvgPool2d and its adjoint AvgPool2dInputGrad are each other's derivative.

Letters: N images, C channels, H W height and width, OH OW of the output.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..autograd import Function, constant, is_recorded, without_gradient
from ..device import array_module
from ..tensor import Tensor, as_tensor, together
from ..typing import Array, Gradients, Pair, TensorLike
from .conv import conv2d
from .convert import constant_like, in_float32
from .index import PutAlongAxis
from .linalg import matmul
from .shape import Pad, cat, flatten, pad, reshape, squeeze, transpose, unsqueeze
from .window import counts, fitted, ints, pair, sides

# ---- max pooling -----------------------------------------------------------------------------------------------------


class MaxPool2d(Function):
    """y (N,C,OH,OW): the largest element of each window of x (N,C,H,W); of equal ones the first in row-major order.

    After the call, `winner` (an array of y's shape) holds the place of each maximum in its window, row*KW + column, and
    `scatter(g)` and `gather(x)` send values along it. Without `with_winner`, which saves half the time, it is None.
    """

    def __init__(
        self,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple,
        dilation: tuple[int, int],
        ceil_mode: bool,
        with_winner: bool = True,
    ) -> None:
        self.geometry = (kernel, stride, padding, dilation)
        self.ceil_mode, self._with_winner = ceil_mode, with_winner

    def forward(self, x: Array) -> Array:
        self.input_hw = x.shape[2:]
        y, self.winner = kernels.max_pool(x, *self.geometry, self.ceil_mode, self._with_winner)
        return y

    def vjp(self, g: Tensor) -> Gradients:
        return self.scatter(g)

    def scatter(self, g: Tensor) -> Tensor:
        """(N,C,H,W), zero but for the winners, which receive g (N,C,OH,OW) of their windows."""
        return in_float32(WindowScatter(self.winner, self.input_hw, *self.geometry))(g)

    def gather(self, x: Tensor) -> Tensor:
        """(N,C,OH,OW): the elements of x (N,C,H,W) at the winners."""
        return WindowGather(self.winner, *self.geometry)(x)


class WindowScatter(Function):
    """gx (N,C,*input_hw): each element of g (N,C,OH,OW) added where `winner` says its window's maximum was."""

    def __init__(self, winner: Array, input_hw: tuple[int, int], *geometry: Any) -> None:
        self.winner, self.input_hw, self.geometry = winner, input_hw, geometry

    def forward(self, g: Array) -> Array:
        return kernels.window_scatter(g, self.winner, self.input_hw, *self.geometry)

    def vjp(self, gg: Tensor) -> Gradients:
        return WindowGather(self.winner, *self.geometry)(gg)


class WindowGather(Function):
    """y (N,C,OH,OW): the element of x (N,C,H,W) that `winner` names in each window."""

    def __init__(self, winner: Array, *geometry: Any) -> None:
        self.winner, self.geometry = winner, geometry

    def forward(self, x: Array) -> Array:
        return kernels.window_gather(x, self.winner, *self.geometry)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return in_float32(WindowScatter(self.winner, x.shape[2:], *self.geometry))(g)


def max_pool2d(
    x: TensorLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window, as torch.nn.functional.max_pool2d.

    x: (N,C,H,W) or (C,H,W). kernel_size, stride (kernel_size if None), dilation: an int or a pair. padding: the same,
    at most half the kernel; or, as for conv2d, four ints, "valid", "same", "same_upper" or "same_lower". Padding counts
    as minus infinity. ceil_mode: also windows that stick out at the end.

    Returns (N,C,OH,OW), and with return_indices also an int64 tensor of that shape: row * W + column of each maximum.
    Ties go to the first in row-major order, and the gradient to it alone.
    """
    name = "max_pool2d"
    x, kernel, stride, dilation, around = _window(name, x, kernel_size, stride, padding, dilation)
    if x.ndim == 3:
        found = max_pool2d(unsqueeze(x, 0), kernel, stride, padding, dilation, ceil_mode, return_indices)
        return tuple(squeeze(t, 0) for t in found) if return_indices else squeeze(found, 0)

    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    padded, padding, ceil_mode = _padded(name, x, kernel, stride, dilation, around, ceil_mode, least)
    pool = MaxPool2d(kernel, stride, padding, dilation, ceil_mode, with_winner=return_indices or is_recorded(x))
    y = pool(padded)
    if not return_indices:
        return y
    (top, _), (left, _) = around
    geometry = x.shape[2:], kernel, stride, (top, left), dilation
    return y, without_gradient(lambda _: kernels.flat_indices(pool.winner, *geometry), x)


def max_unpool2d(
    x: TensorLike,
    indices: TensorLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros with the elements of x at `indices`, as torch.nn.functional.max_unpool2d: max_pool2d undone in part.

    x: (N,C,OH,OW) or (C,OH,OW). indices: what max_pool2d's return_indices gave, of x's shape. output_size: (H, W) or
    the whole shape, where several input sizes give one pooled size; less than a stride from the default, which is
    (OH-1)*stride - 2*padding + kernel_size. Of equal indices the last wins.
    """
    name = "max_unpool2d"
    indices = as_tensor(indices)
    padding = pair(name, "padding", padding, 0)
    x, kernel, stride, _, _ = _window(name, x, kernel_size, stride, padding)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices must be integers, got dtype {indices.dtype}")
    if indices.shape != x.shape:
        raise ValueError(f"{name}: indices has shape {indices.shape}, x has {x.shape}; they must agree")
    smallest = [(n - 1) * s - 2 * p + k for n, s, p, k in zip(x.shape[-2:], stride, padding, kernel, strict=True)]
    hw = _unpooled_hw(smallest, stride, output_size)
    together(name, x=x, indices=indices)
    if indices.size and not 0 <= indices.min().item() <= indices.max().item() < hw[0] * hw[1]:
        raise ValueError(f"{name}: indices must be from 0 to {hw[0] * hw[1] - 1} for an output of {hw[0]} by {hw[1]}")

    flat = flatten(indices, -2).data
    values = flatten(x, -2)
    return reshape(PutAlongAxis(flat, hw[0] * hw[1])(values), (*x.shape[:-2], *hw))


def _unpooled_hw(smallest, stride, output_size):
    if output_size is None:
        return tuple(smallest)
    output_size = ints("max_unpool2d", "output_size", output_size)
    hw = output_size[-2:]
    if len(hw) < 2 or any(abs(n - m) >= s for n, m, s in zip(hw, smallest, stride, strict=True)):
        raise ValueError(
            f"max_unpool2d: output_size {output_size} must be within the stride {stride} of {tuple(smallest)}"
        )
    return hw


# ---- average pooling -------------------------------------------------------------------------------------------------


class AvgPool2d(Function):
    """y (N,C,OH,OW): the sum of each window of x (N,C,H,W) divided by `divisor`, a number or an array (OH,OW)."""

    def __init__(
        self, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple, ceil_mode: bool, divisor: Any
    ) -> None:
        self.geometry = (kernel, stride, padding)
        self.ceil_mode, self.divisor = ceil_mode, divisor

    def forward(self, x: Array) -> Array:
        self.input_hw = x.shape[2:]
        kernel, _, padding = self.geometry
        if kernel == x.shape[2:] and padding == (0, 0):
            y = kernels.axis_sum(x, (2, 3))
        else:
            y = kernels.window_sum(x, *self.geometry, self.ceil_mode)
        y /= array_module(x).asarray(self.divisor, dtype=x.dtype)
        return y

    def vjp(self, g: Tensor) -> Gradients:
        return AvgPool2dInputGrad(self.input_hw, *self.geometry, self.ceil_mode, self.divisor)(g)


class AvgPool2dInputGrad(Function):
    """gx (N,C,*input_hw): each element of g (N,C,OH,OW), divided by `divisor`, added all over its window."""

    def __init__(
        self,
        input_hw: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple,
        ceil_mode: bool,
        divisor: Any,
    ) -> None:
        self.input_hw, self.geometry = input_hw, (kernel, stride, padding)
        self.ceil_mode, self.divisor = ceil_mode, divisor

    def forward(self, g: Array) -> Array:
        g = g / array_module(g).asarray(self.divisor, dtype=g.dtype)
        return kernels.window_spread(g, self.input_hw, *self.geometry)

    def vjp(self, gg: Tensor) -> Gradients:
        return AvgPool2d(*self.geometry, self.ceil_mode, self.divisor)(gg)


@in_float32
def avg_pool2d(
    x: TensorLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    dilation: Pair = 1,
) -> Tensor:
    """The mean of each window, as torch.nn.functional.avg_pool2d.

    x: (N,C,H,W) or (C,H,W). kernel_size, stride (kernel_size if None), dilation (which torch lacks and ONNX has): an
    int or a pair. padding, of zeros: as for max_pool2d. ceil_mode: also windows that stick out at the end.
    count_include_pad: the mean counts padding. divisor_override: divide each window's sum by this instead of its size.
    """
    name = "avg_pool2d"
    x, kernel, stride, dilation, around = _window(name, x, kernel_size, stride, padding, dilation)
    if divisor_override is not None and (not isinstance(divisor_override, int | np.integer) or not divisor_override):
        raise ValueError(f"{name}: divisor_override must be a non-zero int, got {divisor_override!r}")
    if x.ndim == 3:
        rest = ceil_mode, count_include_pad, divisor_override, dilation
        return squeeze(avg_pool2d(unsqueeze(x, 0), kernel, stride, padding, *rest), 0)

    hw, counted = x.shape[2:], around if count_include_pad else ((0, 0), (0, 0))
    ends = fitted(hw, kernel, stride, dilation, around, ceil_mode)
    padded, padding, ceil_mode = _padded(name, x, kernel, stride, dilation, around, ceil_mode, 0)
    divisor = divisor_override or constant(counts(hw, kernel, stride, dilation, ends, counted))
    if dilation == (1, 1):
        return AvgPool2d(kernel, stride, padding, ceil_mode, divisor)(padded)
    ones = constant_like(x, np.ones((x.shape[1], 1, *kernel)))
    (top, bottom), (left, right) = ends
    sums = conv2d(pad(x, (left, right, top, bottom)), ones, None, stride, 0, dilation, groups=x.shape[1])
    return sums / constant_like(x, divisor)


@in_float32
def adaptive_avg_pool2d(x: TensorLike, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The means of a grid of OH by OW windows that covers x, as torch.nn.functional.adaptive_avg_pool2d.

    x: (N,C,H,W) or (C,H,W). output_size: an int or a pair, whose entries may be None (that size of x). Window i takes
    rows floor(i*H/OH) to ceil((i+1)*H/OH), so windows may overlap; columns alike. Where OH or OW does not divide H or W
    these are products with matrices, in which 0 * inf is NaN: an infinity or a NaN then makes NaN of other windows of
    its image and channel too, where torch spoils only those that hold it.
    """
    name = "adaptive_avg_pool2d"
    x = _image(name, x)
    oh, ow = _grid(name, x, output_size)
    if x.ndim == 3:
        return squeeze(adaptive_avg_pool2d(unsqueeze(x, 0), (oh, ow)), 0)

    h, w = x.shape[2:]
    if oh and ow and h % oh == 0 and w % ow == 0:
        return avg_pool2d(x, (h // oh, w // ow))
    rows, columns = _averaging(x, h, oh), _averaging(x, w, ow)
    return matmul(matmul(rows, x), transpose(columns, 0, 1))


def _grid(name, x, output_size):
    """(OH, OW) of adaptive pooling, checked."""
    sizes = tuple(output_size) if isinstance(output_size, list | tuple) else (output_size, output_size)
    if len(sizes) != 2:
        raise ValueError(f"{name}: output_size must be an int or a pair, got {output_size!r}")
    sizes = tuple(n if size is None else size for size, n in zip(sizes, x.shape[-2:], strict=True))
    return pair(name, "output_size", sizes, 0)


def _edges(size, count):
    """[(start, stop)] of the windows of adaptive pooling along one axis."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _averaging(x, size, count):
    """(count, size): row i averages window i. In the dtype of x."""
    weights = np.zeros((count, size))
    for row, (start, stop) in zip(weights, _edges(size, count), strict=True):
        row[start:stop] = 1 / (stop - start)
    return constant_like(x, weights)


def adaptive_max_pool2d(
    x: TensorLike, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> Any:
    """The maxima of the windows of adaptive_avg_pool2d, as torch.nn.functional.adaptive_max_pool2d.

    x: (N,C,H,W) or (C,H,W). output_size: as there. return_indices is not supported.
    """
    name = "adaptive_max_pool2d"
    if return_indices:
        raise NotImplementedError(f"{name}: return_indices is not supported")
    x = _image(name, x)
    oh, ow = _grid(name, x, output_size)
    if x.ndim == 3:
        return squeeze(adaptive_max_pool2d(unsqueeze(x, 0), (oh, ow)), 0)
    if x.shape[2] % max(oh, 1) == x.shape[3] % max(ow, 1) == 0 < oh * ow:
        return max_pool2d(x, (x.shape[2] // oh, x.shape[3] // ow))
    if not oh or not ow:
        return x[:, :, :oh, :ow]
    down, across = (_edges(n, count) for n, count in zip(x.shape[2:], (oh, ow), strict=True))
    rows = [[max_pool2d(x[:, :, a:b, c:d], (b - a, d - c)) for c, d in across] for a, b in down]
    return cat([cat(row, 3) for row in rows], 2)


# ---- arguments -------------------------------------------------------------------------------------------------------


def _image(name, x):
    x = as_tensor(x)
    if x.ndim not in (3, 4):
        raise ValueError(f"{name}: x must be (N,C,H,W) or (C,H,W), got shape {x.shape}")
    if x.dtype.kind != "f" and ("max" not in name or x.dtype.kind == "b"):
        expected = "numbers" if "max" in name else "floating point"
        raise TypeError(f"{name}: x must be {expected}, got dtype {x.dtype}; convert with .astype")
    if 0 in x.shape[-3:]:
        raise ValueError(f"{name}: x {x.shape} must not be empty but for the batch")
    return x


def _window(name, x, kernel_size, stride, padding, dilation=1):
    """(x, kernel, stride, dilation, around), checked; around: ((top, bottom), (left, right)) of the padding."""
    kernel, dilation = pair(name, "kernel_size", kernel_size, 1), pair(name, "dilation", dilation, 1)
    left_out = stride is None or isinstance(stride, list | tuple) and not stride
    stride = kernel if left_out else pair(name, "stride", stride, 1)
    x = _image(name, x)
    around = sides(name, padding, x.shape[-2:], kernel, stride, dilation)
    if isinstance(padding, list | tuple) and len(padding) == 4:
        if any(max(both) > d * (k - 1) for both, k, d in zip(around, kernel, dilation, strict=True)):
            raise ValueError(f"{name}: padding {padding} must be less, at each side, than the window of {kernel} spans")
    elif not isinstance(padding, str) and any(2 * p > k for (p, _), k in zip(around, kernel, strict=True)):
        raise ValueError(f"{name}: padding {padding} must be at most half of kernel_size {kernel}")
    return x, kernel, stride, dilation, around


def _padded(name, x, kernel, stride, dilation, around, ceil_mode, value):
    """(x, padding, ceil_mode) as the kernels take them, padding being the same at both sides: else x is padded here."""
    padding, padded = tuple(before for before, _ in around), x
    if any(before != after for before, after in around):
        ends = fitted(x.shape[2:], kernel, stride, dilation, around, ceil_mode)
        padded, padding, ceil_mode = Pad([(0, 0), (0, 0), *ends], value)(x), (0, 0), False
    hw = kernels.output_hw(padded.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    if min(hw) < 1:
        raise ValueError(f"{name}: the output would have size {hw}: the window does not fit x of shape {x.shape}")
    return padded, padding, ceil_mode
