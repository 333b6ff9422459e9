"""Intervals hold what they promise: the truth, in 95 of 100 tables."""

import copy
import math

import numpy as np
import pytest

import viz
from viz import intervals
from viz.intervals import Estimate

pytestmark = pytest.mark.host("intervals are of numbers on the host")


def covered(draw, truth, how=viz.estimate, times=400):
    """In how many of `times` tables of drawn values the interval holds the truth."""
    rng = np.random.default_rng(0)
    found = [how(draw(rng)) for _ in range(times)]
    return np.mean([one.low <= truth <= one.high for one in found])


def test_a_mean():
    assert covered(lambda rng: rng.exponential(size=60), 1.0) == pytest.approx(0.94, abs=0.03)


def test_a_share():
    assert covered(lambda rng: rng.random(40) < 0.1, 0.1) == pytest.approx(0.95, abs=0.03)
    none = viz.estimate(np.zeros(20))
    assert (none, none.low) == (0, 0) and none.high == pytest.approx(0.1611, abs=1e-4)  # Wilson's, 0 of 20
    half = viz.estimate([True, False] * 5)
    assert (half.low, half.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # and 5 of 10


def test_draws_and_photographs_may_both_be_others():
    """Twelve draws that differ much and hundred photographs that differ little: as wide as of twelve numbers."""

    def draw(rng):
        return rng.normal(size=(12, 1)) + 0.1 * rng.normal(size=(1, 80))

    assert covered(draw, 0.0) == pytest.approx(0.92, abs=0.04)
    values = draw(np.random.default_rng(1))
    both, photographs = viz.estimate(values), viz.estimate(values.mean(0))
    assert both == pytest.approx(values.mean()) and both.high - both.low > 5 * (photographs.high - photographs.low)


def test_a_difference_is_of_pairs():
    rng = np.random.default_rng(3)
    hard = 10 * rng.normal(size=50)  # what makes one photograph harder than another
    a, b = hard + 0.1 * rng.normal(size=50), hard + 1 + 0.1 * rng.normal(size=50)
    assert viz.estimate(a).high > viz.estimate(b).low
    less = viz.difference(a, b)
    assert -1.1 < less.low < less < less.high < -0.9


def test_a_median():
    assert covered(lambda rng: rng.exponential(size=41), math.log(2), intervals.median, 200) > 0.9


def test_one_photograph_has_no_interval():
    for alone in (viz.estimate([0.5]), intervals.median([0.5]), viz.estimate([[0.5]])):
        assert alone == 0.5 and math.isnan(alone.low) and alone.text() == "0.500"
    assert math.isnan(viz.estimate([math.nan]))
    with pytest.raises(ValueError, match="one at least"):
        viz.estimate([])


def test_an_estimate_is_a_number_that_tells_its_interval():
    one = copy.deepcopy(Estimate(0.25, 0.125, 0.5))
    assert one + 1 == 1.25 and one.text("{:.1%}") == "25.0% (12.5% to 50.0%)" and (one.low, one.high) == (0.125, 0.5)
    assert "0.25 (0.125 to 0.5)" in viz.table.Table([{"share": one}])._repr_html_()
