"""What goes into a network, images in its own units, and what comes out: scores of classes, and who they are.

The score of a class is the logit y_c **before** any softmax: a probability also falls when other classes rise, so its
gradient shows those too. What else can be explained is in objective.py.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, nn
from minigrad import functional as F
from minigrad.functional.window import ints
from minigrad.nn import Module
from models.images import load_image
from models.labels import find_class
from models.layers import Preprocess
from models.model import check_labels

from .sizes import activations
from .typing import Images, Target, Unit


def as_images(model: Module, image: Images, whole: bool = False) -> np.ndarray:
    """`image` as floats (N,C,H,W): the one place where pictures become what networks take.

    image: a picture, that is a PIL image or an array of uint8, (H,W) or (H,W,1|3|4); a list of pictures; or floats,
        (N,C,H,W) or one (C,H,W), which are taken as they are, in the model's input space. Tensors stay Tensors.
    model: gives pictures its `input_size`, as `models.load_image` does; without one, with None, or with `whole`, they
        keep theirs. C is 3, or what its first convolution takes; one of 1 channel takes grey pictures.

    Raises ValueError for another shape, NaN or infinity, TypeError for another dtype; and ValueError for values in
    other units than `value_range` says: those that leave it by more than half its width, and those that lie in [0, 1]
    where it is as wide as [0, 255].
    """
    listed = image if isinstance(image, list | tuple) else [image]
    if listed and all(_is_picture(one) for one in listed):
        found = [_of_picture(model, one, whole) for one in listed]
        if len({one.shape for one in found}) > 1:
            sizes = ", ".join(sorted({f"{one.shape[2]}x{one.shape[3]}" for one in found}))
            raise ValueError(f"the pictures of one batch must be of one size, these are {sizes}")
        return np.concatenate(found)

    if not listed:
        raise ValueError("image is an empty list: give a picture at least")
    x = image if isinstance(image, mg.Tensor) else np.asarray(image)
    if x.ndim == 3:
        x = x[None]
    c = channels(model)
    if x.ndim != 4 or (x.shape[-1] == c and x.shape[1] not in (1, c)):
        raise ValueError(
            f"image must be (N,{c},H,W) or ({c},H,W), or a picture: PIL's or uint8 (H,W,3); got shape {np.shape(image)}"
        )
    if x.dtype.kind != "f":
        raise TypeError(
            f"image must be floating point, in the model's input space, got dtype {x.dtype}: divide 0-255 by 255"
        )
    values = x.numpy() if isinstance(x, mg.Tensor) else x
    least, most = require_units(model, "image", values)
    low, high = value_range(model) or (0.0, 1.0)
    if (low, high) != (0, 1) and high - low >= 100 and 0 <= least < most <= 1:
        raise ValueError(
            f"image goes from {least:.4g} to {most:.4g}, but this network takes values in [{low:g}, "
            f"{high:g}]: pixels in [0, 1] are to be brought to that range, low + (high - low) * image"
        )
    return x


def _is_picture(image: Any) -> bool:
    if hasattr(image, "getbands"):  # PIL's; not imported for this
        return True
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        return False
    return image.ndim == 2 or image.ndim == 3 and image.shape[2] in (1, 3, 4)


def _of_picture(model: Module, picture: Any, whole: bool) -> np.ndarray:
    """(1,C,H,W) in the model's range; a picture that has the model's size already is taken whole."""
    size, short_side = getattr(model, "input_size", None), getattr(model, "short_side", None)
    found = load_image(picture)
    if not (whole or size is None or found.shape[2:] == tuple(size)):
        found = load_image(picture, size, short_side)
    c = channels(model)
    if c not in (1, 3) or c == 1 and (found != found[:, :1]).any():
        hint = "convert it to grey first" if c == 1 else "give floats"
        raise ValueError(f"this network takes images of {c} channels, and a picture is RGB: {hint}, (N,{c},H,W)")
    low, high = value_range(model) or (0.0, 1.0)
    return found[:, :c] if (low, high) == (0, 1) else (low + (high - low) * found[:, :c]).astype(found.dtype)


def as_image(model: Module, image: Images) -> Tensor:
    """`image` as `as_images` takes it, as a new leaf that requires grad, on the model's device, in its dtype."""
    return as_leaf(model, as_images(model, image))


