"""Layers and networks, with torch.nn's names and arguments."""

from .graph import Call, Graph, Product, Sum
from .layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    LeakyReLU,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Softmax,
)
from .module import Module, Parallel, Sequential

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Call",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Graph",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "MaxPool2d",
    "Module",
    "Parallel",
    "Product",
    "ReLU",
    "Sequential",
    "Softmax",
    "Sum",
]
