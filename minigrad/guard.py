"""Arrays that must not change are read-only for as long as that matters.

A graph needs the arrays that its functions saw: writing into one is NumPy's error at the line that writes, and not a
wrong gradient later. A frozen network's parameters are constants, from which kernels may derive what they like.

What passes unseen: a write through another view that was taken before the array was held (NumPy lets a view keep its
own flag), and any write to CuPy's arrays, which have no such flag.
"""

import contextlib
import threading
import weakref
from typing import Any

import numpy as np


class _Guard:
    """Counts who holds which array, since one array serves many functions. An array that is a view has its base held
    with it, so that nothing is written through that either."""

    def __init__(self):
        self.lock = threading.RLock()  # reentrant: a function may be freed while this thread holds the lock
        self.counts = {}  # id of array -> number of holds; who holds an array keeps it alive, so the id stays its own
        # A view can only be made writeable after its base. Of views that were let go first:
        self.waiting = {}  # id of a held base -> {id: weak reference to a view of it that nobody holds any more}

    def hold(self, arrays):
        """Hold the arrays and their bases; returns what was held, which is what to release."""
        held = []
        with self.lock:
            for array in arrays:
                while isinstance(array, np.ndarray):
                    if id(array) in self.counts or array.flags.writeable:  # else read-only by someone else's will
                        self.counts[id(array)] = self.counts.get(id(array), 0) + 1
                        array.flags.writeable = False
                        held.append(array)
                    array = array.base
        return held

    def release(self, held):
        with self.lock:
            for array in held:
                self.counts[id(array)] -= 1
            for array in reversed(held):  # bases before their views: a view cannot be made writeable before its base
                if self.counts.get(id(array)) == 0:
                    del self.counts[id(array)]
                    self._free(array)

    def _free(self, array):
        base = array.base
        if isinstance(base, np.ndarray) and not base.flags.writeable:
            if id(base) in self.counts:
                self.waiting.setdefault(id(base), {})[id(array)] = weakref.ref(array)
            return
        with contextlib.suppress(ValueError):  # np.from_dlpack's arrays stay read-only for good
            array.flags.writeable = True
        for view in self.waiting.pop(id(array), {}).values():
            if (view := view()) is not None and id(view) not in self.counts:
                self._free(view)


_guard = _Guard()


class ReadOnly:
    """Keeps arrays from being written to for as long as it lives."""

    def __init__(self, arrays: Any) -> None:
        self._held = _guard.hold(arrays)

    def __del__(self) -> None:
        _guard.release(self._held)


class Constant(ReadOnly):
    """An array that does not change for as long as this lives, and `derived`, what kernels keep of it by name.

    A parameter of a frozen network is one. What is derived goes with it.
    """

    def __init__(self, array: Any) -> None:
        super().__init__([array])
        self.array = array
        self.derived: dict[Any, Any] = {}
        constants[id(array)] = self

    @classmethod
    def of(cls, array: Any) -> "Constant":
        """The Constant of this array: the one there is, if another layer shares it."""
        return constants.get(id(array)) or cls(array)

    def move_to(self, array: Any) -> None:
        """Be the Constant of another array, which has taken the first one's place."""
        if array is not self.array:
            del constants[id(self.array)]
            _guard.release(self._held)
            self._held, self.array, self.derived = _guard.hold([array]), array, {}
            constants[id(array)] = self

    def __reduce__(self) -> tuple:
        return type(None), ()  # a copy of a network has arrays of its own


# id of an array -> its Constant, which keeps the id from being given away
constants: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
