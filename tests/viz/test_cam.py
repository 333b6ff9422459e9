"""Class activation maps: where they are drawn, by hand, against captum, and against their formulas in plain NumPy."""

import warnings
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.ndimage import zoom

import minigrad as mg
import models
import viz
from minigrad import nn
from models.convert import convert
from tests.viz.reference_networks import reference

METHODS = ("grad_cam", "grad_cam_plus_plus", "layer_cam", "hires_cam", "xgrad_cam", "eigen_cam", "score_cam")
LAYERS = {"vgg": "relu2", "squeezenet": "fire2"}


@pytest.fixture(scope="module", params=["vgg", "squeezenet"])
def golden(request):
    return *reference(request.param), LAYERS[request.param]


def cam_network(w):
    """Classes w (K,C) of the means of C rectified maps: the network of the original class activation maps."""
    conv, fc = nn.Conv2d(3, w.shape[1], 1, bias=False), nn.Linear(w.shape[1], len(w), bias=False)
    conv.weight.data = np.random.default_rng(0).normal(size=conv.weight.shape)
    fc.weight.data = w
    layers = {"conv": conv, "relu": nn.ReLU(), "gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": fc}
    return nn.Sequential(layers)


def maps_and_gradients(model, image, target, layer):
    """A and dy/dA, from the engine's own gradient."""
    x = mg.Tensor(image, requires_grad=True)
    last = list(model)[-1]
    found = model.activations(x, [layer, last])
    return found[layer].numpy(), mg.grad(viz.target.pick(found[last], target).sum(), found[layer]).numpy()


# ---- the layer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, layer",
    [
        ("vgg11", "relu5_2"),
        ("vgg16", "relu5_3"),
        ("vgg19", "relu5_4"),
        ("minivgg", "relu5_2"),
        ("squeezenet1_1", "fire9"),
        ("vgg16_features", "relu5_3"),
    ],
)
def test_the_default_layer(name, layer):
    assert viz.default_layer(models.build(name, seed=None)) == layer


def test_the_default_layer_of_other_networks(golden):
    model, image, *_, layer = golden
    shape, small = image.shape[1:], (3, 8, 8)
    assert viz.default_layer(model, shape) == layer
    assert viz.default_layer(model.requires_grad_(False), shape) == layer
    model.requires_grad_()
    conv = {"conv": nn.Conv2d(3, 2, 1), "relu": nn.ReLU(), "gap": nn.AdaptiveAvgPool2d(1)}
    assert viz.default_layer(nn.Sequential(conv), small) == "relu"
    nested = {"features": nn.Sequential(conv), "flatten": nn.Flatten(), "fc": nn.Linear(2, 2)}
    assert viz.default_layer(nn.Sequential(nested), small) == "features.relu"
    branches = {"a": nn.Sequential({"c": nn.Conv2d(3, 2, 1), "r": nn.ReLU()}), "b": nn.ReLU()}
    both = nn.Sequential({"both": nn.Parallel(branches), "head": nn.Conv2d(5, 2, 1)})
    assert viz.default_layer(both, small) == "both"
    with pytest.raises(ValueError, match="come from none: name a layer"):
        viz.default_layer(nn.Sequential({"flatten": nn.Flatten(), "fc": nn.Linear(192, 2)}), small)
    with pytest.raises(ValueError, match="default_layer: give image_shape"):
        viz.default_layer(both)


def test_the_default_layer_where_rectifiers_end_early():
    """Maps behind an early rectifier and further convolutions are not rectified; those before a pool are preferred."""
    layers = {
        "conv1": nn.Conv2d(3, 4, 3, padding=1),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(4, 4, 3, stride=2, padding=1),
        "tanh": nn.Call("tanh"),
        "pool": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(16, 2),
    }
    assert viz.default_layer(nn.Sequential(layers), (3, 8, 8)) == "tanh"
    layers |= {"conv2": nn.Conv2d(4, 4, 3, padding=1), "fc": nn.Linear(64, 2)}
    assert viz.default_layer(nn.Sequential(layers), (3, 8, 8)) == "relu1"


