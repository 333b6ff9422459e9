"""The options of a technique: those that all share, and numbers that know their range and unit."""

import argparse
import re
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterable
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

from minigrad.nn import Module
from models import mistakes
from models.mistakes import UserError
from models.preprocessing import LISTING
from viz.ranges import Range, range_of

from .target import ANYTHING, CLASS, Target, read_target, read_unit


class Parser(mistakes.Parser):
    """A parser that knows the ranges of numbers.

    example: arguments that work, for --help; the command goes before them.
    """

    def __init__(self, doc: str, example: str) -> None:
        super().__init__(description=doc)
        self.example, self.ranges, self.layer_was_target = example, {}, False

    def number(
        self,
        flag: str,
        default: Any,
        help: str = "",
        shown: str | None = None,
        unit: str = "",
        low: float = -inf,
        high: float = inf,
        above: float = -inf,
        of: str = "",
        **more: Any,
    ) -> None:
        """Add an option for a number, or, with nargs=, for several.

        default: or its type, where the default is None. shown: what --help says of the default, if not what it is.
        unit, low, high, above: its Range, where it is not that of viz' argument of this name (see ranges.py). of: the
        function whose argument it is, where several use the name for different things. more: as for add_argument.
        """
        own = Range(low, high, above, unit)
        within = own if own != Range() else range_of(flag.lstrip("-").replace("-", "_"), of) or own
        values = default if isinstance(default, list | tuple) else [default]
        kind, default = (default, None) if callable(default) else (type(values[0]), default)
        default = more["type"](default) if isinstance(default, str) else default
        facts = ", ".join(filter(None, (within.unit, str(within))))
        what = f"{help} ({facts}; {shown or 'default ' + ' '.join(map(str, values))})".strip()
        action = self.add_argument(flag, **{"type": kind, "default": default, "help": what} | more)
        self.ranges[action.dest] = flag, within

    def renamed(self, old: str, new: str) -> None:
        """Let the option `new` go by its `old` name too, with a warning, for one version."""
        action = self._option_string_actions[new]
        taken = {"type": action.type, "nargs": action.nargs, "choices": action.choices}
        taken = {"nargs": 0} if action.nargs == 0 else taken
        self.add_argument(
            old, action=_Renamed, dest=action.dest, const=new, default=action.default, help=argparse.SUPPRESS, **taken
        )

    def layers_were_targets(self) -> None:
        """Let --layer NAME --unit C stand for --target NAME:C too, with a warning, for one version."""
        self.add_argument("--layer", help=argparse.SUPPRESS)
        self.add_argument("--unit", help=argparse.SUPPRESS)
        self.layer_was_target = True

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The options of a command line. Raises UserError for what is empty, unknown or beyond its range."""
        found = super().parse_args(args, namespace)
        if isinstance(getattr(found, "image", None), list) and len(found.image) < 2:
            found.image = found.image[0] if found.image else None
        if self.layer_was_target:
            _take_layer_for_target(found)
        for name, (flag, within) in self.ranges.items():
            value = getattr(found, name)
            for number in value if isinstance(value, list | tuple) else [value]:
                if number is not None and number not in within:
                    raise UserError(f"{flag} must be {within}, got {number}")
        return found

    def refuse(self, found: Namespace, names: Iterable[str], why: str) -> None:
        """Refuse those of the options `names` that were given, as without effect. why: "without --data"."""
        for name in names:
            if getattr(found, name) != self.get_default(name):
                raise UserError(f"--{name.replace('_', '-')} has no effect {why}: leave it out")


class _Renamed(argparse.Action):
    """Stores as the option of the new name, `const`, does."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        warnings.warn(f"{option_string} is called {self.const} now", FutureWarning, stacklevel=2)
        setattr(namespace, self.dest, True if self.nargs == 0 else values)


def _take_layer_for_target(found: Namespace) -> None:
    """Let --layer and --unit, as they were given, become --target."""
    layer, unit = found.layer, found.unit
    del found.layer, found.unit
    if unit is not None and layer is None:
        raise UserError("--unit needs the name of its --layer")
    if layer is None:
        return
    if found.target is not None:
        raise UserError("give --target or --layer, not both: one of them is explained")
    found.target = layer if unit is None else f"{layer}:{','.join(map(str, read_unit(unit)))}"
    warnings.warn(
        f"what is explained is one option now: taken for --target {found.target}", FutureWarning, stacklevel=3
    )


SEVERAL = "several"

A_MODEL = (
    "a model's name or the path of a weights file; or of another program's network: ONNX, .keras, .safetensors, .pth, "
    "...; or MODULE:FUNCTION, of your own that returns one (default %(default)s)"
)


