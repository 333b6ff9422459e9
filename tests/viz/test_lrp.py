"""LRP: by hand, against captum, against each rule in plain loops, and conservation through every kind of layer."""

import numpy as np
import pytest

import minigrad as mg
import models
import viz
from minigrad import nn
from tests.viz.reference_networks import reference

RULES = ("epsilon", "gamma", "zplus", "alphabeta", "composite")


def one_layer(w, bias=None):
    """Scores w @ x + bias of images (N,3,1,1)."""
    fc = nn.Linear(3, len(w), bias=bias is not None)
    fc.load_state_dict({"weight": w} if bias is None else {"weight": w, "bias": bias})
    return nn.Sequential({"flatten": nn.Flatten(), "fc": fc})


# ---- values ----------------------------------------------------------------------------------------------------------


def test_two_layers_by_hand():
    """x (2, 1, 3); hidden 2*1 + 1*2 = 4 and 1*1 + 3*1 = 4; y = 3*4 - 1*4 = 8, with the second unit worth -4."""
    layers = {"flatten": nn.Flatten(), "fc1": nn.Linear(3, 2, bias=False), "relu": nn.ReLU()}
    model = nn.Sequential({**layers, "fc2": nn.Linear(2, 1, bias=False)})
    state = {"fc1.weight": np.array([[1.0, 2, 0], [0, 1, 1]]), "fc2.weight": np.array([[3.0, -1]])}
    model.load_state_dict(state)
    image = np.array([2.0, 1, 3]).reshape(1, 3, 1, 1)
    found = {rule: viz.lrp(model, image, 0, rule=rule, epsilon=1e-12).ravel() for rule in RULES}
    np.testing.assert_allclose(found["epsilon"], [12 * 2 / 4, 12 * 2 / 4 - 4 * 1 / 4, -4 * 3 / 4])
    np.testing.assert_allclose(found["zplus"], [4, 4, 0])  # all 8 to the first unit
    # 2*8 to the first, -8 to the second; below, where nothing is negative, twice the positive shares of these
    np.testing.assert_allclose(found["alphabeta"], [2 * 8, 2 * (8 - 8 / 4), 2 * (-8 * 3 / 4)])
    first, second = 8 * 12 * 1.25 / (12 * 1.25 - 4), 8 * -4 / (12 * 1.25 - 4)
    np.testing.assert_allclose(found["gamma"], [first / 2, first / 2 + second / 4, second * 3 / 4])
    np.testing.assert_allclose(found["composite"], found["epsilon"])


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "zplus"])
def test_captum(rule):
    """On the network without its biases, which captum's rules treat in another way."""
    model, image, target, found = reference("vgg")
    model.load_state_dict({name: tensor.numpy() * name.endswith("weight") for name, tensor in model.named_tensors()})
    ours = viz.lrp(model, image, target, rule=rule, epsilon=1e-9)
    np.testing.assert_allclose(ours, found[f"lrp_{rule}"], rtol=1e-5, atol=1e-7)
    assert abs(ours).max() > 1e-2


