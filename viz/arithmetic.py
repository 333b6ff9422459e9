"""The arithmetic of a single place: which numbers a unit of a layer is computed from, and what becomes of it.

    found = viz.arithmetic(model, image, "conv3_2", (17, 12, 9))
    found.terms[0].patch * found.terms[0].kernel        # the strongest input channel's products
    found.summed + found.bias == found.value            # to rounding

One pass is observed: each layer's own input and output are there, and who made the input. What is computed here anew is
a handful of products, so that a convolution is seen to be what it is.

Letters: O output channels, C input channels of the group, KH KW of a kernel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.nn import Module
from minigrad.nn.observe import observed
from minigrad.tools.summary import Calls
from models.layers import Preprocess

from .target import as_image
from .typing import Images

ALIKE = (nn.Identity, nn.Dropout)  # what goes in comes out
WINDOWS = (nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class Term:
    """What one input channel adds: the sum of patch * kernel, (KH,KW) each; of a pool the patch alone.

    channel: the input's. row, column: of the patch's first number in the input, which may lie in the padding; step:
    rows and columns from one number to the next. Numbers in the padding are 0, of a max pool -inf.
    """

    channel: int
    row: int
    column: int
    patch: np.ndarray
    kernel: np.ndarray | None
    step: tuple = (1, 1)

    @property
    def sum(self) -> float:
        return float(self.patch.sum() if self.kernel is None else (self.patch * self.kernel).sum())


@dataclass(frozen=True)
class Input:
    """A single number that goes in: whose, `layer` being None where that is not known, and what it is."""

    layer: str | None
    unit: tuple
    value: float


@dataclass(frozen=True)
class Arithmetic:
    """How the value of one unit comes about.

    layer, unit: whose, (channel, row, column) or (feature,). kind: the layer's class. value: what the network had.
    source: the layer that made the input, "" for the photograph. terms: of the input, those of the largest sums first.
    rest: the sum of the terms beyond these, of which there are `more`. bias: or None. inputs: where the layer takes
    single numbers, whose these are. note: what the layer does with them, in words.
    """

    layer: str
    unit: tuple
    kind: str
    value: float
    source: str
    note: str
    terms: list = field(default_factory=list)
    rest: float = 0.0
    more: int = 0
    bias: float | None = None
    inputs: list = field(default_factory=list)

    @property
    def summed(self) -> float:
        """The sum over all terms."""
        return sum(term.sum for term in self.terms) + self.rest


@dataclass(frozen=True)
class Use:
    """A unit that takes the one in question: what of its value, before any rectifier, is due to it; None where that is
    no sum."""

    layer: str
    unit: tuple
    part: float | None
    value: float


def arithmetic(model: Module, image: Images, layer: str, unit: tuple, count: int = 4) -> Arithmetic:
    """How the value of `unit` of `layer` is computed from the layer's input, for one image (1,3,H,W).

    unit: (channel, row, column), or (feature,) of a layer without positions. count: how many terms are kept; the rest
    is summed. Convolutions, linear layers, pools, batch norms, rectifiers and other layers that work place by place,
    sums and branches are taken apart; others say what they are.
    """
    seen = _Pass(model, image)
    x, y = seen.of(layer)
    unit = _checked(layer, unit, y)
    module, value, source = model[layer], float(y[(0, *unit)]), seen.source(layer)
    about = {"layer": layer, "unit": unit, "kind": type(module).__name__, "value": value, "source": source}
    if isinstance(module, nn.Conv2d):
        return Arithmetic(**about, **_of_convolution(module, x[0], unit, count))
    if isinstance(module, nn.Linear):
        return Arithmetic(**about, **_of_linear(module, x[0], unit, count))
    if isinstance(module, WINDOWS):
        return Arithmetic(**about, **_of_window(module, x[0], unit))
    return Arithmetic(**about, **_of_single(seen, layer, module, x, y, unit))


def uses(model: Module, image: Images, layer: str, unit: tuple, count: int = 6) -> list[Use]:
    """Who takes `unit` of `layer` next, for one image (1,3,H,W): the units to whose value it adds most, at most `count`
    for each layer that takes this one's output.
    """
    seen = _Pass(model, image)
    unit = _checked(layer, unit, seen.of(layer)[1])
    found = [use for taker in seen.takers(layer) for use in _uses_by(seen, model[taker], taker, unit, count)]
    return found + seen.joined(layer, unit)


# ---- one pass --------------------------------------------------------------------------------------------------------


class _Pass:
    """What went in and out of every layer, (name, arrays), and who made what went in."""

    def __init__(self, model: Module, image: Images) -> None:
        x, self.calls = as_image(model, image), Calls()
        if len(x) != 1:
            raise ValueError(f"arithmetic: one image at a time, got {len(x)}")
        with mg.no_grad(), observed(model, self.calls):
            model(x)
        self.made, self.seen = {id(x): ""}, {}
        for name, module, before, after in self.calls.seen:  # inner modules before outer ones
            if isinstance(after, mg.Tensor) and name not in self.seen:
                self.seen[name] = module, before, after
                self.made.setdefault(id(after), name)

    def of(self, layer: str) -> tuple:
        """(x, y): arrays of a layer's input, or a tuple of them, and of its output."""
        if layer not in self.seen:
            raise ValueError(f"arithmetic: {layer!r} is no layer that gives one output in this network")
        _, before, after = self.seen[layer]
        return self._arrays(before), after.numpy()

    def _arrays(self, tensors: Any) -> Any:
        return tuple(map(self._arrays, tensors)) if isinstance(tensors, tuple) else tensors.numpy()

    def source(self, layer: str) -> str | None:
        """The name of the layer whose output goes in; "" for the image, None where that is not known."""
        before = self.seen[layer][1]
        return self.made.get(id(before)) if isinstance(before, mg.Tensor) else None

    def joined(self, layer: str, unit: tuple) -> list:
        """Uses by branches that are concatenated or added, of which this layer's output is one's."""
        mine, found = id(self.seen[layer][2]), []
        for name, (module, _, result) in self.seen.items():
            if type(module) not in (nn.Parallel, nn.Sum, nn.Product):
                continue
            first = 0
            for child, _ in module.children():
                after = self.seen.get(f"{name}.{child}", (None, None, None))[2]
                place = (first + unit[0], *unit[1:])
                if after is not None and id(after) == mine:
                    found.append(Use(name, place, None, float(result.numpy()[(0, *place)])))
                if type(module) is nn.Parallel and after is not None:
                    first += after.shape[1]
        return found

    def takers(self, layer: str) -> list:
        """The layers that take this one's output, but for the containers of such."""
        after = id(self.seen[layer][2])
        return [
            name
            for name, (module, before, result) in self.seen.items()
            if after in map(id, before if isinstance(before, tuple) else (before,))
            and id(result) != after
            and not dict(module.children())
        ]


