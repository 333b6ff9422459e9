"""What a network is made of: for each layer its output, parameters, arithmetic and receptive field.

Nothing here knows containers or layers: one pass over an image of zeros is recorded, and the graph tells who feeds
whom. So it holds for any Module.

The receptive field of a unit is the rectangle of input pixels it can depend on. Along one axis it follows from the
kernel k, stride s, padding p and dilation d of each window, with j the distance in pixels between neighbouring units:

    size   <- size + d*(k-1)*j        j <- s*j        offset <- offset - p*j

where offset is the first pixel seen by the first unit (negative: in the padding). Starting values are 1, 1, 0.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import functional as F
from ..autograd import Function, enable_grad, functions_before
from ..functional import broadcast, index, reduce, shape
from ..nn.observe import observed
from ..tensor import Tensor
from . import cost


@dataclass(frozen=True)
class ReceptiveField:
    """Rows and columns of the input that a unit sees: unit (i, j) sees `size` pixels from offset + (i, j) * stride.

    A stride of 0: every unit sees the same pixels, as behind a mean over all positions.
    """

    size: tuple = (1, 1)
    stride: tuple = (1, 1)
    offset: tuple = (0, 0)

    def box(self, row: int, column: int, image_hw: tuple[int, int]) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the pixels that the unit at (row, column) sees, cut at the image's edges."""
        start = [o + i * s for o, i, s in zip(self.offset, (row, column), self.stride, strict=True)]
        stop = [min(a + n, full) for a, n, full in zip(start, self.size, image_hw, strict=True)]
        return max(start[0], 0), max(start[1], 0), stop[0], stop[1]

    def through(
        self, kernel: Any, stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1)
    ) -> "ReceptiveField":
        """The field one windowed layer further (all arguments pairs)."""
        sizes, strides, offsets = [], [], []
        fields = zip(self.size, self.stride, self.offset, kernel, stride, padding, dilation, strict=True)
        for size, jump, offset, k, s, p, d in fields:
            sizes.append(size + d * (k - 1) * jump)
            strides.append(jump * s)
            offsets.append(offset - p * jump)
        return ReceptiveField(tuple(sizes), tuple(strides), tuple(offsets))

    def over_all(self, hw: Any) -> "ReceptiveField":
        """The field of what sees all positions of maps of height and width `hw`."""
        return replace(self.through(hw), stride=(0, 0))

    def joined(self, other: "ReceptiveField") -> "ReceptiveField":
        """The field of what sees units of both: from the first pixel that either sees to the last."""
        offset = tuple(min(self.offset[i], other.offset[i]) for i in (0, 1))
        stop = tuple(max(self.offset[i] + self.size[i], other.offset[i] + other.size[i]) for i in (0, 1))
        return ReceptiveField((stop[0] - offset[0], stop[1] - offset[1]), self.stride, offset)


@dataclass(frozen=True)
class Layer:
    """One row of `model.layers()`. A multiplication and an addition are two FLOPs; shapes are without the batch.

    A module of several outputs, a tuple or a dict, has a tuple of shapes, and the field of what sees units of all. Of
    one that runs several times in a pass, the FLOPs are those of all calls, the shape and the field those of the first.
    """

    name: str
    kind: str
    output_shape: tuple
    parameters: int
    flops: int
    receptive_field: ReceptiveField


class Calls:
    """An observer that notes every call: `seen` is [(name, module, x, y)], inner modules before outer ones."""

    done = False

    def __init__(self) -> None:
        self.seen: list[tuple] = []

    def asks_for(self, name: str) -> bool:
        return True

    def leaves(self, name: str, module: Any, x: Any, y: Any) -> None:
        self.seen.append((name, module, x, y))


def traced(model: Any, input_shape: Any = None) -> tuple:
    """(x, calls): one recorded pass over an image x of zeros (1, *input_shape), in evaluation mode; calls as in Calls.

    input_shape: (C, H, W); by default (3, *input_size) of a model that has an `input_size`.
    """
    if input_shape is None:
        size = getattr(model, "input_size", None)
        if size is None:
            raise ValueError("layers: give input_shape, (C, H, W) of one image")
        input_shape = (3, size, size) if isinstance(size, int | np.integer) else (3, *size)
    weights = [tensor for _, tensor in model.named_tensors() if tensor.dtype.kind == "f"]
    dtype, device = (weights[0].dtype, weights[0].device) if weights else (np.float32, "cpu")
    x = Tensor(Tensor(np.zeros((1, *input_shape), dtype)).to(device), requires_grad=True)

    training = [module for _, module in [("", model), *model.named_modules()] if module.training]
    calls = Calls()
    try:
        for module in training:
            module.training = False
        with enable_grad(), observed(model, calls):
            model(x)
    finally:
        for module in training:
            module.training = True
    return x, calls.seen


def summarize(model: Any, input_shape: Any = None) -> list:
    """A Layer record for each module inside a network, as `Module.layers` gives them."""
    x, calls = traced(model, input_shape)
    fields = receptive_fields(x, [tensor for *_, y in calls for tensor in several(y)])
    rows: dict[str, Layer] = {}
    for name, module, before, after in calls:
        if name:
            flops = sum(_flops(f) for f in functions_between(before, after) if id(f) in fields)
        if name in rows:
            rows[name] = replace(rows[name], flops=rows[name].flops + flops)
        elif name:
            count = sum(t.size for n, t in module.named_tensors() if not n.split(".")[-1].startswith("running_"))
            field, *others = [fields.get(_key(y), ReceptiveField((0, 0))) for y in several(after)]
            for other in others:
                field = field.joined(other)
            shapes = tuple(y.shape[1:] for y in several(after))
            shape = shapes[0] if isinstance(after, Tensor) else shapes
            rows[name] = Layer(name, type(module).__name__, shape, count, flops, field)
    return list(rows.values())


