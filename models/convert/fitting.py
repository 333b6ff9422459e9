"""Weights that a file holds, put into one of the networks that are known: by name, by shape, in our layout."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from minigrad import Tensor, nn

from ..architectures import ARCHITECTURES, FEATURES, NAMES, build
from ..hdf5 import WeightsError, shown
from ..labels import read_labels
from ..model import Model, fold_batch_norm
from . import names

CANDIDATES = (*NAMES, *(name + FEATURES for name in NAMES))
UNUSED = {"num_batches_tracked"}  # a counter of torch's training
WIRING = (
    "weights alone do not say how layers are wired: for a network of your own, export it to ONNX and convert that, "
    "save it from Keras as .keras, or give the torch module itself to models.from_torch"
)


@dataclass
class Found:
    """What a file holds: {layer: {"weight": array, "bias": array, ...}}, as its program keeps them, in its order."""

    layers: dict
    format: str
    channels_last: bool | None  # kernels (height, width, in, out) or (out, in, height, width); None: by their shapes
    torchvision: bool = False
    ordered: bool = True  # whether the layers come in the order of the network
    note: str = ""  # which of several sets of weights these are


@dataclass
class Fit:
    """A model, the array for each of its tensors by name, and what is left over."""

    model: Model
    arrays: dict
    left: list
    how: str
    alike: tuple = ()  # names of other architectures that the weights fit as well

    def filled(self) -> Model:
        """The model with its weights. Raises WeightsError for NaN and infinite ones."""
        state = {}
        for key, array in self.arrays.items():
            if not np.isfinite(array).all():
                raise WeightsError(f"{key} holds NaN or infinite values")
            state[key] = np.ascontiguousarray(array, dtype=np.float32)
        self.model.load_state_dict(state)
        return self.model


CLASSES = {nn.Conv2d: "conv2d", nn.Linear: "dense", nn.BatchNorm2d: "batch_normalization"}


class OtherOrder(WeightsError):
    """Kernels in an order that only their own program can undo."""


def recognised(found: Found) -> Fit:
    """The Fit of the first architecture that leaves fewest layers over, with the names of those that fit as well.

    Raises WeightsError if there is none.
    """
    fits = []
    for name in CANDIDATES:
        try:
            fits.append(fit(found, name))
        except OtherOrder:
            raise
        except ValueError:
            continue
    if fits:
        best = min(fits, key=lambda one: len(one.left))
        alike = (one.model.name for one in fits if one is not best and one.arrays.keys() == best.arrays.keys())
        return replace(best, alike=tuple(alike))
    held = shown(", ".join(list(found.layers)[:4]), 200)
    raise WeightsError(
        f"its {len(found.layers)} layers ({held}, ...) fit none of {', '.join(NAMES[:3])}, ... (python -m models info "
        f"lists all); {WIRING} (with the name of an architecture you are told what differs)"
    )


def fit(found: Found, architecture: str, labels: Sequence[str] | str | None = None) -> Fit:
    """The Fit of one architecture: a name for `models.build`, or a Model. Raises WeightsError that says what differs.

    A network of other classes than the original's is built for as many. labels: their names.
    """
    if not isinstance(architecture, str):
        model = _with_biases(architecture, found)
        model.labels = labels or model.labels
        return _matched(model, found)
    norm = any("running_mean" in arrays for arrays in found.layers.values())
    model = _built(architecture, norm, None)
    head = [key for key, _ in model.named_parameters() if key.endswith("weight")][-1].rpartition(".")[0]
    classes = _outputs_of(head, model, found)
    if model.labels and classes and (labels or classes != len(model.labels)):
        names_given = read_labels(labels) if labels else None
        if names_given and len(names_given) != classes:
            raise WeightsError(f"it tells {classes} classes apart, and {len(names_given)} labels are given")
        model = _built(architecture, norm, [f"class {index}" for index in range(classes)])
        model.labels = names_given
    return _matched(_with_biases(model, found), found)


def _built(name: str, norm: bool, labels: Sequence[str] | str | None) -> Model:
    """The architecture, weights zero; with normalisation, if the file has any, where it comes with and without."""
    row = ARCHITECTURES.get(name.removesuffix(FEATURES))
    return build(name, seed=None, batch_norm=norm and row is not None and row.batch_norm, labels=labels)


def _with_biases(model: Model, found: Found) -> Model:
    """Convolutions have biases where the file's have, as torchvision's do even before a batch normalisation."""
    layers, theirs = dict(model.children()), _renamed(model, found)[0]
    for name, layer in layers.items():
        if isinstance(layer, nn.Conv2d) and layer.bias is None and "bias" in theirs.get(name, ()):
            layers[name] = nn.Conv2d(**layer.describe() | {"bias": True})
    return model.replace(layers)


def _outputs_of(head: str, model: Model, found: Found) -> int | None:
    """Classes that the file's last layer tells apart, or None."""
    weight = _renamed(model, found)[0].get(head, {}).get("weight")
    if weight is None or weight.ndim not in (2, 4):
        return None
    last = found.channels_last
    if last is None:
        last = weight.shape[1] != dict(model.named_tensors())[f"{head}.weight"].shape[1]
    return weight.shape[-1] if last else weight.shape[0]


