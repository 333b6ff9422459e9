"""Weights that do not change, kept as an algorithm wants them: transformed or put in order once, not in every pass.

The parameters of a frozen network are constants (guard.py). A kernel that transforms weights asks for the form it needs
with `form`, and makes it in scratch memory where that keeps none. Forms lie where their weight does, take at most
`limit` bytes in all on the CPU and `gpu_limit` on GPUs, first come, first kept, and go with their network.
"""

import math
import os
import threading

from minigrad.device import array_module, device_of
from minigrad.guard import constants

limit = 256 << 20  # bytes; VGG16's forms at 224 px take 63 MiB for the forward pass, as much again for the gradient
gpu_limit = 1 << 30  # VGG16's forms for the forward pass and the input gradient take 449 MiB there

_lock = threading.Lock()


def _new_lock():
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)  # another thread may hold it, and does not survive a fork


def is_frozen(weight):
    """Whether forms of this weight may be kept."""
    return id(weight) in constants


def form(weight, name, shape, fill, empty=None):
    """An array of `shape` and the weight's dtype that `fill(array)` has filled, now or in an earlier pass.

    None where nothing is kept: the weight is not frozen, or the limit is reached. name tells the forms of one weight
    apart; `empty(shape, dtype)` makes what is kept, by default the array module's. The array is not to be written to.
    """
    constant = constants.get(id(weight))
    if constant is None:
        return None
    with _lock:  # so that of two threads one makes the form, and the limit holds
        if name not in constant.derived:
            on_gpu = device_of(weight) != "cpu"
            if kept_bytes(on_gpu) + math.prod(shape) * weight.itemsize > (gpu_limit if on_gpu else limit):
                return None
            made = (empty or array_module(weight).empty)(shape, weight.dtype)
            fill(made)
            constant.derived[name] = made
        return constant.derived[name]


def form_or_new(weight, name, shape, fill, empty=None, scratch=None):
    """`form`, or where nothing is kept an array filled for this once, of `scratch(shape, dtype)`."""
    made = form(weight, name, shape, fill, empty)
    if made is None:
        fill(made := (scratch or array_module(weight).empty)(shape, weight.dtype))
    return made


def kept_bytes(on_gpu=False):
    """How much memory all forms on the CPU take, or all on GPUs."""
    return sum(size for device, size in kept_by_device().items() if on_gpu is (device != "cpu"))


def kept_by_device():
    """{"cpu": bytes, "cuda:0": bytes, ...}: how much memory forms take, where there are any."""
    found = {}
    for constant in list(constants.values()):
        for made in list(constant.derived.values()):
            found[device_of(made)] = found.get(device_of(made), 0) + made.nbytes
    return found
