"""Model: a network that knows how to look at a photograph, what its classes are called and where it comes from."""

import numpy as np

from minigrad import nn

# Published accuracies are those of the centre, of this many pixels, of photographs with a short side of 256.
TESTED_ON = {"squeezenet1_1": 227, "vgg11": 224, "vgg13": 224, "vgg16": 224, "vgg19": 224}


class Model(nn.Sequential):
    """A `Sequential` of named layers, the first of them "preprocess", which takes RGB images in [0, 1].

    .name          the architecture, such as "vgg16"
    .input_size    (H, W) in pixels that it was made for
    .short_side    of photographs whose centre it looks at, in pixels, or None
    .labels        tuple of class names (`models.labels.Label`, a str), or None
    .provenance    dict: where the weights come from ("source", and checksums where there are any)
    """

    def __init__(self, layers, name, input_size, labels=None, provenance=None):
        if next(iter(layers), None) != "preprocess":
            raise ValueError("Model: the first layer must be 'preprocess', a models.layers.Preprocess")
        super().__init__(layers)
        self.name, self.input_size = name, tuple(input_size)
        self.labels, self.provenance = labels, dict(provenance or {})

    @property
    def short_side(self):
        """What to reduce a photograph's short side to before taking its centre (see `models.load_image`), in pixels.

        256 for a network of ImageNet at the size that it was tested on; None, as much as fits, for all others.
        """
        tested_on = TESTED_ON.get(self.name)
        return 256 if tested_on is not None and self.input_size == (tested_on, tested_on) else None

    def replace(self, layers):
        """The same model with other layers ({name: layer}); the layers themselves are shared, not copied."""
        return Model(layers, self.name, self.input_size, self.labels, self.provenance)


def fold_batch_norm(model):
    """The network without its BatchNorm2d layers, each folded into the Conv2d before it; in evaluation mode, the same.

    With s = weight / sqrt(running_var + eps), the convolution's weights become s * W and its bias
    s * (b - running_mean) + bias. Other layers are shared with `model`. Raises ValueError where a BatchNorm2d does not
    follow a Conv2d.
    """
    layers = _folded(model)
    return model.replace(layers) if isinstance(model, Model) else type(model)(layers)


def _folded(container):
    layers, previous = {}, None
    for name, layer in container.children():
        if isinstance(layer, nn.BatchNorm2d):
            if not isinstance(layers.get(previous), nn.Conv2d) or isinstance(container, nn.Parallel):
                raise ValueError(f"fold_batch_norm: {name!r} does not follow a Conv2d")
            layers[previous] = _fold(layers[previous], layer)
            continue
        layers[name] = type(layer)(_folded(layer)) if isinstance(layer, nn.Sequential) else layer
        previous = name
    return layers


def _fold(conv, norm):
    mean, var, weight, bias, kernel = (
        tensor.numpy().astype(np.float64)
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias, conv.weight)
    )
    scale = weight / np.sqrt(var + norm.eps)
    before = 0 if conv.bias is None else conv.bias.numpy().astype(np.float64)

    folded = nn.Conv2d(**conv.describe() | {"bias": True})
    dtype = conv.weight.dtype
    folded.weight.data = (kernel * scale[:, None, None, None]).astype(dtype)
    folded.bias.data = (scale * (before - mean) + bias).astype(dtype)
    return folded.to(conv.weight.device)
