"""Sections that a second process makes meanwhile, where there are two cores.

A network as small as the embedded one keeps two cores less busy than two of its passes do. So the optimised pictures,
half of the work, are made in a process beside this one, each with half of the threads; which sections are whose does
not depend on how fast either is, nor do the results. What does not come back, because the process failed or was
killed, is left to this one.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from minigrad.kernels import thread_count

from .study import Budget, Study

APART = ("optimised", "robust")  # in order: the second shows pictures of the first
THREADS = "OMP_NUM_THREADS"  # what thread_count and BLAS obey


class Beside:
    """What comes from the other process. It waits while nobody looks."""

    def __init__(self, connection: Any = None) -> None:
        self.connection, self.sections = connection, []  # (key, section, seconds), as they came

    def look(self, count: Callable[[int], Any], wait: bool = False) -> None:
        """Take what has come, with `wait` all that is to come; count(units) is told of its steps."""
        with contextlib.suppress(EOFError, OSError):  # it is through, or has failed
            while self.connection is not None and (wait or self.connection.poll()):
                message = self.connection.recv()
                if isinstance(message, int):
                    count(message)
                else:
                    self.sections.append(message)
            return
        self.connection = None

    def taken(self) -> list[tuple[str, dict[str, Any], float]]:
        """The sections that have come since the last call."""
        sections, self.sections = self.sections, []
        return sections


@contextlib.contextmanager
def beside(study: Study, make: Callable[..., Any]) -> Iterator[Beside]:
    """A Beside, of a process that makes the sections APART by make(key, study), as this one would.

    There is none, and nothing comes, where a core is alone, the work is a GPU's, or the process is not the job's.
    """
    threads, job = thread_count(), study.job
    if threads < 2 or job.args.device != "cpu" or not job.own_process:
        yield Beside()
        return
    context, before = multiprocessing.get_context("spawn"), os.environ.get(THREADS)
    here, there = context.Pipe(duplex=False)
    asked = job.name, job.args, job.argv, job.program, True, [], job.defaults
    process = context.Process(target=_work, args=(there, make, asked, study.paths, study.style, study.budget))
    os.environ[THREADS] = str(threads // 2)
    try:
        process.start()
        there.close()
        with threadpool_limits(threads // 2, "blas"):  # which read the environment when it was loaded
            yield Beside(here)
    finally:
        os.environ.pop(THREADS)
        if before is not None:
            os.environ[THREADS] = before
        process.terminate()
        process.join()


def _work(
    connection: Any,
    make: Callable[..., Any],
    asked: tuple,
    paths: Sequence[Any],
    style: np.ndarray | None,
    budget: Budget,
) -> None:
    """The other process: sends the units of work done, and each section with its key and seconds."""
    from ..job import Job
    from .study import Study

    tqdm.set_lock(threading.RLock())  # its own is shared by processes, and outlives one that is ended
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the first process decides, and ends this one
    job, name = Job(*asked), asked[0]
    study = Study(job, paths, style, budget, did=lambda units=1: connection.send(units))
    warnings.showwarning = lambda message, *_, **__: print(f"{name}: warning: {message}", file=sys.stderr)
    with contextlib.suppress(Exception):  # which the first process meets, and tells, when it makes the section itself
        for key in APART:
            began = time.time()
            section = make(key, study)
            connection.send((key, section, round(time.time() - began, 2)))
    connection.close()
