"""One pixel, JSMA and universal perturbations, against explicit loops and closed forms."""

import itertools

import numpy as np
import pytest

import minigrad as mg
from viz import sparse_attacks as attacks
from viz.attack_report import as_saved, distances
from viz.attacks import scores
from viz.universal import apply_perturbation, universal_perturbation

SHAPE = (3, 6, 5)
SIZE = 3 * 6 * 5

# ---- one pixel -------------------------------------------------------------------------------------------------------


@pytest.fixture
def one_bright_pixel(linear_model):
    """Two classes; only a bright red at one place makes it the second."""
    weight = np.zeros((2, *SHAPE))
    weight[1, 0, 2, 3] = 1.0
    return linear_model(weight.reshape(2, -1), np.array([0.5, 0.0]))


def test_one_pixel_finds_the_pixel_that_counts_and_changes_no_other(one_bright_pixel, images):
    x = images(2, high=0.4)
    found = attacks.one_pixel(one_bright_pixel, x, population=60, generations=40)
    assert (scores(one_bright_pixel, found).argmax(1) == 1).all()
    changed = (found != x).any(1)
    np.testing.assert_array_equal(changed.sum((1, 2)), 1)
    assert changed[:, 2, 3].all()
    np.testing.assert_array_equal(found[:, :, 2, 3], as_saved(found[:, :, 2, 3]))


def test_pixels_limits_how_many_change_and_the_seed_repeats(small_network, images):
    model, x = small_network(), images(1)
    runs = [attacks.one_pixel(model, x, target=2, pixels=3, population=20, generations=3, seed=s) for s in (1, 1, 2)]
    assert 1 <= distances(x, runs[0])["l0"][0] <= 3
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_evolution_reports_after_each_batch_and_ends_when_told(small_network, images, monkeypatch):
    model, x, signs, painted = small_network(), images(1), [], []
    monkeypatch.setattr(attacks, "AT_ONCE", 4)
    painting = attacks._PixelSearch.painted
    monkeypatch.setattr(
        attacks._PixelSearch, "painted", lambda self, c: painted.append(c.shape[1]) or painting(self, c)
    )

    def callback(n, generation, value):
        signs.append((n, generation, value))
        return len(signs) == 5

    found = attacks.one_pixel(model, x, target=2, population=12, generations=9, callback=callback)
    assert [(n, generation) for n, generation, _ in signs] == [(0, 0)] * 5
    values = [value for *_, value in signs]
    assert values == sorted(values)  # the target's log probability, the best so far
    assert sum(painted) == 5 * 4 + 2  # then what was looked at after the generation, and the best
    p = mg.functional.log_softmax(mg.Tensor(scores(model, found)), 1).numpy()[0, 2]
    assert p == pytest.approx(values[-1], rel=1e-6)


def test_evolution_minimises_the_labels_log_probability(small_network, images):
    model, x = small_network(), images(1)
    search = attacks._PixelSearch(model, x[0], 1, 1, pixels=1)
    candidates = np.random.default_rng(0).random((5, 7))
    painted = search.painted(candidates)
    for image, candidate in zip(painted, candidates.T, strict=True):
        expected = x[0].copy()
        expected[:, int(candidate[0] * 6), int(candidate[1] * 5)] = np.rint(candidate[2:] * 255) / 255
        np.testing.assert_allclose(image, expected, atol=1e-7)
    p = mg.functional.softmax(mg.Tensor(scores(model, painted)), 1).numpy()[:, 1]
    np.testing.assert_allclose(search.loss(candidates), np.log(p), rtol=1e-9)
    search.direction = -1
    np.testing.assert_allclose(search.loss(candidates), -np.log(p), rtol=1e-9)


# ---- JSMA ------------------------------------------------------------------------------------------------------------


