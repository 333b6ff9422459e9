"""DeviceArray: cupy.ndarray of the stand-in. NumPy computes, but no NumPy array gets in or out unless it is asked for.

What CuPy refuses is refused here: NumPy's view of the array (np.asarray), NumPy arrays as operands, arguments that CuPy
does not take, arrays on two GPUs. Refused beyond that, since each is a copy between host and device that nobody asked
for: NumPy arrays as indices, NumPy's functions on device arrays, and computing on another GPU than the current one
(which CuPy does with a warning, where the GPUs reach each other). As in CuPy, results of arithmetic are C-contiguous
whatever the operands' memory order.
"""

import numpy as np

from . import names
from .cuda import Device, current, pool


class Counts:
    """What happened on the stand-in: operations, and transfers that a GPU would have to be waited for."""

    launches = 0
    fetches = 0
    uploads = 0


class DeviceArray:
    """An array on a GPU that is not there; `_values` is its NumPy array."""

    __slots__ = ("_values", "device", "base", "_counted", "__weakref__")
    __hash__ = None
    __array_priority__ = 100

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        _fill(self, np.empty(shape, dtype, order))

    def __del__(self):
        if counted := getattr(self, "_counted", 0):
            pool.count(self.device.id, -counted)

    shape = property(lambda self: self._values.shape)
    strides = property(lambda self: self._values.strides)
    dtype = property(lambda self: self._values.dtype)
    ndim = property(lambda self: self._values.ndim)
    size = property(lambda self: self._values.size)
    itemsize = property(lambda self: self._values.itemsize)
    nbytes = property(lambda self: self._values.nbytes)
    flags = property(lambda self: Flags(self._values.flags))
    data = property(lambda self: Pointer(self._values.ctypes.data, self.device))
    T = property(lambda self: wrap(self._values.T, self))
    real = property(lambda self: wrap(self._values.real, self))
    imag = property(lambda self: wrap(self._values.imag, self))

    # ---- to the host and back ----------------------------------------------------------------------------------------

    def get(self, stream=None, order="C", out=None, blocking=True):
        Counts.fetches += 1
        if out is not None:
            out[...] = self._values
            return out
        return np.array(self._values, order=order)

    def set(self, arr, stream=None):
        Counts.uploads += 1
        self._values[...] = arr

    def item(self):
        Counts.fetches += 1
        return self._values.item()

    def tolist(self):
        return self.get().tolist()

    def __bool__(self):
        return bool(self.get())

    def __int__(self):
        return int(self.get().item())

    def __float__(self):
        return float(self.get().item())

    def __format__(self, specification):
        return format(self.get(), specification)

    def __repr__(self):
        return f"{self._values!r} on {self.device}"

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        """NumPy's scalars may stand left of an operator; NumPy's functions are for NumPy's arrays."""
        if method == "__call__" and ufunc.nin == 2 and isinstance(inputs[0], np.generic) and not kwargs:
            return apply(ufunc, inputs, {})
        _refuse_numpy(inputs)
        raise TypeError(f"np.{ufunc.__name__} on an array of the device: take the function of array_module(x)")

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"np.{function.__name__} on an array of the device: take the function of array_module(x)")

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        return self._values.__dlpack__()

    def __dlpack_device__(self):
        return (2, self.device.id)  # kDLCUDA

    # ---- elements ----------------------------------------------------------------------------------------------------

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, slices):
        check_devices([self])
        return wrap(np.asarray(self._values[_index(slices)]), self)

    def __setitem__(self, slices, value):
        if not isinstance(value, DeviceArray) and not np.isscalar(value):
            raise TypeError(f"Unsupported type {type(value)} assigned into an array of the device")
        Counts.launches += 1
        check_devices([self, value])
        self._values[_index(slices)] = value._values if isinstance(value, DeviceArray) else value

    def fill(self, value):
        self[...] = value

    # ---- copies ------------------------------------------------------------------------------------------------------

    def copy(self, order="C"):
        return wrap(self._values.copy(order))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        with self.device:
            return self.copy()

    def __reduce__(self):
        return _restored, (self._values, self.device.id)


class Flags:
    """As CuPy's, which know of no read-only arrays."""

    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous, self.owndata = flags.c_contiguous, flags.f_contiguous, flags.owndata

    def __getitem__(self, name):
        return getattr(self, name.lower())


class Pointer:
    """Where an array's memory is."""

    def __init__(self, ptr, device):
        self.ptr, self.device = ptr, device
        self.device_id = device.id


def _fill(array, values, base=None, device=None):
    array._values, array.base = values, base
    array.device = device or (Device() if base is None else base.device)
    array._counted = values.nbytes if base is None else 0
    pool.count(array.device.id, array._counted)


