"""Does an optimised picture drive a network as photographs do?

A feature visualisation may raise its class by another way than photographs take: a network can even be built that shows
any picture at all (Geirhos et al. 2023, "Don't trust your eyes: on the (un)reliability of feature visualizations",
arXiv:2306.04719). Their test follows both through the layers: a picture that stands for photographs is, layer by layer,
as like them as they are like each other.

Letters: K optimised pictures, N photographs of what they stand for, M of other things, L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.nn import Module

from .sizes import activations
from .target import as_image, as_images


@dataclass(frozen=True)
class NaturalPath:
    """`layers`: L names, from the image on. made (K,L): each picture's mean likeness to the photographs; natural (N,L):
    each photograph's to the others of its kind; other (M,L): that of photographs of other things."""

    layers: tuple
    made: np.ndarray
    natural: np.ndarray
    other: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """(K,L): 1 where a picture is as like the photographs as these are like each other, 0 where only as like as
        photographs of other things, NaN where these are no less alike; it may leave [0, 1]."""
        low, high = self.other.mean(0), self.natural.mean(0)
        width = np.where(high > low, high - low, np.nan)
        return (self.made - low) / width

    def _repr_png_(self) -> bytes:
        """For notebooks: the likeness of all three along the layers."""
        from .plot import curves

        lines = {"optimised": self.made, "photographs": self.natural, "photographs of others": self.other}
        lines = {name: values.mean(0) for name, values in lines.items()}
        return curves(lines, f"layer: {', '.join(self.layers)}", "likeness to photographs")._repr_png_()


def natural_path(
    model: Module, made: np.ndarray, natural: np.ndarray, other: np.ndarray, layers: Any, batch_size: int = 32
) -> Any:
    """How optimised pictures `made` (K,3,H,W) go through the network, beside photographs, as a NaturalPath.

    natural: (N,3,H,W), two at least, photographs that the pictures stand for: of the class, or those that drive the
        channel most. other: (M,3,H,W), of other things. layers: names.

    Likeness is the cosine between profiles, a layer's channels averaged over places, less the mean profile of all
    photographs: where in the picture something is does not matter, and what all pictures share does not count.
    """
    layers = [layers] if isinstance(layers, str) else list(layers)
    parts = [as_images(model, part) for part in (made, natural, other)]
    if len(parts[1]) < 2 or not all(len(part) for part in parts):
        counts = ", ".join(str(len(part)) for part in parts)
        raise ValueError(f"natural_path: needs a picture, two photographs of its kind and others, got {counts}")
    profiles = [_profiles(model, part, layers, batch_size) for part in parts]
    found = [_likenesses(*(part[layer] for part in profiles)) for layer in layers]
    return NaturalPath(tuple(layers), *(np.stack(kind, 1) for kind in zip(*found, strict=True)))


def _profiles(model: Module, image: np.ndarray, layers: Sequence[str], batch_size: int) -> dict:
    """{layer: (N,C)}, float64: the means of each channel over its places."""
    found = {layer: [] for layer in layers}
    with mg.no_grad():
        for start in range(0, len(image), batch_size):
            batch = as_image(model, image[start : start + batch_size])
            for layer, a in activations(model, batch, layers).items():
                found[layer].append(a.numpy().astype(np.float64).reshape(*a.shape[:2], -1).mean(2))
    return {layer: np.concatenate(part) for layer, part in found.items()}


def _likenesses(made: np.ndarray, natural: np.ndarray, other: np.ndarray) -> tuple:
    """The mean cosines (K,), (N,), (M,) with the profiles `natural`, of these with the others of them."""
    middle = np.concatenate([natural, other]).mean(0)
    made, natural, other = (_directions(part - middle) for part in (made, natural, other))
    among = natural @ natural.T
    own = (among.sum(1) - np.diag(among)) / (len(natural) - 1)
    return (made @ natural.T).mean(1), own, (other @ natural.T).mean(1)


def _directions(x: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)
