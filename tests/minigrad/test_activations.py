"""Activations as layers: rows of one table, each with torch's name, arguments, values and derivatives."""

import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.nn.activations import ACTIVATIONS
from minigrad.tools.gradcheck import check_gradients

ARGUMENTS = {
    "LeakyReLU": {"negative_slope": 0.2},
    "ELU": {"alpha": 0.7},
    "Softplus": {"beta": 2.0, "threshold": 8.0},
    "GELU": {"approximate": "tanh"},
    "PReLU": {"num_parameters": 3, "init": 0.1},
}
X = np.random.default_rng(0).normal(0, 3, (2, 3, 4, 4))


def layers():
    """[(name, arguments)]: every activation by default, and with arguments."""
    return [(name, {}) for name in ACTIVATIONS] + list(ARGUMENTS.items())


@pytest.mark.parametrize("name, arguments", layers())
def test_a_layer_is_its_function_and_tells_its_arguments(name, arguments):
    layer = getattr(nn, name)(**arguments)
    assert layer.describe().items() >= arguments.items()
    again = type(layer)(**layer.describe())
    assert repr(again) == repr(layer) and repr(layer).startswith(f"{name}(")
    x = mg.Tensor(X.astype(np.float32))
    function = getattr(F, {"LeakyReLU": "leaky_relu"}.get(name, name.lower()))
    wanted = function(x, layer.weight) if name == "PReLU" else function(x, **arguments)
    np.testing.assert_array_equal(layer(x).numpy(), wanted.numpy())
    assert layer(x).dtype == np.float32


@pytest.mark.host("a copy is of the host's arrays")
@pytest.mark.parametrize("name, arguments", layers())
def test_a_layer_can_be_copied_and_pickled(name, arguments):
    layer = getattr(nn, name)(**arguments)
    x = mg.Tensor(X.astype(np.float32))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other(x).numpy(), layer(x).numpy())
        assert type(other) is type(layer) and other.__doc__


def test_arguments_as_torch_takes_them():
    assert nn.LeakyReLU(0.3).negative_slope == nn.LeakyReLU(negative_slope=0.3).negative_slope == 0.3
    assert nn.ReLU is nn.layers.ReLU and nn.LeakyReLU is nn.layers.LeakyReLU
    with pytest.raises(TypeError, match="slope"):
        nn.LeakyReLU(slope=0.3)
    with pytest.raises(TypeError):
        nn.ReLU(1)


@pytest.mark.host("differences are the host's")
@pytest.mark.parametrize("name, arguments", layers())
def test_first_and_second_derivatives(name, arguments):
    """By differences, away from the kinks at -3, 0, 3 and 6."""
    layer = getattr(nn, name)(**arguments)
    x = np.random.default_rng(3).normal(0, 3, (2, 3, 3))
    x[abs(x - np.round(x / 3) * 3) < 0.05] += 0.1
    x = mg.Tensor(x, requires_grad=True)
    if name == "PReLU":
        weight = mg.Tensor(layer.weight.numpy().astype(float), requires_grad=True)
        check_gradients(lambda x, w: F.prelu(x, w), [x, weight], order=2)
    else:
        check_gradients(layer, [x], order=2)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 3e-5), (np.float16, 3e-3)])
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "PReLU"])
def test_far_out_nothing_overflows(name, dtype, tolerance):
    """Values, first and second derivatives at large |x| are those of the straight lines that the function tends to."""
    x = mg.Tensor(np.array([-1e4, -100.0, 100.0, 1e4]), dtype=dtype, requires_grad=True)
    y = getattr(nn, name)()(x)
    slope = mg.grad(y.sum(), x, create_graph=True)
    left = 0.01 if name == "LeakyReLU" else 0
    right = 0 if name in ("ReLU6", "Tanh", "Sigmoid", "Hardsigmoid") else 1
    np.testing.assert_allclose(slope.numpy(), [left, left, right, right], atol=tolerance)
    if slope.requires_grad and name != "ReLU":  # whose slope is a constant
        assert abs(mg.grad(slope.sum(), x).numpy()).max() <= tolerance
    assert np.isfinite(y.numpy()).all()


@pytest.mark.torch
@pytest.mark.parametrize("name, arguments", layers())
def test_values_and_two_derivatives_are_torchs(name, arguments):
    torch = pytest.importorskip("torch")
    with np.errstate(over="ignore"):
        theirs, ours = getattr(torch.nn, name)(**arguments).double(), getattr(nn, name)(**arguments)
    points = np.concatenate([X.ravel()[:45], [-60, 60, 7]]).reshape(2, 3, 8)  # the kinks are in cases.py
    x, z = mg.Tensor(points, requires_grad=True), torch.tensor(points, requires_grad=True)
    if name == "PReLU":
        ours.weight.data = theirs.weight.detach().numpy().copy()
    y, w = ours(x), theirs(z)
    np.testing.assert_allclose(y.numpy(), w.detach().numpy(), 1e-12, 1e-14)
    g, h = mg.grad(y.sum(), x, create_graph=True), torch.autograd.grad(w.sum(), z, create_graph=True)[0]
    tolerance = 1e-7 if name in ("Hardsigmoid", "Hardswish") else 1e-10  # torch's 1/6 is float32's
    np.testing.assert_allclose(g.numpy(), h.detach().numpy(), tolerance, 1e-12)
    if name in ("ReLU", "ReLU6", "LeakyReLU", "Hardsigmoid", "PReLU"):  # 0; torch has none for Hardsigmoid
        return
    second, wanted = mg.grad((g * g).sum(), x), torch.autograd.grad((h * h).sum(), z)[0]
    np.testing.assert_allclose(second.numpy(), wanted.numpy(), 1e-7, 1e-7)  # Mish: torch has no threshold at 20
