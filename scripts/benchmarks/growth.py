"""Time against pixels and batch: `python -m benchmarks.growth FOLDER ROUNDS` ends with a line of JSON.

The convolutional part of VGG16, forward and gradient by the image. Linear growth is an exponent of 1.
"""

import json
import sys
from dataclasses import replace

import torch

from benchmarks import cases, measure, minigrad_side, torch_side
from minigrad.kernels import thread_count

SIDES = (112, 160, 224, 320, 448, 640)  # pixels, one image
BATCHES = (1, 2, 4, 8, 16)  # images of 112 px
BATCH_SIDE = 112


def main(folder, rounds):
    torch.set_num_threads(thread_count())
    whole = cases.Case("growth", "", "gradient", "vgg16_features", 1, 0)
    found = {"pixels": {}, "batch": {}}
    for side in SIDES:
        found["pixels"][side * side] = timed(replace(whole, size=side), folder, rounds)
    for batch in BATCHES:
        found["batch"][batch] = timed(replace(whole, size=BATCH_SIDE, batch=batch), folder, rounds)
    print(json.dumps(found))


def timed(case, folder, rounds):
    """{engine: median seconds}"""
    steps = minigrad_side.steps(case, folder) | torch_side.steps(case, folder, ["channels_last"])
    for step in steps.values():
        step()
    return {name: measure.spread(taken)[0] for name, taken in measure.interleaved(steps, rounds).items()}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
