"""Pixels, budgets and fills in other units than the network's are refused, with the sentence that says which."""

import re

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
import viz
from minigrad import nn
from models.layers import Preprocess
from tests.viz.every_method import METHODS, network, pictures
from viz import defenses
from viz.network import without_preprocessing

# Those whose first argument behind the model is no image.
TAKE_NO_IMAGE = {"maximize", "maximize, fourier", "maximize_as_blog"}
IMAGENET = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1), np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
OTHER_UNITS = {
    "0 to 255": lambda x: x * 255,
    "normalised": lambda x: ((x - IMAGENET[0]) / IMAGENET[1]).astype(x.dtype),
    "from -1 to 1": lambda x: 2 * x - 1,
    "mean taken off": lambda x: (x * 255 - 117).astype(x.dtype),
}
REFUSES = r"takes pixels in \[0, 1\] and does the rest itself|image must lie in \[0, 1\]"


@pytest.mark.parametrize("units", OTHER_UNITS)
@pytest.mark.parametrize("name", [name for name in METHODS if name not in TAKE_NO_IMAGE])
def test_pixels_in_other_units_are_refused_where_the_network_normalises_them(name, units):
    x = pictures()
    x[:, :, 0, 0], x[:, :, 0, 1] = 0, 1
    with pytest.raises(ValueError, match=REFUSES):
        METHODS[name](network(), OTHER_UNITS[units](x), 0)


def test_tensors_are_refused_alike():
    with pytest.raises(ValueError, match=REFUSES + ": divide 0-255 by 255"):
        viz.saliency(network(), mg.Tensor(pictures() * 255))


@pytest.mark.parametrize("wrap", [lambda m: viz.defend(m, viz.BitDepth(4)), viz.with_average_pooling])
def test_a_network_made_from_it_refuses_them_too(wrap):
    with pytest.raises(ValueError, match=REFUSES):
        viz.saliency(wrap(network()), pictures() * 255)


def test_a_network_that_takes_what_it_gets_is_given_anything(small_network):
    x = np.random.default_rng(0).uniform(-100, 255, (1, 3, 12, 12))
    assert viz.saliency(small_network(), x, 0).any()
    assert viz.saliency(without_preprocessing(network()), x.astype(np.float32), 0).shape == (1, 12, 12)


def test_points_that_a_method_makes_may_leave_the_range():
    model, x = network(), pictures()
    assert viz.smooth_grad(model, x, 1, samples=4, sigma=1.0).any()
    assert viz.infidelity(model, x, viz.gradient(model, x, 1), 1, sigma=0.9, samples=3).all()
    assert viz.sensitivity(model, x, viz.saliency, 1, radius=0.3, samples=2).all()


# ---- a network that declares its range -------------------------------------------------------------------------------


def of_levels():
    """The network of every_method for pixels from 0 to 255, without saying so in a layer."""
    model = without_preprocessing(network())
    first = model["conv1"]
    first.weight.data = first.weight.numpy() / np.float32(127.5)  # what Preprocess(std=0.5) and a division by 255 do
    model.value_range = (0, 255)
    return model


@pytest.mark.host("the network and its input are the host's")
def test_a_declared_range_holds_for_pictures_and_floats():
    levels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    wanted = viz.gradient(network(), levels, 1) / 255
    model = of_levels()
    for image in (levels, Image.fromarray(levels), levels.transpose(2, 0, 1)[None].astype(np.float32)):
        np.testing.assert_allclose(viz.gradient(model, image, 1), wanted, rtol=1e-3, atol=1e-5 * abs(wanted).max())
    with pytest.raises(ValueError, match=r"goes from 0 to 6.502e\+04, but this network takes pixels in \[0, 255\]"):
        viz.gradient(model, np.linspace(0, 65025, 432, dtype=np.float32).reshape(1, 3, 12, 12), 1)
    with pytest.raises(ValueError, match=r"image goes from 0.\d+ to 0.\d+, but this network takes values in"):
        viz.gradient(model, pictures(), 1)
    black = np.zeros((1, 3, 12, 12), np.float32)
    assert viz.gradient(model, black, 1).shape == black.shape
    pooled = viz.with_average_pooling(model)
    np.testing.assert_array_equal(pooled.value_range, (0, 255))


