"""Networks that give no class scores, and targets that are none: objectives, and functions of the output."""

import re

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import functional as F
from minigrad import nn
from tests.viz.every_method import arrays, network, pictures

pytestmark = pytest.mark.filterwarnings("ignore:.*the map of image . is zero everywhere")
HEAD = ("gap", "flatten", "fc")
METHODS = {
    "gradient": viz.gradient,
    "saliency": viz.saliency,
    "deconvnet": viz.deconvnet,
    "guided_backprop": viz.guided_backprop,
    "input_x_gradient": viz.input_x_gradient,
    "integrated_gradients": lambda *a: viz.integrated_gradients(*a, steps=3),
    "smooth_grad": lambda *a: viz.smooth_grad(*a, samples=3),
    "grad_cam": viz.grad_cam,
    "grad_cam at a layer": lambda *a: viz.grad_cam(*a, layer="relu1"),
    "grad_cam, counterfactual": lambda *a: viz.grad_cam(*a, counterfactual=True),
    "grad_cam_plus_plus": viz.grad_cam_plus_plus,
    "layer_cam": viz.layer_cam,
    "eigen_cam": viz.eigen_cam,
    "hires_cam": viz.hires_cam,
    "xgrad_cam": viz.xgrad_cam,
    "guided_grad_cam": viz.guided_grad_cam,
    "score_cam": viz.score_cam,
    "occlusion": lambda *a: viz.occlusion(*a, patch=4, stride=4),
    "rise": lambda *a: viz.rise(*a, samples=8, cells=3, output="logit"),
    "lrp": viz.lrp,
    "channel_relevance": lambda *a: viz.channel_relevance(*a, layer="relu1"),
    "channel_effects": lambda model, x, t: viz.channel_effects(model, x, "relu2", t),
    "lrp, epsilon": lambda *a: viz.lrp(*a, rule="epsilon"),
    "completeness": lambda model, x, t: viz.completeness(model, x, viz.input_x_gradient(model, x, t), t),
    "sensitivity": lambda model, x, t: viz.sensitivity(model, x, viz.saliency, t, samples=2),
    "infidelity": lambda model, x, t: viz.infidelity(model, x, viz.gradient(model, x, t), t, samples=3),
    "relative_infidelity": lambda model, x, t: viz.relative_infidelity(
        model, x, viz.gradient(model, x, t), t, samples=3
    ),
    "model_randomization": lambda model, x, t: viz.model_randomization(model, x, viz.saliency, t),
}


class Heads(nn.Module):
    """The layers of a chain, with a forward that gives what `outputs` makes of the maps and the scores."""

    def __init__(self, chain, outputs):
        for name, layer in chain.children():
            setattr(self, name, layer)
        self.outputs = outputs

    def forward(self, x):
        maps = None
        for name, layer in self.children():
            maps = x if name == HEAD[0] else maps
            x = layer(x)
        return self.outputs(maps, x)


# name: (what the network gives of its last maps (N,8,h,w) and its scores (N,4), the target that is class 1 of those)
OUTPUTS = {
    "scores": (lambda maps, y: y, lambda y: y[:, 1]),
    "a tuple": (lambda maps, y: (maps, y), lambda y: y[1][:, 1]),
    "a dict": (lambda maps, y: {"maps": maps, "heads": [y[:, :2], y[:, 2:]]}, lambda y: y["heads"][0][:, 1]),
    "regression": (lambda maps, y: y[:, 1], lambda y: y),
    "a dense map": (
        lambda maps, y: F.broadcast_to(y[:, :, None, None], (*y.shape, 2, 3)),
        lambda y: y[:, 1].mean((1, 2)),
    ),
}


