"""Sums are as good as NumPy's along the innermost axis, whatever the axis and the order of memory.

The reference is NumPy in extended precision; the error is measured against the sum of magnitudes.
"""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
from minigrad import functional as F

LENGTH = 1 << 20
EPS = {np.float32: 2.0**-23, np.float64: 2.0**-52}
precisions = pytest.mark.parametrize("dtype", EPS)


def error(found, summed, axes):
    """The largest error of `found`, the sum of `summed` over the axes, in units of the dtype's last place."""
    wide = summed.astype(np.longdouble)
    size = np.abs(wide).sum(axis=axes)
    wrong = np.abs(found.numpy().reshape(size.shape) - wide.sum(axis=axes)) / size
    return float(wrong.max() / EPS[summed.dtype.type])


@pytest.mark.host("how NumPy's arrays are summed")
@precisions
def test_the_mean_of_equal_numbers_is_that_number(dtype):
    for x, axis in ((np.full((LENGTH, 4), 0.1, dtype), 0), (np.full((4, LENGTH), 0.1, dtype).T, 0)):
        np.testing.assert_allclose(F.mean(mg.Tensor(x), axis).numpy(), 0.1, rtol=40 * EPS[dtype])


@precisions
def test_the_variance_of_a_long_axis(dtype):
    x = (1000 + np.random.default_rng(0).standard_normal((LENGTH, 2))).astype(dtype)
    np.testing.assert_allclose(F.var(mg.Tensor(x), 0).numpy(), x.astype(np.longdouble).var(0).astype(float), rtol=1e-6)


@settings(max_examples=60)
@given(st.data(), st.integers(0, 1000), st.sampled_from([np.float32, np.float64]))
def test_sums_over_any_axes_of_any_layout(data, seed, dtype):
    """One or two axes are long, the others short; memory in any order, with gaps or without, forwards or backwards."""
    ndim = data.draw(st.integers(1, 4))
    lengths = data.draw(st.permutations([7001, 5, 3, 2])) if ndim > 1 else [100_003]
    x = np.random.default_rng(seed).random(lengths[:ndim]).astype(dtype)
    x = np.copy(x.transpose(order := data.draw(st.permutations(range(ndim)))), order="C").transpose(np.argsort(order))
    x = x[tuple(slice(None, None, data.draw(st.sampled_from([1, 1, 2, -1]))) for _ in range(ndim))]
    axes = tuple(data.draw(st.sets(st.integers(0, ndim - 1), min_size=1)))
    tensor = mg.Tensor(np.zeros((), dtype)) + mg.from_numpy(x).to(mg.Tensor(0.0).device)
    assert error(F.sum(tensor, axes), x, axes) < 8
    shape = tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
    assert error(F.sum_to(tensor, shape), x, axes) < 8
    assert error(F.mean(tensor, axes, keepdims=True) * float(x.size / np.prod(shape)), x, axes) < 8


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


# name -> (function of x and a small tensor, shape of x, of the small one, axes that its gradient is a sum over)
BROADCAST = {
    "add": (lambda x, b: x + b, (LENGTH // 4, 3), (3,), 0),
    "a column": (lambda x, b: x - b, (3, 250_000), (3, 1), 1),
    "where": (lambda x, b: F.where(x > 2, x, b), (LENGTH // 4, 2), (1, 2), 0),
    "linear": (lambda x, b: F.linear(x, mg.Tensor(np.ones((2, 3), x.dtype)), b), (250_001, 3), (2,), 0),
    "conv2d": (
        lambda x, b: F.conv2d(x, mg.Tensor(np.ones((5, 3, 1, 1), x.dtype)), b),
        (1, 3, 501, 499),
        (5,),
        (0, 2, 3),
    ),
    "conv_transpose2d": (
        lambda x, b: F.conv_transpose2d(x, mg.Tensor(np.ones((3, 5, 1, 1), x.dtype)), b),
        (1, 3, 501, 499),
        (5,),
        (0, 2, 3),
    ),
}


@pytest.mark.host("how NumPy's arrays are summed")
@precisions
@pytest.mark.parametrize("name", BROADCAST)
def test_gradients_of_what_was_broadcast(name, dtype):
    call, shape, small, axes = BROADCAST[name]
    b = mg.Tensor(np.zeros(small, dtype), requires_grad=True)
    y = call(mg.Tensor(np.ones(shape, dtype)), b)
    g = np.random.default_rng(0).random(y.shape).astype(dtype)
    g = channels_last(g) if g.ndim == 4 else g
    (found,) = mg.grad([y], [b], [mg.Tensor(g)])
    sign = -1 if name == "a column" else 1
    assert error(found * sign, g, axes) < 16


@precisions
def test_means_of_channels_last_maps(dtype):
    """What Grad-CAM's weights and global pooling are."""
    x = channels_last(np.random.default_rng(0).random((2, 7, 317, 331)).astype(dtype))
    size = float(317 * 331)
    tensor = mg.Tensor(x)
    for mean in (F.mean(tensor, (2, 3)), F.adaptive_avg_pool2d(tensor, 1), F.avg_pool2d(tensor, (317, 331))):
        assert error(mean * size, x, (2, 3)) < 8


@precisions
def test_softmax_along_a_long_axis(dtype):
    x = mg.Tensor(np.random.default_rng(0).standard_normal((LENGTH, 2)).astype(dtype))
    wide = np.exp(x.numpy().astype(np.longdouble))
    total = wide.sum(0)
    np.testing.assert_allclose(F.softmax(x, 0).numpy(), (wide / total).astype(float), rtol=16 * EPS[dtype])
    np.testing.assert_allclose(F.log_softmax(x, 0).numpy(), (np.log(wide / total)).astype(float), rtol=16 * EPS[dtype])
    np.testing.assert_allclose(F.logsumexp(x, 0).numpy(), np.log(total).astype(float), rtol=16 * EPS[dtype])