def _checked(layer: str, unit: tuple, y: np.ndarray) -> tuple:
    unit = tuple(int(number) for number in unit)
    if len(unit) != y.ndim - 1 or not all(0 <= at < size for at, size in zip(unit, y.shape[1:], strict=True)):
        raise ValueError(f"arithmetic: {layer!r} gives {y.shape[1:]}, it has no unit {unit}")
    return unit


# ---- layer by layer --------------------------------------------------------------------------------------------------


def _of_convolution(conv: Module, x: Any, unit: tuple, count: int) -> dict:
    """x (C,H,W). The value is the sum over input channels of patch * kernel, and the bias."""
    channel, row, column = unit
    stride, padding, dilation = (F.pair("conv2d", name, getattr(conv, name), 0) for name in _GEOMETRY)
    kernels = conv.weight.numpy()[channel]  # (C/groups,KH,KW)
    first = channel // (conv.out_channels // conv.groups) * len(kernels)
    corner = row * stride[0] - padding[0], column * stride[1] - padding[1]
    patches = _patch(x[first : first + len(kernels)], corner, kernels.shape[1:], dilation, 0.0)
    terms = [
        Term(first + n, *corner, patch, kernel, dilation)
        for n, (patch, kernel) in enumerate(zip(patches, kernels, strict=True))
    ]
    return _sorted(terms, count) | {
        "bias": None if conv.bias is None else float(conv.bias.numpy()[channel]),
        "note": "the sum of all products of a patch of each input channel with its kernel, and the bias",
    }


_GEOMETRY = ("stride", "padding", "dilation")


def _of_linear(linear: Module, x: Any, unit: tuple, count: int) -> dict:
    """x (C,). A term is a single product."""
    weights = linear.weight.numpy()[unit[0]]
    products = weights * x
    best = np.argsort(-abs(products), kind="stable")[:count]
    terms = [Term(int(c), 0, 0, x[c].reshape(1, 1), weights[c].reshape(1, 1)) for c in best]
    return {
        "terms": terms,
        "rest": float(products.sum(dtype=np.float64)) - sum(term.sum for term in terms),
        "more": len(products) - len(terms),
        "bias": None if linear.bias is None else float(linear.bias.numpy()[unit[0]]),
        "note": "the sum of all inputs times their weights, and the bias",
    }


