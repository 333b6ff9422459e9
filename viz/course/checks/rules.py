"""Stage 7: rules and maps by hand; then those of MiniVGG as the project's, and which ReLU a rule was forgotten at."""

import importlib
from functools import partial

import numpy as np

import minigrad as mg
import viz
from minigrad import functional as F

from .. import reference
from ..compare import require, same
from ..material import PHOTOGRAPH, WEIGHTS

F32, CAT = np.float32, 2


def engine():
    """The student's tensor.py."""
    return importlib.import_module("tensor")


def linear_network(weights):
    """x (N,3,H,W) times weights (3 H W, K): a network whose gradient is known."""
    return lambda x: x.reshape((x.shape[0], -1)) @ engine().Tensor(weights)


def one_score(student):
    """class_score: the score itself, added up over images"""
    z = np.array([[1, 2, 4], [0, 3, 1]], F32)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    t = engine().Tensor(z)
    mistakes = {
        "this is the probability: the score itself is differentiated": p[:, 1].sum(),
        "this is the logarithm of the probability: the score itself is differentiated": np.log(p[:, 1]).sum(),
        "this is the highest score, not that of target": F32(7),
        "all scores are added up: only that of target": z.sum(),
        "the mean over the images and classes is taken: the score of each image is added up": F32(5 / 6),
        "the mean over the images is taken: each keeps its own gradient, whatever their number": F32(2.5),
        "the images are not added up: one number is expected": z[:, 1],
    }
    found = student.class_score(t, 1)
    same("class_score([[1, 2, 4], [0, 3, 1]], 1)", found, F32(5), mistakes)
    by_scores = engine().grad(found, [t])[0]
    same("its gradient by the scores", by_scores, np.array([[0, 1, 0], [0, 1, 0]], F32))


def magnitudes(student):
    """saliency: the largest magnitude of the channels"""
    slopes = np.array([[-1, -5], [-2, 3], [-4, 1]], F32)  # of the three channels of an image of 1x2
    image = np.array([[[1, 2]], [[3, 4]], [[5, 7]]], F32)[None]
    weights = np.stack([np.zeros(6, F32), slopes.reshape(-1)], 1)
    found = student.saliency(linear_network(weights), image, 1)
    g = slopes[:, None]
    mistakes = {
        "the sign is looked at: take the magnitude, then the largest": g.max(0)[None],
        "the largest is taken first, then the magnitude: the other way round": abs(g.max(0))[None],
        "the channels are averaged: of the magnitudes the largest is taken": abs(g).mean(0)[None],
        "the channels are averaged with their signs: of the magnitudes the largest is taken": abs(g.mean(0))[None],
        "the channels are added up: of the magnitudes the largest is taken": abs(g).sum(0)[None],
        "the channels are still there: the largest of the three is taken, axis 1": abs(g)[None],
        "this is the signed gradient itself": g[None],
        "the gradient is multiplied by the image": abs(g * image[0]).max(0)[None],
    }
    example = "saliency(network, image, 1), image (1, 3, 1, 2), slopes [[-1, -5], [-2, 3], [-4, 1]]"
    same(example, found, np.array([[[4, 5]]], F32), mistakes)


def at_a_relu(student):
    """deconv and guided: what a ReLU hands on"""
    x, g = np.array([-1, 2, 3, -4, 0, 5], F32), np.array([5, 6, -7, -8, 1, 0], F32)
    function = engine().ReLU()
    function(engine().Tensor(x))
    open_gates, positive = g * (x > 0), g * (g > 0)
    both = g * (g > 0) * (x > 0)
    for name, expected, mistakes in (
        (
            "deconv",
            positive,
            {
                "this is guided backpropagation: deconvnet does not look at the ReLU's input": both,
                "this is the ReLU's own vjp: deconvnet looks at g, not at the input": open_gates,
            },
        ),
        (
            "guided",
            both,
            {
                "the gate is missing: the ReLU's input has to be above 0, too": positive,
                "the sign of g is not looked at: g has to be above 0, too": open_gates,
                "the gate is open at 0: the input has to be above 0": g * (g > 0) * (x >= 0),
                "one of the two is enough here: both have to be above 0": g * ((g > 0) | (x > 0)),
            },
        ),
    ):
        example = f"{name}(relu, g), relu's input [-1, 2, 3, -4, 0, 5], g [5, 6, -7, -8, 1, 0]"
        found = getattr(student, name)(function, engine().Tensor(g))
        require(found is not None, "nothing came back (None): a `return` is missing", example)
        sentence = "a rule returns what a vjp does: a tuple with one Tensor"
        require(
            isinstance(found, tuple | list) and len(found) == 1, sentence, example, "(Tensor,)", type(found).__name__
        )
        mistakes = mistakes | {
            "g goes through as it came": g,
            "the magnitude is taken: g keeps its sign": abs(open_gates),
        }
        same(example, found[0], expected, mistakes)


