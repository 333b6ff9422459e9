"""Model: a network that knows how to look at a photograph, what its classes are called and where it comes from."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.nn.activations import ACTIVATIONS
from minigrad.nn.plan import by_shape

# layers that give as many channels as they take
_ALIKE: tuple[type, ...] = (nn.Dropout, nn.Softmax, nn.Identity, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d)
_ALIKE += (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, *ACTIVATIONS.values())


@by_shape
class Model(nn.Sequential):
    """A `Sequential` of named layers, the first of them "preprocess", which takes RGB images in [0, 1].

    .name          the architecture, such as "vgg16"
    .input_size    (H, W) in pixels that it was made for
    .short_side    what a photograph's short side is reduced to before its centre is taken (see `models.load_image`), in
                   pixels: 256 for most networks of ImageNet; None takes as much as fits
    .labels        tuple of class names (`models.labels.Label`, a str), one for each score, or None
    .provenance    dict: where the weights come from ("source", and checksums where there are any)
    .known         what its own photographs look like to it (see known.Known), or None
    """

    def __init__(
        self,
        layers: dict[str, Any],
        name: str,
        input_size: Sequence[int],
        labels: Sequence[str] | None = None,
        provenance: Mapping[str, Any] | None = None,
        short_side: int | None = None,
    ) -> None:
        if next(iter(layers), None) != "preprocess":
            raise ValueError("Model: the first layer must be 'preprocess', a models.layers.Preprocess")
        super().__init__(layers)
        self.name, self.input_size, self.short_side = name, tuple(input_size), short_side
        self.labels, self.provenance = labels, dict(provenance or {})
        self.known: Any = None
        if short_side is not None and (isinstance(short_side, bool) or not isinstance(short_side, int | np.integer)):
            raise TypeError(f"Model: short_side is {short_side!r}: give a whole number of pixels, or None")
        if short_side is not None and short_side < max(self.input_size):
            raise ValueError(f"Model: short_side {short_side} is less than the input size {self.input_size}")

    @property
    def labels(self) -> Any:
        return self._labels

    @labels.setter
    def labels(self, labels: Sequence[str] | None) -> None:
        if isinstance(labels, str):
            raise TypeError(f"Model: labels is the text {labels!r}: give a tuple of names, one for each class")
        classes = scores_of(self)
        if labels is not None and classes is not None:
            check_labels("Model", labels, classes)
        self._labels = labels

    def __getitem__(self, name: str) -> Any:
        """As in every Module; another program's name of a layer, or the end of one, is told what it is called here."""
        try:
            return super().__getitem__(name)
        except ValueError:
            if not (near := same_names(self, name)):
                raise
            raise ValueError(f"there is no layer {name!r}, did you mean {' or '.join(near[:3])}?") from None

    def replace(self, layers: dict[str, Any]) -> "Model":
        """The same model with other layers ({name: layer}); the layers themselves are shared, not copied."""
        other = Model(layers, self.name, self.input_size, self.labels, self.provenance, self.short_side)
        other.known = self.known
        return other


def check_labels(name: str, labels: Sequence[str], classes: int) -> None:
    """Refuse names of classes that are not as many as there are scores."""
    if len(labels) != classes:
        raise ValueError(f"{name}: {len(labels)} labels for {classes} classes: give a name for each of them, or None")


def scores_of(container: Any) -> int | None:
    """How many channels a container's last layers give, where these layers say so themselves; else None."""
    layers = _back_from_the_end(container)
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            return layer.out_features
        if isinstance(layer, nn.Conv2d):
            return layer.out_channels
        if type(layer) in (nn.Sequential, nn.Graph):
            return scores_of(layer)
        one_place = isinstance(layer, nn.Flatten) and _gives_one_place(layers[place + 1 : place + 2])
        if not one_place and type(layer) not in _ALIKE:
            return None
    return None


def _back_from_the_end(container: Any) -> list[Any]:
    """The layers of a chain, or those of a graph that lead to its output one by one, the last first."""
    if not isinstance(container, nn.Graph):
        return [layer for _, layer in reversed(container.children())]
    nodes, found, taken = container.nodes, [], [container.outputs]
    while len(taken) == 1 and isinstance(taken[0], str) and taken[0] in nodes:
        layer, taken = nodes[taken[0]]
        found.append(layer)
    return found


