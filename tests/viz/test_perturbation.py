"""Occlusion and RISE: against captum, for linear scores by hand, and against the formula with the same masks."""

import numpy as np
import pytest
from scipy.ndimage import zoom

import minigrad as mg
import viz
from minigrad import nn
from models import Preprocess
from tests.viz.reference_networks import reference
from viz.perturbation import filling, passes, rise_masks
from viz.random import stream


@pytest.fixture(scope="module")
def golden():
    return reference("vgg")


def probabilities(model, image, target):
    y = np.exp(model(mg.Tensor(image)).numpy())
    return (y / y.sum(1, keepdims=True))[np.arange(len(image)), target]


@pytest.mark.parametrize("name", ["vgg", "squeezenet"])
def test_occlusion_is_captums(name):
    model, image, target, found = reference(name)
    ours = viz.occlusion(model, image, target, patch=(4, 6), stride=(2, 3), fill=0.5)
    np.testing.assert_allclose(ours, found["occlusion"], rtol=1e-6, atol=1e-8)  # captum adds up in float32
    assert abs(ours).max() > 1e-3


def test_occlusion_of_a_linear_score_by_hand(linear_model):
    """A patch takes away sum w (x - fill) over it. Stride 2 on 5 columns needs a last patch that starts at column 3."""
    w = np.random.default_rng(0).normal(size=(2, 3, 2, 5))
    model = linear_model(w.reshape(2, -1))
    image = np.random.default_rng(1).uniform(size=(1, 3, 2, 5))
    part = (w[1] * (image[0] - 0.25)).sum((0, 1))  # by column
    one, two, last = part[0:2].sum(), part[2:4].sum(), part[3:5].sum()
    expected = np.tile([one, one, two, (two + last) / 2, last], (2, 1))
    ours = viz.occlusion(model, image, 1, patch=2, stride=2, fill=0.25)
    np.testing.assert_allclose(ours[0], expected, rtol=1e-12)


def test_occlusion_can_watch_the_probability_or_a_neuron(golden):
    model, image, target, _ = golden
    covered = image.copy()
    covered[:, :, :6, :6] = 0.5
    fall = probabilities(model, image, target) - probabilities(model, covered, target)
    ours = viz.occlusion(model, image, target, patch=6, stride=6, output="probability")
    np.testing.assert_allclose(ours[:, 2, 3], fall, rtol=1e-10)

    neuron = viz.occlusion(model, image, layer="conv1", unit=(1, 0, 0), patch=3, stride=3)
    assert neuron[:, :3, :3].all() and not neuron[:, 3:].any() and not neuron[:, :, 3:].any()
    with pytest.raises(ValueError, match="no probability"):
        viz.occlusion(model, image, layer="conv1", patch=3, stride=3, output="probability")


def test_occlusion_refuses_patches_that_leave_pixels_out(golden):
    model, image, *_ = golden
    for patch, stride in ((13, 2), (3, 4)):
        with pytest.raises(ValueError, match="must fit the image"):
            viz.occlusion(model, image, patch=patch, stride=stride)