def wrap(values, source=None):
    """NumPy's result as an array of the device: of the current one, or a view of `source` if it shares its memory."""
    array = DeviceArray.__new__(DeviceArray)
    is_view = source is not None and values.size and values.base is not None
    _fill(array, values, (source if source.base is None else source.base) if is_view else None)
    return array


def _restored(values, number):
    with Device(number):
        return wrap(values.copy())


def _refuse_numpy(values):
    for value in values:
        if isinstance(value, np.ndarray):
            raise TypeError(f"Unsupported type {np.ndarray}")
        if isinstance(value, list | tuple):
            _refuse_numpy(value)


def check_devices(values):
    """ValueError where an array is not on the current GPU."""
    for value in values:
        if isinstance(value, DeviceArray) and value.device.id != current():
            raise ValueError(
                f"The device where the array resides ({value.device.id}) is different from the current device "
                f"({current()}). Peer access is unavailable between these devices."
            )


def _index(slices):
    """A key with its arrays as NumPy's."""
    return tuple(map(_part, slices)) if isinstance(slices, tuple) else _part(slices)


def _part(key):
    if isinstance(key, DeviceArray):
        check_devices([key])
        return key._values
    if isinstance(key, np.ndarray) or (isinstance(key, list) and any(isinstance(k, np.ndarray) for k in key)):
        raise TypeError("a NumPy array as an index into an array of the device: move it there first")
    return key


def plain(value):
    """`value` with its device arrays as NumPy's."""
    if isinstance(value, DeviceArray):
        return value._values
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value


def flat(values):
    """All values in nested lists and tuples."""
    for value in values:
        yield from flat(value) if isinstance(value, list | tuple) else (value,)


def apply(ufunc, inputs, kwargs):
    """A NumPy ufunc on device arrays and numbers, as CuPy's of that name."""
    if extra := kwargs.keys() - {"out", "dtype", "casting"}:
        raise TypeError(f"Wrong arguments {sorted(extra)}")
    out = kwargs.get("out")
    given = [*inputs, *(out if isinstance(out, tuple) else (out,))]
    for value in given:
        if not (value is None or isinstance(value, DeviceArray) or np.isscalar(value)):
            raise TypeError(f"Unsupported type {type(value)}")
    Counts.launches += 1
    check_devices(given)
    order = {} if ufunc.signature else {"order": "C"}
    with np.errstate(all="ignore"):  # a GPU has nobody to warn
        result = ufunc(*plain(inputs), **{name: plain(value) for name, value in kwargs.items()}, **order)
    if out is not None:
        return out[0] if isinstance(out, tuple) and len(out) == 1 else out
    return tuple(map(_result, result)) if isinstance(result, tuple) else _result(result)


def _result(values):
    values = np.asarray(values)
    return wrap(values if values.flags.c_contiguous else values.copy(order="C"))


# ---- operators and methods -------------------------------------------------------------------------------------------

OPERATORS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}


def _operator(ufunc, reflected=False, in_place=False):
    def operator(self, other):
        if isinstance(other, np.ndarray | list | tuple):
            raise TypeError(f"Unsupported type {type(other)}")
        if not isinstance(other, DeviceArray) and not np.isscalar(other):
            return NotImplemented
        return apply(ufunc, (other, self) if reflected else (self, other), {"out": self} if in_place else {})

    return operator


def _method(name):
    """A method of NumPy's arrays that CuPy's have as well, with the arguments that CuPy's takes."""
    listed = names.LISTED["ndarray"][name]

    def method(self, *args, **kwargs):
        names.check(name, listed, args, kwargs)
        _refuse_numpy((*args, *kwargs.values()))
        Counts.launches += 1
        check_devices([self, *flat((*args, *kwargs.values()))])
        kwargs = {k: plain(v) for k, v in kwargs.items() if not (k in ("copy", "casting", "subok") and v is None)}
        with np.errstate(all="ignore"):
            result = getattr(self._values, name)(*plain(args), **kwargs)
        return names.wrapped(result, lambda values: wrap(values, self))

    method.__name__ = name
    return method


for _name, _ufunc in OPERATORS.items():
    setattr(DeviceArray, f"__{_name}__", _operator(_ufunc))
    setattr(DeviceArray, f"__r{_name}__", _operator(_ufunc, reflected=True))
    if f"__i{_name}__" in names.LISTED["ndarray"]:
        setattr(DeviceArray, f"__i{_name}__", _operator(_ufunc, in_place=True))
for _name, _ufunc in COMPARISONS.items():
    setattr(DeviceArray, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in UNARY.items():
    setattr(DeviceArray, f"__{_name}__", lambda self, ufunc=_ufunc: apply(ufunc, (self,), {}))
for _name in names.LISTED["ndarray"]:
    if not _name.startswith("_") and not hasattr(DeviceArray, _name) and callable(getattr(np.ndarray, _name, None)):
        setattr(DeviceArray, _name, _method(_name))
