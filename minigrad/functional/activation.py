"""Activations: rectifiers and sigmoids. (Softmax is beside the losses it serves.)"""

from .. import kernels
from ..autograd import Function
from ..device import array_module
from ..tensor import as_tensor
from .convert import floating, in_float32
from .elementwise import where


class ReLU(Function):
    """max(x, 0), elementwise. The derivative at 0 is taken as 0."""

    def forward(self, x):
        return kernels.relu(x)

    def vjp(self, g):
        return ReLUGrad()(g, self.output)  # positive where the input is


class ReLUGrad(Function):
    """g where x > 0, else 0."""

    def forward(self, g, x):
        return kernels.relu_grad(g, x)

    def vjp(self, gg):
        _, x = self.inputs
        return ReLUGrad()(gg, x), None


def relu(x):
    """max(x, 0), elementwise. The derivative at 0 is taken as 0."""
    x = as_tensor(x)
    if x.dtype.kind == "b":
        raise TypeError("relu: x must be numbers, got dtype bool; convert with .astype")
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


@in_float32
def leaky_relu(x, negative_slope=0.01):
    """x where positive, negative_slope * x elsewhere (0 included). x must be floating point."""
    x = as_tensor(x)
    if x.dtype.kind != "f":
        raise TypeError(f"leaky_relu: x must be floating point, got dtype {x.dtype}; convert with .astype")
    return LeakyReLU(negative_slope)(x)


class Tanh(Function):
    """Hyperbolic tangent."""

    def forward(self, x):
        return array_module(x).tanh(x)

    def vjp(self, g):
        return g * (1.0 - self.output * self.output)


@in_float32
def tanh(x):
    """Hyperbolic tangent of each element."""
    return Tanh()(floating(x))


class Sigmoid(Function):
    """1 / (1 + exp(-x)), by exp(-|x|), which cannot overflow and keeps small results exact."""

    def forward(self, x):
        xp = array_module(x)
        e = xp.exp(-xp.abs(x))
        return xp.where(x >= 0, x.dtype.type(1), e) / (1 + e)

    def vjp(self, g):
        y = self.output
        return g * y * (1.0 - y)


@in_float32
def sigmoid(x):
    """1 / (1 + exp(-x)) of each element."""
    return Sigmoid()(floating(x))
