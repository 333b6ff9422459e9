"""How far long work is: a bar on a terminal; where stderr goes to a file or a pipe, a line every half minute."""

import sys
import time
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from typing import Any, TextIO

from viz.progress import tqdm

EVERY = 30.0  # seconds between two lines
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s after {elapsed}, about {remaining} left"


class Lines:
    """A stream that is no terminal: of what a bar rewrites, a line every so many seconds; all else as it is."""

    def __init__(self, stream: TextIO, every: float = EVERY) -> None:
        self.stream, self.every, self.last, self.in_bar = stream, every, time.monotonic(), False

    def write(self, text: str) -> int:
        """A bar writes a carriage return and its state, and moves the cursor when it is done."""
        if text.startswith("\r"):
            self.in_bar = True
            if text.strip() and time.monotonic() - self.last >= self.every:
                self.last = time.monotonic()
                self.stream.write(text.strip() + "\n")
        elif not self.in_bar or text.replace("\x1b[A", "").strip("\n"):
            self.in_bar = False
            self.stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def as_lines(every: float = EVERY) -> AbstractContextManager:
    """A context in which every bar, of viz too, is written as lines, if stderr is no terminal."""
    return nullcontext() if sys.stderr.isatty() else redirect_stderr(Lines(sys.stderr, every))


def steps(total: int, desc: str, quiet: bool = False, unit: str = "step", every: float = EVERY) -> Any:
    """A tqdm over `total` steps, `with steps(100, "dream") as bar: bar.update()`; silent if quiet.

    Where stderr is no terminal, the first and the last state have a line too.
    """
    if quiet or sys.stderr.isatty():
        return tqdm(total=total, desc=desc, unit=unit, disable=quiet)
    lines = Lines(sys.stderr, every=0)
    return tqdm(total=total, desc=desc, unit=unit, file=lines, mininterval=every, miniters=1, bar_format=LINE)
