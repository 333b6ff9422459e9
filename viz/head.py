"""Where the maps of a network end and its head begins, read from the graph of one pass, so for any wiring.

The head starts where places end (a pool over all of them, a flattening), or at the last convolution, to the scores, if
that comes earlier, as in SqueezeNet.
"""

from collections.abc import Sequence
from typing import Any

import minigrad as mg
from minigrad import Function, Tensor
from minigrad import functional as F
from minigrad.autograd import functions_before
from minigrad.functional.shape import Cat, Permute
from minigrad.nn import Module
from minigrad.nn.observe import observed
from minigrad.tools.summary import Calls, several, traced

from .rectifiers import rectified
from .target import channels

TO_THE_END, FROM_THE_END = (0, 2, 3, 1), (0, 3, 1, 2)  # of channels


def default_layer(model: Module, image_shape: Sequence[int] | None = None) -> str:
    """The name of the last maps before the head: layer4 of a ResNet, relu5_3 of VGG16 (14x14), fire9 of SqueezeNet.

    Maps are activations (N,C,h,w) of more than one place. Rectified ones are preferred, and those before a pool to what
    it makes of them; of modules that give the same maps the outermost is named. A name means its module's first call:
    behind a ReLU that is called several times the layer before its last call is named.

    image_shape: (C, H, W) of the pass that shows them; by default the model's `input_size`. Raises ValueError where
    there are none, and where only a later call of a layer gives them.
    """
    shape = image_shape or _own_shape(model)
    if shape is None:
        raise ValueError("default_layer: give image_shape, (C, H, W) of one image")
    return _last_maps(model, *traced(model, shape))


def stages(model: Module, image_shape: Any = None) -> Any:
    """The names of the last maps of each size, from the largest: relu, layer1, ..., layer4 of ResNet-18.

    Where strides lie within blocks, as in ResNet-50, the last of a size lies within the block that halves it.

    Maps and image_shape as for `default_layer`; pools, what lies before the first layer with weights, and the head are
    left out. Raises ValueError where there are none.
    """
    shape = image_shape or _own_shape(model)
    if shape is None:
        raise ValueError("the network does not say how large its images are, as its input_size: name the layers")
    x, calls = traced(model, shape)
    functions, names, weighted = _read(model, x, calls)
    functions = _without_head(functions, weighted)
    last = {}
    for f in functions[functions.index(weighted[0]) :] if weighted and weighted[0] in functions else ():
        if f in names and not isinstance(f, F.MaxPool2d | F.AvgPool2d):
            last[_places(f)] = names[f]
    if not last:
        raise ValueError("this network has no maps (N,C,h,w) of more than one place: name a layer")
    return [last[hw] for hw in sorted(last, key=lambda hw: -hw[0] * hw[1])]


def _own_shape(model: Module) -> tuple | None:
    """(C, H, W) of the images that a model says it takes, or None."""
    size = getattr(model, "input_size", None)
    return None if size is None else (channels(model), *size)


def pass_with_default_layer(model: Module, x: Tensor) -> tuple[str, dict[str, Any]]:
    """(default layer, {name: output of every module, "" being the network}) of one pass of x, a leaf (N,C,H,W)."""
    calls = Calls()
    with mg.enable_grad(), observed(model, calls):
        model(x)
    return _last_maps(model, x, calls.seen), {name: y for name, *_, y in reversed(calls.seen)}


def _last_maps(model: Module, x: Tensor, calls: Any) -> Any:
    """The layer's name, from a recorded pass of x: calls as in Calls."""
    functions, names, weighted = _read(model, x, calls)
    for part in (_without_head(functions, weighted), functions):
        rectified = [i for i, f in enumerate(part) if _has_places(f) and _is_rectified(f)]
        if rectified and part[rectified[-1]] in names:  # else nothing is called so: F.relu, a module's second call
            chosen = part[rectified[-1]]
            later = [f for f in part[rectified[-1] :] if f in weighted and _has_places(f)]
            if all(_places(f) == _places(chosen) for f in later):  # else they are an early stage's
                return names[chosen]
        unpooled = [f for f in part if f in names and not isinstance(f, F.MaxPool2d | F.AvgPool2d)]
        if unpooled:
            _check_first_calls(part[part.index(unpooled[-1]) + 1 :], calls, weighted)
            return names[unpooled[-1]]
    raise ValueError(
        "the default layer is the last one whose output are maps (N,C,h,w) of more than one place, and the scores of "
        "this network come from none: name a layer"
    )


