"""Networks that are no chain: sums and products of branches, functions as layers, and graphs of named nodes.

    block = nn.Graph({
        "conv1": nn.Conv2d(8, 8, 3, padding=1),                # the first node takes the network's input, "input",
        "relu1": nn.ReLU(),                                     # every other one the node before it,
        "conv2": nn.Conv2d(8, 8, 3, padding=1),
        "add": (nn.Call("add"), ["conv2", "input"]),            # or what it says
        "relu2": nn.ReLU(),
    })

`Sequential`, `Parallel`, `Sum` and `Product` are simple cases of it. All of them can be kept in a weights file.
"""

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .layers import Conv2d, ReLU
from .module import Module, Parallel, check_layer
from .peephole import in_turn

INPUT = "input"
_PLAIN = (bool, int, float, str, type(None))
_OF_A_LIST = ("cat", "stack")  # functions whose tensors come as one list


class Sum(Parallel):
    """Named branches that all see the same input; their outputs are added (He et al. 2015: a chain and an Identity)."""

    def forward(self, x: Tensor) -> Any:
        return functools.reduce(F.add, [branch(x) for branch in self._layers.values()])


class Product(Parallel):
    """Named branches that all see the same input; their outputs are multiplied (Hu et al. 2017: maps, a gate)."""

    def forward(self, x: Tensor) -> Any:
        return functools.reduce(F.mul, [branch(x) for branch in self._layers.values()])


class Call(Module):
    """A function of `minigrad.functional` as a layer: Call("interpolate", scale_factor=2), Call("cat", dim=1).

    function: its name. arguments: those besides the tensors: numbers, texts, None, and tuples or lists of them. The
    tensors are what the layer is called with, in the function's order; for "cat" and "stack" they are the list.
    """

    def __init__(self, function: str, **arguments: Any) -> None:
        found = vars(F).get(function) if isinstance(function, str) else None
        if not inspect.isfunction(found) or function.startswith("_"):
            raise ValueError(f"Call: there is no function {function!r} in minigrad.functional")
        for name, value in arguments.items():
            if name not in inspect.signature(found).parameters:
                raise ValueError(f"Call: {function} has no argument {name!r}")
            if not _is_plain(value):
                raise TypeError(f"Call: argument {name} of {function} is no number, text, None or tuple of them")
        self.function, self.arguments = function, dict(arguments)
        self._compute = functools.partial(found, **arguments)

    def forward(self, *inputs: Any) -> Any:
        y = self._compute(list(inputs)) if self.function in _OF_A_LIST else self._compute(*inputs)
        return tuple(y) if isinstance(y, list) else y

    def describe(self) -> dict:
        return {"function": self.function, **self.arguments}


def _is_plain(value):
    return all(map(_is_plain, value)) if isinstance(value, list | tuple) else isinstance(value, _PLAIN)


