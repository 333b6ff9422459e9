"""Passes through a network that say which sizes it takes, where an image is of another."""

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad.nn import Module
from minigrad.nn.observe import observed

from .remarks import remark

LARGEST = 512  # pixels of a side: no network asks for more


def activations(model: Module, x: Tensor, layers: list[str]) -> dict[str, Any]:
    """model.activations(x, layers), of a Tensor x (N,C,H,W); where x is too small, ValueError names the least size.

    Warns of a layer that ran again before the pass ended: what is given is of its first call.
    """
    for layer in layers:
        model[layer]  # which says what there is, if there is none of this name
    runs = _Runs(layers)
    try:
        with observed(model, runs):
            found = model.activations(x, layers)
        runs.warn_of_several()
        return found
    except ValueError:
        sentence = None if x.ndim != 4 or _fits(model, x, layers, x.shape[2:]) else _wanted(model, x, layers)
        if sentence is None:
            raise
    raise ValueError(f"{sentence}, this image has {x.shape[2]} x {x.shape[3]}")


class _Runs:
    """An observer that counts the calls of the layers `names`."""

    done = False

    def __init__(self, names: Any) -> None:
        self.counts = dict.fromkeys(names, 0)

    def asks_for(self, name: str) -> bool:
        return name in self.counts

    def leaves(self, name: str, module: Module, x: Any, y: Any) -> None:
        if name in self.counts:
            self.counts[name] += 1

    def warn_of_several(self) -> None:
        for name, count in self.counts.items():
            if name and count > 1:
                remark(
                    f"layer {name!r} runs {count} times in one pass, and its name means the first: give each call a "
                    f"module of its own to look at another",
                    stacklevel=4,
                )


def smallest_side(model: Module, x: Tensor, layers: list[str]) -> int | None:
    """The least side of a square image like x that `model` takes up to `layers`; None where there is none.

    Computed from the layers themselves: they are called on images of zeros, by halves.
    """
    high = next((n for n in 2 ** np.arange(LARGEST.bit_length()) if _fits(model, x, layers, (n, n))), None)
    if high is None:
        return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _fits(model, x, layers, (middle, middle)) else (middle, high)
    return int(high)


def _fits(model: Module, x: Tensor, layers: Any, size: Any) -> bool:
    try:
        with mg.no_grad():
            model.activations(mg.Tensor(np.zeros((1, x.shape[1], *size), x.dtype)).to(x.device), layers)
    except ValueError:
        return False
    return True


def _wanted(model: Module, x: Tensor, layers: Any) -> str | None:
    """Which sizes are taken, or None."""
    up_to = f" up to {' and '.join(layers)}" if len(layers) < 3 and all(layers) else ""
    made_for = getattr(model, "input_size", None)
    if (
        made_for is not None
        and _fits(model, x, layers, made_for)
        and not _fits(model, x, layers, [n + 64 for n in made_for])
    ):
        return f"this network takes images of {made_for[0]} x {made_for[1]} pixels only{up_to}"
    least = smallest_side(model, x, layers)
    return None if least is None else f"this network takes images of at least {least} x {least} pixels{up_to}"
