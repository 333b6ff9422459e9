"""Long work shows how far it is and can be ended: a callback that returns True stops it, with what there is by then."""

import numpy as np
import pytest

import viz
from minigrad import nn
from models.layers import Preprocess
from viz.attacks import scores
from viz.cue_conflict import cue_conflict
from viz.linear import linear_classifier, train_linear
from viz.sparse_attacks import best_pair, jsma


class Stop:
    """A callback that ends the work at its `n`th call and keeps what it saw."""

    def __init__(self, n):
        self.n, self.seen = n, []

    def __call__(self, *seen):
        self.seen.append(seen)
        return len(self.seen) == self.n


def test_deepfool(small_network, images):
    model, x = small_network(), images()
    stop, whole = Stop(1), []
    stopped = viz.deepfool(model, x, overshoot=0, callback=stop)
    viz.deepfool(model, x, overshoot=0, callback=lambda step, x, still: whole.append(x.copy()) and False)
    assert len(stop.seen) == 1
    np.testing.assert_array_equal(stopped, whole[0])


def test_carlini_wagner(small_network, images):
    model, x, stop = small_network(), images(), Stop(3)
    found = viz.carlini_wagner(model, x, steps=5, searches=2, callback=stop)
    assert [seen[:2] for seen in stop.seen] == [(0, 0), (0, 1), (0, 2)]
    distance = np.sqrt(((found - x) ** 2).sum((1, 2, 3)))
    met = np.isfinite(stop.seen[-1][2])
    np.testing.assert_allclose(distance[met], stop.seen[-1][2][met], rtol=1e-5)
    assert (distance[~met] == 0).all()


def test_jsma_changes_one_pair_a_step(small_network, images):
    model, x, stop = small_network(), images(1, high=0.9), Stop(1)
    target = scores(model, x).argmin(1).tolist()
    found = jsma(model, x, target=target, gamma=0.5, callback=stop)
    assert len(stop.seen) == 1 and (found != x).sum() == 2


def test_the_best_of_many_pairs_is_sought_among_the_promising(images):
    """With few candidates the search is not exact, but it finds the pair that stands out on both counts."""
    rng = np.random.default_rng(0)
    a, b = 0.01 * rng.standard_normal(200), 0.01 * rng.standard_normal(200)
    a[[17, 120]], b[[17, 120]] = 1, -1
    for candidates in (10, 200):
        assert sorted(best_pair(a, b, np.ones(200, bool), 1, candidates)) == [17, 120]
    free = np.ones(200, bool)
    free[17] = False
    assert 17 not in best_pair(a, b, free, 1, 10)


def test_cue_conflict_gives_the_finished_images(small_network, images):
    x, stop = images(3, shape=(3, 8, 8)), Stop(2)
    layers = {"content_layers": ["relu2"], "style_layers": ["relu1", "relu2"]}
    found = cue_conflict(small_network(), x, np.roll(x, 1, 0), steps=2, optimizer="adam", callback=stop, **layers)
    assert found.shape == (2, 3, 8, 8)
    np.testing.assert_array_equal(found[1:], stop.seen[1][1])


def test_training_a_linear_classifier():
    x, labels = np.random.default_rng(0).random((20, 3, 4, 4)), np.arange(20) % 2
    stop = Stop(2)
    losses = train_linear(linear_classifier((3, 4, 4), 2), x, labels, epochs=9, callback=stop)
    assert [loss for _, loss in stop.seen] == losses and len(losses) == 2


def test_dreams(small_network, images):
    x = images(1, shape=(3, 12, 12))
    found = viz.deep_dream(small_network(), x, "relu2", octaves=2, steps=3, callback=Stop(2))
    assert found.stopped and len(found.losses["objective"]) == 2 and found.image.shape == x.shape


