"""Interleaved timing, and what is made of it: medians, quartiles, ratios of neighbours.

On a shared machine the speed changes from minute to minute. Engines therefore take turns within short rounds, and a
ratio is the median of the ratios of single rounds, each of two runs a moment apart.
"""

import functools
import statistics
import time


def interleaved(steps, rounds, every=None, rest=None, clock=time.perf_counter):
    """{name: [seconds, one for each round]} of steps {name: callable}: see `in_turns`.

    rest: {name: seconds} to wait after a step that leaves threads running; they are not counted.
    """

    def timed(name):
        start = clock()
        steps[name]()
        taken = clock() - start
        time.sleep(rest.get(name, 0) if rest else 0)
        return taken

    return in_turns({name: functools.partial(timed, name) for name in steps}, rounds, every)


def in_turns(timers, rounds, every=None):
    """{name: [seconds, one for each round]} of timers {name: callable that returns seconds}; the order is reversed in
    every second round.

    every: {name: n} for steps that are only run in each n-th round; in the others their entry is None.
    """
    taken = {name: [] for name in timers}
    for turn in range(rounds):
        for name in list(timers)[:: -1 if turn % 2 else 1]:
            left_out = every and turn % every.get(name, 1)
            taken[name].append(None if left_out else timers[name]())
    return taken


def spread(values):
    """(median, lower quartile, upper quartile) of the values that are not None."""
    values = [value for value in values if value is not None]
    if len(values) < 2:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def ratio(theirs, ours):
    """Median and quartiles of theirs/ours, round by round: how many times as fast ours is."""
    return spread([b / a for b, a in zip(theirs, ours, strict=True) if a is not None and b is not None])


def fastest(taken, prefix):
    """The name, of those that begin with `prefix`, with the least median; None if there are none."""
    return min((n for n in taken if n.startswith(prefix)), key=lambda n: spread(taken[n])[0], default=None)


def exponent(sizes, seconds):
    """The p of seconds ~ size^p, by least squares over logarithms: 1 is linear growth."""
    from math import log

    return statistics.linear_regression([log(size) for size in sizes], [log(s) for s in seconds]).slope