def as_leaf(model: Module, x: np.ndarray) -> Tensor:
    """The same of x (N,C,H,W) that is known to be one: a checked image, or what a method has made of it."""
    x = mg.as_tensor(x).detach()
    if model.training:
        raise ValueError("the model is in training mode, where images of a batch interact: call model.eval() first")
    weights = next((tensor for _, tensor in model.named_tensors() if tensor.dtype.kind == "f"), None)
    if weights is not None:
        x = x.to(weights.device).astype(weights.dtype)
    return mg.Tensor(x, requires_grad=True)


# ---- what a network takes --------------------------------------------------------------------------------------------


def channels(model: Module) -> int:
    """How many channels the model's images have: what its first convolution takes, or 3 where there is none."""
    for _, layer in model.named_modules() if isinstance(model, nn.Module) else ():
        if isinstance(layer, Preprocess):
            return len(layer.mean)
        if isinstance(layer, nn.Conv2d):
            return layer.in_channels
    return getattr(model, "image_shape", (3,))[0]


def require_rgb(name: str, model: Module) -> None:
    """Refuse what has a meaning for the three colours only."""
    if channels(model) != 3:
        raise ValueError(f"{name} is for networks that see RGB, this one takes images of {channels(model)} channels")


def value_range(model: Module) -> Any:
    """(low, high) of the values that the model takes, or None where that is not known.

    It is what the model declares as its attribute `value_range`, or [0, 1] where it carries its preprocessing.
    """
    declared = getattr(model, "value_range", None)
    if declared is None and isinstance(model, nn.Module):
        carries = any(isinstance(layer, Preprocess) for _, layer in model.named_modules())
        return (0.0, 1.0) if carries else None
    return declared


def require_units(model: Module, what: str, values: np.ndarray) -> tuple[float, float]:
    """The least and the largest of values (an array or a number), 0 of none; refused where they are no numbers, or in
    other units than the model's: see `as_images`."""
    known, values = value_range(model), np.asarray(values)
    least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not np.isfinite([least, most]).all():  # a NaN is both, and an infinity one of them
        raise ValueError(f"{what} has NaN or infinite values")
    if known is None or not values.size:
        return least, most
    low, high = known
    slack = (high - low) / 2
    if least < low - slack or most > high + slack:
        hint = "divide 0-255 by 255" if least >= 0 and (low, high) == (0, 1) else "bring them to that range"
        raise ValueError(
            f"{what} goes from {least:.4g} to {most:.4g}, but this network takes pixels in [{low:g}, {high:g}] "
            f"and does the rest itself: {hint}"
        )
    return least, most


def require_pixels(name: str, model: Module) -> None:
    """Refuse a network that does not take pixels in [0, 1], for methods that keep images in there."""
    known = value_range(model)
    if known not in (None, (0, 1)):
        low, high = known
        raise ValueError(
            f"{name} works on pixels in [0, 1], this network takes values in [{low:g}, {high:g}]: "
            "put a layer before it that brings them there, such as models.Preprocess(scale=255)"
        )


def as_pixels(name: str, model: Module, image: Images, whole: bool = False, argument: str = "image") -> np.ndarray:
    """`image` as `as_images` takes it, as an array (N,C,H,W) of pixels in [0, 1]; ValueError for other values."""
    require_pixels(name, model)
    image = np.asarray(as_images(model, image, whole))
    check_pixels(name, argument, image)
    return np.clip(image, 0, 1)


def check_pixels(name: str, argument: str, image: np.ndarray) -> None:
    """Refuse an array whose values are not all in [0, 1], but for rounding."""
    if image.size and not (image.min() >= -1e-6 and image.max() <= 1 + 1e-6):
        hint = ": divide 0-255 by 255" if image.min() >= 0 else ""
        raise ValueError(
            f"{name}: {argument} must lie in [0, 1], it goes from {image.min():.4g} to {image.max():.4g}{hint}"
        )


