"""What makes a channel fire: the patches of photographs that do so most, and what of them it responds to.

The unit at (row, column) of a layer sees a rectangle of pixels, its receptive field, which is computed exactly from the
graph of one pass (minigrad/tools/summary.py). Zeiler and Fergus (2013, arXiv:1311.2901, figure 2) show such patches,
layer by layer, beside the projection of the unit back to pixels.

Letters: N images, C channels of the layer, K patches, RH RW of the receptive field.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad.functional.choice import Clamp
from minigrad.functional.window import ints
from minigrad.nn import Module
from minigrad.tools.summary import traced

from .gradients import deconvnet, guided_backprop
from .progress import tqdm
from .sizes import activations
from .target import as_image, as_images
from .typing import Images

METHODS = {"guided_backprop": guided_backprop, "deconvnet": deconvnet}


@dataclass(frozen=True)
class Patches:
    """The K strongest responses of one channel, the strongest first, at most one from an image.

    image, row, column: (K,) which image, and where in the layer. activation: (K,). box: (K,4) the receptive fields'
    top, left, bottom, right in pixels, which may reach beyond the image. pixels: (K,3,RH,RW), grey (0.5) beyond the
    image; where the field is higher or wider than the image, as in deep layers, no more than the image is, grey where
    the field ends.
    """

    layer: str
    channel: int
    image: np.ndarray
    row: np.ndarray
    column: np.ndarray
    activation: np.ndarray
    box: np.ndarray
    pixels: np.ndarray

    def _repr_png_(self) -> bytes:
        """For notebooks: the patches, the strongest first, with their activations."""
        from .plot import pictures

        title = f"{self.layer}, channel {self.channel}"
        return pictures(list(self.pixels), [f"{a:.3g}" for a in self.activation], title)._repr_png_()


def channel_maxima(
    model: Module, image: Images, layers: Any, batch_size: int = 16, progress: bool = False
) -> dict[str, Any]:
    """{layer: (largest activation (N,C), row (N,C), column (N,C))} of images (N,3,H,W), in one pass for all layers."""
    for layer in layers:
        model[layer]  # which says what there is, if there is none of this name
    image, found = as_images(model, image), {layer: [] for layer in layers}
    with mg.no_grad():
        for start in tqdm(range(0, len(image) or 1, batch_size), "channel_maxima", disable=not progress):
            part = as_image(model, image[start : start + batch_size])
            for layer, a in activations(model, part, layers).items():
                if a.ndim != 4:
                    raise ValueError(
                        f"layer {layer!r} has no positions, its output is {a.shape[1:]}; take one before it"
                    )
                flat = a.numpy().reshape(*a.shape[:2], a.shape[2] * a.shape[3])
                place = flat.argmax(2)
                rows, columns = np.divmod(place, a.shape[3])
                found[layer].append((np.take_along_axis(flat, place[..., None], 2)[..., 0], rows, columns))
    return {layer: tuple(np.concatenate(part) for part in zip(*parts, strict=True)) for layer, parts in found.items()}


def top_patches(
    model: Module,
    image: Images,
    layer: str,
    channel: int,
    count: int = 9,
    maxima: Any = None,
    batch_size: int = 16,
    progress: bool = False,
) -> Any:
    """The `count` images of (N,3,H,W) where `channel` of `layer` responds most, as Patches.

    maxima: the layer's entry of `channel_maxima`, where it is known already.
    """
    image, (channel,) = as_images(model, image), ints("top_patches", "channel", channel)
    if maxima is None:
        maxima = channel_maxima(model, image, [layer], batch_size, progress)[layer]
    activation, rows, columns = maxima
    if not 0 <= channel < activation.shape[1]:
        raise ValueError(
            f"top_patches: channel {channel} is out of range: {layer!r} has {activation.shape[1]} channels"
        )
    best = np.argsort(-activation[:, channel], kind="stable")[:count]
    rows, columns = rows[best, channel], columns[best, channel]
    field = receptive_field(model, layer, image.shape[1:])
    top_left = np.array(field.offset) + np.stack([rows, columns], 1) * field.stride
    boxes = np.concatenate([top_left, top_left + field.size], axis=1)
    size = np.minimum(field.size, image.shape[2:])
    pixels = np.empty((len(best), image.shape[1], *size), image.dtype)
    for place, n, box in zip(pixels, best, boxes, strict=True):
        place[:] = seen(image[n], box, 0.5)
    return Patches(layer, channel, best, rows, columns, activation[best, channel], boxes, pixels)


def receptive_field(model: Module, layer: str | None, input_shape: tuple[int, int, int]) -> Any:
    """The ReceptiveField of a layer, for images of `input_shape` (3,H,W)."""
    return next(row.receptive_field for row in model.layers(tuple(input_shape)) if row.name == layer)


def seen(image: np.ndarray, box: Any, fill: Any) -> np.ndarray:
    """(C,min(RH,H),min(RW,W)): what a unit sees in its field `box`, `fill` beyond the image and beyond the field."""
    start, end = np.array(box[:2]), np.array(box[2:])
    larger = end - start > image.shape[1:]
    first, last = np.where(larger, 0, start), np.where(larger, image.shape[1:], end)
    return crop(crop(image, box, fill), (*(first - start), *(last - start)), fill)


def crop(image: np.ndarray, box: np.ndarray | tuple[int, int, int, int], fill: float) -> np.ndarray:
    """(C,RH,RW): the part of `image` (C,H,W) in `box` (top, left, bottom, right), `fill` where that is outside."""
    top, left, bottom, right = (int(edge) for edge in box)
    part = np.full((len(image), bottom - top, right - left), fill, image.dtype)
    inside = image[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    row, column = max(-top, 0), max(-left, 0)
    part[:, row : row + inside.shape[1], column : column + inside.shape[2]] = inside
    return part


def projections(model: Module, image: Images, patches: Any, method: Any = "guided_backprop") -> np.ndarray:
    """(K,3,RH,RW), signed: each patch's unit projected back to pixels and cropped as the patch; 0 beyond the image.

    image: the (N,3,H,W) that `patches` came from. method: "guided_backprop" or "deconvnet". Outside its receptive field
    a unit's projection is 0, so nothing is cut off. A unit of a ReLU6 is projected from before it: at its bound, where
    the strongest are, the gradient is 0.
    """
    if method not in METHODS:
        raise ValueError(f"projections: method must be one of {', '.join(METHODS)}, got {method!r}")
    image, found = as_images(model, image), np.empty_like(patches.pixels)
    layer = _unbounded(model, patches.layer, image.shape[1:])
    places = zip(found, patches.image, patches.row, patches.column, patches.box, strict=True)
    for place, n, row, column, box in places:
        unit = (patches.channel, int(row), int(column))
        projected = METHODS[method](model, image[n : n + 1], layer=layer, unit=unit)[0]
        place[:] = seen(projected, box, 0.0)
    return found


def _unbounded(model, layer, shape):
    """The layer whose output is bounded by `layer`, a ReLU6 or clamp; else `layer` itself."""
    _, calls = traced(model, shape)
    last = next((y for name, _, _, y in calls if name == layer), None)
    bound = getattr(last, "function", None)
    if not isinstance(bound, F.ReLU6 | Clamp):
        return layer
    return next((name for name, _, _, y in calls if name and y is bound.inputs[0]), layer)


def live_channels(maxima: Any, count: int, needed: int, rng: np.random.Generator) -> np.ndarray:
    """`count` channels drawn by `rng`, ascending, of those that respond at all in at least `needed` images.

    maxima: a layer's entry of `channel_maxima`. Fewer come back where fewer are alive.
    """
    alive = np.flatnonzero((maxima[0] > 0).sum(0) >= needed)
    return np.sort(rng.permutation(alive)[:count])
