"""Convolutions.

Three functions, each the derivative of the others. With x the input, w the weight, y the output and g a gradient of
y's shape, convolution is linear in x and in w:

    y  = W x = X w    Conv2d, with W the matrix made of w and X that made of x
    gx = W^T g        Conv2dInputGrad, the transposed convolution
    gw = X^T g        Conv2dWeightGrad

so the vjp of any of them is made of the other two, to any order.

Letters: N images, C channels in, O channels out, H W height and width, KH KW of the kernel, OH OW of the output.
"""

from typing import Any

import numpy as np

from .. import kernels
from ..autograd import Function
from ..tensor import Tensor, as_tensor, together
from ..typing import Array, Gradients, Pair, TensorLike
from .convert import in_float32
from .index import getitem
from .reduce import sum
from .shape import reshape, squeeze, unsqueeze
from .window import pair, sides


class _Convolution(Function):
    """What the three share: stride, padding, dilation (pairs) and groups."""

    def __init__(self, stride: tuple[int, int], padding: tuple, dilation: tuple[int, int], groups: int) -> None:
        self.geometry = (stride, padding, dilation, groups)


class Conv2d(_Convolution):
    """y (N,O,OH,OW) = x (N,C,H,W) correlated with w (O,C/groups,KH,KW), plus a bias (O,)."""

    def forward(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        return kernels.conv2d(x, w, bias, *self.geometry)

    def vjp(self, g: Tensor) -> Gradients:
        x, w, *bias = self.inputs
        by_x, by_w, *by_bias = self.needs_input_grad
        gx = Conv2dInputGrad(x.shape[2:], *self.geometry)(g, w) if by_x else None
        gw = Conv2dWeightGrad(w.shape[2:], *self.geometry)(x, g) if by_w else None
        return gx, gw, *(sum(g, (0, 2, 3)) if needed else None for needed in by_bias)


class Conv2dInputGrad(_Convolution):
    """gx (N,C,*input_hw) from g (N,O,OH,OW) and w: the transposed convolution."""

    def __init__(self, input_hw: tuple[int, int], *geometry: Any) -> None:
        super().__init__(*geometry)
        self.input_hw = tuple(input_hw)

    def forward(self, g: Array, w: Array) -> Array:
        return kernels.conv2d_input_grad(g, w, self.input_hw, *self.geometry)

    def vjp(self, gg: Tensor) -> Gradients:
        g, w = self.inputs
        by_g, by_w = self.needs_input_grad
        return (
            _first_rows(Conv2d(*self.geometry)(gg, w), g) if by_g else None,
            Conv2dWeightGrad(w.shape[2:], *self.geometry)(gg, g) if by_w else None,
        )


class Conv2dWeightGrad(_Convolution):
    """gw (O,C/groups,*kernel_hw) from x and g."""

    def __init__(self, kernel_hw: tuple[int, int], *geometry: Any) -> None:
        super().__init__(*geometry)
        self.kernel_hw = tuple(kernel_hw)

    def forward(self, x: Array, g: Array) -> Array:
        return kernels.conv2d_weight_grad(x, g, self.kernel_hw, *self.geometry)

    def vjp(self, gg: Tensor) -> Gradients:
        x, g = self.inputs
        by_x, by_g = self.needs_input_grad
        return (
            Conv2dInputGrad(x.shape[2:], *self.geometry)(g, gg) if by_x else None,
            _first_rows(Conv2d(*self.geometry)(x, gg), g) if by_g else None,
        )


def _first_rows(y, g):
    """y cut to the size of g: an output_padding of a stride or more leaves room for windows that g does not have."""
    return y if y.shape == g.shape else getitem(y, (..., slice(g.shape[2]), slice(g.shape[3])))


@in_float32
def conv2d(x: TensorLike, weight: TensorLike, bias: TensorLike | None = None, stride: Pair = 1, padding: Pair = 0,
           dilation: Pair = 1, groups: int = 1) -> Tensor:  # fmt: skip
    """Cross-correlation of x with weight, as torch.nn.functional.conv2d.

    x: (N,C,H,W), or (C,H,W) for one image. weight: (O, C/groups, KH, KW). bias: (O,) or None.
    stride, dilation: an int or a pair (rows, columns). padding: the same; or four ints (left, right, top, bottom), as
    F.pad takes them; or "valid" (none), "same" (the output has the size of x; stride must be 1), "same_upper" or
    "same_lower" (OH = ceil(H / stride); what is odd goes to the end or to the beginning, as in TensorFlow and ONNX).

    Returns (N,O,OH,OW) with OH = (H + top + bottom - dilation*(KH-1) - 1) // stride + 1, likewise OW.
    Raises ValueError for shapes or arguments that do not fit, TypeError for mixed dtypes.
    """
    x = as_tensor(x)
    if x.ndim == 3:
        return squeeze(conv2d(unsqueeze(x, 0), weight, bias, stride, padding, dilation, groups), 0)
    inputs, geometry, crop = conv2d_arguments(x, weight, bias, stride, padding, dilation, groups)
    y = Conv2d(*geometry)(*inputs)
    return y if crop is None else getitem(y, crop)


def conv2d_arguments(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> tuple:
    """conv2d's arguments as the kernels take them: ((x, weight) or (x, weight, bias), (stride, padding, dilation,
    groups), crop), Tensors, pairs and an int, checked, and the part of what they give that is the result (None: all).
    x: a Tensor (N,C,H,W)."""
    x, weight, bias = _operands("conv2d", x, weight, bias)
    stride, dilation = pair("conv2d", "stride", stride, 1), pair("conv2d", "dilation", dilation, 1)
    _check_groups("conv2d", weight.shape[0], "weight.shape[0]", groups)
    channels = weight.shape[1] * groups
    if x.shape[1] != channels:
        raise ValueError(
            f"conv2d: x has {x.shape[1]} channels (x.shape[1]), weight expects {channels} (weight.shape[1] * groups)"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"conv2d: bias has shape {bias.shape}, expected {weight.shape[:1]} (weight.shape[0])")
    kernel = weight.shape[2:]
    around = sides("conv2d", padding, x.shape[2:], kernel, stride, dilation)
    for n, (before, after), k, d, name in zip(x.shape[2:], around, kernel, dilation, ("height", "width"), strict=True):
        if n + before + after < d * (k - 1) + 1:
            raise ValueError(
                f"conv2d: the kernel spans {d * (k - 1) + 1} in {name}, the padded x has {n + before + after}"
            )
    padding, crop = _symmetric(x.shape[2:], kernel, stride, dilation, around)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return inputs, (stride, padding, dilation, groups), crop


@in_float32
def conv_transpose2d(x: TensorLike, weight: TensorLike, bias: TensorLike | None = None, stride: Pair = 1,
                     padding: Pair = 0, output_padding: Pair = 0, groups: int = 1,
                     dilation: Pair = 1) -> Tensor:  # fmt: skip
    """Transposed convolution (the input gradient of conv2d), as torch.nn.functional.conv_transpose2d.

    x: (N,C,H,W) or (C,H,W). weight: (C, O/groups, KH, KW). bias: (O,) or None. output_padding: extra rows and columns
    at one side of the output, smaller than stride or dilation.

    Returns (N,O,OH,OW) with OH = (H-1)*stride - 2*padding + dilation*(KH-1) + output_padding + 1, likewise OW.
    """
    name = "conv_transpose2d"
    x, weight, bias = _operands(name, x, weight, bias)
    stride, dilation = pair(name, "stride", stride, 1), pair(name, "dilation", dilation, 1)
    padding, extra = pair(name, "padding", padding, 0), pair(name, "output_padding", output_padding, 0)
    _check_groups(name, weight.shape[0], "weight.shape[0]", groups)
    if x.ndim == 3:
        y = conv_transpose2d(unsqueeze(x, 0), weight, bias, stride, padding, extra, groups, dilation)
        return squeeze(y, 0)

    if x.shape[1] != weight.shape[0]:
        raise ValueError(
            f"{name}: x has {x.shape[1]} channels (x.shape[1]), weight expects {weight.shape[0]} (weight.shape[0])"
        )
    channels = weight.shape[1] * groups
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"{name}: bias has shape {bias.shape}, expected {(channels,)} (weight.shape[1] * groups)")
    if any(e >= s and e >= d for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ValueError(f"{name}: output_padding {extra} must be smaller than stride {stride} or dilation {dilation}")
    hw = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(x.shape[2:], stride, padding, dilation, weight.shape[2:], extra, strict=True)
    )
    if min(hw) < 1:
        raise ValueError(f"{name}: the output would have size {hw}; reduce padding {padding}")
    y = Conv2dInputGrad(hw, stride, padding, dilation, groups)(x, weight)
    return y if bias is None else y + reshape(bias, (1, -1, 1, 1))


# ---- arguments -------------------------------------------------------------------------------------------------------


def _operands(name, x, weight, bias):
    x, weight = as_tensor(x), as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    if x.ndim not in (3, 4):
        raise ValueError(f"{name}: x must be (N,C,H,W) or (C,H,W), got shape {x.shape}")
    if weight.ndim != 4:
        raise ValueError(f"{name}: weight must have 4 dimensions, got shape {weight.shape}")
    if 0 in weight.shape or 0 in x.shape[-3:]:
        raise ValueError(f"{name}: x {x.shape} and weight {weight.shape} must not be empty but for the batch")
    if x.dtype.kind == "b":
        raise TypeError(f"{name}: x must be numbers, got dtype bool; convert with .astype")
    for other, argument in ((weight, "weight"), (bias, "bias")):
        if other is not None and other.dtype != x.dtype:
            raise TypeError(f"{name}: x has dtype {x.dtype}, {argument} has {other.dtype}; convert one with .astype")
    together(name, x=x, weight=weight, bias=bias)
    return x, weight, bias


def _check_groups(name, channels, where, groups):
    if not isinstance(groups, int | np.integer) or groups < 1:
        raise ValueError(f"{name}: groups must be a positive int, got {groups!r}")
    if channels % groups:
        raise ValueError(f"{name}: groups {groups} must divide {channels} ({where})")


def _symmetric(hw, kernel, stride, dilation, around):
    """(padding, crop): a padding that is the same on both sides, among whose windows are those of `around`, and the
    part of its output that is theirs: slices, or None where that is all of it."""
    padding, crop = [], []
    for n, k, s, d, (before, after) in zip(hw, kernel, stride, dilation, around, strict=True):
        p = max(before, after)
        p += (before - p) % s  # windows are s apart: one of them must start where the first of `around` does
        first, count = (p - before) // s, (n + before + after - d * (k - 1) - 1) // s + 1
        padding.append(p)
        crop.append(slice(first, first + count))
    return tuple(padding), None if all(a == b for a, b in around) else (..., *crop)
