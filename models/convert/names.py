"""Which layer of ours a layer of another program is."""

import re

from ..model import Model

HEADS = {"avgpool", "drop9"}  # where the classifying part of ours begins
VGG_HEAD = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}
KINDS = {"W": "weight", "b": "bias", "kernel": "weight", "weights": "weight", "biases": "bias", "b_fix16": "bias_fix16"}
KINDS |= {kind: kind for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
WRAPPERS = {"model", "net", "network", "encoder", "backbone"}
SUFFIX = re.compile(rf"(.+?)[._/]({'|'.join(KINDS)})(?::0)?")
ONLY_IN_TRAINING = ("aux1.", "aux2.")  # GoogLeNet's auxiliary classifiers


def split(key: str) -> tuple[str, str] | None:
    """("conv1_1", "weight") of a key such as "conv1_1.weight", "conv1_1_W", "conv1_1/kernel:0"; None of another one."""
    found = SUFFIX.fullmatch(key)
    if not found:
        return None
    return found[1], KINDS[found[2]]


def without_wrappers(arrays: dict) -> dict:
    """{key: array} without what stands around a network: "module." (several GPUs), "_orig_mod." (compiled), and a
    "model.", "net." or the like before every key."""
    arrays = {re.sub(r"(?<![^.])(module|_orig_mod)\.", "", key): array for key, array in arrays.items()}
    while arrays and len(around := {key.partition(".")[0] for key in arrays}) == 1 and around <= WRAPPERS:
        arrays = {key.partition(".")[2]: array for key, array in arrays.items()}
    return arrays


def from_keras(name: str) -> str:
    """Our name of a layer of Keras' or Caffe's VGG and SqueezeNet; other names stay as they are."""
    if name in VGG_HEAD:
        return VGG_HEAD[name]
    name = re.sub(r"^block(\d)_conv(\d)$", r"conv\1_\2", name)
    numbered = re.fullmatch(r"block(\d)/conv2d(?:_(\d))?", name)  # Keras 3, blocks with layers of their own
    if numbered:
        return f"conv{numbered[1]}_{int(numbered[2] or 0) + 1}"
    name = re.sub(r"^(fire\d)[/_.]squeeze1x1$", r"\1.squeeze", name)
    return re.sub(r"^(fire\d)[/_.]expand(1x1|3x3)$", r"\1.expand.\2", name)


def keras_class(name: str) -> str | None:
    """The class of which a layer of Keras 3 is the first or the n-th: dense_1 is "dense"; None for another name."""
    numbered = re.fullmatch(r"(conv2d|dense|batch_normalization)(?:_\d+)?", name)
    return numbered and numbered[1]


def plain(name: str) -> str:
    """The name as ours have it: DenseNet's norm.1 is norm1, and a leading underscore goes."""
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])$", r"\1\2", name)
    return re.sub(r"(^|\.)_", r"\1", name)


def from_torchvision(model: Model) -> dict:
    """{torchvision's name: ours}. It numbers the very layers of our tables: features.0, .1, ...; classifier.0, ..."""
    names = [name for name, _ in model.children()][1:]
    head = next((place for place, name in enumerate(names) if name in HEADS), len(names))
    classifier = [name for name in names[head:] if name not in ("avgpool", "flatten")]
    table = {f"features.{place}": name for place, name in enumerate(names[:head])}
    table |= {f"classifier.{place}": name for place, name in enumerate(classifier)}
    for theirs, ours in list(table.items()):
        if ours.startswith("fire"):
            table[f"{theirs}.squeeze"] = f"{ours}.squeeze"
            table |= {f"{theirs}.expand{size}": f"{ours}.expand.{size}" for size in ("1x1", "3x3")}
    return table
