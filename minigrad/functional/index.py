"""Indexing: elements taken from places and put back to them, each the derivative of the other."""

from math import prod
from typing import Any

import numpy as np

from ..autograd import Function, without_gradient
from ..device import array_module
from ..tensor import Tensor, as_tensor, together
from ..typing import Array, Gradients, TensorLike
from .convert import in_float32


class GetItem(Function):
    """x[index], with every kind of NumPy index."""

    def __init__(self, index: Any) -> None:
        self.index = index

    def forward(self, x: Array) -> Array:
        return x[self.index]

    def constants(self) -> tuple:
        return _index_arrays(self.index)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return in_float32(PutItem(self.index, x.shape))(g)


class PutItem(Function):
    """Zeros of `shape` with g added at `index`: the vjp of indexing. An element picked twice receives both."""

    def __init__(self, index: Any, shape: tuple[int, ...]) -> None:
        self.index, self.shape = index, shape

    def forward(self, g: Array) -> Array:
        xp = array_module(g)
        out = xp.zeros_like(g, shape=self.shape)  # in g's order of memory, where it has as many axes
        parts = self.index if isinstance(self.index, tuple) else (self.index,)
        if any(getattr(i, "dtype", None) is not None and i.dtype.kind in "iu" for i in parts):
            xp.add.at(out, self.index, g)
        else:
            out[self.index] = g
        return out

    def constants(self) -> tuple:
        return _index_arrays(self.index)

    def vjp(self, g: Tensor) -> Gradients:
        return GetItem(self.index)(g)


def getitem(x: TensorLike, index: Any) -> Tensor:
    """x[index]: integers, slices, None, Ellipsis, integer and boolean arrays or tensors, in any mix.

    Arrays and tensors must be where x is; lists go there.
    """
    x = as_tensor(x)
    parts = tuple(_index(x, i) for i in index) if isinstance(index, tuple) else _index(x, index)
    try:
        return GetItem(parts)(x)
    except IndexError as e:
        raise IndexError(f"getitem: {e} (the tensor has shape {x.shape})") from None


def _index_arrays(index):
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(i for i in parts if isinstance(i, np.ndarray))


def _index(x, i):
    if isinstance(i, Tensor):
        i = i.data
    elif isinstance(i, list):
        values = np.asarray(i, dtype=None if len(i) else np.intp)
        i = without_gradient(lambda array: array_module(array).asarray(values), x).data
    if getattr(i, "dtype", np.dtype(int)).kind not in "iub":
        raise IndexError(f"getitem: an index array must hold integers or booleans, this one holds {i.dtype}")
    if hasattr(i, "dtype") and not isinstance(i, np.generic):
        together("getitem", x=x, index=i)
    return i


class PutAlongAxis(Function):
    """Zeros (..., length) with x (..., K) written at `indices` (..., K) of the last axis; of equal the last wins.

    As in torch the gradient goes to every x, also to one that another has overwritten.
    """

    def __init__(self, indices: Array, length: int) -> None:
        self.indices, self.length = indices, length

    def forward(self, x: Array) -> Array:
        out, rows, places = self._flat(x)
        out[places] = rows
        return out.reshape(*x.shape[:-1], self.length)

    def _flat(self, x):
        """Zeros (M,length), x as (M,K), and the index that writes the second into the first."""
        xp, count = array_module(x), x.shape[-1]
        rows = x.reshape(prod(x.shape[:-1]), count)
        out = xp.zeros((len(rows), self.length), x.dtype)
        return out, rows, (xp.arange(len(rows))[:, None], self.indices.reshape(rows.shape))

    def constants(self) -> tuple:
        return (self.indices,)

    def vjp(self, g: Tensor) -> Gradients:
        return TakeAlongAxis(self.indices)(g)


class AddAlongAxis(PutAlongAxis):
    """Zeros (..., length) with x (..., K) added at `indices` (..., K) of the last axis."""

    def forward(self, x: Array) -> Array:
        out, rows, places = self._flat(x)
        array_module(x).add.at(out, places, rows)
        return out.reshape(*x.shape[:-1], self.length)


class TakeAlongAxis(Function):
    """y (..., K): the elements of x at `indices` (..., K) of the last axis."""

    def __init__(self, indices: Array) -> None:
        self.indices = indices

    def forward(self, x: Array) -> Array:
        return array_module(x).take_along_axis(x, self.indices, -1)

    def constants(self) -> tuple:
        return (self.indices,)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return in_float32(AddAlongAxis(self.indices, x.shape[-1]))(g)
