"""What is none of a network's classes: the means, the thresholds, and who is said to be below them."""

import numpy as np
import pytest

import minigrad as mg
import models
from minigrad import nn
from models.known import PASSING, Known, last_maps, learn, shares, threshold


def network(classes=2, channels=4):
    """Passes the channels of a picture on, so that what is seen of it is known."""
    layers = {"preprocess": models.Preprocess(mean=(0.0,) * channels, std=(1.0,) * channels), "relu1": nn.ReLU()}
    layers |= {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(channels, classes)}
    return models.Model(layers, "channels", (4, 4)).eval()


def colours(*of):
    """(N,C,4,4): pictures of one colour."""
    return np.ones((1, 1, 4, 4), np.float32) * np.array(of, np.float32)[:, :, None, None]


def test_shares_are_those_of_the_channels_whatever_the_brightness():
    model = network()
    found = shares(model, mg.Tensor(colours([1, 0, 0, 3], [0.1, 0, 0, 0.3], [0, 0, 0, 0])), "relu1").numpy()
    np.testing.assert_allclose(found, [[0.5, 0, 0, 0.75**0.5], [0.5, 0, 0, 0.75**0.5], [0, 0, 0, 0]], atol=1e-6)


def test_what_makes_other_channels_answer_is_unknown():
    model = network()
    images = colours([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0])
    model.known = Known("relu1", np.eye(4)[:2], 0.7)
    assert models.unknown(model, images).tolist() == [False, False, True, False, True]
    cosines = model.known.cosines(shares(model, mg.Tensor(images), "relu1").numpy())
    np.testing.assert_allclose(cosines, [1, 1, 0, 0.5**0.5, 0], atol=1e-6)


def test_the_means_of_classes_and_a_threshold_are_learnt_from_photographs(monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    images = rng.integers(0, 60, (400, 4, 4, 3), np.uint8)
    images[np.arange(400), :, :, labels] = 200  # class 0 is red, class 1 green
    model, members = network(channels=3), np.arange(200)
    known = learn(model, images, labels, members, np.arange(200, 400))
    assert known.layer == last_maps(model) == "gap" and known.means.shape == (2, 3)
    np.testing.assert_allclose(np.linalg.norm(known.means, axis=1), 1, atol=1e-3)
    pooled = images[members].astype(np.float64).mean((1, 2))
    roots = np.sqrt(pooled / pooled.sum(1, keepdims=True))
    mean = roots[labels[members] == 1].mean(0)
    np.testing.assert_allclose(known.means[1], mean / np.linalg.norm(mean), atol=1e-4)
    assert np.array_equal(known.means, learn(model, images, labels, members[::-1], np.arange(200, 400)).means)
    monkeypatch.setattr("models.known.EACH", 1)
    single = learn(model, images, labels, members, np.arange(200, 400)).means
    assert any(np.allclose(single[0], root, atol=1e-3) for root in roots[labels[members] == 0])
    model.known = known
    own = images[200:].transpose(0, 3, 1, 2).astype(np.float32) / 255
    assert models.unknown(model, own).mean() == pytest.approx(1 - PASSING, abs=1 / 200)
    assert models.unknown(model, colours([0, 0, 1])).all()


def test_means_are_kept_in_the_weights_file_and_by_replaced_layers(tmp_path):
    model = network(channels=3)
    model.known = Known("relu1", np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]), 0.9)
    models.save_weights(model, tmp_path / "net.h5")
    read = models.load(tmp_path / "net.h5")
    assert read.known.layer == "relu1" and read.known.threshold == 0.9 and "class_means" not in read.provenance
    np.testing.assert_array_equal(read.known.means, model.known.means)
    assert models.fold_batch_norm(read).known is read.known
    models.save_weights(network(channels=3), tmp_path / "without.h5")
    assert models.load(tmp_path / "without.h5").known is None


@pytest.mark.parametrize("wrong", [{}, {"layer": "gap"}, {"layer": "gap", "means": [1, 2], "threshold": 0}, [3]])
def test_means_that_are_none_are_refused(wrong, tmp_path):
    model = network(channels=3)
    model.provenance["class_means"] = wrong
    models.save_weights(model, tmp_path / "net.h5")
    with pytest.raises(models.WeightsError, match="its description does not hold"):
        models.load(tmp_path / "net.h5")


def test_a_network_without_a_place_to_look_at_is_refused():
    model = network()
    with pytest.raises(ValueError, match="no chain with a Flatten"):
        last_maps(model.replace({"preprocess": model["preprocess"], "relu1": model["relu1"]}))


def test_without_means_the_largest_probability_decides():
    model = network(classes=3, channels=3)
    model["fc"].weight.data, model["fc"].bias.data = 4 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    images = np.random.default_rng(0).random((500, 3, 4, 4), np.float32) ** 4
    z = model(images).numpy().astype(np.float64)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert not models.unknown(model, images).any()
    model.provenance["known"] = threshold(p.max(1))
    assert models.unknown(model, images).mean() == pytest.approx(1 - PASSING, abs=1 / 500)
    np.testing.assert_array_equal(models.unknown(model, images), p.max(1) < threshold(p.max(1)))


def test_scores_in_place_of_images_are_still_taken():
    model = network(classes=3, channels=3)
    model.provenance["known"] = 0.5
    with pytest.warns(DeprecationWarning, match="give images"):
        assert models.unknown(model, [[0.0, 0, 0], [1e3, 0, 0]]).tolist() == [True, False]


def test_a_network_of_which_nothing_is_known_is_not_asked(monkeypatch):
    model, asked = network(classes=3, channels=3), []
    monkeypatch.setattr(models.Model, "forward", lambda self, x: asked.append(x))
    assert models.unknown(model, np.ones((2, 3, 4, 4), np.float32)).tolist() == [False, False] and not asked
