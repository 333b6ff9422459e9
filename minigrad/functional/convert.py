"""Other dtypes and devices, and constants like a tensor."""

import numpy as np

from ..autograd import Function
from ..backend import array_module, current_device, find_device
from ..backend import to_device as move
from ..tensor import Tensor, as_tensor


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
    x, device = as_tensor(x), find_device(device)
    return x if x.device == device else ToDevice(device)(x)


def floating(x):
    """x as a Tensor; integers become float32, as in torch."""
    x = as_tensor(x)
    return x if x.dtype.kind == "f" else cast(x, np.float32)


def ones_like(x):
    """Ones of the shape and dtype of x."""
    with current_device(x.data):
        return Tensor._wrap(array_module(x.data).ones_like(x.data))


def zeros_like(x):
    """Zeros of the shape and dtype of x."""
    with current_device(x.data):
        return Tensor._wrap(array_module(x.data).zeros_like(x.data))


def constant_like(x, values, dtype=None):
    """A Tensor of numbers or a NumPy array, on the device of x and in its dtype, or another."""
    with current_device(x.data):
        return Tensor._wrap(array_module(x.data).asarray(values, dtype=dtype or x.dtype))
