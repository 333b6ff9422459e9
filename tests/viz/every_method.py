"""Every technique that runs a network, as a call on a network and pictures small enough for hundreds of repetitions."""

import numpy as np

import viz
from minigrad import nn
from models.layers import Preprocess

METHODS = {
    "gradient": lambda model, x, seed: viz.gradient(model, x, 1),
    "loss_gradient": lambda model, x, seed: viz.loss_gradient(model, x, 1),
    "saliency": lambda model, x, seed: viz.saliency(model, x),
    "saliency of a neuron": lambda model, x, seed: viz.saliency(model, x, layer="relu2", unit=(3, 1, 2)),
    "deconvnet": lambda model, x, seed: viz.deconvnet(model, x, 1),
    "guided_backprop": lambda model, x, seed: viz.guided_backprop(model, x, 1),
    "input_x_gradient": lambda model, x, seed: viz.input_x_gradient(model, x, 1),
    "integrated_gradients": lambda model, x, seed: viz.integrated_gradients(model, x, 1, steps=3),
    "smooth_grad": lambda model, x, seed: viz.smooth_grad(model, x, 1, samples=3, seed=seed),
    "grad_cam": lambda model, x, seed: viz.grad_cam(model, x, 1),
    "grad_cam_plus_plus": lambda model, x, seed: viz.grad_cam_plus_plus(model, x, 1),
    "layer_cam": lambda model, x, seed: viz.layer_cam(model, x, 1),
    "hires_cam": lambda model, x, seed: viz.hires_cam(model, x, 1, signed=True),
    "xgrad_cam": lambda model, x, seed: viz.xgrad_cam(model, x, 1),
    "eigen_cam": lambda model, x, seed: viz.eigen_cam(model, x),
    "guided_grad_cam": lambda model, x, seed: viz.guided_grad_cam(model, x, 1),
    "score_cam": lambda model, x, seed: viz.score_cam(model, x, 1),
    "lrp": lambda model, x, seed: viz.lrp(model, x, 1),
    "lrp, alphabeta": lambda model, x, seed: viz.lrp(model, x, 1, rule="alphabeta"),
    "channel_relevance": lambda model, x, seed: viz.channel_relevance(model, x, 1, "relu2"),
    "channel_effects": lambda model, x, seed: viz.channel_effects(model, x, "relu2", 1),
    "switch_off": lambda model, x, seed: viz.switch_off(model, x, "relu1", [1, 4], 1),
    "occlusion": lambda model, x, seed: viz.occlusion(model, x, 1, patch=4, stride=4),
    "rise": lambda model, x, seed: viz.rise(model, x, 1, samples=8, cells=3, seed=seed),
    "model_randomization": lambda model, x, seed: viz.model_randomization(model, x, viz.saliency, 1, seed=seed),
    "sensitivity": lambda model, x, seed: viz.sensitivity(model, x, viz.saliency, 1, samples=2, seed=seed),
    "infidelity": lambda model, x, seed: viz.infidelity(model, x, viz.gradient(model, x, 1), 1, samples=3, seed=seed),
    "relative_infidelity": lambda model, x, seed: viz.relative_infidelity(
        model, x, viz.gradient(model, x, 1), 1, samples=3, seed=seed
    ),
    "insertion_deletion": lambda model, x, seed: viz.insertion_deletion(model, x, x.mean(1), 1, steps=3, seed=seed),
    "road": lambda model, x, seed: viz.road(model, x, x.mean(1), 1, shares=[0.5], seed=seed).most,
    "faithfulness_correlation": lambda model, x, seed: viz.faithfulness_correlation(
        model, x, viz.gradient(model, x, 1), 1, samples=3, seed=seed
    ),
    "random_logit": lambda model, x, seed: viz.random_logit(model, x, viz.saliency, 1, seed=seed)[0],
    "smoothed": lambda model, x, seed: viz.smoothed(viz.saliency, samples=2, seed=seed)(model, x, 1),
    "activation_maps": lambda model, x, seed: viz.activation_maps(model, x, "conv2"),
    "features": lambda model, x, seed: viz.features(model, x, "gap"),
    "top_patches": lambda model, x, seed: [patch.pixels for patch in [viz.top_patches(model, x, "relu1", 2, count=1)]],
    "maximize": lambda model, x, seed: viz.maximize(model, viz.class_score(1), size=(12, 12), steps=1, seed=seed).image,
    "maximize, fourier": lambda model, x, seed: (
        viz.maximize(
            model, viz.channel("conv2", 1), size=(12, 12), steps=1, parameterization="fourier", seed=seed
        ).image
    ),
    "maximize_as_blog": lambda model, x, seed: (
        viz.maximize_as_blog(model, 1, size=(12, 12), steps=1, tv_steps=1, seed=seed).image
    ),
    "deep_dream": lambda model, x, seed: viz.deep_dream(model, x, "conv2", octaves=1, steps=1, seed=seed).image,
    "invert": lambda model, x, seed: viz.invert(model, x, "conv2", steps=1, seed=seed).image,
    "reconstruct_content": lambda model, x, seed: (
        viz.reconstruct_content(model, x, ["conv2"], optimizer="adam", steps=1, seed=seed).image
    ),
    "style_transfer": lambda model, x, seed: (
        viz.style_transfer(model, x[:1], x[1:], ["conv2"], ["conv1"], steps=1, seed=seed).image
    ),
    "synthesize_texture": lambda model, x, seed: (
        viz.synthesize_texture(model, x[:1], ["conv1", "conv2"], steps=1, seed=seed).image
    ),
    "fgsm": lambda model, x, seed: viz.fgsm(model, x),
    "pgd": lambda model, x, seed: viz.pgd(model, x, steps=2, seed=seed),
    "pgd, l2": lambda model, x, seed: viz.pgd(model, x, epsilon=1.0, norm="l2", steps=2, seed=seed),
    "apgd": lambda model, x, seed: viz.apgd(model, x, steps=3, seed=seed),
    "apgd, dlr": lambda model, x, seed: viz.apgd(model, x, target=1, loss="dlr", norm="l2", steps=3, seed=seed),
    "square_attack": lambda model, x, seed: viz.square_attack(model, x, queries=4, seed=seed),
    "square_attack, l2": lambda model, x, seed: viz.square_attack(model, x, target=1, norm="l2", queries=4, seed=seed),
    "auto_attack": lambda model, x, seed: viz.auto_attack(model, x, epsilon=1 / 255, steps=2, queries=3, seed=seed),
    "targeted_ascent": lambda model, x, seed: viz.targeted_ascent(model, x, target=1, steps=2),
    "deepfool": lambda model, x, seed: viz.deepfool(model, x, steps=2, candidates=3),
    "carlini_wagner": lambda model, x, seed: viz.carlini_wagner(model, x, target=1, searches=2, steps=2),
    "one_pixel": lambda model, x, seed: viz.one_pixel(model, x, population=6, generations=2, seed=seed),
    "jsma": lambda model, x, seed: viz.jsma(model, x, target=1, gamma=0.01, candidates=16),
    "universal_perturbation": lambda model, x, seed: viz.universal_perturbation(
        model, x, epochs=1, steps=1, candidates=2, seed=seed
    ),
}
SEEDED = (
    "smooth_grad",
    "rise",
    "maximize",
    "deep_dream",
    "invert",
    "pgd",
    "apgd",
    "square_attack",
    "one_pixel",
    "synthesize_texture",
)


