"""Guided backpropagation and the deconvnet at whatever a network has for a ReLU, and a warning where it has none."""

import warnings

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import functional as F
from minigrad import nn

POSITIVE = {
    "relu": F.relu,
    "maximum": lambda x: F.maximum(x, 0),
    "maximum, 0 first": lambda x: F.maximum(0.0, x),
    "maximum with zeros": lambda x: F.maximum(x, F.zeros_like(x)),
    "clamp": lambda x: F.clamp(x, min=0),
    "clamp to a large number": lambda x: F.clamp(x, 0, 1e6),
    "clamp by a tensor": lambda x: F.clamp(x, min=F.zeros_like(x)),
    "where": lambda x: F.where(x > 0, x, 0),
    "where, 0 included": lambda x: F.where(x >= 0, x, 0.0),
    "where, the other way": lambda x: F.where(x < 0, 0, x),
    "where, with zeros": lambda x: F.where(x <= 0, F.zeros_like(x), x),
    "a product with the mask": lambda x: x * (x > 0),
    "the mask first": lambda x: (x > 0) * x,
}
LEAKY = {
    "leaky_relu": lambda x: F.leaky_relu(x, 0.25),
    "maximum": lambda x: F.maximum(x, 0.25 * x),
    "maximum, the other way": lambda x: F.maximum(x * 0.25, x),
    "where": lambda x: F.where(x > 0, x, x * 0.25),
    "where, the other way": lambda x: F.where(x < 0, 0.25 * x, x),
    "of two sides": lambda x: F.relu(x) - 0.25 * F.relu(-x),
    "of two sides, as a sum": lambda x: F.relu(x) + F.relu(-x) * -0.25,
}
NONE = {
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "softplus": F.softplus,
    "a steeper prelu": lambda x: F.prelu(x, mg.Tensor(np.array([1.5])).to(x.device)),
    "the smaller": lambda x: F.minimum(x, 0),
    "another threshold": lambda x: F.clamp(x, min=0.5),
    "larger than 1": lambda x: F.maximum(x, 1.0),
    "of two": lambda x: F.maximum(x, F.roll(x, 1, 1)),
    "the absolute": lambda x: F.where(x > 0, x, -x),
    "steeper below": lambda x: F.maximum(-x, -2.0 * x),
    "another condition": lambda x: F.where(F.roll(x, 1, 1) > 0, x, 0),
    "a factor": lambda x: x * 2.0,
}


class Elementwise(nn.Module):
    def __init__(self, function):
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.fixture
def network():
    """network(function): two convolutions and a linear layer with `function` behind all but the last, zeros among x."""
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal(shape) for shape in ((4, 3, 3, 3), (5, 4, 3, 3), (6, 20), (3, 6))]
    weights[0][1], weights[2][2] = 0, 0  # a channel and a unit at 0 everywhere, where the derivative is a convention

    def build(function):
        layers = {"conv1": nn.Conv2d(3, 4, 3, bias=False), "act1": Elementwise(function)}
        layers |= {"conv2": nn.Conv2d(4, 5, 3, bias=False), "act2": Elementwise(function), "flatten": nn.Flatten()}
        layers |= {"fc3": nn.Linear(20, 6, bias=False), "act3": Elementwise(function)}
        layers |= {"fc4": nn.Linear(6, 3, bias=False)}
        model = nn.Sequential(layers)
        names = [name for name in layers if name.startswith(("conv", "fc"))]
        model.load_state_dict({f"{name}.weight": w for name, w in zip(names, weights, strict=True)})
        return model

    return build


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((2, 3, 6, 6))


