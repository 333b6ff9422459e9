"""Write attribution.npz: attributions of two small networks by captum, with the networks' weights and the images.

    python tests/golden/make_attribution.py

Needs torch and captum (made with torch 2.13.0, captum 0.9.0), in float64. Keys: NETWORK/w0, NETWORK/b0, ... (weights
and biases in the order of the layers), NETWORK/image, NETWORK/target, and NETWORK/METHOD.
"""

import copy
from pathlib import Path

import numpy as np
import torch
from captum import attr, metrics
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule
from torch import nn

TARGETS = {"vgg": [2, 4], "squeezenet": [3, 1]}  # classes with a score above 0


class Fire(nn.Module):
    """squeeze, ReLU, then two branches side by side, then one ReLU for both."""

    def __init__(self):
        super().__init__()
        self.squeeze, self.relu_squeeze = nn.Conv2d(6, 3, 1), nn.ReLU()
        self.one, self.three, self.relu_expand = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()

    def forward(self, x):
        x = self.relu_squeeze(self.squeeze(x))
        return self.relu_expand(torch.cat([self.one(x), self.three(x)], 1))


def vgg():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6 * 3 * 3, 8), nn.ReLU(), nn.Linear(8, 5),
    )  # fmt: skip


def squeezenet():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(),
        nn.Conv2d(8, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def images(size, seed):
    return torch.tensor(np.random.default_rng(seed).random((2, 3, size, size)))


def numpy(x):
    return x.detach().numpy()


def common(model, x, target, layer):
    """What both networks have."""
    cam = attr.LayerGradCam(model, layer)
    return {
        "scores": model(x),
        "gradient": attr.Saliency(model).attribute(x, target, abs=False),
        "deconvnet": attr.Deconvolution(model).attribute(x, target),
        "guided_backprop": attr.GuidedBackprop(model).attribute(x, target),
        "grad_cam": cam.attribute(x, target, relu_attributions=True)[:, 0],
        "grad_cam_signed": cam.attribute(x, target)[:, 0],
        "guided_grad_cam": attr.GuidedGradCam(model, layer).attribute(x, target, interpolate_mode="bilinear"),
        "integrated_gradients": attr.IntegratedGradients(model).attribute(
            x, 0.25, target, n_steps=7, method="riemann_middle"
        ),
        "input_x_gradient": attr.InputXGradient(model).attribute(x, target),
        "occlusion": attr.Occlusion(model).attribute(x, (3, 4, 6), (3, 2, 3), 0.5, target)[:, 0],
    }


def relevance(model, x, target):
    """Without biases: where rules change the weights, captum leaves biases as they are, and the papers do not."""
    found, model = {}, copy.deepcopy(model)
    for p in model.parameters():
        p.data *= p.ndim > 1
    for name, rule in (("epsilon", EpsilonRule), ("gamma", GammaRule), ("zplus", Alpha1_Beta0_Rule)):
        for layer in model:
            if isinstance(layer, nn.Flatten):  # captum has no default for it; in proportion is the identity here
                layer.rule = EpsilonRule()
            elif isinstance(layer, nn.Conv2d | nn.Linear):
                layer.rule = rule()
        found[f"lrp_{name}"] = attr.LRP(model).attribute(x, target)
    return found


def infidelity(model, x, target):
    """With the very noise that the test draws."""
    rng = np.random.default_rng(3)
    noise = [torch.tensor(0.1 * rng.standard_normal(x.shape[1:])) for _ in range(6)]
    draws = iter(noise)

    def perturb(inputs):
        one = next(draws).expand_as(inputs)
        return one, inputs - one

    a = attr.Saliency(model).attribute(x, target, abs=False)
    plain = metrics.infidelity(model, perturb, x, a, target=target, n_perturb_samples=6, max_examples_per_batch=2)
    draws = iter(noise)
    scaled = metrics.infidelity(
        model, perturb, x, a, target=target, n_perturb_samples=6, max_examples_per_batch=2, normalize=True
    )
    return {"infidelity": plain, "infidelity_scaled": scaled}


def main():
    torch.manual_seed(24)
    torch.set_default_dtype(torch.float64)
    found = {}
    for name, model, size in (("vgg", vgg(), 12), ("squeezenet", squeezenet(), 18)):
        for p in model.parameters():
            p.data *= 2  # so that scores and ReLUs of both signs occur deep down
        x, target = images(size, seed=1), TARGETS[name]
        layer = model[4] if name == "vgg" else model[3].relu_expand
        results = common(model.eval(), x, target, layer)
        if name == "vgg":
            results |= infidelity(model, x, target) | relevance(model, x, target)
        weights = [p for p in model.parameters() if p.ndim > 1]
        biases = [p for p in model.parameters() if p.ndim == 1]
        found |= {f"{name}/w{i}": numpy(w) for i, w in enumerate(weights)}
        found |= {f"{name}/b{i}": numpy(b) for i, b in enumerate(biases)}
        found |= {f"{name}/{key}": numpy(value) for key, value in results.items()}
        found |= {f"{name}/image": numpy(x), f"{name}/target": np.array(target)}
    np.savez_compressed(Path(__file__).with_name("attribution.npz"), **found)


if __name__ == "__main__":
    main()
