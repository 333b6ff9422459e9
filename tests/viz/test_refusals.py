"""Arguments that make no sense are refused at once, in a sentence that names the function and what came."""

import re
import sys

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import nn
from viz import animation, attacks, bias, checks, defenses, localization, plot, regularize, sparse_attacks
from viz.grabcut import grabcut
from viz.objective import evaluate
from viz.universal import universal_perturbation

X = np.full((2, 3, 6, 5), 0.5)
HEAT = np.ones((2, 6, 5))
NOTHING = np.zeros((6, 5), bool)

REFUSED = {
    "attribution": [
        (lambda m: viz.integrated_gradients(m, X, 0, steps=0), "integrated_gradients: steps must be at least 1, got 0"),
        (lambda m: viz.smooth_grad(m, X, 0, sigma=-1), "smooth_grad: sigma must be from 0 to 1, got -1"),
        (lambda m: viz.lrp(m, X, target=0, layer="relu1"), "give a target or a layer to explain, not both"),
        (lambda m: checks.per_pixel(X[0, 0]), "an attribution must be (N,H,W) or (N,3,H,W), got shape (6, 5)"),
        (lambda m: viz.saliency(headless(m), X, 0), "the network's output is (2, 8, 3, 2), not the scores of classes"),
    ],
    "places": [
        (lambda m: localization.localize(HEAT[0]), "localize: heat must be maps (N,H,W), got shape (6, 5)"),
        (lambda m: localization.localize(HEAT, fraction=0), "localize: fraction must be above 0 and at most 1, got 0"),
        (lambda m: localization.seeds(HEAT[0], 0.3, 0.5), "seeds: needs 0 <= background < foreground <= 1"),
        (lambda m: bias.central_box(6, 5, share=2), "central_box: share must be in (0, 1], got 2"),
        (lambda m: grabcut(X[0], NOTHING.T, NOTHING), "grabcut: foreground (5, 6) and background (6, 5) must have"),
    ],
    "attacks": [
        (lambda m: attacks.project(X, X, 0.1, "l1"), 'project: norm must be "linf" or "l2", got \'l1\''),
        (lambda m: viz.fgsm(one_class(), X), "fgsm: the model has a single class, so there is no other to reach"),
        (lambda m: viz.targeted_ascent(m, X, target=1, objective="p"), 'objective must be "score" or "cross_entropy"'),
        (lambda m: viz.targeted_ascent(m, X, target=None), "targeted_ascent: needs a target, the class to climb to"),
        (lambda m: attacks.linear_attack(X[0, 0], X), "linear_attack: weight has shape (6, 5), expected one image's"),
        (lambda m: viz.deepfool(m, X, norm="l1"), 'deepfool: norm must be "l2" or "linf", got \'l1\''),
        (lambda m: viz.deepfool(m, X, candidates=1), "deepfool: candidates must be at least 2"),
        (lambda m: viz.carlini_wagner(m, X, kappa=-1), "carlini_wagner: kappa must be from 0"),
        (lambda m: sparse_attacks.one_pixel(m, X, population=4), "one_pixel: population must be at least 5"),
        (lambda m: sparse_attacks.jsma(m, X, target=1, theta=0), "jsma: needs theta from -1 to 1 and not 0"),
        (lambda m: sparse_attacks.jsma(m, X, target=None), "jsma: needs a target, the class to reach"),
        (lambda m: universal_perturbation(m, X, epsilon=0), "universal_perturbation: epsilon must be above 0"),
        (lambda m: universal_perturbation(m, X, norm="l1"), 'universal_perturbation: norm must be "linf" or "l2"'),
        (lambda m: viz.report_attack(m, X, X[:1]), "report_attack: image (2, 3, 6, 5) and adversarial (1, 3, 6, 5)"),
        (lambda m: viz.report_attack(m, X, X, paths=["a.png"]), "report_attack: 1 paths for 2 images"),
    ],
    "optimised images": [
        (lambda m: evaluate(m, [viz.class_score(0)] * 3, mg.Tensor(X)), "3 objectives for 2 images"),
        (lambda m: viz.maximize(m, 0, X, size=7, steps=1), "start has shape (2, 3, 6, 5), which is not of size (7, 7)"),
        (
            lambda m: viz.maximize(m, 0, size=8, parameterization="fourier", after_step=[(1, lambda x, g: x)], steps=1),
            'after_step changes pixels, so it needs parameterization="pixels"',
        ),
        (lambda m: viz.deep_dream(m, X, "relu1", octaves=0), "deep_dream: octaves must be at least 1, got 0"),
        (lambda m: regularize.total_variation(mg.Tensor(HEAT)), "total_variation: x must be (N,C,H,W), got shape"),
        (
            lambda m: viz.synthesize_texture(m, X[:1], ["relu1", "relu2"], style_scale=0),
            "style_scale must be above 0 and at most 100, got 0",
        ),
        (lambda m: viz.with_average_pooling(dilated()), "with_average_pooling: the pool 'pool' is dilated"),
    ],
    "pictures": [
        (lambda m: animation.save_gif([X[0], X[0, :, 1:]], "never.gif"), "the frames differ in size: [(5, 5), (6, 5)]"),
        (
            lambda m: animation.save_gif([HEAT[0]], "never.gif"),
            "a frame must be (3,H,W) or (N,3,H,W), got shape (6, 5)",
        ),
        (lambda m: plot.pictures([]), "there is nothing to draw"),
    ],
}
CASES = [pytest.param(*case, id=f"{family}-{case[1]}") for family, cases in REFUSED.items() for case in cases]


