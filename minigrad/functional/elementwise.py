"""Elementwise arithmetic, comparisons, and what chooses by them.

Binary functions broadcast as NumPy does, and a Python number takes the dtype of the tensor it meets. Their gradients
are summed back over the axes that were broadcast: `sum_to` is the vjp of broadcasting.
"""

from numbers import Number

import numpy as np

from .. import kernels
from ..autograd import Function, without_gradient
from ..device import array_module
from ..tensor import Tensor, as_tensor, together
from ..typing import TensorLike
from .convert import cast, check_holds, constant_like, floating, in_float32
from .shape import sum_to


def _operands(name, a, b):
    """Both as Tensors whose shapes broadcast, of one dtype if either is floating point (but booleans stay as they are).

    A number, Python's or NumPy's, takes the dtype and device of the tensor it meets.
    """
    a = a.item() if isinstance(a, np.generic) else a if isinstance(a, Number) else as_tensor(a)
    b = b.item() if isinstance(b, np.generic) else b if isinstance(b, Number) else as_tensor(b)
    if isinstance(a, Number):
        a = _constant_like(name, b, a)
    if isinstance(b, Number):
        b = _constant_like(name, a, b)
    together(name, a=a, b=b)
    if a.dtype.kind in "iu" and b.dtype.kind == "f":
        a = cast(a, b.dtype)
    elif b.dtype.kind in "iu" and a.dtype.kind == "f":
        b = cast(b, a.dtype)
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ValueError(f"{name}: shapes {a.shape} and {b.shape} do not broadcast") from None
    return a, b


def _constant_like(name, x, number):
    """A 0-d tensor of a Python number, in the dtype of x. An integer x meeting a float gives float32, as in torch.

    ValueError for an integer that this dtype does not hold: torch lets 300 become 44 in uint8.
    """
    if not isinstance(x, Tensor):
        return Tensor(number)
    kind = x.dtype.kind
    if isinstance(number, bool) or kind == "f" or (kind in "iu" and isinstance(number, int)):
        dtype = x.dtype
    else:
        dtype = np.dtype(np.float32 if isinstance(number, float) else np.int64)
    check_holds(name, dtype, number)
    return constant_like(x, number, dtype)


# ---- arithmetic ------------------------------------------------------------------------------------------------------


class Add(Function):
    """a + b."""

    def forward(self, a, b):
        return kernels.add(a, b)

    def vjp(self, g):
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return sum_to(g, a.shape) if by_a else None, sum_to(g, b.shape) if by_b else None


@in_float32
def add(a: TensorLike, b: TensorLike) -> Tensor:
    """a + b, elementwise with broadcasting."""
    return Add()(*_operands("add", a, b))


class Sub(Function):
    """a - b."""

    def forward(self, a, b):
        return a - b

    def vjp(self, g):
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return sum_to(g, a.shape) if by_a else None, neg(sum_to(g, b.shape)) if by_b else None


@in_float32
def sub(a: TensorLike, b: TensorLike) -> Tensor:
    """a - b, elementwise with broadcasting."""
    a, b = _operands("sub", a, b)
    if a.dtype.kind == b.dtype.kind == "b":
        raise TypeError("sub: booleans have no difference; convert with .astype, or compare with !=")
    return Sub()(a, b)


class Mul(Function):
    """a * b."""

    def forward(self, a, b):
        return a * b

    def vjp(self, g):
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return sum_to(g * b, a.shape) if by_a else None, sum_to(g * a, b.shape) if by_b else None


@in_float32
def mul(a: TensorLike, b: TensorLike) -> Tensor:
    """a * b, elementwise with broadcasting."""
    return Mul()(*_operands("mul", a, b))


class Div(Function):
    """a / b."""

    def forward(self, a, b):
        return a / b

    def vjp(self, g):
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return sum_to(g / b, a.shape) if by_a else None, sum_to(-g * self.output / b, b.shape) if by_b else None


@in_float32
def div(a: TensorLike, b: TensorLike) -> Tensor:
    """a / b, elementwise with broadcasting; integers divide to float32."""
    a, b = _operands("div", a, b)
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        a, b = cast(a, np.float32), cast(b, np.float32)
    return Div()(a, b)


class Neg(Function):
    """-x."""

    def forward(self, x):
        return -x

    def vjp(self, g):
        return neg(g)


def neg(x: TensorLike) -> Tensor:
    """-x, elementwise."""
    x = as_tensor(x)
    if x.dtype.kind == "b":
        raise TypeError("neg: booleans have no negative; convert with .astype, or invert with ~")
    return Neg()(x)


class Pow(Function):
    """a ** b."""

    def forward(self, a, b):
        return a**b

    def vjp(self, g):
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        ga = gb = None
        if by_a:  # b a^(b-1), which is 0 where b = 0, also for a = 0
            ga = sum_to(g * where(b == 0, 0.0, b * a ** where(b == 0, 1.0, b - 1.0)), a.shape)
        if by_b:  # a^b log a, which is 0 where a = 0 and b >= 0
            zero = logical_and(a == 0, b >= 0)
            gb = sum_to(g * where(zero, 0.0, self.output * log(where(zero, 1.0, a))), b.shape)
        return ga, gb


