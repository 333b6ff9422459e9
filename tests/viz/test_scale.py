"""Scores a network gives in very small or very large numbers: the same maps up to that scale, the same images."""

import re
import warnings

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import nn
from tests.viz.every_method import arrays, network, pictures
from viz.sparse_attacks import best_pair

SCALES = [1e-25, 1e-18, 1e-10, 1e10, 1e18, 1e25]
MAPS = {  # linear in the score
    "gradient": lambda m, x: viz.gradient(m, x, 1),
    "saliency": lambda m, x: viz.saliency(m, x, 1),
    "saliency, l2": lambda m, x: viz.saliency(m, x, 1, reduce="l2"),
    "saliency, sum": lambda m, x: viz.saliency(m, x, 1, reduce="sum"),
    "saliency of a neuron": lambda m, x: viz.saliency(m, x, layer="fc", unit=1),
    "deconvnet": lambda m, x: viz.deconvnet(m, x, 1),
    "guided_backprop": lambda m, x: viz.guided_backprop(m, x, 1),
    "input_x_gradient": lambda m, x: viz.input_x_gradient(m, x, 1),
    "integrated_gradients": lambda m, x: viz.integrated_gradients(m, x, 1, steps=3),
    "smooth_grad": lambda m, x: viz.smooth_grad(m, x, 1, samples=3),
    "grad_cam": lambda m, x: viz.grad_cam(m, x, 1),
    "grad_cam, signed": lambda m, x: viz.grad_cam(m, x, 1, signed=True, counterfactual=True),
    "layer_cam": lambda m, x: viz.layer_cam(m, x, 1),
    "guided_grad_cam": lambda m, x: viz.guided_grad_cam(m, x, 1),
    "occlusion": lambda m, x: viz.occlusion(m, x, 1, patch=4, stride=4),
    "rise": lambda m, x: viz.rise(m, x, 1, samples=8, cells=3, output="logit"),
}
IMAGES = {  # which do not depend on the scale at all, and measures that divide by it
    "sensitivity": lambda m, x: viz.sensitivity(m, x, viz.saliency, 1, samples=2),
    "relative_infidelity": lambda m, x: viz.relative_infidelity(m, x, viz.gradient(m, x, 1), 1, samples=4),
    "insertion_deletion's order": lambda m, x: viz.insertion_deletion(network(), x, viz.saliency(m, x, 1), 1, steps=3),
    "localize": lambda m, x: viz.localize(viz.saliency(m, x, 1)),
    "deepfool": lambda m, x: viz.deepfool(m, x, steps=3, candidates=3),
    "deepfool, linf": lambda m, x: viz.deepfool(m, x, norm="linf", steps=3, candidates=3),
    "jsma": lambda m, x: viz.jsma(m, x, target=1, gamma=0.05, candidates=8),
    "targeted_ascent": lambda m, x: viz.targeted_ascent(m, x, target=1, confidence=1.0, steps=3),
    "universal_perturbation": lambda m, x: viz.universal_perturbation(m, x, epochs=1, steps=1, candidates=2),
    "deep_dream": lambda m, x: viz.deep_dream(m, x, viz.class_score(1), octaves=1, steps=2, jitter=2).image,
    "maximize": lambda m, x: viz.maximize(m, 1, size=(12, 12), steps=3).image,
    "maximize, lbfgs": lambda m, x: viz.maximize(m, 1, size=(12, 12), steps=3, optimizer="lbfgs").image,
    "maximize, fourier": lambda m, x: viz.maximize(m, 1, size=(12, 12), steps=3, parameterization="fourier").image,
    "invert": lambda m, x: viz.invert(m, x, "fc", steps=3).image,
}


def scaled(scale):
    """The network whose scores are `scale` times those of every_method's."""
    model = network()
    for tensor in (model["fc"].weight, model["fc"].bias):
        tensor.data = (tensor * float(scale)).data
    return model


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", MAPS)
def test_a_map_is_the_same_up_to_the_scale(name, scale):
    x = pictures()
    wanted, found = (MAPS[name](model, x).astype(np.float64) for model in (network(), scaled(scale)))
    largest = [abs(a).max(tuple(range(1, a.ndim)), keepdims=True) for a in (wanted, found)]
    assert (largest[0] > 0).all() and (largest[1] > 0).all() and np.isfinite(found).all()
    np.testing.assert_allclose(found / largest[1], wanted / largest[0], atol=1e-4)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", IMAGES)
def test_images_and_measures_do_not_depend_on_the_scale(name, scale):
    x = pictures()
    wanted, found = (arrays(IMAGES[name](model, x)) for model in (network(), scaled(scale)))
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-3)


@pytest.mark.parametrize("scale", [1e-25, 1e-10, 1.0, 1e10, 1e25])
def test_relevance_with_an_epsilon_of_the_scores_size(scale):
    x, epsilon = pictures(), {"epsilon": 1e-35}
    wanted, found = (viz.lrp(model, x, 1, **epsilon) for model in (network(), scaled(scale)))
    np.testing.assert_allclose(found / abs(found).max(), wanted / abs(wanted).max(), atol=1e-4)


