"""LRP through every layer of minigrad.nn: without biases all of the score arrives, or a sentence says why."""

import inspect

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import functional as F
from minigrad import nn

C = 4  # channels of the layer's input
CONTAINERS = {"Module", "Sequential", "Parallel", "Sum", "Product", "Graph"}
CALLED = {"Call", "WeightedCall"}  # a function as a layer: its own rule is tested with that function
LAYERS = {  # arguments; None: without any, which is the rule
    "AdaptiveAvgPool2d": [(3,), (1,)],
    "AdaptiveMaxPool2d": [(3,)],
    "AvgPool2d": [(2,), (3, 1, 1)],
    "BatchNorm2d": [(C,)],
    "CircularPad2d": [(1,)],
    "ConstantPad2d": [(1, 0.0)],
    "Conv2d": [(C, 6, 3, 1, 1), (C, 6, 3, 2)],
    "ConvTranspose2d": [(C, 6, 3), (C, 6, 3, 2, 1, 1), (C, 6, 2, 2, 0, 0, 2)],
    "GroupNorm": [(2, C), (1, C)],
    "InstanceNorm2d": [(C,)],
    "LayerNorm": [((C, 8, 8),)],
    "LayerNorm2d": [(C,)],
    "Linear": [(8, 6)],
    "LocalResponseNorm": [(3,)],
    "MaxPool2d": [(2,)],
    "PixelShuffle": [(2,)],
    "PReLU": [(C,)],
    "ReflectionPad2d": [(1,)],
    "ReplicationPad2d": [(2,)],
    "Upsample": [((16, 16),), (None, 2, "bilinear")],
    "ZeroPad2d": [(1,)],
}
REFUSED = {"Softmax": "there is no rule for Softmax of these inputs in layer 'layer'"}


def kinds():
    found = (name for name, one in vars(nn).items() if inspect.isclass(one) and issubclass(one, nn.Module))
    return sorted(name for name in found if name not in CONTAINERS | CALLED)


def layer(kind, arguments):
    layer, rng = getattr(nn, kind)(*arguments), np.random.default_rng(0)
    for name, tensor in layer.named_tensors():
        zero = name == "bias" or name == "running_mean"
        tensor.data = np.zeros(tensor.shape) if zero else 0.5 + abs(rng.normal(0, 0.5, tensor.shape))
        if name == "weight" and tensor.ndim > 1:
            tensor.data = rng.normal(0, 0.5, tensor.shape)
    return layer


def network(inner, side=8):
    """The layer between a convolution and a linear layer that sees every place, no biases, in float64."""
    rng = np.random.default_rng(1)
    body = {"stem": nn.Conv2d(3, C, 3, padding=1, bias=False, rng=rng), "act": nn.LeakyReLU(0.2), "layer": inner}
    for _, tensor in nn.Sequential(body).named_tensors():
        tensor.data = tensor.numpy().astype(np.float64)
    size = nn.Sequential(body)(mg.Tensor(np.zeros((1, 3, side, side)))).size
    fc = nn.Linear(size, 3, bias=False, rng=rng)
    fc.weight.data = fc.weight.numpy().astype(np.float64)
    return nn.Sequential(body | {"flatten": nn.Flatten(), "fc": fc}).eval()


@pytest.fixture
def x():
    return np.random.default_rng(2).random((2, 3, 8, 8))


def cases():
    return [(kind, arguments) for kind in kinds() for arguments in LAYERS.get(kind, [()])]


@pytest.mark.parametrize(("kind", "arguments"), cases(), ids=str)
def test_all_of_the_score_arrives_or_a_sentence_says_why(kind, arguments, x):
    model = network(layer(kind, arguments))
    if kind in REFUSED:
        with pytest.raises(NotImplementedError, match=REFUSED[kind]):
            viz.lrp(model, x, 1, rule="epsilon")
        return
    relevance = viz.lrp(model, x, 1, rule="epsilon", epsilon=1e-12)
    score = viz.attacks.scores(model, x)[:, 1]
    assert np.isfinite(relevance).all() and abs(score).min() > 1e-3
    assert abs(viz.completeness(model, x, relevance, 1, baseline=None) / score).max() < 1e-6
    for rule in ("gamma", "zplus", "alphabeta", "composite"):
        assert np.isfinite(viz.lrp(model, x, 1, rule=rule)).all()


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "zplus", "alphabeta", "flat", "wsquare"])
def test_a_transposed_convolution_is_the_convolution_that_it_is(rule, x):
    """With stride 1: of the kernels turned by 180 degrees, inputs and outputs exchanged; the bias counts alike."""
    transposed = layer("ConvTranspose2d", (C, 6, 3, 1, 1))
    transposed.bias.data = np.random.default_rng(3).normal(0, 0.3, 6)
    conv = nn.Conv2d(C, 6, 3, padding=1)
    conv.weight.data = np.ascontiguousarray(transposed.weight.numpy().transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
    conv.bias.data = transposed.bias.numpy()
    np.testing.assert_allclose(network(conv)(mg.Tensor(x)).numpy(), network(transposed)(mg.Tensor(x)).numpy())
    found, wanted = (viz.lrp(network(one), x, 1, rule=rule) for one in (transposed, conv))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12 * abs(wanted).max())


def test_a_rule_by_layer_holds_for_a_transposed_convolution(x):
    model = network(layer("ConvTranspose2d", (C, 6, 3, 2)))
    found = viz.lrp(model, x, 1, rule="epsilon", rules={"layer": "zplus"})
    assert abs(found - viz.lrp(model, x, 1, rule="epsilon")).max() > 1e-3 * abs(found).max()


@pytest.mark.parametrize(
    ("kind", "arguments", "axes"),
    [
        ("LayerNorm2d", (C,), (1,)),
        ("InstanceNorm2d", (C,), (2, 3)),
        ("GroupNorm", (1, C), (1, 2, 3)),
        ("LayerNorm", ((C, 8, 8),), (1, 2, 3)),
    ],
)
def test_a_norm_is_linear_but_for_its_deviation(kind, arguments, axes, x):
    """R_i = a_i (r_i / d_i - mean_j(r_j / d_j)) of d = a - mean(a): Ali et al. 2022, the epsilon rule of I - 11'/n."""
    model = network(layer(kind, arguments))
    names = ["act", "layer", "fc"]
    found = model.activations(mg.Tensor(x, requires_grad=True), names)
    y = found["fc"][:, 1]
    r = (mg.grad(y.sum(), found["layer"]) * found["layer"].detach()).numpy()
    a = found["act"].numpy()
    s = r / (a - a.mean(axes, keepdims=True))
    wanted = a * (s - s.mean(axes, keepdims=True))
    start = nn.Sequential({"layer": model["layer"], "flatten": nn.Flatten(), "fc": model["fc"]})
    np.testing.assert_allclose(
        viz.lrp(start, a, 1, rule="epsilon", epsilon=1e-14), wanted, rtol=1e-6, atol=1e-9 * abs(wanted).max()
    )


def test_a_softmax_within_a_product_is_a_gate(x):
    inner = nn.Product({"maps": nn.Identity(), "attention": nn.Softmax(1)})
    model = network(inner)
    relevance = viz.lrp(model, x, 1, rule="epsilon", epsilon=1e-12)
    lost = viz.completeness(model, x, relevance, 1, baseline=None)
    assert abs(lost).max() < 1e-6 * abs(F.sum(model(mg.Tensor(x))[:, 1])).item() + 1e-9
