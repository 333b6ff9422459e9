"""Normalisation and dropout.

Batch normalisation of a batch in training, with m elements in each channel, mean and variance v of those elements:

    xhat = (x - mean) / sqrt(v + eps)        y = weight * xhat + bias

A change of one element changes the mean and v of its channel, so the gradient g of y comes back as

    gbias = sum g      gweight = sum g xhat      gx = weight / sqrt(v + eps) * (g - gbias / m - xhat * gweight / m)

which, since xhat is affine in x, is one pass g*a + x*b + c with three numbers for each channel. The passes over whole
tensors are Functions of their own here (channel_...), so the gradient can be differentiated in turn.

Letters: N images, C channels, m = N*H*W elements of one channel.
"""

import functools
from typing import Any

import numpy as np

from .. import kernels
from ..autograd import Function, is_recorded, without_gradient
from ..device import array_module
from ..tensor import Tensor, as_tensor, together
from ..typing import Array, Gradients, TensorLike
from .broadcast import broadcast_to
from .convert import cast, constant_like, floating, in_float32
from .elementwise import abs, add, sqrt, square
from .reduce import sum
from .shape import pad, reshape, stack

# ---- passes over the channels of x (N,C,...) -------------------------------------------------------------------------


class ChannelAffine(Function):
    """x * scale + shift, with scale and shift (C,)."""

    def forward(self, x: Array, scale: Array, shift: Array) -> Array:
        return kernels.channel_affine(x, scale, shift)

    def vjp(self, g: Tensor) -> Gradients:
        x, scale, _ = self.inputs
        by_x, by_scale, by_shift = self.needs_input_grad
        return (
            channel_scale(g, scale) if by_x else None,
            ChannelSumProduct()(g, x) if by_scale else None,
            channel_sum(g) if by_shift else None,
        )


class ChannelAffine2(Function):
    """x * a + y * b + c, with a, b and c (C,)."""

    def forward(self, x: Array, a: Array, y: Array, b: Array, c: Array) -> Array:
        return kernels.channel_affine2(x, a, y, b, c)

    def vjp(self, g: Tensor) -> Gradients:
        x, a, y, b, _ = self.inputs
        by_x, by_a, by_y, by_b, by_c = self.needs_input_grad
        return (
            channel_scale(g, a) if by_x else None,
            ChannelSumProduct()(g, x) if by_a else None,
            channel_scale(g, b) if by_y else None,
            ChannelSumProduct()(g, y) if by_b else None,
            channel_sum(g) if by_c else None,
        )


class ChannelSumProduct(Function):
    """(C,): the sum of x * y in each channel."""

    def forward(self, x: Array, y: Array) -> Array:
        return kernels.channel_sum_product(x, y)

    def vjp(self, g: Tensor) -> Gradients:
        x, y = self.inputs
        by_x, by_y = self.needs_input_grad
        return channel_scale(y, g) if by_x else None, channel_scale(x, g) if by_y else None


class ChannelSums(Function):
    """(2,C): the sum of x in each channel, and the sum of x * y."""

    def forward(self, x: Array, y: Array) -> Array:
        return kernels.channel_sums(x, y)

    def vjp(self, g: Tensor) -> Gradients:
        x, y = self.inputs
        by_x, by_y = self.needs_input_grad
        return ChannelAffine()(y, g[1], g[0]) if by_x else None, channel_scale(x, g[1]) if by_y else None


class ChannelMean(Function):
    """(C,): the mean of each channel, already computed as the array `value`: this records it in the graph, so
    that it can be differentiated."""

    def __init__(self, value: Array) -> None:
        self.value = value

    def forward(self, x: Array) -> Array:
        return self.value

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return broadcast_to(reshape(g / float(_count(x)), _column(x)), x.shape)


class ChannelVariance(Function):
    """(C,): the mean squared distance of each channel's elements from their `mean`. `value` as for ChannelMean."""

    def __init__(self, mean: Tensor, value: Array) -> None:
        self.mean, self.value = mean, value

    def forward(self, x: Array) -> Array:
        return self.value

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        slope = g * (2.0 / _count(x))
        return ChannelAffine()(x, slope, -slope * ChannelMean(self.mean)(x))


def channel_sum(x: Tensor) -> Tensor:
    """(C,): the sum of each channel."""
    return sum(x, (0, *range(2, x.ndim)))


def channel_scale(x: Tensor, scale: Tensor) -> Tensor:
    """x * scale, with scale (C,)."""
    return ChannelAffine()(x, scale, _zeros(x))


def _count(x):
    return x.size // x.shape[1]


def _column(x):
    """The shape in which (C,) broadcasts against x."""
    return (1, -1, *(1,) * (x.ndim - 2))


def _zeros(x):
    return constant_like(x, np.zeros(x.shape[1]))


def _ones(x):
    return constant_like(x, np.ones(x.shape[1]))


# ---- batch normalisation ---------------------------------------------------------------------------------------------


