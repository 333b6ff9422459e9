"""Error of VGG16's scores and input gradients on a GPU: `python -m benchmarks.gpu_accuracy FOLDER DEVICE`.

As accuracy.py has it: against float64 on the CPU, by direct convolution, decisions that flip counted and held. Of two
images, the worst counts. torch's own errors stand beside, on the same GPU.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np

import minigrad as mg
import models
from benchmarks import accuracy
from minigrad import tf32
from minigrad.device import current_device, to_device

SCALES = (2, 8)  # pixels that the noise of the images is blurred by


def truths(path, images):
    """What float64 gives on the CPU, for each of the images."""
    double = accuracy.in_double(path)
    with mg.conv_algorithm("direct"):
        return [accuracy.observed(double, image[None].astype(np.float64)) for image in images]


def of_minigrad(path, images, truth, device):
    """{"minigrad": row, "minigrad TF32": row} of accuracy.differences, the worst of the images."""
    model, rows = models.load(path, device=device).requires_grad_(False), {}
    for name, context in (("minigrad", nullcontext), ("minigrad TF32", tf32)):
        with context():
            found = [accuracy.observed(model, i[None], t["target"], device) for i, t in zip(images, truth, strict=True)]
        rows[name] = accuracy.worst([accuracy.differences(f, t) for f, t in zip(found, truth, strict=True)])
    return rows


def of_torch(folder, images, truth, device):
    from benchmarks import gpu, torch_side

    model, rows = torch_side.load(folder, "vgg16").eval().requires_grad_(False).to(device), {}
    for name, allow in (("torch", False), ("torch TF32", True)):
        with gpu.torch_tf32(allow):
            found = [accuracy.by_torch(model, i[None], t["target"], device) for i, t in zip(images, truth, strict=True)]
        rows[name] = accuracy.worst([accuracy.differences(f, t) for f, t in zip(found, truth, strict=True)])
    return rows


def main(folder, device):
    images, path = accuracy.noises(SCALES), Path(folder) / "vgg16.h5"
    truth = truths(path, images)
    with current_device(to_device(np.zeros(1, np.float32), device)):
        rows = of_minigrad(path, images, truth, device) | of_torch(folder, images, truth, device)
    print(json.dumps(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