@pytest.mark.filterwarnings("ignore:lrp. the outputs in layer 'fc' are as small")  # the epsilon is large, to be seen
@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alphabeta"])
def test_one_layer_in_plain_loops(rule):
    """With inputs of both signs, and a bias that takes part in every sum but is given nothing."""
    rng = np.random.default_rng(3)
    w, b, image = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(5, 3, 1, 1))
    target, eps, gamma, alpha = [0, 1, 2, 3, 1], 0.01, 0.4, 1.7
    ours = viz.lrp(one_layer(w, b), image, target, rule=rule, epsilon=eps, gamma=gamma, alpha=alpha)

    def away(z):
        return z + (eps if z >= 0 else -eps)

    assert set(np.sign((image[:, :, 0, 0] @ w.T + b)[range(5), target])) == {-1, 1}
    for n, c in enumerate(target):
        parts = [*(image[n, i, 0, 0] * w[c, i] for i in range(3)), b[c]]
        r, plus, minus = sum(parts), sum(max(p, 0) for p in parts), sum(min(p, 0) for p in parts)
        own = max if r > 0 else min  # the output's own sign
        for i in range(3):
            expected = {
                "epsilon": parts[i] / away(r) * r,
                "gamma": (parts[i] + gamma * own(parts[i], 0)) / away(r + gamma * (plus if r > 0 else minus)) * r,
                "alphabeta": (alpha * max(parts[i], 0) / away(plus) - (alpha - 1) * min(parts[i], 0) / away(minus)) * r,
            }[rule]
            np.testing.assert_allclose(ours[n, i, 0, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("rule, weigh", [("flat", np.ones_like), ("wsquare", np.square)])
def test_flat_and_w_square_look_at_no_input(rule, weigh):
    rng = np.random.default_rng(3)
    w, b, image = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(2, 3, 1, 1))
    ours = viz.lrp(one_layer(w, b), image, [1, 3], rule=rule, epsilon=1e-12)
    for n, c in enumerate((1, 3)):
        score = w[c] @ image[n].ravel() + b[c]
        np.testing.assert_allclose(ours[n].ravel(), weigh(w[c]) / weigh(w[c]).sum() * score, rtol=1e-9)


def test_box_rule_in_plain_loops():
    """A 1x1 convolution of preprocessed pixels, whose bounds are those of black and of white."""
    preprocess = models.Preprocess(scale=255, mean=(104, 117, 123), channel_order="BGR")
    conv = nn.Conv2d(3, 2, 1)
    rng = np.random.default_rng(0)
    conv.load_state_dict({"weight": rng.normal(size=(2, 3, 1, 1)), "bias": rng.normal(size=2)})
    layers = {"preprocess": preprocess, "conv": conv, "gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    image = rng.uniform(size=(1, 3, 1, 1))
    low, high = -np.array([104.0, 117, 123]), 255 - np.array([104.0, 117, 123])
    x, w, b = image[0, ::-1, 0, 0] * 255 + low, conv.weight.numpy()[1, :, 0, 0], conv.bias.numpy()[1]
    parts = x * w - low * np.maximum(w, 0) - high * np.minimum(w, 0)
    expected = (parts / parts.sum() * (x @ w + b))[::-1]  # back to RGB
    ours = viz.lrp(nn.Sequential(layers), image, 1, epsilon=1e-12)
    np.testing.assert_allclose(ours.ravel(), expected, rtol=1e-9)


def test_composite_is_box_then_gamma_then_epsilon():
    """Two 1x1 convolutions and a linear layer on one pixel, which are three matrices."""
    rng = np.random.default_rng(4)
    weights = [rng.normal(size=shape) for shape in ((4, 3), (5, 4), (2, 5))]
    layers = {"conv1": nn.Conv2d(3, 4, 1, bias=False), "relu1": nn.ReLU(), "conv2": nn.Conv2d(4, 5, 1, bias=False)}
    layers |= {"relu2": nn.ReLU(), "flatten": nn.Flatten(), "fc": nn.Linear(5, 2, bias=False)}
    model = nn.Sequential(layers)
    names = ("conv1.weight", "conv2.weight", "fc.weight")
    shapes = ((4, 3, 1, 1), (5, 4, 1, 1), (2, 5))
    model.load_state_dict({n: w.reshape(shape) for n, w, shape in zip(names, weights, shapes, strict=True)})

    w1, w2, w3 = weights
    x = rng.uniform(size=3)
    a1 = np.maximum(w1 @ x, 0)
    a2 = np.maximum(w2 @ a1, 0)
    r2 = a2 * w3[1]  # epsilon: each input's own part of the score
    parts = w2 * a1  # (5,4): what each input of conv2 contributes to each output
    favoured = parts + 0.3 * np.maximum(parts, 0)
    alive = a2 > 0
    r1 = (favoured[alive] / favoured[alive].sum(1, keepdims=True) * r2[alive, None]).sum(0)
    boxed = w1 * x - np.minimum(w1, 0)  # low 0, high 1
    alive = a1 > 0
    r0 = (boxed[alive] / boxed[alive].sum(1, keepdims=True) * r1[alive, None]).sum(0)
    found = viz.lrp(model, x.reshape(1, 3, 1, 1), 1, gamma=0.3, epsilon=1e-12)
    np.testing.assert_allclose(found.ravel(), r0, rtol=1e-9)
    others = {viz.lrp(model, x.reshape(1, 3, 1, 1), 1, rule=rule, gamma=0.3).tobytes() for rule in RULES}
    assert len(others) == len(RULES)


# ---- conservation ----------------------------------------------------------------------------------------------------


def everything(rng):
    """Every kind of layer that relevance goes through, without biases."""

    def conv(*args, **kwargs):
        return nn.Conv2d(*args, bias=False, rng=rng, **kwargs)

    branches = {"1x1": conv(6, 4, 1), "3x3": nn.Sequential({"conv": conv(6, 4, 3, padding=1), "relu": nn.ReLU()})}
    layers = {
        "preprocess": models.Preprocess(scale=2, mean=(0.3, 0.5, 0.7), std=(0.2, 0.5, 1.0), channel_order="BGR"),
        "conv1": conv(3, 6, 3, stride=2, padding=1),
        "relu1": nn.LeakyReLU(0.1),
        "pool1": nn.MaxPool2d(3, 2, ceil_mode=True),
        "both": nn.Parallel(branches),
        "relu2": nn.ReLU(),
        "pool2": nn.AvgPool2d(3, 2, padding=1),
        "drop": nn.Dropout(),
        "conv3": conv(8, 6, 3, padding=1, groups=2),
        "relu3": nn.ReLU(),
        "odd": nn.AdaptiveAvgPool2d(2),
        "flatten": nn.Flatten(),
        "fc4": nn.Linear(24, 6, bias=False, rng=rng),
        "relu4": nn.ReLU(),
        "fc5": nn.Linear(6, 3, bias=False, rng=rng),
    }
    model = nn.Sequential(layers)
    model.load_state_dict({name: tensor.numpy().astype(np.float64) for name, tensor in model.named_tensors()})
    return model


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "zplus", "composite"])
def test_relevance_is_conserved(rule):
    model = everything(np.random.default_rng(4))
    image = np.random.default_rng(5).uniform(size=(3, 3, 20, 20))
    assert model.activations(mg.Tensor(image), "pool2")["pool2"].shape[2:] == (3, 3)  # pooling to 2: no whole windows
    y = model(mg.Tensor(image)).numpy()
    target = y.argmax(1)
    assert (y.max(1) > 0).all()
    ours = viz.lrp(model, image, target, rule=rule, epsilon=1e-12)
    np.testing.assert_allclose(ours.sum((1, 2, 3)), y.max(1), rtol=1e-7)
    np.testing.assert_allclose(viz.completeness(model, image, ours, target, baseline=None), 0, atol=1e-7)


