"""float16 is what is stored: every function gives what float32 gives, rounded once, and so do its gradients."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from tests.minigrad.functional.cases import CASES
from tests.minigrad.functional.test_golden import starting_gradient, tensors_of


def same_in(case, dtype, tensors):
    """(value, gradients) of the case at the numbers of `tensors`, held in dtype."""
    inputs = [
        mg.Tensor(t.numpy(), dtype=dtype, requires_grad=t.requires_grad) if t.dtype.kind == "f" else t for t in tensors
    ]
    y = case.call(F, *inputs)
    if not y.requires_grad:
        return y.numpy(), []
    leaves = [x for x in inputs if x.requires_grad]
    g = mg.Tensor(starting_gradient(y.shape).astype(np.float16), dtype=y.dtype)
    by = [x for x in leaves if depends(y, x)]
    return y.numpy(), [found.numpy() for found in mg.grad(y, by, g)]


def depends(y, x):
    try:
        mg.grad(y.sum(), x)
    except ValueError:
        return False
    return True


# several functions in a row: the result of each is rounded
ROUNDED_BETWEEN = {
    "softmax of large scores",
    "log_softmax of large scores",
    "maximum with ties",
    "operators with numbers",
    "hardsigmoid at its kinks",
}
SINGLE = [case for case in CASES if case.name not in ROUNDED_BETWEEN]


@pytest.mark.parametrize("case", SINGLE, ids=lambda c: c.name)
def test_float16_is_float32_rounded_once(case):
    tensors = tensors_of(case, np.float16)
    y, gradients = same_in(case, np.float16, tensors)
    wide, wide_gradients = same_in(case, np.float32, tensors)
    assert y.dtype == (np.float16 if wide.dtype == np.float32 else wide.dtype)
    np.testing.assert_array_equal(y, wide.astype(y.dtype))
    for found, expected in zip(gradients, wide_gradients, strict=True):
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, expected.astype(np.float16))


def half(*values, shape=None):
    return mg.Tensor(np.full(shape, *values, np.float16) if shape else np.array(values, np.float16), requires_grad=True)


BEYOND = {  # what passes 65504, or what 11 bits cannot count, on its way to a result that float16 holds
    "mean": (lambda: F.mean(half(100.0, shape=1000)), 100.0),
    "mean over rows": (lambda: F.mean(half(100.0, shape=(1000, 2)), 0), 100.0),
    "mean by operators": (lambda: half(100.0, shape=1000).mean(), 100.0),
    "var": (lambda: F.var(half(-200.0, 200.0)), 40000.0),
    "var of many": (lambda: F.var(half(300.0, shape=5000)), 0.0),
    "adaptive_avg_pool2d": (lambda: F.adaptive_avg_pool2d(half(100.0, shape=(1, 1, 50, 50)), 1), 100.0),
    "uneven adaptive_avg_pool2d": (lambda: F.adaptive_avg_pool2d(half(1000.0, shape=(1, 1, 99, 99)), 2), 1000.0),
    "avg_pool2d": (lambda: F.avg_pool2d(half(60000.0, shape=(1, 1, 8, 8)), 2), 60000.0),
    "logsumexp": (lambda: F.logsumexp(half(0.0, shape=65536), 0), np.log(65536)),
    "softmax": (lambda: F.softmax(half(0.0, shape=(65536, 2)), 0), 2.0**-16),
    "log_softmax": (lambda: F.log_softmax(half(0.0, shape=65536), 0), -np.log(65536)),
    "cross_entropy": (lambda: F.cross_entropy(half(0.0, shape=(2000, 65)), np.zeros(2000, int)), np.log(65)),
    "mse_loss": (lambda: F.mse_loss(half(10.0, shape=4000), half(0.0, shape=4000)), 100.0),
    "l1_loss": (lambda: F.l1_loss(half(-100.0, shape=4000), half(0.0, shape=4000)), 100.0),
    "sum": (lambda: F.sum(half(60000.0, 60000.0, -60000.0)), 60000.0),
    "add": (lambda: half(-60000.0) + 70000.0, 10000.0),
    "mul": (lambda: half(0.01) * 70000.0, 70000.0 * float(np.float16(0.01))),
    "matmul": (lambda: half(300.0, 300.0) @ half(300.0, -299.0), 300.0),
    "linear": (lambda: F.linear(half(300.0, 300.0), half(300.0, -299.0)), 300.0),
    "conv2d": (
        lambda: F.conv2d(half(300.0, shape=(1, 2, 1, 1)), mg.Tensor(np.float16([[[[300]], [[-299]]]])), half(1.0)),
        301.0,
    ),
    "local_response_norm": (lambda: F.local_response_norm(half(1000.0, shape=(1, 3, 2)), 1, 1.0, 0.5), 1.0),
    "batch_norm": (lambda: F.batch_norm(half(-1000.0, 1000.0).reshape(2, 1), None, None, training=True), [[-1], [1]]),
    "interpolate": (lambda: F.interpolate(half(60000.0, shape=(1, 1, 3, 3)), 7, mode="bilinear"), 60000.0),
    "gradient of max": (lambda: of(lambda x: F.max(x) * 60000.0, half(1.0, shape=70000)), 60000 / 70000),
    "gradient of a broadcast": (lambda: of(lambda x: (x + half(0.0, shape=(5000, 1))).mean(), half(0.0)), 1.0),
    "gradient of a picked element": (lambda: of(lambda x: x[np.zeros(5000, int)].mean(), half(0.0)), 1.0),
    "gradient of div": (lambda: of(lambda x: 60000.0 / x, half(100.0)), -6.0),
    "gradient of fold": (lambda: of(lambda x: F.unfold(x, 3).mean(), half(0.0, shape=(1, 1, 3, 3))), 1 / 9),
}


@pytest.mark.host("indices are the host's")
@pytest.mark.parametrize("name", BEYOND)
def test_what_float16_cannot_hold_on_the_way(name):
    call, expected = BEYOND[name]
    found = call()
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.numpy().astype(float), expected, rtol=2.0**-11, atol=2.0**-25)


def of(function, x):
    return mg.grad(function(x), x)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.sampled_from(["sum", "mean", "var", "logsumexp"]), st.integers(0, 1))
def test_drawn_reductions(seed, name, axis):
    """Of numbers that are added up to many times what float16 holds, against float64."""
    x = np.random.default_rng(seed).normal(200, 50, (300, 301)).astype(np.float16)
    found = getattr(F, name)(mg.Tensor(x) * 0.5 if name == "sum" else mg.Tensor(x), axis).numpy()
    wide = x.astype(np.float64)
    total = np.log(np.exp(wide - 500).sum(axis)) + 500
    expected = {"sum": wide.sum(axis) / 2, "mean": wide.mean(axis), "var": wide.var(axis), "logsumexp": total}[name]
    np.testing.assert_allclose(found, expected, rtol=2.0**-10)


def test_running_statistics_of_float16():
    x = mg.Tensor(np.random.default_rng(0).normal(100, 30, (64, 3, 5, 5)).astype(np.float16))
    mean, variance = mg.Tensor(np.zeros(3, np.float16)), mg.Tensor(np.ones(3, np.float16))
    F.batch_norm(x, mean, variance, training=True, momentum=1.0)
    wide = x.numpy().astype(float)
    assert mean.dtype == variance.dtype == np.float16
    np.testing.assert_allclose(mean.numpy(), wide.mean((0, 2, 3)), rtol=1e-3)
    np.testing.assert_allclose(variance.numpy(), wide.var((0, 2, 3), ddof=1), rtol=1e-3)


def test_a_network_of_float16_without_a_graph():
    """Convolution and ReLU, which the peephole would put together."""
    rng = np.random.default_rng(0)
    net = nn.Sequential({"conv": nn.Conv2d(8, 4, 3), "relu": nn.ReLU()})
    weight = rng.normal(0, 10, (4, 8, 3, 3)).astype(np.float16)
    net.load_state_dict({"conv.weight": weight, "conv.bias": np.zeros(4, np.float16)})
    x = rng.normal(0, 100, (2, 8, 6, 6)).astype(np.float16)
    with mg.no_grad():
        found = net(mg.Tensor(x)).numpy()
        wide = F.relu(F.conv2d(mg.Tensor(x.astype(np.float32)), mg.Tensor(weight.astype(np.float32)))).numpy()
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, wide.astype(np.float16))
