"""The direct convolution takes the way that its table says, and every way gives what the textbook gives."""

import numpy as np
import pytest

from minigrad import kernels
from minigrad.guard import Constant
from minigrad.kernels import plain
from minigrad.kernels.cpu import depthwise, direct, tuning
from minigrad.kernels.cpu.elementwise import relu_in_place

pytestmark = pytest.mark.host("which way the CPU's kernel takes")

CASES = {  # x, w, stride, groups -> the way forward, and the way of the input gradient
    "windows by channels": ((1, 32, 9, 9), (24, 32, 3, 3), (1, 1), 1, "_multiply_windows", "_multiply_windows"),
    "windows by pixels": ((2, 3, 9, 9), (24, 3, 3, 3), (1, 1), 1, "_multiply_windows", "_shift_products"),
    "taps weighed": ((1, 6, 9, 9), (12, 1, 3, 3), (1, 1), 6, "weigh_taps", "_multiply_windows"),
    "taps weighed both ways": ((1, 6, 9, 9), (6, 1, 3, 3), (1, 1), 6, "weigh_taps", "input_grad"),
    "phase by phase": ((2, 6, 9, 10), (6, 1, 5, 3), (2, 3), 6, "weigh_taps", "input_grad"),
    "phases without a tap": ((2, 6, 8, 11), (6, 1, 1, 2), (2, 3), 6, "weigh_taps", "input_grad"),
    "few outputs": ((1, 32, 9, 9), (8, 32, 3, 3), (1, 1), 1, "_shift_products", "_multiply_windows"),
    "few pixels": ((1, 64, 5, 5), (64, 64, 3, 3), (1, 1), 1, "_multiply_windows", "_scatter_products"),
    "few channels, strided": ((2, 3, 9, 10), (16, 3, 3, 4), (2, 3), 1, "_multiply_windows", "_scatter_products"),
    "no windows to copy": ((1, 32, 9, 9), (8, 32, 1, 1), (2, 2), 1, "_multiply_windows", "_multiply_windows"),
}
WAYS = {
    direct: ("_multiply_windows", "_shift_products", "_spread_products", "_scatter_products"),
    depthwise: ("weigh_taps", "input_grad"),
}


@pytest.mark.parametrize("frozen", [False, True], ids=["changing", "frozen"])
@pytest.mark.parametrize("case", CASES)
def test_each_way_is_taken_and_right(case, frozen, monkeypatch):
    x_shape, w_shape, stride, groups, forward, backward = CASES[case]
    taken = []
    for module, name in [(module, name) for module, names in WAYS.items() for name in names]:
        way = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, way=way, name=name: taken.append(name) or way(*a))
    rng = np.random.default_rng(0)
    x, w, bias = (rng.standard_normal(shape) for shape in (x_shape, w_shape, w_shape[0]))
    constant = Constant(w) if frozen else None
    geometry = (stride, (1, 1), (1, 1), groups)
    expected = plain.conv2d(x, w, bias, *geometry)
    np.testing.assert_allclose(direct.conv2d(x, w, bias, *geometry), expected, atol=1e-12)
    g = rng.standard_normal(expected.shape)
    gx = direct.conv2d_input_grad(g, w, x_shape[2:], *geometry)
    np.testing.assert_allclose(gx, plain.conv2d_input_grad(g, w, x_shape[2:], *geometry), atol=1e-12)
    if frozen and case == "few pixels":
        backward = "_spread_products"
    assert taken[0] == forward and set(taken[1:]) == {backward}
    del constant


@pytest.mark.parametrize("window_bytes", [1, 1 << 30], ids=["a row in a block", "all in a block"])
@pytest.mark.parametrize("case", CASES)
def test_pixels_are_pooled_block_by_block(case, window_bytes, monkeypatch):
    x_shape, w_shape, stride, groups, *_ = CASES[case]
    monkeypatch.setattr(direct.tuning, "WINDOW_BYTES", window_bytes)
    monkeypatch.setattr(direct, "_correlate", None)
    rng = np.random.default_rng(0)
    x, w, bias = (rng.standard_normal(shape) for shape in (x_shape, w_shape, w_shape[0]))
    x[0, 0, 4, 4] = np.nan
    convolution = (w, bias, stride, (1, 1), (1, 1), groups)
    expected = plain.conv2d_relu_max_pool(x, convolution)
    np.testing.assert_allclose(direct.conv2d_relu_max_pool(x, *convolution), expected, atol=1e-12)


