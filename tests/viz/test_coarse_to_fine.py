"""Style transfer from small to full size, against the same done by hand, size after size."""

import numpy as np
import pytest

import viz
from minigrad import nn
from viz.coarse_to_fine import factors
from viz.style import resized

LAYERS = {"content_layers": ["relu2"], "style_layers": ["relu1", "relu2"]}
SIZE = (128, 132)


@pytest.fixture(scope="module")
def net():
    rng = np.random.default_rng(0)
    layers = {"conv1": nn.Conv2d(3, 4, 3, padding=1, rng=rng), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2)}
    return nn.Sequential(layers | {"conv2": nn.Conv2d(4, 6, 3, padding=1, rng=rng), "relu2": nn.ReLU()})


def picture(seed, size=SIZE):
    return np.random.default_rng(seed).random((1, 3, *size), np.float32)


def test_sizes_double_and_none_has_a_side_under_64_pixels():
    assert factors((256, 300), 3) == [0.25, 0.5, 1.0]
    assert factors((255, 300), 3) == [0.5, 1.0]
    assert factors((20, 30), 3) == [1.0]


def test_one_size_begins_with_what_came_of_the_one_before(net):
    content, style = picture(0), picture(1, (140, 160))
    found = viz.style_coarse_to_fine(net, content, style, **LAYERS, steps=3)
    half = viz.style_transfer(net, resized(content, (64, 66)), style, **LAYERS, style_scale=0.5, steps=3)
    by_hand = viz.style_transfer(net, content, style, **LAYERS, start=resized(half.image, SIZE), steps=3)
    np.testing.assert_array_equal(found.image, by_hand.image)
    assert found.losses == by_hand.losses and found.settings == by_hand.settings and found.steps == 6
    alone = viz.style_coarse_to_fine(net, content, style, **LAYERS, scales=1, steps=3)
    np.testing.assert_array_equal(alone.image, viz.style_transfer(net, content, style, **LAYERS, steps=3).image)
    assert abs(alone.image - found.image).max() > 0.01


@pytest.mark.parametrize(("size", "scale"), [((30, 40), 1), ((80, 100), 0.8), ((200, 200), 0.5)])
def test_a_small_style_is_reduced_to_64_pixels_at_most(net, size, scale):
    content, style = picture(0), picture(1, size)
    found = viz.style_coarse_to_fine(net, content, style, **LAYERS, steps=1)
    half = viz.style_transfer(net, resized(content, (64, 66)), style, **LAYERS, style_scale=scale, steps=1)
    by_hand = viz.style_transfer(net, content, style, **LAYERS, start=resized(half.image, SIZE), steps=1)
    np.testing.assert_array_equal(found.image, by_hand.image)


def test_steps_are_counted_on_and_every_picture_is_whole(net):
    seen, start = [], picture(2)

    def callback(step, image, losses):
        seen.append((step, image.shape, set(losses)))

    found = viz.style_coarse_to_fine(
        net, picture(0), picture(1), **LAYERS, start=start, steps=2, record=1, callback=callback
    )
    assert seen == [(n, (1, 3, *SIZE), {"content", "style"}) for n in (1, 2, 3, 4)]
    assert [frame.shape for frame in found.frames] == [(1, 3, *SIZE)] * 5
    np.testing.assert_array_equal(found.frames[0], resized(resized(start, (64, 66)), SIZE))
    np.testing.assert_array_equal(found.frames[-1], found.image)


def test_stopped_in_the_small_it_is_enlarged(net):
    found = viz.style_coarse_to_fine(
        net, picture(0), picture(1), **LAYERS, steps=9, callback=lambda step, image, losses: step == 2
    )
    assert found.stopped and found.steps == 2 and found.image.shape == (1, 3, *SIZE)


def test_colours_are_kept_at_every_size(net):
    content = picture(0) * 0.5 + 0.25
    found = viz.style_coarse_to_fine(net, content, picture(1), **LAYERS, original_colors=True, steps=2).image
    inside = ((found > 0) & (found < 1)).all(1)
    difference = (found - content).transpose(0, 2, 3, 1)[inside]
    assert inside.mean() > 0.5 and np.ptp(difference, axis=1).max() < 1e-5  # only the luminance has changed


def test_a_start_is_a_picture_of_the_contents_size(net):
    with pytest.raises(ValueError, match="start is"):
        viz.style_coarse_to_fine(net, picture(0), picture(1), **LAYERS, start=picture(2, (5, 5)))
    with pytest.raises((TypeError, ValueError), match="image|picture"):
        viz.style_coarse_to_fine(net, picture(0), picture(1), **LAYERS, start=None)


def test_what_is_no_number_of_sizes_is_refused(net):
    with pytest.raises(ValueError, match="scales"):
        viz.style_coarse_to_fine(net, picture(0), picture(1), **LAYERS, scales=0)
