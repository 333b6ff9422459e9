"""CUDA kernels without a GPU: CuPy's RawKernel, for kernels whose threads are independent of each other.

The source is compiled as C++, the words that only CUDA knows defined away, and the threads of a launch run one after
the other. What CuPy would take without a word and turn into a wrong result or a fault is refused: a wrong number of
arguments, an array of another type than the pointer's, a pointer that is not aligned, a NumPy array, a scalar of
another type than the parameter's (CuPy passes a Python int as a long long, a float as a double, NumPy's scalars as they
are, and a NumPy array of one element by value, whatever it is made of).
"""

import ctypes
import functools
import hashlib
import math
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from .array import Counts, DeviceArray, check_devices

COMPILER = shutil.which(os.environ.get("CXX", "g++"))
launches: list = []  # the names of all kernels launched, in order; for tests to count

_BEFORE = r"""
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
struct dim3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
static dim3 blockIdx, threadIdx, blockDim, gridDim;  // Python's lock is held while a kernel runs
template <class T> struct Letter { static std::string get() { return "V" + std::to_string(sizeof(T)); } };
#define LETTER(type, letter) template <> struct Letter<type> { static std::string get() { return letter; } };
LETTER(bool, "?") LETTER(signed char, "b") LETTER(char, "b") LETTER(unsigned char, "B") LETTER(short, "h")
LETTER(unsigned short, "H") LETTER(int, "i") LETTER(unsigned, "I") LETTER(long, "l") LETTER(unsigned long, "L")
LETTER(long long, "q") LETTER(unsigned long long, "Q") LETTER(float, "f") LETTER(double, "d") LETTER(float2, "2f")
LETTER(float4, "4f")
template <class T> struct Letter<T*> {
    static std::string get() { return "*" + Letter<typename std::remove_cv<T>::type>::get(); }
};
template <class... A> static std::string letters(void (*)(A...)) {
    std::string all;
    using expand = int[];
    (void)expand{0, (all += Letter<typename std::remove_cv<A>::type>::get() + " ", 0)...};
    return all;
}
template <class... A, std::size_t... I>
static void call(void (*kernel)(A...), void** a, std::index_sequence<I...>) {
    kernel(*static_cast<typename std::remove_cv<A>::type*>(a[I])...);
}
template <class... A> static void launch_all(void (*kernel)(A...), const unsigned* sizes, void** args) {
    gridDim = {sizes[0], sizes[1], sizes[2]};
    blockDim = {sizes[3], sizes[4], sizes[5]};
    const auto end = [](const dim3& size) { return (unsigned long long)size.x * size.y * size.z; };
    const auto at = [](const dim3& size, unsigned long long i) {
        return dim3{unsigned(i % size.x), unsigned(i / size.x % size.y), unsigned(i / size.x / size.y)};
    };
    for (unsigned long long i = 0; i < end(gridDim); i++)
        for (unsigned long long j = 0; j < end(blockDim); j++) {
            blockIdx = at(gridDim, i);
            threadIdx = at(blockDim, j);
            call(kernel, args, std::index_sequence_for<A...>());
        }
}
"""

_AFTER = r"""
extern "C" const char* signature() { static std::string found = letters(KERNEL); return found.c_str(); }
extern "C" void launch(const unsigned* sizes, void** args) { launch_all(KERNEL, sizes, args); }
"""


class RawKernel:
    """kernel(grid, block, args): see CuPy's. Needs a C++ compiler (`COMPILER` is None where there is none)."""

    def __init__(self, code, name, options=(), backend="nvrtc"):
        if not isinstance(options, tuple) or not all(isinstance(option, str) for option in options):
            raise TypeError(f"RawKernel: options must be a tuple of str, got {options!r}")
        self.code, self.name, self.options = code, name, options

    def __call__(self, grid, block, args, *, shared_mem=0):
        sizes = _sizes(self.name, grid, block)
        check_devices(args)
        library = _library(self.code, self.name, self.options)
        letters = library.signature().decode().split()
        if len(letters) != len(args):
            raise TypeError(f"{self.name} has {len(letters)} parameters, got {len(args)} arguments")
        values = [_value(self.name, i, *pair) for i, pair in enumerate(zip(letters, args, strict=True))]
        pointers = (ctypes.c_void_p * len(values))(*[value.ctypes.data for value in values])
        library.launch((ctypes.c_uint * 6)(*sizes), pointers)
        launches.append(self.name)
        Counts.launches += 1


def _sizes(name, grid, block):
    """The six sizes of a launch, checked against a GPU's limits."""
    grid, block = ((*sizes, 1, 1)[:3] for sizes in (grid, block))
    limits = (2**31 - 1, 65535, 65535, 1024, 1024, 64)
    for size, limit in zip((*grid, *block), limits, strict=True):
        if not isinstance(size, int) or not 1 <= size <= limit:
            raise ValueError(f"{name}: grid {grid} and block {block} must be ints from 1 to {limits}")
    if math.prod(block) > 1024:
        raise ValueError(f"{name}: {math.prod(block)} threads in a block, at most 1024")
    return (*grid, *block)


def _value(name, i, letter, value):
    """The bytes that the kernel gets for an argument, as a NumPy array of one element."""
    what = f"{name}: argument {i}"
    if letter.startswith("*"):
        if not isinstance(value, DeviceArray):
            raise TypeError(f"{what} must be an array on the device, got {type(value).__name__}")
        if not value.flags.c_contiguous:
            raise ValueError(f"{what} has gaps (strides {value.strides}), and a kernel is told nothing of strides")
        lanes, kind = (int(letter[1]), letter[2]) if letter[1].isdigit() else (1, letter[1])
        if value.dtype != np.dtype(kind):
            raise TypeError(f"{what} is a pointer to {np.dtype(kind)}, got an array of {value.dtype}")
        if value.size and value.data.ptr % (lanes * value.dtype.itemsize):
            raise ValueError(f"{what} is not aligned to {lanes * value.dtype.itemsize} bytes")
        return np.array([value.data.ptr], np.uintp)
    if letter.startswith("V") or isinstance(value, np.ndarray):
        if not isinstance(value, np.ndarray) or value.size != 1 or value.dtype != np.dtype(letter):
            raise TypeError(f"{what} is {np.dtype(letter)} by value, a NumPy array of one element; got {value!r}")
        return value
    exact = {bool: "?", int: "q", float: "d"}.get(type(value))
    if exact is None and isinstance(value, np.generic):
        exact = value.dtype.char
    if exact is None or np.dtype(exact) != np.dtype(letter):
        raise TypeError(f"{what} is a {np.dtype(letter)}, got {value!r}")
    return np.array([value], exact)


@functools.cache
def _library(code, name, options):
    """The compiled source, from an earlier run where there was one. Defines on the command line are passed on."""
    defines = [option for option in options if option.startswith("-D")]
    source = _BEFORE + code + f"\n#define KERNEL {name}\n" + _AFTER
    key = hashlib.sha256("\0".join([source, *defines, str(COMPILER)]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"minigrad-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "kernel.cpp"
            path.write_text(source)
            command = [
                COMPILER,
                "-std=c++17",
                "-O2",
                "-shared",
                "-fPIC",
                "-w",
                *defines,
                "-o",
                f"{library}.{os.getpid()}",
                path,
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{name} does not compile:\n{done.stderr}")
            os.replace(f"{library}.{os.getpid()}", library)
    loaded = ctypes.PyDLL(str(library))  # it keeps Python's lock, since a launch uses static variables
    loaded.signature.restype = ctypes.c_char_p
    return loaded
