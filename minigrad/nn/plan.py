"""The plan: a frozen network that nobody observes meets a shape again, and the functions of its first pass run again.

Between the kernels of a pass lies Python: modules that call each other, arguments that are checked, functions noted in
a graph. In a network of ordinary layers all of it follows from shapes and settings. So the first pass is noted, as
steps: a Function as it was before it ran, where its arrays come from and where its result goes. Later passes run the
steps. They call what an ordinary pass calls, on arrays that are made anew, so the result is the same to the bit.

A plan keeps no array of a pass and no weight; weights are fetched again each time. It knows nothing of kernels, blocks
and threads, which each call chooses as ever. What it does rely on is compared before each pass: see `_Network`.

With a graph, one function has made the network's output: `Replayed`. Its vjp runs steps noted in the same way, where
no rule, no higher order and no observer is asked for. Whoever looks at the graph finds the ordinary one, made of the
same arrays when `Tensor.function` is first asked for.
"""

import itertools
import operator
import os
import threading
from typing import Any

import numpy as np

from .. import functional, kernels
from ..autograd import Function, grad, is_recorded, observing_functions, unobserved
from ..kernels import conv_algorithm, current_algorithm, current_kernels, use_kernels, whole_pass
from ..tensor import Tensor
from .activations import ACTIVATIONS, PReLU
from .graph import Call, Graph, Product, Sum
from .layers import AdaptiveAvgPool2d, AvgPool2d, BatchNorm2d, Conv2d, Dropout, Flatten, Identity, Linear, MaxPool2d
from .module import Module, Parallel, Sequential
from .observe import called, nobody_looks
from .peephole import fewer, masked_before
from .steps import Note

LIMIT = 8  # shapes, and other conditions, of one network for which there is a plan
_CALLS = ("add", "sub", "mul", "div", "cat", "stack", "flatten", "reshape", "permute", "transpose", "relu", "relu6")
_by_shape: dict[type, Any] = {}  # {class of a module that may have a part in a plan: its forward}
_call = Module.__call__
_relied_on = operator.attrgetter(
    "conv2d", "concatenate", "relu", "max_pool", "window_scatter", "relu_grad", "relu6_grad"
)
_array, _requires_grad = operator.attrgetter("_data"), operator.attrgetter("requires_grad")


def by_shape(kind: type) -> Any:
    """A decorator for a Module whose functions follow from shapes, dtypes and the attributes of it and its class alone,
    never from numbers in Tensors, and whose arrays come from its inputs, its parameters and `constant_like`. Only these
    have plans. Of attributes that change in place, dicts and lists are seen to; with an array or a set there is none.
    """
    _by_shape[kind] = kind.forward  # type: ignore[attr-defined]
    return kind


_kind: type
for _kind in (Sequential, Parallel, Sum, Product, Graph, Call, Conv2d, Linear, BatchNorm2d, MaxPool2d, AvgPool2d):
    by_shape(_kind)
for _kind in (AdaptiveAvgPool2d, Dropout, Flatten, Identity, *(set(ACTIVATIONS.values()) - {PReLU})):
    by_shape(_kind)


# ---- when there is a plan --------------------------------------------------------------------------------------------


class Plans:
    """How a frozen module is called, by a plan if there is one. Module.requires_grad_ lets its calls come here.

    The module owns it: whatever its attributes lead to, both go together. A copy of the module begins without plans.
    """

    network: Any = None

    def __reduce__(self) -> tuple:
        return Plans, ()

    def __call__(self, module: Any, *inputs: Any) -> Any:
        if len(inputs) != 1 or not nobody_looks() or not unobserved() or type(x := inputs[0]) is not Tensor:
            return called(module, *inputs)
        if not _follows_shapes(module):  # and what it holds, lists of any length among it, need not be compared
            return called(module, x)
        network = self.network
        if network is None or not network.is_unchanged(module):
            network = self.network = _Network(module)
        array = x._data
        if type(array) is not np.ndarray or not network.may_have_plans:
            return called(module, x)
        key = array.shape, array.strides, array.dtype, is_recorded(x), current_kernels(), current_algorithm()
        plan = network.plans.get(key)
        if plan is not None:
            return plan.replay(x) if plan.sound else called(module, x)
        arrays = [array, *map(_array, network.tensors)]
        if len({*map(id, arrays)}) < len(arrays):  # one array in two places: which would a step mean?
            return called(module, x)
        note = Note(arrays)
        with observing_functions("plan", note):
            y = called(module, x)
        if len(network.plans) >= LIMIT:
            network.plans.clear()
        network.plans[key] = _Plan(network.tensors, note, x, y)
        return y


