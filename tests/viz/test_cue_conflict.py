"""Cue-conflict images and who decides."""

import numpy as np
import pytest

from minigrad import nn
from viz.cue_conflict import cue_conflict, shape_decisions


def test_decisions_are_counted(linear_model):
    # the brightest channel is the class
    model = linear_model(np.eye(3))
    image = np.zeros((4, 3, 1, 1))
    image[[0, 1, 2, 3], [0, 1, 2, 0]] = 1  # named 0, 1, 2, 0
    found = shape_decisions(model, image, shape=[0, 2, 0, 0], texture=[1, 1, 1, 2])
    assert found == {"images": 4, "shape": 0.5, "texture": 0.25, "neither": 0.25, "shape_bias": pytest.approx(2 / 3)}
    assert shape_decisions(model, image[:1], [1], [2])["shape_bias"] is None


def test_shape_and_texture_must_differ(linear_model):
    with pytest.raises(ValueError, match="image 1 are one class"):
        shape_decisions(linear_model(np.eye(3)), np.zeros((2, 3, 1, 1)), [0, 1], [1, 1])


def test_each_image_has_its_own_shape_and_texture(images):
    rng = np.random.default_rng(0)
    layers = {"relu1": nn.ReLU()}
    model = nn.Sequential({"conv1": nn.Conv2d(3, 6, 3, padding=1, rng=rng), **layers})
    content, style = (images(2, seed, (3, 12, 12)).astype(np.float32) for seed in (1, 2))
    found = cue_conflict(model, content, style, steps=5, content_layers=["relu1"], style_layers=["relu1"])
    assert found.shape == content.shape
    # to be sure that pairs are not mixed up: each alone gives the same
    alone = cue_conflict(model, content[1:], style[1:], steps=5, content_layers=["relu1"], style_layers=["relu1"])
    np.testing.assert_array_equal(found[1:], alone)
    with pytest.raises(ValueError, match="one texture for each shape"):
        cue_conflict(model, content, style[:1])