def close(found, wanted):
    for a, b in zip(arrays(found), arrays(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5 * abs(b).max(initial=0) + 1e-6)


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("name", METHODS)
def test_a_function_of_any_output_is_explained_as_the_class_that_it_is(name, kind):
    chain, x = network(), pictures()
    outputs, target = OUTPUTS[kind]
    close(METHODS[name](Heads(chain, outputs), x, target), METHODS[name](chain, x, 1))


@pytest.mark.parametrize("name", METHODS)
def test_an_objective_is_explained_as_the_class_or_the_neuron_that_it_is(name):
    model, x = network(), pictures()
    close(METHODS[name](model, x, viz.class_score(1)), METHODS[name](model, x, 1))
    close(
        METHODS[name](model, x, viz.class_score(2) - viz.class_score(1)),
        METHODS[name](model, x, lambda y: y[:, 2] - y[:, 1]),
    )


@pytest.mark.parametrize("name", ["gradient", "integrated_gradients", "occlusion", "lrp", "infidelity"])
def test_an_objective_of_a_layer_is_that_layer(name):
    model, x = network(), pictures()
    layered = {"layer": "relu2", "unit": 3}
    if name == "infidelity":
        a = viz.gradient(model, x, **layered)
        found = viz.infidelity(model, x, a, viz.channel("relu2", 3), samples=3)
        return close(found, viz.infidelity(model, x, a, **layered, samples=3))
    few = {"integrated_gradients": {"steps": 3}, "occlusion": {"patch": 4, "stride": 4}}.get(name, {})
    method = getattr(viz, name)
    return close(method(model, x, viz.channel("relu2", 3), **few), method(model, x, **layered, **few))


@pytest.mark.parametrize("target", [lambda y: y[:, 1], viz.class_score(1), viz.channel("relu2", 3)])
def test_curves_are_of_the_score(target):
    model, x = network(), pictures()
    curves = viz.insertion_deletion(model, x, x.mean(1), target, steps=3)
    with mg.no_grad():
        wanted = viz.objective.score(model, viz.target.as_image(model, x), target).numpy()
    np.testing.assert_allclose(curves.insertion[:, -1], wanted, rtol=1e-5)
    np.testing.assert_allclose(
        viz.rise(model, x, target, samples=4), viz.rise(model, x, target, samples=4, output="logit")
    )


def test_how_alike_two_pictures_are():
    """Each picture's product with one other's: what LRP shares out adds up to it where no layer has a bias."""
    model, x = network(), pictures()
    for _, layer in model.named_modules():
        if getattr(layer, "bias", None) is not None:
            layer.bias.data = (layer.bias.detach() * 0.0).data
    plain = nn.Sequential({name: layer for name, layer in model.children() if name != "preprocess"})
    (other, *_) = plain.activations(viz.target.as_image(plain, x[1:]), ["flatten"]).values()
    alike = viz.Objective("alike", ["flatten"], lambda _, found: (found["flatten"] * other.detach()).sum(1))
    relevance = viz.lrp(plain, x, alike, rule="epsilon", epsilon=1e-9)
    assert abs(viz.completeness(plain, x, relevance, alike, baseline=None)).max() < 1e-5
    np.testing.assert_allclose(viz.completeness(plain, x, viz.input_x_gradient(plain, x, alike), alike), 0, atol=1e-5)


def test_lrp_of_a_sum_of_layers_is_the_sum():
    """A layer that feeds another of the sum keeps its own share: neither counts twice."""
    model, x = network(), pictures()
    first, last = viz.energy("relu1"), viz.class_score(1)
    both = viz.lrp(model, x, first + last, rule="epsilon")
    close(both, viz.lrp(model, x, first, rule="epsilon") + viz.lrp(model, x, last, rule="epsilon"))


# ---- attacks ---------------------------------------------------------------------------------------------------------

ATTACKS = {
    "fgsm": viz.fgsm,
    "pgd": lambda *a, **k: viz.pgd(*a, **k, steps=3),
    "pgd, l2": lambda *a, **k: viz.pgd(*a, **k, steps=3, norm="l2", epsilon=0.5),
    "carlini_wagner": lambda *a, **k: viz.carlini_wagner(*a, **k, searches=2, steps=5, lr=0.05),
    "one_pixel": lambda *a, **k: viz.one_pixel(*a, **k, population=6, generations=2),
    "deepfool": lambda *a, **k: viz.deepfool(*a, **k),
    "deepfool, linf": lambda *a, **k: viz.deepfool(*a, **k, norm="linf"),
    "targeted_ascent": lambda *a, **k: viz.targeted_ascent(*a, **k, objective="cross_entropy", confidence=1.0, steps=3),
}
ONE_WAY = {"deepfool": "label", "deepfool, linf": "label", "targeted_ascent": "target"}


def of_two_classes():
    chain = network(seed=5)
    return chain.replace(dict(chain.children()) | {"fc": nn.Linear(8, 2, rng=np.random.default_rng(0))})


@pytest.mark.parametrize("way", ["label", "target"])
@pytest.mark.parametrize("name", ATTACKS)
def test_of_two_classes_a_class_is_attacked_as_its_lead(name, way):
    if ONE_WAY.get(name, way) != way:
        pytest.skip(f"{name} takes no {way}")
    model, x = of_two_classes(), pictures()
    found = ATTACKS[name](
        Heads(model, lambda maps, y: {"y": y}), x, **{way: lambda out: out["y"][:, 0] - out["y"][:, 1]}
    )
    close(found, ATTACKS[name](model, x, **{way: 0}))


def test_a_report_of_a_score_says_whether_it_went_where_it_should():
    model, x = network(), pictures()
    raised = viz.pgd(model, x, target=lambda y: y[:, 1], steps=3)
    for report, before, after in zip(
        viz.report_attack(model, x, raised, target=lambda y: y[:, 1]),
        viz.attacks.scores(model, x)[:, 1],
        viz.attacks.scores(model, raised)[:, 1],
        strict=True,
    ):
        assert report["original"]["score"] == pytest.approx(before) and report["attacked"]["score"] == pytest.approx(
            after
        )
        assert after > before and report["attacked"]["success"] and report["saved"]["success"]
        assert 0 < report["saved"]["linf"] <= 8 / 255 + 1 / 255
    assert not viz.report_attack(model, x, raised, label=lambda y: y[:, 1])[0]["attacked"]["success"]


def test_an_image_is_made_for_a_function_of_the_output():
    model = network()
    options = {"size": (8, 8), "steps": 2, "transforms": []}
    found = viz.maximize(model, lambda y: y[:, 1], **options)
    np.testing.assert_allclose(found.image, viz.maximize(model, 1, **options).image, rtol=1e-5)


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a tuple", "a dict", "regression", "a dense map"])
def test_an_output_that_is_no_scores_says_how_to_give_a_target(kind):
    """The example in the sentence is a target for that network."""
    model, x = Heads(network(), OUTPUTS[kind][0]), pictures()
    for method in (viz.saliency, viz.grad_cam, viz.lrp, viz.occlusion, viz.fgsm, viz.deepfool, viz.insertion_deletion):
        more = {"maps": x.mean(1)} if method is viz.insertion_deletion else {}
        with pytest.raises(ValueError, match=r"the network's output is .*, not the scores of classes") as refused:
            method(model, x, **more)
    target = eval(re.search(r"such as (lambda y: .*)$", str(refused.value))[1])
    assert viz.gradient(model, x, target).shape == x.shape


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (lambda y: y, r"one number for each image, a Tensor \(2,\), got shape \(2, 4\)"),
        (lambda y: y[:, 1].sum(), r"one number for each image, a Tensor \(2,\), got shape \(\)"),
        (lambda y: y[:, 1].numpy(), r"one number for each image, a Tensor \(2,\), got ndarray"),
    ],
)
def test_a_function_gives_one_number_for_each_image(target, sentence):
    for method in (viz.gradient, viz.grad_cam, viz.lrp, viz.infidelity):
        more = {"attribution": pictures()} if method is viz.infidelity else {}
        with pytest.raises(ValueError, match=sentence):
            method(network(), pictures(), target=target, **more)


def test_what_needs_classes_says_so():
    model, x = network(), pictures()
    with pytest.raises(ValueError, match="jsma: takes a class only"):
        viz.jsma(model, x, target=lambda y: y[:, 0])
    with pytest.raises(TypeError, match="target must be a class index or name here"):
        viz.loss_gradient(model, x, lambda y: y[:, 0])
    with pytest.raises(ValueError, match='output "probability" is for classes'):
        viz.occlusion(model, x, lambda y: y[:, 0], patch=4, stride=4, output="probability")
    with pytest.raises(ValueError, match="a target or a layer to explain, not both"):
        viz.gradient(model, x, lambda y: y[:, 0], layer="relu1")
