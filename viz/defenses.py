"""Defences that change the image before the network sees it, each as a layer, so that an attack can know them.

`defend(model, Jpeg(50))` is a network like any other. An attack on `model` does not know the defence; the same attack
on the defended network does, and only that says what a defence is worth (Athalye, Carlini and Wagner 2018,
arXiv:1802.00420): blur is differentiated as it is; the gradient of rounding, which is 0 almost everywhere, is replaced
by that of the identity (their "BPDA", the straight-through estimator); the gradient of random noise is averaged over
draws (their "EOT", the attacks' `samples`).

Letters: N images, C channels, H W height and width.
"""

import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, nn
from minigrad import functional as F
from minigrad.device import to_device, to_numpy
from minigrad.nn import Module

from .network import described_as
from .random import pixels_key, stream
from .target import in_pixels


class StraightThrough(mg.Function):
    """transform(x), with the derivative of the identity. transform: array (N,C,H,W) to array, on the CPU."""

    def __init__(self, transform: Callable[..., Any]) -> None:
        self.transform = transform

    def forward(self, x: np.ndarray) -> np.ndarray:
        changed = self.transform(to_numpy(x)).astype(x.dtype)
        return to_device(changed, mg.from_numpy(x).device)

    def vjp(self, g: Tensor) -> Tensor:
        return g


class GaussianNoise(nn.Module):
    """x + sigma * N(0, 1), drawn anew at every call; sigma in pixels' units. `random`: an attack should average.

    What is drawn for a photograph depends on the seed, its pixels and how often this layer has met it.
    """

    random = True

    def __init__(self, sigma: float = 0.05, seed: int = 0) -> None:
        if not sigma >= 0:
            raise ValueError(f"GaussianNoise: sigma must not be negative, got {sigma}")
        in_pixels("GaussianNoise", "sigma", sigma)
        self.sigma, self.seed, self.met = sigma, seed, Counter()

    def forward(self, x: Tensor) -> Tensor:
        noise = np.stack([self._noise(image) for image in x.numpy()])
        return x + mg.from_numpy(noise.astype(x.dtype)).to(x.device) * self.sigma

    def _noise(self, image: np.ndarray) -> np.ndarray:
        key = pixels_key(image)
        self.met[key] += 1
        rng = stream(self.seed, "GaussianNoise", key + self.met[key].to_bytes(8, "little"))
        return rng.standard_normal(image.shape, np.float32)

    def describe(self) -> dict[str, Any]:
        return {"sigma": self.sigma}


class GaussianBlur(nn.Module):
    """Convolution with a Gaussian of standard deviation `sigma` pixels, cut at 3 sigma, edges mirrored."""

    random = False

    def __init__(self, sigma: float = 1.0) -> None:
        if not sigma > 0:
            raise ValueError(f"GaussianBlur: sigma must be positive, got {sigma}")
        self.sigma = sigma
        self.radius = max(1, int(3 * sigma + 0.5))
        weight = np.exp(-0.5 * (np.arange(-self.radius, self.radius + 1) / sigma) ** 2)
        self.kernel = weight / weight.sum()

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if self.radius >= min(h, w):
            raise ValueError(f"GaussianBlur: sigma {self.sigma} is too wide for an image of {h}x{w}")
        kernel = mg.from_numpy(self.kernel.astype(x.dtype)).to(x.device)
        x = F.pad(x.reshape(n * c, 1, h, w), (self.radius,) * 4, mode="reflect")
        x = F.conv2d(F.conv2d(x, kernel.reshape(1, 1, -1, 1)), kernel.reshape(1, 1, 1, -1))
        return x.reshape(n, c, h, w)

    def describe(self) -> dict[str, Any]:
        return {"sigma": self.sigma}


class Jpeg(nn.Module):
    """Encoded as JPEG and decoded again, by Pillow (4:2:0 chroma). quality: 1 to 95. Backward: straight through."""

    random = False

    def __init__(self, quality: int = 75) -> None:
        if not 1 <= quality <= 95:
            raise ValueError(f"Jpeg: quality must be from 1 to 95, got {quality}")
        self.quality = quality

    def forward(self, x: Tensor) -> Tensor:
        return StraightThrough(lambda image: jpeg(image, self.quality))(x)

    def describe(self) -> dict[str, Any]:
        return {"quality": self.quality}


class BitDepth(nn.Module):
    """Rounded to 2^bits evenly spaced levels (Xu, Evans and Qi 2018, arXiv:1704.01155). Backward: straight through."""

    random = False

    def __init__(self, bits: int = 4) -> None:
        if not 1 <= bits <= 8:
            raise ValueError(f"BitDepth: bits must be from 1 to 8, got {bits}")
        self.bits = bits

    def forward(self, x: Tensor) -> Tensor:
        return StraightThrough(lambda image: reduce_bit_depth(image, self.bits))(x)

    def describe(self) -> dict[str, Any]:
        return {"bits": self.bits}


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """(N,C,H,W) in [0, 1], grey or RGB, as it comes back from a JPEG file; float32 on 256 levels."""
    from PIL import Image

    if image.shape[1] not in (1, 3):
        raise ValueError(f"jpeg: a JPEG file is of 1 or 3 channels, these images have {image.shape[1]}")
    decoded = []
    for pixels in np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1):
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if image.shape[1] == 1 else pixels).save(file, format="JPEG", quality=quality)
        decoded.append(np.asarray(Image.open(file), np.float32).reshape(pixels.shape) / np.float32(255))
    return np.stack(decoded).transpose(0, 3, 1, 2)


def reduce_bit_depth(image: np.ndarray, bits: int) -> np.ndarray:
    """`image` in [0, 1] rounded to the nearest of the 2^bits values 0, 1/(2^bits - 1), ..., 1."""
    steps = 2**bits - 1
    return np.rint(np.clip(image, 0, 1) * steps) / steps


def defend(model: Module, defence: Module) -> Any:
    """The network that first passes its images through `defence`, a Module; its layers are the model's own.

    An attribution or attack treats it like any network: with the layer names of the model, and its labels.
    """
    return described_as(model, nn.Sequential({"defence": defence, **dict(model.children())}))
