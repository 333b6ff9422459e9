"""Weights that do not change, kept as an algorithm wants them: transformed or put in order once, not in every pass.

A layer with a weight that does not require grad owns a `FrozenWeight`. A kernel that transforms weights asks for the
form it needs with `form`, and makes it in scratch memory where that keeps none. Forms lie where their weight does, take
at most `limit` bytes in all on the CPU and `gpu_limit` on GPUs, first come, first kept, and go with their layer.
"""

import math
import os
import threading
import weakref

import numpy as np

from minigrad.backend import array_module, device_of, lasting_empty

limit = 256 << 20  # bytes; VGG16's forms at 224 px take 63 MiB for the forward pass, as much again for the gradient
gpu_limit = 1 << 30  # VGG16's forms for the forward pass and the input gradient take 449 MiB there

# id of a weight -> its FrozenWeight, which keeps the id from being given away
_frozen: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _new_lock():
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)  # another thread may hold it, and does not survive a fork


class FrozenWeight:
    """A weight and its forms. `read_only` is what keeps the weight from being written to: no form would notice.

    CuPy's arrays cannot be made so: a weight on a GPU that is written into, not replaced, leaves its forms stale.
    """

    def __init__(self, weight, read_only):
        self.weight, self.read_only = weight, read_only
        self.forms = {}
        _frozen[id(weight)] = self

    def __reduce__(self):
        return type(None), ()  # a copy of the layer starts without


def freeze(weight, read_only):
    """The FrozenWeight of this array: the one there is, if another layer shares it."""
    return _frozen.get(id(weight)) or FrozenWeight(weight, read_only)


def is_frozen(weight):
    """Whether forms of this weight may be kept."""
    return id(weight) in _frozen


def form(weight, name, shape, fill):
    """An array of `shape` and the weight's dtype that `fill(array)` has filled, now or in an earlier pass.

    None where nothing is kept: the weight is not frozen, or the limit is reached. name tells the forms of one weight
    apart. The array is not to be written to.
    """
    owner = _frozen.get(id(weight))
    if owner is None:
        return None
    xp = array_module(weight)
    with _lock:  # so that of two threads one makes the form, and the limit holds
        if name not in owner.forms:
            kept, most = (kept_bytes(), limit) if xp is np else (kept_bytes(gpu=True), gpu_limit)
            if kept + math.prod(shape) * weight.itemsize > most:
                return None
            made = (lasting_empty if xp is np else xp.empty)(shape, weight.dtype)
            fill(made)
            owner.forms[name] = made
        return owner.forms[name]


def form_or_new(weight, name, shape, fill, empty=None):
    """`form`, or where nothing is kept an array filled for this once: a new one, or one of `empty(shape, dtype)`."""
    made = form(weight, name, shape, fill)
    if made is None:
        fill(made := (empty or array_module(weight).empty)(shape, weight.dtype))
    return made


def kept_bytes(gpu=False):
    """How much memory all forms on the CPU take, or all on GPUs."""
    return sum(size for device, size in kept_by_device().items() if gpu is (device != "cpu"))


def kept_by_device():
    """{"cpu": bytes, "cuda:0": bytes, ...}: how much memory forms take, where there are any."""
    found = {}
    for owner in list(_frozen.values()):
        for made in list(owner.forms.values()):
            found[device_of(made)] = found.get(device_of(made), 0) + made.nbytes
    return found
