"""The stand-in for the package cupy: its names, NumPy's arithmetic, arrays of its own (see array.py).

    module = install()      # from now on `import cupy` gives it

A name that CuPy 13 or 14 does not have is an AttributeError, an argument that they do not take a TypeError. Names of
CuPy that nothing here needs are missing as well, and say so.
"""

import functools
import sys
import types
from importlib.machinery import ModuleSpec

import numpy as np
from scipy import special

from . import cuda, names, raw_kernel
from .array import Counts, DeviceArray, apply, check_devices, flat, plain, wrap

FROM_HOST = ("array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray")
KEEP_ORDER = (*FROM_HOST, "copy", "empty_like", "zeros_like", "ones_like", "full_like")
NUMBER_KINDS = "fiubc"
# cupy.add.at and its like are atomic operations of the GPU, which has these
SCATTERS = {
    "add": (np.int32, np.uint32, np.uint64, np.float16, np.float32, np.float64),
    "maximum": (np.int32, np.uint32, np.uint64, np.float32, np.float64),
    "minimum": (np.int32, np.uint32, np.uint64, np.float32, np.float64),
}


class Module(types.ModuleType):
    """A module of CuPy's by its path ("" for cupy itself, "fft"), on NumPy's of that path."""

    def __init__(self, path, beneath, own):
        super().__init__(f"cupy.{path}" if path else "cupy")
        self.__path__, self.__spec__ = [], ModuleSpec(self.__name__, None)
        self._path, self._listed, self._beneath = path, names.LISTED[path], beneath
        self.__dict__.update(own)

    def __getattr__(self, name):
        if name not in self._listed:
            raise AttributeError(f"CuPy has no {self.__name__}.{name}")
        beneath = getattr(self._beneath, name, None)
        if beneath is None:
            raise AttributeError(f"the stand-in for CuPy lacks {self.__name__}.{name}")
        if isinstance(beneath, np.ufunc):
            value = Ufunc(name, beneath)
        elif callable(beneath) and not isinstance(beneath, type):
            value = _function(name, beneath, self._listed[name])
        else:
            value = beneath
        setattr(self, name, value)
        return value


class Ufunc:
    """A ufunc of CuPy."""

    def __init__(self, name, ufunc):
        self.name, self.ufunc, self.nin, self.nout = name, ufunc, ufunc.nin, ufunc.nout
        self.__name__ = name

    def __call__(self, *args, **kwargs):
        if not self.nin <= len(args) <= self.nin + self.nout:
            raise TypeError(f"cupy.{self.name} takes {self.nin} arguments, got {len(args)}")
        if args[self.nin :]:
            kwargs["out"] = args[self.nin :]
        return apply(self.ufunc, args[: self.nin], kwargs)

    def at(self, a, indices, b=None):
        if self.name not in SCATTERS:
            raise NotImplementedError(f"`cupy_{self.name}.at` is not supported yet")
        if a.dtype not in SCATTERS[self.name]:
            raise TypeError(f"scatter_{self.name} does not support {a.dtype}")
        given = indices if isinstance(indices, tuple) else (indices,)
        _refuse("at", (a, *given, b))
        Counts.launches += 1
        check_devices([a, *given, b])
        self.ufunc.at(a._values, plain(indices), plain(b))

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False):
        method = {"add": "sum", "multiply": "prod"}.get(self.name)
        if method is None:
            raise NotImplementedError(f"`cupy_{self.name}.reduce` is not supported yet")
        return getattr(array, method)(axis, dtype, out, keepdims)


def _refuse(name, values):
    for value in flat(values):
        if isinstance(value, np.ndarray):
            raise TypeError(f"cupy.{name}: Unsupported type {type(value)}")


