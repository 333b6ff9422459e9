"""The networks, written in torch by hand with the same names of layers, and pairs of ours and torch's on equal weights.

Names are the same so that weights go over by name; nothing else is shared with models/architectures/.
"""

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

import models
from models.catalogue import EMBEDDED, home
from models.mistakes import UserError


class Prepared(nn.Module):
    """Scale, order of channels, mean and deviation, as the weights file says."""

    def __init__(self, scale, mean, std, channel_order):
        super().__init__()
        self.scale, self.reverse = scale, channel_order == "BGR"
        self.mean = torch.tensor(mean, dtype=torch.float64).reshape(3, 1, 1)
        self.std = torch.tensor(std, dtype=torch.float64).reshape(3, 1, 1)

    def forward(self, x):
        x = x.flip(-3) if self.reverse else x
        return (x * self.scale - self.mean) / self.std


class Fire(nn.Module):
    """SqueezeNet's module: 1x1 to few channels, then 1x1 and 3x3 side by side."""

    def __init__(self, channels, squeeze, one, three):
        super().__init__()
        self.squeeze, self.relu_squeeze = nn.Conv2d(channels, squeeze, 1), nn.ReLU()
        self.expand = nn.ModuleDict({"1x1": nn.Conv2d(squeeze, one, 1), "3x3": nn.Conv2d(squeeze, three, 3, padding=1)})
        self.relu_expand = nn.ReLU()

    def forward(self, x):
        x = self.relu_squeeze(self.squeeze(x))
        return self.relu_expand(torch.cat([self.expand["1x1"](x), self.expand["3x3"](x)], 1))


def vgg_body(network, stages):
    """The convolutions of a VGG, two digits to a name, and the max-pools between stages; the last width."""
    channels = 3
    for s, widths in enumerate(stages):
        if s:
            network.add_module(f"pool{s}", nn.MaxPool2d(2, 2))
        for p, width in enumerate(widths, 1):
            network.add_module(f"conv{s + 1}_{p}", nn.Conv2d(channels, width, 3, padding=1))
            network.add_module(f"relu{s + 1}_{p}", nn.ReLU())
            channels = width
    return channels


def vgg(stages, classes):
    network = nn.Sequential()
    channels = vgg_body(network, stages)
    network.add_module("pool5", nn.MaxPool2d(2, 2))
    network.add_module("avgpool", nn.AdaptiveAvgPool2d((7, 7)))
    network.add_module("flatten", nn.Flatten())
    for number, (a, b) in enumerate(((channels * 49, 4096), (4096, 4096)), 6):
        network.add_module(f"fc{number}", nn.Linear(a, b))
        network.add_module(f"relu{number}", nn.ReLU())
        network.add_module(f"drop{number}", nn.Dropout())
    network.add_module("fc8", nn.Linear(4096, classes))
    return network


