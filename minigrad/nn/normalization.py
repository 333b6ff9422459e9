"""Layers that normalise each image by itself, with torch.nn's names and arguments."""

from collections.abc import Sequence
from math import prod

import numpy as np

from .. import functional as F
from ..functional.window import ints
from ..tensor import Tensor
from .module import Module


class _Affine(Module):
    """`.weight`, ones at the start, and `.bias`, zeros, of a shape; both None where `affine` is False."""

    def _learn(self, shape, affine=True, bias=True):
        self.weight = Tensor(np.ones(shape, np.float32), requires_grad=True) if affine else None
        self.bias = Tensor(np.zeros(shape, np.float32), requires_grad=True) if affine and bias else None


class GroupNorm(_Affine):
    """Groups of channels of each image to mean 0 and variance 1, then times `.weight` plus `.bias`, both (C,)."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_groups {num_groups} must divide num_channels {num_channels}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._learn(num_channels, affine)

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def describe(self) -> dict:
        return {name: getattr(self, name) for name in ("num_groups", "num_channels", "eps", "affine")}


class InstanceNorm2d(_Affine):
    """Each channel of each image to mean 0 and variance 1; if `affine`, times `.weight` plus `.bias`, both (C,)."""

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False) -> None:
        self.num_features, self.eps, self.affine = num_features, eps, affine
        self._learn(num_features, affine)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ValueError(f"InstanceNorm2d: x must be (N,{self.num_features},H,W), got shape {x.shape}")
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)

    def describe(self) -> dict:
        return {name: getattr(self, name) for name in ("num_features", "eps", "affine")}


class LayerNorm(_Affine):
    """The last dimensions to mean 0 and variance 1, then times `.weight` plus `.bias`, of normalized_shape."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        shape = ints("LayerNorm", "normalized_shape", normalized_shape)
        if not shape or prod(shape) < 1:
            raise ValueError(f"LayerNorm: normalized_shape must be positive ints, got {normalized_shape!r}")
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self._learn(shape, elementwise_affine, bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def describe(self) -> dict:
        names = ("normalized_shape", "eps", "elementwise_affine")
        return {name: getattr(self, name) for name in names} | {"bias": self.bias is not None}


class LayerNorm2d(_Affine):
    """The channels at each position to mean 0 and variance 1, then times `.weight` plus `.bias`, both (C,).

    As torchvision's, of ConvNeXt (Liu et al. 2022).
    """

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        self.num_channels, self.eps = num_channels, eps
        self._learn(num_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.channel_layer_norm(x, self.weight, self.bias, self.eps)

    def describe(self) -> dict:
        return {"num_channels": self.num_channels, "eps": self.eps}
