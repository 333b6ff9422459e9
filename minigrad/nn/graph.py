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

import difflib
import functools
import inspect
from collections.abc import Iterator, Mapping
from math import inf
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
        return _joined(self, F.add, x)


class Product(Parallel):
    """Named branches that all see the same input; their outputs are multiplied (Hu et al. 2017: maps, a gate)."""

    def forward(self, x: Tensor) -> Any:
        return _joined(self, F.mul, x)


def _joined(container, function, x):
    """What the branches make of x, joined by a function of two."""
    if not len(container):
        raise ValueError(f"{type(container).__name__}: it has no branches: give at least one")
    (_, first), *others = container.children()
    y = first(x)
    for name, branch in others:
        z = branch(x)
        try:
            y = function(y, z)
        except ValueError:
            raise ValueError(
                f"{type(container).__name__}: branch {name!r} gives {z.shape}, and those before it {y.shape}: let all "
                f"give the same shape"
            ) from None
    return y


class Call(Module):
    """A function of `minigrad.functional` as a layer: Call("interpolate", scale_factor=2), Call("cat", dim=1).

    function: its name. arguments: those besides the tensors: numbers, texts, None, and tuples or lists of them. The
    tensors are what the layer is called with, in the function's order; for "cat" and "stack" they are the list.
    """

    def __init__(self, function: str, **arguments: Any) -> None:
        found = vars(F).get(function) if isinstance(function, str) else None
        if not inspect.isfunction(found) or function.startswith("_"):
            near = " or ".join(difflib.get_close_matches(str(function), [k for k in vars(F) if not k.startswith("_")]))
            hint = f", did you mean {near}?" if near else ": help(minigrad.functional) lists them"
            raise ValueError(f"Call: there is no function {function!r} in minigrad.functional{hint}")
        for name, value in arguments.items():
            if name not in inspect.signature(found).parameters:
                known = ", ".join(inspect.signature(found).parameters)
                raise ValueError(f"Call: {function} has no argument {name!r}, it has {known}")
            if not _is_plain(value):
                raise TypeError(
                    f"Call: argument {name} of {function} is {type(value).__name__}: give a number, a text, None or a "
                    f"tuple of them, and Tensors as inputs"
                )
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
        if not isinstance(nodes, Mapping):
            raise TypeError(
                f'Graph: give the nodes as a dict, {{"conv": nn.Conv2d(...), ...}}, not as {type(nodes).__name__}'
            )
        if not nodes:
            raise ValueError("Graph: give at least one node")
        self._nodes: dict[str, Any] = {}
        previous = INPUT
        for name, node in nodes.items():
            module, taken = _node(name, node, previous)
            inputs = _references(f"node {name!r} takes", taken)
            for source, _ in map(_parts, inputs):
                if source != INPUT and source not in self._nodes:
                    raise ValueError(f"Graph: node {name!r} takes {source!r}, {_why_not(source, name, nodes, self)}")
            _check_count(name, module, len(inputs))
            self._nodes[name], previous = (module, inputs), name
        outputs = previous if outputs is None else outputs
        self.outputs = outputs if _is_reference(outputs) else _references("outputs holds", outputs)
        if not self.outputs:
            raise ValueError("Graph: outputs is empty: name nodes, or leave it out for the last one")
        self._plan = self._planned()

    @property
    def nodes(self) -> dict[str, Any]:
        """{name: (module, [input, ...])}, every input said."""
        return dict(self._nodes)

    def children(self) -> list:
        return [(name, module) for name, (module, _) in self._nodes.items()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def replace(self, layers: Mapping[str, Any]) -> "Graph":
        """The same graph of other modules, {name: module}, which are shared, not copied."""
        if differing := sorted(layers.keys() ^ self._nodes.keys()):
            raise ValueError(f"Graph: replace takes a module for each node and no other, not so for {differing[0]!r}")
        return Graph({name: (layers[name], inputs) for name, (_, inputs) in self._nodes.items()}, self.outputs)

    def forward(self, *inputs: Any) -> Any:
        values = {INPUT: inputs[0] if len(inputs) == 1 else inputs}
        for run, sources, spent in self._plan:
            name, module = run[-1]
            taken = [_value(values, source, f"node {run[0][0]!r} takes") for source in sources]
            values[name] = in_turn(run, *taken) if len(run) > 1 else module(*taken)
            for source in spent:
                del values[source]
        found = tuple(_value(values, output, "outputs holds") for output in self._outputs())
        return found if isinstance(self.outputs, list) else found[0]

    def _outputs(self):
        return self.outputs if isinstance(self.outputs, list) else [self.outputs]

    def _planned(self):
        """[(run, inputs, spent), ...]: nodes that may be one kernel, as each is taken by the next alone; what the first
        of them takes; and what nobody takes after them."""
        ends = [_parts(output)[0] for output in self._outputs()]
        readers = {name: [] for name in self._nodes}
        for reader, taken in [*((name, inputs) for name, (_, inputs) in self._nodes.items()), (None, ends)]:
            for source, _ in map(_parts, taken):
                if source != INPUT and source not in readers:
                    known = ", ".join([INPUT, *self._nodes])
                    raise ValueError(f"Graph: outputs holds {source!r}, which is no node: there are {known}")
                readers.setdefault(source, []).append(reader)
        unused = [name for name in self._nodes if not readers[name]]
        if unused:
            raise ValueError(
                f"Graph: no node takes what {unused[0]!r} gives: let one take it, name it in outputs, or leave it out"
            )

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


def _node(name, node, previous):
    """(module, what it takes) of an entry of `nodes`."""
    if isinstance(node, tuple) and len(node) not in (1, 2):
        raise ValueError(
            f"Graph: node {name!r} is a tuple of {len(node)}: give (module, input), or (module, [input, ...])"
        )
    module, *taken = node if isinstance(node, tuple) else (node,)
    if isinstance(module, str) or callable(module) and not isinstance(module, Module):
        called = module if isinstance(module, str) else getattr(module, "__name__", "NAME")
        raise TypeError(f"Graph: node {name!r} is no Module: nn.Call({called!r}) makes one of a function of F")
    check_layer("Graph", name, module)
    if name == INPUT:
        raise ValueError('Graph: "input" is the graph\'s own input: give the node another name')
    return module, taken[0] if taken else previous


def _why_not(source, name, nodes, known):
    """Why the node `name` cannot take `source`, and what to do."""
    if source == name:
        return "which is itself: name a node before it"
    if source in nodes:
        return f"which comes after it: put {source!r} before {name!r}"
    near = difflib.get_close_matches(source, [INPUT, *known], 1)
    return "which is no node" + (
        f", did you mean {near[0]!r}?" if near else f": there are {', '.join([INPUT, *known])}"
    )


def _references(who, given):
    """The list of inputs that `given` is, one or several."""
    found = list(given) if isinstance(given, list | tuple) and not _is_reference(given) else [given]
    for one in found:
        if not _is_reference(one):
            raise ValueError(f'Graph: {who} {one!r}: give the name of a node, or ("name", i) for its i-th output')
    return found


def _is_reference(given):
    return isinstance(given, str) or (isinstance(given, tuple) and [type(part) for part in given] == [str, int])


def _parts(reference):
    """(name, place or None)."""
    return (reference, None) if isinstance(reference, str) else reference


def _check_count(name, module, count):
    """Refuse a number of inputs that a module does not take."""
    if _joins(module):
        fits, wanted = count > 0, "1 or more"
    else:
        signature = inspect.signature(module._compute if isinstance(module, Call) else module.forward)
        places = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        least = sum(p.default is p.empty for p in places)
        most = inf if any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()) else len(places)
        fits = least <= count <= most
        wanted = str(least) if most == least else f"{least} or more" if most == inf else f"{least} to {most}"
    if not fits:
        what = f"{type(module).__name__} of {module.function}" if isinstance(module, Call) else type(module).__name__
        raise ValueError(
            f"Graph: node {name!r}, a {what}, takes {wanted} input{'' if wanted == '1' else 's'}, and is given {count}"
        )


def _joins(module):
    return isinstance(module, Call) and module.function in _OF_A_LIST


def _value(values, reference, who):
    """The Tensor that a node or an output, `who`, means."""
    name, place = _parts(reference)
    value = values[name]
    if isinstance(value, tuple) == (place is not None) and (place is None or 0 <= place < len(value)):
        return value if place is None else value[place]
    if not isinstance(value, tuple):
        raise ValueError(f"Graph: {who} {reference!r}, and {name!r} gives one output: say {name!r}")
    raise ValueError(
        f"Graph: {who} {reference!r}, and {name!r} gives {len(value)} outputs: say which, from ({name!r}, 0) to "
        f"({name!r}, {len(value) - 1})"
    )
