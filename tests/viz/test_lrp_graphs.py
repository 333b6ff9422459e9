"""LRP through sums, gates and normalisation, in networks that are no chain."""

import numpy as np
import pytest

import minigrad as mg
import models
import viz
from minigrad import functional as F
from minigrad import nn
from minigrad.device import to_numpy

RULES = ("epsilon", "gamma", "zplus", "composite")


class Residual(nn.Module):
    """A block with a forward of its own: relu(norm(conv(relu(norm(conv(x))))) + x)."""

    def __init__(self, channels, rng, bias):
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=bias, rng=rng)
        self.bn1, self.relu = nn.BatchNorm2d(channels), nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=bias, rng=rng)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + x)


class Gated(nn.Module):
    """Squeeze and excitation (Hu et al. 2017): x times a gate for each channel."""

    def __init__(self, channels, rng, bias):
        self.squeeze = nn.Conv2d(channels, 2, 1, bias=bias, rng=rng)
        self.excite = nn.Conv2d(2, channels, 1, bias=bias, rng=rng)

    def gate(self, x):
        return F.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))

    def forward(self, x):
        return x * self.gate(x)


class Dense(nn.Module):
    """x beside what a norm, a ReLU and a convolution, in this order, make of it (Huang et al. 2016)."""

    def __init__(self, channels, rng, bias):
        self.norm, self.relu = nn.BatchNorm2d(channels), nn.ReLU()
        self.conv = nn.Conv2d(channels, 3, 3, padding=1, bias=bias, rng=rng)

    def forward(self, x):
        return F.cat([x, self.conv(self.relu(self.norm(x)))], 1)


class Whole(nn.Module):
    """A network with a forward of its own: stem, residual, gate, dense, local response norm, head."""

    def __init__(self, seed=0, bias=False):
        rng = np.random.default_rng(seed)
        self.preprocess = models.Preprocess(scale=2, mean=(0.3, 0.5, 0.7), std=(0.2, 0.5, 1.0))
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=bias, rng=rng)
        self.act1 = nn.SiLU()
        self.residual, self.gated = Residual(6, rng, bias), Gated(6, rng, bias)
        self.dense, self.lrn = Dense(6, rng, bias), nn.LocalResponseNorm(3)
        self.conv2 = nn.Conv2d(9, 6, 3, padding=1, bias=bias, rng=rng)
        self.bn2, self.act2 = nn.BatchNorm2d(6), nn.ReLU6()
        self.fc = nn.Linear(6, 4, bias=bias, rng=rng)
        state = {name: to_numpy(array).astype(np.float64) for name, array in self.state_dict().items()}
        for name, array in state.items():
            if name.endswith("running_var") or (name.rpartition(".")[0].endswith(("norm", "bn1", "bn2")) and bias):
                state[name] = rng.uniform(0.5, 1.5, array.shape)
            elif bias and name.endswith("bias"):
                state[name] = rng.normal(size=array.shape) * 0.1
        self.load_state_dict(state)

    def forward(self, x):
        x = self.act1(self.conv1(self.preprocess(x)))
        x = self.lrn(self.dense(self.gated(F.max_pool2d(self.residual(x), 2))))
        x = self.act2(self.bn2(self.conv2(x)))
        return self.fc(F.mean(x, (2, 3)))


def images(count=2, size=8):
    return np.random.default_rng(5).uniform(size=(count, 3, size, size))


# ---- conservation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_without_biases_nothing_is_lost(rule, seed):
    model, x = Whole(seed), images()
    target = model(mg.Tensor(x)).numpy().argmax(1)
    relevance = viz.lrp(model, x, target, rule=rule, epsilon=1e-14)
    lost = viz.completeness(model, x, relevance, target, baseline=None)
    np.testing.assert_allclose(lost, 0, atol=1e-6 * abs(relevance).sum((1, 2, 3)).max())
    assert abs(relevance.sum((1, 2, 3))).min() > 1e-3


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet18", "densenet121", "mobilenet_v2", "efficientnet_b0"])
def test_known_networks(name):
    """As they are before training, their biases 0: in float32, all of the score arrives."""
    model = models.build(name, seed=0).eval().requires_grad_(False)
    image = np.random.default_rng(0).random((1, 3, 96, 96), np.float32)
    relevance = viz.lrp(model, image, 3, epsilon=1e-12)
    lost = viz.completeness(model, image, relevance, 3, baseline=None)
    assert abs(lost[0]) < 1e-4 * abs(relevance).sum() > 0


