"""What keeps an optimised image from looking like noise.

Penalties are scalars to be made small: functions of an image Tensor (N,C,H,W), times a weight, summed over the images.
The others change the image itself between two steps: functions of arrays.
"""

from typing import Any

import numpy as np

from minigrad import functional as F
from minigrad.device import array_module

GREY = 0.5  # the middle of [0,1]; what the papers call zero, since their images have a mean subtracted

# ---- penalties -------------------------------------------------------------------------------------------------------


def l2(x: Any, weight: float = 1.0, centre: float = GREY) -> Any:
    """weight * sum (x - centre)^2 (Simonyan et al. 2013, eq. 1)."""
    return F.square(x - centre).sum() * weight


def alpha_norm(x: Any, alpha: float = 6, weight: float = 1.0, centre: float = GREY) -> Any:
    """weight * sum |x - centre|^alpha; a large even alpha keeps values in a range (Mahendran and Vedaldi 2015)."""
    return (F.abs(x - centre) ** alpha).sum() * weight


TV_KINDS = ("l1", "l1_mean", "l2", "jcjohnson", "beta")


def total_variation(x: Any, kind: str = "l1", weight: float = 1.0, beta: float = 2.0) -> Any:
    """weight * how much neighbouring pixels of x (N,C,H,W) differ, in one of the conventions in use.

    With dx the differences of horizontal neighbours (N,C,H,W-1), dy of vertical ones (N,C,H-1,W):

        "l1"         sum |dx| + sum |dy|                (tf.image.total_variation)
        "l1_mean"    mean |dx| + mean |dy|, of each image
        "l2"         sum dx^2 + sum dy^2
        "jcjohnson"  1/2 sum (dx^2 + dy^2), over pixels with both neighbours: its derivative is what the module of
                     that author's neural-style adds to the gradient
        "beta"       sum (dx^2 + dy^2)^(beta/2), differences across the far edges being 0 (Mahendran and Vedaldi 2015)

    Summed over channels and images. Where a difference is 0, its derivative is taken as 0.
    """
    if kind not in TV_KINDS:
        raise ValueError(f"total_variation: kind is {kind!r}, choose from {', '.join(TV_KINDS)}")
    if x.ndim != 4:
        raise ValueError(f"total_variation: x must be (N,C,H,W), got shape {x.shape}")
    dx, dy = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    if kind == "l1":
        tv = F.abs(dx).sum() + F.abs(dy).sum()
    elif kind == "l1_mean":
        tv = (F.abs(dx).mean() + F.abs(dy).mean()) * float(len(x))
    elif kind == "l2":
        tv = F.square(dx).sum() + F.square(dy).sum()
    elif kind == "jcjohnson":
        tv = (F.square(dx[..., :-1, :]) + F.square(dy[..., :-1])).sum() * 0.5
    else:
        squares = F.square(F.pad(dx, (0, 1))) + F.square(F.pad(dy, (0, 0, 0, 1)))
        varies = squares > 0
        tv = F.where(varies, F.where(varies, squares, 1.0) ** (beta / 2), 0.0).sum()
    return tv * weight


# ---- changes of the image between two steps --------------------------------------------------------------------------


def gaussian_blur(x: Any, sigma: float) -> Any:
    """x (N,C,H,W) convolved with a Gaussian of `sigma` pixels, the edge repeated outwards (Yosinski et al. 2015)."""
    rows, columns = (array_module(x).asarray(_blur_matrix(n, sigma), dtype=x.dtype) for n in x.shape[2:])
    return rows @ x @ columns.T


def _blur_matrix(size: int, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(np.eye(size), sigma, axis=0, mode="nearest")


def clip_small_norm(x: Any, percentile: float, centre: float = GREY) -> Any:
    """x (N,C,H,W) with the pixels nearest to grey made grey: the `percentile` % whose |x - centre| over channels is
    smallest (Yosinski et al. 2015, "clipping pixels with small norm")."""
    return _grey_below(x, array_module(x).sqrt(((x - centre) ** 2).sum(1, keepdims=True)), percentile, centre)


def clip_small_contribution(x: Any, gradient: Any, percentile: float, centre: float = GREY) -> Any:
    """x (N,C,H,W) with those pixels made grey that matter least: the `percentile` % whose |sum_c (x_c - centre) g_c| is
    smallest, which is to first order the change that greying them makes (Yosinski et al. 2015).

    gradient: of what is optimised, of x's shape.
    """
    contribution = array_module(x).abs(((x - centre) * gradient).sum(1, keepdims=True))
    return _grey_below(x, contribution, percentile, centre)


def _grey_below(x: Any, size: np.ndarray, percentile: float, centre: float) -> Any:
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile must be from 0 to 100, got {percentile}")
    xp = array_module(x)
    threshold = xp.percentile(size, percentile, axis=(1, 2, 3), keepdims=True)
    return xp.where(size < threshold, x.dtype.type(centre), x)
