"""ResNet (He et al. 2015, arXiv:1512.03385): each block adds to its input what it has computed from it.

As torchvision has it and names it: the stride of a bottleneck is in its 3x3 convolution ("V1.5"). Its second weights of
the same networks, trained longer, are entries of their own, "resnet50_v2", for photographs of another size.
"""

from collections.abc import Sequence
from functools import partial

from minigrad import nn

from .architecture import Architecture, Rng, head, numbered

BLOCKS = {  # kind of block, and how many in each of the four stages
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
}
WIDTHS = (64, 128, 256, 512)
EXPANSION = {"basic": 1, "bottleneck": 4}


def resnet_layers(kind: str, counts: Sequence[int], classes: int | None, rng: Rng | None = None) -> dict:
    """{name: layer}: conv1, bn1, relu, maxpool, layer1.0.conv1, ..., layer4, and the head if there are `classes`."""
    layers = {
        "conv1": nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False, rng=rng),
        "bn1": nn.BatchNorm2d(64),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    channels = 64
    for stage, (count, width) in enumerate(zip(counts, WIDTHS, strict=True), 1):
        blocks = []
        for place in range(count):
            stride = 2 if stage > 1 and place == 0 else 1
            blocks.append(block(kind, channels, width, stride, rng))
            channels = width * EXPANSION[kind]
        layers[f"layer{stage}"] = numbered(blocks)
    return layers if classes is None else layers | head(channels, classes, rng)


def block(kind: str, channels: int, width: int, stride: int, rng: Rng) -> nn.Graph:
    """Convolutions with their norms, added to the input, or to a 1x1 convolution of it where the shape changes."""
    if kind == "basic":
        convs = [(channels, width, 3, stride), (width, width, 3, 1)]
    else:
        convs = [(channels, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1)]
    nodes, out = {}, width * EXPANSION[kind]
    for place, (before, after, kernel, step) in enumerate(convs, 1):
        if place > 1:
            nodes[f"relu{place - 1}"] = nn.ReLU()
        nodes[f"conv{place}"] = nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False, rng=rng)
        nodes[f"bn{place}"] = nn.BatchNorm2d(after)
    shortcut = "input"
    if stride != 1 or channels != out:
        conv = nn.Conv2d(channels, out, 1, stride, bias=False, rng=rng)
        nodes["downsample"], shortcut = (numbered([conv, nn.BatchNorm2d(out)]), "input"), "downsample"
    nodes["add"] = (nn.Call("add"), [f"bn{len(convs)}", shortcut])
    nodes[f"relu{len(convs)}"] = nn.ReLU()
    return nn.Graph(nodes)


TABLE = {name: Architecture(partial(resnet_layers, *blocks)) for name, blocks in BLOCKS.items()}
TABLE |= {f"{name}_v2": Architecture(TABLE[name].layers, short_side=232) for name in ("resnet50", "resnet101")}
