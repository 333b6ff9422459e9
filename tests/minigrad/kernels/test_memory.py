"""Memory for long use: scratch arrays of each thread, and arrays in huge pages."""

import mmap
import os
import threading

import numpy as np
import pytest

from minigrad.kernels.cpu import memory


def test_workspace_is_kept_small_and_apart_for_each_thread():
    workspace = memory.Workspace(limit=1000)
    first = workspace.empty("a", (10, 10), np.float32)
    again = workspace.empty("a", (5, 5), np.float32)
    assert np.shares_memory(first, again)
    assert not np.shares_memory(workspace.empty("b", (10,), np.float32), first)
    large = workspace.empty("c", (1000,), np.float32)
    assert large.shape == (1000,) and not np.shares_memory(large, workspace.empty("c", (1000,), np.float32))
    other = []
    thread = threading.Thread(target=lambda: other.append(workspace.empty("a", (10, 10), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(first, other[0])


@pytest.mark.parametrize("shape", [(3, 5), (3 << 20,), (2, 1 << 20)])
def test_lasting_arrays_are_private_and_as_asked_for(shape):
    array = memory.lasting_empty(shape, np.float32)
    assert array.shape == shape and array.dtype == np.float32 and array.flags.c_contiguous and array.flags.writeable
    array[...] = 1
    large = array.nbytes >= 4 << 20 and hasattr(mmap, "MADV_HUGEPAGE")
    assert (_memory_of(array) is mmap.mmap) == large
    if hasattr(os, "fork"):
        child = os.fork()
        if child == 0:
            array[...] = 2
            os._exit(0)
        os.waitpid(child, 0)
    assert (array == 1).all()


def _memory_of(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return type(array.base.obj if isinstance(array.base, memoryview) else array.base)


def test_an_array_too_large_for_memory_is_a_memory_error():
    with pytest.raises(MemoryError):
        memory.lasting_empty((1 << 60,), np.uint8)