def minivgg(classes):
    network = nn.Sequential()
    channels = vgg_body(network, ((32,), (64, 64), (128, 128), (256, 256), (384, 384)))
    for name, layer in (("gap", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc6", nn.Linear(channels, 256))):
        network.add_module(name, layer)
    for name, layer in (("relu6", nn.ReLU()), ("drop6", nn.Dropout(0.2)), ("fc7", nn.Linear(256, classes))):
        network.add_module(name, layer)
    return network


def squeezenet(classes):
    network = nn.Sequential()
    for name, layer in (
        ("conv1", nn.Conv2d(3, 64, 3, stride=2)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(3, 2, ceil_mode=True)),
        ("fire2", Fire(64, 16, 64, 64)),
        ("fire3", Fire(128, 16, 64, 64)),
        ("pool3", nn.MaxPool2d(3, 2, ceil_mode=True)),
        ("fire4", Fire(128, 32, 128, 128)),
        ("fire5", Fire(256, 32, 128, 128)),
        ("pool5", nn.MaxPool2d(3, 2, ceil_mode=True)),
        ("fire6", Fire(256, 48, 192, 192)),
        ("fire7", Fire(384, 48, 192, 192)),
        ("fire8", Fire(384, 64, 256, 256)),
        ("fire9", Fire(512, 64, 256, 256)),
        ("drop9", nn.Dropout()),
        ("conv10", nn.Conv2d(512, classes, 1)),
        ("relu10", nn.ReLU()),
        ("gap", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
    ):
        network.add_module(name, layer)
    return network


TWO, THREE, FOUR = (64, 64), (128, 128), (256, 256, 256)
IN_TORCH = {
    "vgg11": lambda k: vgg(((64,), (128,), (256, 256), (512, 512), (512, 512)), k),
    "vgg13": lambda k: vgg(((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)), k),
    "vgg16": lambda k: vgg(((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3), k),
    "vgg19": lambda k: vgg(((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4), k),
    "minivgg": minivgg,
    "squeezenet1_1": squeezenet,
}


# ---- pairs -----------------------------------------------------------------------------------------------------------


@dataclass
class Pair:
    """A network of ours in float32 and float64, and torch's in float64, on the same weights. All frozen."""

    model: models.Model
    title: str

    @classmethod
    def named(cls, name, seed):
        """Of a name or a weights file; a network whose weights are not here gets random ones, biases too."""
        name = "squeezenet1_1" if name == "squeezenet" else name
        if name in IN_TORCH and not any((folder / f"{name}.h5").is_file() for folder in (EMBEDDED, home())):
            return cls(_random(name, seed), f"{name}, random weights")
        model = models.load(name)
        if model.name not in IN_TORCH:
            raise UserError(f"--model {name}: there is no {model.name} in torch; there are {', '.join(IN_TORCH)}")
        return cls(model, model.name)

    @cached_property
    def ours(self):
        """{dtype: Model}."""
        wide = copy.copy(self.model)
        wide = models.Model(self._copies(self.model), self.model.name, self.model.input_size, self.model.labels)
        wide.load_state_dict({name: a.astype(np.float64) for name, a in self.model.state_dict().items()})
        return {"float32": self.model.requires_grad_(False), "float64": wide.requires_grad_(False)}

    @staticmethod
    def _copies(model):
        return {name: copy.deepcopy(layer) for name, layer in model.children()}

    @cached_property
    def torch(self):
        """torch's network from images in [0,1], in float64, sharing the memory of ours."""
        network = nn.Sequential()
        network.add_module("preprocess", Prepared(**self.model["preprocess"].describe()))
        for name, layer in self.bare.named_children():
            network.add_module(name, layer)
        return network.eval()

    @cached_property
    def bare(self):
        """torch's network without the preprocessing."""
        state = self.ours["float64"].state_dict()
        classes = next(reversed([a for name, a in state.items() if name.endswith("weight")])).shape[0]
        with torch.device("meta"):
            network = IN_TORCH[self.model.name](classes)
        try:
            network.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()}, assign=True)
        except RuntimeError as error:
            raise UserError(f"--model: not a {self.model.name} as published: {error}") from None
        return network.eval().requires_grad_(False)

    def layer(self, name):
        """torch's layer of that name."""
        return self.torch.get_submodule(name)


def _random(name, seed):
    """He-initialised, with small random biases, which would otherwise be zero and show nothing."""
    model, rng = models.build(name, seed=seed), np.random.default_rng(seed)
    for key, tensor in model.named_tensors():
        if key.endswith("bias"):
            tensor.data = (0.1 * rng.standard_normal(tensor.shape)).astype(np.float32)
    return model


def image_like(rng, shape):
    """(N,3,H,W) float32 in [0,1]: blotches of colour, with noise on them; no two pixels alike."""
    n, c, h, w = shape
    coarse = torch.from_numpy(rng.random((n, c, 7, 7)))
    smooth = torch.nn.functional.interpolate(coarse, (h, w), mode="bicubic", align_corners=False).numpy()
    return np.clip(0.1 + 0.8 * smooth + 0.05 * rng.standard_normal(shape), 0, 1).astype(np.float32)
