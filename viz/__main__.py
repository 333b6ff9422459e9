"""python -m viz lists the techniques, python -m viz NAME ... runs one, python -m viz NAME --help describes it.

python -m viz course is another way in: build the engine yourself, in stages that check themselves (start, check, hint).
Installed, minigrad-viz is the same; python -m models has networks' weights: download, convert, info.
"""

import difflib
import sys
from collections.abc import Sequence

from models.exits import exit_code
from models.mistakes import UserError

from .commands import course
from .commands.command import start
from .commands.techniques import COMMANDS, TECHNIQUES, listing


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: that of the technique, or 2 if there is none of that name."""
    words = sys.argv[1:] if argv is None else argv

    def work() -> int | None:
        if not words or words[0] in ("--list", "--help", "-h"):
            return print(f"{__doc__}\n{listing()}")
        if words[0] == "course":
            return course.main(words[1:])
        command, *options = words_for(words[0])
        return start(command, [*options, *words[1:]], own_process=argv is None)

    return exit_code("viz", work)


def words_for(name: str) -> list[str]:
    """The command and the options that a name stands for."""
    name = name.lower().replace("-", "_").replace("++", "_plus_plus")
    if name in COMMANDS:
        return COMMANDS[name]
    if name in TECHNIQUES:
        raise UserError(f"{name} has no command: see help(viz.{name}) in Python")
    near = difflib.get_close_matches(name, COMMANDS, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "python -m viz names all"
    raise UserError(f"there is no technique {name!r}: {hint}")


if __name__ == "__main__":
    sys.exit(main())
