"""The linear classifier: its scores, its training against the closed form of its gradient, its templates."""

import numpy as np
import pytest

from viz.attacks import linear_attack, scores
from viz.linear import linear_classifier, templates, train_linear


def stripes(count=40, size=6, seed=0):
    """Noise with a bright left half (class 0) or a bright right half (class 1)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    x = rng.uniform(0, 0.5, (count, 3, size, size))
    for n, label in enumerate(labels):
        x[n, :, :, label * size // 2 : (label + 1) * size // 2] += 0.5
    return x.astype(np.float32), labels


def test_scores_are_the_templates_products():
    model = linear_classifier((3, 6, 6), 4, seed=1)
    x, _ = stripes()
    expected = np.einsum("kchw,nchw->nk", templates(model), x - 0.5)
    np.testing.assert_allclose(scores(model, x), expected, rtol=1e-4, atol=1e-5)


def test_the_first_step_of_adam_is_the_sign_of_the_gradient():
    x, labels = stripes()
    model = linear_classifier((3, 6, 6), 2, seed=1)
    before = templates(model)
    z = scores(model, x)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True) - np.eye(2)[labels]
    gradient = np.einsum("nk,nchw->kchw", p, x - 0.5) / len(x)
    train_linear(model, x, labels, epochs=1, lr=1e-3, batch_size=len(x))
    np.testing.assert_allclose(templates(model) - before, -1e-3 * np.sign(gradient), atol=2e-6)


def test_training_learns_where_the_classes_are_bright():
    x, labels = stripes()
    model = linear_classifier((3, 6, 6), 2)
    losses = train_linear(model, x, labels, epochs=15, lr=5e-3, batch_size=10)
    assert losses[-1] < 0.2 * losses[0] and (scores(model, x).argmax(1) == labels).all()
    left, right = templates(model)
    assert left[:, :, :3].mean() > 0 > left[:, :, 3:].mean()
    assert right[:, :, 3:].mean() > 0 > right[:, :, :3].mean()


def test_the_demonstration_moves_the_scores_difference_by_the_l1_norm():
    x, _ = stripes(3)
    model = linear_classifier((3, 6, 6), 2, seed=2)
    w = templates(model)
    attacked, move = linear_attack(w[1] - w[0], x, epsilon=0.01)
    lead = np.diff(scores(model, attacked)) - np.diff(scores(model, x))
    np.testing.assert_allclose(lead, move, rtol=1e-3)


def test_labels_must_match_images():
    x, labels = stripes()
    with pytest.raises(ValueError, match="one for each"):
        train_linear(linear_classifier((3, 6, 6), 2), x, labels[:-1])
