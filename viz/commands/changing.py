"""Settings that change while an image is optimised: --change STEP:NAME=VALUE ..., each from that step on."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.mistakes import UserError
from viz.ranges import Range, range_of

BLUR = Range(0, 100, unit="pixels")


class Changing(dict):
    """Settings {name: value} as they are at a step. `.begin(step)` before the step: what changes with it, changes.

    changes: texts "40:lr=0.01", which may become more while it goes on. changeable: the names that can be changed.
    """

    def __init__(self, settings: Mapping[str, Any], changes: Sequence[str], changeable: Sequence[str]) -> None:
        super().__init__(settings)
        self.changes, self.changeable = changes, changeable
        self.begin(1)

    def begin(self, step: int) -> None:
        """Take what holds from this step, counted from 1."""
        for text in self.changes:
            first, name, value = read(text, self.changeable, self["optimizer"])
            if first <= step:
                self[name] = value


def read(text: str, changeable: Sequence[str], optimizer: str = "adam") -> tuple[int, str, float]:
    """(step, name, value) of "40:tv-weight=0.01"; UserError says what is wrong with it."""
    first, _, what = text.partition(":")
    flag, equals, value = what.partition("=")
    name = flag.replace("-", "_")
    try:
        step, number = int(first), float(value)
    except ValueError:
        step = 0
    if step < 1 or not equals:
        raise UserError(f"--change takes STEP:NAME=VALUE, such as 40:lr=0.01, got {text!r}")
    if name not in changeable:
        known = ", ".join(one.replace("_", "-") for one in changeable)
        raise UserError(f"--change: {flag} cannot change here: choose from {known}")
    within = BLUR if name == "blur" else range_of(name, optimizer)
    if number not in within or name == "jitter" and number % 1:
        raise UserError(f"--change: {flag} must be {within}, got {value}")
    return step, name, int(number) if name == "jitter" else number
