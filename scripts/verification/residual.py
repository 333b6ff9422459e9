"""Networks of residual sums and gates: scores and gradients against torch, attributions against captum and
pytorch-grad-cam.

torch's networks are `models.to_torch` of ours: the layers' arithmetic, the sums and the gradients are torch's. That the
architectures are the published ones is for tests/models/test_published.py, by torch code written by hand. Weights are
drawn, statistics and shifts of norms too, but for EfficientNet-Lite0's where its package is installed.
"""

import contextlib
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

import models
from models.catalogue import PACKAGES
from verification import architectures, attribution, cams
from verification.networks import Pair
from verification.setting import Setting

SIDE = 64  # pixels, of the network whose attributions are compared
METHODS = ("saliency", "input_x_gradient", "deconvnet", "guided_backprop", "grad_cam", "grad_cam, signed")
METHODS += ("guided_grad_cam", f"integrated_gradients, {attribution.STEPS} midpoints", "occlusion")
MAPS = ("grad_cam", "layer_cam", "grad_cam_plus_plus")


def checks(setting):
    """The networks that people use, at full size; and every method of the others on a ResNet-18."""
    if setting.name != "minivgg":
        return
    for name in ("resnet50", "efficientnet_b0", "efficientnet_lite0"):
        pair = cache(lambda n=name: Converted(network(n, setting.seed), n))
        yield from architectures.compared(f"{name} at 224 px", pair, setting, weights=False)
    small = Small(setting)
    found = [*attribution.gradients(small), *attribution.many_passes(small)]
    yield from (replace(check, family="residual") for check in found if check.name in METHODS)
    yield from (replace(check, family="residual maps") for check in cams.checks(small) if check.name in MAPS)


def network(name, seed):
    """EfficientNet-Lite0 with its weights where they are; others with weights, statistics and shifts drawn."""
    with contextlib.suppress(models.WeightsError):
        if name in PACKAGES:
            return models.load(name)
    model, rng = models.build(name, seed=seed), np.random.default_rng(seed)
    for key, tensor in model.named_tensors():
        kind = key.rpartition(".")[2]
        if kind in ("running_mean", "bias"):
            tensor.data = (0.1 * rng.standard_normal(tensor.shape)).astype(np.float32)
        elif kind == "running_var":
            tensor.data = rng.uniform(0.8, 1.25, tensor.shape).astype(np.float32)
    return model


@dataclass
class Converted(Pair):
    """A Pair whose torch network is that of `models.to_torch`."""

    @cached_property
    def torch(self):
        return models.to_torch(self.ours["float64"]).requires_grad_(False)


class Small(Setting):
    """A ResNet-18 on images of 64 px, drawn (and nudged) by the setting that all families share."""

    def __init__(self, setting):
        super().__init__("resnet18", setting.seed)
        self.whole = setting

    def images(self, name, shape):
        return self.whole.images(f"residual {name}", (*shape[:2], SIDE, SIDE))

    @cached_property
    def pair(self):
        return Converted(network("resnet18", self.seed), "resnet18, random weights")
