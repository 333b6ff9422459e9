"""Networks for scenes: they learn their cue, and are kept and found again."""

import numpy as np
import pytest

from viz.ground_truth import networks
from viz.ground_truth.networks import ARCHITECTURES, accuracy, build, scored, train, trained
from viz.ground_truth.scenes import scenes
from viz.head import default_layer
from viz.target import as_leaf

pytestmark = pytest.mark.host("its networks are made on the CPU")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_gives_four_scores_of_pixels_and_has_maps_before_its_head(architecture):
    model = build(architecture)
    assert scored(model, scenes(2).images).shape == (2, 4)
    layer = default_layer(model)
    assert model.activations(as_leaf(model, scenes(1).images), layer)[layer].shape == (1, 32, 12, 12)


def test_a_network_learns_its_cue_and_no_other():
    model = build("plain")
    losses = train(model, "background", steps=120, count=1500)
    assert np.mean(losses[-10:]) < 0.25 < 1.3 < losses[0]
    assert accuracy(model, "background") > 0.9
    assert accuracy(model, "object") < 0.35
    assert not any(tensor.requires_grad for _, tensor in model.named_tensors())


def test_training_is_a_function_of_the_seed():
    first, again, other = (train(build("plain", seed), "mark", seed, steps=3, count=50) for seed in (1, 1, 2))
    np.testing.assert_allclose(first, again, rtol=1e-6)
    assert abs(np.subtract(first, other)).max() > 1e-3


def test_a_trained_network_is_kept_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "STEPS", 2)
    monkeypatch.setattr(networks, "ENOUGH", 0.0)
    made = trained("plain", "object", tmp_path / "kept", seed=3)
    monkeypatch.setattr(networks, "train", None)
    found = trained("plain", "object", tmp_path / "kept", seed=3)
    x = scenes(2).images
    np.testing.assert_array_equal(scored(made, x), scored(found, x))


def test_a_network_that_has_not_learned_is_not_given(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "train", lambda *args, **options: None)
    with pytest.raises(RuntimeError, match="the plain network names the mark of .* of new scenes: try another seed"):
        trained("plain", "mark", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_training_that_fails_is_begun_again_from_another_seed(tmp_path, monkeypatch):
    trained_from = []
    monkeypatch.setattr(networks, "train", lambda model, cue, seed, **options: trained_from.append(seed))
    monkeypatch.setattr(networks, "accuracy", lambda model, cue, seed: 0.99 if len(trained_from) == 2 else 0.25)
    made = trained("plain", "mark", tmp_path, seed=3)
    assert trained_from == [3, 1003]
    np.testing.assert_array_equal(made["fc"].weight.numpy(), build("plain", 1003)["fc"].weight.numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["plain_mark_3.h5"]


def test_names_that_there_are_not_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cue must be one of background, object, distractor, mark, got 'sky'"):
        trained("plain", "sky", tmp_path)
    with pytest.raises(ValueError, match="architecture must be one of plain, residual, got 'vgg'"):
        build("vgg")
