"""The direct convolution on a GPU, all its ways, against the textbook in float64."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.kernels import plain
from minigrad.kernels.cuda import direct as gpu_direct
from minigrad.kernels.cuda import few_channels, launch
from tests.standin import raw_kernel

pytestmark = pytest.mark.host("kernels are called with arrays that the tests put on a device")

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def arrays(dtype, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def close(gpu, got, expected, tolerance=None):
    got = gpu.get(got)  # what cancels in a sum is not lost from its error: hence at least 1
    tolerance = tolerance or (3e-6 if got.dtype == np.float32 else 1e-12)
    assert got.shape == expected.shape
    if expected.size:
        assert np.abs(got - expected).max() <= tolerance * max(np.abs(expected).max(), 1)


def check(gpu, dtype, n, c, o, hw, kernel, stride, padding, dilation, groups, rectify=False, last=True, by=gpu_direct):
    """Forward and both gradients against the textbook's, in float64; twice, with the same bits."""
    geometry = stride, padding, dilation, groups
    x, w, bias = arrays(dtype, (n, *hw, c), (o, c // groups, *kernel), (o,))
    x = x.transpose(0, 3, 1, 2) if last else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    y = plain.conv2d(*(a.astype(np.float64) for a in (x, w, bias)), *geometry)
    y = plain.relu(y) if rectify else y
    (g,) = arrays(dtype, y.shape, seed=1)
    gx = plain.conv2d_input_grad(g.astype(np.float64), w.astype(np.float64), hw, *geometry)
    gw = plain.conv2d_weight_grad(x.astype(np.float64), g.astype(np.float64), kernel, *geometry)

    x, w, bias, g = gpu.put(x, w, bias, g)
    for expected, function, *arguments in (
        (y, by.conv2d, x, w, bias, *geometry, *([rectify] if by is gpu_direct else [])),
        (gx, by.conv2d_input_grad, g, w, hw, *geometry),
        (gw, by.conv2d_weight_grad, x, g, kernel, *geometry),
    ):
        got = function(*arguments)
        assert got.dtype == dtype
        close(gpu, got, expected)
        np.testing.assert_array_equal(gpu.get(function(*arguments)), gpu.get(got))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_convolutions_of_all_kinds(gpu, data):
    draw = data.draw
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    each_c, each_o = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    hw = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    assume(all(s + 2 * p > d * (k - 1) for s, p, d, k in zip(hw, padding, dilation, kernel, strict=True)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    n, rectify, last = draw(st.integers(0, 3)), draw(st.booleans()), draw(st.booleans())
    size = groups * each_c, groups * each_o, hw
    check(gpu, dtype, n, *size, kernel, stride, padding, dilation, groups, rectify, last)


PLAIN = (1, 1), (1, 1), (1, 1)
CASES = {
    "an image's three channels": (1, 3, 64, (17, 18), (3, 3), *PLAIN, 1),
    "three channels, few outputs": (1, 3, 5, (17, 18), (3, 3), *PLAIN, 1),
    "three channels, stride 2": (2, 3, 64, (19, 23), (3, 3), (2, 2), (0, 0), (1, 1), 1),
    "large windows": (1, 3, 16, (40, 40), (11, 11), (4, 4), (2, 2), (1, 1), 1),
    "1x1": (2, 24, 20, (9, 7), (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "1x1 in groups": (2, 24, 20, (9, 7), (1, 1), (1, 1), (0, 0), (1, 1), 4),
    "1x1, stride 2": (2, 24, 20, (9, 7), (1, 1), (2, 2), (0, 0), (1, 1), 1),
    "groups": (2, 24, 36, (9, 7), (3, 3), (1, 2), (1, 1), (2, 1), 3),
    "depthwise": (2, 12, 12, (9, 7), (3, 3), (2, 1), (1, 1), (1, 2), 12),
    "depthwise, each twice": (2, 12, 24, (9, 7), (5, 3), *PLAIN, 12),
    "long sums": (1, 4, 4, (70, 70), (3, 3), *PLAIN, 1),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_kinds_of_convolution(gpu, case, dtype):
    check(gpu, dtype, *CASES[case], rectify=True)
    check(gpu, dtype, *CASES[case], last=False, by=kernels)


def test_each_way_is_taken(gpu):
    def launched(case):
        raw_kernel.launches.clear()
        check(gpu, np.float32, *CASES[case])
        return set(raw_kernel.launches)

    if type(gpu).__name__ == "StandIn":
        assert launched("an image's three channels") == {"few_channels", "im2col", "col2im"}
        assert launched("large windows") == {"im2col", "bias_relu", "col2im"}
        assert launched("1x1 in groups") == {"bias_relu"}
        assert launched("depthwise") == {"depthwise", "depthwise_input_grad", "depthwise_weight_grad"}


def test_blocks_and_wide_indices_change_nothing(gpu, monkeypatch):
    monkeypatch.setattr(gpu_direct, "_BLOCK", 20000)
    monkeypatch.setattr(launch, "SHORT", 10)
    monkeypatch.setattr(gpu_direct, "_SHORTEST", 64)
    for case in CASES:
        check(gpu, np.float32, *CASES[case])
        check(gpu, np.float64, *CASES[case])


def test_columns_are_bounded():
    blocks = gpu_direct._blocks(10**9, 3000)
    most = max(count for _, count in blocks)
    assert most * 3000 <= gpu_direct._BLOCK and sum(count for _, count in blocks) == 10**9
    assert gpu_direct._blocks(3, 10**12) == [(0, 1), (1, 1), (2, 1)] and gpu_direct._blocks(0, 4) == []
    assert few_channels.fits((64, 3, 3, 3)) and not few_channels.fits((64, 16, 3, 3))


def test_numbers_of_other_kinds_take_the_plain_way(gpu):
    x, w = np.arange(2 * 4 * 6 * 6).reshape(2, 4, 6, 6), np.arange(3 * 4 * 9).reshape(3, 4, 3, 3)
    geometry = (1, 1), (1, 1), (1, 1), 1
    got = kernels.conv2d(*gpu.put(x, w), None, *geometry)
    np.testing.assert_array_equal(gpu.get(got), kernels.conv2d(x, w, None, *geometry))


@pytest.mark.parametrize("c", [3, 16], ids=["few channels", "Winograd"])
def test_a_bias_may_be_a_view_with_gaps(gpu, c):
    """Kernels get a pointer, and not how far apart elements lie."""
    x, w, bias = arrays(np.float32, (1, c, 30, 30), (16, c, 3, 3), (32,))
    geometry = (1, 1), (1, 1), (1, 1), 1
    expected = plain.conv2d(*(a.astype(np.float64) for a in (x, w, bias[::2])), *geometry)
    x, w, bias = gpu.put(x, w, bias)
    close(gpu, kernels.conv2d(x, w, bias[::2], *geometry), expected)