class _Network:
    """A network as it was when its plans were made: all that its passes follow from, besides their input.

    That is every attribute of every module, with what lists and dicts in it hold; which classes they have, and those'
    attributes; the functions of minigrad.functional; and of each tensor where it is, its dtype and whether it requires
    grad. Attributes are compared by identity, so an equal value that is set anew drops the plans as well.
    """

    def __init__(self, module: Module) -> None:
        held = _held_by(module)
        modules = [one for one in held if isinstance(one, Module)]
        self.tensors = list({id(tensor): tensor for _, tensor in module.named_tensors()}.values())
        self._inner = modules[1:]  # not the network itself, which could then only go by the garbage collector
        self._dicts = [one for one in held if isinstance(one, dict)]
        self._lists = [one for one in held if isinstance(one, list)]
        self._classes = list({kind: None for one in modules for kind in type(one).__mro__})
        self._settings, self._states = self._current(module), self._current_states()
        self.plans: dict[tuple, _Plan] = {}
        frozen = all(kind is np.ndarray and not learnt for kind, _, learnt in self._states)
        comparable = not any(isinstance(one, np.ndarray | set) for one in held)
        self.may_have_plans = frozen and comparable and all(map(_follows_shapes, modules))

    def is_unchanged(self, module: Module) -> bool:
        now = self._current(module)
        same = len(now) == len(self._settings) and all(map(operator.is_, now, self._settings))
        return same and self._current_states() == self._states

    def _current(self, module):
        own = vars(module).copy()
        own.pop("_called", None)  # which holds this
        values = map(dict.values, [own, *map(vars, self._inner), *self._dicts, vars(functional)])
        of_classes = (vars(kind).values() for kind in self._classes)
        kinds = map(type, [module, *self._inner])
        return [*itertools.chain(kinds, *values, *of_classes, *self._dicts, *self._lists)]

    def _current_states(self):
        return [(type(x._data), x._data.dtype, x.requires_grad) for x in self.tensors]


def _held_by(module: Module) -> list[Any]:
    """The module, and the modules, dicts, lists, tuples, sets and arrays in its attributes, at any depth."""
    found: dict[int, Any] = {}
    waiting: list[Any] = [module]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Module | dict | list | tuple | set | np.ndarray) and id(one) not in found:
            found[id(one)] = one
            inside = vars(one) if isinstance(one, Module) else () if isinstance(one, np.ndarray) else one
            # `_constants` must be free to go: who holds them keeps weights read-only
            waiting += [v for k, v in inside.items() if k != "_constants"] if isinstance(inside, dict) else inside
    return list(found.values())


def _follows_shapes(module):
    """Whether the functions of a module's pass follow from shapes and settings."""
    kind = type(module)
    if isinstance(module, Call) and module.function not in _CALLS:
        return False
    ordinary = _by_shape.get(kind) is kind.forward and kind.__call__ is _call
    return ordinary and "forward" not in vars(module) and not module.training


# ---- what is replayed ------------------------------------------------------------------------------------------------


class _Way:
    """Steps, and those that run `instead` while their functions, those of `others` and kernels are what they were."""

    def __init__(self, steps, instead, others=()):
        self.steps, self.instead = steps, instead
        self.kinds = list({step.kind for step in (*steps, *others)})
        self.then = self._now()

    def _now(self):
        return [*(kind.forward for kind in self.kinds), *_relied_on(kernels)]

    def run(self, values):
        for step in self.instead if all(map(operator.is_, self._now(), self.then)) else self.steps:
            step.run(values)