def test_the_default_layer_takes_no_further_pass(golden, monkeypatch):
    model, image, target, _, layer = golden
    calls, forward = [], nn.Sequential.forward
    monkeypatch.setattr(nn.Sequential, "forward", lambda self, x: calls.append(1) or forward(self, x))
    found = viz.grad_cam(model, image, target)
    chains = [module for _, module in [("", model), *model.named_modules()] if isinstance(module, nn.Sequential)]
    assert len(calls) == len([module for module in chains if not isinstance(module, nn.Parallel)])
    np.testing.assert_array_equal(found, viz.grad_cam(model, image, target, layer))


@pytest.mark.parametrize("method", METHODS)
def test_layers_and_units_that_have_no_map_are_refused(golden, method):
    model, image, target, _, _ = golden
    with pytest.raises(ValueError, match="no positions to map"):
        getattr(viz, method)(model, image, target, layer="flatten")
    with pytest.raises(ValueError, match="takes no unit"):
        getattr(viz, method)(model, image, layer="conv1", unit=0)


# ---- values ----------------------------------------------------------------------------------------------------------


def test_grad_cam_by_hand():
    """With global average pooling, dy/dA_k is w_k / (h w) everywhere, so L = ReLU(sum_k w_k A_k) / (h w)."""
    w = np.array([[1.0, -2.0, 0.5], [0.3, 0.2, -1.0]])
    model, image = cam_network(w), np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    a = model.activations(mg.Tensor(image), "relu")["relu"].numpy()
    expected = np.stack([np.tensordot(w[c], one, 1) for c, one in zip([1, 0], a, strict=True)]) / 20
    assert (expected < 0).any() and (expected > 0).any()
    found = {
        "plain": viz.grad_cam(model, image, [1, 0], upsample=False),
        "signed": viz.grad_cam(model, image, [1, 0], signed=True, upsample=False),
        "against": viz.grad_cam(model, image, [1, 0], counterfactual=True, upsample=False),
    }
    np.testing.assert_allclose(found["signed"], expected, atol=1e-15)
    np.testing.assert_allclose(found["plain"], np.maximum(expected, 0), atol=1e-15)
    np.testing.assert_allclose(found["against"], np.maximum(-expected, 0), atol=1e-15)