class BatchNorm(Function):
    """weight * (x - mean) / sqrt(variance + eps) + bias with the batch's own mean and (biased) variance per channel.

    eps: a number, or an array (C,). After the call, `mean` and `variance` hold the batch's as arrays (C,).
    """

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
        self.mean, self.variance = kernels.channel_moments(x)
        xp = array_module(x)
        scale = weight / xp.sqrt(self.variance + xp.asarray(self.eps, x.dtype))
        return kernels.channel_affine(x, scale, bias - self.mean * scale)

    def vjp(self, g: Tensor) -> Gradients:
        x, weight, _ = self.inputs
        sums = ChannelSums()(g, x)
        if is_recorded(g, *self.inputs):
            mean, variance = ChannelMean(self.mean)(x), ChannelVariance(self.mean, self.variance)(x)
            gweight, gbias, *slopes = self._vectors(sqrt, mean, variance, weight, sums[0], sums[1], _count(x))
        else:  # the same of arrays: a Tensor for each step would take as long as the passes
            gweight, gbias, *slopes = self._vectors_of_arrays(sums, weight, _count(x))
        a, b, c = slopes
        return ChannelAffine2()(g, a, x, b, c) if self.needs_input_grad[0] else None, gweight, gbias

    def _vectors_of_arrays(self, sums, weight, count):
        def compute(sums, weight):
            xp = array_module(sums)
            return xp.stack(self._vectors(xp.sqrt, self.mean, self.variance, weight, *sums, count))

        found = without_gradient(compute, sums, weight)
        return [found[i] for i in range(len(found))]

    def _vectors(self, sqrt, mean, variance, weight, gbias, sum_g_x, count):
        """(gweight, gbias, a, b, c), each (C,), of such vectors: the input gradient is g*a + x*b + c."""
        m, inverse = float(count), 1.0 / sqrt(variance + self.eps)
        gweight = (sum_g_x - mean * gbias) * inverse
        a = weight * inverse
        b = -a * inverse * gweight / m
        return gweight, gbias, a, b, -a * gbias / m - b * mean


