"""Products of matrices."""

from math import prod

import numpy as np

from .. import kernels
from ..autograd import Function
from ..tensor import Tensor, as_tensor, together
from ..typing import Array, Gradients, TensorLike
from .broadcast import sum_to
from .convert import in_float32
from .reduce import sum
from .shape import reshape, transpose


class MatMul(Function):
    """a @ b of stacks of matrices, (..., M, K) by (..., K, N)."""

    def forward(self, a: Array, b: Array) -> Array:
        return kernels.matmul(a, b)

    def vjp(self, g: Tensor) -> Gradients:
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return (
            sum_to(_product_like(a, g, transpose(b, -1, -2)), a.shape) if by_a else None,
            sum_to(_product_like(b, transpose(a, -1, -2), g), b.shape) if by_b else None,
        )


def _product_like(x, a, b):
    """a @ b, laid out in memory as x is, by rows or by columns: (b^T a^T)^T if by columns.

    A gradient is soon added to others of its tensor, and arrays of different layouts add up slowly.
    """
    by_columns = x.data.strides[-2] < x.data.strides[-1]
    return transpose(matmul(transpose(b, -1, -2), transpose(a, -1, -2)), -1, -2) if by_columns else matmul(a, b)


@in_float32
def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """a @ b as in NumPy: (..., M, K) by (..., K, N), leading axes broadcast; a vector is a row left, a column right."""
    a, b = as_tensor(a), as_tensor(b)
    _check_dtypes("matmul", {"a": a, "b": b})
    if not a.ndim or not b.ndim:
        raise ValueError(f"matmul: expected vectors or matrices, got shapes {a.shape} and {b.shape}; scale with *")
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise ValueError(f"matmul: {a.shape} by {b.shape}: a.shape[-1] is {a.shape[-1]}, b has {inner} rows")
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: {a.shape} by {b.shape}: the leading axes do not broadcast") from None
    if a.ndim > 1 and b.ndim > 1:
        return MatMul()(a, b)
    rows = reshape(a, (1, -1)) if a.ndim == 1 else a
    columns = reshape(b, (-1, 1)) if b.ndim == 1 else b
    y = MatMul()(rows, columns)
    shape = y.shape[: -2 if a.ndim == 1 else -1] + (() if b.ndim == 1 else y.shape[-1:])
    return reshape(y, shape)


class Linear(Function):
    """y (..., O) = x (..., I) times the transpose of w (O,I), plus a bias (O,)."""

    def forward(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        y = kernels.matmul(x, w.T) if x.ndim > 1 else kernels.matmul(x[None], w.T)[0]
        if bias is not None:
            y += bias
        return y

    def vjp(self, g: Tensor) -> Gradients:
        x, w, *bias = self.inputs
        by_x, by_w, *by_bias = self.needs_input_grad
        count = prod(x.shape[:-1])
        rows = reshape(g, (count, g.shape[-1]))
        gx = matmul(g, w) if by_x else None
        gw = matmul(transpose(rows, 0, 1), reshape(x, (count, x.shape[-1]))) if by_w else None
        return gx, gw, *(sum(rows, 0) if by_bias[0] else None for _ in bias)


@in_float32
def linear(x: TensorLike, weight: TensorLike, bias: TensorLike | None = None) -> Tensor:
    """x @ weight.T + bias: (..., in_features) to (..., out_features); weight (out_features, in_features).

    weight may also be (in_features,), for a result of shape (...); bias is then a single number (), though
    not for a 2-d x (as in torch).
    """
    tensors = {"x": x, "weight": weight, "bias": bias}
    tensors = {name: as_tensor(value) for name, value in tensors.items() if value is not None}
    _check_dtypes("linear", tensors)
    x, weight, bias = (tensors.get(name) for name in ("x", "weight", "bias"))
    if weight.ndim not in (1, 2):
        raise ValueError(f"linear: weight must have 1 or 2 dimensions, got shape {weight.shape}")
    if not x.ndim or x.shape[-1] != weight.shape[-1]:
        raise ValueError(f"linear: x has shape {x.shape}, weight expects rows of {weight.shape[-1]} (weight.shape[-1])")
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise ValueError(f"linear: bias has shape {bias.shape}, expected {weight.shape[:-1]} (weight.shape[:-1])")
    if weight.ndim == 1:
        if bias is not None and x.ndim == 2:  # as in torch, whose path for matrices has no place for it
            raise ValueError(f"linear: bias goes with no 1-d weight where x is 2-d (shape {x.shape}); add it after")
        y = matmul(x, weight)
        return y if bias is None else y + bias
    return Linear()(x, weight) if bias is None else Linear()(x, weight, bias)


def _check_dtypes(name, tensors):
    """Refuse booleans, mixed dtypes, as torch does (a float64 that crept in should not spread), and mixed devices."""
    for argument, x in tensors.items():
        if x.dtype.kind == "b":
            raise TypeError(f"{name}: {argument} must be numbers, got dtype bool; convert with .astype")
    if len({x.dtype for x in tensors.values()}) > 1:
        found = ", ".join(f"{argument} {x.dtype}" for argument, x in tensors.items())
        raise TypeError(f"{name}: dtypes differ ({found}); convert with .astype")
    together(name, **tensors)
