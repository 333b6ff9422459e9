"""A network of ours as a torch module, with the same names and scores."""

import functools
import operator
from collections.abc import Callable
from typing import Any

from minigrad import nn

from .layers import Preprocess
from .model import Model

ARGUMENTS = {"axis": "dim", "keepdims": "keepdim"}  # what torch's functions call our arguments, and our functions
FUNCTIONS = {"max": "amax", "min": "amin"}


def to_torch(model: Model) -> Any:
    """The torch.nn.Module that computes what `model` does, in evaluation mode: same names, weights copied, on the CPU.

    Needs torch. What takes torch modules takes it then, such as torch.onnx.export. Layers and containers of minigrad.nn
    and `models.Preprocess` are translated. Raises ValueError for a Module of another class, whose `forward` is its own,
    and for an argument or a function that torch lacks.
    """
    import torch

    network = _Translator(torch).translated("", model)
    state = {name: torch.tensor(tensor.numpy()) for name, tensor in model.named_tensors()}
    network = network.to(next((t.dtype for t in state.values() if t.dtype.is_floating_point), torch.float32))
    missing, unexpected = network.load_state_dict(state, strict=False)
    left = [key for key in (*missing, *unexpected) if not key.endswith("num_batches_tracked")]
    if left:
        raise ValueError(f"to_torch: {left[0]} has no counterpart in torch")
    return network.eval()