def test_captum(golden):
    model, image, target, found, layer = golden
    plain = viz.grad_cam(model, image, target, upsample=False)
    signed = viz.grad_cam(model, image, target, layer, signed=True, upsample=False)
    np.testing.assert_allclose(plain, found["grad_cam"], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(signed, found["grad_cam_signed"], rtol=1e-9, atol=1e-15)
    guided = viz.guided_grad_cam(model, image, target)
    np.testing.assert_allclose(guided, found["guided_grad_cam"], rtol=1e-9, atol=1e-15)
    assert abs(guided).max() > 0


def test_grad_cam_plus_plus_is_equation_19(golden):
    model, image, target, _, layer = golden
    a, g = maps_and_gradients(model, image, target, layer)
    expected = np.zeros((2, *a.shape[2:]))
    for n, k in np.ndindex(a.shape[:2]):
        weight = 0.0
        for i, j in np.ndindex(a.shape[2:]):
            one = g[n, k, i, j]
            if one > 0:
                weight += one**2 / (2 * one**2 + a[n, k].sum() * one**3) * one
        expected[n] += weight * a[n, k]
    assert (g < 0).any() and (g > 0).any()
    ours = viz.grad_cam_plus_plus(model, image, target, upsample=False)
    np.testing.assert_allclose(ours, np.maximum(expected, 0), rtol=1e-10)


@settings(max_examples=40)
@given(st.floats(-30, 30), st.integers(0, 100))
def test_grad_cam_plus_plus_of_scores_of_any_size(exponent, seed):
    """In float32 as in float64, up to gradients whose squares and cubes float32 does not hold."""
    rng = np.random.default_rng(seed)
    model = cam_network(rng.uniform(0.1, 1, (2, 4)) * 10.0**exponent)
    image = rng.uniform(0, 1, (1, 3, 5, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wide = viz.grad_cam_plus_plus(model, image, 1, "relu", upsample=False)
        for layer in ("conv", "fc"):
            model[layer].weight.data = model[layer].weight.detach().astype(np.float32).data
        found = viz.grad_cam_plus_plus(model, image.astype(np.float32), 1, "relu", upsample=False)
    np.testing.assert_allclose(found, wide, rtol=1e-4, atol=1e-5 * wide.max())


def test_layer_cam_weighs_every_place(golden):
    model, image, target, _, layer = golden
    a, g = maps_and_gradients(model, image, target, layer)
    ours = viz.layer_cam(model, image, target, upsample=False)
    np.testing.assert_allclose(ours, (np.maximum(g, 0) * a).sum(1), rtol=1e-12)


def test_hires_cam_and_xgrad_cam_are_their_formulas(golden):
    model, image, target, _, layer = golden
    a, g = maps_and_gradients(model, image, target, layer)
    expected = (a * g).sum(1)
    signed = viz.hires_cam(model, image, target, signed=True, upsample=False)
    np.testing.assert_allclose(signed, expected, rtol=1e-9, atol=1e-15)
    plain = viz.hires_cam(model, image, target, upsample=False)
    np.testing.assert_allclose(plain, np.maximum(expected, 0), rtol=1e-9, atol=1e-15)

    expected = np.zeros_like(expected)
    for n, k in np.ndindex(a.shape[:2]):
        if a[n, k].sum():
            expected[n] += (a[n, k] * g[n, k]).sum() / a[n, k].sum() * a[n, k]
    ours = viz.xgrad_cam(model, image, target, upsample=False)
    np.testing.assert_allclose(ours, np.maximum(expected, 0), rtol=1e-9, atol=1e-15)


def test_behind_an_average_hires_cam_is_the_share_of_each_place_in_the_score():
    """And XGrad-CAM and Grad-CAM are the same, since all gradients of a channel are; a silent channel has no share."""
    model = cam_network(np.array([[1.0, -2, 3], [2, 1, -1]]))
    state = {name: tensor.numpy() for name, tensor in model.named_tensors()}
    model.load_state_dict(state | {"conv.weight": state["conv.weight"] * np.array([1, 0, 1]).reshape(3, 1, 1, 1)})
    image = np.random.default_rng(1).uniform(size=(2, 3, 4, 5))
    signed = viz.hires_cam(model, image, 1, "relu", signed=True, upsample=False)
    np.testing.assert_allclose(signed.sum((1, 2)), model(mg.Tensor(image)).numpy()[:, 1])
    maps = [f(model, image, 1, "relu", upsample=False) for f in (viz.hires_cam, viz.xgrad_cam, viz.grad_cam)]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-15)
    np.testing.assert_allclose(maps[0], maps[2], atol=1e-15)


def test_eigen_cam_finds_the_one_pattern_there_is():
    """Where all maps are multiples c_k of one map M, L = |c| M, with the sign of M whatever those of c."""
    conv = nn.Conv2d(1, 3, 1, bias=False)
    conv.weight.data = np.array([3.0, 0.0, -4.0]).reshape(3, 1, 1, 1)
    model = nn.Sequential({"conv": conv, "gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()})
    image = np.random.default_rng(0).uniform(size=(2, 1, 4, 3))
    ours = viz.eigen_cam(model, image, layer="conv", upsample=False)
    np.testing.assert_allclose(ours, 5 * image[:, 0], rtol=1e-12)


def test_eigen_cam_is_not_centred_and_knows_no_class(golden):
    model, image, target, _, layer = golden
    a, _ = maps_and_gradients(model, image, target, layer)
    ours = viz.eigen_cam(model, image, target, upsample=False)
    for cam, maps in zip(ours, a, strict=True):
        values, vectors = np.linalg.eigh(np.einsum("kij,lij->kl", maps, maps))
        np.testing.assert_allclose(cam, abs(np.tensordot(vectors[:, -1], maps, 1)), rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(viz.eigen_cam(model, image, 0, upsample=False), ours)


@pytest.mark.parametrize("baseline", [0.0, 0.3])
def test_score_cam_is_its_algorithm(golden, baseline):
    model, image, target, _, layer = golden
    a, _ = maps_and_gradients(model, image, target, layer)
    for n in range(2):
        increase = np.empty(a.shape[1])
        for k, one in enumerate(a[n]):
            mask = upsampled(one, image.shape[2:])
            mask = (mask - mask.min()) / (np.ptp(mask) or 1)
            masked = baseline + (image[n] - baseline) * mask
            y = model(mg.Tensor(np.stack([masked, np.full_like(masked, baseline)]))).numpy()[:, target[n]]
            increase[k] = y[0] - y[1]
        weights = np.exp(increase) / np.exp(increase).sum()
        expected = np.maximum(np.tensordot(weights, a[n], 1), 0)
        ours = viz.score_cam(model, image[n : n + 1], target[n], baseline=baseline, batch_size=3, upsample=False)
        np.testing.assert_allclose(ours[0], expected, rtol=1e-9)


def upsampled(cam, hw):
    """Bilinear with half-pixel centres, by scipy."""
    factors = [out / n for out, n in zip(hw, cam.shape, strict=True)]
    return zoom(cam, factors, order=1, grid_mode=True, mode="nearest")


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_upsampled_bilinearly(golden, method):
    model, image, target, _, _ = golden
    low = getattr(viz, method)(model, image, target, upsample=False)
    expected = np.stack([upsampled(cam, image.shape[2:]) for cam in low])
    np.testing.assert_allclose(getattr(viz, method)(model, image, target), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_in_a_batch_is_explained_as_if_alone(golden, method):
    model, image, target, _, _ = golden
    function = getattr(viz, method)
    alone = [function(model, image[i : i + 1], target[i]) for i in range(2)]
    np.testing.assert_allclose(function(model, image, target), np.concatenate(alone), rtol=1e-9, atol=1e-15)


def test_a_map_of_zeros_is_zeros_and_a_warning():
    model = cam_network(-np.ones((2, 3)))  # everything speaks against the class
    image = np.random.default_rng(1).normal(size=(1, 3, 4, 5))
    for method in (viz.grad_cam, viz.grad_cam_plus_plus, viz.layer_cam, viz.hires_cam, viz.xgrad_cam):
        with pytest.warns(UserWarning, match="map of image 0 is zero everywhere"):
            cam = method(model, image, 0)
        np.testing.assert_array_equal(cam, np.zeros((1, 4, 5)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert viz.grad_cam(model, image, 0, counterfactual=True).max() > 0


# ---- a photograph of a dog above a cat -------------------------------------------------------------------------------

DATA = Path(__file__).parents[3] / "shared" / "data"
DOG, CAT = (12, 79, 151, 170), (119, 44, 227, 192)  # top, left, bottom, right at 227 px


@pytest.fixture(scope="module")
def squeezenet():
    weights = DATA / "weights" / "squeezenet_v1.1_caffe_fp32.npz"
    if not weights.is_file():
        pytest.skip("needs SqueezeNet's weights in ../shared/data")
    return convert(weights, "squeezenet1_1", "caffe-squeezenet")


def test_the_dog_is_found_on_the_dog_and_the_cat_on_the_cat(squeezenet):
    """For tabby (p = 0.00004 beside this dog) most of the map is on the cat, though its one hottest place is not."""
    image = models.load_image(DATA / "photos" / "cat_dog.png", squeezenet.input_size)
    maps = viz.grad_cam(squeezenet, np.concatenate([image] * 4), ["bull mastiff", "boxer", "tabby", "Egyptian cat"])
    on_dog, on_cat = (viz.positive_share(maps, np.array([box] * 4)) for box in (DOG, CAT))
    assert (on_dog[:2] > 0.5).all() and (on_cat[:2] < 0.25).all()
    assert (on_cat[2:] > 0.5).all() and (on_dog[2:] < 0.35).all()
    assert viz.pointing_game(maps, np.array([DOG, DOG, CAT, CAT]), tolerance=0).tolist() == [True, True, False, True]