def _matched(model: Model, found: Found) -> Fit:
    layers, how = _renamed(model, found)
    wanted = {}
    for key, tensor in model.named_tensors():
        layer, _, kind = key.rpartition(".")
        wanted.setdefault(layer, {})[kind] = tensor
    missing, extra = [name for name in wanted if name not in layers], [name for name in layers if name not in wanted]
    if missing or not (model.name.endswith(FEATURES) or _aside(extra, model, found, layers, wanted)):
        what = [f"{verb} {', '.join(some[:4])}" for verb, some in (("lacks", missing), ("has also", extra)) if some]
        rest = ""
        if missing and f"{model.name}{FEATURES}" in CANDIDATES:
            features = {key.rpartition(".")[0] for key, _ in _built(model.name + FEATURES, False, None).named_tensors()}
            if features <= layers.keys():
                rest = f"; it holds {model.name} without its classifier, {model.name}{FEATURES}"
        raise WeightsError(f"its layers are not those of {model.name}: it {shown(' and '.join(what))}{rest}")

    last = _channels_last(layers, wanted) if found.channels_last is None else found.channels_last
    flat = _flattened_channels(model) if last else {}
    arrays = {}
    for layer, tensors in wanted.items():
        unknown = sorted(layers[layer].keys() - tensors.keys() - UNUSED)
        if unknown:
            raise WeightsError(f"its {layer} has also a {unknown[0]}, unlike that of {model.name}: {WIRING}")
        for kind, tensor in tensors.items():
            if kind not in layers[layer]:
                raise WeightsError(f"its {layer} has no {kind}, unlike that of {model.name}: {WIRING}")
            array = _in_our_layout(layers[layer][kind], last, flat.get(layer))
            if array.dtype.kind != "f" or array.shape != tensor.shape:
                _check_order(f"{layer}.{kind}", layers[layer][kind], tensor, last)
                raise WeightsError(f"{layer}.{kind} is {array.dtype} {array.shape}, expected {tensor.shape}")
            arrays[f"{layer}.{kind}"] = array
    return Fit(model, arrays, extra, how)


def _aside(extra: list, model: Model, found: Found, layers: dict, wanted: dict) -> bool:
    """Whether layers that a known network lacks can stand beside it, as a projection for a loss does: no convolution or
    norm, no part of a stage, and no dense layer that may come before or behind the head."""
    if not extra or model.name not in NAMES:
        return not extra
    taken = [layers[name] for name in wanted]
    stages = {name.partition(".")[0] for name, arrays in found.layers.items() if any(arrays is one for one in taken)}
    last = _channels_last(layers, wanted) if found.channels_last is None else found.channels_last
    classes, features = list(wanted.values())[-1]["weight"].shape[:2]
    for name in extra:
        shape = layers[name].get("weight", np.zeros(())).shape
        into, out = (1, 0) if not last else (0, 1)
        chained = len(shape) == 2 and (shape[into] == classes or shape[out] == features)
        if name.partition(".")[0] in stages or len(shape) in (1, 4) or chained:
            return False
    return True


def lost_head(one: Fit) -> str | None:
    """What a Fit leaves of a classifier, as a sentence; None where it has one, or nothing was left over."""
    if not (isinstance(one.model, Model) and one.model.name.endswith(FEATURES) and one.left):
        return None
    name = one.model.name.removesuffix(FEATURES)
    whole = {key.rpartition(".")[0] for key, _ in _built(name, False, None).named_tensors()}
    head = sorted(whole - {key.rpartition(".")[0] for key, _ in one.model.named_tensors()})
    return (
        f"the layers {shown(', '.join(one.left), 200)} fit none of the classifier of {name} ({', '.join(head)}): "
        "rename its tensors to these, or export the network to ONNX"
    )