def _gives_one_place(layers: list[Any]) -> bool:
    pools = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
    return all(isinstance(one, pools) and one.output_size in (1, (1, 1)) for one in layers) and len(layers) == 1


def near_names(network: nn.Module, name: str) -> list[str]:
    """Dotted names of layers like `name`: the same ones in another program's spelling, else a few that are close."""
    return same_names(network, name) or difflib.get_close_matches(name, network.names(), cutoff=0.7)


def same_names(network: nn.Module, name: str) -> list[str]:
    """The layers that another program calls `name`, as "/layer1/layer1.0/conv1/Conv" is layer1.0.conv1, or that end so.

    What a name of ours cannot hold, dots and slashes within one, has become "_" (convert/assemble.py).
    """
    wanted = _plain(name)
    path = _plain(name.rpartition("/")[0]) if name.startswith("/") else ""  # without torch's operator
    found = []
    for ours in network.names():
        plain = _plain(ours.removeprefix("network."))
        if plain == wanted or f"_{_plain(ours)}".endswith(f"_{wanted}") or f"_{path}".endswith(f"_{plain}"):
            found.append(ours)
    return sorted(found, key=len, reverse=bool(path)) if re.search("[a-z]", wanted) else []


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name).strip("_").lower()


def fold_batch_norm(network: Any) -> Any:
    """The network without the BatchNorm2d layers that can be folded; in evaluation mode, the same.

    A norm is folded into the Conv2d or Linear whose output goes to it alone: in a chain the layer before it, in a Graph
    the node that it takes, at any depth. With s = weight / sqrt(running_var + eps), the weights become s * W and the
    bias s * (b - running_mean) + bias. Norms behind anything else stay, and so does a Module of another class, with
    all that is in it, as only its `forward` knows who takes what. Other layers are shared with `network`.
    """
    if type(network) is nn.Graph:
        return _folded_graph(network)
    chain = type(network).forward is nn.Sequential.forward
    if not chain and type(network) not in (nn.Parallel, nn.Sum, nn.Product):
        return network
    layers: dict[str, Any] = {}
    previous = ""
    for name, layer in network.children():
        if chain and _folds(layers.get(previous), layer):
            layers[previous] = _fold(layers[previous], layer)
        else:
            layers[name], previous = fold_batch_norm(layer), name
    return network.replace(layers)


def _folded_graph(graph: nn.Graph) -> nn.Graph:
    outputs = graph.outputs if isinstance(graph.outputs, list) else [graph.outputs]
    taken = [one for _, inputs in graph.nodes.values() for one in inputs] + outputs
    nodes, place_of = {}, {}
    for name, (layer, inputs) in graph.nodes.items():
        inputs = [place_of.get(one, one) for one in inputs]
        before = nodes.get(inputs[0], (None,))[0]
        if taken.count(inputs[0]) == 1 and _folds(before, layer):
            nodes[inputs[0]] = (_fold(before, layer), nodes[inputs[0]][1])
            place_of[name] = inputs[0]
        else:
            nodes[name] = (fold_batch_norm(layer), inputs)
    outputs = [place_of.get(one, one) for one in outputs]
    return nn.Graph(nodes, outputs if isinstance(graph.outputs, list) else outputs[0])


def _folds(layer: nn.Module, norm: nn.Module) -> bool:
    return isinstance(norm, nn.BatchNorm2d) and type(layer) in (nn.Conv2d, nn.Linear)


def _fold(layer: nn.Module, norm: nn.Module) -> nn.Module:
    """A layer that does what `layer` and `norm` do."""
    mean, var, weight, bias, kernel = (
        tensor.numpy().astype(np.float64)
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias, layer.weight)
    )
    scale = weight / np.sqrt(var + norm.eps)
    before = 0 if layer.bias is None else layer.bias.numpy().astype(np.float64)

    folded = type(layer)(**layer.describe() | {"bias": True})
    dtype = layer.weight.dtype
    folded.weight.data = (kernel * scale.reshape(-1, *[1] * (kernel.ndim - 1))).astype(dtype)
    folded.bias.data = (scale * (before - mean) + bias).astype(dtype)
    return folded.to(layer.weight.device)
