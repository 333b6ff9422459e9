"""Softmax and losses, with torch's arguments.

Letters: N samples, C classes, d1... further dimensions (pixels). Scores are (N,C,d1,...), or (C,) for one sample.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from .. import kernels
from ..autograd import Function, without_gradient
from ..device import array_module
from ..tensor import Tensor, as_tensor, together
from ..typing import Array, Gradients, TensorLike
from .broadcast import operands
from .choice import where
from .convert import cast, constant_like, floating, in_float32
from .elementwise import abs, exp, square
from .index import getitem
from .reduce import _axes, _drop, mean, sum
from .shape import _dim, permute, reshape

# ---- softmax ---------------------------------------------------------------------------------------------------------


class Softmax(Function):
    """y = exp(x) / sum exp(x) along axes, with the largest x subtracted first so that exp cannot overflow."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        e = xp.exp(x - x.max(self.axes, keepdims=True))
        return e / kernels.axis_sum(e, self.axes)

    def vjp(self, g: Tensor) -> Gradients:
        y = self.output
        return y * (g - sum(g * y, self.axes, keepdims=True))


@in_float32
def softmax(x: TensorLike, dim: int) -> Tensor:
    """exp(x) / sum of exp(x) along dim: probabilities from scores."""
    x, axes = _along("softmax", x, dim)
    return Softmax(axes)(x) if x.size else x


class LogSoftmax(Function):
    """y = x - log sum exp(x) along axes, with the largest x subtracted first."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        z = x - x.max(self.axes, keepdims=True)
        return z - xp.log(kernels.axis_sum(xp.exp(z), self.axes))

    def vjp(self, g: Tensor) -> Gradients:
        return g - exp(self.output) * sum(g, self.axes, keepdims=True)


@in_float32
def log_softmax(x: TensorLike, dim: int) -> Tensor:
    """Logarithm of softmax, without rounding small probabilities to 0."""
    x, axes = _along("log_softmax", x, dim)
    return LogSoftmax(axes)(x) if x.size else x


class LogSumExp(Function):
    """log sum exp(x) over axes, which stay as length 1."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        top = x.max(self.axes, keepdims=True) if x.size else x.dtype.type(0)
        top = xp.where(xp.isfinite(top), top, x.dtype.type(0))
        with np.errstate(divide="ignore"):  # log 0 = -inf is right where all are -inf
            return xp.log(kernels.axis_sum(xp.exp(x - top), self.axes)) + top

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return g * exp(x - self.output)


