"""Exit codes of scripts that look at no photograph: 0, 2 with one sentence for a user's mistake, 130 after Ctrl-C."""

import sys

from mistakes import users_mistake


def exit_code(name, work):
    """Call `work()`; the exit code for what came of it. Exceptions that are mistakes of ours keep their traceback."""
    try:
        work()
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        sentence = users_mistake(error)
        if sentence is None:
            raise
        print(f"{name}: {sentence.removeprefix(f'{name}: ')}", file=sys.stderr)
        return 2
    return 0
