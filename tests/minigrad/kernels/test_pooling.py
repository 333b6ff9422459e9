"""Pooling and channel kernels against their definitions by loops, and their adjoints."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.functional.window import counts, fitted
from minigrad.kernels import plain

pytestmark = pytest.mark.usefixtures("all_kernels")


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def pools(draw, dilated=True):
    """x with many ties, and kernel, stride, padding, dilation, ceil_mode as torch allows them."""
    kernel, stride = draw(pairs(1, 4)), draw(pairs(1, 4))
    if draw(st.booleans()):
        kernel = stride = (2, 2)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(pairs(1, 3)) if dilated and draw(st.booleans()) else (1, 1)
    ceil_mode = draw(st.booleans())
    hw = draw(pairs(1, 12))
    assume(min(kernels.output_hw(hw, kernel, stride, padding, dilation, ceil_mode)) > 0)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.integers(-3, 4, (draw(st.integers(1, 3)), draw(st.integers(1, 4)), *hw)).astype(np.float64)
    x = np.asfortranarray(x) if draw(st.booleans()) else x
    return x, kernel, stride, padding, dilation, ceil_mode


def windows(hw, kernel, stride, padding, dilation, ceil_mode):
    """For each output position: its window's [(tap, row, column)] inside the input, in row-major order."""
    for i, j in itertools.product(*map(range, kernels.output_hw(hw, kernel, stride, padding, dilation, ceil_mode))):
        places = []
        for a, b in itertools.product(range(kernel[0]), range(kernel[1])):
            row = i * stride[0] - padding[0] + a * dilation[0]
            column = j * stride[1] - padding[1] + b * dilation[1]
            if 0 <= row < hw[0] and 0 <= column < hw[1]:
                places.append((a * kernel[1] + b, row, column))
        yield i, j, places


@given(pools())
@settings(max_examples=150)
def test_max_pool_takes_the_first_maximum_of_each_window(case):
    x, *geometry = case
    hw, (kernel, stride, padding, dilation, _) = x.shape[2:], geometry
    y, winner = kernels.max_pool(x, *geometry)
    indices = kernels.flat_indices(winner, hw, kernel, stride, padding, dilation)
    gathered = kernels.window_gather(x, winner, kernel, stride, padding, dilation)
    assert winner.dtype == np.uint8 and indices.dtype == np.int64
    for i, j, places in windows(hw, *geometry):
        for n, c in itertools.product(*map(range, x.shape[:2])):
            if not places:
                assert y[n, c, i, j] == -np.inf
                continue
            tap, row, column = max(places, key=lambda place: x[n, c, place[1], place[2]])  # max keeps the first
            assert y[n, c, i, j] == gathered[n, c, i, j] == x[n, c, row, column]
            assert winner[n, c, i, j] == tap and indices[n, c, i, j] == row * hw[1] + column
    alone, nothing = kernels.max_pool(x, *geometry, with_winner=False)
    np.testing.assert_array_equal(alone, y)
    assert nothing is None


@given(pools())
@settings(max_examples=100)
def test_scatter_and_gather_are_adjoint(case):
    x, *geometry = case
    _, winner = kernels.max_pool(x, *geometry)
    rng = np.random.default_rng(0)
    g, other = rng.standard_normal(winner.shape), rng.standard_normal(x.shape)
    gx = kernels.window_scatter(g, winner, x.shape[2:], *geometry[:4])
    assert gx.shape == x.shape
    gathered = kernels.window_gather(other, winner, *geometry[:4])
    assert np.vdot(g, gathered) == pytest.approx(np.vdot(gx, other), abs=1e-9)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3)])
def test_nan_wins_and_the_last_of_several(kernel):
    x = np.zeros((1, 1, 6, 6), np.float32)
    x[0, 0, 0, 0], x[0, 0, 0, 1], x[0, 0, 1, 1] = np.nan, 5, np.nan
    y, winner = kernels.max_pool(x, kernel, kernel, (0, 0), (1, 1), False)
    assert np.isnan(y[0, 0, 0, 0]) and winner[0, 0, 0, 0] == kernel[1] + 1
    assert np.isfinite(y[0, 0, 1:]).all() and not winner[0, 0, 1:].any()


