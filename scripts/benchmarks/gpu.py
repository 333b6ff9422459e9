"""One case on a GPU, in a process of its own.

`python -m benchmarks.gpu CASE FOLDER DEVICE ROUNDS` ends with a line of JSON.

A step only asks for its work and does not wait for it. So it is timed by events, which the GPU itself stamps between
the pieces of work: the time from the first to the last of several steps, from an idle GPU on. Each engine runs with
TF32 off and on; torch in both of its memory formats, with cuDNN choosing its algorithms by trying them.
"""

import json
import math
import sys
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np

from benchmarks import cases, measure, minigrad_side
from minigrad import tf32
from minigrad.device import array_module, current_device, to_device

BLOCK = 0.03  # seconds that the steps timed together are to take, at least
MOST, FED = 30, 50  # steps timed together: at most; where batches are made meanwhile, of which a few are there at first
TOLERANCE = {"forward": 1e-3, "gradient": 0.1, "style": 0.1, "training": 0.2, "fed": 0.2}  # see case.agreement
TF32 = " TF32"


# ---- the engines' steps, and their clocks ----------------------------------------------------------------------------


def by_events(synchronize, event, milliseconds):
    """timed(step, calls): the seconds of one step, of so many run one after the other, by the GPU's clock."""

    def timed(step, calls):
        synchronize()
        start, end = event(), event()
        start.record()
        for _ in range(calls):
            step()
        end.record()
        end.synchronize()
        return milliseconds(start, end) / 1e3 / calls

    return timed


def ours(case, folder, device):
    """{name: step} of minigrad, with TF32 off and on; and its timed(step, calls)."""
    cupy = array_module(to_device(np.zeros(1, np.float32), device))
    (step,) = minigrad_side.steps(case, folder, device).values()
    timed = by_events(cupy.cuda.Device().synchronize, cupy.cuda.Event, cupy.cuda.get_elapsed_time)
    return {"minigrad": partial(within, nullcontext, step), f"minigrad{TF32}": partial(within, tf32, step)}, timed


def theirs(case, folder, device):
    """The same of torch."""
    import torch

    from benchmarks import torch_side

    torch.backends.cudnn.benchmark = True
    steps = {}
    for name, step in torch_side.steps(case, folder, torch_side.EAGER, device).items():
        steps[name] = partial(within, partial(torch_tf32, False), step)
        steps[name + TF32] = partial(within, partial(torch_tf32, True), step)
    event = partial(torch.cuda.Event, enable_timing=True)
    return steps, by_events(torch.cuda.synchronize, event, lambda start, end: start.elapsed_time(end))


def within(context, step):
    with context():
        return step()


@contextmanager
def torch_tf32(allow):
    import torch

    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = allow
    try:
        yield
    finally:
        for backend, setting in zip(backends, before, strict=True):
            backend.allow_tf32 = setting


# ---- one case --------------------------------------------------------------------------------------------------------


def calls(case, timed, step):
    """How many steps to time together, after a warm-up in which kernels are compiled and chosen, and memory kept."""
    timed(step, 3)
    if case.kind == "fed":
        return FED
    return max(1, min(MOST, math.ceil(BLOCK / max(1e-9, timed(step, 3)))))


def timed_in_turns(case, engines, rounds):
    """{name: [seconds of a step, one for each round]} of engines [({name: step}, timed), ...]."""
    timers = {}
    for steps, timed in engines:
        for name, step in steps.items():
            timers[name] = partial(timed, step, calls(case, timed, step))
    return measure.in_turns(timers, max(3, rounds // 5) if case.kind == "fed" else rounds)


def host(result):
    """A step's result as an array on the CPU, of float64."""
    result = result.cpu() if hasattr(result, "cpu") else result.numpy()
    return np.asarray(result, np.float64)


def apart(case, a, b):
    """How far two engines' first results are apart, of the largest value. Raises RuntimeError if not by rounding."""
    off = float(np.percentile(np.abs(a - b), 99.9) / np.abs(b).max())
    if not off < TOLERANCE[case.kind]:
        raise RuntimeError(f"{case.name}: the engines' results differ by {off:.2g} of the largest value")
    return off


def main(name, folder, device, rounds):
    import torch

    torch.cuda.set_device(device)
    with current_device(to_device(np.zeros(1, np.float32), device)):
        case = cases.case(name, gpu=True)
        engines = ours(case, folder, device), theirs(case, folder, device)
        exact = [{n: step for n, step in steps.items() if TF32 not in n} for steps, _ in engines]
        mine = host(exact[0]["minigrad"]())
        differences = {n: apart(case, mine, host(step())) for n, step in exact[1].items()}
        seconds = timed_in_turns(case, engines, rounds)
    print(json.dumps({"seconds": seconds, "difference": differences}))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