def network(seed=0, channels=3):
    """Two convolutions, a pool and a linear layer, float32, frozen, for images of any size."""
    rng = np.random.default_rng(seed)
    layers = {"preprocess": Preprocess(std=(0.5, 0.5, 0.5))} if channels == 3 else {}
    layers |= {
        "conv1": nn.Conv2d(channels, 8, 3, padding=1, rng=rng),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(8, 8, 3, padding=1, rng=rng),
        "relu2": nn.ReLU(),
        "gap": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(8, 4, rng=rng),
    }
    return nn.Sequential(layers).eval().requires_grad_(False)


def pictures(seed=0, side=12, channels=3):
    return np.random.default_rng(seed).random((2, channels, side, side), dtype=np.float32)


def arrays(result):
    """The arrays in what a method gives, nested as it may be, in order."""
    if isinstance(result, np.ndarray | np.generic | float | int):
        return [np.asarray(result)]
    if isinstance(result, dict):
        result = result.values()
    elif hasattr(result, "__dataclass_fields__"):
        result = [getattr(result, name) for name in result.__dataclass_fields__]
    elif not isinstance(result, list | tuple):
        return []
    return [array for item in result for array in arrays(item)]


def run(name, model, x, seed=0):
    found = arrays(METHODS[name](model, x, seed))
    assert found and all(array.size for array in found), name
    return found


def same_bits(one, other):
    return len(one) == len(other) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(one, other, strict=True)
    )
