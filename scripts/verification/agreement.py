"""How closely two results agree, and whether that is close enough.

The reference computes in float64 throughout, from the very float32 numbers that this project gets, so what is measured
is this project's own rounding. The bars are those of METHODS.md, 7.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

import minigrad as mg

COSINE = 1e-6  # how far below 1 a cosine may be where decisions may flip
NUDGES, MARGIN = 16, 3.0  # how often at most the reference is nudged to show a near tie, how much more may differ here


@dataclass(frozen=True)
class Precision:
    """What this project computes with, and the relative error that is allowed there."""

    dtype: str
    algorithm: str  # of convolutions: "direct", or "winograd", the fast one
    tolerance: float


FLOAT64 = Precision("float64", "direct", 1e-10)
DIRECT = Precision("float32", "direct", 1e-5)
FAST = Precision("float32", "winograd", 2e-5)
PRECISIONS = (FLOAT64, DIRECT, FAST)
WITHOUT_CONVOLUTION = (FLOAT64, DIRECT)


@dataclass(frozen=True)
class Agreement:
    """Of arrays a with a reference r, all of one result: d = |a - r| / max|r|."""

    error: float  # max d
    percentile: float  # the 99.9th percentile of d
    cosine: float
    digits: float  # -log10 of error, 16 at most
    differing: int  # elements with d beyond the tolerance
    elements: int


def measure(ours, theirs, tolerance):
    """The Agreement of two results, each an array or a list of arrays of the same shapes; of a list, the worst.

    NaN anywhere makes the error infinite. Two results that are zero everywhere agree entirely.
    """
    ours, theirs = _listed(ours), _listed(theirs)
    if [a.shape for a in ours] != [r.shape for r in theirs]:
        raise ValueError(f"results of shapes {[a.shape for a in ours]} and {[r.shape for r in theirs]}")
    parts = [_measure(a, r, tolerance) for a, r in zip(ours, theirs, strict=True)]
    return Agreement(
        error=max(part.error for part in parts),
        percentile=max(part.percentile for part in parts),
        cosine=min(part.cosine for part in parts),
        digits=min(part.digits for part in parts),
        differing=sum(part.differing for part in parts),
        elements=sum(part.elements for part in parts),
    )


def _listed(result):
    return [np.asarray(a, np.float64) for a in (result if isinstance(result, list | tuple) else [result])]


def _measure(a, r, tolerance):
    if not a.size:
        return Agreement(0.0, 0.0, 1.0, 16.0, 0, 0)
    if not (np.isfinite(a).all() and np.isfinite(r).all()):
        bad = int(np.sum(~np.isfinite(a) | ~np.isfinite(r)))
        return Agreement(math.inf, math.inf, 0.0, 0.0, bad, a.size)
    largest = abs(r).max()
    d = abs(a - r) / (largest if largest > 0 else 1.0)
    error = float(d.max())
    return Agreement(
        error=error,
        percentile=float(np.percentile(d, 99.9)),
        cosine=_cosine(a.ravel(), r.ravel()),
        digits=16.0 if error < 1e-16 else max(0.0, -math.log10(error)),
        differing=int((d > tolerance).sum()),
        elements=a.size,
    )


def _cosine(a, r):
    """1 for two vectors of zeros; 0 if one of them is zero."""
    lengths = np.linalg.norm(a), np.linalg.norm(r)
    if not any(lengths):
        return 1.0
    return float((a / lengths[0]) @ (r / lengths[1])) if all(lengths) else 0.0


# ---- checks and rows -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One comparison with a reference, at each of `precisions`.

    needs      the name of the reference in references.PACKAGES
    inputs     what goes in, in words; or a function that says it, where that takes building the network
    ours       ours(precision) gives this project's result, an array or a list of arrays
    theirs     theirs() gives the reference's, from float64
    gate       "values": every element within the tolerance. "decisions": gradients through ReLU and max-pooling, or
               signs of gradients, where in float32 a near tie may fall otherwise: the 99.9th percentile within the
               tolerance, and the cosine; float64 is gated as "values". "ties": the same where ties are exact, which
               even in float64 the rounding of a BLAS kernel decides. "outcome": numbers of which lower is better, none
               of them more than the tolerance above the reference's.
    tolerance  in place of the precision's own where that is less; `note` says why
    enlarged   None, or a function that says by how much the definition enlarges the relative error of scores, which
               multiplies the precision's tolerance where it is more than 1
    wrong      None, or what is wrong with the reference. Then `definition`() and `deviation`() give the result by its
               published definition, and by that with the reference's mistake in it: ours must be the first, the
               reference's the second.
    """

    family: str
    name: str
    needs: str
    inputs: str | Callable
    ours: Callable
    theirs: Callable
    gate: str = "values"
    precisions: tuple = PRECISIONS
    tolerance: float = 0.0
    enlarged: Callable | None = None
    note: str = ""
    wrong: str | None = None
    definition: Callable | None = None
    deviation: Callable | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table; the numbers are None where nothing was compared."""

    family: str
    what: str
    reference: str
    inputs: str
    dtype: str
    algorithm: str
    result: str  # "pass", "near ties", "reference is wrong", "not compared" or "MISS"
    tolerance: float | None = None
    gate: str = ""
    error: float | None = None
    percentile: float | None = None
    cosine: float | None = None
    digits: float | None = None
    differing: int | None = None
    elements: int | None = None
    note: str = ""

    @property
    def missed(self):
        return self.result == "MISS"


def rows_of(check, reference, setting):
    """Run a check: yields one Row for each precision. reference: name and version, for the table."""
    theirs = _listed(check.theirs())
    inputs = check.inputs() if callable(check.inputs) else check.inputs
    move = cache(lambda number: nudged(check, setting, theirs, number))
    enlarged = max(1.0, check.enlarged()) if check.enlarged else 1.0
    for precision in check.precisions:
        tolerance = max(check.tolerance, precision.tolerance * enlarged)
        with mg.conv_algorithm(precision.algorithm):
            ours = _listed(check.ours(precision))
        found = measure(ours, theirs, tolerance)
        gate = (
            "values" if check.gate == "decisions" and precision is FLOAT64 else check.gate.replace("ties", "decisions")
        )
        result, note = ("pass" if passes(gate, found, ours, theirs, tolerance) else "MISS"), check.note
        if check.wrong:
            result, evidence = _proven(check, ours, theirs, tolerance)
            note = f"{check.wrong}; {evidence}"
        elif result == "MISS" and gate == "decisions":
            result, note = _tied(found, move)
        yield Row(
            *(check.family, check.name, reference, inputs, precision.dtype),
            algorithm=precision.algorithm if FAST in check.precisions else "–",
            **{"result": result, "tolerance": tolerance, "gate": gate, "note": note, **asdict(found)},
        )


def passes(gate, found, ours, theirs, tolerance):
    """Whether an Agreement is good enough, by a gate of `Check`."""
    if gate == "outcome":
        worse = [(a - r) / np.maximum(abs(r), 1e-12) for a, r in zip(_listed(ours), _listed(theirs), strict=True)]
        return all(bool((w <= tolerance).all()) for w in worse)
    if gate == "decisions":
        return found.percentile <= tolerance and found.cosine >= 1 - COSINE
    return found.error <= tolerance


def nudged(check, setting, theirs, number):
    """How far the reference itself moves when images change by 1e-6, in a way that `number` tells from others."""
    with setting.nudged(number):
        return measure(check.theirs(), theirs, DIRECT.tolerance)


def _tied(found, move):
    """(result, note) where decisions fell otherwise: only what is nearly tied makes so much of a change so small.

    move(number) is how far the reference moves. A near tie falls otherwise in some nudges and not in others.
    """
    moves, tied = [], False
    while not tied and len(moves) < NUDGES:
        moves.append(move(len(moves)))
        percentile, cosine = max(m.percentile for m in moves), min(m.cosine for m in moves)
        tied = found.percentile <= MARGIN * percentile and 1 - found.cosine <= MARGIN * (1 - cosine) + COSINE
    note = (
        f"images changed by 1e-6 move the reference's own 99.9th percentile by {percentile:.1e} and its cosine to "
        f"{cosine:.7f} ({len(moves)} of at most {NUDGES} times)"
    )
    return ("near ties" if tied else "MISS"), note


def _proven(check, ours, theirs, tolerance):
    """(result, evidence) for a reference that is wrong: by the definition, and by the definition with its mistake."""
    right = measure(ours, check.definition(), tolerance)
    mistaken = measure(theirs, check.deviation(), tolerance)
    evidence = (
        f"the definition, written out in float64, is met by ours within {right.error:.1e}, and with that mistake in it "
        f"by the reference within {mistaken.error:.1e}"
    )
    proven = right.error <= tolerance and mistaken.error <= 1e-5
    return ("reference is wrong" if proven else "MISS"), evidence


def not_compared(family, checks, reference, reason):
    """The Row that stands for all `checks` of a reference that cannot be imported."""
    names = ", ".join(check.name for check in checks)
    return Row(family, names, reference, "–", "–", "–", "not compared", note=reason)