def test_an_epsilon_that_keeps_the_relevance_is_warned_of():
    with pytest.warns(
        UserWarning,
        match="lrp: the outputs in layer 'fc' are as small as 1.*, of whose relevance epsilon, 1e-06, keeps up to 99%",
    ):
        viz.lrp(scaled(1e-8), pictures(), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        viz.lrp(network(), pictures(), 1)
        viz.lrp(scaled(1e-8), pictures(), 1, epsilon=1e-15)


EXPLAINED = {  # class 1, alone and beside others, whose scores are larger
    "a class": {"target": 1},
    "a class for each image": {"target": [0, 1]},
    "a unit": {"layer": "fc", "unit": 1},
    "a function": {"target": lambda y: y[:, 1]},
}


@pytest.mark.parametrize("scale", [1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-25])
@pytest.mark.parametrize("name", EXPLAINED)
def test_more_than_a_hundredth_kept_is_warned_of_and_mended_by_what_is_said(name, scale):
    """Where one class alone has small scores; what is kept is measured."""
    model, x, given = network(), pictures(), EXPLAINED[name]
    for tensor in (model["fc"].weight, model["fc"].bias):
        factor = np.ones((4, *(1,) * (tensor.ndim - 1)), tensor.dtype)
        factor[1] = scale
        tensor.data = (tensor * mg.from_numpy(factor).to(tensor.device)).data

    def relevance(epsilon):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = viz.lrp(model, x, **given, rule="epsilon", epsilon=epsilon).astype(np.float64)
        return found.sum((1, 2, 3)), [str(one.message) for one in caught]

    whole, _ = relevance(1e-35)
    left, said = relevance(1e-6)
    kept = (1 - left / whole).max()
    assert bool(said) == (kept > 0.01), (kept, said)
    if said:
        assert float(re.search("keeps up to ([0-9]+)%", said[0])[1]) / 100 == pytest.approx(kept, abs=0.01)
        left, said = relevance(float(said[0].split("make epsilon less than ")[1]))
        assert not said and (1 - left / whole).max() < 0.01


INSIDE = {  # what lies between two convolutions, and the layers whose outputs are as small as the first's
    "nothing": (nn.Identity, ("conv1",)),
    "a pool": (lambda: nn.AvgPool2d(2), ("conv1", "inside")),
    "a sum": (
        lambda: nn.Sum({"left": nn.Identity(), "right": nn.AvgPool2d(3, 1, 1)}),
        ("conv1", "inside", "inside.right"),
    ),
    "a norm": (lambda: nn.Sequential({"relu": nn.ReLU(), "norm": nn.BatchNorm2d(8)}), ("conv1", "inside.norm")),
}


@pytest.mark.parametrize("rule", ["epsilon", "zplus", "gamma", "composite"])
@pytest.mark.parametrize("inside", INSIDE)
def test_small_numbers_inside_behind_a_normal_score_are_warned_of(inside, rule):
    """Hidden outputs of 1e-6, the weights behind them times 1e6: the same scores."""
    make, names = INSIDE[inside]

    def network(scale):
        rng = np.random.default_rng(0)
        layers = {"conv1": nn.Conv2d(3, 8, 3, rng=rng, bias=False), "relu1": nn.ReLU(), "inside": make()}
        layers |= {"conv2": nn.Conv2d(8, 8, 3, rng=rng, bias=False), "relu2": nn.ReLU(), "gap": nn.AdaptiveAvgPool2d(1)}
        model = nn.Sequential(layers | {"flatten": nn.Flatten(), "fc": nn.Linear(8, 4, rng=rng)}).eval()
        for name, factor in (("conv1", scale), ("conv2", 1 / scale)):
            model[name].weight.data = (model[name].weight * factor).data
        return model

    def relevance(scale, **epsilon):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            return viz.lrp(network(scale), pictures(), 1, rule=rule, **epsilon), [str(one.message) for one in caught]

    whole, said = relevance(1.0)
    assert not said
    lost, (said,) = relevance(1e-6)
    assert abs(lost - whole).sum() > 0.1 * abs(whole).sum()
    assert any(f"in layer {name!r}" in said for name in names)
    found, said = relevance(1e-6, epsilon=float(said.split("make epsilon less than ")[1]))
    assert not said
    assert abs(found - whole).sum() < 0.05 * abs(whole).sum()


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1.0, 1e22, 1e30])
def test_the_best_pair_of_any_scale(scale):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(40).astype(np.float32) for _ in range(2))
    for candidates in (8, 40):
        wanted = best_pair(a, b, np.full(40, True), 1, candidates)
        found = best_pair(a * np.float32(scale), b, np.full(40, True), 1, candidates)
        assert list(found) == list(wanted)


def test_a_dream_of_what_is_silent_says_so():
    model = network()
    model["conv2"].weight.data = (model["conv2"].weight * 0.0).data
    model["conv2"].bias.data = (model["conv2"].bias * 0.0 - 1.0).data
    with pytest.warns(UserWarning, match="the gradient is 0 all over the first image, so nothing moves"):
        viz.deep_dream(model, pictures(), "relu2", octaves=1, steps=1)