def test_what_is_lost_is_what_the_biases_added():
    """With ReLU, and gates taken as constants, the epsilon rule is input times gradient, and so is a bias's share."""
    model, x = Whole(3, bias=True), images(1)
    model.act1, model.act2, model.lrn, model.preprocess = nn.ReLU(), nn.ReLU(), nn.Identity(), nn.Identity()
    relevance = viz.lrp(model, x, 1, rule="epsilon", epsilon=1e-14)
    lost = viz.completeness(model, x, relevance, 1, baseline=None)

    model.gated.gate = lambda x: Gated.gate(model.gated, x).detach()
    shifts = [
        tensor
        for name, tensor in model.named_tensors()
        if name.endswith(("bias", "running_mean")) and not name.startswith("gated")
    ]
    for tensor in shifts:
        tensor.requires_grad = True
    gradients = mg.grad(model(mg.Tensor(x))[0, 1], shifts)
    kept = sum(float((b.numpy() * g.numpy()).sum()) for b, g in zip(shifts, gradients, strict=True))
    assert abs(kept) > 1e-2
    np.testing.assert_allclose(lost, -kept, rtol=1e-7)


# ---- sums and gates --------------------------------------------------------------------------------------------------


def on_two_maps(combine, x, weights=((1.0, 2.0, 0.0), (0.0, 1.0, -1.0))):
    """LRP of combine(a, b) with a and b 1x1 convolutions of one pixel, and a, b: what each map has is seen on it."""

    class Both(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Conv2d(3, 1, 1, bias=False), nn.Conv2d(3, 1, 1, bias=False)

        def forward(self, x):
            return F.flatten(combine(self.a(x), self.b(x)), 1)

    model = Both()
    for conv, w in ((model.a, weights[0]), (model.b, weights[1])):
        conv.load_state_dict({"weight": np.array(w).reshape(1, 3, 1, 1)})
    x = np.array(x).reshape(1, 3, 1, 1)
    return viz.lrp(model, x, 0, rule="epsilon", epsilon=1e-12).ravel()


def test_a_sum_shares_by_contribution():
    """a = 2 + 2 = 4, b = 1 - 3 = -2: of the sum 2, a brings 4 and b takes 2; of the difference 6, 4 and 2."""
    np.testing.assert_allclose(on_two_maps(lambda a, b: a + b, [2.0, 1, 3]), [2, 2 + 1, -3])
    np.testing.assert_allclose(on_two_maps(lambda a, b: a - b, [2.0, 1, 3]), [2, 2 - 1, 3])


def _sigmoid(b):
    return 1 / (1 + np.exp(-b))


@pytest.mark.parametrize(
    ("combine", "score"),
    [
        (lambda a, b: a * F.sigmoid(b), 4 * _sigmoid(-2)),
        (lambda a, b: F.softmax(F.cat([b, b], 1), 1)[:, :1] * a, 2),
        (lambda a, b: a * (F.clamp(b + 3, 0, 6) / 6), 4 / 6),
        (lambda a, b: F.broadcast_to(a, (1, 1, 2, 2)).mean((2, 3), keepdims=True) * F.tanh(b), 4 * np.tanh(-2)),
        (lambda a, b: F.tanh(a) * F.sigmoid(b), np.tanh(4) * _sigmoid(-2)),
        (lambda a, b: (F.pad(a, (0, 1, 0, 0)) * b)[..., :1], -8),
        (lambda a, b: a / (b * b + 1), 4 / 5),
    ],
)
def test_the_signal_takes_all(combine, score):
    """a = 2 + 2 = 4 is the signal: all of the score lies on its two pixels, half on each."""
    np.testing.assert_allclose(on_two_maps(combine, [2.0, 1, 3]), [score / 2, score / 2, 0], rtol=1e-9)


def test_smooth_activations_pass_relevance_on():
    for smooth in (F.silu, F.gelu, F.hardswish, F.mish, F.softplus, F.relu6, lambda x: F.clamp(x, 0, 3)):
        score = smooth(mg.Tensor(np.array(4.0))).item()
        found = on_two_maps(lambda a, b, f=smooth: f(a) + b * 0.0, [2.0, 1, 3])
        np.testing.assert_allclose(found, [score / 2, score / 2, 0], rtol=1e-9)


# ---- normalisation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", (*RULES, "alphabeta"))
def test_batch_normalisation_behind_a_convolution_is_a_part_of_it(rule):
    model = models.build("minivgg", seed=0, batch_norm=True)
    rng = np.random.default_rng(1)
    model.load_state_dict(
        {n: rng.uniform(0.1, 1, a.shape) * (to_numpy(a) if a.ndim > 1 else 1) for n, a in model.state_dict().items()}
    )
    image = rng.random((1, 3, 32, 32))
    folded = viz.lrp(models.fold_batch_norm(model), image, rule=rule)
    np.testing.assert_allclose(viz.lrp(model, image, rule=rule), folded, rtol=1e-7, atol=1e-12 * abs(folded).max())


def test_batch_normalisation_elsewhere_is_a_layer_of_its_own():
    """Behind a ReLU: x * scale is its part of x * scale + shift."""
    rng = np.random.default_rng(2)
    layers = {"conv": nn.Conv2d(3, 2, 1, bias=False), "relu": nn.ReLU(), "norm": nn.BatchNorm2d(2)}
    layers |= {"flatten": nn.Flatten(), "fc": nn.Linear(2, 1, bias=False)}
    model = nn.Sequential(layers)
    model.load_state_dict({n: rng.uniform(0.5, 1, a.shape) for n, a in model.state_dict().items()})
    image = rng.random((1, 3, 1, 1))
    found = viz.lrp(model, image, 0, rule="epsilon", epsilon=1e-13).ravel()
    kept = {name: tensor.numpy() for name, tensor in model.named_tensors()}
    scale = kept["norm.weight"] / np.sqrt(kept["norm.running_var"] + 1e-5)
    by_hand = kept["fc.weight"][0] * scale @ (kept["conv.weight"][:, :, 0, 0] * image.ravel())
    np.testing.assert_allclose(found, by_hand, rtol=1e-9)


def test_local_response_normalisation_passes_relevance_on():
    layers = {"conv": nn.Conv2d(3, 4, 1, bias=False), "norm": nn.LocalResponseNorm(3, alpha=0.5)}
    layers |= {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    model, x = nn.Sequential(layers), images(1, 2)
    model["conv"].load_state_dict({"weight": np.random.default_rng(0).uniform(size=(4, 3, 1, 1))})
    found = viz.lrp(model, x, 2, rule="epsilon", epsilon=1e-12)
    normed = model.activations(mg.Tensor(x), "norm")["norm"].numpy()[0, 2] / 4
    parts = model["conv"].weight.numpy()[2] * x[0]
    np.testing.assert_allclose(found[0], parts / parts.sum(0) * normed, rtol=1e-9)


# ---- what is refused -------------------------------------------------------------------------------------------------


class Squares(nn.Module):
    def forward(self, x):
        return x * x


def test_a_function_without_a_rule_names_its_layer():
    body = nn.Sequential({"conv": nn.Conv2d(3, 4, 1), "square": Squares(), "exp": nn.Call("exp")})
    model = nn.Sequential({"body": body, "gap": nn.AdaptiveAvgPool2d(1)})
    x = np.ones((1, 3, 2, 2), np.float32)
    with pytest.raises(
        NotImplementedError, match=r"^lrp: there is no rule for Exp of these inputs in layer 'body.exp'$"
    ):
        viz.lrp(model, x, 0)
    with pytest.raises(NotImplementedError, match="neither, or both, is a gate in layer 'body.square'"):
        viz.lrp(model, x, layer="body.square")
