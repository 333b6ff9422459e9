"""Scores of maps, by hand and at their ends: a perfect map, one that knows nothing, one that is wrong."""

import numpy as np
import pytest

from minigrad import nn
from viz.ground_truth import scores
from viz.ground_truth.scenes import KINDS, PARTS, SIZE, scenes

pytestmark = pytest.mark.host("maps are NumPy's")


@pytest.fixture(scope="module")
def drawn():
    return scenes(30, seed=2)


def test_gain_at_its_ends():
    mask = np.zeros((3, 4, 5), bool)
    mask[:, :2, :2] = True
    maps = np.stack([mask[0], np.ones((4, 5)), ~mask[0]]).astype(float)
    np.testing.assert_allclose(scores.gain(maps, mask), [1, 0, -4 / 16])
    maps -= 2 * (maps == 0)  # what speaks against does not count
    np.testing.assert_allclose(scores.gain(maps, mask), [1, 0, -4 / 16])
    assert scores.gain(0 * maps[:1], mask[:1])[0] == -4 / 16


def test_precision_counts_pixels_and_shares_out_ties():
    mask = np.array([[[1, 1, 0, 0, 0, 0]]], bool).repeat(4, 0)
    maps = np.array([[[9, 8, 7, 0, 0, 0]], [[9, 0, 8, 1, 0, 0]], [[1] * 6], [[5, 2, 2, 2, 0, 0]]], float)
    np.testing.assert_allclose(scores.top_k_precision(maps, mask), [1, 1 / 2, 1 / 3, (1 + 1 / 3) / 2])


def test_the_null_test_sees_through_a_preference_for_one_place(drawn):
    masks = drawn.masks["object"]
    np.testing.assert_allclose(scores.null_test(masks.astype(float), masks), 1, atol=0.01)
    np.testing.assert_allclose(scores.null_test(np.ones(masks.shape), masks), 0.5)
    y, x = np.mgrid[:SIZE, :SIZE]
    centre = np.broadcast_to(np.exp(-((y - 24) ** 2 + (x - 24) ** 2) / 200), masks.shape)
    assert abs(scores.null_test(centre, masks).mean() - 0.5) < 0.02
    assert np.isnan(scores.null_test(centre[:1], masks[:1]))


def test_the_excess_of_parts_is_none_of_a_flat_map_and_adds_up_to_none(drawn):
    maps = np.random.default_rng(0).normal(size=(30, SIZE, SIZE))
    excess = scores.part_excess(maps, drawn.masks)
    np.testing.assert_allclose(excess.sum(1), 0, atol=1e-9)
    mask = drawn.masks["object"][3]
    np.testing.assert_allclose(excess[3, 1], maps[3][mask].sum() - maps[3].sum() * mask.mean())
    np.testing.assert_allclose(scores.part_excess(np.ones(maps.shape), drawn.masks), 0, atol=1e-9)


def test_effects_of_a_network_that_sums_pixels(drawn):
    """Of a linear score the effect is the weights times what changes, which can be done by hand."""
    weight = np.random.default_rng(1).normal(size=(2, 3 * SIZE * SIZE)).astype(np.float32)
    layer = nn.Linear(3 * SIZE * SIZE, 2)
    layer.load_state_dict({"weight": weight, "bias": np.zeros(2, np.float32)})
    model, target = nn.Sequential({"flatten": nn.Flatten(), "fc": layer}), np.arange(30) % 2
    found = scores.part_effects(model, drawn, target, batch_size=7)
    for p, part in enumerate(PARTS):
        others = [drawn.changed(part, (drawn.kinds[part] + step) % KINDS).images for step in range(1, KINDS)]
        change = (drawn.images - np.mean(others, 0)).reshape(30, -1)
        np.testing.assert_allclose(found[:, p], (change * weight[target]).sum(1), rtol=1e-3, atol=1e-3)


def test_a_part_that_a_network_does_not_see_has_no_effect(drawn):
    model = nn.Sequential({"flatten": nn.Flatten(), "fc": nn.Linear(3 * SIZE * SIZE, 2)})
    weight = np.zeros((2, 3 * SIZE * SIZE), np.float32)
    weight[0] = np.tile(drawn.masks["mark"][0].ravel(), 3)  # of the first scene
    model["fc"].load_state_dict({"weight": weight, "bias": np.ones(2, np.float32)})
    one = scenes(1, seed=2)
    effects = scores.part_effects(model, one, np.array([0]))
    assert effects[0, PARTS.index("mark")] != 0
    np.testing.assert_allclose(np.delete(effects[0], PARTS.index("mark")), 0, atol=1e-4)


def test_rank_correlation_of_parts():
    a = np.array([[1.0, 2, 3, 4], [1, 2, 3, 4], [1, 1, 1, 1], [1, 3, 2, 4]])
    b = np.array([[10.0, 20, 30, 40], [4, 3, 2, 1], [1, 2, 3, 4], [1, 2, 3, 4]])
    np.testing.assert_allclose(scores.rank_correlation(a, b), [1, -1, 0, 0.8])


def test_missed_and_invented_parts():
    effects = np.array([[10.0, 0, 5, 1], [10, 0, 5, 1], [1, 1, 1, 1]])
    excess = np.array([[5.0, -5, 5, -5], [-4, 4, -4, 4], [3, -1, -1, -1]])
    missed, invented = scores.missed_and_invented(excess, effects)
    np.testing.assert_allclose(missed, [0, 1, 3 / 4])
    np.testing.assert_allclose(invented, [0, 1, np.nan])
