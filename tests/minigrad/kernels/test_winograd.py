"""Winograd's convolution: to read and tuned, against the textbook in float64; and how the algorithm is chosen."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.guard import Constant
from minigrad.kernels import plain
from minigrad.kernels import winograd as readable
from minigrad.kernels.cpu import direct, tuning, winograd
from minigrad.kernels.cpu.elementwise import relu_in_place
from minigrad.kernels.layout import channels_last

PLAIN = ((1, 1), (0, 0), (1, 1), 1)  # stride, padding, dilation, groups
TILINGS = [pytest.param(t, id=f"F({t.m}x{t.m})") for t in (winograd.F6, winograd.F4, winograd.F2)]


def arrays(rng, layout, *shapes, dtype=np.float64):
    """Random arrays; the first in the given memory layout."""
    made = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    if layout == "channels-last":
        made[0] = np.ascontiguousarray(made[0].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif layout == "slice":
        made[0] = np.repeat(made[0], 2, axis=3)[:, :, :, ::2]
    return made


def relative_error(got, expected):
    return np.abs(got - expected).max() / np.abs(expected).max()


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


@given(
    st.integers(0, 2), st.integers(1, 20), st.integers(1, 20), pairs(3, 14), pairs(0, 4), st.sampled_from("246"),
    st.integers(0, 2**32),
)  # fmt: skip
@settings(max_examples=60)
def test_the_readable_one_is_the_textbook_and_what_the_tuned_one_is(n, c, o, hw, padding, m, seed):
    tiling = getattr(readable, f"F{m}")
    rng = np.random.default_rng(seed)
    x, w, bias = arrays(rng, "channels-first", (n, c, *hw), (o, c, 3, 3), (o,))
    geometry = ((1, 1), padding, (1, 1), 1)
    y = plain.conv2d(x, w, bias, *geometry)
    g = rng.standard_normal(y.shape)
    gx = plain.conv2d_input_grad(g, w, hw, *geometry)
    np.testing.assert_allclose(readable.conv2d(x, w, bias, padding, tiling), y, atol=1e-11)
    np.testing.assert_allclose(readable.conv2d_input_grad(g, w, hw, padding, tiling), gx, atol=1e-11)
    if n:
        x, w, bias, g = (array.astype(np.float32) for array in (x, w, bias, g))
        ours = readable.conv2d(x, w, bias, padding), readable.conv2d_input_grad(g, w, hw, padding)
        tuned = winograd.conv2d(x, w, bias, padding), winograd.conv2d_input_grad(g, w, hw, padding)
        for one, other in zip(ours, tuned, strict=True):
            assert one.dtype == other.dtype == np.float32 and relative_error(one, other) < 3e-5


def test_the_readable_ones_error():
    rng = np.random.default_rng(0)
    x, w = np.maximum(rng.standard_normal((1, 256, 28, 28)), 0), rng.standard_normal((64, 256, 3, 3))
    g, geometry = rng.standard_normal((1, 64, 28, 28)), ((1, 1), (1, 1), (1, 1), 1)
    half = [array.astype(np.float32) for array in (x, w, g)]
    assert relative_error(readable.conv2d(*half[:2], None, (1, 1)), plain.conv2d(x, w, None, *geometry)) < 5e-6
    gx = plain.conv2d_input_grad(g, w, (28, 28), *geometry)
    assert relative_error(readable.conv2d_input_grad(half[2], half[1], (28, 28), (1, 1)), gx) < 5e-6


@given(
    st.integers(1, 4), st.sampled_from([1, 3, 16, 40]), st.sampled_from([1, 5, 16, 48, 64]), pairs(3, 22), pairs(0, 4),
    st.sampled_from(["channels-first", "channels-last", "slice"]), st.booleans(), st.integers(0, 2**32),
)  # fmt: skip
@settings(max_examples=80)
def test_winograd_is_the_textbook_to_rounding(n, c, o, hw, padding, layout, with_bias, seed):
    rng = np.random.default_rng(seed)
    x, w, bias = arrays(rng, layout, (n, c, *hw), (o, c, 3, 3), (o,))
    bias = bias if with_bias else None
    geometry = ((1, 1), padding, (1, 1), 1)
    y = plain.conv2d(x, w, bias, *geometry)
    g = rng.standard_normal(y.shape)

    def single(a):
        return None if a is None else a.astype(np.float32)

    with kernels.conv_algorithm("winograd"):
        y32 = kernels.conv2d(single(x), single(w), single(bias), *geometry)
        gx32 = kernels.conv2d_input_grad(single(g), single(w), hw, *geometry)
        gw32 = kernels.conv2d_weight_grad(single(x), single(g), (3, 3), *geometry)
    assert y32.dtype == gx32.dtype == gw32.dtype == np.float32
    assert relative_error(y32, y) < 3e-5  # F(6x6) is among the tilings
    assert relative_error(gx32, plain.conv2d_input_grad(g, w, hw, *geometry)) < 3e-5
    assert relative_error(gw32, plain.conv2d_weight_grad(x, g, (3, 3), *geometry)) < 1e-5


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
    assert relative_error(winograd.conv2d(*half[:3], (1, 1)), plain.conv2d(x, weight, bias, *geometry)) < 5e-6
    gx = plain.conv2d_input_grad(g, weight, (h, w), *geometry)
    assert relative_error(winograd.conv2d_input_grad(half[3], half[1], (h, w), (1, 1)), gx) < 5e-6
    gw = plain.conv2d_weight_grad(x, g, (3, 3), *geometry)
    found = winograd.conv2d_weight_grad(half[0], half[3], (1, 1))
    assert relative_error(found, gw) < 1e-5  # of sums over blocks of tiles, which are longer where caches are larger


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
def test_every_tiling_agrees_with_the_textbook(tiling, whole, c, monkeypatch):
    """Also with sides that are no multiple of the tile, and with channels in several parts."""
    most = 3e-5 if tiling is winograd.F6 else 5e-6
    monkeypatch.setattr(winograd, "_quickest", lambda *_: tiling)
    monkeypatch.setattr(tuning, "LARGEST_WHOLE_U", whole)
    rng = np.random.default_rng(0)
    x, w, bias, g = arrays(rng, "channels-last", (2, c, 11, 9), (64, c, 3, 3), (64,), (2, 64, 11, 9))
    geometry, half = ((1, 1), (1, 1), (1, 1), 1), [a.astype(np.float32) for a in (x, w, bias, g)]
    y = plain.conv2d(x, w, bias, *geometry)
    assert relative_error(winograd.conv2d(*half[:3], (1, 1)), y) < most
    assert relative_error(winograd.conv2d(*half[:3], (1, 1), relu_in_place), np.maximum(y, 0)) < most
    gx = plain.conv2d_input_grad(g, w, (11, 9), *geometry)
    assert relative_error(winograd.conv2d_input_grad(half[3], half[1], (11, 9), (1, 1)), gx) < most


def test_for_many_tiles_a_larger_u_is_made_as_a_whole_and_for_few_a_smaller_one(monkeypatch):
    taken = []
    for name in ("_by_blocks", "_all_together"):
        way = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *a, way=way, name=name: taken.append(name) or way(*a))
    monkeypatch.setattr(winograd, "_quickest", lambda *_: winograd.F4)
    monkeypatch.setattr(tuning, "MANY_TILES", 8)
    monkeypatch.setattr(tuning, "FEW_TILES", 4)
    x, w = np.ones((3, 32, 8, 8), np.float32), np.ones((32, 32, 3, 3), np.float32)
    for largest in (36 * 32 * 32 * 4, 36 * 32 * 32 * 2, 36 * 32 * 32 * 2 - 1):  # bytes: all of U, half, less than half
        monkeypatch.setattr(tuning, "LARGEST_WHOLE_U", largest)
        few, many = winograd.conv2d(x[:2], w, None, (1, 1)), winograd.conv2d(x, w, None, (1, 1))
        np.testing.assert_allclose(few, many[:2], rtol=1e-5)
    assert taken == ["_by_blocks"] * 2 + ["_all_together", "_by_blocks"] + ["_all_together"] * 2

    taken.clear()
    for largest in (36 * 32 * 32 * 8, 36 * 32 * 32 * 8 - 1):  # twice U
        monkeypatch.setattr(tuning, "LARGEST_WHOLE_U", largest)
        np.testing.assert_allclose(winograd.conv2d(x[:1], w, None, (1, 1)), few[:1], rtol=1e-5)
    constant = Constant(w)
    np.testing.assert_allclose(winograd.conv2d(x[:1], w, None, (1, 1)), few[:1], rtol=1e-5)
    assert taken == ["_by_blocks", "_all_together", "_by_blocks"] and constant.derived


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


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
def test_results_are_channels_last_in_memory(algorithm):
    x, w = np.ones((2, 16, 12, 12), np.float32), np.ones((16, 16, 3, 3), np.float32)
    with kernels.conv_algorithm(algorithm):
        y = kernels.conv2d(x, w, None, *PLAIN)
        gx = kernels.conv2d_input_grad(y, w, (12, 12), *PLAIN)
    assert channels_last(y).flags.c_contiguous and channels_last(gx).flags.c_contiguous
