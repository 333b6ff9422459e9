"""The peephole: a look at the next layers of a chain, and one kernel for several of them where that changes nothing.

Two patterns are one pass over memory: a convolution, or several whose outputs are joined over channels, with the ReLU
or ReLU6 after it; and a convolution, its ReLU and a 2x2 max pool. Only where no graph is recorded and nobody asks for
what lies between: with a graph they are functions, for rules and observers to meet. Unless a plan replays the pass (see
plan.py): its graph is made when somebody looks, so of its steps the first pattern is one too, and on its way back a
max pool and the ReLU before it change places.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import kernels
from ..autograd import Function, is_recorded, looks_for_nan
from ..functional import activation, conv, pool, shape
from ..functional.conv import conv2d_arguments
from ..tensor import Tensor
from .observe import asked_for, seen
from .steps import Step


def in_turn(layers: Iterable[Any], x: Tensor) -> Any:
    """The output at x of [(name, layer)], one after the other; some by one kernel, where nobody looks between."""
    layers = list(layers)
    while layers:
        count, y = fused(layers, x)
        x = y if count else layers[0][1](x)
        del layers[: count or 1]
    return x


def fused(layers: list[Any], x: Tensor) -> tuple[int, Any]:
    """(how many, y): the output of the first layers of [(name, layer)] at x, done by one kernel; (0, None) for none."""
    if len(layers) < 2 or not isinstance(x, Tensor) or x.ndim != 4 or is_recorded(x) or looks_for_nan():
        return 0, None
    from .layers import ReLU, ReLU6

    rectifier = layers[1][1]
    convs = _convolutions(layers[0][1]) if _is(rectifier, ReLU) or _is(rectifier, ReLU6) else []
    if not convs or is_recorded(*(p for conv in convs for p in (conv.weight, conv.bias) if p is not None)):
        return 0, None
    count = 3 if len(layers) > 2 and len(convs) == 1 and _is(rectifier, ReLU) and _halves(layers[2][1]) else 2
    while count > 1 and asked_for([*convs, *(layer for _, layer in layers[: count - 1])]):
        count -= 1
    if count == 1:
        return 0, None

    checked = [conv2d_arguments(x, c.weight, c.bias, c.stride, c.padding, c.dilation, c.groups) for c in convs]
    sizes = {kernels.output_hw(x.shape[2:], w.shape[2:], *geometry[:3]) for (_, w, *_), geometry, _ in checked}
    if len(sizes) > 1 or any(crop is not None for *_, crop in checked) or x.dtype == np.float16:  # done in float32
        return 0, None
    kernel = kernels.conv2d_relu if count == 2 else kernels.conv2d_relu_max_pool
    named = {"top": 6} if _is(rectifier, ReLU6) else {}

    def forward(x: Tensor):
        several = Fused(kernel, [geometry for _, geometry, _ in checked], [len(p) > 2 for p, *_ in checked], named)
        y = several(x, *(p for parameters, *_ in checked for p in parameters[1:]))
        if 0 in y.shape[2:]:
            size = f"{y.shape[2:]}: the window does not fit the convolution's output of x of shape {x.shape}"
            raise ValueError(f"max_pool2d: the output would have size {size}")
        return y

    return count, seen(layers[count - 1][1], (x,), forward)


class Fused(Function):
    """What a kernel makes of x and the weights and biases of convolutions, in turn, each with or without a bias."""

    def __init__(self, kernel: Any, geometries: list, biased: list[bool], named: dict) -> None:
        self.kernel, self.geometries, self.biased, self.named = kernel, geometries, biased, named

    def forward(self, x: Any, *parameters: Any) -> Any:
        left = iter(parameters)
        pairs = [(next(left), next(left) if biased else None) for biased in self.biased]
        calls = [(*pair, *geometry) for pair, geometry in zip(pairs, self.geometries, strict=True)]
        return self.kernel(x, *calls, **self.named)


def fewer(steps: list[Step], spared: set[int]) -> list[Step]:
    """The steps of a pass, convolutions and their rectifier as one, with the same bits in all places but some of those
    that may be `spared`: of what the convolutions made, and what joined them, where no other step takes it."""
    made = {step.output: step for step in steps}
    takers = Counter(place for step in steps for place in step.taken)
    instead = {id(step): [step] for step in steps}
    for step in steps:
        if step.kind not in (activation.ReLU, activation.ReLU6):
            continue
        convs, joining = _convolved(step.inputs[0], made)
        between = [*convs, *joining]
        alone = all(takers[one.output] == 1 and one.output in spared for one in between)
        alike = len({one.inputs[0] for one in convs}) == 1 and between[-1].strides == step.strides
        if not alone or not alike:
            continue
        instead |= {id(one): [] for one in (step, *between)}
        instead[id(max(convs, key=steps.index))] = [_as_one(convs, step)]
    return [one for step in steps for one in instead[id(step)]]


def masked_before(back: list[Step], pass_: list[Step]) -> list[Step]:
    """The steps of the way back from a pass, in which a rectifier's mask comes before its max pool's scattering and not
    behind it, with the same bits: the winner is positive where the window's maximum is, which is less to look at."""
    pools = {step.found["winner"]: step for step in pass_ if step.kind is pool.MaxPool2d and "winner" in step.found}
    at = {step.output: i for i, step in enumerate(back)}
    takers = Counter(place for step in back for place in step.taken)
    back = list(back)
    for j, mask in enumerate(back):
        masks = mask.kind in (activation.ReLUGrad, activation.ReLU6Grad)
        if not masks or mask.inputs[0] not in at or takers[mask.inputs[0]] != 1:
            continue
        i = at[mask.inputs[0]]
        scatter = back[i]
        pooled = pools.get(scatter.given["winner"]) if scatter.kind is pool.WindowScatter else None
        if pooled is not None and pooled.inputs[0] == mask.inputs[1] and scatter.strides == mask.strides:
            back[i] = mask.moved([scatter.inputs[0], pooled.output], scatter)
            back[j] = scatter.moved([scatter.output], mask)
    return back


