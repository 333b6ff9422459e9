"""Networks made from a network, sharing its layers: without its preprocessing, or with average for max pooling."""

from typing import Any

from minigrad import nn
from minigrad.nn import Module


def without_preprocessing(model: Module) -> Any:
    """The network after its first layer "preprocess": it takes what that layer would give, whatever its range.

    Layers and weights are shared with `model`. Raises ValueError if the first layer has another name.
    """
    (first, _), *rest = model.children()
    if first != "preprocess":
        raise ValueError(f'without_preprocessing: the first layer is {first!r}, expected "preprocess"')
    network = described_as(model, nn.Sequential(dict(rest)))
    network.value_range = None
    return network


def with_average_pooling(model: Module) -> Any:
    """`model` with every MaxPool2d replaced by the AvgPool2d of the same windows, for which the gradient flows to every
    pixel (Gatys et al. 2016, section 2). Layers and weights are shared. Padding is not averaged in.

    Raises NotImplementedError for a dilated max pool, and for one inside a Module whose `forward` is its own.
    """
    layers = _average_pooled(model)
    return described_as(model, model.replace(layers))


def _average_pooled(container: Module) -> dict:
    layers = {}
    for name, layer in container.children():
        if isinstance(layer, nn.Sequential | nn.Graph):
            layer = layer.replace(_average_pooled(layer))
        elif isinstance(layer, nn.MaxPool2d):
            arguments = layer.describe()
            if arguments.pop("dilation") not in (1, (1, 1)):
                raise NotImplementedError(f"with_average_pooling: the pool {name!r} is dilated")
            layer = nn.AvgPool2d(**arguments, count_include_pad=False)
        elif any(isinstance(inner, nn.MaxPool2d) for _, inner in layer.named_modules()):
            raise NotImplementedError(f"with_average_pooling: {name!r} has a pool inside and a forward of its own")
        layers[name] = layer
    return layers


def described_as(model: Module, network: Module) -> Module:
    """`network` with what `model` says of its classes and of its input, if it does."""
    for attribute in ("labels", "input_size", "short_side", "image_shape", "value_range"):
        if hasattr(model, attribute):
            setattr(network, attribute, getattr(model, attribute))
    return network