class _Translator:
    """Makes torch modules; holds torch, which is imported only when asked for."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def translated(self, name: str, module: Any) -> Any:
        kind = type(module)
        if kind is nn.Graph:
            return self._graph(module)
        if isinstance(module, nn.Sequential) and kind.forward in _JOINING:
            parts = {inner: self.translated(f"{name}.{inner}".strip("."), one) for inner, one in module.children()}
            join = _JOINING[kind.forward]
            return self._module(parts, functools.partial(join, self.torch) if join else _in_turn)
        if kind is nn.Call:
            return self._call(name, module)
        if kind is nn.WeightedCall:
            return self._weighted(name, module)
        if kind is Preprocess:
            return self._module({}, self._preprocess(module))
        if kind.__module__.partition(".")[0] not in ("minigrad", "models"):
            raise ValueError(f"to_torch: layer {name!r} is a {kind.__name__}, whose forward is its own")
        return self._layer(name, kind.__name__, module.describe())

    def _module(self, parts: dict, forward: Callable[..., Any]) -> Any:
        """A torch module of named parts, whose forward is forward(parts, *inputs)."""

        base: Any = self.torch.nn.Module

        class Module(base):
            def __init__(self) -> None:
                super().__init__()
                for name, part in parts.items():
                    self.add_module(name, part)

            def forward(self, *inputs: Any) -> Any:
                return forward(dict(self.named_children()), *inputs)

        return Module()

    def _layer(self, name: str, kind: str, arguments: dict) -> Any:
        padding = arguments.get("padding", 0)
        if (
            isinstance(padding, str)
            and padding.startswith("same_")
            or isinstance(padding, list | tuple)
            and padding[2:]
        ):
            return self._padded(name, kind, arguments)
        if kind == "LayerNorm2d":
            raise ValueError(f"to_torch: layer {name!r} is a LayerNorm2d, which is torchvision's and not torch's")
        usual = {"coordinates": None, "rounding": None, "dilation": (1, 1)}
        odd = usual if kind == "Upsample" else {"dilation": (1, 1)} if kind == "AvgPool2d" else {}
        for argument, value in odd.items():
            if argument in arguments and arguments.pop(argument) not in (value, 1):
                raise ValueError(f"to_torch: layer {name!r}, a {kind}, has a {argument}, which torch's has not")
        found = getattr(self.torch.nn, kind, None)
        if found is None:
            raise ValueError(f"to_torch: layer {name!r} is a {kind}, which torch has not")
        return found(**arguments)

    def _padded(self, name: str, kind: str, arguments: dict) -> Any:
        """A convolution or pool that pads by itself what torch's cannot."""
        if kind not in ("Conv2d", "MaxPool2d", "AvgPool2d") or kind == "AvgPool2d" and arguments["ceil_mode"]:
            raise ValueError(f"to_torch: layer {name!r}, a {kind}, is padded as torch's cannot be")
        from minigrad.functional.window import pair, sides

        pad, padding = self.torch.nn.functional.pad, arguments["padding"]
        geometry = [pair(kind, key, arguments[key], 1) for key in ("kernel_size", "stride", "dilation")]
        fill = -float("inf") if kind == "MaxPool2d" else 0.0
        of_all = kind != "AvgPool2d" or arguments["count_include_pad"]
        if kind == "AvgPool2d" and tuple(geometry[2]) != (1, 1):
            raise ValueError(f"to_torch: layer {name!r}, an AvgPool2d, has a dilation, which torch's has not")
        arguments = {key: value for key, value in arguments.items() if kind != "AvgPool2d" or key != "dilation"}

        class Padded(getattr(self.torch.nn, kind)):
            def forward(self, x: Any) -> Any:
                rows, columns = sides(kind, padding, tuple(x.shape[2:]), *geometry)
                widths = (*columns, *rows)
                y = super().forward(pad(x, widths, value=fill))
                return y if of_all else y / super().forward(pad(x[:1, :1] * 0 + 1, widths))

        return Padded(**arguments | {"padding": 0})

    def _call(self, name: str, module: Any) -> Any:
        function = FUNCTIONS.get(module.function, module.function)
        found = getattr(self.torch.nn.functional, function, None) or getattr(self.torch, function, None)
        if found is None:
            raise ValueError(f"to_torch: layer {name!r} calls {module.function}, which torch has not")
        if module.function == "where":
            return self._module({}, lambda parts, *inputs: _chosen(found, module.arguments, *inputs))
        called = ARGUMENTS | {"b": "exponent" if module.function == "pow" else "other"}
        compute = functools.partial(found, **{called.get(key, key): value for key, value in module.arguments.items()})
        listed = module.function in ("cat", "stack")
        return self._module({}, lambda parts, *inputs: compute(list(inputs)) if listed else compute(*inputs))

    def _weighted(self, name: str, module: Any) -> Any:
        torch, compute = self.torch, getattr(self.torch, module.function, None)
        if compute is None:
            raise ValueError(f"to_torch: layer {name!r} calls {module.function}, which torch has not")

        base: Any = torch.nn.Module

        class Weighted(base):
            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.zeros(module.shape))

            def forward(self, x: Any) -> Any:
                return compute(self.weight, x) if module.first else compute(x, self.weight)

        return Weighted()

    def _preprocess(self, layer: Preprocess) -> Callable[..., Any]:
        def forward(parts: dict, x: Any) -> Any:
            x = x.flip(-3) if layer.channel_order == "BGR" else x
            mean, std = (self.torch.tensor(v, dtype=x.dtype, device=x.device) for v in (layer.mean, layer.std))
            return (x * layer.scale - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)

        return forward

    def _graph(self, graph: nn.Graph) -> Any:
        nodes, outputs = graph.nodes, graph.outputs

        def forward(parts: dict, *inputs: Any) -> Any:
            values = {"input": inputs[0] if len(inputs) == 1 else inputs}

            def of(reference: Any) -> Any:
                return values[reference] if isinstance(reference, str) else values[reference[0]][reference[1]]

            for name, (_, taken) in nodes.items():
                values[name] = parts[name](*map(of, taken))
            return tuple(map(of, outputs)) if isinstance(outputs, list) else of(outputs)

        return self._module({name: self.translated(name, layer) for name, (layer, _) in nodes.items()}, forward)


def _chosen(where: Callable[..., Any], numbers: dict, condition: Any, *values: Any) -> Any:
    """torch.where takes no number by name."""
    waiting = iter(values)
    return where(condition, *(numbers[name] if name in numbers else next(waiting) for name in "ab"))


def _in_turn(parts: dict, x: Any) -> Any:
    for part in parts.values():
        x = part(x)
    return x


_JOINING = {  # forward of a container -> how outputs of its parts are joined; None: one after the other
    nn.Sequential.forward: None,
    nn.Parallel.forward: lambda torch, parts, x: torch.cat([part(x) for part in parts.values()], 1),
    nn.Sum.forward: lambda torch, parts, x: functools.reduce(operator.add, [part(x) for part in parts.values()]),
    nn.Product.forward: lambda torch, parts, x: functools.reduce(operator.mul, [part(x) for part in parts.values()]),
}
