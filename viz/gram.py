"""The two losses of style transfer (Gatys et al. 2016, "Image Style Transfer Using Convolutional Neural Networks").

Letters: N channels (the paper's N_l), M positions (M_l) of a layer's map; B images, each on its own.
"""

from typing import Any

import numpy as np

from minigrad import Tensor
from minigrad import functional as F

NORMALIZATIONS = ("gatys", "chw", "hw")


def content_loss(a: Any, wanted: Any) -> Any:
    """1/2 sum (F - P)^2 (eq. 1): a and wanted are the activations of the same layer, (B,N,...)."""
    if a.shape != wanted.shape:
        raise ValueError(f"content_loss: activations of shape {a.shape}, wanted ones of shape {wanted.shape}")
    a, wanted = in_float32_at_least(a), in_float32_at_least(wanted)
    return F.square(a - wanted).sum() * 0.5


def in_float32_at_least(a: Tensor) -> Tensor:
    """a (a Tensor), with float16 as float32, which has room for sums of squares."""
    return a.astype(np.promote_types(a.dtype, np.float32))


def gram(a: Any) -> Any:
    """(B,N,N): G_ij = sum_k F_ik F_jk (eq. 3), the products of channels i and j summed over the positions of a."""
    if a.ndim != 4:
        raise ValueError(f"gram: activations must be (B,channels,rows,columns), got shape {a.shape}")
    a = in_float32_at_least(a)
    features = a.reshape(a.shape[0], a.shape[1], a.shape[2] * a.shape[3])
    return features @ features.transpose(1, 2)


def mean_gram(a: Tensor) -> Tensor:
    """(B,N,N): gram(a) / M, which does not depend on the size of the map."""
    return gram(a) / float(a.shape[2] * a.shape[3])


def style_loss(a: Any, wanted: Any, normalization: str = "gatys") -> Any:
    """How far the Gram matrices of activations a (B,N,rows,columns) are from `wanted`, a `mean_gram` (B or 1,N,N).

    With G the Gram matrix of a, A that of the style and M the positions:

        "gatys"   1/(4 N^2 M^2) sum (G - A)^2                       (eq. 4)
        "chw"     mean of (G/(N M) - A/(N M))^2                     (as with G divided by C*H*W and a mean square)
        "hw"      mean of (G/M - A/M)^2                             (as with G divided by H*W and a mean square)

    Each is divided by its own M, so that style images of any size will do; for equal sizes that is the formula as
    printed. Summed over the images.
    """
    return style_losses(a, wanted, normalization).sum()


def style_losses(a: Tensor, wanted: Tensor, normalization: str = "gatys") -> Tensor:
    """(B,): the `style_loss` of each image."""
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"style_loss: normalization is {normalization!r}, choose from {', '.join(NORMALIZATIONS)}")
    channels = a.shape[1]
    squares = F.square(mean_gram(a) - wanted).sum(axis=(1, 2))  # sum (G/M - A/M)^2
    if normalization == "gatys":
        return squares / (4.0 * channels**2)
    if normalization == "chw":
        return squares / float(channels**2) / float(channels**2)
    return squares / float(channels**2)