def signed(student):
    """deconvnet and guided_backprop of MiniVGG, at every ReLU"""
    network, image = importlib.import_module("network").load(WEIGHTS), reference.photograph(32)
    plain = viz.gradient(reference.network(), image, CAT)
    expected = {name: getattr(viz, name)(reference.network(), image, CAT) for name in ("deconvnet", "guided_backprop")}
    for name, other in (("deconvnet", "guided_backprop"), ("guided_backprop", "deconvnet")):
        g = expected[name]
        mistakes = partial(_mistakes_of, name, image, g, {"the plain gradient": plain, other: expected[other]})
        found = getattr(student, name)(network, image, CAT)
        same(f"{name}(network, image, cat), image (1, 3, 32, 32)", found, g, mistakes)


def _mistakes_of(name, image, g, others):
    mistakes = {f"this is {other}: is its rule used?": result for other, result in others.items()}
    mistakes |= {
        "the sign is lost: it comes back as it is": abs(g),
        "the sign is lost: what is below 0 is cut off": np.maximum(g, 0),
        "the channels are gone: (N,3,H,W) is expected": g.max(1),
        "the channels are gone, and the sign: (N,3,H,W) is expected": abs(g).max(1),
    }
    return mistakes | forgotten(name, image)


def forgotten(name, image):
    """{sentence: what deconvnet or guided_backprop gives where the rule is forgotten at one ReLU, or at several}."""
    relus = [name for name, module in reference.network().named_modules() if type(module).__name__ == "ReLU"]
    after = {"maps, those of the convolutions": relus[:-1], "the first ReLU, relu1_1": [relus[0]]}
    left_out = {f"at one ReLU, {relu}": [relu] for relu in relus} | {
        f"at all but {what}": [relu for relu in relus if relu not in kept] for what, kept in after.items()
    }
    return {
        f"the rule is forgotten {where}": _without(name, image, [relus[::-1].index(relu) for relu in without])
        for where, without in left_out.items()
    }


def _without(name, image, places):
    """The result with the ReLU's own vjp at these places, counted on the way back."""
    met = []

    def rule(relu, g):
        met.append(relu)
        (x,) = relu.inputs
        if len(met) - 1 in places:
            return relu.vjp(g)
        return F.relu(g) if name == "deconvnet" else F.relu(g) * mg.from_numpy((x.numpy() > 0).astype(g.dtype))

    return viz.gradient(reference.network(), image, CAT, rules={F.ReLU: rule})


def stretched(student):
    """resized: bilinear, by the middles of the pixels"""
    for maps, size in (
        (np.array([[[0, 1], [2, 4]]], F32), (4, 4)),
        (np.arange(12, dtype=F32).reshape(2, 2, 3), (4, 9)),
    ):
        t = mg.from_numpy(maps[:, None])
        rows, columns = size[0] // maps.shape[1], size[1] // maps.shape[2]
        mistakes = {
            "the map is not resized": maps,
            "the corners are laid on the corners: the middles of the pixels count, (i + 1/2) h/H - 1/2": F.interpolate(
                t, size, mode="bilinear", align_corners=True
            ).numpy()[:, 0],
            "each place is repeated (nearest): between the middles, values change linearly": maps.repeat(
                rows, 1
            ).repeat(columns, 2),
            "the halves are left out: s = (i + 1/2) h/H - 1/2": _bilinear(maps, size, 0.0, 0.0),
            "the - 1/2 is left out: s = (i + 1/2) h/H - 1/2": _bilinear(maps, size, 0.5, 0.0),
            "s is not kept within 0 and h - 1: beyond the outer middles the map fades": _bilinear(
                maps, size, 0.5, 0.5, kept=False
            ),
        }
        expected = F.interpolate(t, size, mode="bilinear", align_corners=False).numpy()[:, 0]
        example = f"resized(maps, {size}), maps {maps.shape}: {maps.ravel().astype(int).tolist()}"
        same(example, student.resized(maps, size), expected, mistakes)


