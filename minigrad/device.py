"""Where arrays live: NumPy or CuPy, CPU or GPU.

CuPy is never imported here unless a GPU is asked for: an array can only be CuPy's if somebody imported CuPy already.
"""

import contextlib
import sys
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

_registered: dict = {}  # array type -> module with NumPy's functions


def register_array_module(array_type: type, module: Any) -> None:
    """Let arrays of `array_type` be computed on by `module`, which offers NumPy's functions as CuPy does."""
    _registered[array_type] = module


def _module_of(array):
    """The module that computes on `array`; None for what goes with any module (Python scalars, lists)."""
    if type(array) is np.ndarray:
        return np
    for array_type, module in _registered.items():
        if isinstance(array, array_type):
            return module
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        return cupy
    return np if isinstance(array, np.ndarray) else None


def is_array(x: Any) -> bool:
    """Whether x is an array that can be computed on: NumPy's (scalars included), CuPy's or a registered one."""
    return isinstance(x, np.generic) or _module_of(x) is not None


def array_module(*arrays: Any) -> Any:
    """NumPy, or CuPy when the arrays are CuPy's. Python and NumPy scalars go with either.

    Raises TypeError when the arrays do not share one module.
    """
    found = None
    for array in arrays:
        module = _module_of(array)
        if module is None or module is found:
            continue
        if found is not None:
            names = ", ".join(getattr(_module_of(a), "__name__", type(a).__name__) for a in arrays)
            raise TypeError(f"arrays on different devices ({names}): move them to one device first, with .to(device)")
        found = module
    return np if found is None else found


def device_of(array: Any) -> str:
    """ "cpu" for a NumPy array, "cuda:0" for a CuPy array on the first GPU."""
    if type(array) is np.ndarray or array_module(array) is np:
        return "cpu"
    return f"cuda:{int(getattr(getattr(array, 'device', None), 'id', 0))}"


_host = contextlib.nullcontext()


def current_device(array: Any) -> AbstractContextManager:
    """A context in which what is computed and made anew is where `array` is: its GPU is the current one."""
    if type(array) is np.ndarray or array_module(array) is np:
        return _host
    return getattr(array, "device", _host)


def one_device(function: str, arguments: Any) -> None:
    """TypeError where the arrays or Tensors `arguments` ({name: value}) of `function` are not on one device."""
    if all(type(x) is np.ndarray for x in arguments.values() if x is not None):
        return
    devices = {
        name: x.device if isinstance(getattr(x, "device", None), str) else device_of(x)
        for name, x in arguments.items()
        if x is not None
    }
    if len(set(devices.values())) > 1:
        first, *others = devices.items()
        other = next(pair for pair in others if pair[1] != first[1])
        raise TypeError(f"{function}: {first[0]} is on {first[1]}, {other[0]} on {other[1]}: move one with .to(device)")


def to_numpy(array: Any) -> np.ndarray:
    """The array on the CPU: itself if it is there already, otherwise a copy."""
    module = array_module(array)
    return np.asarray(array) if module is np else module.asnumpy(array)


def to_device(array: Any, device: str) -> Any:
    """The array on `device`: "cpu", "cuda" (the current GPU), "cuda:1", or "auto" (a GPU if there is one).

    Returns the array itself where it is there already. Raises as `find_device` does.
    """
    device = find_device(device)
    if device == "cpu":
        return to_numpy(array)
    if device_of(array) == device:
        return array
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.asarray(array)


def find_device(device: str) -> str:
    """The device that the name stands for, "cpu" or "cuda:0" with the GPU's number.

    device: "cpu", "cuda" (the current GPU), "cuda:1", or "auto" (the current GPU if there is one, else the CPU). Raises
    ValueError for a name that is none of these, and RuntimeError where CuPy or the GPU is missing.
    """
    if device == "cpu":
        return device
    kind, colon, index = str(device).partition(":")
    if kind not in ("cuda", "auto") or colon and (kind == "auto" or not index.isdecimal()):
        raise ValueError(f'device is {device!r}: give "cpu", "cuda", "cuda:0" (a GPU\'s number) or "auto"')
    cupy, problem = cupy_or_reason()
    if cupy is None:
        if kind == "auto":
            return "cpu"
        raise RuntimeError(f"device {device!r} is not available: {problem}")
    count = cupy.cuda.runtime.getDeviceCount()
    if index and int(index) >= count:
        raise RuntimeError(f"device {device!r} is not available: this machine has {count} GPU(s), numbered from 0")
    return f"cuda:{int(index) if index else cupy.cuda.Device().id}"


def cupy_or_reason() -> tuple[Any, str]:
    """(cupy, "") or (None, why not)."""
    try:
        import cupy
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            return None, "CuPy is not installed (pip install 'minigrad[cuda12]' or 'minigrad[cuda13]')"
        said = [line.strip() for line in str(error).splitlines() if line.strip(" =")]  # of which the cause comes last
        return None, f"CuPy is installed but cannot be imported ({said[-1] if said else type(error).__name__})"
    try:
        if cupy.cuda.runtime.getDeviceCount() > 0:
            return cupy, ""
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return None, f"CuPy finds no GPU ({error})"
    return None, "CuPy finds no GPU"
