"""Products of matrices."""

from ..autograd import Function
from ..backend import array_module
from ..tensor import as_tensor
from .shape import reshape, sum_to, transpose


class MatMul(Function):
    """a @ b of stacks of matrices, (..., M, K) by (..., K, N)."""

    def forward(self, a, b):
        return array_module(a, b).matmul(a, b)

    def vjp(self, g):
        a, b = self.inputs
        by_a, by_b = self.needs_input_grad
        return (
            sum_to(matmul(g, transpose(b, -1, -2)), a.shape) if by_a else None,
            sum_to(matmul(transpose(a, -1, -2), g), b.shape) if by_b else None,
        )


def matmul(a, b):
    """a @ b as in NumPy: (..., M, K) by (..., K, N), leading axes broadcast; a vector is a row left, a column right."""
    a, b = as_tensor(a), as_tensor(b)
    if not a.ndim or not b.ndim:
        raise ValueError(f"matmul: expected vectors or matrices, got shapes {a.shape} and {b.shape}; scale with *")
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise ValueError(f"matmul: {a.shape} by {b.shape}: a.shape[-1] is {a.shape[-1]}, b has {inner} rows")
    if a.ndim > 1 and b.ndim > 1:
        return MatMul()(a, b)
    rows = reshape(a, (1, -1)) if a.ndim == 1 else a
    columns = reshape(b, (-1, 1)) if b.ndim == 1 else b
    y = MatMul()(rows, columns)
    shape = y.shape[: -2 if a.ndim == 1 else -1] + (() if b.ndim == 1 else y.shape[-1:])
    return reshape(y, shape)


def linear(x, weight, bias=None):
    """x @ weight.T + bias: (..., in_features) to (..., out_features); weight (out_features, in_features)."""
    x, weight = as_tensor(x), as_tensor(weight)
    if weight.ndim not in (1, 2):
        raise ValueError(f"linear: weight must have 1 or 2 dimensions, got shape {weight.shape}")
    if not x.ndim or x.shape[-1] != weight.shape[-1]:
        raise ValueError(f"linear: x has shape {x.shape}, weight expects rows of {weight.shape[-1]} (weight.shape[-1])")
    y = matmul(x, transpose(weight, 0, 1) if weight.ndim == 2 else weight)
    if bias is None:
        return y
    bias = as_tensor(bias)
    if bias.shape != weight.shape[:-1]:
        raise ValueError(f"linear: bias has shape {bias.shape}, expected {weight.shape[:-1]}")
    return y + bias
