"""Shapes: reshaping, indexing, joining, padding. Each moves elements unchanged, so each vjp moves them back."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .. import kernels
from ..autograd import Function
from ..device import array_module
from ..tensor import Tensor, as_tensor, together
from ..typing import Array, Gradients, TensorLike
from .broadcast import broadcast_to
from .convert import check_holds, in_float32
from .window import ints

# ---- reshaping -------------------------------------------------------------------------------------------------------


class Reshape(Function):
    """The same elements, in row-major order, in another shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Array) -> Array:
        return x.reshape(self.shape)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return reshape(g, x.shape)


def reshape(x: TensorLike, shape: int | Sequence[int]) -> Tensor:
    """The same elements, in row-major order, in another shape; one length may be -1."""
    x, shape = as_tensor(x), ints("reshape", "shape", shape)
    known = prod(n for n in shape if n != -1)
    fits = x.size == known if -1 not in shape else shape.count(-1) == 1 and known and x.size % known == 0
    if not fits or any(n < -1 for n in shape):
        raise ValueError(f"reshape: cannot reshape {x.shape} ({x.size} elements) to {shape}")
    return Reshape(shape)(x)


def flatten(x: TensorLike, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim (inclusive) joined into one."""
    x = as_tensor(x)
    if not x.ndim:
        return reshape(x, (1,))
    start, end = _dim("flatten", "start_dim", start_dim, x.ndim), _dim("flatten", "end_dim", end_dim, x.ndim)
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    return reshape(x, (*x.shape[:start], prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


def unsqueeze(x: TensorLike, dim: int) -> Tensor:
    """x with a new dimension of length 1 at `dim`."""
    x = as_tensor(x)
    dim = _dim("unsqueeze", "dim", dim, x.ndim + 1)
    return reshape(x, (*x.shape[:dim], 1, *x.shape[dim:]))


def squeeze(x: TensorLike, dim: int | Sequence[int] | None = None) -> Tensor:
    """x without its dimensions of length 1, or without `dim` if that has length 1."""
    x = as_tensor(x)
    dims = range(x.ndim) if dim is None else (_dim("squeeze", "dim", dim, x.ndim),)
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if not (i in dims and n == 1)))


class Permute(Function):
    """Dimensions in another order."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, x: Array) -> Array:
        return x.transpose(self.dims)

    def vjp(self, g: Tensor) -> Gradients:
        return permute(g, tuple(int(i) for i in np.argsort(self.dims)))


def permute(x: TensorLike, dims: Sequence[int]) -> Tensor:
    """x with its dimensions in the order `dims`."""
    x = as_tensor(x)
    order = tuple(_dim("permute", "dims", d, x.ndim) for d in ints("permute", "dims", dims))
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"permute: dims {tuple(dims)} is not an order of the {x.ndim} dimensions of {x.shape}")
    return Permute(order)(x)


def transpose(x: TensorLike, dim0: int, dim1: int) -> Tensor:
    """x with dimensions dim0 and dim1 swapped."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    i, j = _dim("transpose", "dim0", dim0, x.ndim), _dim("transpose", "dim1", dim1, x.ndim)
    order[i], order[j] = order[j], order[i]
    return permute(x, order)


class Flip(Function):
    """Elements in reverse order along `dims`."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, x: Array) -> Array:
        return array_module(x).flip(x, self.dims)

    def vjp(self, g: Tensor) -> Gradients:
        return flip(g, self.dims)


def flip(x: TensorLike, dims: int | Sequence[int]) -> Tensor:
    """x reversed along `dims` (an int or a sequence)."""
    x = as_tensor(x)
    dims = tuple(_dim("flip", "dims", d, x.ndim) for d in ints("flip", "dims", dims))
    if len(set(dims)) != len(dims):
        raise ValueError(f"flip: dims {dims} names a dimension twice")
    return Flip(dims)(x)


class Roll(Function):
    """Elements shifted along `dims`, those pushed out returning at the other end."""

    def __init__(self, shifts: tuple[int, ...], dims: tuple[int, ...]) -> None:
        self.shifts, self.dims = shifts, dims

    def forward(self, x: Array) -> Array:
        return array_module(x).roll(x, self.shifts, self.dims)

    def vjp(self, g: Tensor) -> Gradients:
        return Roll(tuple(-s for s in self.shifts), self.dims)(g)