class _Plan:
    """The `way` from x to y. If y has a graph, `graph` are the steps that are in it, of which `left_out`, places, are
    filled only for who looks, and `backward` is the way back, once asked for: (way, places, place of the gradient)."""

    def __init__(self, tensors, note, x, y):
        self.tensors, steps, self.backward = tensors, note.steps, None
        self.modes = current_kernels(), current_algorithm()
        self.recorded = isinstance(y, Tensor) and y.requires_grad
        self.output = note.place(y._data) if isinstance(y, Tensor) else -1
        self.sound = note.sound and any(step.output == self.output for step in steps)
        self.graph = [step for step in steps if hasattr(step.ran, "inputs")]
        self.vjps = {kind: kind.vjp for kind in {type(step.ran) for step in self.graph}}
        if self.recorded and self.sound:
            self.sound = self._has_graph(x, y)
        self.blank = note.finished({*range(note.count)} if self.recorded else {self.output})
        if not self.sound:
            steps = self.graph = self.blank = []
        spared = {step.output for step in self.graph} - {self.output}
        self.way = _Way(steps, fewer(steps, spared) if self.recorded else steps)
        self.left_out = spared - {step.output for step in self.way.instead}

    def _has_graph(self, x, y):
        """Whether Replayed will make the graph of this pass: of these very Tensors. And x is taken once, else gradients
        that meet there from elsewhere would be added up in another order."""
        tensors = {0: x} | dict(enumerate(self.tensors, 1)) | {step.output: step.ran._output() for step in self.graph}
        taken = [pair for step in self.graph for pair in zip(step.inputs, step.ran.inputs, strict=True)]
        known = all(tensors[place] is t if place in tensors else not t.requires_grad for place, t in taken)
        return known and tensors.get(self.output) is y and sum(place == 0 for place, _ in taken) == 1

    def replay(self, x: Tensor) -> Tensor:
        values = self.blank.copy()
        values[: len(self.tensors) + 1] = [x._data, *map(_array, self.tensors)]
        with whole_pass():
            self.way.run(values)
        y = Tensor._wrap(values[self.output])
        if self.recorded:
            Replayed(self, values)._note((x,), y, (x._data, y._data))
        return y


class Replayed(Function):
    """A network's pass by a plan, as one function of its input. values: the arrays of the pass, by place."""

    shortened = True

    def __init__(self, plan: Any, values: list) -> None:
        self.plan, self.values = plan, values
        self._full: Any = None

    def constants(self) -> tuple:
        return tuple(self.values[1 : len(self.plan.tensors) + 1])

    def still_serves(self) -> bool:
        """Whether a backward pass gives what it would with the graph in full."""
        tensors = [*self.inputs, *self.plan.tensors, self.output]
        then = [*self.values[: len(tensors) - 1], self.values[self.plan.output]]
        same = all(map(operator.is_, map(_array, tensors), then)) and not any(map(_requires_grad, self.plan.tensors))
        same = same and all(kind.vjp is vjp for kind, vjp in self.plan.vjps.items()) and self.inputs[0].requires_grad
        return same and self._full is None and self.plan.sound

    def vjp(self, g: Tensor) -> Tensor:
        backward = self.plan.backward
        if backward is None or type(g._data) is not np.ndarray:
            return self._noting(g)
        way, blank, place = backward
        values = [*self.values, g._data, *blank]
        way.run(values)
        return Tensor._wrap(values[place])

    def _noting(self, g):
        """The ordinary gradient, by the graph in full. Its functions are noted."""
        self.in_full()  # from now on passes go through it
        (x,), arrays = self.inputs, [*self.values, g._data]
        if len({*map(id, arrays)}) < len(arrays):  # g is an array of the pass: which of the two would a step mean?
            return grad(self.output, x, g)
        note = Note(arrays)
        with observing_functions("plan", note):
            gx = grad(self.output, x, g)
        place = note.place(gx._data)
        blank = note.finished({place, *range(len(arrays))})[len(arrays) :]
        if note.sound and not self.plan.left_out & {place for step in note.steps for place in step.taken}:
            way = _Way(note.steps, masked_before(note.steps, self.plan.way.steps), self.plan.way.steps)
            self.plan.backward = way, blank, place
        else:
            self.plan.sound = False
        return gx

    def in_full(self) -> Function:
        """The function that made the output in the ordinary graph, whose last it is."""
        with _lock:
            if self._full is None:
                self._full = self._graph()
        return self._full

    def _graph(self):
        # of constants copies: once the graph is gone, whoever found them in it may write to them
        values = [a if made is None else made.copy() for a, made in zip(self.values, self.plan.blank, strict=True)]
        self.values = values
        tensors = dict(enumerate((*self.inputs, *self.plan.tensors))) | {self.plan.output: self.output}
        last = None
        for step in self.plan.graph:
            if values[step.output] is None:  # it was one step with the next
                with use_kernels(self.plan.modes[0]), conv_algorithm(self.plan.modes[1]), whole_pass():
                    step.run(values)
            function = step.function(values)
            vars(function).update({name: values[place] for name, place in step.found.items()})
            for place in (*step.inputs, step.output):
                tensors.setdefault(place, Tensor._wrap(values[place]))
            arrays = tuple(values[place] for place in (*step.inputs, step.output))
            function._note(tuple(tensors[place] for place in step.inputs), tensors[step.output], arrays)
            last = function if step.output == self.plan.output else last
        return last


_lock = threading.RLock()  # of graphs that are made in full: two threads get the same one


def _new_lock():
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)  # another thread may hold it, and does not survive a fork
