"""Looking inside: a layer's weights as images, and its activations as maps.

Letters: N images, O output channels or features, C input channels, KH KW of a kernel, H W of a map.
"""

import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.nn import Module

from .sizes import activations
from .target import as_image, channels
from .typing import Images


def weight_images(model: Module, layer: str, shared: bool = False) -> np.ndarray:
    """(O,C,KH,KW) in [0, 1]: the weights of a convolution or linear layer, from smallest (0) to largest (1).

    layer: a name. shared: one range for all filters; otherwise each filter has its own. A filter without any range is
    grey. The kernels of a model's first convolution come in the order R, G, B, also where its "preprocess" feeds it B,
    G, R. The rows of a linear layer after a Flatten have the shape of what was flattened (VGG16's fc6: 512,7,7); other
    rows are wrapped into one grey image, as square as their length allows (fc8: 1,64,64).
    """
    module = model[layer]
    if isinstance(module, nn.Conv2d):
        weight = module.weight.numpy()
        if layer == _first(model, nn.Conv2d) and getattr(_preprocess(model), "channel_order", "RGB") == "BGR":
            weight = weight[:, ::-1]
    elif isinstance(module, nn.Linear):
        weight = module.weight.numpy().reshape(-1, *_row_shape(model, layer, module.in_features))
    else:
        raise ValueError(f"weight_images: layer {layer!r} is a {type(module).__name__}, which has no weights to show")
    return to_unit_range(weight, shared)


def to_unit_range(images: np.ndarray, shared: bool = False) -> np.ndarray:
    """`images` (N,...) moved and scaled to [0, 1]: all alike if `shared`, otherwise each by its own range."""
    images = np.asarray(images, np.float64)
    axes = tuple(range(images.ndim)) if shared else tuple(range(1, images.ndim))
    low, high = images.min(axes, keepdims=True), images.max(axes, keepdims=True)
    flat = high == low
    return np.where(flat, 0.5, (images - low) / np.where(flat, 1, high - low))


def _preprocess(model: Module) -> Any:
    return model["preprocess"] if "preprocess" in list(model) else None


def _first(model: Module, kind: Any) -> str | None:
    return next((name for name in model.names() if isinstance(model[name], kind)), None)


def _row_shape(model: Module, layer: str, features: int) -> tuple:
    """The shape of one row of a linear layer, as weight_images says."""
    names = list(model)
    before = names[: names.index(layer)] if layer in names else []
    if before and isinstance(model[before[-1]], nn.Flatten) and hasattr(model, "input_size"):
        image = (channels(model), *model.input_size)
        rows = {row.name: row.output_shape for row in model.layers(image)}
        return rows[before[-2]] if len(before) > 1 else image
    height = max(n for n in range(1, math.isqrt(features) + 1) if features % n == 0)
    return 1, height, features // height


def activation_maps(model: Module, image: Images, layer: str) -> np.ndarray:
    """The activations of `layer` for images (N,3,H,W): (N,O,h,w) after a convolution, (N,O) after a linear layer."""
    with mg.no_grad():
        return activations(model, as_image(model, image), [layer])[layer].numpy()


def strongest_channels(activations: np.ndarray, count: int) -> np.ndarray:
    """(count,) channels of `activations` (N,O,h,w) or (N,O), those with the largest mean first."""
    mean = activations.mean(tuple(i for i in range(activations.ndim) if i != 1))
    return np.argsort(-mean, kind="stable")[:count]
