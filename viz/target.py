"""What is explained: one number for each image, as a Tensor that can be differentiated.

It is the score of a class, which is the logit y_c **before** any softmax (a probability also falls when other classes
rise, so its gradient shows those too), or the activation of a layer, a channel or a neuron.
"""

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from models.images import load_image
from models.labels import find_class


def as_images(model, image):
    """`image` as floats (N,3,H,W): the one place where pictures become what networks take.

    image: a picture, that is a PIL image or an array (H,W,3) of uint8; a list of pictures; or floats, (N,3,H,W) or one
        (3,H,W), which are taken as they are, in the model's input space. Tensors stay Tensors.
    model: gives pictures its `input_size`, as `models.load_image` does; without one, or with None, they keep theirs.

    Raises ValueError for another shape, NaN or infinity, TypeError for another dtype.
    """
    listed = image if isinstance(image, list | tuple) else [image]
    if listed and all(_is_picture(one) for one in listed):
        found = [_at_input_size(model, one) for one in listed]
        if len({one.shape for one in found}) > 1:
            sizes = ", ".join(sorted({f"{one.shape[2]}x{one.shape[3]}" for one in found}))
            raise ValueError(f"the pictures of one batch must be of one size, these are {sizes}")
        return np.concatenate(found)

    x = image if isinstance(image, mg.Tensor) else np.asarray(image)
    if x.ndim == 3:
        x = x[None]
    if x.ndim != 4 or (x.shape[-1] == 3 and x.shape[1] not in (1, 3)):
        raise ValueError(
            f"image must be (N,3,H,W) or (3,H,W), or a picture: PIL's or uint8 (H,W,3); got shape {np.shape(image)}"
        )
    if x.dtype.kind != "f":
        raise TypeError(
            f"image must be floating point, in the model's input space, got dtype {x.dtype}: divide 0-255 by 255"
        )
    if isinstance(x, np.ndarray) and not np.isfinite(x).all():
        raise ValueError("image has NaN or infinite values")
    return x


def _is_picture(image):
    if hasattr(image, "getbands"):  # PIL's; not imported for this
        return True
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def _at_input_size(model, picture):
    """(1,3,H,W); a picture that has the model's size already is taken whole."""
    size, short_side = getattr(model, "input_size", None), getattr(model, "short_side", None)
    whole = load_image(picture)
    return whole if size is None or whole.shape[2:] == tuple(size) else load_image(picture, size, short_side)


def as_image(model, image):
    """`image` as `as_images` takes it, as a new leaf that requires grad, on the model's device, in its dtype."""
    x = mg.as_tensor(as_images(model, image)).detach()
    if model.training:
        raise ValueError("the model is in training mode, where images of a batch interact: call model.eval() first")
    weights = next((tensor for _, tensor in model.named_tensors() if tensor.dtype.kind == "f"), None)
    if weights is not None:
        x = x.to(weights.device).astype(weights.dtype)
    return mg.Tensor(x, requires_grad=True)


def score(model, x, target=None, layer=None, unit=None):
    """(N,) Tensor: what is explained, for each image of x, a Tensor (N,3,H,W).

    target: a class, as an index or a name; a sequence with one for each image; None for each image's top class.
    layer, unit: in the class's place, a layer's mean activation over channels and positions; with unit a channel, the
        mean of that channel over positions; with unit (channel, row, column), that neuron. What lies behind the layer
        is not computed.

    Raises ValueError for a class, layer or unit that the model does not have.
    """
    if layer is not None:
        if target is not None:
            raise ValueError(f"give a target or a layer to explain, not both (target {target!r}, layer {layer!r})")
        return unit_activation(model.activations(x, [layer])[layer], unit)
    if unit is not None:
        raise ValueError(f"unit {unit!r} needs the name of its layer: give layer as well")
    y = logits(model, x)
    return pick(y, classes(model, y, target))


def logits(model, x):
    """(N,K) Tensor: the class scores of x, taken before the softmax if the model ends in one."""
    return as_logits(model.activations(x, [logits_layer(model)])[logits_layer(model)])


def logits_layer(model):
    """The name of the layer whose output is the logits: the last, or the one before a softmax."""
    names = list(model)
    while len(names) > 1 and isinstance(model[names[-1]], nn.Softmax):
        names.pop()
    return names[-1]


def as_logits(y):
    """(N,K) of the last layer's output (N,K) or (N,K,1,1)."""
    if y.ndim > 2 and y.shape[2:] == (1,) * (y.ndim - 2):
        y = F.flatten(y, 1)
    if y.ndim != 2:
        raise ValueError(f"the model's output must be (N, classes), got shape {y.shape}")
    return y


def classes(model, y, target=None):
    """(N,) int array: the class to explain in each image, from its logits y (N,K) and `target` as in `score`."""
    count, known = y.shape
    if target is None:
        return y.numpy().argmax(1)
    if isinstance(target, str) or np.ndim(target) == 0:
        target = [target] * count
    if len(target) != count:
        raise ValueError(f"target has {len(target)} classes for {count} images: give one, or one for each image")
    found = [find_class(model, c) if isinstance(c, str) else c for c in target]
    for c in found:
        if not isinstance(c, int | np.integer) or isinstance(c, bool):
            raise TypeError(f"target must be a class index or name, got {c!r}")
        if not 0 <= c < known:
            raise ValueError(f"target {c} is out of range: this model has classes 0 to {known - 1}")
    return np.array(found, dtype=np.intp)


def fixed_target(model, image, target=None, layer=None):
    """`target` with None decided: the top class of each image as given, for methods that score changed images."""
    if layer is not None:
        return target
    with mg.no_grad():
        y = logits(model, as_image(model, image))
    return classes(model, y, target)


def pick(y, chosen):
    """(N,) Tensor: y[i, chosen[i]]."""
    mask = np.zeros(y.shape, y.dtype)
    mask[np.arange(len(chosen)), chosen] = 1
    return (y * mg.from_numpy(mask).to(y.device)).sum(axis=1)


def unit_activation(a, unit=None):
    """(N,) Tensor: the mean of activations a (N,C,...) over all channels, of one channel, or one neuron of it."""
    if unit is not None:
        unit = (unit,) if isinstance(unit, int | np.integer) else tuple(unit)
        if len(unit) not in (1, a.ndim - 1):
            raise ValueError(f"unit {unit} must be a channel or name one neuron in a layer of shape {a.shape[1:]}")
        for i, n in zip(unit, a.shape[1:], strict=False):
            if not 0 <= i < n:
                raise ValueError(f"unit {unit} is out of range: the layer has shape {a.shape[1:]}")
        a = a[(slice(None), *(int(i) for i in unit))]
    return a.mean(axis=tuple(range(1, a.ndim))) if a.ndim > 1 else a
