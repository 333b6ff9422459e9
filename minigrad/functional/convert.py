"""Other dtypes, and constants like a tensor."""

import numpy as np

from ..autograd import Function, without_gradient
from ..device import array_module
from ..tensor import as_tensor


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


def floating(x):
    """x as a Tensor; integers become float32, as in torch."""
    x = as_tensor(x)
    return x if x.dtype.kind == "f" else cast(x, np.float32)


def ones_like(x):
    """Ones of the shape and dtype of x."""
    return without_gradient(lambda array: array_module(array).ones_like(array), x)


def zeros_like(x):
    """Zeros of the shape and dtype of x."""
    return without_gradient(lambda array: array_module(array).zeros_like(array), x)


def constant_like(x, values, dtype=None):
    """A Tensor of numbers or a NumPy array, where x is, and in its dtype or another."""
    return without_gradient(lambda array: array_module(array).asarray(values, dtype=dtype or x.dtype), x)