def _bilinear(maps, size, before, after, kept=True):
    """The student's matrices with other places: s = (i + before) h/H - after."""
    places = [(np.arange(n) + before) * h / n - after for n, h in zip(size, maps.shape[1:], strict=True)]
    places = [np.clip(s, 0, h - 1) if kept else s for s, h in zip(places, maps.shape[1:], strict=True)]
    rows, columns = (
        np.maximum(0, 1 - abs(s[:, None] - np.arange(h))).astype(maps.dtype)
        for s, h in zip(places, maps.shape[1:], strict=True)
    )
    return rows @ maps @ columns.T


def a_map(student):
    """grad_cam: channels weighted by the mean of their gradient, added up, rectified, stretched"""
    rng = np.random.default_rng(6)
    image, w = rng.standard_normal((1, 3, 4, 4)).astype(F32), rng.standard_normal((12, 2)).astype(F32)
    pool, scores = importlib.import_module("convolution").max_pool, linear_network(w)
    network = importlib.import_module("network").Network({"maps": pool, "scores": scores})
    a, g = pool(engine().Tensor(image)).data, w[:, 1].reshape(1, 3, 2, 2)
    weights = g.mean((2, 3), keepdims=True)
    cam = (weights * a).sum(1)

    def shown(low):
        return _bilinear(np.asarray(low, F32), (4, 4), 0.5, 0.5)

    low = np.maximum(cam, 0)
    mistakes = {
        "the map is not resized: it has the layer's places": low,
        "it is 0 all over: were maps and scores made by the same pass?": shown(0 * low),
        "the ReLU is left out: what speaks against the class is below 0": shown(cam),
        "the ReLU is left out, and the map is not resized": cam,
        "the sign is lost: what speaks against the class is cut off, not turned round": shown(abs(cam)),
        "the ReLU comes after resizing: first the ReLU": np.maximum(shown(cam), 0),
        "the channels are averaged: their weighted sum is the map": shown(low / 3),
        "the weights are means over the channels: of each channel, over its places": shown(
            np.maximum((g.mean(1, keepdims=True) * a).sum(1), 0)
        ),
        "the gradient is added up over the places: its mean is the weight": shown(low * 4),
        "each place has a weight of its own: the mean over the places is the weight": shown(
            np.maximum((g * a).sum(1), 0)
        ),
        "the weights are left out: all channels count alike": shown(np.maximum(a.sum(1), 0)),
        "the activations are left out: the weights multiply them": shown(np.maximum(g.sum(1), 0)),
        "each channel is rectified before they are added up": shown(np.maximum(weights * a, 0).sum(1)),
        "the map is divided by its largest value: it stays in units of score": shown(low) / shown(low).max(),
    }
    example = 'grad_cam(network, image, 1, "maps"), a network of a 2x2 pool and a linear layer, image (1, 3, 4, 4)'
    same(example, student.grad_cam(network, image, 1, "maps"), shown(low), mistakes)


def the_photograph(student):
    """saliency and grad_cam of MiniVGG and the photograph, as the project's"""
    stage = importlib.import_module("network")
    network, image = stage.load(WEIGHTS), stage.photograph(PHOTOGRAPH).astype(np.float64)
    expected = viz.saliency(reference.network(), image, CAT)
    same("saliency(network, image, cat)", student.saliency(network, image, CAT), expected)
    expected = viz.grad_cam(reference.network(), image, CAT, "relu5_2")
    same('grad_cam(network, image, cat, "relu5_2")', student.grad_cam(network, image, CAT, "relu5_2"), expected)


CHECKS = (one_score, magnitudes, at_a_relu, signed, stretched, a_map, the_photograph)