def batch_norm(
    x: TensorLike,
    running_mean: Tensor,
    running_var: Tensor,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel shifted and scaled to mean 0 and variance 1, then by weight and bias, as torch's batch_norm.

    x: (N,C,...), floating point. running_mean, running_var: Tensors (C,), or None when training. weight, bias: (C,) or
    None. training: use the mean and variance of this batch, and move the running ones towards them by `momentum` (the
    variance with the count less one): their `.data` is replaced by a new array. Otherwise the running ones are used.

    Raises ValueError where shapes do not fit, when training on one element a channel, for one of the running statistics
    without the other, and for an eps that is negative, or 0 when training; TypeError where a vector's dtype is not that
    of x.
    """
    x = as_tensor(x)
    if x.ndim < 2 or x.dtype.kind != "f":
        raise ValueError(f"batch_norm: x must be floating point (N,C,...), got {x.dtype} of shape {x.shape}")
    channels = x.shape[1]
    vectors = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name in ("running_mean", "running_var"):
        if training and not isinstance(vectors[name], Tensor | None):
            kind = type(vectors[name]).__name__
            raise TypeError(f"batch_norm: {name} must be a Tensor, which training writes to, got {kind}")
    vectors = {name: None if vector is None else as_tensor(vector) for name, vector in vectors.items()}
    for name, vector in vectors.items():
        if vector is not None and vector.shape != (channels,):
            raise ValueError(f"batch_norm: {name} has shape {vector.shape}, expected {(channels,)} (x.shape[1])")
        if vector is not None and vector.dtype != x.dtype:
            raise TypeError(f"batch_norm: x has dtype {x.dtype}, {name} has {vector.dtype}; convert one with .astype")
    if eps < 0 or (training and eps == 0):
        raise ValueError(f"batch_norm: eps must be {'positive in training' if training else '0 or more'}, got {eps}")
    if training and (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: give both running_mean and running_var, or neither")
    together("batch_norm", x=x, **vectors)
    mean, var, weight, bias = vectors.values()
    weight, bias = _ones(x) if weight is None else weight, _zeros(x) if bias is None else bias

    if not training:
        if mean is None or var is None:
            raise ValueError("batch_norm: running_mean and running_var are needed when training is False")
        return _normalized(x, mean, var, weight, bias, eps)
    if x.size == channels:
        raise ValueError(f"batch_norm: training needs more than 1 element in each channel, x has shape {x.shape}")
    y, mean, variance = _normalized_by_itself(x, weight, bias, eps)
    _move(running_mean, mean, momentum)
    _move(running_var, variance, momentum, factor=_count(x) / (_count(x) - 1))
    return y


@in_float32
def _normalized(x, mean, variance, weight, bias, eps):
    scale = weight / sqrt(variance + eps)
    return ChannelAffine()(x, scale, bias - mean * scale)


def _normalized_by_itself(x, weight, bias, eps):
    """(y, mean, variance): batch normalisation by the batch's own mean and variance, arrays (C,)."""
    dtype = x.dtype
    x, weight, bias = (cast(t, np.promote_types(dtype, np.float32)) for t in (x, weight, bias))
    if not x.size:
        return cast(ChannelAffine()(x, weight, bias), dtype), None, None
    with np.errstate(over="ignore", invalid="ignore"):
        if x.device == "cpu":
            function = BatchNorm(eps)
            y = function(x, weight, bias)
            if fit_to_square(Tensor._wrap(function.variance)):
                return cast(y, dtype), function.mean, function.variance
        unit = without_gradient(_units, x)
        function = BatchNorm(without_gradient(lambda u: _scaled_eps(eps, u), unit).data)
        y = function(channel_scale(x, 1.0 / unit), weight, bias)
        mean, variance = (Tensor._wrap(array) for array in (function.mean, function.variance))
        return cast(y, dtype), (mean * unit).data, (variance * unit * unit).data


def _units(x):
    """(C,): powers of two in which the numbers of each channel are small enough to square; 1 where they are."""
    return units(x, (0, *range(2, x.ndim))).reshape(-1)


def units(x: Array, axes: tuple[int, ...]) -> Array:
    """The same of what lies along other axes of x, an array, which stay as length 1."""
    xp = array_module(x)
    _, exponent = xp.frexp(xp.abs(x).max(axis=axes, keepdims=True))
    return xp.ldexp(x.dtype.type(1), xp.maximum(exponent - 16, 0))


def fit_to_square(variance: Tensor) -> bool:
    """Whether no square has left the range, given the variance, or mean of squares, that they led to (a Tensor).

    A GPU would have to be waited for, so there the answer is no.
    """
    return variance.device == "cpu" and bool((variance.data < np.finfo(variance.dtype).max ** 0.5).all())


def _scaled_eps(eps, unit):
    """eps in the square of each channel's unit, but never 0, by which a constant channel would be divided."""
    return array_module(unit).maximum(unit.dtype.type(eps) / unit / unit, np.finfo(unit.dtype).tiny)


def _move(running, batch, momentum, factor=1.0):
    """Let running statistics, a Tensor or None, move towards the batch's, an array or None, times `factor`."""
    if running is not None and batch is not None:
        moved = without_gradient(lambda old: old * (1 - momentum) + batch * (momentum * factor), running)
        running.data = cast(moved, running.dtype).data


# ---- local response normalisation, dropout ---------------------------------------------------------------------------


@in_float32
def local_response_norm(x: TensorLike, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * mean of squares over `size` neighbouring channels) ** beta, as torch's local_response_norm.

    x: (N,C,...) of at least 3 dimensions. The window of channel c is c - size//2 ... c + (size-1)//2; channels outside
    count as zeros. (Krizhevsky, Sutskever and Hinton 2012, section 3.3, with alpha divided by size.)
    """
    x = floating(x)
    if x.ndim < 3:
        raise ValueError(f"local_response_norm: x must be (N,C,...) of 3 or more dimensions, got shape {x.shape}")
    if not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"local_response_norm: size must be a positive int, got {size!r}")
    with np.errstate(over="ignore", invalid="ignore"):
        means = functools.reduce(add, _windows(square(x), size)) / float(size)
        if fit_to_square(means):
            return x / (means * alpha + k) ** beta
    unit = without_gradient(lambda a: units(a, 0), stack([abs(one) for one in _windows(x.detach(), size)]))[0]
    means = functools.reduce(add, [square(one / unit) for one in _windows(x, size)]) / float(size)
    return x / unit * unit ** (1.0 - 2.0 * beta) / (means * alpha + k / unit / unit) ** beta


def _windows(x, size):
    """The `size` channels around each channel of x, zeros outside, as a list of Tensors like x."""
    padded = pad(x, (*(0,) * (2 * x.ndim - 4), size // 2, (size - 1) // 2))
    return [padded[:, i : i + x.shape[1]] for i in range(size)]


class Dropout(Function):
    """x * mask / (1 - p): mask is True for what stays."""

    def __init__(self, mask: Array, p: float) -> None:
        self.mask, self.p = mask, p

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        return xp.where(self.mask, x * x.dtype.type(1 / (1 - self.p)), x.dtype.type(0))

    def vjp(self, g: Tensor) -> Gradients:
        return Dropout(self.mask, self.p)(g)


@in_float32
def dropout(x: TensorLike, p: float = 0.5, training: bool = True, rng: Any = None) -> Tensor:
    """When training, each element set to 0 with probability p and the others divided by 1 - p; else x itself.

    rng: the numpy.random.Generator that draws, needed when training (torch draws from a hidden global one).
    """
    x = as_tensor(x)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must be from 0 to 1, got {p}")
    if not training or p == 0:
        return x
    if not isinstance(rng, np.random.Generator):
        raise ValueError("dropout: training needs rng, a numpy.random.Generator, so that runs can be repeated")
    if p == 1:
        return x * 0.0
    mask = constant_like(x, rng.random(x.shape, np.float32) >= np.float32(p), bool)
    return Dropout(mask.data, p)(x)
