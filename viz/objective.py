"""What an image is optimised for: a score of named activations, one number for each image, to be made large.

Objectives can be added and scaled: `class_score("zebra") + 0.1 * channel("relu3_1", 12)`; a minus sign minimises. All
that one image needs is computed in one pass, which stops at the last layer that is named.
"""

from minigrad import functional as F

from .sizes import activations
from .target import as_logits, classes, log_probabilities, logits_layer, pick, unit_activation

LOGITS = None  # in an Objective's layers, and as the key of its activations: the class scores, before any softmax


class Objective:
    """A named score. `layers`: what it looks at; `score(model, {layer: Tensor})` gives a Tensor (N,)."""

    def __init__(self, name, layers, score):
        self.name, self.layers, self.score = name, tuple(layers), score

    def __add__(self, other):
        def score(model, activations):
            return self.score(model, activations) + other.score(model, activations)

        return Objective(f"{self.name} + {other.name}", self.layers + other.layers, score)

    def __mul__(self, weight):
        return Objective(f"{weight:g} * {self.name}", self.layers, lambda *seen: self.score(*seen) * float(weight))

    __rmul__ = __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other


def class_score(target):
    """The raw score of a class (index or name): its logit, before the softmax (Simonyan et al. 2013, section 2).

    A probability can also be raised by lowering the other classes; the score cannot.
    """

    def score(model, activations):
        return pick(activations[LOGITS], classes(model, activations[LOGITS], target))

    return Objective(f"class {target}", [LOGITS], score)


def log_probability(target):
    """The logarithm of a class's probability, which is minus the cross-entropy with that class.

    Where a network has one output, the score itself: its probability would always be 1.
    """

    def score(model, activations):
        y = activations[LOGITS]
        return pick(log_probabilities(y), classes(model, y, target))

    return Objective(f"log probability of class {target}", [LOGITS], score)


def channel(layer, index):
    """The mean activation of one channel of a layer over its positions (Olah et al. 2017)."""
    return Objective(f"{layer}[{index}]", [layer], lambda _, found: unit_activation(found[layer], index))


def neuron(layer, index, row=None, column=None):
    """The activation of channel `index` of a layer at one position; by default at the centre of the map."""

    def score(_, found):
        a = found[layer]
        if a.ndim != 4:
            return unit_activation(a, index)
        place = (a.shape[2] // 2 if row is None else row, a.shape[3] // 2 if column is None else column)
        return unit_activation(a, (index, *place))

    where = ", ".join("centre" if i is None else str(i) for i in (row, column))
    return Objective(f"{layer}[{index}, {where}]", [layer], score)


def energy(layer):
    """The mean square of all activations of a layer: DeepDream's "more of whatever is there" (Mordvintsev 2015)."""
    return Objective(
        f"energy of {layer}", [layer], lambda _, found: F.square(found[layer]).mean(tuple(range(1, found[layer].ndim)))
    )


def as_objective(objective):
    """`objective` itself, or the class score that an index or a name stands for."""
    return objective if isinstance(objective, Objective) else class_score(objective)


def evaluate(model, objectives, x):
    """(N,) Tensor: the score of each image of x, a Tensor (N,3,H,W), by the one objective or by its own of N."""
    if len(objectives) not in (1, len(x)):
        raise ValueError(f"{len(objectives)} objectives for {len(x)} images: give one, or one for each image")
    last = logits_layer(model)
    layers = {layer for objective in objectives for layer in objective.layers}
    found = activations(model, x, [last if layer is LOGITS else layer for layer in layers])
    if LOGITS in layers:
        found[LOGITS] = as_logits(found[last])
    if len(objectives) == 1:
        return objectives[0].score(model, found)
    return F.stack([objective.score(model, found)[i] for i, objective in enumerate(objectives)])
