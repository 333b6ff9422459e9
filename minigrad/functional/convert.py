"""Other dtypes, in which dtype is computed, and constants like a tensor."""

import functools
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..autograd import Function, constant, without_gradient
from ..device import array_module
from ..tensor import Tensor, as_tensor
from ..typing import Array, Decorated, Gradients, TensorLike

_FLOAT16 = np.dtype(np.float16)


class Cast(Function):
    """x in another dtype; the gradient comes back in that of x."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)

    def forward(self, x: Array) -> Array:
        return x.astype(self.dtype)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return cast(g, x.dtype)


def cast(x: TensorLike, dtype: DTypeLike) -> Tensor:
    """x converted to dtype (x itself if it has it). Differentiable between floating point types."""
    x = as_tensor(x)
    return x if x.dtype == np.dtype(dtype) else Cast(dtype)(x)


def floating(x: Tensor) -> Tensor:
    """x as a Tensor; integers become float32, as in torch."""
    x = as_tensor(x)
    return x if x.dtype.kind == "f" else cast(x, np.float32)


def in_float32(function: Decorated) -> Decorated:
    """`function`, which computes in float32 and rounds its result once where all its real tensors are float16.

    float16 is for storing: it has three digits and ends at 65504, where sums, squares and counts soon arrive. What is
    between the two casts is float32 on the way back as well. Of mixed dtypes, the widest is what is computed in anyway.
    """

    @functools.wraps(function)
    def computed(*args: Any, **kwargs: Any) -> Any:
        if not any(getattr(x, "dtype", None) == _FLOAT16 for x in (*args, *kwargs.values())):
            return function(*args, **kwargs)
        if any(x.dtype != _FLOAT16 for x in (*args, *kwargs.values()) if _is_real(x)):
            return function(*args, **kwargs)
        args = [cast(x, np.float32) if _is_real(x) else x for x in args]
        y = function(*args, **{name: cast(x, np.float32) if _is_real(x) else x for name, x in kwargs.items()})
        return cast(y, _FLOAT16) if y.dtype == np.float32 else y

    return computed


def _is_real(x):
    """Whether x is a Tensor or an array of floating point numbers, which a single number is not."""
    return getattr(getattr(x, "dtype", None), "kind", None) == "f" and not isinstance(x, np.generic)


def ones_like(x: TensorLike) -> Tensor:
    """Ones of the shape and dtype of x."""
    return without_gradient(lambda array: array_module(array).ones_like(array), x)


def zeros_like(x: TensorLike) -> Tensor:
    """Zeros of the shape and dtype of x."""
    return without_gradient(lambda array: array_module(array).zeros_like(array), x)


def constant_like(x: Tensor, values: Any, dtype: Any = None) -> Tensor:
    """A Tensor of numbers or a NumPy array, where x is, and in its dtype or another."""
    return without_gradient(lambda array: constant(array_module(array).asarray(values, dtype=dtype or x.dtype)), x)


def check_holds(name: str, dtype: np.dtype, number: Any) -> None:
    """Refuse a Python number that `dtype` does not hold. (In float32 and float64 the nearest number stands for it.)"""
    if isinstance(number, complex):
        raise TypeError(f"{name}: expected a real number, got {number}")
    if dtype.kind in "iu" and not (np.iinfo(dtype).min <= number <= np.iinfo(dtype).max and number == int(number)):
        raise ValueError(f"{name}: {number} is beyond what {dtype} holds; convert the tensor with .astype")
