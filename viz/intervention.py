"""Channels switched off, and what that does to the score: the check of every claim about a channel.

An attribution says what a channel is worth; an intervention measures it. The changed network shares all layers with its
original, which stays as it is, and is a network like any other.

Letters: N images, C channels of a layer.
"""

import copy
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, nn
from minigrad import functional as F
from minigrad.nn import Module
from minigrad.nn.observe import observed

from .network import described_as
from .perturbation import watched
from .progress import tqdm
from .sizes import activations
from .target import as_image, channel_numbers, fixed_target
from .typing import Images, Target


class SwitchedOff(nn.Module):
    """A layer whose outputs (N,C,...) are `value` in some channels. value: a number, or an array with one for each."""

    def __init__(self, layer: str | None, name: str, channels: int | list[int], value: float = 0.0) -> None:
        self.layer, self.name, self.channels, self.value = layer, name, channels, value

    def forward(self, *inputs: Any) -> Tensor:
        y = self.layer(*inputs)
        if not isinstance(y, mg.Tensor) or y.ndim < 2:
            raise ValueError(f"switch_off: layer {self.name!r} gives no Tensor (N,C,...), so it has no channels")
        across = (1, y.shape[1], *(1,) * (y.ndim - 2))
        off, instead = np.zeros(across, bool), np.zeros(across, y.dtype)
        chosen = channel_numbers("switch_off", self.name, self.channels, y.shape[1])
        off[0, chosen] = True
        instead[0, chosen] = np.reshape(self.value, (-1, *across[2:]))
        return F.where(mg.from_numpy(off).to(y.device), mg.from_numpy(instead).to(y.device), y)


def switched_off(model: Module, layer: str, channels: Any, value: float = 0.0) -> Any:
    """The network in which `channels` of `layer` say `value`, whatever they see: for any attribution, attack or score.

    layer: a name, of any wiring; a layer that runs several times is changed each time. channels: one or several. value:
    0, another number, or an array with one for each of `channels`, such as their means over other photographs.
    """
    if np.ndim(value) and len(value) != np.size(channels):
        raise ValueError(f"switch_off: {len(value)} values for {np.size(channels)} channels: give one, or one for each")
    return described_as(model, _with_layer(model, layer, SwitchedOff(model[layer], layer, channels, value)))


def _with_layer(module: Module, name: str, layer: Any) -> Module:
    """A copy of a module, sharing its layers, but for the one of that dotted name."""
    first, _, rest = name.partition(".")
    children = dict(module.children())
    changed = _with_layer(children[first], rest, layer) if rest else layer
    if isinstance(module, nn.Sequential | nn.Graph):
        return module.replace(children | {first: changed})
    found = copy.copy(module)
    setattr(found, first, changed)
    return found


def switch_off(
    model: Module, image: Images, layer: str, channels: Any, target: Target | None = None, value: float = 0.0
) -> np.ndarray:
    """(N,): how far the score of `target` falls where `channels` of `layer` are switched off; negative where it rises.

    image: (N,3,H,W). target: a class, one for each image, or None for the top class of the whole network. layer,
    channels, value: as of `switched_off`.
    """
    target = fixed_target(model, image, target)
    x = as_image(model, image).numpy()
    return watched(model, x, target) - watched(switched_off(model, layer, channels, value), x, target)


def channel_effects(
    model: Module, image: Images, layer: str, target: Target | None = None, value: float = 0.0, progress: bool = False
) -> np.ndarray:
    """(N,C): the fall of the score with each channel of `layer` switched off alone, a pass for each.

    Channels that say `value` already take no pass: their fall is 0. What two channels do together is not the sum of
    these: one may stand in for the other. value: a number.
    """
    target = fixed_target(model, image, target)
    image = as_image(model, image)
    with mg.no_grad():
        said = _Said(layer, value, activations(model, image, [layer])[layer].shape[1])
        with observed(model, said):
            model(image)
    x = image.numpy()
    whole = watched(model, x, target)
    falls = np.zeros((len(x), len(said.other)), whole.dtype)
    for channel in tqdm(np.flatnonzero(said.other), desc="channels", disable=not progress):
        falls[:, channel] = whole - watched(switched_off(model, layer, int(channel), value), x, target)
    return falls


class _Said:
    """An observer of all runs of a layer. other: (C,), which channels said anything but `value`."""

    done = False

    def __init__(self, name: str, value: float, channels: int) -> None:
        self.name, self.value, self.other = name, value, np.zeros(channels, bool)

    def asks_for(self, name: str) -> bool:
        return name == self.name

    def leaves(self, name: str, module: Module, x: Any, y: Tensor) -> None:
        if name == self.name:
            self.other |= (np.moveaxis(y.numpy(), 1, 0) != self.value).reshape(len(self.other), -1).any(1)