def in_pixels(name: str, argument: str, value: float, most: float = 1.0) -> None:
    """Refuse a distance of `most` or more, the whole range of pixels: it was meant in levels of 255."""
    if value >= most:
        levels = f": for {value:g} of 255 levels give {value:g} / 255" if value <= 255 * most else ""
        raise ValueError(f"{name}: {argument} is in units of pixels, which lie in [0, 1], got {value:g}{levels}")


# ---- what comes out --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contrast:
    """The score of class `more` less that of class `less`, as a target: why the one rather than the other.

    Classes are indices or names. An attribution of it shows what sets the two apart: what they share cancels.
    """

    more: int | str
    less: int | str


def logits(model: Module, x: Tensor) -> Tensor:
    """(N,K) Tensor: the class scores of x, taken before the softmax if the model ends in one."""
    last = logits_layer(model)
    return as_logits(model, activations(model, x, [last])[last])


def logits_layer(model: Module) -> str:
    """The name of the layer whose output is the logits: the last of a chain, or the one before a softmax; "", the
    network itself, where it is no chain."""
    if isinstance(model, nn.Module) and not isinstance(model, nn.Sequential):
        return ""
    names = list(model)
    while len(names) > 1 and isinstance(model[names[-1]], nn.Softmax):
        names.pop()
    return names[-1]


class NoScores(ValueError):
    """The network's output is not the scores of classes. found: what it is, in words; output: itself."""

    def __init__(self, output: Any) -> None:
        self.found = f"the network's output is {_shapes(output)}, not the scores of classes (N, classes)"
        self.output = output
        super().__init__(
            f"{self.found}: say as target= what is explained, by a function of the output that gives one number for "
            f"each image, such as {_example(output)}"
        )


def as_logits(model: Module, y: Tensor) -> Tensor:
    """(N,K) of the last layer's output (N,K) or (N,K,1,1). ValueError where the model has another number of labels."""
    if isinstance(y, mg.Tensor) and y.ndim > 2 and y.shape[2:] == (1,) * (y.ndim - 2):
        y = F.flatten(y, 1)
    if not isinstance(y, mg.Tensor) or y.ndim != 2:
        raise NoScores(y)
    if (labels := getattr(model, "labels", None)) is not None:
        check_labels("the model", labels, y.shape[1])
    return y


def _shapes(output: Any) -> str:
    if isinstance(output, dict):
        return f"a dict of {', '.join(f'{name!r} {_shapes(part)}' for name, part in output.items())}"
    if isinstance(output, list | tuple):
        return f"a {type(output).__name__} of {', '.join(map(_shapes, output))}"
    return str(getattr(output, "shape", type(output).__name__))


def _example(output: Any) -> str:
    """A target for a network that gives this."""
    place = ""
    while isinstance(output, dict | list | tuple) and output:
        key = next(iter(output)) if isinstance(output, dict) else 0
        output, place = output[key], f"{place}[{key!r}]"
    ndim = getattr(output, "ndim", 1)
    channel = f"[:, 0].mean({tuple(range(1, ndim - 1))})" if ndim > 3 else ("", "", "[:, 0]", "[:, 0].mean(1)")[ndim]
    return f"lambda y: y{place}{channel}"


def is_class(target: Target | None) -> bool:
    """Whether a target says classes, one or one for each image, or None: not an Objective, nor a function."""
    return not callable(target) and not hasattr(target, "layers")


def classes(model: Module, y: Tensor, target: Target | None = None, argument: str = "target") -> np.ndarray:
    """(N,) int array: the class of each image, from its logits y (N,K) and `target`: one, one for each, or None.

    argument: what `target` is called where it was given.
    """
    found = explained_classes(model, y, target, argument)
    if found.dtype == object:
        raise ValueError(f"a contrast of two classes can be explained or maximised; here {argument} must be one class")
    return found


def explained_classes(model: Module, y: Tensor, target: Target | None = None, argument: str = "target") -> np.ndarray:
    """(N,): what to explain in each image, from its logits y (N,K) and a target of classes: class indices, or
    objects, indices and Contrasts of indices, where there is a Contrast."""
    return y.numpy().argmax(1) if target is None else _given(model, *y.shape, target, argument)


