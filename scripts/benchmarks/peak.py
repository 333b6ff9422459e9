"""Peak memory of one engine on one case, in a process of its own: `python -m benchmarks.peak ENGINE CASE FOLDER`.

ENGINE is minigrad, dezero or a format of torch (contiguous, channels_last). The last line printed is JSON: the largest
resident size of the process after three steps, in bytes, and what it was when the engine had been imported. What lies
between are weights as far as they were read (both engines map them), activations, workspaces and transformed weights.
"""

import importlib
import json
import resource
import sys
from pathlib import Path

from benchmarks import cases
from minigrad.kernels import thread_count


def largest():
    """The largest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's ru_maxrss begins with the size of the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def main(engine, name, folder):
    case = cases.case(name)
    if engine in ("minigrad", "dezero"):
        side = importlib.import_module(f"benchmarks.{engine}_side")
        chosen = ()
    else:
        import torch

        from benchmarks import torch_side as side

        torch.set_num_threads(thread_count())
        chosen = ([engine],)
    imported = largest()
    (step,) = side.steps(case, folder, *chosen).values()
    for _ in range(3):
        step()
    print(json.dumps({"whole": largest(), "imported": imported}))


if __name__ == "__main__":
    main(*sys.argv[1:])
