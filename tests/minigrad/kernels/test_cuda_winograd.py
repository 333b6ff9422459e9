"""Winograd's CUDA kernels, compiled as C++, against the textbook's convolution in float64."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.guard import Constant
from minigrad.kernels import frozen, plain
from minigrad.kernels.cuda import product, winograd
from tests.standin import cublas, raw_kernel

pytestmark = pytest.mark.host("kernels are called with arrays that the tests put on a device")


def close(gpu, got, expected, tolerance=3e-6, largest=0):
    """Within a tolerance of the largest element, or of 1: what cancels in a sum is not lost from its error.

    largest: of elements that are not to be seen any more, but whose tiles the error comes from.
    """
    got = gpu.get(got)
    assert got.shape == expected.shape and got.dtype == np.float32
    if expected.size:
        assert np.abs(got - expected).max() <= tolerance * max(np.abs(expected).max(), 1, largest)


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(0, 3), c=st.integers(1, 20), o=st.integers(1, 20), h=st.integers(3, 14), w=st.integers(3, 14),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)), rectify=st.booleans(), channels_first=st.booleans(),
)  # fmt: skip
def test_all_three_agree_with_the_textbook(gpu, n, c, o, h, w, padding, rectify, channels_first):
    x, weight, bias = arrays((n, h, w, c), (o, c, 3, 3), (o,))
    x = x.transpose(0, 3, 1, 2)
    x = np.ascontiguousarray(x) if channels_first else x
    geometry = (1, 1), padding, (1, 1), 1
    y = plain.conv2d(*wide(x, weight, bias), *geometry)
    largest, y = np.abs(y).max(initial=0), np.maximum(y, 0) if rectify else y
    close(gpu, winograd.conv2d(*gpu.put(x, weight, bias), padding, rectify), y, largest=largest)
    close(gpu, winograd.conv2d(*gpu.put(x, weight), None, padding), plain.conv2d(*wide(x, weight), None, *geometry))
    (g,) = arrays(y.shape, seed=1)
    gx = plain.conv2d_input_grad(*wide(g, weight), (h, w), *geometry)
    close(gpu, winograd.conv2d_input_grad(*gpu.put(g, weight), (h, w), padding), gx)
    gw = plain.conv2d_weight_grad(*wide(x, g), (3, 3), *geometry)
    close(gpu, winograd.conv2d_weight_grad(*gpu.put(x, g), padding), gw)


def test_blocks_of_tiles_change_nothing_but_rounding(gpu, monkeypatch):
    x, weight, g = gpu.put(*arrays((3, 5, 13, 17), (7, 5, 3, 3), (3, 7, 13, 17)))

    def results():
        y, gx = winograd.conv2d(x, weight, None, (1, 1)), winograd.conv2d_input_grad(g, weight, (13, 17), (1, 1))
        return [gpu.get(array) for array in (y, gx, winograd.conv2d_weight_grad(x, g, (1, 1)))]

    whole = results()
    for again, before in zip(results(), whole, strict=True):
        np.testing.assert_array_equal(again, before)
    monkeypatch.setattr(winograd, "_BLOCK", 144 * 12 * 7)
    monkeypatch.setattr(winograd, "_PER_WEIGHT", 0)
    blocks = winograd._blocks((3, 4, 5), 12, 0)
    assert len(blocks) == 9 and blocks[0] == (0, 6) and sum(count for _, count in blocks) == 60
    raw_kernel.launches.clear()
    for in_blocks, before in zip(results(), whole, strict=True):
        assert np.abs(in_blocks - before).max() <= 3e-6 * np.abs(before).max()
    assert type(gpu).__name__ != "StandIn" or raw_kernel.launches.count("winograd_input") == 27


def test_a_block_of_any_layer_fits_an_int():
    """Batch 64 of VGG16's second layer has 12.8 million threads, in blocks of V and M of 64 MiB."""
    blocks = winograd._blocks((64, 56, 56), 128, 36 * 64 * 64 * 4)
    assert sum(count for _, count in blocks) == 64 * 56 * 56
    assert max(count for _, count in blocks) * 128 * 144 <= winograd._BLOCK
    monstrous = winograd._blocks((10**4, 500, 500), 4096, 36 * 2048 * 2048 * 4 * 1000)
    assert max(count for _, count in monstrous) * 4096 < 2**31


def test_a_nan_stays(gpu):
    x, weight = arrays((1, 4, 12, 12), (4, 4, 3, 3))
    x[0, 1, 5, 5] = np.nan
    y = gpu.get(winograd.conv2d(*gpu.put(x, weight), None, (1, 1), True))
    assert np.isnan(y[0, :, 4:7, 4:7]).all() and np.isfinite(y[0, :, :3, :3]).all()


