"""Activations: rectifiers and sigmoids. (Softmax is beside the losses it serves.)"""

from ..autograd import Function
from ..backend import array_module
from ..kernels import elementwise as kernels
from ..tensor import Forgotten, as_tensor
from .convert import floating
from .elementwise import where
from .shape import joined


class ReLU(Function):
    """max(x, 0), elementwise. The derivative at 0 is taken as 0.

    rectified: what is below 0 in the array it gets is 0 already (see relu_of_rectified), so there is nothing to do.
    """

    def __init__(self, rectified=False):
        self._rectified = rectified

    def forward(self, x):
        return x if self._rectified else kernels.relu(x)

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


def relu_of_rectified(y):
    """relu(y), where the Function that made y has rectified its array already, in the same pass over memory.

    In a graph these are two functions as ever, for rules to meet. What lay between is not kept: the function computes
    it again, by `output_again`, if anyone looks at it (`relu.inputs[0].data`, or a rule that uses it).
    """
    if y.function is None:
        return y
    rectified = ReLU(rectified=True)(y)
    y.__class__ = Forgotten
    return rectified


def cat_relu(tensors, dim=0):
    """relu(cat(...)), arguments as there, with one pass over memory less: see `relu_of_rectified`."""
    return relu_of_rectified(joined(tensors, dim, rectify=True))


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


def sigmoid(x):
    """1 / (1 + exp(-x)) of each element."""
    return Sigmoid()(floating(x))