def _check_first_calls(later: Any, calls: Any, weighted: Any) -> None:
    """Refuse where further calls of named layers, with weights, make other maps of those found."""
    first = {name: y for name, *_, y in reversed(calls)}
    again = [name for name, *_, y in calls if y is not first[name] and getattr(y, "function", None) in later]
    if again and any(f in weighted and _has_places(f) for f in later):
        raise ValueError(
            f"the last maps of this network are a later call of {again[-1]!r}, and its name means the first: give each "
            f"call a module of its own, or name a layer"
        )


def _read(model: Module, x: Tensor, calls: Any) -> tuple:
    """The Functions that x has a part in, in order; {Function: name} of those that give maps; those with weights."""
    functions = _depending_on(x, functions_before(several(calls[-1][-1])))
    turned = _channels_last(functions)
    names = {f: name for f, name in _names_of_maps(calls).items() if f not in turned}
    return functions, names, _weighted(model, functions)


def _names_of_maps(calls: Any) -> list:
    """{Function: the outermost module that gave its output}, for maps of more than one place."""
    names, met = {}, set()
    for name, _, _, y in calls:
        f = getattr(y, "function", None)
        if name and name not in met and f is not None and _has_places(f):  # a name means a module's first output
            if names.get(f, f"{name}.").startswith(f"{name}."):
                names[f] = name
        met.add(name)
    return names


def _depending_on(x: Tensor, functions: Sequence[Function]) -> list:
    """Those of the functions, each after those it depends on, that x has a part in."""
    found = {}
    for f in functions:
        if any(one is x or one.function in found for one in f.inputs):
            found[f] = None
    return list(found)


def _channels_last(functions: Sequence[Function]) -> bool:
    """Those whose output is (N,h,w,C), as within ConvNeXt's blocks."""
    turned = set()
    for f in functions:
        if isinstance(f, Permute) and f.dims in (TO_THE_END, FROM_THE_END):
            before = any(t.function in turned for t in f.inputs)
            last = f.dims == TO_THE_END and not before
        else:
            last = any(t.function in turned for t in f.inputs)
        if last:
            turned.add(f)
    return turned


def _weighted(model: Module, functions: Sequence[Function]) -> bool:
    """Those that take a parameter of several dimensions, or what was computed from parameters alone."""
    parameters, own = {id(tensor) for _, tensor in model.named_tensors() if tensor.ndim > 1}, set(functions)

    def takes_weights(f: Function) -> bool:
        return any(id(t) in parameters or (t.function and t.function not in own) for t in f.inputs)

    return [f for f in functions if takes_weights(f)]


def _without_head(functions: Sequence[Function], weighted: Any) -> list:
    """Those that led to the last layer with weights; all of them where a network ends in maps."""
    return functions if functions and _has_places(functions[-1]) else _before(functions, weighted[-1:])


def _before(functions: Sequence[Function], last: Function) -> list:
    """Those that led to the inputs of the Functions `last`."""
    before = set(functions_before([t for f in last for t in f.inputs]))
    return [f for f in functions if f in before]


def _places(function: Function) -> Sequence[int] | None:
    """(h, w) of a Function's output, or None where it has no positions."""
    shape = function._used[-1].shape
    return shape[2:] if len(shape) == 4 else None


def _has_places(function: Function) -> bool:
    return _places(function) is not None and _places(function) != (1, 1)


def _is_rectified(function: Function) -> bool:
    if isinstance(function, Cat):
        return all(t.function is not None and _is_rectified(t.function) for t in function.inputs)
    return rectified(function) is not None
