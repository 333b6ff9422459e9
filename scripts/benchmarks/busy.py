"""Quiet, and beside two busy processes: `python -m benchmarks.busy FOLDER ROUNDS` ends with a line of JSON.

VGG16's forward pass and SqueezeNet's input gradient, on one thread and on all that there are, taking turns.
"""

import contextlib
import json
import os
import subprocess
import sys
import time

from benchmarks import cases, measure, minigrad_side
from minigrad.kernels import thread_count

NEIGHBOURS = 2
AT_MOST = 60  # seconds of either half, begun rounds apart
BUSY = """
import os, sys, time
end = time.monotonic() + 600
while os.getppid() == int(sys.argv[1]) and time.monotonic() < end:  # a parent that is killed leaves nobody behind
    pass
"""


@contextlib.contextmanager
def neighbours(count=NEIGHBOURS):
    """So many processes that compute all the time; they are gone when it is left."""
    processes = []
    try:
        for _ in range(count):
            processes.append(subprocess.Popen([sys.executable, "-c", BUSY, str(os.getpid())]))
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def on(threads, step):
    """The step on so many threads."""

    def run():
        os.environ["OMP_NUM_THREADS"] = str(threads)
        step()

    return run


def timed(steps, rounds, at_most=AT_MOST, clock=time.perf_counter):
    """{name: [seconds]}: two rounds and two rounds more until there are `rounds`, or the time is over."""
    taken, end = {name: [] for name in steps}, clock() + at_most
    for _ in range(-(-rounds // 2)):
        for name, seconds in measure.interleaved(steps, 2, clock=clock).items():
            taken[name] += seconds
        if clock() > end:
            break
    return taken


def main(folder, rounds):
    found, counts = {}, sorted({1, thread_count()})
    for case in cases.BUSY_CASES:
        step = minigrad_side.steps(case, folder)["minigrad"]
        steps = {count: on(count, step) for count in counts}
        measure.interleaved(steps, 2)
        found[case.title] = {"quiet": timed(steps, rounds)}
        with neighbours():
            found[case.title]["busy"] = timed(steps, rounds)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