METHODS = {
    "guided_backprop": viz.guided_backprop,
    "only_convolutional": lambda *given: viz.guided_backprop(*given, only_convolutional=True),
    "deconvnet": viz.deconvnet,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", POSITIVE)
def test_every_spelling_of_a_relu(name, method, network, x):
    wanted = METHODS[method](network(F.relu), x, 1)
    assert abs(wanted - viz.gradient(network(F.relu), x, 1)).max() > 0.1 * abs(wanted).max()
    np.testing.assert_allclose(METHODS[method](network(POSITIVE[name]), x, 1), wanted, atol=1e-10 * abs(wanted).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LEAKY)
def test_every_spelling_of_a_leaky_relu(name, method, network, x):
    wanted = METHODS[method](network(LEAKY["leaky_relu"]), x, 1)
    assert abs(wanted - viz.gradient(network(LEAKY["leaky_relu"]), x, 1)).max() > 0.1 * abs(wanted).max()
    np.testing.assert_allclose(METHODS[method](network(LEAKY[name]), x, 1), wanted, atol=1e-10 * abs(wanted).max())


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_a_rectifier_of_what_falls_lets_nothing_pass_and_says_so(method):
    """relu(1 - relu(x)) only ever falls: its gradient is negative, for the image that has one."""
    layers = {"flatten": nn.Flatten(), "first": nn.ReLU(), "second": Elementwise(lambda y: F.relu(1 - y))}
    model = nn.Sequential(layers | {"sum": Elementwise(lambda y: y.sum(1, keepdims=True))})
    x = np.array([[0.5, 0.25, 0.75, 0.5], [0.5, 0.5, 0.5, 0.5]]).reshape(2, 1, 2, 2)
    assert viz.gradient(model, x, 0).all()
    with pytest.warns(UserWarning, match=f"{method}: the map of image 0, 1 is zero everywhere: no positive gradient"):
        assert not getattr(viz, method)(model, x, 0).any()


def test_one_empty_map_among_others_is_told():
    fc = nn.Linear(4, 2, bias=False)
    fc.load_state_dict({"weight": np.array([[1.0, 1, 1, 1], [-1, -1, -1, -1]])})
    model = nn.Sequential({"flatten": nn.Flatten(), "relu": nn.ReLU(), "fc": fc})
    with pytest.warns(UserWarning, match="guided_backprop: the map of image 1 is zero everywhere"):
        found = viz.guided_backprop(model, np.ones((2, 1, 2, 2)), [0, 1])
    assert found[0].all() and not found[1].any()


def test_a_leaky_relu_by_hand():
    """y = sum v_k leaky(x_k), x and v of either sign: guided max(v, 0) leaky'(x), deconvnet max(v, 0)."""
    fc = nn.Linear(4, 1, bias=False)
    fc.load_state_dict({"weight": np.array([[2.0, 2, -3, -3]])})
    model = nn.Sequential({"flatten": nn.Flatten(), "leaky": nn.LeakyReLU(0.1), "fc": fc})
    x = np.array([1.0, -1, 1, -1]).reshape(1, 1, 2, 2)
    assert viz.guided_backprop(model, x).ravel().tolist() == [2, 0.2, 0, 0]
    assert viz.deconvnet(model, x).ravel().tolist() == [2, 2, 0, 0]


def test_a_bounded_relu_lets_nothing_pass_above_its_bound(network, x):
    six = lambda x: F.clamp(x, 0, 6)  # noqa: E731
    guided = viz.guided_backprop(network(six), x, 1)
    assert abs(guided - viz.guided_backprop(network(F.relu), x, 1)).max() > 1e-3  # some lie above 6
    np.testing.assert_allclose(guided, viz.guided_backprop(network(lambda x: F.minimum(F.relu(x), 6)), x, 1))


SIX = {
    "relu6": F.relu6,
    "a difference": lambda x: F.relu(x) - F.relu(x - 6),
    "a sum": lambda x: F.relu(x) - F.relu(x + -6.0),
    "a difference of the rectified": lambda x: (y := F.relu(x)) - F.relu(y - 6),
    "turned round twice": lambda x: 6 - F.relu(6 - F.relu(x)),
    "turned round by signs": lambda x: 6 + -F.relu(-F.relu(x) + 6),
    "turned round by factors": lambda x: -0.5 * F.relu(F.relu(x) * -2.0 + 12.0) + 6,
    "bounded first": lambda x: F.relu(6 - F.relu(6 - x)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SIX)
def test_every_spelling_of_a_relu6(name, method, network, x):
    x = 0.05 * x  # some lie above 6, not all
    wanted = METHODS[method](network(lambda x: F.clamp(x, 0, 6)), x, 1)
    assert abs(wanted - viz.gradient(network(F.relu6), x, 1)).max() > 0.1 * abs(wanted).max()
    assert abs(viz.gradient(network(F.relu), x, 1) - viz.gradient(network(F.relu6), x, 1)).max() > 0
    np.testing.assert_allclose(METHODS[method](network(SIX[name]), x, 1), wanted, atol=1e-10 * abs(wanted).max())


@pytest.mark.parametrize("method", METHODS)
def test_a_prelu_of_one_slope_is_a_leaky_relu(method, network, x):
    wanted = METHODS[method](network(LEAKY["leaky_relu"]), x, 1)
    found = METHODS[method](network(lambda x: F.prelu(x, mg.Tensor(np.array([0.25])).to(x.device))), x, 1)
    np.testing.assert_allclose(found, wanted, atol=1e-10 * abs(wanted).max())


def test_an_elu_by_hand():
    fc = nn.Linear(4, 1, bias=False)
    fc.load_state_dict({"weight": np.array([[2.0, 2, -3, -3]])})
    model = nn.Sequential({"flatten": nn.Flatten(), "elu": nn.ELU(0.5), "fc": fc})
    x = np.array([1.0, -1, 1, -1]).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(viz.guided_backprop(model, x).ravel(), [2, np.exp(-1), 0, 0])
    assert viz.deconvnet(model, x).ravel().tolist() == [2, 2, 0, 0]


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("name", NONE)
def test_without_a_rectifier_it_is_the_plain_gradient_and_a_warning_says_so(name, method, network, x):
    model = network(NONE[name])
    with pytest.warns(UserWarning, match=rf"{method}: no rectifier .* this is the plain gradient"):
        found = getattr(viz, method)(model, x, 1)
    np.testing.assert_array_equal(found, viz.gradient(model, x, 1))


@pytest.mark.parametrize("method", ["deconvnet", "guided_backprop"])
def test_smooth_activations_beside_rectifiers_are_named(method, x):
    rng = np.random.default_rng(0)
    gate = nn.Sequential({"pool": nn.AdaptiveAvgPool2d(1), "sigmoid": nn.Sigmoid()})
    block = {
        "conv": nn.Conv2d(4, 4, 3, padding=1, rng=rng),
        "act": nn.SiLU(),
        "gate": nn.Product({"x": nn.Identity(), "g": gate}),
    }
    head = {"tanh": nn.Tanh(), "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(4, 3, rng=rng)}
    layers = {"stem": nn.Conv2d(3, 4, 3, padding=1, rng=rng), "relu": nn.ReLU(), "block": nn.Sequential(block), **head}
    with pytest.warns(UserWarning, match=rf"{method}: .* the smooth activations block.act, tanh: only rectifiers"):
        getattr(viz, method)(nn.Sequential(layers), x, 1)


def test_a_deconvnet_without_a_max_pool_shows_the_network_alone(network, x):
    model = network(F.relu)
    with pytest.warns(UserWarning, match="deconvnet: no max pool lies between"):
        found = viz.deconvnet(model, x, 1)
    with pytest.warns(UserWarning, match="hardly the image"):
        np.testing.assert_array_equal(viz.deconvnet(model, x[:, :, ::-1].copy(), 1), found)


def test_networks_with_a_rectifier_do_not_warn(network, x, small_network):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        viz.guided_backprop(network(POSITIVE["where"]), x, 1)
        viz.deconvnet(small_network(), x, 1)
        viz.guided_backprop(small_network(), x, 1)
        viz.guided_grad_cam(small_network(), x, 1)


SLOPES = {
    "leaky_relu": F.leaky_relu,
    "maximum": lambda x, slope: F.maximum(x, slope * x),
    "where": lambda x, slope: F.where(x > 0, x, slope * x),
}


@pytest.mark.parametrize("slope", [-0.5, 1.0, 1.5])
@pytest.mark.parametrize("name", SLOPES)
def test_a_slope_outside_of_0_to_1_is_no_rectifiers(name, slope, network, x):
    model = network(lambda x: SLOPES[name](x, slope))
    with pytest.warns(UserWarning, match="this is the plain gradient"):
        np.testing.assert_array_equal(viz.deconvnet(model, x, 1), viz.gradient(model, x, 1))


# ---- a mask that only happens to be x > 0 is a constant --------------------------------------------------------------

CONSTANT = {
    "a product": lambda x, mask: x * mask,
    "the mask first": lambda x, mask: mask * x,
    "a product with numbers": lambda x, mask: x * mask.astype(x.dtype),
    "where": lambda x, mask: F.where(mask, x, 0.0),
    "where, the other way": lambda x, mask: F.where(~mask, 0.0, x),
    "where, a leak": lambda x, mask: F.where(mask, x, 0.25 * x),
    "compared with others": lambda x, mask: x * (mask.astype(x.dtype) > 0),
    "compared with what is 0 here": lambda x, mask: F.where(x > 0.0 * F.sigmoid(x), x, 0.0),
}


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("name", CONSTANT)
def test_a_mask_that_agrees_by_chance_is_no_rectifier(name, method, network, x):
    def layer(a):
        mask = mg.from_numpy(np.array((a > 0).tolist(), bool)).to(a.device)  # as it is for this image
        return CONSTANT[name](a, mask)

    model = network(layer)
    with pytest.warns(UserWarning, match="this is the plain gradient"):
        found = getattr(viz, method)(model, x, 1)
    np.testing.assert_array_equal(found, viz.gradient(model, x, 1))


def _head(bias, act):
    """Three scores, whose biases say which of them are positive."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        {"conv": nn.Conv2d(3, 4, 3, rng=rng), "act": act, "flatten": nn.Flatten(), "fc": nn.Linear(64, 3, rng=rng)}
    )
    model["fc"].bias.data = mg.from_numpy(np.array(bias, np.float32)).to(model["fc"].bias.device).data
    return model


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_which_scores_are_positive_changes_nothing(method):
    """The target's may be the only one: choosing it must not be taken for a rectifier, nor depend on the batch."""
    x = np.random.default_rng(1).random((2, 3, 6, 6), np.float32)
    found = [getattr(viz, method)(_head(bias, nn.ReLU()), x, 0) for bias in ((20, -20, -20), (20, 20, 20), (-9, 0, 9))]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5, atol=1e-7)
    alone = np.concatenate([getattr(viz, method)(_head((20, -20, -20), nn.ReLU()), one[None], 0) for one in x])
    np.testing.assert_allclose(found[0], alone, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_the_warning_does_not_depend_on_which_scores_are_positive(method):
    x = np.random.default_rng(1).random((1, 3, 6, 6), np.float32)
    model = _head((20, -20, -20), nn.GELU())
    with pytest.warns(UserWarning, match="this is the plain gradient"):
        np.testing.assert_array_equal(getattr(viz, method)(model, x, 0), viz.gradient(model, x, 0))
