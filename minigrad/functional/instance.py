"""Normalisation of each image by itself: over groups of channels, each channel, or all that lies at one place.

They are made of other functions, so their derivatives of any order are those functions'.
"""

from collections.abc import Sequence

import numpy as np

from ..autograd import without_gradient
from ..tensor import Tensor, as_tensor, together
from ..typing import TensorLike
from .convert import in_float32
from .elementwise import sqrt, square
from .normalize import fit_to_square, units
from .reduce import mean
from .shape import reshape
from .window import ints


def _standardised(x, axes, eps):
    """x to mean 0 and variance 1 over the axes; in units in which it can be squared, where it cannot as it is."""
    with np.errstate(over="ignore", invalid="ignore"):
        distance, variance = _moments(x, axes)
        if fit_to_square(variance) or not x.size:
            return distance / sqrt(variance + eps)
    unit = without_gradient(lambda array: units(array, axes), x)
    distance, variance = _moments(x / unit, axes)
    return distance / sqrt(variance + eps / unit / unit)


def _moments(x, axes):
    """x without its mean over the axes, and its variance."""
    distance = x - mean(x, axes, keepdims=True)
    return distance, mean(square(distance), axes, keepdims=True)


def _scaled(name, x, y, shape, at, weight, bias):
    """y * weight + bias, each None or of `shape`, which lies in y as `at`; x: for the errors."""
    weight, bias = (None if vector is None else as_tensor(vector) for vector in (weight, bias))
    vectors = {"weight": weight, "bias": bias}
    for argument, vector in vectors.items():
        if vector is not None and vector.shape != shape:
            raise ValueError(f"{name}: {argument} has shape {vector.shape}, expected {shape} for x of shape {x.shape}")
        if vector is not None and vector.dtype != x.dtype:
            raise TypeError(f"{name}: x has dtype {x.dtype}, {argument} has {vector.dtype}; convert one with .astype")
    together(name, x=x, **vectors)
    y = y if weight is None else y * reshape(weight, at)
    return y if bias is None else y + reshape(bias, at)


def _floats(name, x, least, eps):
    x = as_tensor(x)
    if not eps >= 0:
        raise ValueError(f"{name}: eps must be 0 or more, got {eps}")
    if x.ndim < least or x.dtype.kind != "f":
        raise ValueError(f"{name}: x must be floating point (N,C,...), got {x.dtype} of shape {x.shape}")
    return x


@in_float32
def group_norm(
    x: TensorLike, num_groups: int, weight: TensorLike | None = None, bias: TensorLike | None = None, eps: float = 1e-5
) -> Tensor:
    """Groups of channels of each image to mean 0 and variance 1, then scaled and shifted by channel, as torch's.

    x: (N,C,...). num_groups: how many groups of neighbouring channels; must divide C. weight, bias: (C,) or None.
    (Wu and He 2018, arXiv:1803.08494.)
    """
    x = _floats("group_norm", x, 2, eps)
    channels = x.shape[1]
    if not isinstance(num_groups, int | np.integer) or num_groups < 1 or channels % num_groups:
        raise ValueError(f"group_norm: num_groups {num_groups!r} must be positive and divide {channels} (x.shape[1])")
    return _by_groups("group_norm", x, int(num_groups), weight, bias, eps)


def _by_groups(name, x, num_groups, weight, bias, eps):
    n, channels, *hw = x.shape
    grouped = reshape(x, (n, num_groups, channels // num_groups if channels else 0, *hw))
    y = reshape(_standardised(grouped, tuple(range(2, grouped.ndim)), eps), x.shape)
    return _scaled(name, x, y, (channels,), (-1, *(1,) * len(hw)), weight, bias)


@in_float32
def instance_norm(
    x: TensorLike,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each image to mean 0 and variance 1 over its positions, then scaled and shifted by channel.

    x: (N,C,H,W), or with other dimensions behind C. weight, bias: (C,) or None. The other arguments of torch's
    instance_norm, statistics kept from image to image, are not supported. (Ulyanov et al. 2016, arXiv:1607.08022.)
    """
    if running_mean is not None or running_var is not None or not use_input_stats:
        raise NotImplementedError("instance_norm: running_mean and running_var are not supported")
    x = _floats("instance_norm", x, 3, eps)
    if x.size and x.size == x.shape[0] * x.shape[1]:
        raise ValueError(f"instance_norm: needs more than 1 position, x has shape {x.shape}")
    return _by_groups("instance_norm", x, x.shape[1], weight, bias, eps)


@in_float32
def layer_norm(
    x: TensorLike,
    normalized_shape: int | Sequence[int],
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """x to mean 0 and variance 1 over its last dimensions, then scaled and shifted element by element, as torch's.

    normalized_shape: those dimensions, an int for the last one. weight, bias: of that shape, or None.
    (Ba et al. 2016, arXiv:1607.06450.)
    """
    x = _floats("layer_norm", x, 1, eps)
    shape = ints("layer_norm", "normalized_shape", normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"layer_norm: normalized_shape {shape} is not how x of shape {x.shape} ends")
    y = _standardised(x, tuple(range(x.ndim - len(shape), x.ndim)), eps)
    return _scaled("layer_norm", x, y, shape, shape, weight, bias)


@in_float32
def channel_layer_norm(
    x: TensorLike, weight: TensorLike | None = None, bias: TensorLike | None = None, eps: float = 1e-6
) -> Tensor:
    """x (N,C,...) to mean 0 and variance 1 over the channels at each position, then scaled and shifted by channel.

    weight, bias: (C,) or None. It is layer_norm with the channels last (ConvNeXt: Liu et al. 2022, arXiv:2201.03545).
    """
    x = _floats("channel_layer_norm", x, 2, eps)
    return _scaled(
        "channel_layer_norm", x, _standardised(x, (1,), eps), x.shape[1:2], (-1, *(1,) * (x.ndim - 2)), weight, bias
    )
