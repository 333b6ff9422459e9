"""Methods of hundreds of forward passes on torch: pytorch-grad-cam's Score-CAM, captum's occlusion, and RISE's sums.

All explain class 0; minigrad_side.py has ours. Torch takes `cases.AT_ONCE` images in a pass.
"""

import functools

import torch
from verification.references import reference

from benchmarks import cases


def score_cam(case, model, x):
    """(1,H,W), the largest value 1. Its masks lie half a cell off ours, as it enlarges them from corner to corner."""
    import tqdm

    package = reference("grad-cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    tqdm.tqdm = functools.partial(tqdm.tqdm, disable=True)  # it has no option to be silent
    method = package.ScoreCAM(model, [getattr(model, cases.swept_layer(case))])
    method.batch_size = cases.AT_ONCE
    return lambda: method(x, [ClassifierOutputTarget(0)])


def occlusion(case, model, x):
    from captum.attr import Occlusion

    side, stride = cases.square(case)
    method, sides = Occlusion(model), (3, side, side)
    how = {"strides": (3, stride, stride), "baselines": 0.5, "perturbations_per_eval": cases.AT_ONCE}

    @torch.inference_mode()
    def step():
        return method.attribute(x, sides, target=0, **how)[:, 0]

    return step


def rise(case, model, x):
    """The masks are viz' own, drawn anew in each run as ours are."""
    from viz.perturbation import rise_masks
    from viz.random import stream

    @torch.inference_mode()
    def step():
        rng, total = stream(0, "rise"), 0
        for start in range(0, cases.SAMPLES, cases.AT_ONCE):
            masks = rise_masks(min(cases.AT_ONCE, cases.SAMPLES - start), tuple(x.shape[2:]), 7, 0.5, rng)
            masks = torch.from_numpy(masks)
            shown = (x * masks[:, None]).contiguous(memory_format=torch.channels_last)
            total = total + torch.einsum("n,nhw->hw", model(shown).softmax(1)[:, 0], masks)
        return total[None] / (0.5 * cases.SAMPLES)

    return step
