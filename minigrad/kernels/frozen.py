"""Weights that do not change, kept as an algorithm wants them: transformed once, and not in every pass.

A layer with a weight that does not require grad owns a `FrozenWeight`. A kernel that transforms weights asks for the
form it needs with `form`, which looks for it there, and makes it in scratch memory where there is none. Forms take at
most `limit` bytes in all, first come, first kept, and go with their layer.
"""

import math
import threading
import weakref

import numpy as np

limit = 160 << 20  # bytes; the forms of VGG16's weights up to conv4_3, for one direction, take 122 MiB

_frozen = weakref.WeakValueDictionary()  # id of a weight -> its FrozenWeight, which keeps the id from being given away
_lock = threading.Lock()


class FrozenWeight:
    """A weight and its forms. `read_only` is what keeps the weight from being written to: no form would notice."""

    def __init__(self, weight, read_only):
        self.weight, self.read_only = weight, read_only
        self.forms = {}
        _frozen[id(weight)] = self

    def __reduce__(self):
        return type(None), ()  # a copy of the layer starts without


def form(weight, name, shape, fill, scratch):
    """An array of `shape` and the weight's dtype that `fill(array)` has filled, now or in an earlier pass.

    name: tells the forms of one weight apart. scratch(shape, dtype): memory for a form that is not kept. The array is
    not to be written to.
    """
    owner = _frozen.get(id(weight))
    if owner is None:
        return _filled(scratch(shape, weight.dtype), fill)
    with _lock:  # so that of two threads one makes the form, and the limit holds
        if name not in owner.forms:
            if kept_bytes() + math.prod(shape) * weight.itemsize > limit:
                return _filled(scratch(shape, weight.dtype), fill)
            owner.forms[name] = _filled(np.empty(shape, weight.dtype), fill)
    return owner.forms[name]


def _filled(array, fill):
    fill(array)
    return array


def kept_bytes():
    """How much memory all forms take."""
    return sum(made.nbytes for owner in list(_frozen.values()) for made in owner.forms.values())