def several(tensors: Any) -> tuple:
    """The Tensors that a module takes or gives, as a tuple: one, or those of a tuple, list or dict, nested or not."""
    if isinstance(tensors, dict):
        tensors = tuple(tensors.values())
    if isinstance(tensors, list | tuple):
        return tuple(one for part in tensors for one in several(part))
    return (tensors,)


def functions_between(x: Any, y: Any) -> list[Function]:
    """The Functions that led from x to y, Tensors of one graph or tuples of them."""
    before = set(functions_before(several(x)))
    return [f for f in functions_before(several(y)) if f not in before]


def _flops(function):
    *arrays, result = function._used
    return cost.flops(function, tuple(arrays), result)


# ---- receptive fields ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """What a Tensor's units see: their field, and the height and width of their maps; None where there are none."""

    field: ReceptiveField
    hw: tuple | None

    def over_all(self, hw=None):
        """What units see that see all of these, in maps of `hw`."""
        return _Seen(self.field if self.hw is None else self.field.over_all(self.hw), hw)

    def joined(self, other):
        if self.hw == other.hw and self.field.stride == other.field.stride:
            return _Seen(self.field.joined(other.field), self.hw)
        a, b = self.over_all(self.hw), other.over_all(other.hw)  # (1,C,1,1) behind a gate, say
        return _Seen(a.field.joined(b.field), b.hw if self.hw in (None, (1, 1)) else self.hw)


def receptive_fields(x: Any, outputs: Any) -> dict:
    """{id of x, and of each Function that led from x to the outputs: the ReceptiveField of its output's units}.

    x: an image (1,C,H,W). Exact for windows, pads, crops, joins and all that works place by place. What else mixes
    positions (flattening, products along rows, a Function of your own) sees all positions of its input.
    """
    seen = {id(x): _Seen(ReceptiveField(), x.shape[2:])}
    for function in functions_before(outputs):
        sources = [t for t in function.inputs if _key(t) in seen]
        if sources:
            seen[id(function)] = _seen_through(function, sources, [seen[_key(t)] for t in sources])
    return {key: found.field for key, found in seen.items()}


def _key(tensor):
    return id(tensor if tensor.function is None else tensor.function)


def _seen_through(function, sources, seen):
    """What the output's units see, of what those of the `sources` see, the inputs that depend on the image."""
    (first, *others), result = seen, function._used[-1].shape
    maps = result[2:] if len(result) == 4 else None
    if isinstance(function, _WINDOWS) and sources[0] is function.inputs[0] and not others:
        return _Seen(first.field.through(*_window(function)), maps)
    if isinstance(function, shape.Cat) and function.dim in (2, 3) and maps:  # the widest, its borders repeated
        start, sizes = 0, [t.shape[function.dim] for t in function.inputs]
        widest = function.inputs[sizes.index(max(sizes))]
        if widest in sources:
            start = sum(sizes[: sizes.index(max(sizes))])
            before = (start, 0) if function.dim == 2 else (0, start)
            return _Seen(seen[sources.index(widest)].field.through((1, 1), padding=before), maps)
    if isinstance(function, shape.Pad) and maps:
        return _Seen(first.field.through((1, 1), padding=[before for before, _ in function.widths[2:]]), maps)
    if isinstance(function, index.GetItem) and maps and (crop := _crop(function.index, sources[0].shape)):
        starts, steps = crop
        return _Seen(first.field.through((1, 1), steps, [-start for start in starts]), maps)
    if isinstance(function, shape.Reshape) and first.hw and result[:2] == sources[0].shape[:2]:
        if maps in (None, first.hw):  # positions in a row, (1,C,H*W), or back from there
            return first if len(result) > 2 else first.over_all()
    if isinstance(function, F.MatMul) and sources == [function.inputs[1]] and sources[0].ndim == 3:
        return first  # over channels, positions being in a row
    if not isinstance(function, _PLACE_BY_PLACE) or {2, 3} & set(getattr(function, "axes", ())):
        return first.over_all(maps)
    for other in others:
        first = first.joined(other)
    return first


_WINDOWS = (F.Conv2d, F.MaxPool2d, F.AvgPool2d)
_PLACE_BY_PLACE = tuple(
    kind
    for module in (F.activation, F.convert, F.elementwise, F.choice, F.normalize)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Function) and kind.__module__ == module.__name__
) + (shape.Cat, broadcast.BroadcastTo, reduce.Sum, reduce.Max, reduce.Min)


def _window(function):
    """kernel, stride, padding and dilation of a convolution or a pool."""
    if isinstance(function, F.Conv2d):
        stride, padding, dilation, _ = function.geometry
        return function.inputs[1].shape[2:], stride, padding, dilation
    return function.geometry


def _crop(index, shape):
    """((first row, first column), (steps)) of a slicing of maps (1,C,H,W) by rows and columns forwards; None else."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [part for part in parts if not hasattr(part, "dtype")]:
        at = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (5 - len(parts))
    parts += [slice(None)] * (4 - len(parts))
    if len(parts) != 4 or not all(isinstance(part, slice) for part in parts):
        return None
    (top, _, down), (left, _, right) = (part.indices(n) for part, n in zip(parts[2:], shape[2:], strict=True))
    return ((top, left), (down, right)) if min(down, right) > 0 else None