@pytest.mark.host("the network and its input are the host's")
@pytest.mark.parametrize("name", ["fgsm", "pgd", "deepfool", "one_pixel", "maximize", "invert", "deep_dream"])
def test_what_works_on_pixels_refuses_another_range(name):
    with pytest.raises(ValueError, match=r"works on pixels in \[0, 1\], this network takes values in \[0, 255\]: put"):
        METHODS[name](of_levels(), pictures(), 0)
    behind = nn.Sequential({"preprocess": Preprocess(scale=255), **dict(of_levels().children())}).eval()
    assert viz.fgsm(behind, pictures()).shape == (2, 3, 12, 12)


# ---- budgets ---------------------------------------------------------------------------------------------------------

BUDGETS = {
    "pgd": lambda m, x, e: viz.pgd(m, x, epsilon=e),
    "pgd in l2": lambda m, x, e: viz.pgd(m, x, epsilon=32 * e, norm="l2"),
    "pgd's step": lambda m, x, e: viz.pgd(m, x, step_size=e),
    "fgsm": lambda m, x, e: viz.fgsm(m, x, epsilon=e),
    "universal": lambda m, x, e: viz.universal_perturbation(m, x, epsilon=e),
    "ascent's step": lambda m, x, e: viz.targeted_ascent(m, x, target=1, step_size=32 * e),
    "linear": lambda m, x, e: viz.linear_attack(x[0], x, epsilon=e),
    "report": lambda m, x, e: viz.report_attack(m, x, x, epsilon=e),
    "the noise of a defence": lambda m, x, e: defenses.GaussianNoise(e),
    "infidelity": lambda m, x, e: viz.infidelity(m, x, x, sigma=e),
    "sensitivity": lambda m, x, e: viz.sensitivity(m, x, viz.saliency, radius=e),
}


@pytest.mark.parametrize("levels", [1, 4, 8, 16.0])
@pytest.mark.parametrize("name", BUDGETS)
def test_a_distance_in_levels_is_refused(name, levels):
    meant = 32 * levels if "l2" in name or "ascent" in name else levels
    with pytest.raises(ValueError, match=re.escape(f"for {meant:g} of 255 levels give {meant:g} / 255")):
        BUDGETS[name](network(), pictures(), levels)


def test_a_long_way_in_l2_is_none_in_levels():
    x = pictures()
    found = viz.pgd(network(), x, epsilon=4, norm="l2", steps=2)  # 12 x 12 pixels: the longest way is 20.8
    assert 1 < viz.distances(x, found)["l2"].max() <= 4 * (1 + 1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, x: viz.occlusion(m, x, patch=4, stride=4, fill=127.5),
        lambda m, x: viz.insertion_deletion(m, x, x.mean(1), fill=128),
        lambda m, x: viz.integrated_gradients(m, x, baseline=np.full((3, 1, 1), 124.0)),
        lambda m, x: viz.completeness(m, x, x, baseline=255),
        lambda m, x: viz.score_cam(m, x, baseline=-2.0),
    ],
    ids=["occlusion", "insertion_deletion", "integrated_gradients", "completeness", "score_cam"],
)
def test_fills_and_baselines_in_other_units_are_refused(call):
    with pytest.raises(ValueError, match=r"(fill|baseline) goes from .* takes pixels in \[0, 1\]"):
        call(network(), pictures())


# ---- what is kept in [0, 1] must begin there, whether the network declares a range or not ----------------------------

