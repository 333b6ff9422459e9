"""What numbers may be: one description that functions, options, their --help and the tests share."""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True)
class Range:
    """The finite numbers from `low` to `high`, or those above `above`; unit: in a word. whole: counts alone."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    unit: str = ""
    whole: bool = False

    def __contains__(self, number: float) -> bool:
        return math.isfinite(number) and self.low <= number <= self.high and number > self.above

    def __str__(self) -> str:
        if math.isfinite(self.above):
            return f"above {self.above:g}" + (f" and at most {self.high:g}" if math.isfinite(self.high) else "")
        return f"from {self.low:g} to {self.high:g}" if math.isfinite(self.high) else f"at least {self.low:g}"


COUNT, WEIGHT, SHARE = Range(1, whole=True), Range(0, 1e12), Range(above=0, high=1)
# A step of Adam is about as long as its rate, and pixels have 0 to 1 to go; one of plain descent depends on gradients.
ADAM = Range(above=0, high=1)
GREY, PIXELS, POWER = Range(0, 1), Range(1, unit="pixels", whole=True), Range(above=0, high=100)

# By the name that the argument has in the functions of viz, and the option on the command line; where functions mean
# different things by it, with the function's name before it.
RANGES = {
    "adam.lr": ADAM,
    "alpha_weight": WEIGHT,
    "area": SHARE,
    "baseline": GREY,
    "batch_size": COUNT,
    "beta": POWER,
    "blend": WEIGHT,
    "c": Range(above=0, high=1e12),
    "candidates": Range(2, whole=True),
    "carlini_wagner.lr": ADAM,
    "cells": COUNT,
    "components": COUNT,
    "confidence": GREY,
    "content_weight": WEIGHT,
    "deep_dream.lr": Range(above=0, high=1, unit="of pixels in [0, 1]"),
    "epochs": COUNT,
    "faithfulness_correlation.samples": Range(3, whole=True),
    "fill": GREY,
    "fooling_rate": SHARE,
    "fraction": SHARE,
    "generations": COUNT,
    "infidelity.sigma": Range(0, 1e6),
    "invert.alpha": POWER,
    "iterations": COUNT,
    "jsma.gamma": SHARE,
    "jitter": Range(0, unit="pixels", whole=True),
    "kappa": WEIGHT,
    "looks": Range(2, whole=True),
    "keep": SHARE,
    "l2_weight": WEIGHT,
    "layer_weights": WEIGHT,
    "lr": Range(above=0, high=1000),
    "lrp.alpha": Range(1, 1e6),
    "lrp.epsilon": Range(above=0, high=1e6),
    "lrp.gamma": Range(0, 1e6),
    "octave_scale": Range(above=1, high=100),
    "octaves": COUNT,
    "overshoot": Range(0, 100),
    "outside": GREY,
    "patch": PIXELS,
    "perplexity": Range(above=0, high=1e6),
    "pixels": COUNT,
    "population": Range(5, whole=True),
    "queries": COUNT,
    "radius": Range(0, 1e6),
    "relative_infidelity.samples": Range(3, whole=True),
    "relative_infidelity.sigma": Range(above=0, high=1e6),
    "samples": COUNT,
    "scales": COUNT,
    "searches": COUNT,
    "sigma": Range(0, 1),
    "steps": COUNT,
    "strength": WEIGHT,
    "stride": PIXELS,
    "style_scale": Range(above=0, high=100),
    "style_weight": WEIGHT,
    "targets": COUNT,
    "tolerance": Range(0, 1e6, unit="pixels"),
    "train_linear.lr": ADAM,
    "tv_weight": WEIGHT,
    "weight": WEIGHT,
    "weight_decay": WEIGHT,
}


def require(function: str, **numbers: Any) -> None:
    """Refuse numbers (arguments by name, None or sequences too) that are not in their Range, and what is no number."""
    for name, value in numbers.items():
        within = range_of(name, function)
        for number in value if isinstance(value, list | tuple) else [value]:
            if number is None:
                continue
            if not isinstance(number, Integral if within.whole else Real):
                raise ValueError(
                    f"{function}: {name} must be a {'whole ' * within.whole}number {within}, got {number!r}"
                )
            if number not in within:
                raise ValueError(f"{function}: {name} must be {within}, got {number}")


def range_of(name: str, function: str = "") -> Range | None:
    """The Range of a function's argument; None if it has none."""
    return RANGES.get(f"{function}.{name}", RANGES.get(name))