def _of_window(pool: Module, x: Any, unit: tuple) -> dict:
    """x (C,H,W)."""
    channel, row, column = unit
    given = pool.describe()
    size = F.pair("pool", "kernel_size", given["kernel_size"], 1)
    stride = F.pair("pool", "stride", given["stride"] if given.get("stride") is not None else size, 1)
    padding = F.pair("pool", "padding", given.get("padding", 0), 0)
    dilation = F.pair("pool", "dilation", given.get("dilation", 1), 1)
    largest = isinstance(pool, nn.MaxPool2d)
    corner = row * stride[0] - padding[0], column * stride[1] - padding[1]
    patch = _patch(x[channel : channel + 1], corner, size, dilation, -np.inf if largest else 0.0)[0]
    note = "the largest of these numbers" if largest else "the mean of these numbers"
    return {"terms": [Term(channel, *corner, patch, None, dilation)], "note": note}


def _of_single(seen: _Pass, layer: str, module: Module, x: Any, y: Any, unit: tuple) -> dict:
    """Layers that take single numbers; of others what they are."""
    source = seen.source(layer)
    if isinstance(x, tuple):
        return _of_several(seen, layer, x, y, unit)
    if isinstance(module, nn.Flatten) and x.ndim == 4:
        place = tuple(int(n) for n in np.unravel_index(unit[0], x.shape[1:]))
        return _one(source, place, x, "the same number, where all stand in one row")
    if isinstance(module, nn.Parallel):
        return _of_branches(seen, layer, module, unit)
    if isinstance(module, nn.AdaptiveAvgPool2d) and y.shape[2:] == (1, 1):
        patch = x[0, unit[0]]
        return {"terms": [Term(unit[0], 0, 0, patch, None)], "note": f"the mean of all {patch.size} numbers"}
    if isinstance(module, Preprocess) and x.shape == y.shape:
        channel = unit[0] if module.channel_order == "RGB" else 2 - unit[0]
        place, mean, std = (channel, *unit[1:]), module.mean[unit[0]], module.std[unit[0]]
        return _one(source, place, x, f"({module.scale:g} times the pixel - {mean:.4g}) / {std:.4g}")
    if isinstance(module, nn.BatchNorm2d):
        c = unit[0]
        spread = float(np.sqrt(module.running_var.numpy()[c] + module.eps))
        mean, weight, bias = (float(t.numpy()[c]) for t in (module.running_mean, module.weight, module.bias))
        note = f"(the number - {mean:.4g}) / {spread:.4g} times {weight:.4g}, and {bias:.4g}"
        return _one(source, unit, x, note)
    if x.shape == y.shape and not dict(module.children()) and _place_by_place(module):
        return _one(source, unit, x, _in_words(module))
    return {"note": "it is not taken apart here: choose a layer inside it, or the one before"}


def _one(source: str | None, place: tuple, x: Any, note: str) -> dict:
    return {"inputs": [Input(source, place, float(x[(0, *place)]))], "note": note}


def _of_several(seen: _Pass, layer: str, x: Any, y: Any, unit: tuple) -> dict:
    """A layer that is given several Tensors, all of the output's shape: the numbers at the same place."""
    if any(isinstance(one, tuple) or one.shape != y.shape for one in x):
        return {"note": "of several inputs of different shapes: it is not taken apart"}
    names = [seen.made.get(id(tensor)) for tensor in seen.seen[layer][1]]
    found = [Input(name, unit, float(one[(0, *unit)])) for name, one in zip(names, x, strict=True)]
    return {"inputs": found, "note": "made of these numbers"}


def _place_by_place(module: Module) -> bool:
    return isinstance(module, (*ALIKE, nn.ReLU)) or type(module).__module__.endswith("nn.activations")


def _in_words(module: Module) -> str:
    if isinstance(module, ALIKE):
        return "the same number"
    if isinstance(module, nn.ReLU):
        return "max(the number, 0)"
    return f"{type(module).__name__.lower()} of the number"


def _of_branches(seen: _Pass, layer: str, module: Module, unit: tuple) -> dict:
    """Concatenated branches: the one that this channel is of; added ones: the number of each."""
    names = [f"{layer}.{name}" for name, _ in module.children()]
    outputs = {name: seen.of(name)[1] for name in names if name in seen.seen}
    if len(outputs) < len(names):
        return {"note": "branches, not all of which are layers of their own here"}
    if type(module) is nn.Parallel:
        first = 0
        for name, y in outputs.items():
            if unit[0] < first + y.shape[1]:
                place = (unit[0] - first, *unit[1:])
                return _one(name, place, y, f"the same number, of branch {name}")
            first += y.shape[1]
    if type(module) is nn.Sum and len({y.shape for y in outputs.values()}) == 1:
        return {"inputs": [Input(name, unit, float(y[(0, *unit)])) for name, y in outputs.items()], "note": "their sum"}
    return {"note": "branches that are joined in a way of their own"}