@in_float32
def pow(a: TensorLike, b: TensorLike) -> Tensor:
    """a ** b, elementwise with broadcasting. By the exponent, the derivative needs a > 0 (or a = 0 with b >= 0)."""
    a, b = _operands("pow", a, b)
    if a.dtype.kind == b.dtype.kind == "b":
        raise TypeError("pow: booleans have no powers; convert with .astype")
    if a.dtype.kind != "f" and b.dtype.kind == "i" and (b < 0).data.any():
        raise ValueError("pow: integers have no negative powers; convert with .astype")
    return Pow()(a, b)


# ---- functions of one tensor -----------------------------------------------------------------------------------------


class Exp(Function):
    """e ** x."""

    def forward(self, x):
        return array_module(x).exp(x)

    def vjp(self, g):
        return g * self.output


@in_float32
def exp(x: TensorLike) -> Tensor:
    """e to the power of each element."""
    return Exp()(floating(x))


class Log(Function):
    """Natural logarithm."""

    def forward(self, x):
        return array_module(x).log(x)

    def vjp(self, g):
        (x,) = self.inputs
        return g / x


@in_float32
def log(x: TensorLike) -> Tensor:
    """Natural logarithm of each element."""
    return Log()(floating(x))


class Sqrt(Function):
    """Square root."""

    def forward(self, x):
        return array_module(x).sqrt(x)

    def vjp(self, g):
        return g / (self.output * 2.0)


@in_float32
def sqrt(x: TensorLike) -> Tensor:
    """Square root of each element."""
    return Sqrt()(floating(x))


class Sin(Function):
    """Sine."""

    def forward(self, x):
        return array_module(x).sin(x)

    def vjp(self, g):
        (x,) = self.inputs
        return g * cos(x)


@in_float32
def sin(x: TensorLike) -> Tensor:
    """Sine of each element, in radians."""
    return Sin()(floating(x))


class Cos(Function):
    """Cosine."""

    def forward(self, x):
        return array_module(x).cos(x)

    def vjp(self, g):
        (x,) = self.inputs
        return -g * sin(x)


@in_float32
def cos(x: TensorLike) -> Tensor:
    """Cosine of each element, in radians."""
    return Cos()(floating(x))


class Abs(Function):
    """|x|. The derivative at 0 is taken as 0."""

    def forward(self, x):
        return array_module(x).abs(x)

    def vjp(self, g):
        (x,) = self.inputs
        return g * sign(x)


def abs(x: TensorLike) -> Tensor:
    """Absolute value of each element; the derivative at 0 is taken as 0."""
    return Abs()(x)


def square(x: TensorLike) -> Tensor:
    """x * x, elementwise."""
    return mul(x, x)


def sign(x: TensorLike) -> Tensor:
    """-1, 0 or 1 for each element, in its dtype (of a boolean, itself); no gradient."""
    x = as_tensor(x)
    return x if x.dtype.kind == "b" else without_gradient(lambda array: array_module(array).sign(array), x)


# ---- rectifiers and limits -------------------------------------------------------------------------------------------


class Where(Function):
    """a where the condition, a boolean Tensor, holds, b elsewhere."""

    def __init__(self, condition):
        self.condition = condition

    def forward(self, a, b):
        return kernels.where(self.condition.data, a, b)

    def constants(self):
        return (self.condition.data,)

    def vjp(self, g):
        (a, b), (by_a, by_b) = self.inputs, self.needs_input_grad
        ga = sum_to(where(self.condition, g, 0.0), a.shape) if by_a else None
        return ga, sum_to(where(self.condition, 0.0, g), b.shape) if by_b else None


@in_float32
def where(condition: TensorLike, a: TensorLike, b: TensorLike) -> Tensor:
    """a where `condition` (boolean) holds, b elsewhere; all three broadcast."""
    condition = as_tensor(condition)
    if condition.dtype.kind != "b":
        raise TypeError(f"where: condition must be boolean, got {condition.dtype}")
    a, b = _operands("where", a, b)
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

    def forward(self, a, b):
        return array_module(a, b).maximum(a, b)

    def vjp(self, g):
        a, b = self.inputs
        return self._shared(g, a > b, a == b)


class Minimum(_Extremum):
    """min(a, b). A tie gives each half of the gradient."""

    def forward(self, a, b):
        return array_module(a, b).minimum(a, b)

    def vjp(self, g):
        a, b = self.inputs
        return self._shared(g, a < b, a == b)


@in_float32
def maximum(a: TensorLike, b: TensorLike) -> Tensor:
    """The larger of a and b, elementwise with broadcasting; a tie gives each half of the gradient."""
    return Maximum()(*_operands("maximum", a, b))


@in_float32
def minimum(a: TensorLike, b: TensorLike) -> Tensor:
    """The smaller of a and b, elementwise with broadcasting; a tie gives each half of the gradient."""
    return Minimum()(*_operands("minimum", a, b))


class Clamp(Function):
    """x limited to [min, max], with gradient 1 inside and on the bounds, 0 outside."""

    def __init__(self, min, max):
        self.min, self.max = min, max

    def forward(self, x):
        return array_module(x).clip(x, self.min, self.max)

    def vjp(self, g):
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
            x, bound = _operands("clamp", x, bound)
            x = where(bound != bound, bound, where(is_beyond(x, bound), bound, x))
    return x


# ---- comparisons and logic: boolean results, no gradient -------------------------------------------------------------


def _comparison(name, ufunc, meaning):
    def compare(a: TensorLike, b: TensorLike) -> Tensor:
        a, b = _operands(name, a, b)
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
