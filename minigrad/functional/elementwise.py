"""Elementwise arithmetic, comparisons and activations.

Binary functions broadcast as NumPy does, and a Python number takes the dtype of the tensor it meets. Their gradients
are summed back over the axes that were broadcast: `sum_to` is the vjp of broadcasting.
"""

import math
from numbers import Number

import numpy as np

from ..autograd import Function
from ..backend import array_module
from ..backend import to_device as move
from ..tensor import Tensor, as_tensor
from .shape import sum_to


def _operands(name, a, b):
    """Both as Tensors whose shapes broadcast; a Python number takes the dtype and device of the other."""
    if not isinstance(a, Tensor | Number) or isinstance(a, np.generic):
        a = as_tensor(a)
    if not isinstance(b, Tensor | Number) or isinstance(b, np.generic):
        b = as_tensor(b)
    if isinstance(a, Number):
        a = _constant_like(b, a)
    if isinstance(b, Number):
        b = _constant_like(a, b)
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ValueError(f"{name}: shapes {a.shape} and {b.shape} do not broadcast") from None
    return a, b


def _constant_like(x, number):
    """A 0-d tensor of a Python number, in the dtype of x. An integer x meeting a float gives float32, as in torch."""
    if not isinstance(x, Tensor):
        return Tensor(number)
    kind = x.dtype.kind
    if isinstance(number, bool) or kind == "f" or (kind in "iu" and isinstance(number, int)):
        dtype = x.dtype
    else:
        dtype = np.dtype(np.float32 if isinstance(number, float) else np.int64)
    return Tensor._wrap(array_module(x.data).asarray(number, dtype=dtype))


# ---- arithmetic ------------------------------------------------------------------------------------------------------


class Add(Function):
    """a + b."""

    def forward(self, a, b):
        return a + b

    def vjp(self, g):
        a, b = self.inputs
        return sum_to(g, a.shape), sum_to(g, b.shape)


def add(a, b):
    """a + b, elementwise with broadcasting."""
    return Add()(*_operands("add", a, b))


class Sub(Function):
    """a - b."""

    def forward(self, a, b):
        return a - b

    def vjp(self, g):
        a, b = self.inputs
        return sum_to(g, a.shape), sum_to(neg(g), b.shape) if self.needs_input_grad[1] else None


def sub(a, b):
    """a - b, elementwise with broadcasting."""
    return Sub()(*_operands("sub", a, b))


class Mul(Function):
    """a * b."""

    def forward(self, a, b):
        return a * b

    def vjp(self, g):
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return sum_to(g * b, a.shape) if by_a else None, sum_to(g * a, b.shape) if by_b else None


def mul(a, b):
    """a * b, elementwise with broadcasting."""
    return Mul()(*_operands("mul", a, b))


class Div(Function):
    """a / b."""

    def forward(self, a, b):
        return a / b

    def vjp(self, g):
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return sum_to(g / b, a.shape) if by_a else None, sum_to(-g * a / (b * b), b.shape) if by_b else None


def div(a, b):
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


def neg(x):
    """-x, elementwise."""
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
            zero = (a == 0) & (b >= 0)
            gb = sum_to(g * where(zero, 0.0, self.output * log(where(zero, 1.0, a))), b.shape)
        return ga, gb


def pow(a, b):
    """a ** b, elementwise with broadcasting. By the exponent, the derivative needs a > 0 (or a = 0 with b >= 0)."""
    return Pow()(*_operands("pow", a, b))


# ---- functions of one tensor -----------------------------------------------------------------------------------------


class Exp(Function):
    """e ** x."""

    def forward(self, x):
        return array_module(x).exp(x)

    def vjp(self, g):
        return g * self.output


def exp(x):
    """e to the power of each element."""
    return Exp()(_floating(x))


class Log(Function):
    """Natural logarithm."""

    def forward(self, x):
        return array_module(x).log(x)

    def vjp(self, g):
        (x,) = self.inputs
        return g / x


def log(x):
    """Natural logarithm of each element."""
    return Log()(_floating(x))