@pytest.mark.parametrize("hw, cells", [((12, 12), 3), ((10, 7), 4)])
def test_masks_are_cut_from_an_upsampled_grid(hw, cells):
    masks = rise_masks(3, hw, cells, 0.5, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    for mask in masks:
        grid = (rng.random((cells, cells)) < 0.5).astype(float)
        cell = [int(np.ceil(n / cells)) for n in hw]
        smooth = zoom(grid, [(cells + 1) * c / cells for c in cell], order=1, grid_mode=True, mode="nearest")
        top, left = rng.integers(cell[0]), rng.integers(cell[1])
        np.testing.assert_allclose(mask, smooth[top : top + hw[0], left : left + hw[1]], atol=1e-6)


def test_masks_keep_the_asked_share():
    masks = rise_masks(800, (8, 8), 4, 0.3, np.random.default_rng(0))
    assert masks.min() == 0 and masks.max() == 1
    np.testing.assert_allclose(masks.mean(0), 0.3, atol=0.06)


def test_rise_is_equation_6(golden):
    model, image, target, _ = golden
    masks = rise_masks(20, (12, 12), 3, 0.4, stream(2, "rise")).astype(np.float64)
    expected = np.zeros((2, 12, 12))
    for mask in masks:
        expected += probabilities(model, image * mask, target)[:, None, None] * mask
    for batch_size in (1, 7):  # has no influence
        ours = viz.rise(model, image, target, samples=20, cells=3, keep=0.4, seed=2, batch_size=batch_size)
        np.testing.assert_allclose(ours, expected / (0.4 * 20), rtol=1e-10)
    few = {"cells": 3, "keep": 0.4, "seed": 2, "batch_size": 8}
    stopped = viz.rise(model, image, target, samples=50, callback=lambda done, steps, so_far: done == 20, **few)
    np.testing.assert_allclose(stopped, expected / (0.4 * 20), rtol=1e-10)
    with pytest.raises(ValueError, match="rise: samples must be at least 1, got 0"):
        viz.rise(model, image, target, samples=0)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_the_mean_colour_is_what_the_network_sees_as_zero(golden, order):
    """RISE as its authors' code computes it: preprocessed pixels times the mask."""
    model, image, target, _ = golden
    preprocess = Preprocess(scale=255, mean=(104, 117, 123), std=(50, 60, 70), channel_order=order)
    whole = nn.Sequential({"preprocess": preprocess, **dict(model.children())})
    masks = rise_masks(20, (12, 12), 3, 0.4, stream(2, "rise")).astype(np.float64)
    seen = preprocess(mg.Tensor(image)).numpy()
    expected = sum(probabilities(model, seen * m, target)[:, None, None] * m for m in masks) / (0.4 * 20)
    how = {"samples": 20, "cells": 3, "keep": 0.4, "seed": 2}
    np.testing.assert_allclose(viz.rise(whole, image, target, fill="mean", **how), expected, rtol=1e-10)
    assert abs(viz.rise(whole, image, target, **how) - expected).max() > 1e-3
    with pytest.raises(ValueError, match="rise: fill must be numbers or \"mean\", got 'grey'"):
        viz.rise(whole, image, target, fill="grey")
    assert (filling("rise", model, "mean", image) == 0).all()  # no preprocessing


def test_rise_finds_the_pixels_that_count():
    """y is the mean of one quarter of the image: with masks of 2 x 2 cells, that quarter stands out."""
    weight = np.zeros((3, 8, 8))
    weight[:, 4:, :4] = 1 / 48
    fc = nn.Linear(192, 1, bias=False)
    fc.weight.data = weight.reshape(1, -1)
    model = nn.Sequential({"flatten": nn.Flatten(), "fc": fc})
    cam = viz.rise(model, np.ones((1, 3, 8, 8)), 0, samples=400, cells=2, output="logit")[0]
    quarter = cam[4:, :4].mean()
    assert quarter > 1.15 * max(cam[:4, :4].mean(), cam[:4, 4:].mean(), cam[4:, 4:].mean())


@pytest.mark.parametrize("method, few", [("occlusion", {"patch": 4, "stride": 4}), ("rise", {"samples": 6})])
def test_an_image_in_a_batch_is_explained_as_if_alone(golden, method, few):
    model, image, target, _ = golden
    function = getattr(viz, method)
    alone = [function(model, image[i : i + 1], target[i], **few) for i in range(2)]
    np.testing.assert_allclose(function(model, image, target, **few), np.concatenate(alone), rtol=1e-9, atol=1e-14)
    top = model(mg.Tensor(image)).numpy().argmax(1)
    np.testing.assert_array_equal(function(model, image, **few), function(model, image, top, **few))


def test_what_is_watched_has_a_name(golden):
    model, image, *_ = golden
    with pytest.raises(ValueError, match='"logit" or "probability", got'):
        viz.rise(model, image, samples=2, output="score")


@pytest.mark.parametrize("method", [viz.occlusion, viz.rise, viz.score_cam])
def test_several_classes_of_one_photograph_take_the_passes_of_one(small_network, images, monkeypatch, method):
    model, image, count = small_network(), images(1, shape=(3, 8, 8)), []
    few = {viz.occlusion: {"patch": 4, "stride": 2}, viz.rise: {"samples": 9}, viz.score_cam: {"batch_size": 3}}[method]
    forward = model["conv1"].forward
    monkeypatch.setattr(model["conv1"], "forward", lambda x: count.append(len(x)) or forward(x))
    classes = [0, viz.Contrast(1, 0), 3]
    alone = [method(model, image, [one], **few)[0] for one in classes]
    passed, together = sum(count), method(model, np.repeat(image, 3, 0), classes, **few)
    assert sum(count) - passed < 2 * passed / 3
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-12)
    assert together.any((1, 2)).all() and not np.allclose(together[0], together[2])

    others = method(model, np.concatenate([image, image[..., ::-1], image]), [0, 0, 0], **few)
    np.testing.assert_allclose(others[[0, 2]], [alone[0]] * 2, rtol=1e-9, atol=1e-12)
    assert not np.allclose(others[1], others[0])


@pytest.mark.host("how many images suit a CPU's caches")
def test_as_many_images_go_at_once_as_the_caches_like(small_network):
    model = small_network()
    image = np.zeros((1, 3, 112, 112))
    assert sizes(passes("rise", image, model, 41)) == [41]
    assert sizes(passes("rise", np.zeros((1, 3, 1000, 1000)), model, 3)) == [1, 1, 1]
    assert sizes(passes("rise", image, model, 9, 7)) == [5, 4]  # alike, none of few images
    assert sizes(passes("rise", image.repeat(3, 0), model, 9, 7)) == [2, 2, 2, 2, 1]
    assert sizes(passes("rise", image.repeat(9, 0), model, 2, 7)) == [1, 1]
    assert passes("rise", image, model, 0) == []
    with pytest.raises(ValueError, match="rise: batch_size must be at least 1, got 0"):
        passes("rise", image, model, 9, 0)


def sizes(slices):
    """How long slices are that follow each other from 0."""
    assert [some.start for some in slices] == [0, *(some.stop for some in slices[:-1])]
    return [some.stop - some.start for some in slices]
