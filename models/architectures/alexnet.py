"""AlexNet (Krizhevsky et al. 2012), as torchvision has it; layers carry the literature's names.

That is the one column of Krizhevsky 2014 (arXiv:1404.5997), without local response normalisation, not the paper's two.
"""

from minigrad import nn

from .architecture import Architecture, Rng

CONVOLUTIONS = {  # channels, kernel, stride, padding
    "1": (64, 11, 4, 2),
    "2": (192, 5, 1, 2),
    "3": (384, 3, 1, 1),
    "4": (256, 3, 1, 1),
    "5": (256, 3, 1, 1),
}
POOLED = ("1", "2", "5")
HIDDEN = 4096


def alexnet_layers(classes: int | None, rng: Rng | None = None) -> dict:
    """{name: layer}: conv1, relu1, pool1, ..., pool5, avgpool, flatten, drop6, fc6, relu6, ..., fc8."""
    layers, channels = {}, 3
    for number, (width, kernel, stride, padding) in CONVOLUTIONS.items():
        layers[f"conv{number}"] = nn.Conv2d(channels, width, kernel, stride, padding, rng=rng)
        layers[f"relu{number}"] = nn.ReLU()
        if number in POOLED:
            layers[f"pool{number}"] = nn.MaxPool2d(3, stride=2)
        channels = width
    if classes is None:
        return layers
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(6), "flatten": nn.Flatten()}
    for number, width in (("6", channels * 36), ("7", HIDDEN)):
        layers[f"drop{number}"] = nn.Dropout()
        layers[f"fc{number}"] = nn.Linear(width, HIDDEN, rng=rng)
        layers[f"relu{number}"] = nn.ReLU()
    return layers | {"fc8": nn.Linear(HIDDEN, classes, rng=rng)}


TABLE = {"alexnet": Architecture(alexnet_layers)}