def parser(
    doc: str,
    example: str,
    image: bool | str = True,
    target: str | bool = "the top class",
    kind: str = CLASS,
    model: str | None = A_MODEL,
    results: bool = True,
) -> Parser:
    """A Parser with the options that all techniques share.

    doc: what --help says first; example: the arguments of a command line that works.
    image: False for a technique that takes no photograph, SEVERAL for one that takes them one by one (then `.image` is
    a list, if they are two or more). target: what stands in for --target where none is given, for --help; False for a
    technique that has no --target. kind: what it may be, one of target.py's three.
    model: what --help says of --model, where that is not any network; None for a technique that makes its own.
    results: False for a technique that draws nothing at random and writes nothing.
    """
    options = Parser(doc, example)
    add = options.add_argument
    if image:
        what = "photographs" if image == SEVERAL else "a photograph"
        several = "*" if image == SEVERAL else "?"
        add("image", nargs=several, metavar="IMAGE", help=f"{what}; none means scikit-image's sample of a cat")
    if model:
        add("--model", default="minivgg", help=model)
    if model is A_MODEL:
        _add_told(options)
    if target:
        add("--target", metavar="CLASS" if kind == CLASS else "TARGET", help=f"{kind} (default: {target})")
    if kind == ANYTHING:
        options.layers_were_targets()
    add(
        "--device",
        default="cpu",
        help="cpu, cuda, cuda:1, or auto: a GPU if there is one (default %(default)s)",
    )
    if results:
        where = "folder for the results (default %(default)s)"
        add("--seed", type=int, default=0, help="of everything random (default %(default)s)")
        add("--out", type=Path, default=Path("out"), metavar="DIR", help=where)
        add("--quiet", action="store_true", help="neither progress nor a line for each result")
    else:
        options.set_defaults(seed=0, out=None, quiet=False)
    return options


TOLD = {"preprocessing": "preprocessing", "size": "input_size", "labels": "labels"}  # models.load's name: the option's
TOLD |= {"input_name": "input_name", "output_name": "output_name"}


def _add_told(options: Parser) -> None:
    """What a file of another program's does not say of its network."""
    add = options.add_argument
    add(
        "--preprocessing",
        metavar="NAME",
        help=f"how the pictures of another program's network are prepared, if its file does not say: {LISTING}",
    )
    size = {"low": 1, "high": 8192, "unit": "pixels", "metavar": "PIXELS", "shown": "default: what the file says"}
    options.number("--input-size", int, "of its pictures, where it is not in the file", **size)
    add("--labels", metavar="FILE", help="names of its classes, one on each line, or imagenet")
    for what, meant in (("input", "the input that pictures go to"), ("output", "the output that is meant")):
        add(f"--{what}-name", metavar="NAME", help=f"of ONNX: {meant}, where there are several")


# ---- types of options ------------------------------------------------------------------------------------------------


def channels(text: str) -> tuple[str, list[int]]:
    """ "relu5_2:3,12" as ("relu5_2", [3, 12])."""
    if not re.fullmatch(r".+:\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"a channel is LAYER:C, such as relu5_2:12 or relu5_2:3,12; got {text!r}")
    layer, _, found = text.rpartition(":")
    return layer, [int(number) for number in found.split(",")]


def by_layer(text: str) -> dict[str, str]:
    """ "conv1_1=flat,fc6=epsilon" as {"conv1_1": "flat", "fc6": "epsilon"}."""
    if not re.fullmatch(r"[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*", text):
        raise argparse.ArgumentTypeError(f"rules by layer are LAYER=RULE,LAYER=RULE,...; got {text!r}")
    return dict(pair.split("=") for pair in text.split(","))


MOST = "below 1, or in L2 below the root of the number of values"


def distance(text: str) -> float:
    """ "8/255" or "0.03" as a float."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no distance: give a number such as 8/255 or 0.03") from None


def names(text: str | None) -> list[str] | None:
    """ "relu1_1,relu2_1" as a list; None stays None."""
    return None if text is None else [name.strip() for name in text.split(",")]


def chosen(text: str, known: Iterable[str], kind: str = "method") -> list[str]:
    """ "a,b" as a list, if all of them are `known` and none comes twice."""
    unknown = [name for name in names(text) if name not in known]
    if unknown:
        raise UserError(f"there is no {kind} {unknown[0]!r}; the {kind}s are: {', '.join(known)}")
    return once(names(text), kind)


def once(found: list | None, kind: str, said: Callable[..., str] = lambda one: one) -> list | None:
    """The list `found`, or None, if nothing in it comes twice. said: what the sentence calls one of it."""
    twice = next((one for one in found or () if found.count(one) > 1), None)
    if twice is not None:
        raise UserError(f"the {kind} {said(twice)!r} is named twice: name it once")
    return found


def read_scores(model: Module, text: str, class_name: Callable[[int], str]) -> list[Target]:
    """The Targets of --targets, "cat,zebra,cat-dog": classes and contrasts of two, none twice."""
    found = [read_target(model, name) for name in names(text)]
    layers = [target.layer for target in found if target.layer is not None]
    if layers:
        raise UserError(f"--targets are classes or contrasts of two, {layers[0]} is a layer")
    return once(found, "class", lambda target: target.name(class_name))
