"""Networks with one output: the softmax of one number is 1, so it is the score itself that is explained."""

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import nn


@pytest.fixture(params=["bare", "behind a softmax"])
def model(request, small_network):
    network = small_network(seed=2, classes=1)
    if request.param == "bare":
        return network
    return nn.Sequential({**dict(network.children()), "softmax": nn.Softmax(1)})


@pytest.fixture
def x(images):
    return images(2, shape=(3, 12, 12))


def score(model, x):
    return viz.attacks.scores(model, x)[:, 0]


@pytest.mark.parametrize(
    "method",
    [
        lambda model, x, output: viz.rise(model, x, samples=40, cells=3, output=output),
        lambda model, x, output: viz.occlusion(model, x, patch=4, stride=4, output=output),
    ],
    ids=["rise", "occlusion"],
)
def test_perturbations_watch_the_score(method, model, x):
    found = method(model, x, "probability")
    np.testing.assert_array_equal(found, method(model, x, "logit"))
    assert abs(found[0] - found[1]).max() > 1e-3 * abs(found).max() and np.ptp(found[0]) > 0


def test_curves_are_of_the_score(model, x):
    curves = viz.insertion_deletion(model, x, viz.saliency(model, x), steps=4)
    np.testing.assert_allclose(curves.insertion[:, -1], score(model, x))
    np.testing.assert_allclose(curves.deletion[:, 0], score(model, x))
    np.testing.assert_allclose(curves.deletion[:, -1], score(model, np.full_like(x, 0.5)))


def test_the_loss_is_minus_the_score(model, x):
    found = viz.loss_gradient(model, x)
    np.testing.assert_allclose(found, -viz.gradient(model, x))
    assert abs(found).max() > 0


def test_what_maximises_the_probability_maximises_the_score(model):
    options = {"size": (8, 8), "steps": 3, "optimizer": "sgd", "lr": 0.05, "transforms": []}
    found = viz.maximize(model, viz.log_probability(0), **options)
    np.testing.assert_array_equal(found.image, viz.maximize(model, viz.class_score(0), **options).image)
    assert found.losses["objective"][-1] < found.losses["objective"][0]


@pytest.mark.parametrize(
    "name", ["saliency", "guided_backprop", "integrated_gradients", "grad_cam", "score_cam", "lrp"]
)
@pytest.mark.filterwarnings("ignore:.*zero everywhere")
def test_the_other_attributions_explain_it_anyway(name, model, x):
    one = getattr(viz, name)(model, x)
    np.testing.assert_array_equal(one, getattr(viz, name)(model, x, 0))
    assert one.any() or name.endswith("cam")


def test_several_outputs_have_their_softmax(small_network, x):
    model = small_network(seed=2)
    p = mg.functional.softmax(model(mg.Tensor(x)), 1).numpy()[:, 1]
    curves = viz.insertion_deletion(model, x, viz.saliency(model, x, 1), 1, steps=2)
    np.testing.assert_allclose(curves.insertion[:, -1], p)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: viz.accuracy(model, x, [0, 0]),
        lambda model, x: viz.report_attack(model, x, x),
        lambda model, x: viz.fgsm(model, x),
        lambda model, x: viz.jsma(model, x, target=0),
    ],
    ids=["accuracy", "report_attack", "fgsm", "jsma"],
)
def test_what_needs_another_class_is_refused(call, model, x):
    with pytest.raises(ValueError, match="the model has a single class, so there is no other to reach"):
        call(model, x)
