"""Normalisation of numbers whose squares float32 does not hold: as float64 has it, with its derivatives."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
from minigrad import functional as F


def normalised(x, weight, dtype):
    """(y, gx, gweight, the gradient of a sum of gx by g, mean, variance) in dtype."""
    x, weight = (mg.Tensor(a.astype(dtype), requires_grad=True) for a in (x, weight))
    g = mg.Tensor(np.cos(np.arange(x.size)).reshape(x.shape).astype(dtype), requires_grad=True)
    mean, variance = (mg.Tensor(np.zeros(x.shape[1], dtype)) for _ in range(2))
    y = F.batch_norm(x, mean, variance, weight, training=True, momentum=1.0)
    gx, gweight = mg.grad(y, (x, weight), g, create_graph=True)
    by_g = mg.grad(gx, g, F.flip(x.detach(), 0))
    return [t.numpy() for t in (y, gx, gweight, by_g, mean, variance)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-37, 37), min_size=1, max_size=4), st.integers(0, 1000), st.booleans())
def test_batch_norm_in_training(exponents, seed, channels_last):
    """Every channel has a size of its own, from 1e-37 to 1e37."""
    rng = np.random.default_rng(seed)
    size = np.array([10.0**e for e in exponents]).reshape(-1, 1, 1)
    x = (size * rng.standard_normal((5, len(exponents), 4, 3))).astype(np.float32)
    if channels_last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    weight = rng.uniform(0.5, 2, len(exponents)).astype(np.float32)
    errors = None, None, 1e-4, None, 1e-6 * size.ravel(), 0.0  # what a sum of 60 numbers of either sign may lose
    results = normalised(x, weight, np.float32), normalised(x, weight, np.float64), errors
    for found, expected, error in zip(*results, strict=True):
        if expected.ndim == 4:  # each channel against its own size, above what float32 can hold at all
            scale = np.abs(expected).max((0, 2, 3), keepdims=True)
            assert (np.abs(found - expected) <= 1e-4 * scale + 1e-38).all()
        else:
            with np.errstate(over="ignore"):
                expected = expected.astype(np.float32)
            with np.errstate(invalid="ignore"):  # infinite less infinite: equal all the same
                close = np.abs(found - expected) <= 1e-4 * np.abs(expected) + error + 1e-38
            assert (close | (found == expected)).all()


@pytest.mark.filterwarnings("error")
def test_large_numbers():
    x = mg.Tensor(np.array([[1e30], [-1e30], [3e30], [-3e30]], np.float32))
    y = F.batch_norm(x, None, None, training=True).numpy()
    np.testing.assert_allclose(y[:, 0], np.array([1, -1, 3, -3]) / 5**0.5, rtol=1e-6)


def test_a_constant_channel_beside_large_ones():
    x = np.zeros((4, 3), np.float32)
    x[:, 0] = 1e30
    x[:, 1] = [1e30, 2e30, 3e30, 4e30]
    y = F.batch_norm(mg.Tensor(x), None, None, training=True).numpy()
    assert np.isfinite(y).all() and (y[:, 2] == 0).all() and (y[:, 0] == 0).all()


def test_what_is_not_finite_spoils_its_channel_only():
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    x[0, 0], x[0, 1] = np.inf, np.nan
    y = F.batch_norm(mg.Tensor(x), None, None, training=True).numpy()
    assert np.isnan(y[:, :2]).any(0).all() and np.isfinite(y[:, 2]).all()


NORMS = {
    "group_norm": (lambda x: F.group_norm(x, 2), (1, 2, 3)),  # over the axes of a group
    "instance_norm": (F.instance_norm, (2, 3)),
    "layer_norm": (lambda x: F.layer_norm(x, (4, 3)), (2, 3)),
    "channel_layer_norm": (F.channel_layer_norm, (1,)),
    "local_response_norm": (lambda x: F.local_response_norm(x, 3, 0.5, 0.75, 2.0), (1,)),
    "local_response_norm, even": (lambda x: F.local_response_norm(x, 4, 0.5, 0.25), (1,)),
}


@pytest.mark.filterwarnings("error")
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-30, 37), min_size=2, max_size=2), st.integers(0, 1000))
@pytest.mark.parametrize("name", NORMS)
def test_norms_of_an_image_by_itself(name, exponents, seed):
    """Two images, each of a size of its own, from 1e-30 to 1e37: neither zeros nor NaN, and the gradient too."""
    norm, axes = NORMS[name]
    rng = np.random.default_rng(seed)
    size = np.array([10.0**e for e in exponents]).reshape(-1, 1, 1, 1)
    x = (size * rng.standard_normal((2, 4, 4, 3))).astype(np.float32)
    results = []
    for dtype in (np.float32, np.float64):
        leaf = mg.Tensor(x.astype(dtype), requires_grad=True)
        y = norm(leaf)
        g = mg.Tensor(np.cos(np.arange(x.size)).reshape(x.shape).astype(dtype))
        results.append((y.numpy(), mg.grad(y, leaf, g).numpy()))
    for found, expected in zip(*results, strict=True):
        scale = np.abs(expected).max(axes, keepdims=True)
        assert (np.abs(found - expected) <= 2e-4 * scale + 1e-38).all()


def test_local_response_norm_of_what_is_not_finite_spoils_its_window_only():
    x = np.ones((1, 5, 1, 3), np.float32)
    x[0, 1, 0, 0], x[0, 1, 0, 1] = np.inf, np.nan
    y = F.local_response_norm(mg.Tensor(x), 3).numpy()
    assert y[0, 0, 0, 0] == y[0, 2, 0, 0] == 0 and np.isnan(y[0, :3, 0, 1]).all()
    np.testing.assert_allclose(y[0, 3:, 0, :2], y[0, 3:, 0, 2:].repeat(2, 1))


def test_local_response_norm_of_small_numbers_beside_large_ones():
    x = np.array([1e30, 1, 1, 1, 3], np.float32).reshape(1, 5, 1, 1)
    y, expected = (F.local_response_norm(mg.Tensor(x.astype(t)), 3, 1.0).numpy() for t in (np.float32, np.float64))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-40)
