"""Memory for long use: scratch arrays that are kept from call to call, in huge pages where the system has them.

Kernels keep their scratch in a `Workspace` of their own, transformed weights in arrays of `lasting_empty`.
"""

import contextlib
import math
import mmap
import threading

import numpy as np

from minigrad.kernels.cpu.tuning import HUGE_PAGE, WORKSPACE_BYTES


def lasting_empty(shape, dtype):
    """An uninitialised array for long use, in memory of its own, where the system can in huge pages.

    Memory that malloc gives again has the small pages that it began with, and an address in small pages takes long to
    look up, above all in a virtual machine: with the kernels' scratch memory in small pages, VGG16 took 4 % more time.
    Linux aligns a mapping to huge pages only if its length is a multiple of one. A tail below half a page stays in
    small pages. Raises MemoryError where the system has no such memory.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < HUGE_PAGE // 2 or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(shape, dtype)
    try:
        memory = mmap.mmap(-1, -(-size // HUGE_PAGE) * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:
        raise MemoryError(f"no memory for an array of shape {shape} and {np.dtype(dtype)}") from None
    with contextlib.suppress(OSError):  # a system without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE, 0, (size + HUGE_PAGE // 2) // HUGE_PAGE * HUGE_PAGE)
    return np.frombuffer(memory, dtype, math.prod(shape)).reshape(shape)


class Workspace(threading.local):
    """Scratch arrays kept from call to call, one set for each thread: a fresh array costs a page fault for every 4 KiB.

    At most `limit` bytes stay with one name; anything larger is allocated anew each time.
    """

    def __init__(self, limit=WORKSPACE_BYTES):
        self.limit = limit
        self.buffers = {}

    def empty(self, name, shape, dtype):
        """An uninitialised array, valid until the same thread asks for `name` again."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > self.limit:
            return np.empty(shape, dtype)
        buffer = self.buffers.get(name)
        if buffer is None or buffer.nbytes < size:
            buffer = self.buffers[name] = lasting_empty((size,), np.uint8)
        return buffer[:size].view(dtype).reshape(shape)
