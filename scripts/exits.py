"""Exit codes of scripts that look at no photograph: 0, 2 with one sentence for a user's mistake, 130 after Ctrl-C."""

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from mistakes import users_mistake


def _stopped(*_):
    os.write(2, f"{Path(sys.argv[0]).stem}: stopped; written so far: nothing\n".encode())
    os._exit(130)


# Imports take a second, and Ctrl-C in the middle of NumPy's comes out as an ImportError.
if Path(getattr(sys.modules["__main__"], "__file__", None) or "").absolute().parent == Path(__file__).parent:
    signal.signal(signal.SIGINT, _stopped)


@contextmanager
def interruptible():
    """Inside, Ctrl-C is Python's KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _stopped:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield


def flush(stream):
    """Write out what `stream` holds; OSError where it cannot, and then the rest is dropped, not tried again at exit."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise


def exit_code(name, work):
    """Call `work()`; the exit code for what came of it. Exceptions that are mistakes of ours keep their traceback."""
    try:
        with interruptible():
            work()
            flush(sys.stdout)
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        return 141
    except Exception as error:
        sentence = users_mistake(error)
        if sentence is None:
            raise
        print(f"{name}: {sentence.removeprefix(f'{name}: ')}", file=sys.stderr)
        return 2
    return 0
