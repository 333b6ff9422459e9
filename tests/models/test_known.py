"""What is none of a network's classes: the threshold, and who is said to be below it."""

import numpy as np
import pytest

import models
from models.known import PASSING, threshold


@pytest.fixture
def model():
    return models.build("minivgg", seed=0)


def test_the_threshold_lets_the_share_pass_that_it_is_meant_to(model):
    scores = np.random.default_rng(0).normal(size=(2000, 12)) * 3
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    model.provenance["known"] = threshold(p)
    assert models.unknown(model, scores).mean() == pytest.approx(1 - PASSING, abs=1 / 2000)
    np.testing.assert_array_equal(models.unknown(model, scores), p.max(1) < threshold(p))
    np.testing.assert_array_equal(models.unknown(model, scores + 1e3), models.unknown(model, scores))  # no overflow


def test_a_model_without_a_threshold_calls_nothing_unknown(model):
    assert not models.unknown(model, np.zeros((3, 12))).any()


def test_scores_of_another_shape_are_refused(model):
    with pytest.raises(ValueError, match="scores have shape"):
        models.unknown(model, np.zeros(12))
