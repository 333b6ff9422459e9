"""Run a stage's checks on a student's folder, in a process of their own that is ended when it takes too long."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from .child import Result, place
from .compare import UNNAMED

LIMIT = 30.0  # seconds for one check: the slowest solution takes a tenth of it


def check(stage, folder, seconds=LIMIT):
    """[Result] of all checks of a Stage on the files in `folder`; a check takes `seconds` at most.

    A failure that names no mistake may be an earlier stage's: then that one is told of.
    """
    results = _checked(stage, Path(folder).resolve(), seconds)
    wrong = [result for result in results if not result.right]
    for result in wrong:
        result.sentence += _not_there(stage, result.sentence)
    unnamed = [result for result in wrong if _is_unnamed(stage, result.sentence)]
    if unnamed:
        blamed = _not_right(stage, Path(folder).resolve(), seconds)
        for result in unnamed:
            result.sentence += blamed
    return results


def _not_there(stage, sentence):
    """What to add where an earlier stage that this one needs is not written, or has no file."""
    for need in stage.needs:
        still = sentence.startswith(f"{need.file}, line ") and "is still to be written" in sentence
        if still or f"No module named '{need.name}'" in sentence:
            return f" (write stage {need.number} first, or: python -m viz course start FOLDER --at {stage.number})"
    return ""


def _is_unnamed(stage, sentence):
    broken = any(sentence.startswith(f"{need.file}, line ") for need in stage.needs)
    return sentence.startswith(UNNAMED) or (broken and "is still to be written" not in sentence)


def _not_right(stage, folder, seconds):
    """What to add where the first of the stages that this one needs is not right; nothing where all are."""
    for need in stage.needs:
        results = _checked(need, folder, seconds)
        right = sum(result.right for result in results)
        if right < len(results):
            return f"; stage {need.number} is not right ({right} of {len(results)}): check {need.number} first"
    return ""


def _checked(stage, folder, seconds):
    """What the stage's own checks say."""
    if not (folder / stage.file).is_file():
        missing = f"there is no {stage.file} in {folder}: python -m viz course start FOLDER makes it"
        return [Result(stage.file, sentence=f"{missing}; or go into the folder it made: cd FOLDER")]
    with tempfile.TemporaryDirectory() as own:
        results, stack = Path(own, "results"), Path(own, "stack")
        code = run(folder, stage.number, results, stack, seconds)
        lines = [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []
        if not lines:
            raise RuntimeError(f"the checks of stage {stage.number} did not begin (exit code {code})")
        return _results(lines, code, stack.read_text(), folder, seconds)


def run(folder, *words):
    """The exit code of viz.course.child, run with these words in a folder."""
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "viz.course.child", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=2).returncode


def _results(lines, code, stack, folder, seconds):
    """What was told, and for a check that never ended why."""
    names, found = lines[0]["checks"], [Result(**line["result"]) for line in lines if "result" in line]
    failed = next((line["failed"] for line in lines if "failed" in line), "")
    if not failed and len(found) < len(names):
        failed = _stopped(stack, folder, seconds) or f"the process ended within this check (exit code {code})"
    if failed:
        found.append(Result(names[len(found)], sentence=failed))
    return found + [Result(name, sentence="not reached") for name in names[len(found) :]]


def _stopped(stack, folder, seconds):
    """The sentence for a check that took too long, with the student's line from faulthandler's stack."""
    if "Timeout" not in stack:
        return ""
    frames = re.findall(r'File "(.*)", line (\d+) in (.*)', stack)
    own = [place(file, int(line), name) for file, line, name in frames if Path(file).parent == folder]
    where = f"{own[0]}: " if own else ""
    return f"{where}still running after {seconds:g} seconds: does this loop end, or is each step too slow?"