def _patch(x: Any, corner: Sequence[int], size: Sequence[int], dilation: Sequence[int], outside: float) -> np.ndarray:
    """(C,KH,KW) of x (C,H,W) from a corner that may lie outside."""
    rows = corner[0] + dilation[0] * np.arange(size[0])
    columns = corner[1] + dilation[1] * np.arange(size[1])
    inside = np.outer((rows >= 0) & (rows < x.shape[1]), (columns >= 0) & (columns < x.shape[2]))
    found = x[:, np.clip(rows, 0, x.shape[1] - 1)[:, None], np.clip(columns, 0, x.shape[2] - 1)]
    return np.where(inside, found, x.dtype.type(outside))


def _sorted(terms: list, count: int) -> dict:
    terms = sorted(terms, key=lambda term: -abs(term.sum))
    return {"terms": terms[:count], "rest": sum(term.sum for term in terms[count:]), "more": len(terms[count:])}


# ---- who takes it ----------------------------------------------------------------------------------------------------


def _uses_by(seen: _Pass, module: Module, taker: str, unit: tuple, count: int) -> list:
    x, y = seen.of(taker)
    value = None if isinstance(x, tuple) else x[(0, *unit)]
    if isinstance(module, nn.Conv2d):
        return _uses_by_convolution(module, taker, y[0], unit, value, count)
    if isinstance(module, nn.Linear) and len(unit) == 1:
        parts = module.weight.numpy()[:, unit[0]] * value
        best = np.argsort(-abs(parts), kind="stable")[:count]
        return [Use(taker, (int(o),), float(parts[o]), float(y[0, o])) for o in best]
    if isinstance(module, nn.Flatten) and len(unit) == 3:
        at = int(np.ravel_multi_index(unit, x.shape[1:]))
        return [Use(taker, (at,), None, float(y[0, at]))]
    if isinstance(module, WINDOWS):
        found = [
            Use(taker, (unit[0], i, j), None, float(y[0, unit[0], i, j]))
            for i, j in np.ndindex(*y.shape[2:])
            if _takes(_of_window(module, x[0], (unit[0], i, j))["terms"][0], unit)
        ]
        return found[:count]
    if isinstance(module, nn.AdaptiveAvgPool2d) and y.shape[2:] == (1, 1):
        return [Use(taker, (unit[0], 0, 0), float(value) / (x.shape[2] * x.shape[3]), float(y[0, unit[0], 0, 0]))]
    if all(one.shape == y.shape for one in (x if isinstance(x, tuple) else (x,))):
        return [Use(taker, unit, None, float(y[(0, *unit)]))]
    return []


def _takes(term: Term, unit: tuple) -> bool:
    """Whether a window's patch holds a unit."""
    return all(
        0 <= at - first < size * step and (at - first) % step == 0
        for at, first, size, step in zip(unit[1:], (term.row, term.column), term.patch.shape, term.step, strict=True)
    )


def _uses_by_convolution(conv: Module, taker: str, y: Any, unit: tuple, value: float, count: int) -> list:
    """The products of the unit's value with every weight that meets it."""
    channel, row, column = unit
    stride, padding, dilation = (F.pair("conv2d", name, getattr(conv, name), 0) for name in _GEOMETRY)
    weight = conv.weight.numpy()
    each, group = weight.shape[1], channel // weight.shape[1]
    outputs = np.arange(conv.out_channels // conv.groups) + group * (conv.out_channels // conv.groups)
    found = []
    for u, v in np.ndindex(*weight.shape[2:]):
        at = row + padding[0] - u * dilation[0], column + padding[1] - v * dilation[1]
        if any(n % s or not 0 <= n // s < size for n, s, size in zip(at, stride, y.shape[1:], strict=True)):
            continue
        i, j = at[0] // stride[0], at[1] // stride[1]
        parts = weight[outputs, channel - group * each, u, v] * value
        found += [
            Use(taker, (int(o), i, j), float(part), float(y[o, i, j])) for o, part in zip(outputs, parts, strict=True)
        ]
    return sorted(found, key=lambda use: -abs(use.part))[:count]
