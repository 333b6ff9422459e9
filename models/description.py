"""A description of any network, of lists, dicts, texts and numbers, from which it can be built again.

    [{"name": "conv1_1", "kind": "Conv2d", "in_channels": 3, ...}, ...]

Containers hold such a list as "layers"; a Graph's entries say their "inputs", and it its "outputs". A layer of your own
is known once its class is registered, and is described by the arguments that its `describe()` gives:

    @models.register
    class Scale(nn.Module): ...
"""

import json
from typing import Any

from minigrad import nn

from .layers import Preprocess, ResizedLike

CONTAINERS = {kind.__name__: kind for kind in (nn.Sequential, nn.Parallel, nn.Sum, nn.Product, nn.Graph)}
KINDS = {
    name: kind
    for name, kind in [*vars(nn).items(), ("Preprocess", Preprocess), ("ResizedLike", ResizedLike)]
    if isinstance(kind, type) and kind is not nn.Module and name not in CONTAINERS
}
OURS = ("name", "kind", "layers", "inputs", "outputs")  # entries that are no arguments of a layer

LARGEST = {"in_channels": 1 << 20, "out_channels": 1 << 20, "in_features": 1 << 24, "out_features": 1 << 24}
LARGEST |= {
    "num_features": 1 << 20,
    "groups": 1 << 20,
    "num_channels": 1 << 20,
    "num_parameters": 1 << 20,
    "shape": 1 << 24,
    "index": 1 << 24,
    "normalized_shape": 1 << 14,
}
DEEPEST = 16


def register(kind: Any) -> Any:
    """Let weights files hold layers of the class `kind`; returns it, so that it may decorate the class.

    Its `describe()` gives {argument: value}, of numbers, texts, None and tuples, that builds the layer again; its
    parameters are found as everywhere. A subclass of nn.Sequential or nn.Parallel without a `describe()` is built again
    from the layers inside it. What could not be built again is refused when it is saved. A program that loads such a
    file registers the class first.
    Raises TypeError for no Module, ValueError for a name that another class has.
    """
    if not isinstance(kind, type) or not issubclass(kind, nn.Module):
        raise TypeError(f"register: {kind!r} is no class of layers, a subclass of nn.Module")
    known = {**KINDS, **CONTAINERS}.get(kind.__name__, kind)
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):  # a cell may be run again
        raise ValueError(f"register: there is another class called {kind.__name__}: rename this one")
    KINDS[kind.__name__] = kind
    return kind


def describe(container: Any) -> list[Any]:
    """The layers of a container as lists, dicts, texts and numbers; ValueError for a layer of unknown kind."""
    description = [{"name": name, **_described(name, layer)} for name, layer in container.children()]
    if isinstance(container, nn.Graph):
        for entry, (_, inputs) in zip(description, container.nodes.values(), strict=True):
            entry["inputs"] = [_as_list(one) for one in inputs]
    return description


def _described(name: str, layer: nn.Module) -> dict:
    kind = type(layer).__name__
    if CONTAINERS.get(kind) is type(layer):
        outputs = {"outputs": _as_list(layer.outputs)} if isinstance(layer, nn.Graph) else {}
        return {"kind": kind, "layers": describe(layer), **outputs}
    if KINDS.get(kind) is not type(layer):
        raise ValueError(
            f"layer {name!r} is a {kind}, which no weights file can describe: write it as an nn.Graph, or let "
            f"models.register({kind}) know it"
        )
    arguments = layer.describe()
    if clashes := [argument for argument in OURS if argument in arguments]:
        raise ValueError(f"layer {name!r} has an argument {clashes[0]!r}, which the file needs itself: rename it")
    entry = {"kind": kind, **({"layers": describe(layer)} if _is_of_layers(type(layer)) else arguments)}
    if vars(nn).get(kind) is not type(layer):
        _check_rebuilt(name, layer, entry)
    return entry


def _is_of_layers(kind: type) -> bool:
    """Whether a class of one's own is a chain, or branches, that is built from the layers inside it."""
    return issubclass(kind, nn.Sequential) and kind.describe is nn.Module.describe


