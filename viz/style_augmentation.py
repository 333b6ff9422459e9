"""Photographs in the style of pictures, many at once, for training networks that go by shape more than by texture.

Geirhos et al. 2019 (arXiv:1811.12231) train on photographs in the style of paintings; Jackson et al. 2019
(arXiv:1809.05375) mix such copies with the photographs themselves. Theirs come from networks made for the purpose,
these from the optimisation of `viz.style_transfer`, cut short.
"""

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad import functional as F
from minigrad.nn import Module

from .gram import content_loss, in_float32_at_least, mean_gram, style_losses
from .optimize import optimize_image
from .ranges import require
from .style import default_layers
from .target import as_image, as_pixels
from .typing import Images


def stylize(
    model: Module,
    content: Images,
    style: Images,
    content_layers: Any = None,
    style_layers: Any = None,
    strength: float = 10.0,
    steps: int = 10,
    lr: float = 0.03,
    progress: bool = False,
) -> np.ndarray:
    """(N,3,H,W) in [0,1]: each image of `content` in the style of the image of `style` beside it.

    What `viz.style_transfer(..., optimizer="adam", steps=steps, lr=lr)` makes of each pair, for all pairs together:
    Adam treats every pixel by itself, so an image does not depend on the others.

    content: (N,3,H,W) in [0,1]. style: (N,3,h,w), likewise. content_layers, style_layers: as in `style_transfer`, and
        so is the loss.
    strength: how many times more the style loss of the content image weighs than all of the content, 1/2 sum P^2. Ten
        steps with the default change colours and textures and leave shapes; `style_transfer` itself takes 40.
    """
    require("stylize", strength=strength)
    content, style = (
        as_pixels("stylize", model, one, whole=True, argument=name)
        for name, one in {"content": content, "style": style}.items()
    )
    if len(content) != len(style):
        raise ValueError(f"stylize: {len(content)} images and {len(style)} styles; give one style for each image")
    if not len(content):
        raise ValueError("stylize: there are no images")
    content_layers, style_layers = default_layers(model, content_layers, style_layers)
    if not content_layers or not style_layers:
        raise ValueError("stylize: needs a content and a style layer, whose losses it balances: name one of each")
    with mg.no_grad():
        found = model.activations(as_image(model, content), [*content_layers, *style_layers])
        wanted = {layer: found[layer] for layer in content_layers}
        grams = {layer: mean_gram(a) for layer, a in model.activations(as_image(model, style), style_layers).items()}
        weights = _balance(found, wanted, grams, strength)

    def losses(x: Tensor) -> dict:
        found = model.activations(x, [*content_layers, *style_layers])
        contents = [content_loss(found[layer], wanted[layer]) for layer in wanted]
        return {"content": sum(contents[1:], start=contents[0]), "style": (_style(found, grams) * weights).sum()}

    return optimize_image(losses, as_image(model, content), "adam", lr, steps, progress=progress).image


def _balance(found: dict[str, Tensor], wanted: dict[str, Tensor], grams: dict, strength: float) -> Tensor:
    """(N,): each image's weight of the style, with which the loss to begin with is `strength` times all its content."""
    squares = (F.square(in_float32_at_least(a)) for a in wanted.values())
    everything = sum(0.5 * one.sum(tuple(range(1, one.ndim))).numpy() for one in squares)
    unlike = _style(found, grams)
    begun = unlike.numpy()
    weights = np.where(begun > 0, strength * everything / np.where(begun > 0, begun, 1), 1)
    return mg.from_numpy(weights.astype(begun.dtype)).to(unlike.device)


def _style(found: dict[str, Tensor], grams: dict) -> Tensor:
    """(N,): the style loss of each image, the mean over the layers."""
    first, *rest = (style_losses(found[layer], gram) for layer, gram in grams.items())
    return sum(rest, start=first) / float(len(grams))
