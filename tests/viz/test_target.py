"""What is explained: classes, layers, channels and neurons, and what is refused."""

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import functional as F
from minigrad import nn
from tests.viz.reference_networks import reference
from viz.objective import score
from viz.target import as_image, fixed_target


@pytest.fixture(scope="module")
def network():
    model, image, _, _ = reference("vgg")
    return model, image


class Forbidden(nn.Module):
    def forward(self, x):
        raise AssertionError("this layer lies behind what was asked for")


def layers_of(model):
    return dict(model.children())


def test_scores_are_those_of_captums_network():
    for name in ("vgg", "squeezenet"):
        model, image, _, found = reference(name)
        np.testing.assert_allclose(
            viz.target.logits(model, as_image(model, image)).numpy(), found["scores"], rtol=1e-12
        )


def test_the_score_is_taken_before_the_softmax(network):
    model, image = network
    with_softmax = nn.Sequential({**layers_of(model), "prob": nn.Softmax()})
    np.testing.assert_array_equal(viz.gradient(with_softmax, image, 2), viz.gradient(model, image, 2))

    x = as_image(model, image)
    probability = mg.grad(F.softmax(model(x), 1)[:, 2].sum(), x).numpy()
    assert abs(probability - viz.gradient(model, image, 2)).max() > 1e-3


def test_targets_one_for_all_one_each_or_the_top(network):
    model, image = network
    y = viz.target.logits(model, as_image(model, image)).numpy()
    x = as_image(model, image)
    np.testing.assert_array_equal(score(model, x, 3).numpy(), y[:, 3])
    np.testing.assert_array_equal(score(model, x, np.array([4, 0])).numpy(), y[[0, 1], [4, 0]])
    np.testing.assert_array_equal(score(model, x).numpy(), y.max(1))
    np.testing.assert_array_equal(fixed_target(model, image), y.argmax(1))

    named = nn.Sequential(layers_of(model))
    named.labels = ("tench", "cat", "zebra", "church", "golf ball")
    np.testing.assert_array_equal(score(named, x, ["zebra", 3]).numpy(), y[[0, 1], [2, 3]])


def test_given_classes_of_a_network_with_labels_are_fixed_without_a_pass():
    model, image = nn.Sequential({"conv": Forbidden()}), np.zeros((2, 3, 8, 8))
    model.labels = ("tench", "cat", "zebra")
    assert fixed_target(model, image, "cat").tolist() == [1, 1]
    found = fixed_target(model, image, [viz.Contrast("cat", 0), 2])
    assert found.tolist() == [viz.Contrast(1, 0), 2]
    with pytest.raises(ValueError, match="target 3 is out of range: this model has classes 0 to 2"):
        fixed_target(model, image, 3)
    with pytest.raises(ValueError, match="target has 3 classes for 2 images"):
        fixed_target(model, image, [0, 1, 2])


def test_a_unit_takes_the_place_of_the_class(network):
    model, image = network
    x = as_image(model, image)
    a = model.activations(x, ["relu2"])["relu2"].numpy()
    np.testing.assert_allclose(score(model, x, layer="relu2").numpy(), a.mean((1, 2, 3)))
    np.testing.assert_allclose(score(model, x, layer="relu2", unit=4).numpy(), a[:, 4].mean((1, 2)))
    np.testing.assert_allclose(score(model, x, layer="relu2", unit=(4, 5, 0)).numpy(), a[:, 4, 5, 0])
    np.testing.assert_allclose(score(model, x, layer="fc4", unit=1).numpy(), model(x).numpy()[:, 1])


def test_the_gradient_of_a_neuron_stops_at_its_receptive_field(network):
    model, image = network
    g = viz.gradient(model, image, layer="conv1", unit=(2, 3, 7))
    expected = np.zeros_like(image)
    expected[:, :, 2:5, 6:9] = model["conv1"].weight.numpy()[2]
    np.testing.assert_allclose(g, expected, atol=1e-15)


def test_nothing_behind_the_layer_is_computed(network):
    model, image = network
    cut = nn.Sequential({**{k: v for k, v in layers_of(model).items() if k != "fc4"}, "fc4": Forbidden()})
    whole = viz.gradient(model, image, layer="relu2", unit=1)
    np.testing.assert_array_equal(viz.gradient(cut, image, layer="relu2", unit=1), whole)


def test_float32_images_go_through_a_float64_network(network):
    model, image = network
    assert viz.gradient(model, image.astype(np.float32), 0).dtype == np.float64
    assert viz.saliency(model, mg.Tensor(image), 0).shape == (2, 12, 12)


