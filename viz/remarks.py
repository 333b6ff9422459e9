"""What viz warns of, and silence where that is a result.

Python's `warnings.catch_warnings` changes the filters of every thread, and what several threads save and put back is
whichever came last; this silence is one thread's own.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_silent = ContextVar("silent", default=False)


def remark(text: str, stacklevel: int) -> None:
    """A UserWarning at the caller's caller and so on, as `warnings.warn` counts; none within `silence`."""
    if not _silent.get():
        warnings.warn(text, stacklevel=stacklevel + 1)


@contextmanager
def silence() -> Iterator[None]:
    """Within it, viz warns of nothing in this thread."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)