class Sqrt(Function):
    """Square root."""

    def forward(self, x):
        return array_module(x).sqrt(x)

    def vjp(self, g):
        return g / (self.output * 2.0)


def sqrt(x):
    """Square root of each element."""
    return Sqrt()(_floating(x))


class Sin(Function):
    """Sine."""

    def forward(self, x):
        return array_module(x).sin(x)

    def vjp(self, g):
        (x,) = self.inputs
        return g * cos(x)


def sin(x):
    """Sine of each element, in radians."""
    return Sin()(_floating(x))


def cos(x):
    """Cosine of each element, in radians: sin(x + pi/2)."""
    return sin(_floating(x) + math.pi / 2)


class Tanh(Function):
    """Hyperbolic tangent."""

    def forward(self, x):
        return array_module(x).tanh(x)

    def vjp(self, g):
        return g * (1.0 - self.output * self.output)


def tanh(x):
    """Hyperbolic tangent of each element."""
    return Tanh()(_floating(x))


def sigmoid(x):
    """1 / (1 + exp(-x)) of each element, written as (1 + tanh(x/2)) / 2, which cannot overflow."""
    return (tanh(_floating(x) * 0.5) + 1.0) * 0.5


class Abs(Function):
    """|x|. The derivative at 0 is taken as 0."""

    def forward(self, x):
        return abs_array(x)

    def vjp(self, g):
        (x,) = self.inputs
        return g * sign(x)


def abs_array(x):
    """|x| of an array."""
    return array_module(x).abs(x)


def abs(x):
    """Absolute value of each element; the derivative at 0 is taken as 0."""
    return Abs()(x)


def square(x):
    """x * x, elementwise."""
    return mul(x, x)


def sign(x):
    """-1, 0 or 1 for each element, in its dtype; no gradient."""
    x = as_tensor(x)
    return Tensor._wrap(array_module(x.data).sign(x.data))


# ---- rectifiers and limits -------------------------------------------------------------------------------------------


class ReLU(Function):
    """max(x, 0), elementwise. The derivative at 0 is taken as 0."""

    def forward(self, x):
        return array_module(x).maximum(x, 0)

    def vjp(self, g):
        (x,) = self.inputs
        return g * (x > 0)


def relu(x):
    """max(x, 0), elementwise. The derivative at 0 is taken as 0."""
    return ReLU()(x)


class LeakyReLU(Function):
    """x where positive, negative_slope * x elsewhere."""

    def __init__(self, negative_slope):
        self.negative_slope = negative_slope

    def forward(self, x):
        return array_module(x).where(x > 0, x, x * self.negative_slope)

    def vjp(self, g):
        (x,) = self.inputs
        return where(x > 0, g, g * self.negative_slope)


def leaky_relu(x, negative_slope=0.01):
    """x where positive, negative_slope * x elsewhere (0 included)."""
    return LeakyReLU(negative_slope)(x)


class Where(Function):
    """a where the condition holds, b elsewhere."""

    def __init__(self, condition):
        self.condition = condition

    def forward(self, a, b):
        return array_module(self.condition, a, b).where(self.condition, a, b)

    def vjp(self, g):
        a, b = self.inputs
        zero = _constant_like(g, 0.0)
        condition = Tensor._wrap(self.condition)
        by_a, by_b = self.needs_input_grad
        return (
            sum_to(where(condition, g, zero), a.shape) if by_a else None,
            sum_to(where(condition, zero, g), b.shape) if by_b else None,
        )


def where(condition, a, b):
    """a where `condition` (boolean) holds, b elsewhere; all three broadcast."""
    condition = as_tensor(condition)
    if condition.dtype.kind != "b":
        raise TypeError(f"where: condition must be boolean, got {condition.dtype}")
    a, b = _operands("where", a, b)
    try:
        np.broadcast_shapes(condition.shape, a.shape, b.shape)
    except ValueError:
        shapes = f"{condition.shape}, {a.shape} and {b.shape}"
        raise ValueError(f"where: shapes {shapes} of condition, a and b do not broadcast") from None
    return Where(condition.data)(a, b)


