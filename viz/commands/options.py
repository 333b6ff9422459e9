"""The options of a technique: those that all share, and numbers that know their range and unit."""

import argparse
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from models.mistakes import UserError


@dataclass(frozen=True)
class Range:
    """The finite numbers from `low` to `high`, or those above `above`."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf

    def __contains__(self, number):
        return math.isfinite(number) and self.low <= number <= self.high and number > self.above

    def __str__(self):
        if math.isfinite(self.above):
            return f"above {self.above:g}" + (f" and at most {self.high:g}" if math.isfinite(self.high) else "")
        return f"from {self.low:g} to {self.high:g}" if math.isfinite(self.high) else f"at least {self.low:g}"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that says what is wrong by raising UserError, and knows the ranges of numbers.

    example: arguments that work, for --help; the command goes before them.
    """

    def __init__(self, doc, example):
        super().__init__(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.example, self.ranges = example, {}

    def error(self, message):
        raise UserError(f"{message} (--help lists the options)")

    def number(
        self, flag, default, help="", unit="", shown=None, low=-math.inf, high=math.inf, above=-math.inf, **more
    ):
        """Add an option for a number in a Range, or, with nargs=, for several.

        default: or its type, where the default is None. unit: in a word. shown: what --help says of the default, if not
        what it is. more: as for add_argument.
        """
        within, values = Range(low, high, above), default if isinstance(default, list | tuple) else [default]
        kind, default = (default, None) if callable(default) else (type(values[0]), default)
        facts = ", ".join(filter(None, (unit, str(within))))
        what = f"{help} ({facts}; {shown or 'default ' + ' '.join(map(str, values))})".strip()
        action = self.add_argument(flag, **{"type": kind, "default": default, "help": what} | more)
        self.ranges[action.dest] = flag, within

    def parse_args(self, *arguments):
        found = super().parse_args(*arguments)
        for name, (flag, within) in self.ranges.items():
            value = getattr(found, name)
            for number in value if isinstance(value, list | tuple) else [value]:
                if number is not None and number not in within:
                    raise UserError(f"{flag} must be {within}, got {number}")
        return found


A_MODEL = "a model's name or the path of a weights file (default %(default)s)"


def parser(doc, example, image=True, target=True, neuron=False, model=A_MODEL):
    """A Parser with the options that all techniques share.

    doc: what --help says first; example: the arguments of a command line that works.
    image, target: False for a technique that takes no photograph, or no class.
    neuron: also --layer and --unit, which are explained in the class's place (see `Job.explained`).
    model: what --help says of --model.
    """
    options = Parser(doc, example)
    add = options.add_argument
    if image:
        add("image", nargs="?", metavar="IMAGE", help="a photograph; none means scikit-image's sample of a cat")
    add("--model", default="minivgg", help=model)
    if target:
        add("--target", metavar="CLASS", help="a class by name or index (default: the top one)")
    if neuron:
        add("--layer", metavar="NAME", help="explain this layer in the class's place, its mean or that of --unit")
        add("--unit", type=unit, metavar="C[,ROW,COL]", help="a channel of --layer, or one neuron of it")
    add(
        "--device",
        default="cpu",
        help="cpu, cuda, cuda:1, or auto: a GPU if there is one (default %(default)s)",
    )
    add("--seed", type=int, default=0, help="of everything random (default %(default)s)")
    add("--out", type=Path, default=Path("out"), metavar="DIR", help="folder for the results (default %(default)s)")
    add("--quiet", action="store_true", help="no progress bar and no line for each result")
    return options


# ---- types of options ------------------------------------------------------------------------------------------------


def unit(text):
    """ "3" or "3,0,12" as a tuple: a channel, or channel, row and column."""
    if not re.fullmatch(r"\d+(,\d+,\d+)?", text):
        raise argparse.ArgumentTypeError(
            f"a unit is a channel, or channel,row,column, such as 3 or 3,0,12; got {text!r}"
        )
    return tuple(int(number) for number in text.split(","))


def distance(text):
    """ "8/255" or "0.03" as a float."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no distance: give a number such as 8/255 or 0.03") from None


def names(text):
    """ "relu1_1,relu2_1" as a list; None stays None."""
    return None if text is None else [name.strip() for name in text.split(",")]


def chosen(text, known, kind="method"):
    """ "a,b" as a list, if all of them are `known`."""
    unknown = [name for name in names(text) if name not in known]
    if unknown:
        raise UserError(f"there is no {kind} {unknown[0]!r}; the {kind}s are: {', '.join(known)}")
    return names(text)