def _check_rebuilt(name: str, layer: nn.Module, entry: dict) -> None:
    """Refuse a layer of one's own that its entry would not build again."""
    kind = type(layer).__name__
    try:
        arguments = {key: value for key, value in json.loads(json.dumps(entry)).items() if key != "kind"}
        again = _constructed(name, kind, arguments, 0)
    except (TypeError, ValueError, AttributeError, LookupError, RecursionError) as error:
        wrong = str(error)
    else:
        shapes, others = ({key: t.shape for key, t in one.named_tensors()} for one in (layer, again))
        values, built = _plain_values(layer), _plain_values(again)
        differing = [key for key in values if key not in built or values[key] != built[key]]
        if shapes == others and not differing:
            return
        wrong = f"built again its {differing[0]} would differ" if differing else "built again its weights would differ"
    raise ValueError(
        f"layer {name!r}, a {kind}, could not be read from the file ({wrong}): let {kind}.describe() give all "
        f"arguments of its constructor, as numbers, texts, None or tuples of them"
    )


def _plain_values(layer: nn.Module) -> dict:
    """{attribute: value} of the numbers and texts that a layer holds; lists stand for tuples."""
    found = {}
    for key, value in vars(layer).items():
        try:
            found[key] = json.loads(json.dumps(value))
        except (TypeError, ValueError, RecursionError):
            continue  # a Tensor, a Module, a Generator
    return {key: value for key, value in found.items() if key not in ("training", "_constants")}


def _as_list(reference: Any) -> Any:
    """A graph's input or output, or several, with lists for tuples, as JSON makes of them."""
    return reference if isinstance(reference, str | int) else [_as_list(part) for part in reference]


def construct(description: Any, _depth: int = 0) -> dict[str, Any]:
    """{name: layer} of a description, weights zero. Raises ValueError for anything but a description of sane size."""
    if not isinstance(description, list) or len(description) > 10_000 or _depth > DEEPEST:
        raise ValueError("the description of the layers is not a list, or far too long or deep")
    layers = {}
    for entry in description:
        entry = dict(entry) if isinstance(entry, dict) else {}
        name, kind = entry.pop("name", None), entry.pop("kind", None)
        if not isinstance(name, str) or not isinstance(kind, str) or name in layers or "/" in name:
            raise ValueError(f"a layer lacks its kind or a name of its own (name {name!r}, kind {kind!r})")
        layers[name] = _constructed(name, kind, entry, _depth)
    return layers


def _constructed(name: str, kind: str, entry: dict, depth: int) -> nn.Module:
    if kind == "Graph":
        return _graph(entry, depth)
    if kind in CONTAINERS:
        return CONTAINERS[kind](construct(entry.get("layers"), depth + 1))
    if kind not in KINDS:
        raise ValueError(
            f"layer {name!r} is of unknown kind {kind!r}: if the class is your own, call models.register({kind}) first"
            f"; at a command line, --model MODULE:FUNCTION names a function that does so and returns models.load(FILE)"
        )
    layers = [construct(entry.pop("layers", None), depth + 1)] if _is_of_layers(KINDS[kind]) else []
    for argument, value in entry.items():
        _check_size(name, argument, value)
    try:
        return KINDS[kind](*layers, **entry)
    except (TypeError, ValueError, MemoryError) as error:
        raise ValueError(f"layer {name!r} cannot be built: {error}") from None


def _graph(entry: dict, depth: int) -> nn.Graph:
    """The Graph whose nodes say their inputs."""
    nodes = [dict(node) if isinstance(node, dict) else {} for node in _listed(entry.get("layers"))]
    inputs = [[_as_reference(one) for one in _listed(node.pop("inputs", None))] for node in nodes]
    layers = construct(nodes, depth + 1)
    outputs = _as_reference(entry.get("outputs"))
    outputs = [_as_reference(one) for one in outputs] if isinstance(outputs, list) else outputs
    return nn.Graph({name: (layers[name], taken) for name, taken in zip(layers, inputs, strict=True)}, outputs)


def _listed(value: Any) -> Any:
    if not isinstance(value, list) or len(value) > 10_000:
        raise ValueError("the description of a graph lacks its nodes or their inputs, or they are far too many")
    return value


def _as_reference(value: Any) -> Any:
    """("name", i) of ["name", i]; other values stay."""
    return tuple(value) if isinstance(value, list) and [type(part) for part in value] == [str, int] else value


def _check_size(name: str, argument: str, value: Any) -> None:
    if isinstance(value, list | tuple):
        for one in value[:10_000]:
            _check_size(name, argument, one)
    elif isinstance(value, int) and not -(1 << 10) <= value <= LARGEST.get(argument, 1 << 10):
        raise ValueError(f"layer {name!r} has an absurd {argument}, {value}")