@pytest.mark.parametrize("padding", [(0, 0), (1, 1)])
def test_windows_of_minus_infinity_point_into_the_input(padding):
    x = np.full((1, 1, 4, 4), -np.inf)
    y, winner = kernels.max_pool(x, (2, 2), (2, 2), padding, (1, 1), False)
    assert np.all(y == -np.inf)
    indices = kernels.flat_indices(winner, (4, 4), (2, 2), (2, 2), padding, (1, 1))
    expected = [[0, 2], [8, 10]] if padding == (0, 0) else [[0, 1, 3], [4, 5, 7], [12, 13, 15]]
    np.testing.assert_array_equal(indices[0, 0], expected)


def test_integers_pool_too():
    x = np.arange(-16, 0).reshape(1, 1, 4, 4)
    y, _ = kernels.max_pool(x, (3, 3), (2, 2), (1, 1), (1, 1), False)
    np.testing.assert_array_equal(y[0, 0], [[-11, -9], [-3, -1]])


def test_winners_of_large_windows_have_room():
    x = np.zeros((1, 1, 20, 20))
    x[0, 0, 19, 19] = 1
    _, winner = kernels.max_pool(x, (20, 20), (20, 20), (0, 0), (1, 1), False)
    assert winner.dtype == np.uint16 and winner.item() == 399


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("c", [1, 8, 33])
@pytest.mark.parametrize("size, stride, padding, dilation", [(3, 2, 1, 1), (17, 3, 8, 1), (2, 1, 1, 3), (5, 4, 2, 2)])
def test_the_first_winner_and_the_way_back_are_those_of_plain(size, stride, padding, dilation, c, dtype):
    """With ties down, across and aslant, whole windows of the least value, and NaNs."""
    geometry = [(n, n) for n in (size, stride, padding, dilation)]
    x = np.random.default_rng(size).integers(0, 3, (2, 40, 39, c)).astype(dtype).transpose(0, 3, 1, 2)
    x[:, :, :25, :25] = np.iinfo(dtype).min if dtype == np.int16 else -np.inf
    for nan in (False, True) if dtype != np.int16 else (False,):
        x[1, :, 30, 30:32] = np.nan if nan else 1
        y, winner = kernels.max_pool(x, *geometry, False)
        expected, places = plain.max_pool(x, *geometry, False)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(winner, places)
        g = np.random.default_rng(0).integers(-9, 9, y.shape).astype(dtype)
        back = [one.window_scatter(g, winner, (40, 39), *geometry) for one in (kernels, plain)]
        np.testing.assert_array_equal(*back)
        np.testing.assert_array_equal(kernels.window_gather(x, winner, *geometry), y)
        assert back[0].dtype == y.dtype == dtype


def test_windows_that_lie_outside_take_and_give_nothing():
    x, geometry = np.ones((1, 2, 3, 3)), ((2, 2), (1, 1), (1, 1), (3, 3))  # taps at -1 and 2, or at 0 and 3
    _, winner = kernels.max_pool(x, *geometry, False)
    beyond = np.ones((1, 2, 1, 1)), ((2, 2), (2, 2), (1, 1), (2, 2))  # taps at -1 and 1
    y, nowhere = kernels.max_pool(*beyond[:1], *beyond[1], False)
    assert np.all(y == -np.inf)
    assert not kernels.window_scatter(np.ones_like(y), nowhere, (1, 1), *beyond[1]).any()
    assert not kernels.window_gather(*beyond[:1], nowhere, *beyond[1]).any()
    assert kernels.window_scatter(np.ones(winner.shape), winner, (3, 3), *geometry).sum() == winner.size


def test_large_arrays_are_pooled_in_blocks():
    x = np.random.default_rng(0).permutation(3 * 60 * 62 * 64).astype(np.float32).reshape(3, 60, 62, 64)
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    y, winner = kernels.max_pool(x, (2, 2), (2, 2), (0, 0), (1, 1), False)
    quarters = x.reshape(3, 60, 31, 2, 32, 2).transpose(0, 1, 2, 4, 3, 5).reshape(3, 60, 31, 32, 4)
    np.testing.assert_array_equal(y, quarters.max(-1))
    np.testing.assert_array_equal(winner, quarters.argmax(-1))
    gx = kernels.window_scatter(y, winner, (62, 64), (2, 2), (2, 2), (0, 0), (1, 1))
    np.testing.assert_array_equal(gx, np.where(np.isin(x, y), x, 0))


