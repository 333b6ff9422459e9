"""What chooses between values: where, the larger and the smaller, limits; and the comparisons that it goes by."""

from numbers import Number
from typing import Any

import numpy as np

from .. import kernels
from ..autograd import Function, without_gradient
from ..device import array_module
from ..tensor import Tensor, as_tensor, together
from ..typing import Array, Gradients, TensorLike
from .broadcast import operands, sum_to
from .convert import cast, check_holds, in_float32


class Where(Function):
    """a where the condition, a boolean Tensor, holds, b elsewhere."""

    def __init__(self, condition: Tensor) -> None:
        self.condition = condition

    def forward(self, a: Array, b: Array) -> Array:
        return kernels.where(self.condition.data, a, b)

    def constants(self) -> tuple:
        return (self.condition.data,)

    def vjp(self, g: Tensor) -> Gradients:
        (a, b), (by_a, by_b) = self.inputs, self.needs_input_grad
        ga = sum_to(where(self.condition, g, 0.0), a.shape) if by_a else None
        return ga, sum_to(where(self.condition, 0.0, g), b.shape) if by_b else None


@in_float32
def where(condition: TensorLike, a: TensorLike, b: TensorLike) -> Tensor:
    """a where `condition` (boolean) holds, b elsewhere; all three broadcast."""
    condition = as_tensor(condition)
    if condition.dtype.kind != "b":
        raise TypeError(f"where: condition must be boolean, got {condition.dtype}")
    a, b = operands("where", a, b)
    together("where", condition=condition, a=a, b=b)
    try:
        np.broadcast_shapes(condition.shape, a.shape, b.shape)
    except ValueError:
        shapes = f"{condition.shape}, {a.shape} and {b.shape}"
        raise ValueError(f"where: shapes {shapes} of condition, a and b do not broadcast") from None
    return Where(condition)(a, b)


class _Extremum(Function):
    """What Maximum and Minimum share: a tie gives each half of the gradient."""

    def _shared(self, g, first, tie):
        a, b = self.inputs
        share = where(tie, 0.5, cast(first, g.dtype))
        by_a, by_b = self.needs_input_grad
        return sum_to(g * share, a.shape) if by_a else None, sum_to(g * (1.0 - share), b.shape) if by_b else None


class Maximum(_Extremum):
    """max(a, b). A tie gives each half of the gradient."""

    def forward(self, a: Array, b: Array) -> Array:
        return array_module(a, b).maximum(a, b)

    def vjp(self, g: Tensor) -> Gradients:
        a, b = self.inputs
        return self._shared(g, a > b, a == b)


class Minimum(_Extremum):
    """min(a, b). A tie gives each half of the gradient."""

    def forward(self, a: Array, b: Array) -> Array:
        return array_module(a, b).minimum(a, b)

    def vjp(self, g: Tensor) -> Gradients:
        a, b = self.inputs
        return self._shared(g, a < b, a == b)


@in_float32
def maximum(a: TensorLike, b: TensorLike) -> Tensor:
    """The larger of a and b, elementwise with broadcasting; a tie gives each half of the gradient."""
    return Maximum()(*operands("maximum", a, b))


@in_float32
def minimum(a: TensorLike, b: TensorLike) -> Tensor:
    """The smaller of a and b, elementwise with broadcasting; a tie gives each half of the gradient."""
    return Minimum()(*operands("minimum", a, b))


class Clamp(Function):
    """x limited to [min, max], with gradient 1 inside and on the bounds, 0 outside."""

    def __init__(self, min: Any, max: Any) -> None:
        self.min, self.max = min, max

    def forward(self, x: Array) -> Array:
        return array_module(x).clip(x, self.min, self.max)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        inside = [x >= self.min] if self.min is not None else []
        inside += [x <= self.max] if self.max is not None else []
        return where(inside[0] if len(inside) == 1 else logical_and(*inside), g, 0.0)


@in_float32
def clamp(x: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
    """x limited to [min, max]: numbers or tensors that broadcast, either may be None. max wins where it is below min,
    and a bound that is NaN makes NaN.

    Gradient 1 inside and on the bounds. Outside, it goes to the bound if that is a tensor.
    """
    x = as_tensor(x)
    if min is None and max is None:
        raise ValueError("clamp: give min, max or both")
    if x.dtype.kind == "b":
        raise TypeError("clamp: x must be numbers, got dtype bool; convert with .astype")
    min, max = (bound.item() if isinstance(bound, np.generic) else bound for bound in (min, max))
    if all(bound is None or isinstance(bound, Number) for bound in (min, max)):
        if x.dtype.kind != "f" and (isinstance(min, float) or isinstance(max, float)):
            x = cast(x, np.float32)
        for bound in (min, max):
            if bound is not None:
                check_holds("clamp", x.dtype, bound)
        return Clamp(min, max)(x)
    for bound, is_beyond in ((min, lt), (max, gt)):
        if bound is not None:
            x, bound = operands("clamp", x, bound)
            x = where(bound != bound, bound, where(is_beyond(x, bound), bound, x))
    return x


# ---- comparisons and logic: boolean results, no gradient -------------------------------------------------------------


def _comparison(name, ufunc, meaning):
    def compare(a: TensorLike, b: TensorLike) -> Tensor:
        a, b = operands(name, a, b)
        found = without_gradient(lambda a, b: getattr(array_module(a, b), ufunc)(a, b), a, b)
        found.compared = name, (a.data, a.requires_grad), (b.data, b.requires_grad)  # for rules that look for masks
        return found

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = f"Whether {meaning}, elementwise with broadcasting: a boolean tensor, which has no gradient."
    return compare


eq = _comparison("eq", "equal", "a == b")
ne = _comparison("ne", "not_equal", "a != b")
lt = _comparison("lt", "less", "a < b")
le = _comparison("le", "less_equal", "a <= b")
gt = _comparison("gt", "greater", "a > b")
ge = _comparison("ge", "greater_equal", "a >= b")
logical_and = _comparison("logical_and", "logical_and", "a and b are both true")
logical_or = _comparison("logical_or", "logical_or", "a or b is true")


def logical_not(x: TensorLike) -> Tensor:
    """True where x is 0 or False; no gradient."""
    return without_gradient(lambda array: array_module(array).logical_not(array), as_tensor(x))
