"""Winograd's CUDA kernels, compiled as C++, against the direct convolution in float64."""

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import backend
from minigrad.kernels import conv, direct
from minigrad.kernels.cuda import product, winograd
from tests.standin import cublas, raw_kernel

pytestmark = pytest.mark.skipif(raw_kernel.COMPILER is None, reason="no C++ compiler: the kernels' source is not run")


class DeviceArray(np.ndarray):
    """NumPy's array under another name, with an address where CuPy has it."""

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.ctypes.data)


def on_device(array):
    return np.asarray(array).view(DeviceArray)


class Module(types.ModuleType):
    """NumPy's functions on arrays of the device."""

    as_strided = staticmethod(lambda *args: on_device(np.lib.stride_tricks.as_strided(*args)))
    lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=as_strided))

    def __getattr__(self, name):
        function = getattr(np, name)

        def wrapped(*args, **kwargs):
            result = function(*args, **kwargs)
            return on_device(result) if isinstance(result, np.ndarray) else result

        return wrapped


@pytest.fixture(autouse=True, scope="module")
def device():
    module = Module("device")
    module.RawKernel = raw_kernel.RawKernel
    module.cuda = types.SimpleNamespace(cublas=cublas, get_cublas_handle=cublas.get_cublas_handle)
    backend.register_array_module(DeviceArray, module)
    yield module
    del backend._registered[DeviceArray]


def close(got, expected, tolerance=3e-6):
    """Within a tolerance of the largest element."""
    assert got.shape == expected.shape and got.dtype == np.float32 and type(got) is DeviceArray
    if expected.size:
        assert np.abs(np.asarray(got) - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-3)


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


@settings(max_examples=60)
@given(
    n=st.integers(0, 3), c=st.integers(1, 20), o=st.integers(1, 20), h=st.integers(3, 14), w=st.integers(3, 14),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)), rectify=st.booleans(), channels_first=st.booleans(),
)  # fmt: skip
def test_all_three_agree_with_the_direct_convolution(n, c, o, h, w, padding, rectify, channels_first):
    x, weight, bias = arrays((n, h, w, c), (o, c, 3, 3), (o,))
    x = x.transpose(0, 3, 1, 2)
    x = np.ascontiguousarray(x) if channels_first else x
    plain = (1, 1), padding, (1, 1), 1
    y = direct.conv2d(*wide(x, weight, bias), *plain, rectify)
    close(winograd.conv2d(*map(on_device, (x, weight, bias)), padding, rectify), y)
    close(winograd.conv2d(*map(on_device, (x, weight)), None, padding), direct.conv2d(*wide(x, weight), None, *plain))
    (g,) = arrays(y.shape, seed=1)
    gx = direct.conv2d_input_grad(*wide(g, weight), (h, w), *plain)
    close(winograd.conv2d_input_grad(*map(on_device, (g, weight)), (h, w), padding), gx)
    gw = direct.conv2d_weight_grad(*wide(x, g), (3, 3), *plain)
    close(winograd.conv2d_weight_grad(*map(on_device, (x, g)), padding), gw)


def test_blocks_of_tiles_change_nothing_but_rounding(monkeypatch):
    x, weight, g = map(on_device, arrays((3, 5, 13, 17), (7, 5, 3, 3), (3, 7, 13, 17)))
    whole = [
        winograd.conv2d(x, weight, None, (1, 1)),
        winograd.conv2d_input_grad(g, weight, (13, 17), (1, 1)),
        winograd.conv2d_weight_grad(x, g, (1, 1)),
    ]
    monkeypatch.setattr(winograd, "_BLOCK", 144 * 12 * 7)
    monkeypatch.setattr(winograd, "_PER_WEIGHT", 0)
    blocks = winograd._blocks((3, 4, 5), 12, 0)
    assert len(blocks) == 9 and blocks[0] == (0, 6) and sum(count for _, count in blocks) == 60
    raw_kernel.launches.clear()
    np.testing.assert_array_equal(winograd.conv2d(x, weight, None, (1, 1)), whole[0])
    assert raw_kernel.launches.count("winograd_input") == 9
    np.testing.assert_array_equal(winograd.conv2d_input_grad(g, weight, (13, 17), (1, 1)), whole[1])
    close(winograd.conv2d_weight_grad(x, g, (1, 1)), np.asarray(whole[2]))


def test_a_nan_stays_and_an_infinity_is_not_lost():
    x, weight = arrays((1, 4, 12, 12), (4, 4, 3, 3))
    x[0, 1, 5, 5] = np.nan
    y = winograd.conv2d(*map(on_device, (x, weight)), None, (1, 1), True)
    assert np.isnan(y[0, :, 4:7, 4:7]).all() and np.isfinite(y[0, :, :3, :3]).all()


def test_dispatch_takes_it_where_it_fits_and_pays():
    x, weight, bias = map(on_device, arrays((1, 16, 16, 16), (16, 16, 3, 3), (16,)))
    plain = (1, 1), (1, 1), (1, 1), 1

    def launched(*arguments):
        raw_kernel.launches.clear()
        conv.conv2d(*arguments)
        return "winograd_output" in raw_kernel.launches

    assert launched(x, weight, bias, *plain)
    assert not launched(x[:, :, :12], weight, bias, *plain)  # 12 tiles
    with conv.conv_algorithm("direct"):
        assert not launched(x, weight, bias, *plain)
    with conv.conv_algorithm("winograd"):
        assert launched(x[:, :, :12], weight, bias, *plain)


def test_a_product_is_one_call_and_copies_nothing():
    a, b, out = map(on_device, arrays((3, 6, 4), (3, 5, 4), (3, 6, 5)))
    before = np.array(out)
    cublas.calls.clear()
    product.multiply(a, b, out, transpose_b=True)
    np.testing.assert_allclose(out, a @ b.swapaxes(1, 2), rtol=1e-6)
    product.multiply(a, b, out, transpose_b=True, add=True)
    np.testing.assert_allclose(out, 2 * (a @ b.swapaxes(1, 2)), rtol=1e-6)
    assert len(cublas.calls) == 2
    turned = on_device(np.ascontiguousarray(a.swapaxes(1, 2)))
    wide_out = on_device(np.full((3, 6, 9), 7, np.float32))
    product.multiply(turned, b, wide_out[:, :, 2:7], transpose_a=True, transpose_b=True)
    np.testing.assert_allclose(wide_out[:, :, 2:7], a @ b.swapaxes(1, 2), rtol=1e-6)
    assert (wide_out[:, :, :2] == 7).all() and (wide_out[:, :, 7:] == 7).all()
    product.multiply(a[:, :, :0], b[:, :, :0], out, transpose_b=True)
    assert not out.any() and before.any()


def test_tf32_is_off_unless_asked_for_and_its_error_is_as_stated():
    x, weight = arrays((1, 64, 32, 32), (64, 64, 3, 3))
    expected = direct.conv2d(*wide(x, weight), None, (1, 1), (1, 1), (1, 1), 1)

    def error():
        y = winograd.conv2d(*map(on_device, (x, weight)), None, (1, 1))
        return np.abs(np.asarray(y) - expected).max() / np.abs(expected).max()

    assert error() < 3e-6 and not product.tf32_allowed()
    with product.tf32():
        assert product.tf32_allowed() and 1e-4 < error() < 3e-3
        with product.tf32(False):
            assert error() < 3e-6
    assert error() < 3e-6 and cublas.getMathMode(cublas.get_cublas_handle()) == cublas.CUBLAS_DEFAULT_MATH
