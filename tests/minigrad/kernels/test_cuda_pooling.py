"""Pooling, rectifiers and sums for each channel on a GPU against the CPU's."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.kernels.cpu import winograd
from minigrad.kernels.cuda import launch
from tests.standin import raw_kernel

pytestmark = pytest.mark.host("kernels are called with arrays that the tests put on a device")

SPECIAL = [0.0, -0.0, 1.0, 1.0, -1.0, np.inf, -np.inf, np.nan]


@st.composite
def pools(draw):
    hw = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    kernel, stride = (draw(st.tuples(st.integers(1, 4), st.integers(1, 4))) for _ in range(2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    return hw, kernel, stride, padding, dilation, draw(st.booleans())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pools(), st.integers(0, 2), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 99))
def test_max_pool_with_ties_and_nans(gpu, pool, n, c, single, wide, seed):
    hw, kernel, stride, padding, dilation, ceil_mode = pool
    assume(min(kernels.output_hw(hw, kernel, stride, padding, dilation, ceil_mode)) > 0)
    rng, dtype = np.random.default_rng(seed), np.float32 if single else np.float64
    x = rng.choice(SPECIAL, (n, c, *hw)).astype(dtype)
    short, launch.SHORT = launch.SHORT, 10 if wide else launch.SHORT
    try:
        y, winner = kernels.max_pool(x, kernel, stride, padding, dilation, ceil_mode)
        dx = gpu.put(x)
        got, where = kernels.max_pool(dx, kernel, stride, padding, dilation, ceil_mode)
        np.testing.assert_array_equal(gpu.get(got), y)
        np.testing.assert_array_equal(gpu.get(where), winner)
        assert where.dtype == winner.dtype
        alone, nothing = kernels.max_pool(dx, kernel, stride, padding, dilation, ceil_mode, False)
        np.testing.assert_array_equal(gpu.get(alone), y)
        assert nothing is None

        g = rng.integers(-9, 9, y.shape).astype(dtype)
        geometry = kernel, stride, padding, dilation
        gx = kernels.window_scatter(g, winner, hw, *geometry)
        np.testing.assert_array_equal(gpu.get(kernels.window_scatter(gpu.put(g), where, hw, *geometry)), gx)
        found = kernels.window_gather(x, winner, *geometry)
        np.testing.assert_array_equal(gpu.get(kernels.window_gather(dx, where, *geometry)), found)
    finally:
        launch.SHORT = short


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pools(), st.integers(0, 2), st.integers(1, 5), st.booleans())
def test_sums_over_windows(gpu, pool, n, c, single):
    hw, kernel, stride, padding, _, ceil_mode = pool
    assume(min(kernels.output_hw(hw, kernel, stride, padding, ceil_mode=ceil_mode)) > 0)
    dtype = np.float32 if single else np.float64
    x = np.random.default_rng(0).integers(-99, 99, (n, c, *hw)).astype(dtype)
    y = kernels.window_sum(x, kernel, stride, padding, ceil_mode)
    np.testing.assert_array_equal(gpu.get(kernels.window_sum(gpu.put(x), kernel, stride, padding, ceil_mode)), y)
    gx = kernels.window_spread(y, hw, kernel, stride, padding)
    np.testing.assert_array_equal(gpu.get(kernels.window_spread(gpu.put(y), hw, kernel, stride, padding)), gx)


@pytest.mark.parametrize(("kernel", "dtype"), [((16, 16), np.uint8), ((16, 17), np.uint16), ((300, 300), np.uint32)])
def test_windows_of_many_taps_have_wider_winners(gpu, kernel, dtype):
    (kh, kw), x = kernel, np.random.default_rng(0).random((1, 1, 301, 302), np.float32)
    got, where = kernels.max_pool(gpu.put(x), kernel, kernel, (0, 0), (1, 1), False)
    assert where.dtype == dtype
    rows, columns = 301 // kh, 302 // kw
    windows = x[0, 0, : rows * kh, : columns * kw].reshape(rows, kh, columns, kw).swapaxes(1, 2)
    np.testing.assert_array_equal(gpu.get(where)[0, 0], windows.reshape(rows, columns, -1).argmax(2))
    scattered = gpu.get(kernels.window_scatter(got, where, (301, 302), kernel, kernel, (0, 0), (1, 1)))
    assert np.count_nonzero(scattered) == rows * columns and (scattered[scattered > 0] == x[scattered > 0]).all()


def test_whole_numbers_are_pooled_by_the_plain_way(gpu):
    x = np.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
    geometry = (2, 2), (2, 2), (0, 0), (1, 1), False
    y, winner = kernels.max_pool(x, *geometry)
    got, where = kernels.max_pool(gpu.put(x), *geometry)
    np.testing.assert_array_equal(gpu.get(got), y)
    np.testing.assert_array_equal(gpu.get(where), winner)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("last", [True, False])
def test_the_rectifiers_gradient_is_one_launch(gpu, dtype, last):
    rng = np.random.default_rng(0)
    g, x = rng.choice(SPECIAL, (2, 2, 3, 5, 7)).astype(dtype)
    if last:
        g, x = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (g, x))
    raw_kernel.launches.clear()
    np.testing.assert_array_equal(gpu.get(kernels.relu_grad(*gpu.put(g, x))), kernels.relu_grad(g, x))
    assert type(gpu).__name__ != "StandIn" or raw_kernel.launches == ["relu_grad"]
    mixed = np.ascontiguousarray(x.transpose(0, 3, 2, 1)).transpose(0, 3, 2, 1)
    np.testing.assert_array_equal(gpu.get(kernels.relu_grad(*gpu.put(g, mixed))), kernels.relu_grad(g, x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2, 5, 14, 15), (3, 7, 2, 1), (4, 6), (1, 1, 1, 1)])
def test_sums_and_affine_maps_of_channels(gpu, dtype, shape):
    rng, c = np.random.default_rng(0), shape[1]
    x, y = rng.standard_normal((2, shape[0], *shape[2:], c)).astype(dtype)
    x, y = (np.moveaxis(values, -1, 1) for values in (x, y))
    a, b, s = rng.standard_normal((3, c)).astype(dtype)
    near = dict(rtol=1e-6 if dtype == np.float32 else 1e-13, atol=1e-5 if dtype == np.float32 else 1e-12)

    def same(function, *arrays):
        expected, got = (
            function(*arrays),
            function(*gpu.put(*arrays)) if len(arrays) > 1 else function(gpu.put(*arrays)),
        )
        got, expected = (values if isinstance(values, tuple) else (values,) for values in (got, expected))
        for mine, theirs in zip(got, expected, strict=True):
            assert mine.dtype == dtype and mine.shape == theirs.shape
            np.testing.assert_allclose(gpu.get(mine), theirs, **near)

    same(kernels.channel_sum, x)
    same(kernels.channel_sum_product, x, y)
    same(kernels.channel_sums, x, y)
    same(kernels.channel_moments, x)
    same(kernels.channel_affine, x, a, s)
    same(kernels.channel_affine2, x, a, y, b, s)


def test_moments_do_not_cancel(gpu):
    x = np.random.default_rng(0).standard_normal((4, 30, 30, 3)).astype(np.float32).transpose(0, 3, 1, 2) + 1000
    mean, variance = kernels.channel_moments(gpu.put(x))
    np.testing.assert_allclose(gpu.get(variance), x.astype(np.float64).var((0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(gpu.get(mean), x.astype(np.float64).mean((0, 2, 3)), rtol=1e-6)


def test_slices_and_steps_are_taken_as_they_are(gpu, monkeypatch):
    monkeypatch.setattr(winograd, "F6", winograd.F4)  # the GPU has F(4x4) alone, and its accuracy
    whole = np.random.default_rng(0).standard_normal((4, 20, 22, 8)).astype(np.float32).transpose(0, 3, 1, 2)
    weight = np.random.default_rng(1).standard_normal((8, 4, 3, 3)).astype(np.float32)
    moved, geometry = gpu.put(whole), ((2, 2), (2, 2), (0, 0), (1, 1), False)
    for part in (np.s_[1:3, ::2], np.s_[:, 2:6, ::2], np.s_[:, 4:, :, 1:], np.s_[::2, :4, 3:, ::-1]):
        x = whole[part]
        for got, expected in zip(kernels.max_pool(moved[part], *geometry), kernels.max_pool(x, *geometry), strict=True):
            np.testing.assert_array_equal(gpu.get(got), expected)
        for algorithm in ("direct", "winograd"):
            with kernels.conv_algorithm(algorithm):
                got = kernels.conv2d(moved[part], gpu.put(weight), None, (1, 1), (1, 1), (1, 1), 1)
                expected = kernels.conv2d(x, weight, None, (1, 1), (1, 1), (1, 1), 1)
            np.testing.assert_allclose(gpu.get(got), expected, atol=1e-4)
        got = kernels.relu_grad(moved[part], moved[part])
        np.testing.assert_array_equal(gpu.get(got), kernels.relu_grad(x, x))