def roll(x: TensorLike, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """x shifted by `shifts` along `dims` (ints, or sequences of one length); without dims, as if flattened."""
    x = as_tensor(x)
    if dims is None:
        return reshape(roll(reshape(x, (-1,)), shifts, 0), x.shape)
    shifts, dims = ints("roll", "shifts", shifts), ints("roll", "dims", dims)
    if len(shifts) != len(dims):
        raise ValueError(f"roll: {len(shifts)} shifts for {len(dims)} dims")
    return Roll(shifts, tuple(_dim("roll", "dims", d, x.ndim) for d in dims))(x)


# ---- joining ---------------------------------------------------------------------------------------------------------


class Cat(Function):
    """Tensors one after the other along `dim`."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, *xs: Array) -> Array:
        return kernels.concatenate(xs, self.dim)

    def vjp(self, g: Tensor) -> Gradients:
        gxs, start = [], 0
        for x, needed in zip(self.inputs, self.needs_input_grad, strict=True):
            stop = start + x.shape[self.dim]
            gxs.append(g[(slice(None),) * self.dim + (slice(start, stop),)] if needed else None)
            start = stop
        return tuple(gxs)


def cat(tensors: Sequence[TensorLike], dim: int = 0) -> Tensor:
    """Tensors joined along an existing dimension; the other lengths must agree."""
    xs = [as_tensor(x) for x in tensors]
    if not xs:
        raise ValueError("cat: expected at least one tensor")
    dim = _dim("cat", "dim", dim, xs[0].ndim)
    for i, x in enumerate(xs):
        if x.ndim != xs[0].ndim or any(x.shape[d] != xs[0].shape[d] for d in range(x.ndim) if d != dim):
            raise ValueError(f"cat: tensors[{i}] has shape {x.shape}, not fit to join {xs[0].shape} along dim {dim}")
    together("cat", **{f"tensors[{i}]": x for i, x in enumerate(xs)})
    return Cat(dim)(*xs)


def stack(tensors: Sequence[TensorLike], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension."""
    xs = [as_tensor(x) for x in tensors]
    if not xs:
        raise ValueError("stack: expected at least one tensor")
    for i, x in enumerate(xs):
        if x.shape != xs[0].shape:
            raise ValueError(f"stack: tensors[{i}] has shape {x.shape}, expected {xs[0].shape}")
    dim = _dim("stack", "dim", dim, xs[0].ndim + 1)
    return cat([unsqueeze(x, dim) for x in xs], dim)


# ---- padding ---------------------------------------------------------------------------------------------------------


class Pad(Function):
    """x with `widths` (before, after) of a constant added on each dimension, or cut off where a width is negative."""

    def __init__(self, widths: tuple, value: Any = 0) -> None:
        self.widths, self.value = widths, value

    def forward(self, x: Array) -> Array:
        shape = tuple(n + before + after for n, (before, after) in zip(x.shape, self.widths, strict=True))
        out = array_module(x).full_like(x, self.value, shape=shape)  # keeps the memory order of x
        out[_inside(self.widths, shape)] = x[_inside([(-b, -a) for b, a in self.widths], x.shape)]
        return out

    def vjp(self, g: Tensor) -> Gradients:
        return Pad([(-before, -after) for before, after in self.widths])(g)


def _inside(widths, shape):
    """The slices of an array of `shape` that were there before `widths` was added."""
    return tuple(slice(max(b, 0), n - max(a, 0)) for (b, a), n in zip(widths, shape, strict=True))


@in_float32
def pad(x: TensorLike, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """x with elements added around it, as torch.nn.functional.pad.

    pad: (before, after) of the last dimension, then of the last but one, and so on. Negative widths cut.
    mode: "constant" (filled with `value`, 0 if None), "reflect" (mirrored, the edge not repeated), "replicate" (the
        edge repeated) or "circular". The last three pad all dimensions but the first one or two (batch and channels):
        `pad` has 2 widths for a 2-d or 3-d tensor, 4 for 3-d or 4-d, 6 for 4-d or 5-d.

    Raises ValueError for widths that do not fit the shape.
    """
    x = as_tensor(x)
    value = 0 if value is None else value
    check_holds("pad", x.dtype, value)
    value = bool(value) if x.dtype == bool else value  # NumPy takes no int beyond 64 bits for one
    given = tuple(pad) if isinstance(pad, list | tuple) else ()
    if not given and pad not in ((), []) or not all(isinstance(n, int | np.integer) for n in given):
        raise TypeError(f"pad: pad must be a sequence of ints, got {pad!r}")
    if len(given) % 2 or len(given) > 2 * x.ndim:
        raise ValueError(f"pad: pad must hold an even number of widths, at most {2 * x.ndim} for {x.shape}, got {pad}")
    widths = [(int(given[i]), int(given[i + 1])) for i in range(0, len(given), 2)]
    widths = [(0, 0)] * (x.ndim - len(widths)) + widths[::-1]
    for dim, (n, (before, after)) in enumerate(zip(x.shape, widths, strict=True)):
        if mode in ("reflect", "replicate"):  # cut after widening, and something must be left
            left = n + before + after - 1 if before or after else 0
        else:
            left = n + min(before, 0) + min(after, 0)
        if left < 0:
            raise ValueError(f"pad: widths {before} and {after} leave nothing of the {n} elements of dimension {dim}")
    if mode == "constant":
        return Pad(widths, value)(x) if any(w != (0, 0) for w in widths) else x

    if mode not in _BORDERS:
        raise NotImplementedError(f"pad: mode must be constant, reflect, replicate or circular, got {mode!r}")
    if value:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    if len(given) not in (2, 4, 6) or x.ndim - len(given) // 2 not in (1, 2):
        raise ValueError(f"pad: mode {mode!r} pads all but the first 1 or 2 dimensions; {pad} does not fit {x.shape}")
    cut = [(min(before, 0), min(after, 0)) for before, after in widths]
    has_cut = any(w != (0, 0) for w in cut)
    if has_cut and mode == "circular":  # as in torch: what is cut does not come back at the other end
        x = Pad(cut)(x)
    for dim, (before, after) in enumerate(widths):
        if before > 0 or after > 0:
            x = _BORDERS[mode](x, dim, max(before, 0), max(after, 0))
    return Pad(cut)(x) if has_cut and mode != "circular" else x


def _along(x, dim, start, stop):
    return x[(slice(None),) * dim + (slice(start, stop),)]


def _reflect(x, dim, before, after):
    n = x.shape[dim]
    if max(before, after) >= n:
        raise ValueError(f"pad: reflect widths {before}, {after} must be less than the {n} elements of dimension {dim}")
    return cat([flip(_along(x, dim, 1, before + 1), dim), x, flip(_along(x, dim, n - after - 1, n - 1), dim)], dim)


def _replicate(x, dim, before, after):
    n = x.shape[dim]
    if not n:
        raise ValueError(f"pad: there is no edge to replicate along dimension {dim} of shape {x.shape}")

    def repeated(edge, count):
        return broadcast_to(edge, (*x.shape[:dim], count, *x.shape[dim + 1 :]))

    return cat([repeated(_along(x, dim, 0, 1), before), x, repeated(_along(x, dim, n - 1, n), after)], dim)


def _circular(x, dim, before, after):
    n = x.shape[dim]
    if max(before, after) > n:
        raise ValueError(f"pad: circular widths {before}, {after} wrap more than once the {n} elements of dim {dim}")
    return cat([_along(x, dim, n - before, n), x, _along(x, dim, 0, after)], dim)


_BORDERS = {"reflect": _reflect, "replicate": _replicate, "circular": _circular}


def _dim(function, argument, dim, ndim):
    """dim counted from the front, checked."""
    if not isinstance(dim, int | np.integer):
        raise TypeError(f"{function}: {argument} must be an integer, got {type(dim).__name__}")
    if not -ndim <= dim < ndim:
        raise ValueError(f"{function}: {argument} {dim} is out of range for {ndim} dimensions")
    return int(dim) % ndim
