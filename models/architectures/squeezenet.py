"""SqueezeNet 1.1 (Iandola et al. 2016, arXiv:1602.07360). Layers carry the literature's names: fire2.squeeze."""

from minigrad import nn

from .architecture import Architecture, Rng

# Channels of squeeze, expand 1x1 and expand 3x3; "pool" is 3x3 with stride 2.
SQUEEZENET1_1 = {
    "pool1": "pool",
    "fire2": (16, 64, 64),
    "fire3": (16, 64, 64),
    "pool3": "pool",
    "fire4": (32, 128, 128),
    "fire5": (32, 128, 128),
    "pool5": "pool",
    "fire6": (48, 192, 192),
    "fire7": (48, 192, 192),
    "fire8": (64, 256, 256),
    "fire9": (64, 256, 256),
}


def squeezenet_layers(classes: int | None, rng: Rng | None = None) -> dict:
    """{name: layer} of SqueezeNet 1.1, its scores rectified, as published (relu10); no head if `classes` is None."""
    layers = {"conv1": nn.Conv2d(3, 64, 3, stride=2, rng=rng), "relu1": nn.ReLU()}
    channels = 64
    for name, widths in SQUEEZENET1_1.items():
        if widths == "pool":
            layers[name] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        else:
            layers[name] = _fire(channels, *widths, rng)
            channels = widths[1] + widths[2]
    if classes is None:
        return layers
    layers["drop9"] = nn.Dropout()
    layers["conv10"] = nn.Conv2d(channels, classes, 1, rng=rng)
    layers["relu10"] = nn.ReLU()
    layers["gap"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    return layers


def _fire(channels: int, squeeze: int, expand1x1: int, expand3x3: int, rng: Rng) -> nn.Sequential:
    """Few channels, then many: fire2.squeeze, fire2.expand.1x1, fire2.expand.3x3. One ReLU serves both branches."""
    branches = {
        "1x1": nn.Conv2d(squeeze, expand1x1, 1, rng=rng),
        "3x3": nn.Conv2d(squeeze, expand3x3, 3, padding=1, rng=rng),
    }
    return nn.Sequential(
        {
            "squeeze": nn.Conv2d(channels, squeeze, 1, rng=rng),
            "relu_squeeze": nn.ReLU(),
            "expand": nn.Parallel(branches),
            "relu_expand": nn.ReLU(),
        }
    )


TABLE = {"squeezenet1_1": Architecture(squeezenet_layers, size=227, preprocessing="caffe-squeezenet")}
