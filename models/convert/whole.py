"""A Model of layers that a file describes: how pictures are prepared, names of classes, and a check that it runs."""

import numpy as np

import minigrad as mg

from ..hdf5 import WeightsError, shown
from ..labels import imagenet_labels, read_labels
from ..model import Model
from .preprocessing import CHOICES, prepared


def asked_for(given, source):
    """The Preprocess of a name; ValueError without one, since no file of the source's kind tells."""
    if given is None:
        where = "of this network" if isinstance(source, bytes) else f"of {source}"
        raise ValueError(
            f"nothing tells how pictures {where} are prepared: give preprocessing, one of {', '.join(CHOICES)}; or "
            "convert it once, `python -m models convert FILE --preprocessing NAME --out FILE.h5`"
        )
    return prepared(given)


def whole(layers, prepare, name, input_size, labels=None):
    """The Model of {name: layer}, run once. labels: names of its classes, or "imagenet". Raises WeightsError."""
    network = Model({"preprocess": prepare, **layers}, name, input_size)
    network.eval()
    classes = _checked(network)
    if labels is not None:
        network.labels = imagenet_labels() if labels == "imagenet" else read_labels(labels)
        if len(network.labels) != classes:
            raise WeightsError(f"it tells {classes} classes apart, and {len(network.labels)} labels are given")
    return network


def _checked(network):
    """The number of scores, after a run of two pictures that must not know of each other."""
    rng = np.random.default_rng(0)
    images = rng.random((2, 3, *network.input_size), dtype=np.float32)
    with mg.no_grad():
        try:
            both = network(mg.Tensor(images)).numpy()
        except ValueError as error:
            raise WeightsError(f"it computes one picture at a time only ({shown(error)}): export it for more") from None
    if both.shape[0] != 2:
        raise WeightsError(f"of two pictures it makes {both.shape[0]} results: it mixes the pictures of a batch")
    if not np.isfinite(both).all():
        raise WeightsError("its output for a picture of noise is NaN or infinite")
    return both.shape[1] if both.ndim == 2 else None
