"""Means with the interval in which they would fall again, had other photographs been drawn.

An `Estimate` is a float that knows its interval, so that a table cannot show a number without it. Intervals cover 95 %.
"""

import math
from typing import Any

import numpy as np

from .random import stream

RESAMPLES = 2000
QUANTILE = 1.959964  # of the normal distribution, for 95 %


class Estimate(float):
    """A number with the interval `low` to `high`; NaN where one observation allows none."""

    def __new__(cls, value: float, low: float, high: float) -> "Estimate":
        made = super().__new__(cls, value)
        made.low, made.high = float(low), float(high)
        return made

    def __getnewargs__(self) -> tuple:  # to be copied
        return float(self), self.low, self.high

    def text(self, form: str = "{:.3f}") -> str:
        """The number and its interval; form: of each number."""
        if math.isnan(self.low):
            return form.format(float(self))
        return f"{form.format(float(self))} ({form.format(self.low)} to {form.format(self.high)})"


def estimate(values: Any) -> Any:
    """The mean of values as an Estimate.

    values: (N,), one for each photograph, or (D,N), for each of D draws too, of which either may be drawn again. NaN is
        left out of (N,).

    The interval is the percentile bootstrap's (Efron 1979), over both axes of (D,N) independently (Owen 2007,
    arXiv:0712.1111); of values that are all 0 or 1, a share, it is Wilson's (1927), which has a width at 0 and 1 too.
    """
    values = np.asarray(values, np.float64)
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(f"estimate: values must be (N,) or (D,N), one at least, got shape {values.shape}")
    if values.ndim == 1:
        values = values[~np.isnan(values)]
        if len(values) and np.isin(values, (0, 1)).all():
            return _share(values)
        values = values[None]
    if not values.shape[1] or values.size == 1:
        return Estimate(values.mean() if values.size else math.nan, math.nan, math.nan)
    rng = stream(0, "estimate")
    rows, columns = (rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n for n in values.shape)
    means = ((rows @ values) * columns).sum(1)
    return Estimate(values.mean(), *np.quantile(means, [0.025, 0.975]))


def difference(values: Any, others: Any) -> Any:
    """The mean of values - others, pairs of the same photographs, as an Estimate: what they share cancels."""
    return estimate(np.asarray(values, np.float64) - np.asarray(others, np.float64))


def median(values: np.ndarray) -> "Estimate":
    """The median of values (N,) as an Estimate, by the percentile bootstrap."""
    values = np.asarray(values, np.float64)
    if len(values) == 1:
        return Estimate(values[0], math.nan, math.nan)
    chosen = stream(0, "median").integers(len(values), size=(RESAMPLES, len(values)))
    return Estimate(np.median(values), *np.quantile(np.median(values[chosen], 1), [0.025, 0.975]))


def _share(values: Any) -> Estimate:
    n, share, z2 = len(values), values.mean(), QUANTILE**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = QUANTILE / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half))
