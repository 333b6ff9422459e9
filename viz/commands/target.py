"""What --target asks for: a class, a contrast of two classes, a layer, or a channel or neuron of a layer."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import models
import viz
from models.labels import AmbiguousClass
from models.mistakes import UserError
from models.model import Model, near_names

CLASS = "a class by name or index"
SCORE = f"{CLASS}, or A-B for class A's score less that of B"
ANYTHING = f"{SCORE}; or LAYER, LAYER:CHANNEL or LAYER:CHANNEL,ROW,COLUMN"


@dataclass(frozen=True)
class Target:
    """classes: the index of a class, or of two, whose scores are subtracted. layer, unit: in their place a layer's
    name, and (channel,), (channel, row, column), or None for its mean."""

    classes: tuple = ()
    layer: str | None = None
    unit: tuple | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of viz's functions."""
        if self.layer is not None:
            return {"layer": self.layer, "unit": self.unit}
        return {"target": self.classes[0] if len(self.classes) == 1 else viz.Contrast(*self.classes)}

    def name(self, class_name: Callable[[int], str], less: str = " less ", unit: str = ", unit ") -> str:
        """ "cat", "cat less dog", "relu3_1, unit 7". class_name: of an index. less, unit: put between."""
        if self.layer is None:
            return less.join(map(class_name, self.classes))
        return self.layer + (unit + "-".join(map(str, self.unit)) if self.unit else "")

    def objective(self, centre: bool = False) -> viz.Objective:
        """As an Objective. centre: of a channel, the neuron at the centre of its map in place of the mean."""
        if self.layer is None:
            first, *less = (viz.class_score(index) for index in self.classes)
            return first - less[0] if less else first
        if self.unit is None:
            return viz.energy(self.layer)
        return (viz.neuron if len(self.unit) == 3 or centre else viz.channel)(self.layer, *self.unit)


def read_target(model: Model, text: str) -> Target:
    """The Target that `text` stands for. Raises ValueError that says what is near."""
    name, colon, unit = text.rpartition(":")
    if colon and name in model:
        return Target(layer=name, unit=read_unit(unit))
    known = class_or_none(model, text)
    if text in model:
        if known is not None:
            raise UserError(f"{text!r} is a class and a layer: give the class's index, or a channel of it, {text}:0")
        return Target(layer=text)
    if known is not None:
        return Target((known,))
    return Target(contrast(model, text) or (a_class(model, text),))


def read_unit(text: str) -> tuple[int, ...]:
    """ "3" or "3,0,12" as a tuple: a channel, or channel, row and column."""
    if not re.fullmatch(r"\d+(,\d+,\d+)?", text):
        raise UserError(f"a unit is a channel, or channel,row,column, such as 3 or 3,0,12; got {text!r}")
    return tuple(int(number) for number in text.split(","))


def class_or_none(model: Model, text: str) -> int | None:
    """The index of a class, None where there is none, or several, of this name."""
    try:
        return models.find_class(model, text)
    except ValueError:
        return None


def is_name(model: Model, text: str) -> bool:
    """Whether a class is called so, or several are."""
    try:
        return models.find_class(model, text) is not None
    except AmbiguousClass:
        return True
    except ValueError:
        return False


def contrast(model: Model, text: str) -> tuple[int, int] | None:
    """(class, class) of "A-B", whose names may hold hyphens too; None if it is no contrast."""
    pairs = [(text[:i].strip(), text[i + 1 :].strip()) for i in range(1, len(text) - 1) if text[i] == "-"]
    known = [[class_or_none(model, name) for name in pair] for pair in pairs]
    both = [pair for pair in known if None not in pair]
    if len(both) > 1:
        raise UserError(f"--target {text} may be several contrasts: give the classes' indices")
    if both and both[0][0] == both[0][1]:
        raise UserError(f"--target {text}: a class less itself is nothing")
    begun = [pair for pair in pairs if any(is_name(model, name) for name in pair)]
    if not both and len(begun) == 1:
        for name in begun[0]:
            models.find_class(model, name)  # says what is near the one that is not known
    return tuple(both[0]) if both else None


def a_class(model: Model, text: str) -> int:
    """The index of a class; where there is none, the layers near it are named if there are some."""
    try:
        return models.find_class(model, text)
    except ValueError:
        name, *unit = text.partition(":")
        near = [one + "".join(unit) for one in near_names(model, name)[:3]]
        if not near and re.fullmatch(r":\d[\d,]*", "".join(unit)):
            raise UserError(f"there is no layer {name!r}: --target is LAYER:CHANNEL, or a class") from None
        if not near:
            raise
        raise UserError(f"there is no class or layer {text!r}, did you mean {' or '.join(near)}?") from None
