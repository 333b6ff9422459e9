"""Convolution kernels against the definition in float64, each other, and the adjoint identities."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d

from minigrad import kernels
from minigrad.kernels import winograd as readable
from minigrad.kernels.cpu import direct, tuning, winograd
from minigrad.kernels.cpu.elementwise import relu_in_place
from minigrad.kernels.layout import channels_last

PLAIN = ((1, 1), (0, 0), (1, 1), 1)  # stride, padding, dilation, groups
TILINGS = [pytest.param(t, id=f"F({t.m}x{t.m})") for t in (winograd.F6, winograd.F4, winograd.F2)]


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


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
def test_results_are_channels_last_in_memory(algorithm):
    x, w = np.ones((2, 16, 12, 12), np.float32), np.ones((16, 16, 3, 3), np.float32)
    with kernels.conv_algorithm(algorithm):
        y = kernels.conv2d(x, w, None, *PLAIN)
        gx = kernels.conv2d_input_grad(y, w, (12, 12), *PLAIN)
    assert channels_last(y).flags.c_contiguous and channels_last(gx).flags.c_contiguous


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


# --- Winograd ---------------------------------------------------------------------------------------------------------


def relative_error(got, expected):
    return np.abs(got - expected).max() / np.abs(expected).max()


@given(
    st.integers(1, 4), st.sampled_from([1, 3, 16, 40]), st.sampled_from([1, 5, 16, 48, 64]), pairs(3, 22), pairs(0, 4),
    layouts, st.booleans(), st.integers(0, 2**32),
)  # fmt: skip
@settings(max_examples=80)
def test_winograd_is_the_direct_convolution_to_rounding(n, c, o, hw, padding, layout, with_bias, seed):
    rng = np.random.default_rng(seed)
    x, w, bias = arrays(rng, layout, (n, c, *hw), (o, c, 3, 3), (o,))
    bias = bias if with_bias else None
    geometry = ((1, 1), padding, (1, 1), 1)
    y = direct.conv2d(x, w, bias, *geometry)
    g = rng.standard_normal(y.shape)

    def single(a):
        return None if a is None else a.astype(np.float32)

    with kernels.conv_algorithm("winograd"):
        y32 = kernels.conv2d(single(x), single(w), single(bias), *geometry)
        gx32 = kernels.conv2d_input_grad(single(g), single(w), hw, *geometry)
        gw32 = kernels.conv2d_weight_grad(single(x), single(g), (3, 3), *geometry)
    assert y32.dtype == gx32.dtype == gw32.dtype == np.float32
    assert relative_error(y32, y) < 1e-5
    assert relative_error(gx32, direct.conv2d_input_grad(g, w, hw, *geometry)) < 1e-5
    assert relative_error(gw32, direct.conv2d_weight_grad(x, g, (3, 3), *geometry)) < 1e-5


@pytest.mark.parametrize(
    "shape", [(1, 256, 320, 18, 22), (1, 96, 521, 10, 9), (9, 48, 64, 20, 16), (1, 3, 16, 30, 1500)]
)
def test_winograd_in_many_blocks(shape, monkeypatch):
    """Large weights, outputs that cannot be cut, many images and long rows are each done in their own way."""
    monkeypatch.setattr(winograd, "F6", winograd.F4)  # whose accuracy the test below has
    monkeypatch.setattr(tuning, "BLOCK_OF_ALL", 20)
    n, c, o, h, w = shape
    rng = np.random.default_rng(0)
    x, weight, bias, g = arrays(rng, "channels-last", (n, c, h, w), (o, c, 3, 3), (o,), (n, o, h, w))
    geometry, half = ((1, 1), (1, 1), (1, 1), 1), [a.astype(np.float32) for a in (x, weight, bias, g)]
    assert relative_error(winograd.conv2d(*half[:3], (1, 1)), direct.conv2d(x, weight, bias, *geometry)) < 5e-6
    gx = direct.conv2d_input_grad(g, weight, (h, w), *geometry)
    assert relative_error(winograd.conv2d_input_grad(half[3], half[1], (h, w), (1, 1)), gx) < 5e-6
    gw = direct.conv2d_weight_grad(x, g, (3, 3), *geometry)
    assert relative_error(winograd.conv2d_weight_grad(half[0], half[3], (1, 1)), gw) < 5e-6


@pytest.mark.parametrize("tiling", TILINGS)
def test_winograds_matrices_satisfy_the_bilinear_identity(tiling):
    """A^T [(G h) * (B^T d)] is the correlation of d with h, for every pair of unit vectors."""
    m, (b, a, g) = tiling.m, readable.matrices(tiling.m, tiling.points)
    for i, j in itertools.product(range(m + 2), range(3)):
        d, h = np.eye(m + 2)[i], np.eye(3)[j]
        np.testing.assert_allclose(a @ ((g @ h) * (b @ d)), np.correlate(d, h), atol=1e-13)


@pytest.mark.parametrize("tiling", TILINGS)
@pytest.mark.parametrize("whole", [0, 1 << 40], ids=["all together", "by blocks"])
@pytest.mark.parametrize("c", [24, 384, 521, 1024])
def test_every_tiling_agrees_with_the_direct_convolution(tiling, whole, c, monkeypatch):
    """Also with sides that are no multiple of the tile, and with channels in several parts."""
    most = 3e-5 if tiling is winograd.F6 else 5e-6
    monkeypatch.setattr(winograd, "_quickest", lambda *_: tiling)
    monkeypatch.setattr(tuning, "LARGEST_WHOLE_U", whole)
    rng = np.random.default_rng(0)
    x, w, bias, g = arrays(rng, "channels-last", (2, c, 11, 9), (64, c, 3, 3), (64,), (2, 64, 11, 9))
    geometry, half = ((1, 1), (1, 1), (1, 1), 1), [a.astype(np.float32) for a in (x, w, bias, g)]
    y = direct.conv2d(x, w, bias, *geometry)
    assert relative_error(winograd.conv2d(*half[:3], (1, 1)), y) < most
    assert relative_error(winograd.conv2d(*half[:3], (1, 1), relu_in_place), np.maximum(y, 0)) < most
    gx = direct.conv2d_input_grad(g, w, (11, 9), *geometry)
    assert relative_error(winograd.conv2d_input_grad(half[3], half[1], (11, 9), (1, 1)), gx) < most


def test_algorithm_is_chosen_by_name_and_restored():
    assert kernels.current_algorithm() == "auto"
    with kernels.conv_algorithm("direct"):
        assert kernels.current_algorithm() == "direct"
        with kernels.conv_algorithm("winograd"):
            assert kernels.current_algorithm() == "winograd"
        assert kernels.current_algorithm() == "direct"
    assert kernels.current_algorithm() == "auto"
    with pytest.raises(ValueError, match="expected one of 'auto', 'direct', 'winograd'"):
        with kernels.conv_algorithm("fft"):
            pass


def test_forced_winograd_takes_what_it_can_and_leaves_the_rest_to_direct(monkeypatch):
    called = []
    for module, name in ((winograd, "winograd"), (direct, "direct")):
        kernel = module.conv2d
        monkeypatch.setattr(module, "conv2d", lambda *a, kernel=kernel, name=name: called.append(name) or kernel(*a))
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((2, 2, 3, 3), np.float32)
    with kernels.conv_algorithm("winograd"):
        kernels.conv2d(x, w, None, *PLAIN)
        kernels.conv2d(x, w, None, (2, 2), (0, 0), (1, 1), 1)
        kernels.conv2d(x.astype(np.float64), w.astype(np.float64), None, *PLAIN)
    kernels.conv2d(x, w, None, *PLAIN)  # auto: far too small
    assert called == ["winograd", "direct", "direct", "direct"]
