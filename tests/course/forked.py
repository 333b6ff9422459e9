"""The process of a student's code, forked where all is imported already, and ended at the first check that is wrong."""

import os
import sys
from multiprocessing import get_context

from viz.course import child

_context = get_context("forkserver")
_context.set_forkserver_preload(["viz.course.child", "viz.course.reference", "scipy.signal", "h5py", "PIL.Image"])


def run(folder, *words):
    """The exit code, as viz.course.check.run gives it; the checks after the first wrong one are left out."""
    process = _context.Process(target=_run, args=(str(folder), *map(str, words)))
    process.start()
    process.join()
    return process.exitcode


def _run(folder, number, results, stack, seconds):
    os.chdir(folder)
    sys.path.insert(0, folder)
    outcome = child.outcome
    wrong = []

    def first_wrong(check, student):
        result = child.Result(child.name_of(check)) if wrong else outcome(check, student)
        wrong.extend([] if result.right else [result])
        return result

    child.outcome = first_wrong
    child.main(number, results, stack, seconds)
