"""Kernels in CUDA C++: compiled at their first launch, one thread for each index."""

import functools
import re

import numpy as np

from minigrad.device import array_module
from minigrad.kernels.layout import channels_last

_BLOCK = 128  # threads in a block: few enough for small layers to reach every multiprocessor
SHORT = 2**31 - 2 * _BLOCK  # up to here, an int numbers elements and the threads of the last block

TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


def on_gpu(*arrays):
    """Whether the arrays are where kernels can be launched: their module is CuPy, or one that has its RawKernel."""
    xp = array_module(*arrays)
    return xp is not np and hasattr(xp, "RawKernel")


def floating(*arrays):
    """Whether the arrays are on a GPU and all float32 or all float64."""
    return arrays[0].dtype in TYPES and all(a.dtype == arrays[0].dtype for a in arrays) and on_gpu(*arrays)


_PACK = "struct alignas(V * sizeof(T)) Pack { T at[V]; };\n"


class Kernel:
    """`code`, a function `extern "C" __global__ void name(arrays, then long longs)`, and how to launch it.

    kernel(xp, threads, *arrays, *ints) runs it on `threads` threads or a few more: each finds its number by `THREAD`,
    and must return where that is not below the count it was told. Words in `words` are defined before the code:
    kernel.of(T="double") is the same kernel with other ones. Usual are T, the type of numbers, INDEX, that of indices,
    and V, how many neighbouring channels a thread takes, as a Pack.

    CuPy takes about as long to pass one integer as to pass one array, and kernels have a dozen. So all of them go as
    one struct, made of the same integers once: `source` is the code with that struct in place of its long longs.
    """

    def __init__(self, name, code, **words):
        self.name, self.code, self.words = name, code, words
        self.arrays = code[code.index(f"{name}(") : code.index(") {")].count("*")
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
        head, body = self.code.split(") {", 1)
        integers = re.findall(r"long long (\w+)", head)
        head = re.sub(r",\s*long long \w+", "", head) + ", const Numbers numbers) {\n    const long long "
        named = ", ".join(f"{integer} = numbers.{integer}" for integer in integers)
        parts = [f"#define {word} {meaning}\n" for word, meaning in words.items()]
        parts += [_PACK if "V" in words else "", f"struct Numbers {{ long long {', '.join(integers)}; }};\n"]
        return "".join(parts) + head + named + ";" + body

    def __call__(self, xp, threads, *args):
        if threads <= 0:
            return
        compiled = self._compiled.get(xp.RawKernel)
        if compiled is None:
            compiled = self._compiled[xp.RawKernel] = xp.RawKernel(self.source, self.name)
        compiled((-(-threads // _BLOCK),), (_BLOCK,), (*args[: self.arrays], _numbers(args[self.arrays :])))


@functools.lru_cache(4096)
def _numbers(integers):
    """A struct of long longs, as CuPy passes it by value: a NumPy array of one element."""
    return np.array(integers, np.int64).view(f"V{8 * len(integers)}")


def index_type(*sizes):
    """The C type for indices below all `sizes`: 32-bit divisions are several times faster than 64-bit ones."""
    return "int" if max(sizes) <= SHORT else "long long"


def near_equal(count, most):
    """[(first, how many)]: range(count) cut into near-equal blocks of at most `most`."""
    number = max(1, -(-count // most))
    edges = [count * i // number for i in range(number + 1)]
    return [(lo, hi - lo) for lo, hi in zip(edges, edges[1:], strict=False) if hi > lo]


def rows_of(x):
    """(N,C,H,W) as a contiguous (N,H,W,C) array; a copy only where memory is not channels-last already."""
    return array_module(x).ascontiguousarray(channels_last(x))


def lanes(channels, *arrays):
    """4 where a thread may take 4 channels at once of all these contiguous channels-last arrays, else 1."""
    return 4 if channels % 4 == 0 and all(a.data.ptr % (4 * a.itemsize) == 0 for a in arrays) else 1
