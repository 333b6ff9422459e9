"""Which images look the same to a layer? Inverting its activations (Mahendran and Vedaldi 2015, arXiv:1412.0035)."""

from typing import Any

import minigrad as mg
from minigrad import Tensor
from minigrad import functional as F
from minigrad.nn import Module

from .gram import in_float32_at_least
from .maximize import start_image
from .optimize import Optimized, optimize_image
from .random import streams
from .ranges import require
from .regularize import alpha_norm, total_variation
from .sizes import activations
from .target import as_image, as_pixels
from .typing import Images


def invert(
    model: Module,
    image: Images,
    layer: str,
    start: Any = "noise",
    optimizer: Any = "adam",
    lr: float = 0.03,
    steps: int = 400,
    alpha: float = 6.0,
    alpha_weight: float = 0.01,
    beta: float = 2.0,
    tv_weight: float = 1.0,
    clip: bool = True,
    seed: int = 0,
    **course: Any,
) -> Optimized:
    """An image whose activations in `layer` are those of `image` (N,3,H,W) in [0,1]. Returns an Optimized.

        minimise  |A(x) - A(image)|^2 / |A(image)|^2                                        "features"
                  + alpha_weight / (H W) sum |2 (x - 1/2)|^alpha                            "alpha"
                  + tv_weight / (H W) sum (dx^2 + dy^2)^(beta/2)                            "tv"

    What comes back is what the layer still knows. The two penalties choose the most photograph-like of the images that
    it cannot tell apart: the first keeps values in the range, the second keeps them smooth. They are means over
    positions, so that their weights do not depend on the image's size. start: "zeros", "grey", "noise", or images.
    optimizer, lr, steps, clip, course: as in `maximize`. Works at any size that the layers up to `layer` take.
    """
    require("invert", alpha=alpha, alpha_weight=alpha_weight, beta=beta, tv_weight=tv_weight)
    original = as_image(model, as_pixels("invert", model, image))
    with mg.no_grad():
        wanted = in_float32_at_least(activations(model, original, [layer])[layer])
    axes = tuple(range(1, wanted.ndim))
    largest = abs(wanted).max(axes, keepdims=True)  # the unit, in which squares fit
    if not (largest.numpy() > 0).all():
        raise ValueError(f"invert: the activations of {layer!r} are zero for this image, so there is nothing to invert")
    size = F.square(wanted / largest).sum(axes)
    per_pixel = 1.0 / (original.shape[2] * original.shape[3])

    def losses(x: Tensor) -> dict:
        found = in_float32_at_least(activations(model, x, [layer])[layer])
        return {
            "features": (F.square((found - wanted) / largest).sum(axes) / size).sum(),
            "alpha": alpha_norm(x, alpha, alpha_weight * per_pixel * 2.0**alpha),
            "tv": total_variation(x, "beta", tv_weight * per_pixel, beta),
        }

    x = start_image(model, start, original.shape[2:], streams(seed, "invert", original.numpy()), clip)
    return optimize_image(losses, x, optimizer, lr, steps, (0.0, 1.0) if clip else None, **course)
