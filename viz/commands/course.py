"""Build it yourself: an engine in stages that check themselves.

python -m viz course start FOLDER     lays the stubs and the pages into a new folder; then, in it:
python -m viz course check [STAGE]    what is right, or which mistake it is
python -m viz course hint STAGE [N]   the N-th hint, or that for a function by its name: hint 5 max_pool
python -m viz course solution STAGE   the solution
python -m viz course measure          the finished engine beside the project's: lines, time, rounding
"""

import json
import re
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.mistakes import Parser, UserError

from ..course.check import check
from ..course.source import STAGES


def start(args: Namespace) -> None:
    """Stubs (before --at: solutions) and pages into a folder that has none of them yet."""
    folder = Path(args.folder)
    texts = {}
    for stage in STAGES:
        texts[stage.file] = stage.solution() if stage.number < args.at else stage.stub()
        texts[stage.page_file] = stage.page()
    there = [name for name in texts if (folder / name).exists()]
    if there:
        raise UserError(f"{folder / there[0]} is there already, and is yours: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    first = STAGES[args.at - 1]
    print(
        f"{folder}: read {first.page_file}, write {first.file}, then: cd {folder}; python -m viz course check {args.at}"
    )


def check_stages(args: Namespace) -> int:
    """Prints what came of each check; 1 if any is not right."""
    stages = STAGES if args.stage is None else [STAGES[args.stage - 1]]
    all_right, told = True, []
    for stage in stages:
        results = check(stage, args.folder, args.seconds)
        right = sum(result.right for result in results)
        all_right = all_right and right == len(results)
        checks = [asdict(result) for result in results]
        told.append({"stage": stage.number, "file": stage.file, "right": right, "of": len(results), "checks": checks})
        if not args.json:
            print(f"{stage.number}. {stage.title}: {right} of {len(results)} right")
            print("\n".join(described(results)))
            if right < len(results) and args.stage is None:
                break  # what comes later stands on this
    if args.json:
        print(json.dumps(told, indent=1))
    return 0 if all_right else 1


def described(results: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Results in lines: right, WRONG and why, or open; what is still to be written for several of them is told once."""
    told = set()
    for result in results:
        is_open = " is still to be written: " in result.sentence
        yield f"   {'right' if result.right else 'open ' if is_open else 'WRONG'}  {result.name}"
        if result.right or (is_open and result.sentence in told):
            continue
        told.add(result.sentence)
        yield f"          {result.sentence}"
        details = {"": result.example, "expected ": result.expected, "found    ": result.found}
        yield from (f"            {what}{value}" for what, value in details.items() if value)


def hint(args: Namespace) -> None:
    """Prints one hint, by its number or its function's name, and how many there are."""
    hints = STAGES[args.stage - 1].hints
    named = (i for i, words in enumerate(hints, 1) if re.match(rf"`(\w+\.)?{re.escape(args.step)}[`.]", words))
    step = int(args.step) if args.step.isdecimal() else next(named, 0)
    if not 1 <= step <= len(hints):
        wanted = f"give a number from 1 to {len(hints)}, or the name of a function"
        raise UserError(f"stage {args.stage} has {len(hints)} hints: {wanted}")
    more = f"python -m viz course hint {args.stage} {step + 1}"
    last = f"that was the last; python -m viz course solution {args.stage}"
    print(f"{step} of {len(hints)}: {hints[step - 1]}\n({more if step < len(hints) else last})")


def solution(args: Namespace) -> None:
    """Prints a stage's solution."""
    print(STAGES[args.stage - 1].solution(), end="")


def measure(args: Namespace) -> None:
    """Prints the table of viz/course/measure.py."""
    from ..course.measure import NotFinished, table

    try:
        print(table(args.folder), end="")
    except NotFinished as error:
        raise UserError(f"measure: {error}") from None


def options() -> Parser:
    """The parser of all that stands after `course`."""
    parser = Parser("python -m viz course", description=__doc__)
    what = parser.add_subparsers(required=True, metavar="start|check|hint|solution|measure")
    numbers = range(1, len(STAGES) + 1)

    def command(run: Callable[..., Any], name: str, words: str) -> Parser:
        one = what.add_parser(name, help=words)
        one.set_defaults(run=run)
        return one

    one = command(start, "start", "lay stubs and pages into a new folder")
    one.add_argument("folder")
    one.add_argument("--at", type=int, choices=numbers, default=1, help="begin at this stage: the earlier are solved")
    one = command(check_stages, "check", "run the checks of a stage, or of all up to the first that is not right")
    one.add_argument("stage", type=int, choices=numbers, nargs="?")
    one.add_argument("--folder", default=".", help="where the files are (default: here)")
    one.add_argument("--seconds", type=float, default=30.0, help="limit for each check (default %(default)s)")
    one.add_argument("--json", action="store_true", help="for those who grade: all checks of all stages, as JSON")
    one = command(hint, "hint", "one hint; the next by its number")
    one.add_argument("stage", type=int, choices=numbers)
    one.add_argument("step", nargs="?", default="1", help="its number (default 1), or a function's name")
    one = command(solution, "solution", "print a stage's solution")
    one.add_argument("stage", type=int, choices=numbers)
    one = command(measure, "measure", "your finished engine beside the project's: lines, time, rounding")
    one.add_argument("--folder", default=".", help="where the files are (default: here)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run what stands after `course`; the exit code: 0, or 1 where a check is not right."""
    parser = options()
    if not argv:
        parser.print_help()
        return 0
    args = parser.parse_args(argv)
    return args.run(args)
