"""What two threads could gain at best: `python -m benchmarks.halves CASE FOLDER ROUNDS`, of a case on one image.

Two threads, or two processes, each take half of the image's rows through the whole network, with no row of the other
half and with no handover between them. A pass that shares its work out must do more than that.
"""

import multiprocessing
import os
import sys
import threading
from pathlib import Path

import torch

import models
from benchmarks import cases, measure, minigrad_side, torch_side
from minigrad.kernels import one_thread, thread_count
from models.memory import keep_freed_memory

PASSES = 5  # between two signs to the workers


def steps(case, folder):
    """(on the whole image, on half of its rows)"""
    model, images = models.load(Path(folder) / f"{case.network}.h5"), minigrad_side.inputs(case)
    make = {"forward": minigrad_side.forward, "gradient": minigrad_side.gradient}[case.kind]
    keep_freed_memory()
    return make(model, images), make(model, images[:, :, : -(-case.size // 2)].copy())


def alone(step):
    """So many passes on one thread."""
    with one_thread():
        repeated(step)


def repeated(step):
    for _ in range(PASSES):
        step()


def work(case, folder, number, barrier):
    """Passes on half of the rows, on a core of its own, from each opening of the barrier until it is met again."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[number : number + 1])
    _, half = steps(case, folder)
    alone(half)
    barrier.wait()
    while True:
        barrier.wait()
        alone(half)
        barrier.wait()


def pair(make_barrier, make_worker, case, folder):
    """A function that has two workers do their passes at the same time."""
    barrier = make_barrier(3)
    for number in range(2):
        make_worker(target=work, args=(case, folder, number, barrier), daemon=True).start()
    barrier.wait()

    def both():
        barrier.wait()
        barrier.wait()

    return both


def timers(case, folder):
    """{name: callable} of PASSES passes each."""
    spawned = multiprocessing.get_context("spawn")
    found = {
        "halves, two processes": pair(spawned.Barrier, spawned.Process, case, folder),
        "halves, two threads": pair(threading.Barrier, threading.Thread, case, folder),
    }
    whole, half = steps(case, folder)
    found |= {
        "a half, one thread": lambda: alone(half),
        "the whole, one thread": lambda: alone(whole),
        "the whole, all threads": lambda: repeated(whole),
    }
    theirs = torch_side.steps(case, folder, torch_side.EAGER)
    return found | {name: lambda step=step: repeated(step) for name, step in theirs.items()}


def main(name, folder, rounds):
    torch.set_num_threads(thread_count())
    found = timers(cases.case(name), folder)
    measure.interleaved(found, 2)
    taken = measure.interleaved(found, rounds)
    theirs = taken[measure.fastest(taken, "torch")]
    for what, seconds in taken.items():
        (middle, *_), (ratio, low, high) = measure.spread(seconds), measure.ratio(theirs, seconds)
        print(
            f"{what:24} {1e3 * middle / PASSES:6.1f} ms, {ratio:.2f} ({low:.2f} to {high:.2f}) times as fast as torch"
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