def pair_by_loops(jacobian, target, free, sign):
    """Papernot et al., algorithm 3, as it is written."""
    best, chosen = 0.0, None
    for p, q in itertools.combinations([i for i in range(jacobian.shape[1]) if free[i]], 2):
        alpha = sign * sum(jacobian[target, i] for i in (p, q))
        beta = sign * sum(jacobian[j, i] for i in (p, q) for j in range(len(jacobian)) if j != target)
        if alpha > 0 and beta < 0 and -alpha * beta > best:
            best, chosen = -alpha * beta, [p, q]
    return chosen


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_pair_is_that_of_explicit_loops(sign):
    rng = np.random.default_rng(0)
    for _ in range(5):
        jacobian, free = rng.standard_normal((4, 14)), rng.random(14) < 0.7
        a, b = jacobian[2], jacobian.sum(0) - jacobian[2]
        assert list(attacks.best_pair(a, b, free, sign, 14)) == pair_by_loops(jacobian, 2, free, sign)
    assert attacks.best_pair(-np.ones(4), np.ones(4), np.ones(4, bool), 1, 4) is None


def test_jsma_changes_the_pairs_of_the_loops_in_their_order(linear_model, images):
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((3, SIZE))
    x = images(1, low=0.2, high=0.8)
    model = linear_model(weight, np.array([25.0, 0.0, 0.0]))
    free, expected = np.ones(SIZE, bool), x.ravel().copy()
    met = []
    attacks.jsma(model, x, target=2, gamma=0.2, callback=lambda step, x, still: met.append(x.copy()) and None)
    for image in met:
        pair = pair_by_loops(weight, 2, free, 1)
        expected[pair], free[pair] = 1, False
        np.testing.assert_array_equal(image.ravel(), expected)
    assert len(met) == int(0.2 * SIZE / 2)


@pytest.mark.parametrize("theta", [1.0, -1.0, 0.3])
def test_jsma_reaches_the_target_within_its_share_of_values(theta, small_network, images):
    model, x = small_network(), images(2)
    target = (scores(model, x).argmax(1) + 1) % 4
    found = attacks.jsma(model, x, target=target, theta=theta, gamma=0.4)
    changed = (found != x).sum((1, 2, 3))
    assert found.min() >= 0 and found.max() <= 1
    assert (changed <= 2 * int(0.4 * SIZE / 2)).all() and changed.any()
    assert ((found - x) * theta >= 0).all()
    single = np.concatenate(
        [attacks.jsma(model, x[n : n + 1], target=target[n], theta=theta, gamma=0.4) for n in (0, 1)]
    )
    np.testing.assert_array_equal(found, single)


def test_jsma_leaves_alone_what_has_the_target_already(small_network, images):
    model, x = small_network(), images(2)
    np.testing.assert_array_equal(attacks.jsma(model, x, target=scores(model, x).argmax(1)), x)


# ---- universal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm, epsilon", [("linf", 0.1), ("l2", 0.8)])
def test_a_universal_perturbation_fools_within_its_norm(norm, epsilon, linear_model, images):
    w = np.random.default_rng(0).standard_normal(SIZE)
    x = images(12, low=0.3, high=0.7)
    lead = np.median(x.reshape(12, -1) @ w) - 0.5  # most images are of class 1, by a little
    model = linear_model(np.stack([np.zeros(SIZE), w]), np.array([lead, 0.0]))
    own = scores(model, x).argmax(1)
    x = x[own == np.bincount(own).argmax()]  # one class: a single direction serves all of them
    v = universal_perturbation(model, x, epsilon=epsilon, norm=norm, fooling_rate=1.0, epochs=4)
    size = np.abs(v).max() if norm == "linf" else np.linalg.norm(v)
    assert v.shape == (1, *SHAPE) and 0 < size <= epsilon * (1 + 1e-12)
    fooled = scores(model, apply_perturbation(x, v)).argmax(1) != scores(model, x).argmax(1)
    assert fooled.mean() >= 0.8
    cosine = (v.ravel() @ w) / np.linalg.norm(v) / np.linalg.norm(w)
    assert abs(cosine) > 0.75  # along w, which all borders share


def test_applying_a_perturbation_stays_valid(images):
    x = images(3)
    v = np.full((1, *SHAPE), 0.3)
    found = apply_perturbation(x, v)
    np.testing.assert_array_equal(found, np.minimum(x + 0.3, 1))
