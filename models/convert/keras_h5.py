"""`model.save("x.h5")` of Keras 2 and 3: the architecture beside the weights, as in a .keras archive, without Keras.

The attribute model_config is the archive's config.json; in Keras 3 it has variable length, and is found among the
file's texts (hdf5_texts.py). /model_weights holds a group for each layer, with its arrays by name: conv/conv/kernel.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..hdf5 import WeightsError, attribute, dataset, group, node, opened
from ..layers import Preprocess
from ..model import Model
from ..preprocessing import for_channels
from .hdf5_texts import text_that_begins
from .keras_archive import LARGEST_CONFIG, NETWORKS, Missing, Reader
from .whole import asked_for, whole

# The names of a layer's arrays, in the order in which an archive numbers them.
ORDER = ["depthwise_kernel", "kernel", "pointwise_kernel", "gamma", "alpha", "beta", "bias", "moving_mean"]
ORDER += ["moving_variance", "mean", "variance", "count"]


def keras_config(path: Path) -> dict | None:
    """What the file says of its network, as of a .keras archive; None if it says nothing, or is no such file."""
    try:
        with opened(path) as file:
            text = attribute(file, "model_config")
        starts = tuple(f'{{"class_name": "{kind}"'.encode() for kind in NETWORKS)
        text = text_that_begins(path, starts) if text is None else bytes(text)
        found = json.loads(text) if text is not None and len(text) <= LARGEST_CONFIG else None
    except (WeightsError, ValueError, TypeError, RecursionError):
        return None
    if (
        not isinstance(found, dict)
        or found.get("class_name") not in NETWORKS
        or "layers" not in found.get("config", {})
    ):
        return None
    return found


def keras_h5_network(
    path: Path,
    preprocessing: str | Preprocess | None,
    size: Sequence[int] | None = None,
    labels: Sequence[str] | str | None = None,
) -> Model:
    """The Model in the file, whose `keras_config` is not None. Arguments and errors: see keras_archive.py."""
    prepare = asked_for(preprocessing, path)
    try:
        with opened(path) as file:
            found = Reader(Named).read(keras_config(path), group(file, "model_weights"), size)
    except Missing as error:
        raise ValueError(f"{path}: {error}") from None
    layers, channels, sides, count = found
    network = whole(layers, for_channels(prepare, channels), path.stem, sides, labels)
    done = f"{count} layers; preprocessing as asked for"
    network.provenance = {"source_format": "Keras HDF5 with its architecture", "conversion": done}
    return network


class Named:
    """Where such a file keeps arrays: in groups that are called as the layers are, at some depth of the network's."""

    @staticmethod
    def of_network(weights: Any) -> Any:
        return weights

    @staticmethod
    def of_layer(weights: Any, kind: str, name: str, counts: Counter) -> Any:
        return next((group(one, name) for one in _groups(weights) if name in one), {})

    @staticmethod
    def arrays(stored: Any) -> list[np.ndarray]:
        """In the order of ORDER."""
        found = {}
        for one in _groups(stored) if stored else ():
            for name in one:
                kind = re.sub(r"(_\d+)?(:0)?$", "", name)
                if hasattr(node(one, name), "keys"):
                    continue
                if kind not in ORDER or kind in found:
                    raise ValueError(f"its array {name} is of no kind that is known, or there twice")
                found[kind] = dataset(one, name)[()]
        return [found[kind] for kind in ORDER if kind in found]


def _groups(parent: Any) -> Iterator[Any]:
    """The group and all groups in it, the nearest first; each once, for a hard link may lead back."""
    waiting, seen = [parent], {parent.id}
    while waiting:
        one = waiting.pop(0)
        yield one
        children = (node(one, name) for name in one)
        for child in children:
            if hasattr(child, "keys") and child.id not in seen:
                seen.add(child.id)
                waiting.append(child)