def test_the_best_of_a_group_of_classes_takes_its_relevance():
    model = everything(np.random.default_rng(4))
    image = np.random.default_rng(5).uniform(size=(2, 3, 20, 20))
    grouped = viz.regroup(model, [[0, 2], [1]])
    best = np.array([0, 2])[model(mg.Tensor(image)).numpy()[:, [0, 2]].argmax(1)]
    np.testing.assert_allclose(viz.lrp(grouped, image, 0), viz.lrp(model, image, best), atol=1e-12)


def test_biases_keep_their_share():
    w, b = np.array([[1.0, 2, 3]]), np.array([6.0])
    relevance = viz.lrp(one_layer(w, b), np.ones((1, 3, 1, 1)), 0, rule="epsilon", epsilon=1e-12)
    np.testing.assert_allclose(relevance.ravel(), [1, 2, 3])  # of a score of 12


def test_a_max_pool_hands_everything_to_the_winner():
    conv = nn.Conv2d(3, 1, 1, bias=False)
    conv.weight.data = np.ones((1, 3, 1, 1))
    model = nn.Sequential({"conv": conv, "pool": nn.MaxPool2d(2), "gap": nn.AdaptiveAvgPool2d(1)})
    image = np.random.default_rng(0).uniform(size=(1, 3, 4, 4))
    ours = viz.lrp(model, image, 0, rule="epsilon", epsilon=1e-12)[0]
    sums = image[0].sum(0)
    for i, j in np.ndindex(2, 2):
        window = sums[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        expected = image[0, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] * (window == window.max()) / 4
        np.testing.assert_allclose(ours[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2], expected, rtol=1e-9)


# ---- rules by layer, and through one channel -------------------------------------------------------------------------


def lively():
    model = everything(np.random.default_rng(4))
    return model, np.random.default_rng(5).uniform(size=(2, 3, 20, 20))


def test_composites_are_rules_by_layer():
    model, image = lively()
    convolutions = dict.fromkeys(("conv1", "both", "conv3"), "zplus")
    plus = viz.lrp(model, image, 1, rule="epsilon_plus")
    np.testing.assert_allclose(viz.lrp(model, image, 1, rule="epsilon", rules=convolutions), plus, atol=1e-12)
    flat = viz.lrp(model, image, 1, rule="epsilon_plus", rules={"conv1": "flat"})
    np.testing.assert_allclose(viz.lrp(model, image, 1, rule="epsilon_plus_flat"), flat, atol=1e-12)
    linear = {"fc4": "epsilon", "fc5": "epsilon", "conv1": "flat"}
    both = viz.lrp(model, image, 1, rule="alphabeta", rules=linear)
    np.testing.assert_allclose(viz.lrp(model, image, 1, rule="epsilon_alpha2_beta1_flat"), both, atol=1e-12)
    boxed = viz.lrp(model, image, 1, rule="gamma", rules=linear | {"conv1": "box"})
    np.testing.assert_allclose(viz.lrp(model, image, 1), boxed, atol=1e-12)
    assert abs(plus - flat).max() > 1e-3 < abs(both - boxed).max()


def test_the_rule_of_an_inner_layer_comes_before_that_of_what_holds_it():
    model, image = lively()
    names = {"both.1x1": "gamma", "both.3x3.conv": "zplus"}
    mixed = viz.lrp(model, image, 1, rule="epsilon", rules=names)
    np.testing.assert_allclose(viz.lrp(model, image, 1, rule="epsilon", rules=names | {"both": "flat"}), mixed)
    outer = viz.lrp(model, image, 1, rule="epsilon", rules={"both": "zplus"})
    assert abs(mixed - outer).max() > 1e-3


def test_channels_share_the_relevance_out():
    model, image = lively()
    whole = viz.lrp(model, image, 1)
    for layer, count in (("relu1", 6), ("both", 8), ("fc4", 6)):
        parts = [viz.lrp(model, image, 1, through=(layer, c)) for c in range(count)]
        np.testing.assert_allclose(sum(parts), whole, atol=1e-9)
        several = viz.lrp(model, image, 1, through=(layer, [0, 2]))
        np.testing.assert_allclose(several, parts[0] + parts[2], atol=1e-12)
        held = viz.channel_relevance(model, image, 1, layer)
        assert held.shape == (2, count)
        np.testing.assert_allclose(held, np.stack([p.sum((1, 2, 3)) for p in parts], 1), atol=1e-5)  # no biases here


def test_a_channel_beside_a_skip_connection_holds_its_share_alone():
    """y = w.(a + x) of one pixel, a = v x: each channel of a has w_k a_k."""

    class Block(nn.Module):
        def __init__(self):
            self.conv, self.fc = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 2, bias=False)

        def forward(self, x):
            return self.fc((self.conv(x) + x).reshape(-1, 3))

    rng, model = np.random.default_rng(2), Block()
    v, w, x = rng.uniform(size=(3, 3)), rng.uniform(size=(2, 3)), rng.uniform(size=3)
    model.load_state_dict({"conv.weight": v.reshape(3, 3, 1, 1), "fc.weight": w})
    image, exact = x.reshape(1, 3, 1, 1), {"rule": "epsilon", "epsilon": 1e-12}
    held = viz.channel_relevance(model, image, 1, "conv", **exact)
    np.testing.assert_allclose(held[0], w[1] * (v @ x))
    part = viz.lrp(model, image, 1, through=("conv", 2), **exact)
    np.testing.assert_allclose(part.ravel(), w[1, 2] * v[2] * x)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"rules": {"conv9": "flat"}}, "no convolution or linear layer that leads to the score is in 'conv9'"),
        ({"rules": {"relu1": "flat"}}, "no convolution or linear layer that leads to the score is in 'relu1'"),
        ({"rules": {"conv3": "box"}}, "box is for the first layer with weights alone, 'conv3' is not"),
        ({"rules": {"conv3": "delta"}}, "of layer 'conv3' must be one of epsilon, .*box, got 'delta'"),
        ({"rule": "epsilon_alpha2_beta1", "alpha": 3.0}, "epsilon_alpha2_beta1 has alpha 2, got 3.0"),
        ({"through": ("relu1", 6)}, r"through: layer 'relu1' has channels 0 to 5, got \[6\]"),
        ({"through": ("relu1", [])}, "has channels 0 to 5, got"),
        (
            {"layer": "relu1", "target": None, "through": ("relu2", 0)},
            "layer 'relu2' does not lead to what is explained",
        ),
    ],
)
def test_rules_and_channels_that_are_not_there(options, sentence):
    model, image = lively()
    with pytest.raises(ValueError, match="^lrp: .*" + sentence):
        viz.lrp(model, image, **{"target": 1} | options)