@pytest.mark.parametrize("frozen", [False, True], ids=["changing", "frozen"])
@pytest.mark.parametrize("channels", [5, 300], ids=["few weights", "many"])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_window_of_one_pixel_is_a_product_of_pixels(n, channels, frozen, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 9, 11, channels)).transpose(0, 3, 1, 2)
    w, bias = rng.standard_normal((64, channels, 1, 1)), rng.standard_normal(64)
    g = rng.standard_normal((n, 9, 11, 64)).transpose(0, 3, 1, 2)
    geometry, constant = ((1, 1), (0, 0), (1, 1), 1), Constant(w) if frozen else None
    expected = plain.conv2d(x, w, bias, *geometry), plain.conv2d_input_grad(g, w, (9, 11), *geometry)
    monkeypatch.setattr(direct, "_correlate", None)
    np.testing.assert_allclose(
        direct.conv2d(x, w, bias, *geometry, relu_in_place), np.maximum(expected[0], 0), atol=1e-11
    )
    np.testing.assert_allclose(direct.conv2d_input_grad(g, w, (9, 11), *geometry), expected[1], atol=1e-11)
    del constant


@pytest.mark.parametrize(("n", "c", "o", "side"), [(0, 64, 8, 3), (2, 64, 8, 0)])
def test_gradients_where_a_side_is_empty(n, c, o, side):
    x, w, geometry = np.ones((n, c, side, side)), np.ones((o, c, 3, 3)), ((1, 1), (1, 1), (1, 1), 1)
    g = np.ones_like(plain.conv2d(x, w, None, *geometry))
    gx = direct.conv2d_input_grad(g, w, (side, side), *geometry)
    np.testing.assert_array_equal(gx, plain.conv2d_input_grad(g, w, (side, side), *geometry))
    gw = direct.conv2d_weight_grad(x, g, (3, 3), *geometry)
    np.testing.assert_array_equal(gw, plain.conv2d_weight_grad(x, g, (3, 3), *geometry))


@pytest.mark.parametrize("shared", [False, True], ids=["copied by one thread", "by all"])
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (3, 1)])
def test_gradients_by_few_pixels(kernel, stride, n, shared, monkeypatch):
    rng = np.random.default_rng(0)
    side, geometry = (7, 8) if stride == 2 else (2, 1), ((stride,) * 2, (kernel // 2,) * 2, (1, 1), 1)
    x, w = rng.standard_normal((n, 16, *side)), rng.standard_normal((48, 16, kernel, kernel))
    g = rng.standard_normal(plain.conv2d(x, w, None, *geometry).shape)
    monkeypatch.setattr(tuning, "OPERAND_BYTES", 1 if shared else 1 << 40)
    gw = direct.conv2d_weight_grad(x, g, (kernel, kernel), *geometry)
    np.testing.assert_allclose(gw, plain.conv2d_weight_grad(x, g, (kernel, kernel), *geometry), atol=1e-11)
    monkeypatch.setattr(direct, "_correlate", None)  # products are scattered
    gx = direct.conv2d_input_grad(g, w, side, *geometry)
    np.testing.assert_allclose(gx, plain.conv2d_input_grad(g, w, side, *geometry), atol=1e-11)


@pytest.mark.parametrize("height", [7, 8, 9, 13])
@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("window_bytes", [1, 1 << 12, 1 << 20])
def test_depthwise_gradients_where_phases_are_not_alike(height, stride, window_bytes, monkeypatch):
    """A side that is no multiple of the stride: the last block has no row of the later phases."""
    monkeypatch.setattr(tuning, "WINDOW_BYTES", window_bytes)
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 5, height, 11)), rng.normal(size=(5, 1, 3, 3))
    g = rng.normal(size=plain.conv2d(x, w, None, (stride, stride), (1, 1), (1, 1), 5).shape)
    arguments = g, w, x.shape[2:], (stride, stride), (1, 1), (1, 1), 5
    np.testing.assert_allclose(
        direct.conv2d_input_grad(*arguments), plain.conv2d_input_grad(*arguments), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("c, outputs, size", [(3, 8, 7), (16, 64, 12), (19, 60, 4), (64, 96, 13)])
@pytest.mark.parametrize("top", [None, 6])
def test_joined_convolutions_have_the_bits_of_each_alone(c, outputs, size, top):
    """A bias among few weights, or added to what many make, in blocks of one image or of several."""
    rng = np.random.default_rng(c)
    x = rng.standard_normal((2, size, size, c)).astype(np.float32).transpose(0, 3, 1, 2)
    convolutions = [
        (
            rng.standard_normal((outputs + k, c, k, k)).astype(np.float32),
            rng.standard_normal(outputs + k).astype(np.float32) if k < 5 else None,
            *((1, 1), (k // 2, k // 2), (1, 1), 1),
        )
        for k in (3, 1, 5)
    ]
    alone = kernels.concatenate([kernels.conv2d(x, *one) for one in convolutions], 1)
    joined = kernels.conv2d_relu(x, *convolutions, top=top)
    np.testing.assert_array_equal(joined, np.clip(alone, 0, top))
