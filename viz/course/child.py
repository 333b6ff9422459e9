"""The process in which a student's code runs: python -m viz.course.child STAGE RESULTS STACK SECONDS, in their folder.

One line of JSON for each check goes to RESULTS, before it begins and after. A check that takes longer than SECONDS ends
the process, which leaves the place where it was in STACK. What the student prints goes to stderr.
"""

import faulthandler
import importlib
import json
import linecache
import os
import resource
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

from .compare import Mistake
from .source import STAGES

MEMORY = 2 << 30  # bytes that a student's code may take: an endless list ends in a sentence, not in swapping
BUFFER = 64 << 20


@dataclass
class Result:
    """What came of one check; `sentence` says what is wrong, `expected` and `found` what `example` gives."""

    name: str
    right: bool = False
    sentence: str = ""
    example: str = ""
    expected: str = ""
    found: str = ""
    seconds: float = 0.0


def main(number, results, stack, seconds):
    stage = STAGES[int(number) - 1]
    sys.dont_write_bytecode = True
    sys.stdout = sys.stderr
    with open(results, "a", encoding="utf-8") as lines, open(stack, "w") as trace:

        def tell(**line):
            print(json.dumps(line), file=lines, flush=True)

        checks = importlib.import_module(f".checks.{stage.name}", __package__).CHECKS
        tell(checks=[name_of(check) for check in checks])
        limit_memory()
        faulthandler.dump_traceback_later(float(seconds), exit=True, file=trace)
        student, failed = imported(stage)
        if failed:
            return tell(failed=failed)
        for check in checks:
            tell(begin=name_of(check))
            faulthandler.dump_traceback_later(float(seconds), exit=True, file=trace)
            tell(result=asdict(outcome(check, student)))
        faulthandler.cancel_dump_traceback_later()


def name_of(check):
    return check.__doc__.strip()


def limit_memory():
    """Data for what is here, MEMORY more, and the buffers that BLAS has for each core."""
    here = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (here + MEMORY + (os.cpu_count() or 1) * BUFFER, most))


def imported(stage):
    """The student's module of a stage, and a sentence if it cannot be had."""
    try:
        return importlib.import_module(stage.name), ""
    except BaseException as error:  # whatever a student's file may raise, SystemExit too
        return None, sentence_of(error)


def outcome(check, student):
    """The Result of a check on a student's module."""
    result, begin = Result(name_of(check)), time.perf_counter()
    try:
        check(student)
        result.right = True
    except Mistake as mistake:
        result.sentence, result.example = mistake.sentence, mistake.example
        result.expected, result.found = mistake.expected, mistake.found
    except BaseException as error:  # the same
        result.sentence = sentence_of(error)
    result.seconds = round(time.perf_counter() - begin, 3)
    return result


def sentence_of(error):
    """An exception in a sentence, with the student's line."""
    if isinstance(error, SyntaxError):
        text = (error.text or "").strip()
        return f"{Path(error.filename or '').name}, line {error.lineno}: {type(error).__name__}: {error.msg}: `{text}`"
    calls = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    frames = [(code, line) for code, line in calls if is_students(code.co_filename)]
    where = place(frames[-1][0].co_filename, frames[-1][1], frames[-1][0].co_qualname) if frames else ""
    if isinstance(error, NotImplementedError) and frames:
        return f"{where.partition(': `')[0]} is still to be written: {error}"
    if isinstance(error, RecursionError):
        return f"{where}: it calls itself too deep: walk with a loop and a list of what is still to do"
    if isinstance(error, MemoryError):
        return f"{where}: it takes more than {MEMORY >> 30} GiB of memory: does something grow without end?"
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{where}: {said}" if where else said


def place(filename, number, function):
    """A student's line, as in: number.py, line 12, Number.__add__: `return self + other`."""
    text = linecache.getline(filename, number).strip()
    function = function.replace("<locals>.", "")
    inside = "" if function == "<module>" else f", {function}"
    return f"{Path(filename).name}, line {number}{inside}: `{text}`"


def is_students(filename):
    return Path(filename).parent == Path(os.getcwd())


if __name__ == "__main__":
    main(*sys.argv[1:])
