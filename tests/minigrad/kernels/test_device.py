"""The kernels on arrays of another module, as CuPy's are: a stand-in that refuses to be mixed with NumPy's arrays.

`DeviceArray` computes on the CPU, but as on a GPU, an operation that meets a NumPy array beside it is an error, and
only the functions of its own module make new ones. What passes here leaves CuPy nothing but to have the same functions.
"""

import types

import numpy as np
import pytest

from minigrad import backend
from minigrad.kernels import channel, conv, elementwise, pooling


class DeviceArray(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        for array in (*inputs, *(out or ())):
            if isinstance(array, np.ndarray) and array.ndim and not isinstance(array, DeviceArray):
                raise TypeError(f"{ufunc.__name__} of an array on the device and one of NumPy's")
        if out is not None:
            kwargs["out"] = tuple(None if array is None else array.view(np.ndarray) for array in out)
        plain = [array.view(np.ndarray) if isinstance(array, DeviceArray) else array for array in inputs]
        return on_device(getattr(ufunc, method)(*plain, **kwargs))

    def __setitem__(self, key, value):
        if isinstance(value, np.ndarray) and value.ndim and not isinstance(value, DeviceArray):
            raise TypeError("a NumPy array assigned into one on the device")
        super().__setitem__(key, value)


def on_device(value):
    """Arrays, and the numbers that a reduction gives, as arrays of the device."""
    return np.asarray(value).view(DeviceArray) if isinstance(value, np.ndarray | np.generic) else value


def wrapped(function):
    return lambda *args, **kwargs: on_device(function(*args, **kwargs))


@pytest.fixture(autouse=True)
def device():
    module = types.SimpleNamespace(**{name: getattr(np, name) for name in dir(np) if not name.startswith("__")})
    for name in "empty zeros ones empty_like asarray ascontiguousarray arange repeat moveaxis sqrt square".split():
        setattr(module, name, wrapped(getattr(np, name)))
    tricks = types.SimpleNamespace(as_strided=wrapped(np.lib.stride_tricks.as_strided))
    module.lib = types.SimpleNamespace(stride_tricks=tricks)
    module.__name__ = "device"
    backend.register_array_module(DeviceArray, module)
    yield module
    del backend._registered[DeviceArray]


def arrays(*shapes, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def same(kernel, arrays, *rest):
    """The kernel gives on the device what it gives in NumPy."""
    expected = kernel(*arrays, *rest)
    got = kernel(*[on_device(array) for array in arrays], *rest)
    pairs = zip(got, expected, strict=True) if isinstance(expected, tuple) else [(got, expected)]
    for a, b in pairs:
        assert type(a) is DeviceArray and a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("c", "o", "k", "geometry"),
    [
        (16, 16, 3, ((1, 1), (1, 1), (1, 1), 1)),
        (3, 8, 3, ((2, 2), (1, 0), (1, 2), 1)),
        (32, 4, 3, ((1, 1), (1, 1), (1, 1), 1)),
        (16, 24, 1, ((1, 1), (0, 0), (1, 1), 1)),
        (8, 12, 3, ((1, 2), (1, 1), (1, 1), 4)),
        (6, 12, 3, ((1, 1), (1, 1), (1, 1), 6)),
    ],
)
def test_convolutions(c, o, k, geometry):
    x, w, bias = arrays((2, c, 17, 19), (o, c // geometry[3], k, k), (o,))
    same(conv.conv2d, (x, w, bias), *geometry)
    (g,) = arrays(conv.conv2d(x, w, bias, *geometry).shape)
    same(conv.conv2d_input_grad, (g, w), (17, 19), *geometry)
    same(conv.conv2d_weight_grad, (x, g), (k, k), *geometry)


@pytest.mark.parametrize("geometry", [((2, 2), (2, 2), (0, 0), (1, 1)), ((3, 2), (2, 1), (1, 0), (1, 2))])
def test_pools(geometry):
    (x,) = arrays((2, 5, 14, 15))
    same(pooling.max_pool, (x,), *geometry, True)
    y, winner = pooling.max_pool(x, *geometry, True)
    same(pooling.window_gather, (x, winner), *geometry)
    same(pooling.window_scatter, (y, winner), (14, 15), *geometry)
    same(pooling.flat_indices, (winner,), (14, 15), *geometry)
    same(pooling.window_sum, (x,), *geometry[:3], True)
    summed = pooling.window_sum(x, *geometry[:3], True)
    same(pooling.window_spread, (summed,), (14, 15), *geometry[:3])


def test_channel_and_elementwise_passes():
    x, y, a, b, c = arrays((2, 5, 14, 15), (2, 5, 14, 15), (5,), (5,), (5,))
    same(channel.channel_sum, (x,))
    same(channel.channel_sum_product, (x, y))
    same(channel.channel_moments, (x,))
    same(channel.channel_affine, (x, a, b))
    same(channel.channel_affine2, (x, a, y, b, c))
    same(elementwise.relu, (x,))
    same(elementwise.relu_grad, (y, x))