def test_the_blogs_second_phase_can_be_left_out_and_is_after_a_stop(small_network):
    model = nn.Sequential({"preprocess": Preprocess(), **dict(small_network().children())})
    both = viz.maximize_as_blog(model, 3, size=8, steps=2, tv_steps=1)
    one = viz.maximize_as_blog(model, 3, size=8, steps=2, tv_steps=0)
    assert len(both.losses["objective"]) == 4 and "tv" in both.losses
    assert len(one.losses["objective"]) == 3 and "tv" not in one.losses and not one.stopped
    stopped = viz.maximize_as_blog(model, 3, size=8, steps=2, tv_steps=5, callback=Stop(1))
    assert stopped.stopped and "tv" not in stopped.losses
    np.testing.assert_array_equal(one.losses["objective"][:2], stopped.losses["objective"][:2])


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_bar_shows_the_steps_and_the_losses(optimizer, small_network, capsys):
    penalties = {"l2": lambda x: viz.l2(x, 0.1)}
    viz.maximize(
        small_network(), 1, size=8, steps=4, optimizer=optimizer, transforms=[], penalties=penalties, progress=True
    )
    shown = capsys.readouterr()
    assert "4/4" in shown.err and "objective " in shown.err and "l2 " in shown.err and not shown.out
    viz.maximize(small_network(), 1, size=8, steps=4, optimizer=optimizer, transforms=[])
    assert capsys.readouterr() == ("", "")


def test_lbfgs_takes_one_image_since_its_steps_are_of_one_length_for_all(small_network, images):
    model, pair = small_network(), images(2, shape=(3, 8, 8))
    ways = (
        lambda x: viz.reconstruct_content(model, x, "relu1", steps=2),
        lambda x: viz.invert(model, x, "relu1", optimizer="lbfgs", steps=2),
        lambda x: viz.maximize(model, 1, start=x, optimizer="lbfgs", transforms=[], steps=2),
    )
    for way in ways:
        with pytest.raises(ValueError, match="lbfgs takes steps of one length for all 2 images.* one image at a time"):
            way(pair)
        assert way(pair[:1]).image.shape == (1, 3, 8, 8)


SLOW = {
    "integrated_gradients": ({"steps": 7}, 7),
    "smooth_grad": ({"samples": 7}, 7),
    "occlusion": ({"patch": 4, "stride": 2, "batch_size": 4}, None),
    "rise": ({"samples": 12, "cells": 3, "batch_size": 4}, 12),
    "score_cam": ({"layer": "relu2", "batch_size": 3}, 24),
}


@pytest.mark.parametrize("name", SLOW)
def test_attributions_of_many_steps_give_the_map_so_far(small_network, images, name):
    """Called with (step, steps, the result so far); ended anywhere, that is the result."""
    (options, steps), model, x = SLOW[name], small_network(), images()
    method, watch = getattr(viz, name), Stop(10**6)
    whole = method(model, x, 1, callback=watch, **options)
    assert len(watch.seen) > 2 and {of for _, of, _ in watch.seen} == {steps or watch.seen[-1][0]}
    counts = [step for step, *_ in watch.seen]
    assert counts == sorted(set(counts)) and counts[-1] == watch.seen[-1][1]
    np.testing.assert_array_equal(watch.seen[-1][2], whole)
    np.testing.assert_array_equal(method(model, x, 1, **options), whole)
    for n in (1, 2):
        stop = Stop(n)
        found = method(model, x, 1, callback=stop, **options)
        assert len(stop.seen) == n and found.shape == whole.shape and np.isfinite(found).all()
        np.testing.assert_array_equal(found, stop.seen[-1][2])
        np.testing.assert_array_equal(found, watch.seen[n - 1][2])


def test_half_the_steps_of_integrated_gradients_are_spread_over_the_path(small_network, images):
    """The estimate by a part of the points is near the whole, where the first half of the path alone is not."""
    model, x, seen = small_network(), images(), []
    keep, square = lambda step, steps, so_far: seen.append(so_far), lambda y: y[:, 0] * y[:, 0]
    whole = viz.integrated_gradients(model, x, square, steps=40, callback=keep)
    path = [viz.gradients._gradient_at(model, x * (k + 0.5) / 40, square, None, None) for k in range(40)]
    np.testing.assert_allclose(whole, x * np.mean(path, 0), rtol=1e-9, atol=1e-12)
    error = [abs(found - whole).sum() for found in (seen[12], x * np.mean(path[:13], 0))]
    assert error[0] < error[1] / 3
