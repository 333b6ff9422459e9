"""What this machine can do: the rates of a large matrix product and of a large copy, by one thread and by all.

`python -m benchmarks.machine` ends with a line of JSON; with cuda:0, say, it describes the GPU and its libraries.
"""

import json
import os
import sys
import time

import numpy as np

import minigrad as mg
from minigrad.device import current_device, to_device
from minigrad.kernels import blocks, parallel, thread_count

SIDE = 2048  # of the matrices
COPIED = 64 << 20  # bytes


def best(work, times=7):
    """The least time of several, in seconds: a limit is what the machine reaches when nothing disturbs it."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def limits():
    """{"sgemm": {threads: FLOP/s}, "copy": {threads: bytes/s, read and written}}"""
    from threadpoolctl import threadpool_limits

    a, b = (np.random.default_rng(i).random((SIDE, SIDE), dtype=np.float32) for i in range(2))
    out, source = np.empty_like(a), np.ones(COPIED // 4, np.float32)
    target, threads = np.zeros_like(source), thread_count()

    def copy(part):
        target[part] = source[part]

    sgemm, copied = {}, {}
    for count in sorted({1, threads}):
        with threadpool_limits(count, "blas"):
            sgemm[count] = 2 * SIDE**3 / best(lambda: np.matmul(a, b, out=out))
    copied[1] = 2 * source.nbytes / best(lambda: copy(slice(None)))
    if threads > 1:
        parts = blocks(len(source), len(source) // threads)
        copied[threads] = 2 * source.nbytes / best(lambda: parallel(copy, parts))
    return {"sgemm": sgemm, "copy": copied}


def described():
    """What ran where: minigrad's configuration, the versions of the other engines, and the load."""
    from importlib.metadata import PackageNotFoundError, version

    found = mg.show_config(mode="dicts")
    for package in ("torch", "captum", "dezero"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    if hasattr(os, "getloadavg"):
        found["load average"] = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return found


def described_gpu(device):
    """What ran where: minigrad's configuration with this GPU, and torch with its CUDA and cuDNN."""
    import torch

    with current_device(to_device(np.zeros(1, np.float32), device)):
        found = described()
    for package in ("captum", "dezero"):
        del found[package]
    return found | {"torch": f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"}


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps({"machine": described_gpu(sys.argv[1])}))
    else:
        print(json.dumps({"machine": described(), "limits": limits()}))
