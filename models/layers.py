"""The layers that only models of photographs need: their preprocessing, and maps of a photograph's size."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import Tensor, nn
from minigrad import functional as F
from minigrad.functional.convert import constant_like
from minigrad.nn.plan import by_shape

# What the released weights were trained on. Caffe's networks want BGR from 0 to 255 minus a mean, in BGR order.
PREPROCESSING: dict[str, dict[str, Any]] = {
    "caffe": {"scale": 255, "mean": (103.939, 116.779, 123.68), "channel_order": "BGR"},
    "caffe-squeezenet": {"scale": 255, "mean": (104, 117, 123), "channel_order": "BGR"},
    "bgr255": {"scale": 255, "channel_order": "BGR"},
    "half": {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    "torchvision": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "none": {},
}


@by_shape
class Preprocess(nn.Module):
    """(scale * x - mean) / std, after putting the channels of x in `channel_order`.

    x: (N, 3, H, W) or (3, H, W), RGB in [0, 1]. mean and std: three numbers, in the order of `channel_order` ("RGB" or
    "BGR"); of a network of other images one for each of their channels, which stay in their order. An ordinary
    differentiable layer, so gradients and attack budgets are in terms of the pixels in [0, 1].
    """

    def __init__(
        self,
        scale: float = 1.0,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        channel_order: str = "RGB",
    ) -> None:
        if channel_order not in ("RGB", "BGR"):
            raise ValueError(f"Preprocess: channel_order is {channel_order!r}, expected 'RGB' or 'BGR'")
        self.scale, self.channel_order = float(scale), channel_order
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        if not len(self.mean) == len(self.std) > 0:
            raise ValueError("Preprocess: mean and std are as many numbers as images have channels, three for RGB")
        if channel_order == "BGR" and len(self.mean) != 3:
            raise ValueError(f"Preprocess: channel_order 'BGR' is for three channels, mean has {len(self.mean)}")
        if not np.isfinite((self.scale, *self.mean, *self.std)).all() or self.scale == 0 or 0 in self.std:
            raise ValueError("Preprocess: scale, mean and std must be finite, scale and std not 0")

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in (3, 4) or x.shape[-3] != len(self.mean):
            what = "3, H, W), RGB" if len(self.mean) == 3 else f"{len(self.mean)}, H, W),"
            raise ValueError(f"preprocess: x must be (N, {what} in [0, 1], got shape {tuple(x.shape)}")
        if self.channel_order == "BGR":
            x = x[..., ::-1, :, :]
        if self.scale != 1:
            x = x * self.scale
        if any(self.mean):
            x = x - _channels(self.mean, x)
        if self.std != (1,) * len(self.std):
            x = x / _channels(self.std, x)
        return x

    def describe(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("scale", "mean", "std", "channel_order")}


class ResizedLike(nn.Module):
    """The first input, (N,C,h,w), with the sides of the second, (N,_,H,W), bilinearly."""

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=tuple(like.shape[2:]), mode="bilinear")

    def describe(self) -> dict[str, Any]:
        return {}


def _channels(values: Sequence[float], x: Tensor) -> Tensor:
    """(C, 1, 1), where x lives and of its dtype."""
    return F.reshape(constant_like(x, values), (len(values), 1, 1))
