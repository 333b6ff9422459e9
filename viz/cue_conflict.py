"""Texture or shape? Images with the shape of one class and the texture of another (Geirhos et al. 2019).

"ImageNet-trained CNNs are biased towards texture", arXiv:1811.12231: such an image is made by style transfer, from a
photograph of one class (its shape) to one of another (its texture), and whoever names it decides between the two.
"""

from typing import Any

import numpy as np

import minigrad as mg
from minigrad.nn import Module

from .attacks import scores
from .progress import tqdm
from .style import style_transfer
from .target import as_pixels, classes
from .typing import Callback, Images


def cue_conflict(
    model: Module,
    content: Images,
    style: Images,
    steps: int = 60,
    seed: int = 0,
    progress: bool = False,
    callback: Callback | None = None,
    **options: Any,
) -> np.ndarray:
    """(N,3,H,W): the shapes of `content` in the textures of `style`, both (N,3,H,W) in [0, 1], pair by pair.

    model: the network whose layers style transfer looks at. steps and `options` as in viz.style_transfer; callback(n,
    image (1,3,H,W)): after each pair; True stops, and only the finished ones come back.
    """
    content, style = (
        as_pixels("cue_conflict", model, one, argument=name)
        for name, one in {"content": content, "style": style}.items()
    )
    if len(content) != len(style):
        raise ValueError(
            f"cue_conflict: {len(content)} shapes and {len(style)} textures; give one texture for each shape"
        )
    if not len(content):
        raise ValueError("cue_conflict: there are no pictures: give at least one shape and one texture")
    made = []
    for n in tqdm(range(len(content)), "cue_conflict", disable=not progress):
        found = style_transfer(model, content[n : n + 1], style[n : n + 1], steps=steps, seed=seed, **options)
        made.append(found.image)
        if callback and callback(n, found.image):
            break
    return np.concatenate(made)


def shape_decisions(model: Module, image: Images, shape: Any, texture: Any) -> dict[str, Any]:
    """Who decides: {"shape", "texture", "neither": shares of the images, "shape_bias": shape / (shape + texture)}.

    image: (N,3,H,W). shape, texture: (N,) classes, indices or names, different in every image. shape_bias is None where
    neither ever decides. Over the classes at hand: the network answers with its best class.
    """
    found = scores(model, image)
    if not len(found):
        raise ValueError("shape_decisions: there are no images")
    shape, texture = (
        classes(model, mg.as_tensor(found), given, name) for name, given in {"shape": shape, "texture": texture}.items()
    )
    if (shape == texture).any():
        raise ValueError(
            f"shape_decisions: shape and texture of image {int((shape == texture).argmax())} are one class"
        )
    named = found.argmax(1)
    by_shape, by_texture = float((named == shape).mean()), float((named == texture).mean())
    decided = by_shape + by_texture
    return {
        "images": len(named),
        "shape": by_shape,
        "texture": by_texture,
        "neither": 1 - decided,
        "shape_bias": by_shape / decided if decided else None,
    }