def test_dispatch_takes_it_where_it_fits_and_pays(gpu, monkeypatch):
    x, weight, bias = gpu.put(*arrays((1, 16, 16, 16), (16, 16, 3, 3), (16,)))
    geometry = (1, 1), (1, 1), (1, 1), 1
    taken = []
    original = winograd.conv2d
    monkeypatch.setattr(winograd, "conv2d", lambda *args: (taken.append(args), original(*args))[1])

    def takes(*arguments):
        taken.clear()
        kernels.conv2d(*arguments)
        return bool(taken)

    assert takes(x, weight, bias, *geometry)
    assert not takes(x[:, :, :12], weight, bias, *geometry)  # 12 tiles
    with kernels.conv_algorithm("direct"):
        assert not takes(x, weight, bias, *geometry)
    with kernels.conv_algorithm("winograd"):
        assert takes(x[:, :, :12], weight, bias, *geometry)
        assert not takes(*(array.astype(np.float64) for array in (x, weight, bias)), *geometry)


def test_frozen_weights_are_kept_where_they_lie(gpu, monkeypatch):
    x, weight = gpu.put(*arrays((1, 16, 16, 16), (16, 16, 3, 3)))
    expected = gpu.get(winograd.conv2d(x, weight, None, (1, 1)))
    owner, on_cpu = Constant(weight), frozen.kept_bytes()
    for _ in range(2):
        raw_kernel.launches.clear()
        np.testing.assert_array_equal(gpu.get(winograd.conv2d(x, weight, None, (1, 1))), expected)
    assert "winograd_weight" not in raw_kernel.launches
    assert frozen.kept_bytes(on_gpu=True) == 36 * 16 * 16 * 4 and frozen.kept_bytes() == on_cpu
    monkeypatch.setattr(frozen, "gpu_limit", 36 * 16 * 16 * 4)
    winograd.conv2d_input_grad(x, weight, (16, 16), (1, 1))
    assert len(owner.derived) == 1


def test_a_product_is_one_call_and_copies_nothing(gpu):
    a, b = arrays((3, 6, 4), (3, 5, 4))
    expected = a @ b.swapaxes(1, 2)
    turned, padded = np.ascontiguousarray(a.swapaxes(1, 2)), np.full((3, 6, 9), 7, np.float32)
    a, b, out, turned, padded = gpu.put(a, b, np.empty_like(expected), turned, padded)
    cublas.calls.clear()
    product.multiply(a, b, out, transpose_b=True)
    np.testing.assert_allclose(gpu.get(out), expected, rtol=1e-5, atol=1e-5)
    product.multiply(a, b, out, transpose_b=True, add=True)
    np.testing.assert_allclose(gpu.get(out), 2 * expected, rtol=1e-5, atol=1e-5)
    assert type(gpu).__name__ != "StandIn" or len(cublas.calls) == 2
    product.multiply(turned, b, padded[:, :, 2:7], transpose_a=True, transpose_b=True)
    got = gpu.get(padded)
    np.testing.assert_allclose(got[:, :, 2:7], expected, rtol=1e-5, atol=1e-5)
    assert (got[:, :, :2] == 7).all() and (got[:, :, 7:] == 7).all()
    product.multiply(a[:, :, :0], b[:, :, :0], out, transpose_b=True)
    assert not gpu.get(out).any()


def test_tf32_is_off_unless_asked_for_and_its_error_is_as_stated(gpu):
    x, weight = arrays((1, 64, 32, 32), (64, 64, 3, 3))
    expected = plain.conv2d(*wide(x, weight), None, (1, 1), (1, 1), (1, 1), 1)

    def error():
        y = gpu.get(winograd.conv2d(*gpu.put(x, weight), None, (1, 1)))
        return np.abs(y - expected).max() / np.abs(expected).max()

    assert error() < 3e-6 and not kernels.tf32_allowed()
    with kernels.tf32():
        assert kernels.tf32_allowed() and 1e-4 < error() < 3e-3
        with kernels.tf32(False):
            assert error() < 3e-6
    assert error() < 3e-6


def test_tf32_covers_linear_layers_too(gpu):
    a, b = arrays((50, 300), (300, 40))
    expected = a.astype(np.float64) @ b
    with kernels.tf32():
        got = gpu.get(kernels.matmul(*gpu.put(a, b)))
    error = np.abs(got - expected).max() / np.abs(expected).max()
    assert error < 3e-3 and (type(gpu).__name__ == "StandIn" or error > 1e-5)
    bound = 2.0**-10 * (np.abs(a).astype(np.float64) @ np.abs(b)) + 1e-5
    assert (np.abs(got - expected) <= bound).all()
