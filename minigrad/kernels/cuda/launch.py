"""Kernels in CUDA C++: compiled at their first launch, one thread for each index."""

import numpy as np

from minigrad.backend import array_module

_BLOCK = 128  # threads in a block: few enough for small layers to reach every multiprocessor
_INT = 2**31 - 1

TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


def on_gpu(*arrays):
    """Whether the arrays are where kernels can be launched: their module is CuPy, or one that has its RawKernel."""
    return hasattr(array_module(*arrays), "RawKernel")


def floating(*arrays):
    """Whether the arrays are on a GPU and all float32 or all float64."""
    return arrays[0].dtype in TYPES and all(a.dtype == arrays[0].dtype for a in arrays) and on_gpu(*arrays)


class Kernel:
    """`code`, a function `extern "C" __global__ void name(...)` whose integers are all `long long`.

    kernel(xp, threads, *args) runs it on `threads` threads or a few more: each finds its number by `THREAD`, and must
    return where that is not below the count it was told. Arguments are arrays and Python ints. Words in `words` are
    defined before the code: kernel.of(T="double") is the same kernel with other ones.
    """

    def __init__(self, name, code, **words):
        self.name, self.code, self.words = name, code, words
        self._variants, self._compiled = {}, {}

    def of(self, **words):
        key = tuple(words.items())
        if key not in self._variants:
            self._variants[key] = Kernel(self.name, self.code, **{**self.words, **words})
        return self._variants[key]

    @property
    def source(self):
        """What is given to the compiler."""
        words = {"THREAD": "((long long)blockIdx.x * blockDim.x + threadIdx.x)", **self.words}
        return "".join(f"#define {word} {meaning}\n" for word, meaning in words.items()) + self.code

    def __call__(self, xp, threads, *args):
        if threads <= 0:
            return
        compiled = self._compiled.get(xp.RawKernel)
        if compiled is None:
            compiled = self._compiled[xp.RawKernel] = xp.RawKernel(self.source, self.name)
        compiled((-(-threads // _BLOCK),), (_BLOCK,), args)


def index_type(*sizes):
    """The C type for indices below all `sizes`: 32-bit divisions are several times faster than 64-bit ones."""
    return "int" if max(sizes) + _BLOCK <= _INT else "long long"