def headless(model):
    """The network as far as its second ReLU, at half the size."""
    return nn.Sequential({name: layer for name, layer in list(model.children())[:5]})


def one_class():
    return nn.Sequential({"flatten": nn.Flatten(), "fc": nn.Linear(90, 1)})


def dilated():
    return nn.Sequential({"pool": nn.MaxPool2d(2, dilation=2)})


@pytest.mark.parametrize(("call", "message"), CASES)
def test_refusals(call, message, small_network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, NotImplementedError), match=re.escape(message)):
        call(small_network())
    assert not list(tmp_path.iterdir())


def test_lrp_refuses_weights_that_depend_on_the_image():
    class OwnWeights(nn.Module):
        def forward(self, x):
            rows = x.reshape(len(x), -1)
            return mg.functional.linear(rows, rows)

    with pytest.raises(NotImplementedError, match="the weights of Linear depend on the image"):
        viz.lrp(nn.Sequential({"own": OwnWeights()}), X[:1], 0, rule="epsilon")


@pytest.mark.parametrize(
    ("name", "package"), [("skimage.metrics", "scikit-image"), ("sklearn.manifold", "scikit-learn")]
)
def test_a_missing_package_is_named(name, package, small_network, images, monkeypatch):
    """The two that are installed only by an extra."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"needs {package}: pip install 'minigrad\[\w+\]'"):
        if package == "scikit-image":
            viz.model_randomization(small_network(), images(1), viz.saliency, 0)
        else:
            viz.tsne(np.random.default_rng(0).random((8, 4)))


@pytest.mark.parametrize(
    "defence",
    [defenses.GaussianNoise(0.02), defenses.GaussianBlur(0.7), defenses.Jpeg(40), defenses.BitDepth(3)],
    ids=lambda defence: type(defence).__name__,
)
def test_a_defence_is_made_again_from_its_description(defence, images):
    x = mg.Tensor(images(1, shape=(3, 16, 16)).astype(np.float32))
    again = type(defence)(**defence.describe())
    assert repr(again) == repr(defence) and str(*defence.describe().values()) in repr(defence)
    np.testing.assert_array_equal(again(x).numpy(), defence(x).numpy())
