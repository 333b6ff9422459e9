"""HED (Xie and Tu 2015, arXiv:1504.06375): holistically-nested edge detection, VGG16 with five side outputs.

The last ReLU of each stage gives a map by a 1x1 convolution, dsn1 to dsn5; these are enlarged to the picture's size and
joined by another, fuse. What comes out is (N,1,H,W) in [0,1]: how probably there is an edge at each pixel.
"""

from minigrad import nn

from ..layers import ResizedLike
from .architecture import Rng
from .vgg import VGG, stage_layers

NAME = "hed"
SIZE = 320  # pixels; any other will do
PREPROCESSING = "caffe"


def hed_layers(rng: Rng | None = None) -> dict:
    """{name: layer} of the network, whose layers are network.conv1_1, ..., network.dsn5, network.fuse."""
    stages = VGG["vgg16"]
    nodes = dict(stage_layers(stages, rng))
    for number, widths in enumerate(stages, 1):
        nodes[f"dsn{number}"] = (nn.Conv2d(widths[-1], 1, 1, rng=rng), f"relu{number}_{len(widths)}")
        nodes[f"side{number}"] = (ResizedLike(), [f"dsn{number}", nn.graph.INPUT])
    nodes["sides"] = (nn.Call("cat", dim=1), [f"side{number}" for number in range(1, len(stages) + 1)])
    nodes["fuse"] = nn.Conv2d(len(stages), 1, 1, rng=rng)
    nodes["edges"] = nn.Sigmoid()
    return {"network": nn.Graph(nodes)}