def _check_order(name: str, array: np.ndarray, tensor: Tensor, last: bool) -> None:
    if last and array.ndim == 4 and array.shape == tensor.shape:
        raise OtherOrder(
            f"its kernels ({name}) are (out, in, height, width), the order of Keras on Theano, turned by 180 degrees "
            "or not, which no file says: load it in Keras with image_data_format channels_last, and save it from there"
        )


def _renamed(model: Model, found: Found) -> tuple[dict, str]:
    """({our name: arrays}, how they were told)."""
    ours = list(dict.fromkeys(key.rpartition(".")[0] for key, _ in model.named_tensors()))
    if found.layers.keys() >= set(ours):
        return found.layers, "by name"
    if found.torchvision:
        table = names.from_torchvision(model)
        return {table.get(name, name): arrays for name, arrays in found.layers.items()}, "by torchvision's names"
    renamed = {}
    for name, arrays in found.layers.items():
        short = name.rpartition("/")[2]
        guesses = (name, names.from_keras(name), name.replace("/", "."), short, names.from_keras(short))
        known = (one for one in guesses if one in ours and one not in renamed)
        renamed[next(known, name)] = arrays
    if by_class := _by_class(model, found):
        return by_class, "by class and number"
    if not renamed.keys() & set(ours) and len(ours) == len(renamed):
        if not found.ordered:
            raise WeightsError(f"its layers have names of their own, and their order cannot be read: {WIRING}")
        return dict(zip(ours, renamed.values(), strict=True)), "by their order"
    return renamed, "by name"


def _by_class(model: Model, found: Found) -> dict | None:
    """{our name: arrays} of a file of Keras 3, which numbers the layers of each class, conv2d, conv2d_1, ..., batch
    norms before convolutions; None where that is not how it names all, or a class is in two networks of it."""
    theirs = {}
    for name in found.layers:
        outer, stem = name.rpartition("/")[0], names.keras_class(name.rpartition("/")[2])
        theirs.setdefault(stem, {}).setdefault(outer, []).append(name)
    if None in theirs or any(len(outer) > 1 for outer in theirs.values()):
        return None
    ours = {}
    for name, layer in model.named_modules():
        ours.setdefault(CLASSES.get(type(layer)), []).append(name)
    pairs = {stem: (list(outer.values())[0], ours.get(stem, [])) for stem, outer in theirs.items()}
    if any(len(their) != len(our) for their, our in pairs.values()):
        return None
    return {our: found.layers[their] for some in pairs.values() for their, our in zip(*some, strict=True)}


def _channels_last(layers: dict, wanted: dict) -> bool:
    """Whether kernels are (height, width, in, out); the same must hold for all, as one alone may be ambiguous."""
    pairs = [(layers[name].get("weight"), tensors["weight"].shape) for name, tensors in wanted.items()]
    return not all(array is not None and array.shape == shape for array, shape in pairs)


def _flattened_channels(model: Model) -> dict:
    """{name of the dense layer behind a Flatten: channels before it}; none where these come last already."""
    channels, flattened = None, False
    for name, layer in model.children():
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        if isinstance(layer, nn.Call) and layer.function == "permute":
            return {}
        flattened = flattened or isinstance(layer, nn.Flatten)
        if isinstance(layer, nn.Linear) and flattened and channels:
            return {name: channels}
    return {}


def _in_our_layout(array: np.ndarray, channels_last: bool | None, flat_channels: int | None) -> np.ndarray:
    if not channels_last or array.ndim not in (2, 4):
        return array
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if flat_channels and array.shape[0] % flat_channels == 0:  # rows come as H, W, C: put them as C, H, W
        rows = array.reshape(-1, flat_channels, array.shape[1])
        array = rows.transpose(1, 0, 2).reshape(array.shape)
    return array.T


def finished(one: Fit) -> Model:
    """The Fit's model with its weights, batch normalisation folded where an architecture has none of its own."""
    model = one.filled()
    row = ARCHITECTURES.get(model.name.removesuffix(FEATURES)) if isinstance(model, Model) else None
    return model if row is not None and not row.batch_norm else fold_batch_norm(model)
