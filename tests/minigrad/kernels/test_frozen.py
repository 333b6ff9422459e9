"""Frozen weights are transformed once, within a bound, and never stay behind what they were made from."""

import copy
import gc

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.guard import constants
from minigrad.kernels import frozen
from minigrad.kernels.cpu import direct, tuning, winograd

pytestmark = pytest.mark.host("what the CPU's kernels keep, and read-only arrays, which only NumPy has")


def layer(c=16, o=32, seed=0):
    return nn.Conv2d(c, o, 3, padding=1, rng=np.random.default_rng(seed)).requires_grad_(False)


def picture(c=16, side=32):
    return mg.Tensor(np.random.default_rng(1).random((1, c, side, side), np.float32), requires_grad=True)


@pytest.fixture
def transforms(monkeypatch):
    """The forms made so far, the name of each."""
    made = []
    original = winograd.form_or_new

    def counted(w, name, shape, fill, *empty):
        return original(w, name, shape, lambda form: (made.append(name), fill(form)), *empty)

    monkeypatch.setattr(winograd, "form_or_new", counted)
    return made


def test_a_frozen_weight_is_transformed_once_for_each_direction(transforms):
    convolution, x, before = layer(), picture(), frozen.kept_bytes()
    expected = mg.grad(convolution(x).sum(), x)
    for _ in range(3):
        np.testing.assert_array_equal(mg.grad(convolution(x).sum(), x).numpy(), expected.numpy())
    assert transforms == [("winograd", 4, False), ("winograd", 4, True)]
    assert frozen.kept_bytes() - before == 2 * 36 * 16 * 32 * 4
    assert "MiB of at most" in mg.show_config("dicts")["frozen weights"]


def test_the_memory_goes_with_the_layer_and_with_requiring_grad():
    before, convolution = frozen.kept_bytes(), layer()
    convolution(picture())
    assert frozen.kept_bytes() > before
    convolution.requires_grad_(True)(picture())
    assert frozen.kept_bytes() == before
    convolution.requires_grad_(False)(picture())
    assert frozen.kept_bytes() > before
    gc.disable()
    try:
        del convolution
        assert frozen.kept_bytes() == before
    finally:
        gc.enable()


def test_few_tiles_take_the_smaller_form_and_both_are_kept():
    convolution = layer(64, 64)
    for side, names in ((14, {("winograd", 2, False)}), (32, {("winograd", 2, False), ("winograd", 4, False)})):
        x = picture(64, side)
        for _ in range(2):
            y = convolution(x).numpy()
        assert {name for name in constants[id(convolution.weight.data)].derived if name[0] == "winograd"} == names
        with mg.conv_algorithm("direct"):
            np.testing.assert_allclose(y, convolution(x).numpy(), rtol=1e-4, atol=1e-4)


def test_of_large_weights_only_the_taps_are_kept_in_the_order_of_use(monkeypatch, transforms):
    convolution, x = layer(), picture()
    expected = mg.grad((convolution(x) ** 2).sum(), x).numpy()
    monkeypatch.setattr(tuning, "LARGEST_WHOLE_U", 36 * 16 * 32 * 4 - 1)
    convolution = layer()
    before = frozen.kept_bytes()
    transforms.clear()
    for _ in range(2):
        found = mg.grad((convolution(x) ** 2).sum(), x).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert transforms == [("taps", False), ("taps", True)]
    assert frozen.kept_bytes() - before == 2 * convolution.weight.data.nbytes


def test_layers_that_share_a_weight_share_its_forms():
    before, first, second = frozen.kept_bytes(), layer(), layer(seed=1)
    second.weight = first.weight
    first(picture()), second(picture())
    assert frozen.kept_bytes() - before == 36 * 16 * 32 * 4
    del second
    assert frozen.is_frozen(first.weight.data) and frozen.kept_bytes() - before == 36 * 16 * 32 * 4


def test_nothing_is_kept_beyond_the_limit(monkeypatch, transforms):
    monkeypatch.setattr(frozen, "limit", frozen.kept_bytes() + 36 * 16 * 32 * 4)
    first, second, x = layer(), layer(seed=1), picture()
    kept = [convolution(x).numpy() for convolution in (first, second)]
    again = [convolution(x).numpy() for convolution in (first, second)]
    assert len(transforms) == 3  # first once, second twice
    for one, other in zip(kept, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert frozen.kept_bytes() <= frozen.limit


def test_a_frozen_weight_in_use_cannot_be_written_to_and_can_be_replaced():
    convolution, x = layer(), picture()
    convolution(x)
    with pytest.raises(ValueError, match="read-only"):
        convolution.weight.data[...] = 0
    convolution.weight.data = 2 * convolution.weight.data
    with mg.conv_algorithm("direct"):
        expected = convolution(x).numpy()
    np.testing.assert_allclose(convolution(x).numpy(), expected, rtol=1e-4, atol=1e-5)

    convolution.requires_grad_(True)(x)
    convolution.weight.data[...] = 0
    assert (convolution(x).numpy() == convolution.bias.numpy()[:, None, None]).all()


def test_a_copy_of_a_layer_has_forms_of_its_own():
    convolution, x = layer(), picture()
    before = convolution(x).numpy()
    other = copy.deepcopy(convolution)
    other.weight.data = -other.weight.data
    np.testing.assert_array_equal(other(x).numpy(), -before)
    np.testing.assert_array_equal(convolution(x).numpy(), before)


@pytest.mark.parametrize(("stride", "dilation", "side"), [(1, 1, 6), (2, 1, 9), (1, 2, 8)])
def test_direct_convolution_of_few_pixels_by_kept_weights(stride, dilation, side):
    rng = np.random.default_rng(0)
    plain = nn.Conv2d(128, 96, 3, stride=stride, padding=1, dilation=dilation, rng=rng)
    kept = copy.deepcopy(plain).requires_grad_(False)
    x = mg.Tensor(rng.standard_normal((2, 128, side, side)), requires_grad=True, dtype=np.float32)
    with mg.conv_algorithm("direct"):
        one, other = plain(x), kept(x)
        np.testing.assert_allclose(other.numpy(), one.numpy(), atol=2e-6 * np.abs(one.numpy()).max())
        g = mg.Tensor(rng.standard_normal(one.shape), dtype=np.float32)
        ours, expected = mg.grad(other, x, g).numpy(), mg.grad(one, x, g).numpy()
    np.testing.assert_allclose(ours, expected, atol=2e-6 * np.abs(expected).max())
    assert constants[id(kept.weight.data)].derived.keys() == {"by window"}
    by_window = constants[id(kept.weight.data)].derived["by window"].reshape(96, 3, 3, 128)
    np.testing.assert_array_equal(by_window, plain.weight.numpy().transpose(0, 2, 3, 1))
    assert direct._kept_by_window(plain.weight.data, 1) is None