@in_float32
def logsumexp(x: TensorLike, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """log of the sum of exp(x) over dim (an int or a tuple): a maximum with soft edges; of no elements, -inf."""
    x = floating(x)
    axes = _axes("logsumexp", dim, x.shape)
    return _drop(LogSumExp(axes)(x), axes, keepdim)


def _along(name, x, dim):
    """x as a floating point tensor, and the dim as a tuple of axes: () for a single number."""
    x = floating(x)
    dim = _dim(name, "dim", dim, x.ndim or 1)
    return x, (dim,) if x.ndim else ()


# ---- classification --------------------------------------------------------------------------------------------------


@in_float32
def cross_entropy(
    x: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log of the probability that the scores x give to the target, as torch.nn.functional.cross_entropy.

    x: scores (N,C,d1,...), or (C,) for one sample. target: class indices (N,d1,...), or () for one sample, or class
    probabilities of x's shape, floating point. weight: (C,), a factor for each class. ignore_index: samples with this
    target index count nothing. reduction: "mean" (over samples, weighted by their class's weight where the target is an
    index), "sum", or "none" (a loss for each sample). label_smoothing: this share of the target, from 0 to 1, is spread
    evenly over all classes (Szegedy et al. 2016).

    Raises ValueError for shapes that do not fit and for indices that are no class.
    """
    x, target, weight = _scores("cross_entropy", x), as_tensor(target), _class_weight("cross_entropy", x, weight)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be from 0 to 1, got {label_smoothing}")
    dim = _class_dim(x)
    classes = x.shape[dim]
    logp = log_softmax(x, dim)

    if target.shape == x.shape:
        if target.dtype.kind != "f":
            raise TypeError(f"cross_entropy: a target of x's shape holds probabilities, got dtype {target.dtype}")
        if ignore_index >= 0:
            raise ValueError("cross_entropy: ignore_index goes with class indices, this target holds probabilities")
        target = target * (1 - label_smoothing) + label_smoothing / classes
        losses = -sum(_weighted(logp * target, weight, dim), dim)
        return _reduced("cross_entropy", losses, reduction, float(losses.size))

    index = _class_index("cross_entropy", x, target, weight, ignore_index)
    loss = _picked("cross_entropy", logp, index, weight, ignore_index, reduction)
    if not label_smoothing:
        return loss
    even = _even("cross_entropy", logp, index, weight, ignore_index, reduction)
    return loss * (1 - label_smoothing) + even * (label_smoothing / classes)


@in_float32
def nll_loss(
    x: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-x at the target class, as torch.nn.functional.nll_loss: x holds log probabilities (see log_softmax).

    Shapes and arguments as in cross_entropy, with class indices.
    """
    x, weight = _scores("nll_loss", x), _class_weight("nll_loss", x, weight)
    index = _class_index("nll_loss", x, as_tensor(target), weight, ignore_index)
    return _picked("nll_loss", x, index, weight, ignore_index, reduction)


def _picked(name, logp, index, weight, ignore_index, reduction):
    """The loss of the target classes: -weight * logp there, reduced."""
    counts = _counts(index, ignore_index)
    dim = _class_dim(logp)
    rows = reshape(permute(logp, (*range(dim), *range(dim + 1, logp.ndim), dim)), (-1, logp.shape[dim]))
    places = constant_like(rows, np.arange(index.size), np.int64), reshape(where(counts, index, 0), (-1,))
    picked = reshape(getitem(rows, places), index.shape)
    factors = _factors(logp, index, weight, ignore_index)
    return _reduced(name, where(counts, -picked * factors, 0.0), reduction, sum(factors))


def _even(name, logp, index, weight, ignore_index, reduction):
    """The loss had all classes been targets: the sum of -weight * logp over classes, reduced like that of _picked."""
    dim = _class_dim(logp)
    losses = -sum(_weighted(logp, weight, dim), dim)
    losses = where(_counts(index, ignore_index), losses, 0.0)
    return _reduced(name, losses, reduction, sum(_factors(logp, index, weight, ignore_index)))


def _factors(logp, index, weight, ignore_index):
    """For each sample the weight of its class (1 without weights), 0 where it is ignored."""
    counts = _counts(index, ignore_index)
    if weight is None:
        return cast(counts, logp.dtype)
    return where(counts, getitem(weight, where(counts, index, 0)), 0.0)


def _counts(index, ignore_index):
    """Which samples count, as booleans."""
    return without_gradient(lambda array: array != ignore_index, index)


def _weighted(x, weight, dim):
    return x if weight is None else x * reshape(weight, tuple(-1 if i == dim else 1 for i in range(x.ndim)))


def _class_dim(x):
    return 0 if x.ndim == 1 else 1


def _scores(name, x):
    x = floating(x)
    if not x.ndim:
        raise ValueError(f"{name}: x must be (N,C,...) or (C,), got a single number")
    if not x.shape[_class_dim(x)]:
        raise ValueError(f"{name}: x must have at least one class, got shape {x.shape}")
    return x


def _class_weight(name, x, weight):
    if weight is None:
        return None
    weight = as_tensor(weight)
    if weight.shape != (x.shape[_class_dim(x)],):
        raise ValueError(
            f"{name}: weight has shape {weight.shape}, expected one for each of {x.shape[_class_dim(x)]} classes"
        )
    return weight


def _class_index(name, x, target, weight, ignore_index):
    """The target, checked."""
    if weight is not None and weight.requires_grad:
        raise NotImplementedError(f"{name}: no gradient by weight with class indices; give weight.detach()")
    dim = _class_dim(x)
    expected = (*x.shape[:dim], *x.shape[dim + 1 :])
    if target.shape != expected:
        raise ValueError(f"{name}: target has shape {target.shape}, expected {expected} for x of shape {x.shape}")
    if target.dtype not in (np.int64, np.uint8):
        raise TypeError(f"{name}: target must hold class indices of int64 or uint8, got dtype {target.dtype}")
    if weight is not None and weight.dtype != x.dtype:
        raise TypeError(f"{name}: x has dtype {x.dtype}, weight has {weight.dtype}; convert one with .astype")
    together(name, x=x, target=target, weight=weight)
    classes = x.shape[dim]
    wrong = without_gradient(lambda i: i[(i != ignore_index) & ((i < 0) | (i >= classes))], target)
    if wrong.size:
        raise ValueError(f"{name}: target holds {int(wrong.data[0])}, but classes are 0 to {classes - 1}")
    return target


# ---- regression ------------------------------------------------------------------------------------------------------


@in_float32
def mse_loss(x: TensorLike, target: TensorLike, reduction: str = "mean") -> Tensor:
    """(x - target)**2, averaged ("mean"), summed ("sum") or as it is ("none"), as torch.nn.functional.mse_loss."""
    x, target = _same_shape("mse_loss", x, target)
    return _reduced("mse_loss", square(x - target), reduction)


@in_float32
def l1_loss(x: TensorLike, target: TensorLike, reduction: str = "mean") -> Tensor:
    """|x - target|, averaged ("mean"), summed ("sum") or as it is ("none"), as torch.nn.functional.l1_loss."""
    x, target = _same_shape("l1_loss", x, target)
    return _reduced("l1_loss", abs(x - target), reduction)


def _same_shape(name, x, target):
    x, target = operands(name, as_tensor(x), as_tensor(target))
    if x.dtype.kind == target.dtype.kind == "b":
        raise TypeError(f"{name}: x and target must be numbers, got dtype bool; convert with .astype")
    if x.shape != target.shape:
        warnings.warn(f"{name}: x {x.shape} and target {target.shape} are broadcast; is that meant?", stacklevel=3)
    return x, target


def _reduced(name, losses, reduction, count=None):
    if reduction == "none":
        return losses
    if reduction == "sum":
        return sum(losses)
    if reduction == "mean":
        return mean(losses) if count is None else sum(losses) / count
    raise ValueError(f'{name}: reduction must be "mean", "sum" or "none", got {reduction!r}')
