"""The index of best patches holds what `top_patches` finds, also after it was written and read."""

import numpy as np
import pytest

import models
import viz
from minigrad import nn
from models.layers import Preprocess


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)
    layers = {"preprocess": Preprocess(mean=(0.5,) * 3), "conv": nn.Conv2d(3, 5, 3, stride=2, padding=1, rng=rng)}
    return models.Model(layers | {"relu": nn.ReLU()}, "small", (16, 16)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).random((7, 3, 4, 4), np.float32).repeat(4, 2).repeat(4, 3)


def test_it_holds_what_top_patches_finds(network, images, tmp_path):
    index = viz.index_patches(network, images, ["conv", "relu"], count=3)
    index.save(tmp_path / "patches.npz")
    kept = np.concatenate([index.image(n) for n in range(len(index))])
    assert abs(kept - images).mean() < 0.08  # of noise, the hardest to keep
    for one in (index, viz.load_patches(tmp_path / "patches.npz")):
        assert one.layers == ["conv", "relu"] and len(one) == 7
        for channel in range(5):
            found, expected = one.of(network, "relu", channel), viz.top_patches(network, kept, "relu", channel, 3)
            for name in ("image", "row", "column", "box", "pixels"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
            np.testing.assert_allclose(found.activation, expected.activation, rtol=1e-5)


def test_what_is_no_index_is_refused(network, images, tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("other.npz", "text.npz"):
        with pytest.raises(ValueError, match="is no index of patches"):
            viz.load_patches(tmp_path / name)
    with pytest.raises(ValueError, match="the index knows conv, not 'relu'"):
        viz.index_patches(network, images, ["conv"]).of(network, "relu", 0)
