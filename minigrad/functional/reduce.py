"""Reductions over axes, with NumPy's arguments `axis` (an int, a tuple, None for all) and `keepdims`."""

from math import prod

import numpy as np

from .. import kernels
from ..autograd import Function, without_gradient
from ..device import array_module
from ..tensor import Tensor, as_tensor
from ..typing import Array, Axis, Gradients, TensorLike
from .broadcast import broadcast_to
from .convert import cast, floating, in_float32
from .elementwise import square
from .shape import reshape
from .window import ints


def _axes(name, axis, shape):
    """The axes as a tuple counted from the front. A single number has the axis 0, as in torch, and none to sum over."""
    axes, count = range(len(shape)) if axis is None else ints(name, "axis", axis), len(shape) or 1
    if any(not -count <= a < count for a in axes):
        raise ValueError(f"{name}: axis {axis} is out of range for shape {shape}")
    axes = tuple(a % count for a in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}: axis {axis} names an axis twice")
    return axes if shape else ()


def _drop(x, axes, keepdims):
    """x without the (length-1) axes, unless they are kept."""
    return x if keepdims else reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


class Sum(Function):
    """Sum over axes, which stay as length 1."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        if x.dtype.kind != "f":
            return x.sum(axis=self.axes, keepdims=True, dtype=np.int64)
        if x.ndim > 1 and sorted(self.axes) == [0, *range(2, x.ndim)]:
            return kernels.channel_sum(x).reshape(1, -1, *(1,) * (x.ndim - 2))
        return kernels.axis_sum(x, self.axes)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return broadcast_to(g, x.shape)


@in_float32
def sum(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> Tensor:
    """Sum over `axis`; integers and booleans add up to int64."""
    x = as_tensor(x)
    axes = _axes("sum", axis, x.shape)
    return _drop(Sum(axes)(x), axes, keepdims)


@in_float32
def mean(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> Tensor:
    """Mean over `axis`; integers become float32. Of no elements, it is NaN."""
    x = floating(x)
    axes = _axes("mean", axis, x.shape)
    return sum(x, axes, keepdims) / float(prod(x.shape[a] for a in axes))


@in_float32
def var(x: TensorLike, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """Variance over `axis`: the sum of squared distances from the mean, divided by count - ddof."""
    x = floating(x)
    axes = _axes("var", axis, x.shape)
    count = prod(x.shape[a] for a in axes)
    if count <= ddof:
        raise ValueError(f"var: {count} elements over axis {axis} of shape {x.shape} are too few for ddof={ddof}")
    return sum(square(x - mean(x, axes, keepdims=True)), axes, keepdims) / float(count - ddof)


class _Extreme(Function):
    """What Max and Min share; `name` is NumPy's."""

    name = ""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        return getattr(array_module(x), self.name)(x, axis=self.axes, keepdims=True)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        winners = cast(x == self.output, x.dtype)
        return g * winners / sum(winners, self.axes, keepdims=True)


class Max(_Extreme):
    """Maximum over axes, which stay as length 1. Equal maxima share the gradient."""

    name = "max"


class Min(_Extreme):
    """Minimum over axes, which stay as length 1. Equal minima share the gradient."""

    name = "min"


@in_float32
def max(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> Tensor:
    """Maximum over `axis`. Equal maxima share the gradient evenly (as torch.amax)."""
    return _extreme(Max, x, axis, keepdims)


@in_float32
def min(x: TensorLike, axis: Axis | None = None, keepdims: bool = False) -> Tensor:
    """Minimum over `axis`. Equal minima share the gradient evenly (as torch.amin)."""
    return _extreme(Min, x, axis, keepdims)


def _extreme(kind, x, axis, keepdims):
    x = as_tensor(x)
    axes = _axes(kind.name, axis, x.shape)
    if not prod(x.shape[a] for a in axes):
        raise ValueError(f"{kind.name}: no elements along axis {axis} of shape {x.shape}")
    return _drop(kind(axes)(x), axes, keepdims)


def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first maximum along `axis` (an int, or None for the flattened tensor), int64; no gradient."""
    return _place("argmax", x, axis, keepdims)


def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first minimum along `axis` (an int, or None for the flattened tensor), int64; no gradient."""
    return _place("argmin", x, axis, keepdims)


def _place(name, x, axis, keepdims):
    x = as_tensor(x)
    if axis is not None and not isinstance(axis, int | np.integer):
        raise TypeError(f"{name}: axis must be an int or None, got {axis!r}")
    axes = _axes(name, axis, x.shape)
    if not prod(x.shape[a] for a in axes):
        raise ValueError(f"{name}: no elements along axis {axis} of shape {x.shape}")
    return without_gradient(lambda array: getattr(array_module(array), name)(array, axis=axis, keepdims=keepdims), x)
