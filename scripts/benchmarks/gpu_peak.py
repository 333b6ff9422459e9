"""Peak memory of one engine on one case on a GPU, in a process of its own.

`python -m benchmarks.gpu_peak ENGINE CASE FOLDER DEVICE` ends with a line of JSON, in bytes, after three steps with
TF32 off: "kept" is what the engine's pool holds of the GPU (CuPy's total_bytes; torch's max_memory_reserved), which
never shrinks meanwhile; "used", for torch, the most that was in use of it (max_memory_allocated). Contexts, kernels and
what libraries take for themselves are in neither. ENGINE is minigrad, or a format of torch.
"""

import json
import sys

import numpy as np

from benchmarks import cases
from minigrad.device import array_module, current_device, to_device

STEPS = 3


def of_minigrad(case, folder, device):
    from benchmarks import minigrad_side

    probe = to_device(np.zeros(1, np.float32), device)
    with current_device(probe):
        (step,) = minigrad_side.steps(case, folder, device).values()
        for _ in range(STEPS):
            step()
        return {"kept": array_module(probe).get_default_memory_pool().total_bytes()}


def of_torch(case, folder, device, variant):
    import torch

    from benchmarks import gpu, torch_side

    torch.cuda.set_device(device)
    torch.backends.cudnn.benchmark = True
    with gpu.torch_tf32(False):
        (step,) = torch_side.steps(case, folder, [variant], device).values()
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()
    return {"kept": torch.cuda.max_memory_reserved(), "used": torch.cuda.max_memory_allocated()}


def main(engine, name, folder, device):
    case = cases.case(name, gpu=True)
    if engine == "minigrad":
        print(json.dumps(of_minigrad(case, folder, device)))
    else:
        print(json.dumps(of_torch(case, folder, device, engine)))


if __name__ == "__main__":
    main(*sys.argv[1:])