PIXELS = {  # of a network without a range, a photograph in [0, 1] and what stands in its place
    "corrupt": lambda m, x, y: [viz.corrupt(y, kind) for kind in viz.corruptions.SEVERITIES],
    "fgsm": lambda m, x, y: viz.fgsm(m, y),
    "maximize": lambda m, x, y: viz.maximize(m, 1, start=y, steps=1),
    "deep_dream": lambda m, x, y: viz.deep_dream(m, y, "conv2", octaves=1, steps=1),
    "deep_dream, not clipped": lambda m, x, y: viz.deep_dream(m, y, "conv2", octaves=1, steps=1, clip=False),
    "invert": lambda m, x, y: viz.invert(m, y, "conv2", steps=1),
    "invert's start": lambda m, x, y: viz.invert(m, x, "conv2", start=y, steps=1),
    "reconstruct_content": lambda m, x, y: viz.reconstruct_content(m, y, ["conv2"], steps=1),
    "reconstruct_content's start": lambda m, x, y: viz.reconstruct_content(m, x, ["conv2"], start=y, steps=1),
    "synthesize_texture": lambda m, x, y: viz.synthesize_texture(m, y, ["conv1"], steps=1),
    "style_transfer's content": lambda m, x, y: viz.style_transfer(m, y, x, ["conv2"], ["conv1"], steps=1),
    "style_transfer's style": lambda m, x, y: viz.style_transfer(m, x, y, ["conv2"], ["conv1"], steps=1),
    "style_transfer's start": lambda m, x, y: viz.style_transfer(m, x, x, ["conv2"], ["conv1"], steps=1, start=y),
    "stylize's content": lambda m, x, y: viz.stylize(m, y, x, ["conv2"], ["conv1"], steps=1),
    "stylize's style": lambda m, x, y: viz.stylize(m, x, y, ["conv2"], ["conv1"], steps=1),
    "cue_conflict": lambda m, x, y: viz.cue_conflict(m, y, x, 1, content_layers=["conv2"], style_layers=["conv1"]),
    "segment": lambda m, x, y: viz.segment(y[0], x[0, 0]),
    "apply_perturbation": lambda m, x, y: viz.apply_perturbation(y, 0 * x),
    "train_linear": lambda m, x, y: viz.train_linear(viz.linear_classifier((3, 12, 12), 2), y, [0], epochs=1),
}


@pytest.mark.parametrize("units", OTHER_UNITS)
@pytest.mark.parametrize("name", PIXELS)
def test_pixels_in_other_units_are_refused_by_what_keeps_them_in_0_to_1(name, units):
    model, x = without_preprocessing(network()), pictures()[:1]
    x[:, :, 0, 0], x[:, :, 0, 1] = 0, 1
    PIXELS[name](model, x, x)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], it goes from"):
        PIXELS[name](model, x, OTHER_UNITS[units](x))


def test_an_image_that_is_not_kept_in_the_range_may_begin_outside():
    start = 100 * pictures()[:1] - 50
    model = without_preprocessing(network())
    assert abs(viz.maximize(model, 1, start=start, steps=1, clip=False).image).max() > 40


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m, x: viz.smooth_grad(m, x, sigma=38), "smooth_grad: sigma must be from 0 to 1, got 38"),
        (lambda m, x: viz.deep_dream(m, x, "conv2", lr=1.5), "deep_dream: lr must be above 0 and at most 1, got 1.5"),
        (lambda m, x: viz.jsma(m, x, target=1, theta=255), "jsma: needs theta from -1 to 1 and not 0"),
        (lambda m, x: viz.jsma(m, x, target=1, theta=np.nan), "jsma: needs theta from -1 to 1 and not 0"),
        (lambda m, x: viz.occlusion(m, x, patch=4, stride=4, fill=np.nan), "occlusion: fill has NaN or infinite"),
        (lambda m, x: viz.integrated_gradients(m, x, baseline=np.nan), "baseline has NaN or infinite values"),
    ],
)
def test_numbers_in_other_units_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(without_preprocessing(network()), pictures())


@pytest.mark.parametrize("name", PIXELS)
def test_what_rounding_makes_of_white_and_black_is_taken(name):
    """0.299 + 0.587 + 0.114 may be a little more than 1."""
    model, x = without_preprocessing(network()), pictures()[:1]
    x[:, :, 0, 0], x[:, :, 0, 1] = np.nextafter(np.float32(1), np.float32(2)), -1e-7
    PIXELS[name](model, x, x)
