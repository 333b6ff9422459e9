"""Layers, with torch.nn's names and arguments: with parameters, and without."""

import math
from collections.abc import Sequence

import numpy as np

from .. import functional as F
from ..tensor import Tensor
from ..typing import Pair
from .activations import LeakyReLU, ReLU, ReLU6  # noqa: F401  (where the peephole, and others before, look for them)
from .module import Module

# ---- layers with parameters ------------------------------------------------------------------------------------------


def _he_normal(shape, fan_in, rng):
    """Normal with variance 2/fan_in, which keeps the variance of activations through ReLUs (He et al. 2015)."""
    return Tensor(
        rng.standard_normal(shape, np.float32) * math.sqrt(2.0 / fan_in), requires_grad=True, dtype=np.float32
    )


class Conv2d(Module):
    """2-D convolution with `.weight` (O, C/groups, KH, KW) and `.bias` (O,) or None.

    rng: the Generator that draws the He-normal weights; without it they are zeros, to be loaded. Biases start at 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        _check_groups("Conv2d", in_channels, out_channels, groups)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = F.pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = _weight(shape, math.prod(shape[1:]), rng)
        self.bias = _zeros(out_channels) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def describe(self) -> dict:
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names} | {"bias": self.bias is not None}


class ConvTranspose2d(Module):
    """Transposed 2-d convolution with `.weight` (C, O/groups, KH, KW) and `.bias` (O,) or None.

    rng: as for Conv2d; an output sees KH*KW / (SH*SW) weights of each channel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        rng: np.random.Generator | None = None,
    ) -> None:
        _check_groups("ConvTranspose2d", in_channels, out_channels, groups)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = F.pair("ConvTranspose2d", "kernel_size", kernel_size, 1)
        self.stride, self.padding, self.output_padding = stride, padding, output_padding
        self.groups, self.dilation = groups, dilation
        apart = F.pair("ConvTranspose2d", "stride", stride, 1)
        fan_in = in_channels // groups * math.prod(self.kernel_size) / math.prod(apart)
        self.weight = _weight((in_channels, out_channels // groups, *self.kernel_size), fan_in, rng)
        self.bias = _zeros(out_channels) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        rest = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return F.conv_transpose2d(x, self.weight, self.bias, *rest)

    def describe(self) -> dict:
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "groups")
        return {name: getattr(self, name) for name in (*names, "dilation")} | {"bias": self.bias is not None}


class Linear(Module):
    """x @ weight.T + bias with `.weight` (out_features, in_features) and `.bias` (out_features,) or None.

    rng: as for Conv2d.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, rng: np.random.Generator | None = None
    ) -> None:
        self.in_features, self.out_features = in_features, out_features
        self.weight = _weight((out_features, in_features), in_features, rng)
        self.bias = _zeros(out_features) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def describe(self) -> dict:
        return {"in_features": self.in_features, "out_features": self.out_features, "bias": self.bias is not None}


def _check_groups(name, inputs, outputs, groups):
    if groups < 1 or inputs % groups or outputs % groups:
        raise ValueError(f"{name}: groups {groups} must divide in_channels {inputs} and out_channels {outputs}")


def _weight(shape, fan_in, rng):
    return _zeros(*shape) if rng is None else _he_normal(shape, fan_in, rng)


def _zeros(*shape):
    # np.zeros is not touched until written: a network about to be loaded costs no memory
    tensor = Tensor._wrap(np.zeros(shape, np.float32))
    tensor.requires_grad = True
    return tensor


class BatchNorm2d(Module):
    """Each channel to mean 0 and variance 1 over the batch, then scaled by `.weight` and shifted by `.bias`.

    In training the statistics are the batch's, and `.running_mean` and `.running_var` move towards them by `momentum`;
    in evaluation they are the running ones (Ioffe and Szegedy 2015).
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Tensor(np.ones(num_features, np.float32), requires_grad=True)
        self.bias = _zeros(num_features)
        self.running_mean = Tensor(np.zeros(num_features, np.float32))
        self.running_var = Tensor(np.ones(num_features, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        stats = (self.running_mean, self.running_var)
        return F.batch_norm(x, *stats, self.weight, self.bias, self.training, self.momentum, self.eps)

    def describe(self) -> dict:
        return {"num_features": self.num_features, "eps": self.eps, "momentum": self.momentum}


# ---- layers without parameters ---------------------------------------------------------------------------------------


class Identity(Module):
    """x itself: what stands where a layer was taken out, or for the branch of a sum that changes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class MaxPool2d(Module):
    """Maximum over windows; arguments as in F.max_pool2d."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, **self.describe())

    def describe(self) -> dict:
        return {name: getattr(self, name) for name in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")}


class AvgPool2d(Module):
    """Mean over windows; arguments as in F.avg_pool2d."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        dilation: Pair = 1,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.dilation = padding, ceil_mode, dilation
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, **self.describe())

    def describe(self) -> dict:
        names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override", "dilation")
        return {name: getattr(self, name) for name in names}


class AdaptiveAvgPool2d(Module):
    """Mean over as many near-equal windows as the output has places; 1 is global average pooling."""

    def __init__(self, output_size: int | Sequence[int | None]) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def describe(self) -> dict:
        return {"output_size": self.output_size}


class AdaptiveMaxPool2d(Module):
    """Maximum over as many near-equal windows as the output has places; 1 is global max pooling."""

    def __init__(self, output_size: int | Sequence[int | None]) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(x, self.output_size)

    def describe(self) -> dict:
        return {"output_size": self.output_size}


class LocalResponseNorm(Module):
    """Each value divided by a power of the mean square over `size` neighbouring channels (Krizhevsky et al. 2012)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def describe(self) -> dict:
        return {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}


class Dropout(Module):
    """In training, zeros each element with probability p and divides the rest by 1-p; the identity in evaluation.

    `.rng` is the Generator that draws; set one before training.
    """

    def __init__(self, p: float = 0.5, rng: np.random.Generator | None = None) -> None:
        self.p, self.rng = p, rng

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training, rng=self.rng)

    def describe(self) -> dict:
        return {"p": self.p}


class Flatten(Module):
    """(N, ...) to (N, features), in the order C, H, W."""

    def forward(self, x: Tensor) -> Tensor:
        return F.flatten(x, 1)


class Softmax(Module):
    """exp(x) / sum exp(x) over `dim`."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.dim)

    def describe(self) -> dict:
        return {"dim": self.dim}
