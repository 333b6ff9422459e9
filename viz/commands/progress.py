"""How far long work is: a bar on a terminal; where stderr goes to a file or a pipe, a line every half minute."""

import sys

from tqdm import tqdm

EVERY = 30.0  # seconds between two lines
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s after {elapsed}, about {remaining} left"


class Lines:
    """A stream for tqdm, which rewrites one line of a terminal: here each state becomes a line of its own."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        if text.strip():
            self.stream.write(text.strip() + "\n")

    def flush(self):
        self.stream.flush()


def steps(total, desc, quiet=False, unit="step", every=EVERY):
    """A tqdm over `total` steps, `with steps(100, "dream") as bar: bar.update()`; silent if quiet."""
    if quiet or sys.stderr.isatty():
        return tqdm(total=total, desc=desc, unit=unit, disable=quiet)
    lines = Lines(sys.stderr)
    return tqdm(total=total, desc=desc, unit=unit, file=lines, mininterval=every, miniters=1, bar_format=LINE)