@given(pools(dilated=False))
@settings(max_examples=100)
def test_window_sums_and_counts(case):
    x, kernel, stride, padding, _, ceil_mode = case
    hw = x.shape[2:]
    y = kernels.window_sum(x, kernel, stride, padding, ceil_mode)
    around = tuple((p, p) for p in padding)
    ends = fitted(hw, kernel, stride, (1, 1), around, ceil_mode)
    inside, padded = (counts(hw, kernel, stride, (1, 1), ends, some) for some in (((0, 0), (0, 0)), around))
    for i, j, places in windows(hw, kernel, stride, padding, (1, 1), ceil_mode):
        total = sum((x[:, :, row, column] for _, row, column in places), np.zeros(x.shape[:2]))
        np.testing.assert_allclose(y[:, :, i, j], total, atol=1e-12)
        assert inside[i, j] == len(places)
        rows = min(i * stride[0] + kernel[0], hw[0] + 2 * padding[0]) - i * stride[0]
        columns = min(j * stride[1] + kernel[1], hw[1] + 2 * padding[1]) - j * stride[1]
        assert padded[i, j] == rows * columns
    rng = np.random.default_rng(0)
    g, other = rng.standard_normal(y.shape), rng.standard_normal(x.shape)
    spread = kernels.window_spread(g, hw, kernel, stride, padding)
    summed = kernels.window_sum(other, kernel, stride, padding, ceil_mode)
    assert np.vdot(g, summed) == pytest.approx(np.vdot(spread, other), abs=1e-9)


# --- Channel passes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(2, 3), (4, 5, 7, 6), (1, 16, 100, 90), (33, 24, 16, 15)])
def test_channel_passes(shape, last):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(np.float32) + 1 for _ in range(2))
    if last and len(shape) == 4:
        x, y = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, y))
    a, b, c = rng.standard_normal((3, shape[1])).astype(np.float32)
    axes, column = (0, *range(2, len(shape))), (-1, *(1,) * (len(shape) - 2))
    exact_x, exact_y = x.astype(np.float64), y.astype(np.float64)

    np.testing.assert_allclose(kernels.channel_sum(x), exact_x.sum(axes), rtol=1e-6)
    np.testing.assert_allclose(kernels.channel_sum_product(x, y), (exact_x * exact_y).sum(axes), rtol=1e-6)
    both = kernels.channel_sums(x, y)
    np.testing.assert_allclose(both, [exact_x.sum(axes), (exact_x * exact_y).sum(axes)], rtol=1e-6)
    if last or len(shape) == 2:
        assert np.array_equal(both, [kernels.channel_sum(x), kernels.channel_sum_product(x, y)])
    affine = kernels.channel_affine(x, a, b)
    np.testing.assert_allclose(affine, x * a.reshape(column) + b.reshape(column), atol=1e-5)
    affine2 = kernels.channel_affine2(x, a, y, b, c)
    np.testing.assert_allclose(affine2, x * a.reshape(column) + y * b.reshape(column) + c.reshape(column), atol=1e-5)
    for result in (affine, affine2):
        assert result.shape == x.shape and result.dtype == np.float32


def test_channel_sum_keeps_its_precision_over_many_values():
    x = np.full((64, 2, 128, 128), 0.1, np.float32)
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(kernels.channel_sum(x), np.float64(np.float32(0.1)) * 2**20, rtol=1e-6)


@pytest.mark.parametrize("kernel", [(3, 3), (2, 5), (40, 3)])
def test_overlapping_windows_of_large_arrays_are_added_once_each(kernel):
    """One large image is cut into blocks of rows; those that overlap are not worked on at the same time."""
    rng = np.random.default_rng(0)
    x = np.ascontiguousarray(rng.permutation(2 * 130 * 60 * 70).reshape(2, 130, 60, 70).transpose(0, 1, 3, 2) * 1.0)
    x = x.transpose(0, 3, 1, 2)  # (2, 60, 130, 70), channels-last
    stride, padding = (2, 2), (1, 1)
    y, winner = kernels.max_pool(x, kernel, stride, padding, (1, 1), False)
    counts = kernels.window_scatter(np.ones_like(y), winner, x.shape[2:], kernel, stride, padding, (1, 1))
    flat = kernels.flat_indices(winner, x.shape[2:], kernel, stride, padding, (1, 1)).reshape(120, -1)
    expected = np.stack([np.bincount(one, minlength=130 * 70) for one in flat]).reshape(x.shape)
    np.testing.assert_array_equal(counts, expected)

    g = rng.standard_normal(y.shape)
    spread = kernels.window_spread(g, x.shape[2:], kernel, stride, padding)
    assert np.vdot(spread, x) == pytest.approx(np.vdot(g, kernels.window_sum(x, kernel, stride, padding)), rel=1e-9)
