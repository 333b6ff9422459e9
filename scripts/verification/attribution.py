"""Attributions and their measures against captum, every method that both have."""

import contextlib
import copy
from unittest import mock

import numpy as np
import torch

import models
import viz
from verification.agreement import Check
from verification.references import reference
from viz.random import drawn, streams

STEPS = 16  # of a power of two: captum rounds 1 / STEPS to float32
SAMPLES, SIGMA = 6, 0.15


def checks(setting):
    yield from gradients(setting)
    yield from many_passes(setting)
    yield from relevance(setting)
    yield from measures(setting)


def captum(setting, name, image, *layers, **options):
    """captum's attribution of `image` (an array) for the two classes, an array."""
    network = setting.pair.torch
    method = getattr(reference("captum"), name)(network, *(setting.pair.layer(name) for name in layers))
    x = torch.tensor(image, dtype=torch.float64, requires_grad=True)
    return method.attribute(x, target=setting.classes, **options).detach().numpy()


def ours(setting, function, small=False, **options):
    """What gives `function` of the network in a precision, for the same images and classes."""

    def found(precision):
        image = setting.small if small else setting.image
        return function(setting.pair.ours[precision.dtype], image, setting.classes, **options)

    return found


def gradients(setting):
    """What takes one pass back. The layer of Grad-CAM is this project's default one."""

    def rows():
        layer = viz.default_layer(setting.pair.model)
        return {
            "saliency": (viz.saliency, {"reduce": "none"}, "Saliency", (), {"abs": False}),
            "input_x_gradient": (viz.input_x_gradient, {}, "InputXGradient", (), {}),
            "deconvnet": (viz.deconvnet, {}, "Deconvolution", (), {}),
            "guided_backprop": (viz.guided_backprop, {}, "GuidedBackprop", (), {}),
            "grad_cam": (
                viz.grad_cam,
                {"upsample": False},
                "LayerGradCam",
                (layer,),
                {"relu_attributions": True},
            ),
            "grad_cam, signed": (viz.grad_cam, {"upsample": False, "signed": True}, "LayerGradCam", (layer,), {}),
            "guided_grad_cam": (
                viz.guided_grad_cam,
                {},
                "GuidedGradCam",
                (layer,),
                {"interpolate_mode": "bilinear"},
            ),
        }

    def theirs(name):
        *_, method, layers, options = rows()[name]
        found = captum(setting, method, setting.image, *layers, **options)
        return found[:, 0] if method == "LayerGradCam" else found

    def found(name, precision):
        function, options, *_ = rows()[name]
        return ours(setting, function, **options)(precision)

    for name, function, method, options in (
        ("saliency", lambda *given: viz.saliency(*given, reduce="none"), "Saliency", {"abs": False}),
        ("deconvnet", viz.deconvnet, "Deconvolution", {}),
    ):
        yield Check(
            *("attribution", f"{name}, white margin", "captum", lambda: setting.shape),
            ours=lambda p, f=function: f(setting.pair.ours[p.dtype], setting.framed, setting.classes),
            theirs=lambda m=method, o=options: captum(setting, m, setting.framed, **o),
            gate="ties",
            note="every maximum in the margin is tied exactly",
        )
    names = ("saliency", "input_x_gradient", "deconvnet", "guided_backprop", "grad_cam", "grad_cam, signed")
    for name in (*names, "guided_grad_cam"):
        yield Check(
            *("attribution", name, "captum", lambda: setting.shape),
            ours=lambda p, n=name: found(n, p),
            theirs=lambda n=name: theirs(n),
            gate="decisions",
        )


def many_passes(setting):
    def size():
        return setting.small_shape

    yield Check(
        *("attribution", f"integrated_gradients, {STEPS} midpoints", "captum", size),
        ours=ours(setting, viz.integrated_gradients, small=True, baseline=0.25, steps=STEPS),
        theirs=lambda: captum(
            setting, "IntegratedGradients", setting.small, baselines=0.25, n_steps=STEPS, method="riemann_middle"
        ),
        gate="decisions",
    )
    yield Check(
        *("attribution", "occlusion", "captum", size),
        ours=ours(setting, viz.occlusion, small=True, patch=(16, 14), stride=(12, 10), fill=0.375),
        theirs=lambda: captum(
            setting,
            "Occlusion",
            setting.small,
            sliding_window_shapes=(3, 16, 14),
            strides=(3, 12, 10),
            baselines=0.375,
            perturbations_per_eval=8,
        )[:, 0],
        tolerance=1e-6,
        note="captum rounds to float32 at the end",
    )
    yield Check(
        *("attribution", f"smooth_grad, {SAMPLES} samples", "captum", size),
        ours=ours(setting, viz.smooth_grad, small=True, samples=SAMPLES, sigma=SIGMA, seed=setting.seed),
        theirs=lambda: noise_tunnel(setting),
        gate="decisions",
        note="captum's NoiseTunnel over Saliency, its noise replaced by ours",
    )


def noise_tunnel(setting):
    """Image by image, for the noise is a fraction of each one's range."""
    attr, found = reference("captum"), []
    rngs = streams(setting.seed, "smooth_grad", setting.small)
    for image, target, rng in zip(setting.small, setting.classes, rngs, strict=True):
        draws = np.stack([rng.standard_normal(image.shape) for _ in range(SAMPLES)])
        noise = torch.tensor(SIGMA * (image.max() - image.min()) * draws, dtype=torch.float64)
        tunnel = attr.NoiseTunnel(attr.Saliency(setting.pair.torch))
        x = torch.tensor(image[None], dtype=torch.float64, requires_grad=True)
        with mock.patch.object(torch, "normal", lambda *_, n=noise: n):
            found.append(
                tunnel.attribute(x, nt_type="smoothgrad", nt_samples=SAMPLES, stdevs=1.0, target=target, abs=False)
            )
    return torch.cat(found).detach().numpy()