def _function(name, beneath, listed):
    """CuPy's function `name`: NumPy's, for arrays of the device."""
    takes_host = name in FROM_HOST

    @functools.wraps(beneath)
    def function(*args, **kwargs):
        names.check(name, listed, args, kwargs)
        kwargs.pop("blocking", None)
        given = [*args, *kwargs.values()]
        if takes_host and given and not isinstance(given[0], DeviceArray):
            Counts.uploads += 1
        elif takes_host and given:
            args = (_here(args[0]), *args[1:])
        else:
            _refuse(name, given)
        Counts.launches += 1
        check_devices(flat(args))
        check_devices(flat(kwargs.values()))
        with np.errstate(all="ignore"):
            result = beneath(*plain(args), **{key: plain(value) for key, value in kwargs.items()})
        if (out := kwargs.get("out")) is not None:
            return out
        if takes_host and result is plain(args)[0]:  # as it is already: of the host's, a copy
            return args[0] if isinstance(args[0], DeviceArray) else _new(name, result.copy(order="K"))
        if isinstance(result, bool) and name in ("allclose", "array_equal"):
            result = np.asarray(result)
        source = next((value for value in flat(args) if isinstance(value, DeviceArray)), None)
        return names.wrapped(result, lambda values: _new(name, values, source))

    return function


def _here(array):
    """The array on the current GPU, copied from another."""
    return array if array.device.id == cuda.current() else wrap(array._values.copy())


def _new(name, values, source=None):
    """What the function `name` made of `source`: a view of it, or a new array, C-contiguous as CuPy makes them."""
    if values.dtype.kind not in NUMBER_KINDS:
        raise ValueError(f"Unsupported dtype {values.dtype}")
    is_view = source is not None and np.may_share_memory(values, source._values)
    if is_view:
        return wrap(values, source)
    if not values.flags.c_contiguous and name not in KEEP_ORDER:
        values = values.copy(order="C")
    return wrap(values)


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    """The array on the host."""
    return a.get(order=order, out=out) if isinstance(a, DeviceArray) else np.asarray(a, order=order)


def from_dlpack(x):
    """The array of another library on the same GPU, sharing its memory."""
    if int(x.__dlpack_device__()[0]) != 2:
        raise TypeError("from_dlpack: the array is not on a GPU")
    host = types.SimpleNamespace(__dlpack__=lambda **_: x.__dlpack__(), __dlpack_device__=lambda: (1, 0))
    with cuda.Device(x.__dlpack_device__()[1]):
        return wrap(np.from_dlpack(host))


def get_array_module(*args):
    """This module where any argument is an array of the device, else NumPy."""
    return sys.modules["cupy"] if any(isinstance(a, DeviceArray) for a in args) else np


def make():
    """The module."""
    gpu = types.ModuleType("cupy.cuda")
    gpu.__dict__.update(cuda.offered())
    own = {
        "__version__": "stand-in",
        "ndarray": DeviceArray,
        "cuda": gpu,
        "fft": Module("fft", np.fft, {}),
        "linalg": Module("linalg", np.linalg, {}),
        "lib": types.SimpleNamespace(stride_tricks=Module("lib.stride_tricks", np.lib.stride_tricks, {})),
        "asnumpy": asnumpy,
        "from_dlpack": from_dlpack,
        "get_array_module": get_array_module,
        "get_default_memory_pool": lambda: cuda.pool,
        "get_default_pinned_memory_pool": cuda.MemoryPool,
    }
    if raw_kernel.COMPILER is not None:
        own["RawKernel"] = raw_kernel.RawKernel
    unknown = [name for name in own if not name.startswith("_") and name not in names.LISTED[""]]
    assert not unknown and all(hasattr(np, name) or name in own for name in KEEP_ORDER), unknown
    return Module("", np, own)


def installed():
    """What `import cupy` gives now: the stand-in, CuPy itself, or None if it has not been imported."""
    return sys.modules.get("cupy")


def install():
    """Put the stand-in where `import cupy` finds it; returns the module."""
    module = make()
    here = {"cupy": module, "cupy.cuda": module.cuda, "cupy.fft": module.fft, "cupy.linalg": module.linalg}
    _replace(here | {"cupyx.scipy.special": types.SimpleNamespace(erf=Ufunc("erf", special.erf))})
    return module


def uninstall():
    """Take it away again, and bring back what was there before."""
    _replace({})


_before: dict = {}


def _replace(modules):
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("cupy", "cupyx")}
    for name in kept:
        del sys.modules[name]
    sys.modules.update(modules or _before)
    _before.clear()
    if modules:
        _before.update(kept)
