"""A Model of layers that a file describes: how pictures are prepared, names of classes, and a check that it runs."""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import numpy as np

import minigrad as mg

from ..hdf5 import WeightsError, shown
from ..labels import class_names
from ..layers import Preprocess
from ..model import Model
from ..preprocessing import LISTING, prepared

LARGEST = 4096  # pixels
MIXED = 1e-2  # of the largest result: far above rounding


def asked_for(given: str | Preprocess | None, source: str | Path | bytes) -> Preprocess:
    """The Preprocess of a name; ValueError without one, since no file of the source's kind tells."""
    if given is None:
        where = "of this network" if isinstance(source, bytes) else f"of {source}"
        raise ValueError(
            f"nothing tells how pictures {where} are prepared: give preprocessing (--preprocessing), one of {LISTING}"
        )
    return prepared(given)


def described(
    path: Path,
    head: Iterable[str],
    counts: Counter,
    known: Container[str],
    free: Sequence[str],
    needed: Container[str] | None = None,
) -> list[str]:
    """Lines on a network in a file: `head`, its kinds of layers with their counts, and what to type next.

    known: kinds that have a layer here. free: options that the file leaves open, such as "--size PIXELS". needed: the
    kinds without which there is nothing, if not all of them."""
    lines, unknown = list(head), [kind for kind in counts if kind not in known]
    for kind, count in counts.most_common(200):
        lines.append(f"  {shown(kind, 40):24}{count:6}{'  has no layer here' if kind in unknown else ''}")
    if missing := [kind for kind in unknown if needed is None or kind in needed]:
        return [*lines, f"it cannot be converted, for want of {shown(', '.join(missing), 200)}"]
    out = "converted" if path.suffix == ".h5" else path.stem
    command = " ".join(["--preprocessing NAME", *free, f"--out {out}.h5"])
    return [*lines, f"it does not say how pictures are prepared: python -m models convert {path.name} {command}"]


def sides_of(told: Sequence[int | None], asked: Sequence[int] | None) -> tuple:
    """(H, W) of the pictures: `asked` for, or what the file tells, whose lengths are None or 0 where it leaves them
    free. Raises ValueError for a size that is missing, WeightsError for one that is absurd or not the file's."""
    if asked is not None and any(one and one != other for one, other in zip(told, asked, strict=True)):
        raise WeightsError(f"it is for pictures of {told[0]} x {told[1]} pixels, and not for {asked[0]} x {asked[1]}")
    sides = tuple(told if asked is None else asked)
    if asked is None and not all(sides):
        raise ValueError("the file leaves the size of its pictures free: give size (--input-size), in pixels")
    if not all(isinstance(side, int) and 0 < side <= LARGEST for side in sides):
        raise WeightsError(f"its input of {shown(sides[0], 40)} x {shown(sides[1], 40)} pixels is absurd")
    return sides


def sized(network: Model, sides: Sequence[int]) -> Model:
    """The Model for pictures of (H, W), its crop in proportion. Raises WeightsError where it cannot look at them."""
    sides = sides_of((None, None), sides)
    short_side = network.short_side and round(network.short_side * max(sides) / max(network.input_size))
    other = Model(dict(network.children()), network.name, sides, network.labels, network.provenance, short_side)
    _checked(other)
    return other


def whole(
    layers: dict, prepare: Preprocess, name: str, input_size: Sequence[int], labels: Sequence[str] | str | None = None
) -> Model:
    """The Model of {name: layer}, run once. labels: names of its classes (`class_names`). Raises WeightsError."""
    labels = class_names(labels)
    network = Model({"preprocess": prepare, **layers}, name, input_size)
    network.eval()
    classes = _checked(network)
    if labels is not None:
        if classes is None:
            raise WeightsError("its output is no row of scores, so labels say nothing of it: leave them out")
        if len(labels) != classes:
            raise WeightsError(f"it tells {classes} classes apart, and {len(labels)} labels are given")
        network.labels = labels
    return network


def _checked(network: Model) -> int | None:
    """The number of scores, or None, after a run of two pictures that must not know of each other."""
    rng = np.random.default_rng(0)
    images = rng.random((2, len(network["preprocess"].mean), *network.input_size), dtype=np.float32)
    with mg.no_grad():
        try:
            both, alone = (network(mg.Tensor(some)).numpy() for some in (images, images[:1]))
        except ValueError as error:
            raise WeightsError(f"it computes one picture at a time only ({shown(error)}): export it for more") from None
    if both.shape[:1] != (2,):
        results = both.shape[0] if both.ndim else 1
        raise WeightsError(f"of two pictures it makes {results} results: it mixes the pictures of a batch")
    if not np.isfinite(both).all():
        raise WeightsError("its output for a picture of noise is NaN or infinite")
    if np.abs(both[0] - alone[0]).max(initial=0) > MIXED * np.abs(alone).max(initial=0):
        raise WeightsError("what it makes of a picture depends on the other one: it mixes the pictures of a batch")
    return both.shape[1] if both.ndim > 1 and both[0].size == both.shape[1] else None