# ---- relevance -------------------------------------------------------------------------------------------------------


def relevance(setting):
    """Of the network without preprocessing: captum's z-plus rule assumes inputs of at least 0.

    Without biases but for epsilon: where a rule changes weights, captum leaves biases as they are, and papers do not.
    captum's gamma rule is for outputs of at least 0; the generalised one is compared with zennit's, in
    tests/scripts/test_relevance_zennit.py.
    """
    note = "without preprocessing, since captum's rule is for inputs of at least 0"
    for rule, remark in (("epsilon", ""), ("zplus", note)):
        yield Check(
            *("attribution", f"lrp, {rule}", "captum", lambda: setting.small_shape),
            ours=lambda p, r=rule: _our_relevance(setting, r, p.dtype),
            theirs=lambda r=rule: _their_relevance(setting, r),
            gate="decisions",
            note=remark and f"{remark}, and biases, which it leaves as they are",
        )


def _our_relevance(setting, rule, dtype):
    model = setting.pair.ours[dtype]
    bare = copy.deepcopy(model)
    bare = bare.replace(dict(bare.children()) | {"preprocess": models.Preprocess()})
    state = {k: a * (rule == "epsilon" or not k.endswith("bias")) for k, a in model.state_dict().items()}
    bare.load_state_dict(state)
    return viz.lrp(bare, setting.small, setting.classes, rule=rule, epsilon=1e-6)


def _their_relevance(setting, rule):
    attr = reference("captum")
    from captum.attr._utils import lrp_rules

    kinds = {"epsilon": lrp_rules.EpsilonRule, "zplus": lrp_rules.Alpha1_Beta0_Rule}
    network = copy.deepcopy(setting.pair.bare)
    for name, parameter in network.named_parameters():
        parameter.data = parameter.data * (rule == "epsilon" or not name.endswith("bias"))
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.rule = kinds[rule]()
            layer.rule.STABILITY_FACTOR = 1e-6
        elif isinstance(layer, torch.nn.AdaptiveAvgPool2d):
            layer.rule = lrp_rules.EpsilonRule(1e-6)
        elif isinstance(layer, torch.nn.Flatten | torch.nn.MaxPool2d):  # in proportion is the identity here
            layer.rule = lrp_rules.EpsilonRule(1e-30)
    x = torch.from_numpy(setting.small).double().requires_grad_(True)
    return attr.LRP(network).attribute(x, setting.classes).detach().numpy()


# ---- measures --------------------------------------------------------------------------------------------------------


def measures(setting):
    """Infidelity and sensitivity (Yeh et al. 2019) on the very noise that ours draws."""

    def size():
        return setting.small_shape

    attributed = lambda dtype: viz.saliency(  # noqa: E731
        setting.pair.ours[dtype], setting.small, setting.classes, reduce="none"
    )
    for scaled in (False, True):
        yield Check(
            *("attribution", f"infidelity{', scaled' * scaled}", "captum", size),
            ours=lambda p, s=scaled: viz.infidelity(
                setting.pair.ours[p.dtype],
                setting.small,
                attributed("float64"),
                setting.classes,
                samples=SAMPLES,
                scaled=s,
                seed=setting.seed,
            ),
            theirs=lambda s=scaled: _their_infidelity(setting, attributed("float64"), s),
            note="of one attribution, on the same noise",
        )
    yield Check(
        *("attribution", "sensitivity", "captum", size),
        ours=lambda p: viz.sensitivity(
            setting.pair.ours[p.dtype],
            setting.small,
            lambda *given: viz.saliency(*given, reduce="none"),
            setting.classes,
            samples=SAMPLES,
            seed=setting.seed,
        ),
        theirs=lambda: _their_sensitivity(setting),
        note="on the same noise",
    )


def _their_infidelity(setting, attribution, scaled):
    reference("captum")
    from captum import metrics

    rngs, shape = streams(setting.seed, "infidelity", setting.small), setting.small.shape[1:]
    draws = iter([0.1 * drawn(rngs, lambda rng: rng.standard_normal(shape)) for _ in range(SAMPLES)])

    def perturb(inputs):
        noise = torch.from_numpy(next(draws)).double()
        return noise, inputs - noise

    return metrics.infidelity(
        setting.pair.torch,
        perturb,
        torch.from_numpy(setting.small).double(),
        torch.from_numpy(attribution),
        target=setting.classes,
        n_perturb_samples=SAMPLES,
        max_examples_per_batch=len(setting.small),
        normalize=scaled,
    ).numpy()


def _their_sensitivity(setting):
    attr = reference("captum")
    from captum import metrics

    rngs, shape = streams(setting.seed, "sensitivity", setting.small), setting.small.shape[1:]
    draws = iter([drawn(rngs, lambda rng: rng.uniform(-0.02, 0.02, shape)) for _ in range(SAMPLES)])

    def perturb(inputs, _radius):
        return inputs + torch.from_numpy(next(draws)).double()

    with contextlib.redirect_stderr(None):
        return metrics.sensitivity_max(
            lambda x: attr.Saliency(setting.pair.torch).attribute(x, setting.classes, abs=False),
            torch.tensor(setting.small, dtype=torch.float64, requires_grad=True),
            perturb,
            n_perturb_samples=SAMPLES,
            max_examples_per_batch=len(setting.small),
        ).numpy()