def _given(model: Module, count: int, known: int, target: Target, argument: str = "target") -> np.ndarray:
    """The same of classes that are all given, for `count` images and `known` classes."""
    if isinstance(target, str | Contrast) or np.ndim(target) == 0:
        target = [target] * count
    if len(target) != count:
        raise ValueError(f"{argument} has {len(target)} classes for {count} images: give one, or one for each image")
    found = [
        _contrast(model, c, known) if isinstance(c, Contrast) else _class_index(model, c, known, argument)
        for c in target
    ]
    return np.array(found, dtype=object if any(isinstance(c, Contrast) for c in found) else np.intp)


def _contrast(model: Module, pair: Any, known: Any) -> "Contrast":
    found = Contrast(*(_class_index(model, c, known, "target") for c in (pair.more, pair.less)))
    if found.more == found.less:
        raise ValueError(f"a class less itself is nothing: the contrast is of class {found.more} with itself")
    return found


def _class_index(model: Module, c: Any, known: Any, argument: str) -> int:
    """The index of class c, an index or a name, among `known` classes."""
    c = find_class(model, c) if isinstance(c, str) else c
    if not isinstance(c, int | np.integer) or isinstance(c, bool):
        raise TypeError(f"{argument} must be a class index or name here, got {c!r}")
    if not 0 <= c < known:
        raise ValueError(f"{argument} {c} is out of range: this model has classes 0 to {known - 1}")
    return int(c)


def fixed_target(model: Module, image: Images, target: Target | None = None, layer: str | None = None) -> Any:
    """`target` with None decided: the top class of each image as given, for methods that score changed images."""
    if layer is not None or not is_class(target):
        return target
    labels = getattr(model, "labels", None)
    if target is not None and labels is not None:  # how many classes there are is known without a pass
        return _given(model, len(as_images(model, image)), len(labels), target)
    with mg.no_grad():
        y = logits(model, as_image(model, image))
    return explained_classes(model, y, target)


def log_probabilities(y: Tensor) -> Tensor:
    """(N,K) Tensor: the logarithm of the softmax of scores y (N,K).

    Of a network with one output it is the score itself: the softmax of one number is 1, whatever the number.
    """
    return y if y.shape[1] == 1 else F.log_softmax(y, 1)


def probabilities(y: Tensor) -> Tensor:
    """(N,K) Tensor: the softmax of scores y (N,K); of a network with one output the score itself."""
    return y if y.shape[1] == 1 else F.softmax(y, 1)


def pick(y: Tensor, chosen: np.ndarray) -> Tensor:
    """(N,) Tensor: y[i, chosen[i]]; for a Contrast, the difference of the two."""
    rows, pairs = list(range(len(chosen))), [c if isinstance(c, Contrast) else Contrast(int(c), int(c)) for c in chosen]
    found = y[rows, [pair.more for pair in pairs]]
    apart = np.array([pair.more != pair.less for pair in pairs], y.dtype)
    if not apart.any():
        return found
    return found - y[rows, [pair.less for pair in pairs]] * mg.from_numpy(apart).to(y.device)


def unit_activation(a: Tensor, unit: Unit | None = None) -> Tensor:
    """(N,) Tensor: the mean of activations a (N,C,...) over all channels, of one channel, or one neuron of it."""
    if unit is not None:
        unit = ints("an activation", "unit", unit)
        if len(unit) not in (1, a.ndim - 1):
            raise ValueError(f"unit {unit} must be a channel or name one neuron in a layer of shape {a.shape[1:]}")
        for i, n in zip(unit, a.shape[1:], strict=False):
            if not 0 <= i < n:
                raise ValueError(f"unit {unit} is out of range: the layer has shape {a.shape[1:]}")
        a = a[(slice(None), *unit)]
    return a.mean(axis=tuple(range(1, a.ndim))) if a.ndim > 1 else a


def channel_numbers(name: str, layer: str | None, channels: int | list[int], count: int) -> list[int]:
    """[channels] of one or several of the `count` channels of a layer; `name` refuses what it has not."""
    found = np.atleast_1d(channels)
    if found.dtype.kind not in "iu" or not len(found) or found.min() < 0 or found.max() >= count:
        raise ValueError(f"{name}: layer {layer!r} has channels 0 to {count - 1}, got {found.tolist()}")
    return found.tolist()