class Maximum(Function):
    """max(a, b). A tie gives each half of the gradient."""

    sign = 1.0

    def forward(self, a, b):
        return array_module(a, b).maximum(a, b)

    def vjp(self, g):
        a, b = self.inputs
        share = (sign(a - b) * self.sign + 1.0) * 0.5  # 1 where a wins, 1/2 at a tie, 0 where b wins
        return sum_to(g * share, a.shape), sum_to(g * (1.0 - share), b.shape)


class Minimum(Maximum):
    """min(a, b). A tie gives each half of the gradient."""

    sign = -1.0

    def forward(self, a, b):
        return array_module(a, b).minimum(a, b)


def maximum(a, b):
    """The larger of a and b, elementwise with broadcasting; a tie gives each half of the gradient."""
    return Maximum()(*_operands("maximum", a, b))


def minimum(a, b):
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
        inside = True
        if self.min is not None:
            inside = x >= self.min
        if self.max is not None:
            inside = (x <= self.max) & inside
        return where(inside, g, 0.0)


def clamp(x, min=None, max=None):
    """x limited to [min, max] (numbers, either may be None). Gradient 1 on the bounds and inside, 0 outside."""
    if min is None and max is None:
        raise ValueError("clamp: give min, max or both")
    for name, bound in (("min", min), ("max", max)):
        if bound is not None and not isinstance(bound, Number):
            raise TypeError(f"clamp: {name} must be a number, got {type(bound).__name__}")
    return Clamp(min, max)(x)


# ---- comparisons and logic: boolean results, no gradient -------------------------------------------------------------


def _comparison(name):
    def compare(a, b):
        a, b = _operands(name, a, b)
        return Tensor._wrap(np.asarray(_ufunc(name, a, b)) if isinstance(a.data, np.ndarray) else _ufunc(name, a, b))

    compare.__name__ = compare.__qualname__ = name
    return compare


def _ufunc(name, a, b):
    return getattr(array_module(a.data, b.data), _UFUNCS[name])(a.data, b.data)


_UFUNCS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "logical_and": "logical_and",
    "logical_or": "logical_or",
}
eq, ne, lt, le, gt, ge, logical_and, logical_or = map(_comparison, _UFUNCS)


def logical_not(x):
    """True where x is 0 or False; no gradient."""
    x = as_tensor(x)
    return Tensor._wrap(np.asarray(array_module(x.data).logical_not(x.data)))


# ---- dtype and device ------------------------------------------------------------------------------------------------


class Cast(Function):
    """x in another dtype; the gradient comes back in that of x."""

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)

    def forward(self, x):
        return x.astype(self.dtype)

    def vjp(self, g):
        (x,) = self.inputs
        return cast(g, x.dtype)


def cast(x, dtype):
    """x converted to dtype (x itself if it has it). Differentiable between floating point types."""
    x = as_tensor(x)
    return x if x.dtype == np.dtype(dtype) else Cast(dtype)(x)


class ToDevice(Function):
    """x on another device; the gradient comes back to that of x."""

    def __init__(self, device):
        self.device = device

    def forward(self, x):
        return move(x, self.device)

    def vjp(self, g):
        (x,) = self.inputs
        return to_device(g, x.device)


def to_device(x, device):
    """x on `device` ("cpu", "cuda", "cuda:1", "auto"); x itself if it is there. The only way data moves."""
    x = as_tensor(x)
    return x if x.device == device else ToDevice(device)(x)


def _floating(x):
    """x as a Tensor; integers become float32, as in torch."""
    x = as_tensor(x)
    return x if x.dtype.kind == "f" else cast(x, np.float32)


def ones_like(x):
    """Ones of the shape and dtype of x."""
    return Tensor._wrap(array_module(x.data).ones_like(x.data))


def zeros_like(x):
    """Zeros of the shape and dtype of x."""
    return Tensor._wrap(array_module(x.data).zeros_like(x.data))
