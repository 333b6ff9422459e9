"""Steps: the functions of a pass noted as it runs, to be run again on other arrays (see plan.py, whose half this is).

Arrays have places, numbers: first those that the pass begins with, then each as it is made. A step says from which
places its function takes and where it puts. An array that nobody knows the origin of ends all: it might depend on
numbers of this pass.
"""

import copy
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Function
from ..tensor import Tensor


class Step:
    """One function of a pass, and the places of arrays: of its inputs and its output; {attribute: place} of those
    `given` to it before it ran and those that its `forward` has `found`; and those that no later step needs.
    `strides`: how its output lay in memory, which sums that are taken of it follow."""

    def __init__(self, function, inputs, output, given, found, strides=None):
        self.ran, self.inputs, self.output, self.strides = function, inputs, output, strides
        self.given, self.found, self.spent = given, found, ()
        state = {name: value for name, value in vars(function).items() if name not in given and name not in found}
        self.kind, self.state = type(function), state
        self._shared = None if given or found else self.function([])

    def function(self, values: list) -> Any:
        """The function as it was before it ran."""
        function = object.__new__(self.kind)
        vars(function).update(self.state)
        vars(function).update({name: values[place] for name, place in self.given.items()})
        return function

    @property
    def taken(self) -> list[int]:
        """The places of all arrays that it takes."""
        return [*self.inputs, *self.given.values()]

    def moved(self, inputs: list[int], to: "Step") -> "Step":
        """This step at the place of another, of other inputs."""
        step = copy.copy(self)
        step.inputs, step.output, step.spent = inputs, to.output, to.spent
        return step

    def run(self, values: list) -> None:
        function = self.function(values) if self._shared is None else self._shared
        result = function.forward(*[values[place] for place in self.inputs])
        values[self.output] = np.asarray(result) if isinstance(result, np.generic) else result
        for name, place in self.found.items():
            values[place] = vars(function)[name]
        for place in self.spent:
            values[place] = None


class Note:
    """An observer that notes the steps of a pass, `sound` as long as it knows where all their arrays come from."""

    def __init__(self, arrays: list) -> None:
        self.steps: list[Step] = []
        self.sound, self.count = True, 0
        self.constants: dict[int, Any] = {}  # {place: array} of what was made of numbers
        self._places: dict[int, tuple] = {}  # {id of an array: (weak reference, place)}: noting takes no more memory
        for array in arrays:
            self._new(array)

    def _new(self, array):
        self._places[id(array)] = weakref.ref(array), self.count
        self.count += 1
        return self.count - 1

    def place(self, array: Any) -> int:
        """Where an array of the pass is; -1 where nobody knows."""
        reference, place = self._places.get(id(array), (None, -1))
        known = reference is not None and reference() is array
        self.sound = self.sound and known
        return place if known else -1

    def constant(self, array: Any) -> None:
        """An array that was made of numbers (see autograd.constant)."""
        self.constants[self._new(array)] = array

    def forward(self, function: Function, arrays: tuple) -> Any:
        """Run function.forward(*arrays)."""
        before = vars(function).copy()
        inputs = [self.place(array) for array in arrays]
        given = {name: self.place(value) for name, value in before.items() if isinstance(value, np.ndarray)}
        result = function.forward(*arrays)
        result = np.asarray(result) if isinstance(result, np.generic) else result
        new = {name: value for name, value in vars(function).items() if value is not before.get(name)}
        found = {name: self._new(value) for name, value in new.items() if isinstance(value, np.ndarray)}
        self.sound = self.sound and not found.keys() & given.keys() and not any(map(_hides, vars(function).values()))
        output = self._new(result)
        if not given and not found and self.constants.keys() >= {*inputs}:
            self.constants[output] = result
        else:
            self.steps.append(Step(function, inputs, output, given, found, result.strides))
        return result

    def vjp(self, function: Function, vjp: Callable[..., Any], g: Any) -> Any:
        """Run vjp(g), whose functions are noted."""
        return vjp(g)

    def finished(self, kept: set[int]) -> list:
        """The places, empty but for constants. Each step will free what no later one needs, but for those `kept`."""
        for step in reversed(self.steps):
            del step.ran
            used = {*step.taken, step.output, *step.found.values()}
            step.spent, kept = tuple(used - kept), kept | used
        return [self.constants.get(place) for place in range(self.count)]


def _hides(value):
    """Whether an attribute holds arrays where a step does not look for them."""
    if isinstance(value, list | tuple):
        return any(isinstance(one, np.ndarray) or _hides(one) for one in value)
    return isinstance(value, Tensor)
