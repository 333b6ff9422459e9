"""python -m viz lists the techniques, python -m viz NAME ... runs one, python -m viz NAME --help describes it.

python -m viz course is another way in: build the engine yourself, in stages that check themselves (start, check, hint).
Installed, minigrad-viz is the same; python -m models has networks' weights: download, convert, info.
"""

import difflib
import sys
from collections.abc import Sequence

from models.__main__ import RUN as WEIGHTS
from models.exits import exit_code
from models.mistakes import UserError

from .commands import course
from .commands.command import find, start
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

    return exit_code("course" if words[:1] == ["course"] else "viz", work)


def words_for(name: str) -> list[str]:
    """The command and the options that a name stands for."""
    name = name.lower().replace("-", "_").replace("++", "_plus_plus")
    if name in COMMANDS:
        return COMMANDS[name]
    if name in TECHNIQUES:
        raise UserError(f"{name} has no command: see help(viz.{name}) in Python")
    if name in WEIGHTS:
        raise UserError(f"{name} is about weights: python -m models {name}")
    near = [f"{command} {flag} {name}" for command, flag in taking(name)]
    if len(near) != 1:  # a method of several commands says little
        parts = [known for known in COMMANDS if name in known.split("_")]
        near = parts or difflib.get_close_matches(name, COMMANDS, 3, cutoff=0.65) or near
    hint = f"did you mean {' or '.join(near[:5])}?" if near else "python -m viz names all"
    raise UserError(f"there is no technique {name!r}: {hint}")


def taking(name: str) -> list[tuple[str, str]]:
    """(command, option) of those that know the word as a method, a rule or a preset, such as cw."""
    return [
        (command, action.option_strings[0])
        for command in dict.fromkeys(words[0] for words in COMMANDS.values())
        for action in find(command).options._actions
        if action.dest in ("method", "rule", "preset") and name in (action.choices or ())
    ]


if __name__ == "__main__":
    sys.exit(main())
