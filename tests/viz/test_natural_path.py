"""Optimised pictures beside photographs: by hand, and where the answer is known."""

import numpy as np
import pytest

import viz
from minigrad import nn


def plain(side=4):
    """A network whose layer is the picture itself: profiles are mean colours."""
    layers = {"same": nn.Identity() if hasattr(nn, "Identity") else nn.Dropout(), "gap": nn.AdaptiveAvgPool2d(1)}
    return nn.Sequential(layers | {"flatten": nn.Flatten()}).eval()


def colours(*means):
    """Pictures of these mean colours, with other patterns."""
    rng = np.random.default_rng(0)
    pattern = rng.normal(size=(len(means), 3, 4, 4))
    pattern -= pattern.mean((2, 3), keepdims=True)
    return np.array(means, float)[:, :, None, None] + 0.1 * pattern


def test_likeness_by_hand():
    """Reds beside blues: the middle of all photographs is (1/2, 0, 1/2), so red is (1, 0, -1) to it, and blue less."""
    natural, other = colours((1, 0, 0), (1, 0, 0)), colours((0, 0, 1), (0, 0, 1))
    made = colours((1, 0, 0), (0, 0, 1), (0.5, 1, 0.5), (1, 0.5**0.5, 0))
    found = viz.natural_path(plain(), made, natural, other, "same")
    np.testing.assert_allclose(found.natural, [[1], [1]])
    np.testing.assert_allclose(found.other, [[-1], [-1]])
    np.testing.assert_allclose(found.made, [[1], [-1], [0], [0.5**0.5]], atol=1e-12)
    np.testing.assert_allclose(found.relative, [[1], [0], [0.5], [(1 + 0.5**0.5) / 2]], atol=1e-12)


def test_photographs_in_the_place_of_optimised_pictures_are_as_like_as_themselves(small_network, images):
    model = small_network()
    natural, other = images(6, seed=1, shape=(3, 8, 8)), images(9, seed=2, shape=(3, 8, 8)) ** 3
    same = viz.natural_path(model, natural[:2], natural[2:], other, ["relu1", "relu2", "gap"])
    assert same.made.shape == (2, 3) and same.natural.shape == (4, 3) and same.other.shape == (9, 3)
    assert same.layers == ("relu1", "relu2", "gap")
    np.testing.assert_allclose(same.made[:, 1], same.made[:, 2])  # places are averaged
    assert (same.made > same.other.mean(0)).all() and (same.relative > 0.5).all()
    whole = viz.natural_path(model, natural[:2], natural[2:], other, "relu2", batch_size=2)
    np.testing.assert_allclose(whole.made[:, 0], same.made[:, 1], atol=1e-12)
    foreign = viz.natural_path(model, other[:2], natural[2:], other[2:], ["relu1", "relu2"])
    assert (foreign.relative < 0.5).all()


def test_where_photographs_do_not_differ_there_is_no_answer():
    same = colours((1, 0, 0), (1, 0, 0), (1, 0, 0))
    found = viz.natural_path(plain(), same[:1], np.repeat(same[:1], 2, 0), same[:1], "same")
    assert np.isnan(found.relative).all()


def test_too_few_photographs_are_refused(small_network, images):
    with pytest.raises(ValueError, match="two photographs of its kind and others, got 1, 1, 3"):
        viz.natural_path(small_network(), images(1), images(1), images(3), "relu1")
