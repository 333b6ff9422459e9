"""Tensor: an array, and the operation that made it.

Its operators are functions of minigrad/functional, which are built on this class: functional imports Tensor, and Tensor
asks functional for an operator when one is first used.
"""

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from .device import current_device, device_of, is_array, one_device, to_numpy
from .guard import constants


class _Later:
    """A module of the engine that is built on this file: imported when it is first used."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        found = getattr(importlib.import_module(self._name, __package__), name)
        setattr(self, name, found)  # the next time it is an attribute like others
        return found


F, _autograd, _interchange = _Later(".functional"), _Later(".autograd"), _Later(".interchange")


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    data: an array, a number or nested lists. It is copied, so that nothing written to your array later can reach a
        graph; `from_numpy` shares the memory instead. Python floats become float32; arrays keep their dtype.
    requires_grad: record what is computed from this tensor, so that `mg.grad` can differentiate by it. Only floating
        point tensors can.
    dtype: convert to this dtype.

    Attributes: `data` (the NumPy or CuPy array), `grad` (a Tensor, filled by `backward`; None before), `function`
    (the Function that made it; None for a leaf), `requires_grad`; of a comparison's result, `compared`: what with what.
    """

    __slots__ = ("_data", "grad", "_function", "requires_grad", "compared", "__weakref__")
    __array_ufunc__ = None  # ndarray + Tensor asks Tensor.__radd__, instead of looping over our elements

    def __init__(self, data: "Tensor | np.ndarray | np.generic | float | list | tuple", requires_grad: bool = False,
                 dtype: np.dtype | type | str | None = None) -> None:  # fmt: skip
        if isinstance(data, Tensor):
            data = data._data
        if isinstance(data, np.generic):
            data = np.asarray(data)
        if is_array(data):
            with current_device(data):
                data = data.astype(dtype or data.dtype, copy=True)
        else:
            data = np.array(data, dtype or _default_dtype(data))
        if data.dtype.kind not in "fiub":
            raise TypeError(f"Tensor: data must be numbers or booleans, got dtype {data.dtype}")
        if requires_grad and data.dtype.kind != "f":
            raise TypeError(f"Tensor: only floating point tensors can require grad, this one has dtype {data.dtype}")
        self._data = data
        self.grad: Any = None
        self._function: Any = None
        self.requires_grad = requires_grad

    @classmethod
    def _wrap(cls, array):
        """A leaf around `array` itself, no copy: what operations use for their results."""
        tensor = cls.__new__(cls)
        tensor._data = array
        tensor.grad = None
        tensor._function = None
        tensor.requires_grad = False
        return tensor

    # ---- the array ---------------------------------------------------------------------------------------------------

    @property
    def data(self) -> np.ndarray:
        """The array. Assigning replaces it; a graph that used the old one then refuses to run backward. What replaces a
        frozen parameter is read-only like it."""
        return self._data

    @data.setter
    def data(self, array: np.ndarray) -> None:
        if not is_array(array):
            raise TypeError(f"Tensor.data: expected an array, got {type(array).__name__}")
        if array.shape != self._data.shape:
            raise ValueError(f"Tensor.data: expected shape {self._data.shape}, got {array.shape}")
        if array.dtype.kind != self._data.dtype.kind:
            raise TypeError(f"data: the tensor holds {self.dtype}, the array {array.dtype}; convert it by .astype")
        if (held := constants.get(id(self._data))) is not None:
            held.move_to(array)
        self._data = np.asarray(array) if isinstance(array, np.generic) else array

    @property
    def function(self) -> Any:
        """The Function that made this tensor; None for a leaf. Of a network that was replayed, its last."""
        if self._function is not None and self._function.shortened:
            self._function = self._function.in_full()
        return self._function

    shape = property(lambda self: self._data.shape)
    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    device = property(lambda self: device_of(self._data), doc='"cpu" or "cuda:0".')
    T = property(lambda self: F.permute(self, tuple(reversed(range(self.ndim)))))

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array (shared when already on the CPU: treat it as read-only)."""
        return to_numpy(self._data)

    def item(self) -> float:
        """The value of a one-element tensor as a Python number."""
        if self.size != 1:
            raise ValueError(f"item: the tensor must have one element, this one has shape {self.shape}")
        return self._data.item()

    def tolist(self) -> list:
        """Nested Python lists of the values."""
        return self._data.tolist()

    def detach(self) -> "Tensor":
        """The same data, cut from the graph."""
        return Tensor._wrap(self._data)

    def to(self, device: str) -> "Tensor":
        """This tensor on `device`: "cpu", "cuda", "cuda:1" or "auto". Differentiable; itself if already there."""
        return _interchange.to_device(self, device)

    def astype(self, dtype: np.dtype | type | str) -> "Tensor":
        """This tensor with another dtype. Differentiable between floating point types."""
        return F.cast(self, dtype)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """For NumPy: the array itself unless it must be converted or `copy` is True. TypeError for one on a GPU."""
        if self.device != "cpu":
            raise TypeError(f"Tensor: this one is on {self.device}, NumPy's functions are on cpu: give them .numpy()")
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **asked: Any) -> Any:
        """For torch.from_dlpack and its like, which then share this memory: see interchange.py."""
        return _interchange.to_dlpack(self, **asked)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=200)
        made_by = f", function={type(self.function).__name__}" if self.function else ""
        flag = ", requires_grad=True" if self.requires_grad and not self.function else ""
        return f"tensor({values}, dtype={self.dtype}{flag}{made_by})"

    # ---- gradients ---------------------------------------------------------------------------------------------------

    def backward(self, gradient: "Tensor | None" = None, rules: dict | None = None) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires it (see `mg.backward`)."""
        _autograd.backward(self, gradient, rules)

    # ---- operators: the functions are in minigrad/functional ---------------------------------------------------------

    def __add__(self, other: object) -> "Tensor":
        return F.add(self, other)

    def __sub__(self, other: object) -> "Tensor":
        return F.sub(self, other)

    def __mul__(self, other: object) -> "Tensor":
        return F.mul(self, other)

    def __truediv__(self, other: object) -> "Tensor":
        return F.div(self, other)

    def __pow__(self, other: object) -> "Tensor":
        return F.pow(self, other)

    def __matmul__(self, other: object) -> "Tensor":
        return F.matmul(self, other)

    def __radd__(self, other: object) -> "Tensor":
        return F.add(other, self)

    def __rsub__(self, other: object) -> "Tensor":
        return F.sub(other, self)

    def __rmul__(self, other: object) -> "Tensor":
        return F.mul(other, self)

    def __rtruediv__(self, other: object) -> "Tensor":
        return F.div(other, self)

    def __rpow__(self, other: object) -> "Tensor":
        return F.pow(other, self)

    def __rmatmul__(self, other: object) -> "Tensor":
        return F.matmul(other, self)

    def __neg__(self) -> "Tensor":
        return F.neg(self)

    def __abs__(self) -> "Tensor":
        return F.abs(self)

    def __getitem__(self, index: object) -> "Tensor":
        return F.getitem(self, index)

    # Comparisons give boolean tensors, which have no gradient. __eq__ does too, so hashing is by identity.
    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> "Tensor":  # type: ignore[override]  # of each element, as NumPy's
        return F.eq(self, other)

    def __ne__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return F.ne(self, other)

    def __lt__(self, other: Any) -> "Tensor":
        return F.lt(self, other)

    def __le__(self, other: Any) -> "Tensor":
        return F.le(self, other)

    def __gt__(self, other: Any) -> "Tensor":
        return F.gt(self, other)

    def __ge__(self, other: Any) -> "Tensor":
        return F.ge(self, other)

    def __invert__(self) -> "Tensor":
        return F.logical_not(self)

    # ---- the most used functions as methods --------------------------------------------------------------------------

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """Sum over `axis` (an int, a tuple, or None for all)."""
        return F.sum(self, axis, keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """Mean over `axis`."""
        return F.mean(self, axis, keepdims)

    def var(self, axis: int | tuple[int, ...] | None = None, ddof: int = 0, keepdims: bool = False) -> "Tensor":
        """Variance over `axis`, divided by count - ddof."""
        return F.var(self, axis, ddof, keepdims)

    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """Maximum over `axis`."""
        return F.max(self, axis, keepdims)

    def min(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> "Tensor":
        """Minimum over `axis`."""
        return F.min(self, axis, keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> "Tensor":
        """Index of the first maximum; no gradient."""
        return F.argmax(self, axis, keepdims)

    def reshape(self, *shape: int | tuple[int, ...] | list[int]) -> "Tensor":
        """The same elements in another shape; one length may be -1."""
        return F.reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    def permute(self, *dims: int | tuple[int, ...] | list[int]) -> "Tensor":
        """Dimensions in another order."""
        return F.permute(self, dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims)

    def transpose(self, dim0: int, dim1: int) -> "Tensor":
        """Two dimensions swapped."""
        return F.transpose(self, dim0, dim1)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> "Tensor":
        """Dimensions start_dim to end_dim joined into one."""
        return F.flatten(self, start_dim, end_dim)

    def exp(self) -> "Tensor":
        """e to the power of each element."""
        return F.exp(self)

    def log(self) -> "Tensor":
        """Natural logarithm of each element."""
        return F.log(self)

    def sqrt(self) -> "Tensor":
        """Square root of each element."""
        return F.sqrt(self)

    def abs(self) -> "Tensor":
        """Absolute value of each element; its derivative at 0 is taken as 0."""
        return F.abs(self)

    def clamp(self, min: "Tensor | float | None" = None, max: "Tensor | float | None" = None) -> "Tensor":
        """Each element limited to [min, max]."""
        return F.clamp(self, min, max)


def from_numpy(array: np.ndarray) -> Tensor:
    """A Tensor that shares the memory of a NumPy (or CuPy) array. While a graph needs it, the array is read-only."""
    if not is_array(array):
        raise TypeError(f"from_numpy: expected an array, got {type(array).__name__}")
    return Tensor._wrap(array)


def as_tensor(x: "Tensor | np.ndarray | np.generic | float | list | tuple") -> Tensor:
    """x itself if it is a Tensor, else a constant Tensor of it (arrays are shared, not copied)."""
    if isinstance(x, Tensor):
        return x
    return Tensor._wrap(np.asarray(x) if isinstance(x, np.generic) else x) if is_array(x) else Tensor(x)


def together(function: str, **arguments: Any) -> None:
    """TypeError where the arguments of `function`, Tensors, arrays or None, are not all on one device."""
    one_device(function, {name: x._data if isinstance(x, Tensor) else x for name, x in arguments.items()})


def _default_dtype(data):
    """float32 for Python floats (as in torch), NumPy's choice for the rest."""
    dtype = np.asarray(data).dtype
    holds_arrays = isinstance(data, list | tuple) and any(is_array(x) for x in data)
    return np.dtype(np.float32) if dtype == np.float64 and not holds_arrays else dtype