# ---- what is explained, and what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_an_image_in_a_batch_is_explained_as_if_alone(rule):
    model, image, target, _ = reference("squeezenet")
    alone = [viz.lrp(model, image[i : i + 1], target[i], rule=rule) for i in range(2)]
    np.testing.assert_allclose(viz.lrp(model, image, target, rule=rule), np.concatenate(alone), rtol=1e-9, atol=1e-15)


def test_a_neuron_or_channel_can_be_explained():
    model = everything(np.random.default_rng(4))
    image = np.random.default_rng(5).uniform(size=(2, 3, 20, 20))
    a = model.activations(mg.Tensor(image), "relu2")["relu2"].numpy()
    one = viz.lrp(model, image, layer="relu2", unit=(1, 2, 2), rule="epsilon", epsilon=1e-12)
    all_of_it = viz.lrp(model, image, layer="relu2", unit=1, rule="epsilon", epsilon=1e-12)
    np.testing.assert_allclose(one.sum((1, 2, 3)), a[:, 1, 2, 2], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(all_of_it.sum((1, 2, 3)), a[:, 1].mean((1, 2)), rtol=1e-7)


@pytest.mark.parametrize("arguments", [{"rule": "delta"}, {"epsilon": 0}, {"alpha": 0.5}, {"gamma": -1}])
def test_mistakes_are_named(arguments):
    with pytest.raises(ValueError, match="^lrp: "):
        viz.lrp(one_layer(np.ones((1, 3))), np.ones((1, 3, 1, 1)), 0, **arguments)