def _convolved(place, made):
    """(convolutions, [what joins them] or []), the steps that make what is in a place; ([], []) if others do."""
    last = made.get(place)
    joining = [last] if last is not None and last.kind is shape.Cat and last.state == {"dim": 1} else []
    convs = [made.get(below) for below in last.inputs] if joining else [last]
    plain = all(one is not None and one.kind is conv.Conv2d and one.state.keys() == {"geometry"} for one in convs)
    return (convs, joining) if plain else ([], [])


def _as_one(convs, rectifier):
    """The step that stands for convolutions of one input and for their rectifier."""
    geometries, biased = [one.state["geometry"] for one in convs], [len(one.inputs) > 2 for one in convs]
    named = {"top": 6} if rectifier.kind is activation.ReLU6 else {}
    inputs = [convs[0].inputs[0], *(place for one in convs for place in one.inputs[1:])]
    return Step(Fused(kernels.conv2d_relu, geometries, biased, named), inputs, rectifier.output, {}, {})


def _convolutions(layer):
    """The convolutions that a layer is: itself, or the branches that it joins; none of any other."""
    from .layers import Conv2d
    from .module import Parallel

    convs = [branch for _, branch in layer.children()] if _is(layer, Parallel) else [layer]
    return convs if all(_is(conv, Conv2d) for conv in convs) else []


def _is(layer, kind):
    """Whether a layer is of this very kind, with its own forward."""
    return type(layer) is kind and "forward" not in vars(layer)


def _halves(layer):
    """Whether a layer is a max pool of 2x2 windows that do not overlap."""
    from .layers import MaxPool2d

    return _is(layer, MaxPool2d) and layer.describe() == MaxPool2d(2).describe()
