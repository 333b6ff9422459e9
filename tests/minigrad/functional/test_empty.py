"""What is empty gives what torch gives, with its gradient; and a single number has the axes 0 and -1."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import minigrad as mg
from minigrad import functional as F

RNG = np.random.default_rng(0)
NO_CLASSES = np.zeros(0, np.int64)


def numbers(*shape):
    return mg.Tensor(RNG.standard_normal(shape))


# name -> (function of an empty x, shape of x, shape of the result): N = 0 for every function
IMAGES, ROWS = (0, 3, 4, 4), (0, 3)
EMPTY = {
    "abs": (F.abs, ROWS, ROWS),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 2), IMAGES, (0, 3, 2, 2)),
    "adaptive_avg_pool2d of uneven windows": (lambda x: F.adaptive_avg_pool2d(x, 3), IMAGES, (0, 3, 3, 3)),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, 3), IMAGES, (0, 3, 3, 3)),
    "add": (lambda x: F.add(x, numbers(3)), ROWS, ROWS),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 1, 1), IMAGES, IMAGES),
    "batch_norm": (lambda x: F.batch_norm(x, numbers(3), numbers(3) ** 2, numbers(3), numbers(3)), IMAGES, IMAGES),
    "batch_norm in training": (lambda x: F.batch_norm(x, numbers(3), numbers(3), training=True), IMAGES, IMAGES),
    "broadcast_to": (lambda x: F.broadcast_to(x, (2, 0, 3)), ROWS, (2, 0, 3)),
    "cat": (lambda x: F.cat([x, numbers(2, 3)]), ROWS, (2, 3)),
    "channel_layer_norm": (lambda x: F.channel_layer_norm(x, numbers(3), numbers(3)), IMAGES, IMAGES),
    "clamp": (lambda x: F.clamp(x, numbers(3), 1.0), ROWS, ROWS),
    "conv2d": (lambda x: F.conv2d(x, numbers(5, 3, 3, 3), numbers(5), 1, 1), IMAGES, (0, 5, 4, 4)),
    "conv2d in groups": (lambda x: F.conv2d(x, numbers(6, 1, 3, 3), stride=2, groups=3), IMAGES, (0, 6, 1, 1)),
    "conv_transpose2d": (lambda x: F.conv_transpose2d(x, numbers(3, 5, 3, 3), numbers(5)), IMAGES, (0, 5, 6, 6)),
    "cos": (F.cos, ROWS, ROWS),
    "cross_entropy": (lambda x: F.cross_entropy(x, NO_CLASSES, reduction="sum"), ROWS, ()),
    "cross_entropy of each": (lambda x: F.cross_entropy(x, NO_CLASSES, reduction="none"), ROWS, (0,)),
    "cross_entropy by probabilities": (lambda x: F.cross_entropy(x, numbers(0, 3), reduction="sum"), ROWS, ()),
    "cast": (lambda x: F.cast(x, np.float32), ROWS, ROWS),
    "div": (lambda x: F.div(numbers(3), x), ROWS, ROWS),
    **{
        name: (getattr(F, name), ROWS, ROWS)
        for name in ("elu", "erf", "gelu", "hardsigmoid", "hardswish", "mish", "relu6", "silu", "softplus")
    },
    "dropout": (lambda x: F.dropout(x, 0.5, rng=RNG), ROWS, ROWS),
    "exp": (F.exp, ROWS, ROWS),
    "flatten": (lambda x: F.flatten(x, 1), IMAGES, (0, 48)),
    "flip": (lambda x: F.flip(x, 0), ROWS, ROWS),
    "fold": (lambda x: F.fold(x, 4, 2), (0, 12, 9), (0, 3, 4, 4)),
    "getitem": (lambda x: F.getitem(x, (slice(None), [0, 0])), ROWS, (0, 2)),
    "getitem of none": (lambda x: F.getitem(x, NO_CLASSES), (2, 3), (0, 3)),
    "interpolate": (lambda x: F.interpolate(x, 8, mode="bilinear"), IMAGES, (0, 3, 8, 8)),
    "interpolate, nearest": (lambda x: F.interpolate(x, 3), IMAGES, (0, 3, 3, 3)),
    "group_norm": (lambda x: F.group_norm(x, 3, numbers(3), numbers(3)), IMAGES, IMAGES),
    "instance_norm": (lambda x: F.instance_norm(x, weight=numbers(3)), IMAGES, IMAGES),
    "l1_loss": (lambda x: F.l1_loss(x, numbers(0, 3), reduction="sum"), ROWS, ()),
    "layer_norm": (lambda x: F.layer_norm(x, 4, numbers(4), numbers(4)), IMAGES, IMAGES),
    "leaky_relu": (F.leaky_relu, ROWS, ROWS),
    "linear": (lambda x: F.linear(x, numbers(5, 3), numbers(5)), ROWS, (0, 5)),
    "linear of no features": (lambda x: F.linear(x, numbers(5, 0), numbers(5)), (2, 0), (2, 5)),
    "local_response_norm": (lambda x: F.local_response_norm(x, 2), IMAGES, IMAGES),
    "local_response_norm of no channels": (lambda x: F.local_response_norm(x, 2), (2, 0, 4, 4), (2, 0, 4, 4)),
    "log": (F.log, ROWS, ROWS),
    "log_softmax": (lambda x: F.log_softmax(x, 1), ROWS, ROWS),
    "log_softmax of no classes": (lambda x: F.log_softmax(x, 1), (5, 0, 0), (5, 0, 0)),
    "logsumexp": (lambda x: F.logsumexp(x, 1), ROWS, (0,)),
    "matmul": (lambda x: F.matmul(x, numbers(3, 2)), ROWS, (0, 2)),
    "matmul over nothing": (lambda x: F.matmul(x, numbers(0, 2)), (3, 0), (3, 2)),
    "max": (lambda x: F.max(x, 1), ROWS, (0,)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 1, 1), IMAGES, IMAGES),
    "max_pool2d with indices": (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], IMAGES, (0, 3, 2, 2)),
    "max_unpool2d": (lambda x: F.max_unpool2d(x, np.zeros(x.shape, int), 2), IMAGES, (0, 3, 8, 8)),
    "maximum": (lambda x: F.maximum(x, numbers(3)), ROWS, ROWS),
    "mean": (lambda x: F.mean(x, 1), ROWS, (0,)),
    "min": (lambda x: F.min(x, 1), ROWS, (0,)),
    "minimum": (lambda x: F.minimum(x, numbers(3)), ROWS, ROWS),
    "mse_loss": (lambda x: F.mse_loss(x, numbers(0, 3), reduction="sum"), ROWS, ()),
    "mul": (lambda x: F.mul(x, numbers(3)), ROWS, ROWS),
    "neg": (F.neg, ROWS, ROWS),
    "nll_loss": (lambda x: F.nll_loss(x, NO_CLASSES, reduction="sum"), ROWS, ()),
    "pad": (lambda x: F.pad(x, (1, 2)), ROWS, (0, 6)),
    "pad, reflect": (lambda x: F.pad(x, (1, 1, 1, 1), "reflect"), IMAGES, (0, 3, 6, 6)),
    "pad, replicate": (lambda x: F.pad(x, (1, 1, 1, 1), "replicate"), IMAGES, (0, 3, 6, 6)),
    "pad, circular": (lambda x: F.pad(x, (1, 1, 1, 1), "circular"), IMAGES, (0, 3, 6, 6)),
    "permute": (lambda x: F.permute(x, (1, 0)), ROWS, (3, 0)),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), (0, 4, 2, 3), (0, 1, 4, 6)),
    "pow": (lambda x: F.pow(x, numbers(3)), ROWS, ROWS),
    "prelu": (lambda x: F.prelu(x, numbers(3)), ROWS, ROWS),
    "relu": (F.relu, ROWS, ROWS),
    "reshape": (lambda x: F.reshape(x, (5, 0)), ROWS, (5, 0)),
    "roll": (lambda x: F.roll(x, 1, 0), ROWS, ROWS),
    "sigmoid": (F.sigmoid, ROWS, ROWS),
    "sin": (F.sin, ROWS, ROWS),
    "softmax": (lambda x: F.softmax(x, 1), ROWS, ROWS),
    "softmax over nothing": (lambda x: F.softmax(x, 0), ROWS, ROWS),
    "sqrt": (F.sqrt, ROWS, ROWS),
    "square": (F.square, ROWS, ROWS),
    "squeeze": (F.squeeze, (0, 1, 3), (0, 3)),
    "stack": (lambda x: F.stack([x, x]), ROWS, (2, 0, 3)),
    "sub": (lambda x: F.sub(numbers(3), x), ROWS, ROWS),
    "sum": (F.sum, ROWS, ()),
    "sum of rows": (lambda x: F.sum(x, 0), ROWS, (3,)),
    "sum_to": (lambda x: F.sum_to(x, (1, 3)), ROWS, (1, 3)),
    "tanh": (F.tanh, ROWS, ROWS),
    "transpose": (lambda x: F.transpose(x, 0, 1), ROWS, (3, 0)),
    "unfold": (lambda x: F.unfold(x, 2, padding=1), IMAGES, (0, 12, 25)),
    "unsqueeze": (lambda x: F.unsqueeze(x, 0), ROWS, (1, 0, 3)),
    "var": (lambda x: F.var(x, 1), ROWS, (0,)),
    "where": (lambda x: F.where(x > 0, x, numbers(3)), ROWS, ROWS),
}


@pytest.mark.host("NumPy's arrays among the arguments")
@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_batch(name):
    call, shape, expected = EMPTY[name]
    x = mg.Tensor(np.zeros(shape), requires_grad=True)
    y = call(x)
    assert y.shape == expected
    g = mg.Tensor(np.ones(expected), dtype=y.dtype, requires_grad=True)
    gx = mg.grad(y, x, g, create_graph=True)
    assert gx.shape == shape and gx.dtype == x.dtype
    if gx.requires_grad:
        assert mg.grad(gx, g, mg.Tensor(np.ones(shape))).shape == expected


@pytest.mark.host("NumPy's arrays among the arguments")
@pytest.mark.parametrize("name", [name for name, (_, _, expected) in EMPTY.items() if 0 in expected])
def test_what_met_an_empty_batch_has_a_gradient_of_zeros(name, monkeypatch):
    """Weights, biases, whatever the function takes besides x."""
    call, shape, expected = EMPTY[name]
    made = []

    def learnt(*shape):
        made.append(mg.Tensor(np.ones(shape), requires_grad=True))
        return made[-1]

    monkeypatch.setitem(globals(), "numbers", learnt)
    y = call(mg.Tensor(np.zeros(shape)))
    if made and name != "batch_norm in training":  # which has no gradient by running statistics
        for found in mg.grad(y, made, mg.Tensor(np.ones(expected))):
            assert not found.numpy().any()


def test_every_function_is_tried_with_an_empty_batch():
    functions = {name for name in vars(F) if name.islower() and not name.startswith("_") and callable(getattr(F, name))}
    without_gradient = {"eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "sign"}
    without_gradient |= {"argmax", "argmin", "ones_like", "zeros_like", "pair"}
    assert functions - without_gradient - {name.split(",")[0].split()[0] for name in EMPTY} == set()


def test_functions_without_a_gradient_of_an_empty_batch():
    x = mg.Tensor(np.zeros((0, 3)))
    for name in ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or"):
        assert getattr(F, name)(x, numbers(3)).shape == (0, 3)
    for name in ("logical_not", "sign", "ones_like", "zeros_like"):
        assert getattr(F, name)(x).shape == (0, 3)
    assert F.argmax(x, 1).shape == F.argmin(x, 1).shape == (0,)


@pytest.mark.host("targets are the host's")
def test_means_of_nothing():
    """As in torch: the mean is NaN, the logarithm of a sum of nothing -inf, running statistics stay."""
    x = mg.Tensor(np.zeros((0, 3)))
    with np.errstate(invalid="ignore"):
        assert np.isnan(F.mean(x).item()) and np.isnan(F.mean(x, 0).numpy()).all()
        assert np.isnan(F.cross_entropy(x, NO_CLASSES).item()) and np.isnan(F.mse_loss(x, x).item())
    assert (F.logsumexp(x, 0).numpy() == -np.inf).all() and F.logsumexp(x, (0, 1)).item() == -np.inf
    mean, variance = mg.Tensor(np.zeros(3)), mg.Tensor(np.ones(3))
    F.batch_norm(x, mean, variance, training=True)
    assert (mean.numpy() == 0).all() and (variance.numpy() == 1).all()


REDUCTIONS = {
    "sum": 1.5,
    "mean": 1.5,
    "max": 1.5,
    "min": 1.5,
    "var": 0.0,
    "logsumexp": 1.5,
    "argmax": 0,
    "argmin": 0,
    "softmax": 1.0,
    "log_softmax": 0.0,
}


@given(st.sampled_from(list(REDUCTIONS)), st.sampled_from([0, -1]), st.booleans())
def test_a_single_number_has_one_axis(name, axis, keep):
    x = mg.Tensor(np.array(1.5), requires_grad=True)
    arguments = {"logsumexp": {"keepdim": keep}, "softmax": {}, "log_softmax": {}}.get(name, {"keepdims": keep})
    y = getattr(F, name)(x, axis, **arguments)
    assert y.shape == () and y.item() == REDUCTIONS[name]
    if y.requires_grad:
        slope = 0.0 if name in ("var", "softmax", "log_softmax") else 1.0
        assert mg.grad(y, x).item() == slope


@given(st.sampled_from(list(REDUCTIONS)), st.sampled_from([1, -2, 5]))
def test_and_no_other(name, axis):
    with pytest.raises(ValueError, match=f"{name}: (axis|dim) {axis} is out of range"):
        getattr(F, name)(mg.Tensor(1.5), axis)


def test_an_axis_of_a_single_number_is_named_once():
    with pytest.raises(ValueError, match=r"sum: axis \(0, -1\) names an axis twice"):
        F.sum(mg.Tensor(1.5), (0, -1))
    assert F.sum(mg.Tensor(1.5), (0,)).item() == F.sum(mg.Tensor(1.5), ()).item() == 1.5
