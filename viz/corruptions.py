"""Common corruptions: what happens to photographs without anybody meaning harm.

Eight of the corruptions of ImageNet-C (Hendrycks and Dietterich 2019, arXiv:1903.12261) with its parameters, severities
1 to 5. They were chosen for 224 px; smaller images suffer more from the same blur or pixelation.
"""

from pathlib import Path

import numpy as np

from .defenses import jpeg
from .random import streams
from .target import as_pixels
from .typing import Images

SEVERITIES = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation
    "shot_noise": (60, 25, 12, 5, 3),  # photons at full brightness
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),  # share of values turned black or white
    "gaussian_blur": (1, 2, 3, 4, 6),  # sigma in pixels
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),  # of the contrast kept
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),  # added to the largest channel (HSV's value)
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),  # of the side kept
    "jpeg": (25, 18, 15, 10, 7),  # quality
}


def corrupt(image: Images, kind: str, severity: int = 3, seed: int = 0) -> np.ndarray:
    """`image` (N,3,H,W) in [0, 1] after the corruption `kind` (a key of SEVERITIES) of severity 1 to 5, clipped.

    seed: with the kind and its pixels it says what a photograph's noise is (see viz/random.py).

    Returns (N,3,H,W) of the image's dtype. Raises ValueError for an unknown kind or severity.
    """
    if kind not in SEVERITIES:
        raise ValueError(f"corrupt: kind must be one of {', '.join(SEVERITIES)}, got {kind!r}")
    if severity not in (1, 2, 3, 4, 5):
        raise ValueError(f"corrupt: severity must be from 1 to 5, got {severity}")
    image = as_pixels("corrupt", None, image)
    rngs = streams(seed, f"corrupt {kind}", image)
    strength = SEVERITIES[kind][severity - 1]
    changed = np.empty_like(image)
    for place, one, rng in zip(changed, image, rngs, strict=True):
        place[:] = np.clip(_KINDS[kind](one[None], strength, rng)[0], 0, 1)
    return changed


def _impulse(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    kind = rng.random(image.shape)
    return np.where(kind < share / 2, 0, np.where(kind < share, 1, image))


def _blur(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, (0, 0, sigma, sigma), mode="nearest", truncate=4)


def _contrast(image: np.ndarray, kept: Path, rng: np.random.Generator) -> np.ndarray:
    mean = image.mean((2, 3), keepdims=True)
    return (image - mean) * kept + mean


def _brightness(image: np.ndarray, added: float, rng: np.random.Generator) -> np.ndarray:
    """HSV with a larger value: all channels are scaled alike, black becomes grey."""
    value = image.max(1, keepdims=True)
    brighter = np.minimum(value + added, 1)
    return np.where(value > 0, image * brighter / np.maximum(value, 1e-12), brighter)


def _pixelate(image: np.ndarray, kept: Path, rng: np.random.Generator) -> np.ndarray:
    from PIL import Image

    height, width = image.shape[2:]
    small = max(1, int(width * kept)), max(1, int(height * kept))
    pixelated = []
    for pixels in np.rint(image * 255).astype(np.uint8).reshape(-1, height, width):
        shrunk = Image.fromarray(pixels).resize(small, Image.Resampling.BOX)
        pixelated.append(np.asarray(shrunk.resize((width, height), Image.Resampling.NEAREST)) / 255)
    return np.stack(pixelated).reshape(image.shape)


_KINDS = {
    "gaussian_noise": lambda image, sigma, rng: image + sigma * rng.standard_normal(image.shape),
    "shot_noise": lambda image, photons, rng: rng.poisson(image * photons) / photons,
    "impulse_noise": _impulse,
    "gaussian_blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "pixelate": _pixelate,
    "jpeg": lambda image, quality, rng: jpeg(image, quality),
}
