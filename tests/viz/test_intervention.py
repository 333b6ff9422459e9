"""Channels switched off: closed forms, any wiring, and an original that stays as it is."""

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import functional as F
from minigrad import nn


class Residual(nn.Module):
    """A forward of its own, with a layer inside a container that runs twice."""

    def __init__(self, rng):
        self.stem = nn.Sequential({"conv": nn.Conv2d(3, 4, 3, padding=1, rng=rng), "relu": nn.ReLU()})
        self.block = nn.Sequential({"conv": nn.Conv2d(4, 4, 3, padding=1, rng=rng)})
        self.fc = nn.Linear(4, 3, rng=rng)
        self.load_state_dict({name: t.numpy().astype(np.float64) for name, t in self.named_tensors()})

    def forward(self, x):
        x = self.stem(x)
        for _ in range(2):
            x = F.relu(x + self.block(x))
        return self.fc(x.mean((2, 3)))


class Moves(nn.Module):
    """Channels 1 and 2 become channels 0 and 1; channel 2 is silent."""

    def forward(self, x):
        return F.cat([x[:, 1:], 0 * x[:, :1]], 1)


class MovesTwice(nn.Module):
    def __init__(self):
        self.moves = Moves()

    def forward(self, x):
        return self.moves(self.moves(x)).mean((2, 3))


@pytest.mark.parametrize("value, passes", [(0.0, 2), (0.5, 3)])
def test_channels_that_say_the_value_in_every_run_take_no_pass(value, passes, images, monkeypatch):
    """Channel 0 speaks in the second run only, channel 1 in the first, channel 2 in none."""
    model, x, seen = MovesTwice(), images(2, shape=(3, 6, 6)), []
    x[:, 1] = 0
    expected = [viz.switch_off(model, x, "moves", channel, 0, value) for channel in range(3)]
    watched = viz.intervention.watched
    monkeypatch.setattr(viz.intervention, "watched", lambda *given: seen.append(1) or watched(*given))
    effects = viz.channel_effects(model, x, "moves", 0, value)
    np.testing.assert_array_equal(effects, np.stack(expected, 1))
    assert effects.any(0)[:2].all() and len(seen) == 1 + passes


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_on_a_linear_network_the_fall_is_the_channels_term(value, linear_model, images):
    """y = w.x + b of the outputs of the flatten: switched off, term k becomes w_k * value."""
    weight = np.random.default_rng(3).standard_normal((2, 90))
    model, x = linear_model(weight, np.array([1.0, 2.0])), images(3)
    flat = x.reshape(3, -1)
    fall = viz.switch_off(model, x, "flatten", [4, 17], target=1, value=value)
    np.testing.assert_allclose(fall, (weight[1, [4, 17]] * (flat[:, [4, 17]] - value)).sum(1))
    effects = viz.channel_effects(model, x, "flatten", target=[1, 0, 1], value=value)
    np.testing.assert_allclose(effects, weight[[1, 0, 1]] * (flat - value), atol=1e-12)
    each = viz.switch_off(model, x, "flatten", [4, 17], target=1, value=[value, 2.0])
    np.testing.assert_allclose(each, weight[1, 4] * (flat[:, 4] - value) + weight[1, 17] * (flat[:, 17] - 2.0))


def test_any_wiring_and_every_run_of_a_layer(images):
    model, x = Residual(np.random.default_rng(0)), images(2, shape=(3, 6, 6))
    before, names = model(mg.Tensor(x)).numpy(), model.names()
    changed = viz.switched_off(model, "block.conv", 2)
    seen = changed.block["conv"](mg.Tensor(np.ones((1, 4, 5, 5)))).numpy()
    assert not seen[:, 2].any() and seen[:, [0, 1, 3]].any((0, 2, 3)).all()

    stem = model.stem(mg.Tensor(x))
    mask = np.array([1.0, 1, 0, 1]).reshape(1, 4, 1, 1)
    y = stem
    for _ in range(2):
        y = F.relu(y + model.block(y) * mg.Tensor(mask))
    expected = model.fc(y.mean((2, 3))).numpy()
    np.testing.assert_allclose(changed(mg.Tensor(x)).numpy(), expected)
    np.testing.assert_array_equal(model(mg.Tensor(x)).numpy(), before)
    assert model.names() == names and changed.fc is model.fc
    fall = viz.switch_off(model, x, "block.conv", 2, target=0)
    np.testing.assert_allclose(fall, (before - expected)[:, 0], atol=1e-12)


def test_a_graph_and_a_frozen_chain(small_network, images):
    """What kernels keep of a frozen network is not taken for the changed one's."""
    x = images(2, shape=(3, 8, 8))
    model = small_network(dtype=np.float32).requires_grad_(False)
    names = list(model)
    graph = nn.Graph({name: (model[name], before) for before, name in zip(["input", *names], names, strict=False)})
    for network in (model, graph):
        for _ in range(2):
            before = network(mg.Tensor(x.astype(np.float32))).numpy()
            changed = viz.switched_off(network, "conv1", [0, 5])
            found = changed.activations(mg.Tensor(x.astype(np.float32)), "relu1")["relu1"].numpy()
            assert not found[:, [0, 5]].any() and found[:, 1:5].any()
            np.testing.assert_array_equal(network(mg.Tensor(x.astype(np.float32))).numpy(), before)
            assert abs(changed(mg.Tensor(x.astype(np.float32))).numpy() - before).max() > 1e-3


def test_the_changed_network_is_one_like_any_other(small_network, images):
    model, x = small_network(), images(2, shape=(3, 8, 8))
    changed = viz.switched_off(model, "relu2", 3)
    assert not viz.gradient(changed, x, layer="relu2", unit=3).any()
    assert viz.channel_relevance(changed, x, 1, "relu2")[:, 3].any() == 0
    held = viz.channel_relevance(model, x, 1, "relu2", rule="epsilon", epsilon=1e-12)
    np.testing.assert_allclose(held, viz.channel_effects(model, x, "relu2", 1), atol=1e-9)  # what follows is linear


def test_the_top_class_is_that_of_the_whole_network(small_network, images):
    model, x = small_network(), images(4, shape=(3, 8, 8))
    top = viz.attacks.scores(model, x).argmax(1)
    np.testing.assert_array_equal(
        viz.switch_off(model, x, "relu2", [0, 1, 2]), viz.switch_off(model, x, "relu2", [0, 1, 2], top)
    )


@pytest.mark.parametrize(
    "layer, channels, value, sentence",
    [
        ("conv9", 0, 0.0, "there is no layer 'conv9'"),
        ("conv1", 6, 0.0, r"switch_off: layer 'conv1' has channels 0 to 5, got \[6\]"),
        ("conv1", [1.5], 0.0, "has channels 0 to 5, got"),
        ("conv1", [0, 1], [1.0], "switch_off: 1 values for 2 channels: give one, or one for each"),
    ],
)
def test_what_is_not_there_is_refused(layer, channels, value, sentence, small_network, images):
    with pytest.raises(ValueError, match=sentence):
        viz.switch_off(small_network(), images(1), layer, channels, 0, value)
