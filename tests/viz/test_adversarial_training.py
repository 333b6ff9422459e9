"""Adversarial training: attacked batches within the budget, and a run that goes on bit for bit."""

import numpy as np
import pytest

from minigrad import nn
from models.augment import Augmentation, to_float
from models.training import Recipe
from viz.adversarial_training import AdversarialTrainer

pytestmark = pytest.mark.host("a Trainer is told its device, see tests/standin")


@pytest.fixture
def run():
    """run(epsilon): a trainer of a tiny network on 16 random pictures of two classes."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (16, 12, 12, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, 16)
    recipe = Recipe(epochs=2, batch_size=4, sizes=(10,), lr=0.02, augmentation=Augmentation(area=(0.8, 1.0)))

    def build(epsilon=8 / 255):
        draw = np.random.default_rng(1)
        layers = {"conv": nn.Conv2d(3, 4, 3, rng=draw), "bn": nn.BatchNorm2d(4), "relu": nn.ReLU()}
        layers |= {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(4, 2, rng=draw)}
        data = nn.Sequential(layers), pictures, labels, np.arange(16)
        return AdversarialTrainer(*data, recipe, epsilon=epsilon, attack_steps=2)

    return build


def test_batches_are_attacked_within_the_budget_before_the_step(run, monkeypatch):
    trainer, given, clean = run(), [], []

    def note(views, labels, images=trainer._images):
        clean.append(to_float(views))
        given.append(images(views, labels))
        assert not trainer.model.training  # attacked in evaluation mode
        return given[-1]

    monkeypatch.setattr(trainer, "_images", note)
    list(trainer.steps())
    assert len(given) == 4
    for before, attacked in zip(clean, given, strict=True):
        moved = np.abs(attacked - before).max()
        assert 0 < moved <= 8 / 255 + 1e-6 and attacked.min() >= 0 and attacked.max() <= 1
    assert trainer.model.training


def test_a_stopped_run_goes_on_bit_for_bit(run, tmp_path):
    whole = run()
    for _ in range(2):
        list(whole.steps())
        whole.close_epoch()

    first = run()
    for step in first.steps():
        if step.batch == 2:
            break
    first.save(tmp_path / "checkpoint.npz")
    second = run()
    second.restore(tmp_path / "checkpoint.npz")
    while not second.finished:
        list(second.steps())
        second.close_epoch()
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(array, second.model.state_dict()[name])


def test_a_checkpoint_of_another_budget_is_refused(run, tmp_path):
    run().save(tmp_path / "checkpoint.npz")
    with pytest.raises(ValueError, match="epsilon"):
        run(epsilon=4 / 255).restore(tmp_path / "checkpoint.npz")
