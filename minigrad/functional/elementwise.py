"""Elementwise arithmetic: a Function with its forward and vjp, and the function that people call, of each.

Operands of unlike shapes are made to fit, and their gradients brought back, by broadcast.py; ReLU and its like are in
activation.py, what chooses between values in choice.py.
"""

import numpy as np

from .. import kernels
from ..autograd import Function, without_gradient
from ..device import array_module
from ..tensor import Tensor, as_tensor
from ..typing import Array, Gradients, TensorLike
from .broadcast import operands, sum_to
from .choice import logical_and, where
from .convert import cast, floating, in_float32

# ---- arithmetic ------------------------------------------------------------------------------------------------------


class Add(Function):
    """a + b."""

    def forward(self, a: Array, b: Array) -> Array:
        return kernels.add(a, b)

    def vjp(self, g: Tensor) -> Gradients:
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return sum_to(g, a.shape) if by_a else None, sum_to(g, b.shape) if by_b else None


@in_float32
def add(a: TensorLike, b: TensorLike) -> Tensor:
    """a + b, elementwise with broadcasting."""
    return Add()(*operands("add", a, b))


class Sub(Function):
    """a - b."""

    def forward(self, a: Array, b: Array) -> Array:
        return a - b

    def vjp(self, g: Tensor) -> Gradients:
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return sum_to(g, a.shape) if by_a else None, neg(sum_to(g, b.shape)) if by_b else None


@in_float32
def sub(a: TensorLike, b: TensorLike) -> Tensor:
    """a - b, elementwise with broadcasting."""
    a, b = operands("sub", a, b)
    if a.dtype.kind == b.dtype.kind == "b":
        raise TypeError("sub: booleans have no difference; convert with .astype, or compare with !=")
    return Sub()(a, b)


class Mul(Function):
    """a * b."""

    def forward(self, a: Array, b: Array) -> Array:
        return a * b

    def vjp(self, g: Tensor) -> Gradients:
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return sum_to(g * b, a.shape) if by_a else None, sum_to(g * a, b.shape) if by_b else None


@in_float32
def mul(a: TensorLike, b: TensorLike) -> Tensor:
    """a * b, elementwise with broadcasting."""
    return Mul()(*operands("mul", a, b))


class Div(Function):
    """a / b."""

    def forward(self, a: Array, b: Array) -> Array:
        return a / b

    def vjp(self, g: Tensor) -> Gradients:
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return sum_to(g / b, a.shape) if by_a else None, sum_to(-g * self.output / b, b.shape) if by_b else None


@in_float32
def div(a: TensorLike, b: TensorLike) -> Tensor:
    """a / b, elementwise with broadcasting; integers divide to float32."""
    a, b = operands("div", a, b)
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        a, b = cast(a, np.float32), cast(b, np.float32)
    return Div()(a, b)


class Neg(Function):
    """-x."""

    def forward(self, x: Array) -> Array:
        return -x

    def vjp(self, g: Tensor) -> Gradients:
        return neg(g)


def neg(x: TensorLike) -> Tensor:
    """-x, elementwise."""
    x = as_tensor(x)
    if x.dtype.kind == "b":
        raise TypeError("neg: booleans have no negative; convert with .astype, or invert with ~")
    return Neg()(x)


class Pow(Function):
    """a ** b."""

    def forward(self, a: Array, b: Array) -> Array:
        return a**b

    def vjp(self, g: Tensor) -> Gradients:
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
    a, b = operands("pow", a, b)
    if a.dtype.kind == b.dtype.kind == "b":
        raise TypeError("pow: booleans have no powers; convert with .astype")
    if a.dtype.kind != "f" and b.dtype.kind == "i" and (b < 0).data.any():
        raise ValueError("pow: integers have no negative powers; convert with .astype")
    return Pow()(a, b)


# ---- functions of one tensor -----------------------------------------------------------------------------------------


class Exp(Function):
    """e ** x."""

    def forward(self, x: Array) -> Array:
        return array_module(x).exp(x)

    def vjp(self, g: Tensor) -> Gradients:
        return g * self.output


@in_float32
def exp(x: TensorLike) -> Tensor:
    """e to the power of each element."""
    return Exp()(floating(x))


class Log(Function):
    """Natural logarithm."""

    def forward(self, x: Array) -> Array:
        return array_module(x).log(x)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return g / x


@in_float32
def log(x: TensorLike) -> Tensor:
    """Natural logarithm of each element."""
    return Log()(floating(x))


class Sqrt(Function):
    """Square root."""

    def forward(self, x: Array) -> Array:
        return array_module(x).sqrt(x)

    def vjp(self, g: Tensor) -> Gradients:
        return g / (self.output * 2.0)


@in_float32
def sqrt(x: TensorLike) -> Tensor:
    """Square root of each element."""
    return Sqrt()(floating(x))


class Sin(Function):
    """Sine."""

    def forward(self, x: Array) -> Array:
        return array_module(x).sin(x)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return g * cos(x)


@in_float32
def sin(x: TensorLike) -> Tensor:
    """Sine of each element, in radians."""
    return Sin()(floating(x))


class Cos(Function):
    """Cosine."""

    def forward(self, x: Array) -> Array:
        return array_module(x).cos(x)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return -g * sin(x)


@in_float32
def cos(x: TensorLike) -> Tensor:
    """Cosine of each element, in radians."""
    return Cos()(floating(x))


class Abs(Function):
    """|x|. The derivative at 0 is taken as 0."""

    def forward(self, x: Array) -> Array:
        return array_module(x).abs(x)

    def vjp(self, g: Tensor) -> Gradients:
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