def test_nothing_is_left_behind(network):
    model, image = network
    before = {name: tensor.numpy().copy() for name, tensor in model.named_tensors()}
    image_before, plain = image.copy(), viz.gradient(model, image, 1)
    for method in (viz.guided_backprop, viz.deconvnet, viz.grad_cam, viz.lrp):
        method(model, image, 1)
    broken = nn.Sequential({**layers_of(model), "last": Forbidden()})
    with pytest.raises(AssertionError):
        viz.guided_backprop(broken, image, 1)

    np.testing.assert_array_equal(viz.gradient(model, image, 1), plain)
    np.testing.assert_array_equal(image, image_before)
    for name, tensor in model.named_tensors():
        np.testing.assert_array_equal(tensor.numpy(), before[name])
        assert tensor.grad is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"target": 5}, "target 5 is out of range: this model has classes 0 to 4"),
        ({"target": -1}, "target -1 is out of range"),
        ({"target": [1, 2, 3]}, "3 classes for 2 images"),
        ({"target": 1, "layer": "relu2"}, "not both"),
        ({"unit": 3}, "needs the name of its layer"),
        ({"layer": "relu2", "unit": 6}, r"unit \(6,\) is out of range: the layer has shape \(6, 6, 6\)"),
        ({"layer": "relu2", "unit": (1, 2)}, "must be a channel or name one neuron"),
        ({"layer": "relu9"}, "there is no layer 'relu9'"),
    ],
)
def test_mistakes_are_named(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        viz.gradient(*network, **arguments)


def test_images_that_cannot_be_explained_are_refused(network):
    model, image = network
    with pytest.raises(ValueError, match=r"\(N,3,H,W\).* got shape \(12, 12\)"):
        viz.gradient(model, image[0, 0])
    with pytest.raises(ValueError, match=r"got shape \(12, 12, 3\)"):
        viz.gradient(model, image[0].transpose(1, 2, 0))
    with pytest.raises(ValueError, match="NaN"):
        viz.gradient(model, np.where(image == image.max(), np.nan, image))
    with pytest.raises(TypeError, match="floating point"):
        viz.gradient(model, (image * 255).astype(np.uint8))
    with pytest.raises(TypeError, match="class index or name"):
        viz.gradient(model, image, 1.5)
    training = nn.Sequential(layers_of(model)).train()
    try:
        with pytest.raises(ValueError, match="training mode"):
            viz.gradient(training, image)
    finally:
        training.eval()


# ---- contrasts -------------------------------------------------------------------------------------------------------


def test_a_contrast_is_the_difference_of_two_scores(network):
    model, image = network
    y = viz.target.logits(model, as_image(model, image)).numpy()
    pair = viz.Contrast(2, 0)
    np.testing.assert_array_equal(score(model, as_image(model, image), pair).numpy(), y[:, 2] - y[:, 0])
    np.testing.assert_array_equal(score(model, as_image(model, image), [pair, 1]).numpy(), [y[0, 2] - y[0, 0], y[1, 1]])
    apart = viz.gradient(model, image, 2) - viz.gradient(model, image, 0)
    np.testing.assert_allclose(viz.gradient(model, image, pair), apart, atol=1e-12)
    named = nn.Sequential(layers_of(model))
    named.labels = ("tench", "cat", "zebra", "church", "golf ball")
    by_name = viz.gradient(named, image, viz.Contrast("zebra", "tench"))
    np.testing.assert_array_equal(by_name, viz.gradient(model, image, pair))


@pytest.mark.parametrize(
    "method, options",
    [
        (viz.input_x_gradient, {}),
        (viz.integrated_gradients, {"steps": 2}),
        (viz.smooth_grad, {"samples": 2}),
        (viz.occlusion, {"patch": 8, "stride": 8}),
    ],
)
def test_what_is_linear_in_the_score_explains_a_contrast_by_the_difference(network, method, options):
    model, image = network
    apart = method(model, image, 2, **options) - method(model, image, 0, **options)
    np.testing.assert_allclose(method(model, image, viz.Contrast(2, 0), **options), apart, atol=1e-10)


def test_relevance_of_a_contrast_adds_up_to_it(network):
    model, image = network
    pair = viz.Contrast(2, 0)
    relevance = viz.lrp(model, image, pair, rule="epsilon", epsilon=1e-12)
    lost = viz.completeness(model, image, relevance, pair, baseline=None)
    apart = viz.lrp(model, image, 2, rule="epsilon", epsilon=1e-12) - viz.lrp(
        model, image, 0, rule="epsilon", epsilon=1e-12
    )
    np.testing.assert_allclose(relevance, apart, atol=1e-8)
    assert lost.shape == (len(image),)


@pytest.mark.parametrize("method", [viz.grad_cam, viz.grad_cam_plus_plus, viz.layer_cam, viz.score_cam, viz.rise])
def test_maps_of_a_contrast(network, method):
    model, image = network
    options = {"samples": 4} if method is viz.rise else {}
    found = method(model, image, viz.Contrast(2, 0), **options)
    assert found.shape == (len(image), *image.shape[2:]) and np.isfinite(found).all()
    assert not np.array_equal(found, method(model, image, 2, **options))


def test_a_contrast_is_no_class_to_reach(network):
    model, image = network
    for attack in (viz.fgsm, viz.pgd, viz.loss_gradient):
        with pytest.raises(ValueError, match="here target must be one class"):
            attack(model, image, target=viz.Contrast(2, 0))
    with pytest.raises(ValueError, match="out of range"):
        viz.saliency(model, image, viz.Contrast(2, 99))
    with pytest.raises(ValueError, match="a class less itself is nothing"):
        viz.saliency(model, image, viz.Contrast(2, 2))
