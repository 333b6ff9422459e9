"""What is explained, and what an image is optimised for: one number for each image, a Tensor with a graph.

A target of an attribution, a check or an attack is

    a class         its score, by index or name, or a Contrast of two; a sequence with one for each image; None for each
                    image's top class
    an Objective    a score of named activations, made by the functions below. They can be added and scaled:
                    `class_score("zebra") - class_score("horse")`; a minus sign minimises.
    a function      of what the network gives, whatever that is: f(outputs) -> (N,) Tensor. outputs is a Tensor, or the
                    tuple or dict that the network's forward returns; f scores each image by itself, in batches of any
                    size: `lambda y: y["depth"][:, 0, 100, 80]`, or `lambda e: (e * other).sum(1)`.

All that one image needs is computed in one pass, which stops at the last layer that is named.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad import functional as F
from minigrad.nn import Module
from minigrad.tools.summary import several

from .sizes import activations
from .target import as_logits, classes, explained_classes, log_probabilities, logits_layer, pick, unit_activation
from .typing import Target, Unit

# In an Objective's layers, and as keys of its activations:
LOGITS = None  # the class scores, before any softmax
OUTPUT = ""  # what the network gives, as it is


class Objective:
    """A named score. `layers`: what it looks at; `score(model, {layer: Tensor})` gives a Tensor (N,)."""

    def __init__(self, name: str, layers: list[Any] | tuple[Any, ...], score: Callable[..., Any]) -> None:
        self.name, self.layers, self.score = name, tuple(layers), score

    def __add__(self, other: "Objective") -> "Objective":
        def score(model: Module, activations: dict[str, Tensor]) -> Tensor:
            return self.score(model, activations) + other.score(model, activations)

        return Objective(f"{self.name} + {other.name}", self.layers + other.layers, score)

    def __mul__(self, weight: float) -> "Objective":
        return Objective(f"{weight:g} * {self.name}", self.layers, lambda *seen: self.score(*seen) * float(weight))

    __rmul__ = __mul__

    def __neg__(self) -> "Objective":
        return self * -1

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -other


def class_score(target: int | str) -> Objective:
    """The raw score of a class (index or name): its logit, before the softmax (Simonyan et al. 2013, section 2).

    A probability can also be raised by lowering the other classes; the score cannot.
    """

    def score(model: Module, activations: dict[str, Tensor]) -> Tensor:
        return pick(activations[LOGITS], explained_classes(model, activations[LOGITS], target))

    return Objective(f"class {target}", [LOGITS], score)


def log_probability(target: int | str) -> Objective:
    """The logarithm of a class's probability, which is minus the cross-entropy with that class.

    Where a network has one output, the score itself: its probability would always be 1.
    """

    def score(model: Module, activations: dict[str, Tensor]) -> Tensor:
        y = activations[LOGITS]
        return pick(log_probabilities(y), classes(model, y, target))

    return Objective(f"log probability of class {target}", [LOGITS], score)


def channel(layer: str, index: int) -> Objective:
    """The mean activation of one channel of a layer over its positions (Olah et al. 2017)."""
    return Objective(f"{layer}[{index}]", [_named(layer)], lambda _, found: unit_activation(found[layer], index))


def neuron(layer: str, index: int, row: int | None = None, column: int | None = None) -> Objective:
    """The activation of channel `index` of a layer at one position; by default at the centre of the map."""

    def score(_: Module, found: dict[str, Tensor]) -> Tensor:
        a = found[layer]
        if a.ndim != 4:
            return unit_activation(a, index)
        place = (a.shape[2] // 2 if row is None else row, a.shape[3] // 2 if column is None else column)
        return unit_activation(a, (index, *place))

    where = ", ".join("centre" if i is None else str(i) for i in (row, column))
    return Objective(f"{layer}[{index}, {where}]", [_named(layer)], score)


def energy(layer: str) -> Objective:
    """The mean square of all activations of a layer: DeepDream's "more of whatever is there" (Mordvintsev 2015)."""

    def score(_: Module, found: dict[str, Tensor]) -> Tensor:
        a = F.cast(found[layer], np.promote_types(found[layer].dtype, np.float32))  # squares of float16 soon overflow
        return F.square(a).mean(tuple(range(1, a.ndim)))

    return Objective(f"energy of {layer}", [_named(layer)], score)


def of_output(function: Callable[..., Any]) -> Objective:
    """A function of what the network gives, one number for each image, as an Objective."""

    def score(_: Module, found: dict[str, Tensor]) -> Tensor:
        y, count = function(found[OUTPUT]), len(several(found[OUTPUT])[0])
        if not isinstance(y, mg.Tensor) or y.shape != (count,):
            got = f"shape {y.shape}" if isinstance(y, mg.Tensor) else type(y).__name__
            raise ValueError(
                f"the target's function must give one number for each image, a Tensor ({count},), got {got}"
            )
        return y

    return Objective(getattr(function, "__name__", "function"), [OUTPUT], score)


def as_objective(objective: Target | None) -> Objective:
    """`objective` itself, or that of a function of the output, or of the class that an index or a name stands for."""
    if isinstance(objective, Objective):
        return objective
    return of_output(objective) if callable(objective) else class_score(objective)


def explained(target: Target | None = None, layer: str | None = None, unit: Unit | None = None) -> Objective:
    """The Objective of a target, or of a layer and unit: see `score`."""
    if layer is None:
        if unit is not None:
            raise ValueError(f"unit {unit!r} needs the name of its layer: give layer as well")
        return as_objective(target)
    if target is not None:
        raise ValueError(f"give a target or a layer to explain, not both (target {target!r}, layer {layer!r})")
    return Objective(f"{layer}, {unit}", [_named(layer)], lambda _, found: unit_activation(found[layer], unit))


def _named(layer: str) -> str:
    if not isinstance(layer, str):
        raise ValueError(f"a layer is given by its name, got {layer!r}")
    return layer


# ---- in a pass -------------------------------------------------------------------------------------------------------


def score(
    model: Module, x: Tensor, target: Target | None = None, layer: str | None = None, unit: Unit | None = None
) -> Tensor:
    """(N,) Tensor: what is explained, for each image of x, a Tensor (N,3,H,W).

    target: a class, an Objective or a function of the output: see the top of this file.
    layer, unit: in the target's place, a layer's mean activation over channels and positions; with unit a channel, the
        mean of that channel over positions; with unit (channel, row, column), that neuron. What lies behind the layer
        is not computed.

    Raises ValueError for a class, layer or unit that the model does not have.
    """
    return evaluate(model, [explained(target, layer, unit)], x)


def looked_at(model: Module, x: Tensor, layers: Any) -> dict[Any, Any]:
    """{layer: its output} of one pass of x, a Tensor (N,3,H,W), for names of layers, LOGITS and OUTPUT."""
    last = logits_layer(model)
    found = activations(model, x, [last if layer is LOGITS else layer for layer in layers])
    return found | {LOGITS: as_logits(model, found[last])} if LOGITS in layers else found


def evaluate(model: Module, objectives: list[Objective], x: Tensor) -> Tensor:
    """(N,) Tensor: the score of each image of x, a Tensor (N,3,H,W), by the one objective or by its own of N."""
    if len(objectives) not in (1, len(x)):
        raise ValueError(f"{len(objectives)} objectives for {len(x)} images: give one, or one for each image")
    found = looked_at(model, x, {layer for objective in objectives for layer in objective.layers})
    if len(objectives) == 1:
        return objectives[0].score(model, found)
    return F.stack([objective.score(model, found)[i] for i, objective in enumerate(objectives)])
