"""Which exceptions are a person's mistake, shown as one sentence; all others are ours, shown with a traceback."""

import argparse
import linecache
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NoReturn

# whose own `raise` tells a user what to put right, and so do all of models and viz
SPEAKING = ("minigrad.nn.module", "minigrad.nn.layers", "minigrad.device", "minigrad.serialization", "minigrad.optim")


class UserError(ValueError):
    """Something that the person at the terminal can put right; the message says what."""


class Parser(argparse.ArgumentParser):
    """One that shows its description as it is written, takes no abbreviations, and raises UserError."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        shown: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(*arguments, **shown | more)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The options of the words `args`, which are always given."""
        _refuse_empty(args)
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help lists the options)")


def _refuse_empty(words: Sequence[str]) -> None:
    """Refuse "", of which pathlib makes the present folder."""
    for before, word in pairwise(["", *words]):
        flag, given, value = word.partition("=") if word.startswith("--") else (before, "=", word)
        if given and not value.strip():
            raise UserError(f"{flag if flag.startswith('--') else 'an argument'} is empty")


def users_mistake(error: BaseException) -> str | None:
    """The sentence to show for what a person got wrong (or their machine lacks); None for a mistake of the program.

    Exceptions of models, viz and of a few engine modules that take names from people count when a `raise`
    statement made them: those carry sentences. The same types out of NumPy or from deeper inside are bugs.
    """
    if isinstance(error, MemoryError):
        return "there is not enough memory for this: take a smaller image, batch or model"
    if isinstance(error, OSError):
        parts = [error.filename, error.strerror] if error.strerror else [error]
        return ": ".join(str(part) for part in parts if part is not None)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ValueError | RuntimeError | ImportError | ArithmeticError) and _was_raised_for_people(error):
        return str(error)
    return None


def _was_raised_for_people(error: BaseException) -> bool:
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    code, module = frame.f_code, frame.f_globals.get("__name__", "")
    speaks = module.split(".")[0] in ("models", "viz") or module in SPEAKING
    return speaks and linecache.getline(code.co_filename, line).lstrip().startswith("raise ")
