"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842), as torchvision has it and names it.

That is not the paper's: batch normalisation in the place of local response normalisation, and 3x3 for 5x5 convolutions.
The auxiliary classifiers, which only training has, are left out.
"""

from minigrad import nn

from .architecture import Architecture, Rng

INCEPTION = {  # channels of branch1; of branch2's 1x1 and 3x3; of branch3's; of branch4
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet_layers(classes: int | None, rng: Rng | None = None) -> dict:
    """{name: layer}: conv1.conv, ..., inception3a.branch2.0.conv, ..., inception5b, and the head."""
    layers = {
        "conv1": conv(3, 64, 7, rng, stride=2),
        "maxpool1": nn.MaxPool2d(3, stride=2, ceil_mode=True),
        "conv2": conv(64, 64, 1, rng),
        "conv3": conv(64, 192, 3, rng),
        "maxpool2": nn.MaxPool2d(3, stride=2, ceil_mode=True),
    }
    channels = 192
    for name, widths in INCEPTION.items():
        if name == "4a":
            layers["maxpool3"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        if name == "5a":
            layers["maxpool4"] = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        layers[f"inception{name}"] = inception(channels, *widths, rng)
        channels = widths[0] + widths[2] + widths[4] + widths[5]
    if classes is None:
        return layers
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "dropout": nn.Dropout(0.2)}
    return layers | {"fc": nn.Linear(channels, classes, rng=rng)}


def inception(
    channels: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pooled: int, rng: Rng
) -> nn.Parallel:
    """Four branches, concatenated."""
    branches = {
        "branch1": conv(channels, one, 1, rng),
        "branch2": nn.Sequential({"0": conv(channels, reduce3, 1, rng), "1": conv(reduce3, three, 3, rng)}),
        "branch3": nn.Sequential({"0": conv(channels, reduce5, 1, rng), "1": conv(reduce5, five, 3, rng)}),
        "branch4": nn.Sequential({"0": nn.MaxPool2d(3, 1, 1, ceil_mode=True), "1": conv(channels, pooled, 1, rng)}),
    }
    return nn.Parallel(branches)


def conv(channels: int, width: int, kernel: int, rng: Rng, stride: int = 1) -> nn.Sequential:
    """conv, bn, relu."""
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False, rng=rng)
    return nn.Sequential({"conv": convolution, "bn": nn.BatchNorm2d(width, eps=1e-3), "relu": nn.ReLU()})


TABLE = {"googlenet": Architecture(googlenet_layers, preprocessing="half")}
