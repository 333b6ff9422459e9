"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381): blocks that widen, filter each channel, and narrow again.

As torchvision has it and names it; "mobilenet_v2_v2" is for its second weights, trained longer.
"""

from minigrad import nn

from .architecture import Architecture, Rng, conv_norm, dropped_head, numbered

STAGES = (  # expansion, channels, blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
FIRST, LAST = 32, 1280


def mobilenet_layers(classes: int | None, rng: Rng | None = None) -> dict:
    """{name: layer}: features.0.0, ..., features.1.conv.0.0, ..., features.18, and the head if there are `classes`."""
    blocks, channels = [conv_norm(3, FIRST, 3, rng, stride=2, activation=nn.ReLU6)], FIRST
    for expansion, width, count, stride in STAGES:
        for place in range(count):
            blocks.append(inverted_residual(channels, width, expansion, stride if place == 0 else 1, rng))
            channels = width
    blocks.append(conv_norm(channels, LAST, 1, rng, activation=nn.ReLU6))
    layers = {"features": numbered(blocks)}
    return layers if classes is None else layers | dropped_head(LAST, classes, rng)


def inverted_residual(channels: int, width: int, expansion: int, stride: int, rng: Rng) -> nn.Module:
    """A 1x1 convolution to `expansion` times the channels, a depthwise one, and a 1x1 one back, not rectified."""
    wide = channels * expansion
    convs = [conv_norm(channels, wide, 1, rng, activation=nn.ReLU6)] if expansion != 1 else []
    convs.append(conv_norm(wide, wide, 3, rng, stride, groups=wide, activation=nn.ReLU6))
    convs += [nn.Conv2d(wide, width, 1, bias=False, rng=rng), nn.BatchNorm2d(width)]
    if stride != 1 or channels != width:
        return nn.Sequential({"conv": numbered(convs)})
    return nn.Graph({"conv": numbered(convs), "add": (nn.Call("add"), ["conv", "input"])})


TABLE = {
    "mobilenet_v2": Architecture(mobilenet_layers),
    "mobilenet_v2_v2": Architecture(mobilenet_layers, short_side=232),
}
