"""Top patches: the winners by explicit loops, and receptive fields by changing pixels."""

import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from viz import patches
from viz.inside import activation_maps

LAYER = "relu2"


@pytest.fixture
def case(small_network, images):
    """A network and 6 images of 11 by 9 pixels."""
    return small_network(), images(6, shape=(3, 11, 9))


def test_the_winners_are_those_of_explicit_loops(case):
    model, x = case
    a = activation_maps(model, x, LAYER)
    best = []
    for n in range(len(x)):
        values = [(a[n, 5, i, j], n, i, j) for i in range(a.shape[2]) for j in range(a.shape[3])]
        best.append(max(values, key=lambda v: v[0]))
    best = sorted(best, key=lambda v: -v[0])[:4]
    found = patches.top_patches(model, x, LAYER, 5, count=4, batch_size=4)
    np.testing.assert_allclose(found.activation, [v[0] for v in best], rtol=1e-12)
    np.testing.assert_array_equal(np.stack([found.image, found.row, found.column], 1), [v[1:] for v in best])


def test_a_patch_is_exactly_what_the_unit_sees(case):
    model, x = case
    found = patches.top_patches(model, x, LAYER, 2, count=6)
    for k in range(6):
        n, (top, left, bottom, right) = found.image[k], found.box[k]
        unit = (slice(None), 2, found.row[k], found.column[k])
        image = mg.Tensor(x[n : n + 1], requires_grad=True)
        gradient = mg.grad(model.activations(image, ["conv2"])["conv2"][unit].sum(), image).numpy()[0]
        outside = np.ones((11, 9), bool)
        outside[max(top, 0) : bottom, max(left, 0) : right] = False
        assert not gradient[:, outside].any() and gradient.any()
        assert (bottom - top, right - left) == (8, 8) == found.pixels.shape[2:]  # 3x3, then 2x2 of stride 2, then 3x3
        inside = found.pixels[k][:, max(-top, 0) : 11 - top, max(-left, 0) : 9 - left]
        np.testing.assert_array_equal(inside, x[n][:, max(top, 0) : bottom, max(left, 0) : right])


def test_pixels_in_the_patch_decide_the_activation_alone(case):
    model, x = case
    found = patches.top_patches(model, x, LAYER, 1, count=1)
    top, left, bottom, right = found.box[0]
    changed = np.random.default_rng(5).uniform(0, 1, x.shape)
    window = (slice(None), slice(None), slice(max(top, 0), bottom), slice(max(left, 0), right))
    changed[window] = x[window]
    a = activation_maps(model, changed, LAYER)[found.image[0], 1, found.row[0], found.column[0]]
    assert a == pytest.approx(found.activation[0], rel=1e-12)


def test_of_a_field_larger_than_the_image_the_image_is_shown(small_network, images):
    """Of images of 5 by 9 pixels, whose fields of 8 by 8 are higher, but not wider."""
    model, x = small_network(), images(6, shape=(3, 5, 9))
    found = patches.top_patches(model, x, LAYER, 2, count=6)
    projected = patches.projections(model, x, found)
    assert found.pixels.shape == projected.shape == (6, 3, 5, 8)
    for k, (top, left, bottom, right) in enumerate(found.box):
        assert (bottom - top, right - left) == (8, 8)
        rows, columns = slice(max(top, 0), bottom), slice(max(left, 0), right)
        inside = (slice(None), rows, slice(max(-left, 0), 9 - left))
        np.testing.assert_array_equal(found.pixels[k][inside], x[found.image[k]][:, rows, columns])
        unseen = np.ones((5, 8), bool)
        unseen[inside[1:]] = False
        assert (found.pixels[k][:, unseen] == 0.5).all() and not projected[k][:, unseen].any()
        unit = (2, int(found.row[k]), int(found.column[k]))
        whole = patches.METHODS["guided_backprop"](model, x[found.image[k]][None], layer=LAYER, unit=unit)
        assert np.abs(projected[k]).sum() == pytest.approx(np.abs(whole).sum(), rel=1e-10)


def test_crop_fills_beyond_the_image():
    image = np.arange(12.0).reshape(1, 3, 4)
    found = patches.crop(image, (-1, 2, 2, 6), -1.0)
    np.testing.assert_array_equal(found[0], [[-1, -1, -1, -1], [2, 3, -1, -1], [6, 7, -1, -1]])
    assert (patches.crop(image, (5, 0, 7, 2), -1.0) == -1).all()


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_projections_lose_nothing_by_cropping(case, method):
    model, x = case
    found = patches.top_patches(model, x, LAYER, 3, count=3)
    projected = patches.projections(model, x, found, method)
    assert projected.shape == found.pixels.shape
    for k in range(3):
        unit = (3, int(found.row[k]), int(found.column[k]))
        whole = patches.METHODS[method](model, x[found.image[k]][None], layer=LAYER, unit=unit)
        assert np.abs(projected[k]).sum() == pytest.approx(np.abs(whole).sum(), rel=1e-10)


def test_a_unit_at_the_bound_of_a_relu6_is_projected_from_before_it(images):
    rng, chain = np.random.default_rng(0), {}
    chain["conv"], chain["relu6"] = nn.Conv2d(3, 2, 3, rng=rng), nn.ReLU6()
    chain["conv"].weight.data = (20 * chain["conv"].weight.detach()).data
    model, x = nn.Sequential(chain).eval(), images(4, shape=(3, 7, 7)).astype(np.float32)
    found = patches.top_patches(model, x, "relu6", 1, count=2)
    assert (found.activation == 6).all()
    for method, attribution in patches.METHODS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a deconvnet without pools, a linear network
            projected = patches.projections(model, x, found, method)
            unit = (1, int(found.row[0]), int(found.column[0]))
            wanted = attribution(model, x[found.image[:1]], layer="conv", unit=unit)
        assert np.abs(projected[0]).sum() == pytest.approx(np.abs(wanted).sum(), rel=1e-5) and projected.any()


def test_live_channels_are_drawn_from_those_that_respond(case):
    model, x = case
    maxima = patches.channel_maxima(model, x, ["relu1", LAYER])
    assert maxima["relu1"][0].shape == (6, 6) and maxima[LAYER][0].shape == (6, 8)
    silent = (maxima[LAYER][0].copy(), *maxima[LAYER][1:])
    silent[0][:, [0, 4]] = 0
    found = patches.live_channels(silent, 8, needed=1, rng=np.random.default_rng(0))
    assert not {0, 4} & set(found.tolist())


def test_mistakes_are_named(case):
    model, x = case
    with pytest.raises(ValueError, match="out of range"):
        patches.top_patches(model, x, LAYER, 8)
    with pytest.raises(ValueError, match="no positions"):
        patches.channel_maxima(model, x, ["fc"])
    with pytest.raises(ValueError, match="method"):
        patches.projections(model, x, patches.top_patches(model, x, LAYER, 0, count=1), "saliency")