class Graph(Module):
    """Named nodes, each a Module, that say whose outputs they take.

    nodes: {name: module, or (module, input), or (module, [input, ...])}, each after those it takes. An input is the
        name of a node, or "input", the graph's own; of one with several outputs, (name, i) is the i-th. A node that
        says nothing takes the node before it, the first one "input".
    outputs: what the graph gives: an input as above, or a list of them for a tuple; None is the last node.

    A graph that is called with several inputs has them as ("input", 0), ("input", 1), ...
    Raises ValueError for a name that is unknown or comes later, a node that nobody takes, and a node with a number of
    inputs that its module does not take.
    """

    def __init__(self, nodes: Mapping[str, Any], outputs: Any = None) -> None:
        self._nodes: dict[str, Any] = {}
        previous = INPUT
        for name, node in nodes.items():
            module, *taken = node if isinstance(node, tuple) else (node,)
            check_layer("Graph", name, module)
            if name == INPUT:
                raise ValueError('Graph: "input" is the graph\'s own input, no name for a node')
            inputs = _references(taken[0] if taken else previous)
            for source, _ in map(_parts, inputs):
                if source != INPUT and source not in self._nodes:
                    known = "comes after it" if source in nodes else f"is none of {', '.join([INPUT, *self._nodes])}"
                    raise ValueError(f"Graph: node {name!r} takes {source!r}, which {known}")
            _check_count(name, module, len(inputs))
            self._nodes[name], previous = (module, inputs), name
        if not self._nodes:
            raise ValueError("Graph: give at least one node")
        outputs = previous if outputs is None else outputs
        self.outputs = outputs if _is_reference(outputs) else _references(outputs)
        self._plan = self._planned()

    @property
    def nodes(self) -> dict[str, Any]:
        """{name: (module, [input, ...])}, every input said."""
        return dict(self._nodes)

    def children(self) -> list:
        return [(name, module) for name, (module, _) in self._nodes.items()]

    def __iter__(self):
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def replace(self, layers: Mapping[str, Any]) -> "Graph":
        """The same graph of other modules, {name: module}, which are shared, not copied."""
        return Graph({name: (layers[name], inputs) for name, (_, inputs) in self._nodes.items()}, self.outputs)

    def forward(self, *inputs: Any) -> Any:
        values = {INPUT: inputs[0] if len(inputs) == 1 else inputs}
        for run, sources, spent in self._plan:
            taken = [_value(values, source) for source in sources]
            name, module = run[-1]
            values[name] = in_turn(run, *taken) if len(run) > 1 else module(*taken)
            for source in spent:
                del values[source]
        found = tuple(_value(values, output) for output in _references(self.outputs))
        return found if isinstance(self.outputs, list) else found[0]

    def _planned(self):
        """[(run, inputs, spent), ...]: nodes that may be one kernel, as each is taken by the next alone; what the first
        of them takes; and what nobody takes after them."""
        ends = [_parts(output)[0] for output in _references(self.outputs)]
        readers = {name: [] for name in self._nodes}
        for reader, taken in [*((name, inputs) for name, (_, inputs) in self._nodes.items()), (None, ends)]:
            for source, _ in map(_parts, taken):
                if source != INPUT and source not in readers:
                    raise ValueError(f"Graph: the output {source!r} is none of {', '.join([INPUT, *self._nodes])}")
                readers.setdefault(source, []).append(reader)
        unused = [name for name in self._nodes if not readers[name]]
        if unused:
            raise ValueError(f"Graph: nobody takes node {unused[0]!r}, and it is no output: leave it out")

        plan = []
        for name, (module, inputs) in self._nodes.items():
            run = plan[-1][0] if plan else [(INPUT, None)]
            last, before = run[-1]
            if isinstance(before, Conv2d | ReLU) and inputs == [last] and readers[last] == [name]:
                run.append((name, module))
            else:
                plan.append(([(name, module)], inputs, []))
        for run, inputs, spent in plan:
            inside = [name for name, _ in run]
            spent += [s for s in {_parts(i)[0] for i in inputs} if readers[s][-1] in inside and None not in readers[s]]
        return plan

    def describe(self) -> dict:
        return {"nodes": {name: (module, list(inputs)) for name, (module, inputs) in self._nodes.items()}} | (
            {} if self.outputs == list(self._nodes)[-1] else {"outputs": self.outputs}
        )


def _references(given):
    """The list of inputs that `given` is, one or several."""
    found = list(given) if isinstance(given, list | tuple) and not _is_reference(given) else [given]
    for one in found:
        if not _is_reference(one):
            raise ValueError(f'Graph: {one!r} is no input: give a name, or ("name", i) for the i-th output')
    return found


def _is_reference(given):
    return isinstance(given, str) or (isinstance(given, tuple) and [type(part) for part in given] == [str, int])


def _parts(reference):
    """(name, place or None)."""
    return (reference, None) if isinstance(reference, str) else reference


def _check_count(name, module, count):
    function = module._compute if isinstance(module, Call) else module.forward
    try:
        inspect.signature(function).bind(*[None] * (min(count, 1) if _joins(module) else count))
    except TypeError:
        raise ValueError(f"Graph: node {name!r}, a {type(module).__name__}, does not take {count} inputs") from None


def _joins(module):
    return isinstance(module, Call) and module.function in _OF_A_LIST


def _value(values, reference):
    name, place = _parts(reference)
    value = values[name]
    if isinstance(value, tuple) != (place is not None) or place is not None and not 0 <= place < len(value):
        count = len(value) if isinstance(value, tuple) else 1
        wanted = f"say which, as ({name!r}, 0)" if place is None else f"there is no ({name!r}, {place})"
        raise ValueError(f"Graph: the number of outputs of {name!r} is {count}: {wanted}")
    return value if place is None else value[place]
