"""Convolution kernels, fast and plain, against the definition in float64 and the adjoint identities."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d

from minigrad import kernels

pytestmark = pytest.mark.usefixtures("all_kernels")

PLAIN = ((1, 1), (0, 0), (1, 1), 1)  # stride, padding, dilation, groups


def by_definition(x, w, stride, padding, dilation, groups):
    """y[n,o,i,j] = sum over c,a,b of xpad[n, c, i*sh + a*dh, j*sw + b*dw] * w[o,c,a,b], by loops."""
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    (o, cg, kh, kw), (n, _, h, width) = w.shape, x.shape
    oh = (h - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (width - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, o, oh, ow))
    for k, c, a, b in itertools.product(range(o), range(cg), range(kh), range(kw)):
        channel = x[:, k // (o // groups) * cg + c]
        rows, columns = a * dilation[0], b * dilation[1]
        tap = channel[:, rows : rows + oh * stride[0] : stride[0], columns : columns + ow * stride[1] : stride[1]]
        y[:, k] += tap[:, :oh, :ow] * w[k, c, a, b]
    return y


def arrays(rng, layout, *shapes, dtype=np.float64):
    """Random arrays; the first in the given memory layout."""
    made = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    if layout == "channels-last":
        made[0] = np.ascontiguousarray(made[0].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif layout == "slice":
        made[0] = np.repeat(made[0], 2, axis=3)[:, :, :, ::2]
    return made


small, pairs = st.integers(1, 3), lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))
layouts = st.sampled_from(["channels-first", "channels-last", "slice"])


@st.composite
def convolutions(draw):
    """x, w and geometry that fit each other."""
    groups, kernel, dilation = draw(st.sampled_from([1, 1, 2, 3])), draw(pairs(1, 4)), draw(pairs(1, 3))
    stride, padding = draw(pairs(1, 3)), draw(pairs(0, 3))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for d, k, p in zip(dilation, kernel, padding, strict=True)]
    hw = tuple(low + draw(st.integers(0, 7)) for low in least)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    cg, og = draw(st.sampled_from([1, 2, 3, 8, 17])), draw(small)
    x, w = arrays(rng, draw(layouts), (draw(small), groups * cg, *hw), (groups * og, cg, *kernel))
    return x, w, (stride, padding, dilation, groups)


@given(convolutions())
@settings(max_examples=150)
def test_conv_is_its_definition_and_the_gradients_are_its_adjoints(case):
    x, w, geometry = case
    y = kernels.conv2d(x, w, None, *geometry)
    np.testing.assert_allclose(y, by_definition(x, w, *geometry), atol=1e-12)

    g = np.random.default_rng(1).standard_normal(y.shape)
    gx = kernels.conv2d_input_grad(g, w, x.shape[2:], *geometry)
    gw = kernels.conv2d_weight_grad(x, g, w.shape[2:], *geometry)
    assert gx.shape == x.shape and gw.shape == w.shape
    # <conv(x, w), g> is linear in x and in w: every entry of gx and of gw is fixed by the identity for all x', w'
    for seed in range(2, 5):
        rng = np.random.default_rng(seed)
        other_x, other_w = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
        assert np.vdot(by_definition(other_x, w, *geometry), g) == pytest.approx(np.vdot(other_x, gx), abs=1e-9)
        assert np.vdot(by_definition(x, other_w, *geometry), g) == pytest.approx(np.vdot(other_w, gw), abs=1e-9)


def test_conv_of_one_channel_is_scipys():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((9, 11)), rng.standard_normal((3, 4))
    y = kernels.conv2d(x[None, None], w[None, None], None, *PLAIN)
    np.testing.assert_allclose(y[0, 0], correlate2d(x, w, mode="valid"), atol=1e-12)


def test_bias_is_added_to_each_channel():
    rng = np.random.default_rng(0)
    x, w, bias = rng.standard_normal((2, 3, 6, 6)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4)
    plain = kernels.conv2d(x, w, None, *PLAIN)
    np.testing.assert_allclose(kernels.conv2d(x, w, bias, *PLAIN), plain + bias[:, None, None], atol=1e-12)


def test_input_grad_is_zero_beyond_the_windows():
    """Stride 3 with a 2x2 kernel skips every third row; input_hw may also reach past the last window."""
    g, w = np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    gx = kernels.conv2d_input_grad(g, w, (7, 8), (3, 3), (0, 0), (1, 1), 1)[0, 0]
    covered = np.zeros((7, 8))
    for i, j in itertools.product((0, 3), (0, 3)):
        covered[i : i + 2, j : j + 2] = 1
    np.testing.assert_array_equal(gx, covered)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_dtype_in_is_dtype_out(dtype):
    x, w = np.ones((1, 16, 20, 20), dtype), np.ones((16, 16, 3, 3), dtype)
    y = kernels.conv2d(x, w, None, *PLAIN)
    assert y.dtype == dtype and np.all(np.abs(y - 144) < 0.5)
    assert kernels.conv2d_input_grad(y, w, (20, 20), *PLAIN).dtype == dtype
    assert kernels.conv2d_weight_grad(x, y, (3, 3), *PLAIN).dtype == dtype


@pytest.mark.parametrize("shape", [(0, 16, 9, 9), (2, 16, 2, 9)])
@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
def test_empty_results(shape, algorithm):
    x, w = np.ones(shape, np.float32), np.ones((16, 16, 3, 3), np.float32)
    with kernels.conv_algorithm(algorithm):
        y = kernels.conv2d(x, w, None, *PLAIN)
        assert y.size == 0 and y.shape[:2] == (shape[0], 16)
        gw = kernels.conv2d_weight_grad(x, y, (3, 3), *PLAIN)
        assert gw.shape == w.shape and not gw.any()
        gx = kernels.conv2d_input_grad(y, w, shape[2:], *PLAIN)
        assert gx.shape == shape and not gx.any()
