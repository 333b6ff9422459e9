"""One case in a process of its own: `python -m benchmarks.case NAME FOLDER ROUNDS` ends with a line of JSON."""

import contextlib
import json
import math
import sys

import numpy as np
import torch

import minigrad as mg
from benchmarks import cases, measure, minigrad_side, torch_side
from minigrad.kernels import thread_count

DEZERO_EVERY = 4  # rounds: it is slow
AFTER_SPINNING = 0.2  # seconds: BLAS's own threads spin for 0.1 after its last product, and hold up whoever comes next
TOLERANCE = {"forward": 1e-3, "gradient": 0.1, "style": 0.1, "training": 0.2}  # of the largest value; see agreement
TOLERANCE |= {"occlusion": 1e-3, "rise": 1e-3, "score_cam": math.inf}  # whose masks lie half a cell off, see verify.py


def main(name, folder, rounds):
    torch.set_num_threads(thread_count())
    case = cases.case(name)
    steps = minigrad_side.steps(case, folder) | torch_side.steps(case, folder)
    if case.numpy_bar is not None:
        with contextlib.suppress(ImportError):
            from benchmarks import dezero_side

            steps |= dezero_side.steps(case, folder)
    if case.kind == "forward":
        with contextlib.suppress(ImportError):
            from benchmarks import onnx_side

            steps |= onnx_side.steps(case, folder)
    apart = compared(case, steps)
    with mg.profile() as profiled:
        steps["minigrad"]()
    rest = {"dezero": AFTER_SPINNING, "onnxruntime": AFTER_SPINNING}
    measure.interleaved(steps, 2, rest=rest)  # so that the first timed round has the neighbours of the others
    taken = measure.interleaved(steps, rounds, {"dezero": DEZERO_EVERY}, rest)
    flops = sum(operation.flops for operation in profiled.operations)
    print(json.dumps({"seconds": taken, "flops": flops, "difference": apart}))


def compared(case, steps):
    """{engine: how far its results are apart from ours}. torch.compile (2.13) gives wrong scores where AVX-512 is
    forbidden: while the eager modes agree with us and it does not, it is left out of `steps`, and that is said."""
    apart = {}
    for other, step in list(steps.items())[1:]:
        try:
            apart[other] = agreement(case, steps["minigrad"], step)
        except RuntimeError as error:
            if other != "torch compiled":
                raise
            print(f"torch.compile is left out: {error}")
            del steps[other]
    return apart


def agreement(case, ours, theirs):
    """How far two engines' results are apart, of the largest value. Raises RuntimeError where it cannot be rounding.

    Dropout makes training's first loss differ; ReLU and max-pooling may decide near-ties otherwise in a gradient.
    """
    a, b = np.asarray(ours(), np.float64), np.asarray(theirs(), np.float64)
    off = float(np.percentile(np.abs(a - b), 99.9) / np.abs(b).max())
    if not off < TOLERANCE[case.kind]:
        raise RuntimeError(f"{case.name}: the engines' results differ by {off:.2g} of the largest value")
    return off


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
