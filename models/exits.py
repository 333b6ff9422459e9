"""Exit codes: 0, 2 with one sentence for a user's mistake, 130 after Ctrl-C, 141 for a closed pipe."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import TextIO

from .mistakes import users_mistake


def flush(stream: TextIO) -> None:
    """Write out what `stream` holds; OSError where it cannot, and then the rest is dropped, not tried again at exit."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise


def exit_code(name: str, work: Callable[[], int | None], written: list | None = None) -> int:
    """Call `work()`; the exit code for what came of it. Exceptions that are mistakes of ours keep their traceback.

    work returns a code of its own, or None for 0, unless Ctrl-C was pressed. written: the list of files that are there
    when Ctrl-C comes. Python drops what is raised in the callback of a weak reference: a Ctrl-C that fell there is told
    at the end of the work.
    """
    pressed = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed before the start, `>&-`
            setattr(sys, stream, open(os.devnull, "w"))
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)  # until now scripts/begin.py's
        code = work()
        flush(sys.stdout)
        if pressed and code is None:
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        so_far = "" if written is None else f"; written so far: {', '.join(map(str, written)) or 'nothing'}"
        print(f"{name}: stopped{so_far}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        return 141
    except Exception as error:
        sentence = users_mistake(error)
        if sentence is None:
            raise
        print(f"{name}: {sentence.removeprefix(f'{name}: ')}", file=sys.stderr)  # viz names its functions so
        return 2
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    return code or 0
