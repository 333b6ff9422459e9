"""Attributions against saliency, the library of the authors of SmoothGrad and Guided IG (PAIR).

It asks for the gradient as a function, image by image with colours last, and adds up in float32.
"""

from unittest import mock

import numpy as np
import torch

import viz
from verification.agreement import FLOAT64, Check
from verification.references import reference
from viz.random import streams

STEPS, SAMPLES, SIGMA, SIDE = 16, 6, 0.15, 56
ROUNDED = 2e-6  # what sums in float32 leave of agreement


def checks(setting):
    def row(name, ours, theirs, **more):
        return Check(
            *("attribution", name, "saliency", lambda: setting.small_shape),
            ours=lambda p: ours(setting.pair.ours[p.dtype]),
            theirs=theirs,
            **{"gate": "decisions", "tolerance": ROUNDED, "note": "the reference adds up in float32"} | more,
        )

    def gradient(model):
        return viz.saliency(model, setting.small, setting.classes, reduce="none")

    def smooth(model):
        return viz.smooth_grad(model, setting.small, setting.classes, samples=SAMPLES, sigma=SIGMA, seed=setting.seed)

    def path(model):
        return viz.integrated_gradients(model, setting.small, setting.classes, baseline=baseline(setting), steps=STEPS)

    def covered(model):
        return viz.occlusion(model, setting.small, setting.classes, patch=SIDE, stride=1, fill=0.5) * covers(setting)

    yield row("saliency", gradient, lambda: masks(setting, "GradientSaliency"))
    yield row(f"smooth_grad, {SAMPLES} samples", smooth, lambda: smoothed(setting))
    yield row(
        *("occlusion", covered, lambda: masks(setting, "Occlusion", size=SIDE, value=0.5).mean(1)),
        note="the reference gives sums over the squares that cover a pixel, ours the mean, times their number",
    )
    yield row(
        *(f"integrated_gradients, {STEPS} steps", path, lambda: paths(setting)),
        precisions=(FLOAT64,),
        wrong="it gives both ends of the path the weight of a whole step, where the midpoint rule takes neither",
        definition=lambda: along(setting, (np.arange(STEPS) + 0.5) / STEPS),
        deviation=lambda: along(setting, np.linspace(0, 1, STEPS)),
    )


def masks(setting, name, **options):
    """(2,3,64,64): what the method of that name gives."""
    method, found = getattr(reference("saliency"), name)(), []
    for image, target in zip(setting.small.astype(np.float64), setting.classes, strict=True):
        call = asked(setting, target)
        found.append(method.GetMask(image.transpose(1, 2, 0), call, **options).transpose(2, 0, 1))
    return np.stack(found)


def baseline(setting):
    """(3,64,64): a picture, for at black every maximum is tied."""
    return setting.images("baseline", (1, *setting.small.shape[1:]))[0].astype(np.float64)


def paths(setting):
    return masks(setting, "IntegratedGradients", x_baseline=baseline(setting).transpose(1, 2, 0), x_steps=STEPS)


def asked(setting, target):
    """The function that saliency calls: scores or gradients of images (N,H,W,3), from torch's network."""

    def call(images, call_model_args=None, expected_keys=None):
        scores, gradients = scored(setting, np.asarray(images).transpose(0, 3, 1, 2), target)
        return {"OUTPUT_LAYER_VALUES": scores, "INPUT_OUTPUT_GRADIENTS": gradients.transpose(0, 2, 3, 1)}

    return call


def scored(setting, images, target):
    """(scores (N,), gradients (N,3,H,W)) of torch's network, in float64."""
    x = torch.tensor(images, dtype=torch.float64, requires_grad=True)
    scores = setting.pair.torch(x)[:, target]
    (gradients,) = torch.autograd.grad(scores.sum(), x)
    return scores.detach().numpy(), gradients.numpy()


def smoothed(setting):
    """By the noise that ours draws."""
    method, found = reference("saliency").GradientSaliency(), []
    rngs = streams(setting.seed, "smooth_grad", setting.small)
    for image, target, rng in zip(setting.small.astype(np.float64), setting.classes, rngs, strict=True):
        draws = iter([rng.standard_normal(image.shape).transpose(1, 2, 0) for _ in range(SAMPLES)])
        with mock.patch("numpy.random.normal", lambda _, deviation, __, draws=draws: deviation * next(draws)):
            mask = method.GetSmoothedMask(
                image.transpose(1, 2, 0),
                asked(setting, target),
                stdev_spread=SIGMA,
                nsamples=SAMPLES,
                magnitude=False,
            )
        found.append(mask.transpose(2, 0, 1))
    return np.stack(found)


def covers(setting):
    """(H,W): how many squares cover each pixel."""
    size = setting.small.shape[2]
    starts = np.arange(size - SIDE + 1)[:, None]
    along_one = ((starts <= np.arange(size)) & (np.arange(size) < starts + SIDE)).sum(0)
    return along_one[:, None] * along_one


def along(setting, shares):
    """Integrated gradients as the mean over these shares of the way from the baseline, written out."""
    start, found = baseline(setting), []
    for image, target in zip(setting.small.astype(np.float64), setting.classes, strict=True):
        _, gradients = scored(setting, start + shares[:, None, None, None] * (image - start), target)
        found.append((image - start) * gradients.mean(0))
    return np.stack(found)
