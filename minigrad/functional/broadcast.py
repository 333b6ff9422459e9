"""Operands of unlike shapes: made to fit, and the gradient brought back.

Binary functions broadcast as NumPy does, and a Python number takes the dtype of the tensor it meets. Their gradients
are summed back over the axes along which an operand was repeated: `sum_to` is the vjp of broadcasting.
"""

from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np

from .. import kernels
from ..autograd import Function
from ..device import array_module
from ..tensor import Tensor, as_tensor, together
from ..typing import Array, Gradients, TensorLike
from .convert import cast, check_holds, constant_like, in_float32
from .window import ints


def operands(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
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


class BroadcastTo(Function):
    """x repeated along new and length-1 axes."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Array) -> Array:
        return array_module(x).broadcast_to(x, self.shape)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return sum_to(g, x.shape)


def broadcast_to(x: TensorLike, shape: Sequence[int]) -> Tensor:
    """x repeated along new and length-1 axes to fill `shape`."""
    x, shape = as_tensor(x), ints("broadcast_to", "shape", shape)
    if x.shape == shape:
        return x
    try:
        fits = np.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"broadcast_to: shape {x.shape} does not broadcast to {shape}")
    return BroadcastTo(shape)(x)


class SumTo(Function):
    """x summed over the axes along which `shape` would be broadcast to it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Array) -> Array:
        extra = x.ndim - len(self.shape)
        axes = tuple(i for i in range(x.ndim) if i < extra or (self.shape[i - extra] == 1 and x.shape[i] != 1))
        return kernels.axis_sum(x, axes).reshape(self.shape)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return broadcast_to(g, x.shape)


@in_float32
def sum_to(x: TensorLike, shape: Sequence[int]) -> Tensor:
    """x summed down to `shape`, over the axes that broadcasting would add or stretch."""
    return x if x.shape == tuple(shape) else SumTo(tuple(shape))(x)
