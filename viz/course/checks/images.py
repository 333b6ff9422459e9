"""Stage 8: Adam, FGSM and Gram matrices by hand; the ideal class and the style of MiniVGG as the project's."""

import importlib

import numpy as np

import minigrad as mg
import viz
from minigrad import functional as F
from viz.optimize import optimize_image

from .. import reference
from ..compare import require, same
from ..material import WEIGHTS

F32, CAT = np.float32, 2


def engine():
    """The student's tensor.py."""
    return importlib.import_module("tensor")


def own_network():
    """MiniVGG on the student's engine."""
    return importlib.import_module("network").load(WEIGHTS)


def steps_of_adam(student):
    """adam: four steps on a loss of known slopes"""
    image = np.array([0.1, 0.5, 0.95, 0.3], F32)
    wanted, scale = np.array([0.9, 0.45, 3.0, 0.2], F32), np.array([1, 10, 0.1, 5], F32)

    def loss(x):
        return ((x - wanted) ** 2 * scale).sum()

    def descent(x):
        away, weight = (mg.from_numpy(array[:, None, None, None]) for array in (wanted, scale))
        return {"loss": (F.square(x - away) * weight).sum()}

    before = image.copy()
    expected = optimize_image(descent, mg.Tensor(image[:, None, None, None], requires_grad=True), "adam", 0.1, 4)
    mistakes = {sentence: _adam(image, wanted, scale, **kind) for sentence, kind in KINDS_OF_ADAM.items()}
    example = (
        "adam(loss, [0.1, 0.5, 0.95, 0.3], steps=4, lr=0.1), loss ((x - [0.9, 0.45, 3, 0.2])^2 [1, 10, 0.1, 5]).sum()"
    )
    _same_as_by_hand(example, student.adam(loss, image, 4, 0.1), expected.image[:, 0, 0, 0], mistakes)
    changed = {"the image given was changed: each step makes a new array": image.copy()}
    same("the image given, afterwards", image, before, changed)


def _same_as_by_hand(example, found, expected, mistakes):
    sentence = "there are NaN: does t begin at 1? with t = 0 the formula divides by 0"
    nan = found is not None and not np.isfinite(np.asarray(getattr(found, "data", found), np.float64)).all()
    require(not nan, sentence, example, expected, found)
    same(example, found, expected, mistakes)


KINDS_OF_ADAM = {
    "the bias is not divided out: both means begin at 0 and are too small at first": dict(unbiased=(False, False)),
    "the first mean's bias is not divided out, by 1 - beta1^t": dict(unbiased=(False, True)),
    "the second mean's bias is not divided out, by 1 - beta2^t": dict(unbiased=(True, False)),
    "the bias is divided out as if each step were the first: 1 - beta^t, t the number of the step": dict(fixed=True),
    "the root is left out: m over the root of v": dict(power=1.0),
    "beta1 and beta2 are swapped": dict(betas=(0.999, 0.9)),
    "it goes up: a loss is made small, so the step is subtracted": dict(lr=-0.1),
    "this is plain gradient descent: divide by the root of the mean square": dict(betas=(0.0, None)),
    "pixels are not clipped to [0,1] after each step": dict(clip=False),
    "it stands still: the next step begins where the last ended": dict(moving=False),
    "the means are lost: they go on from step to step": dict(keeping=False),
    "there is a step too few": dict(steps=3),
    "there is a step too many": dict(steps=5),
}


def _adam(
    x,
    wanted,
    scale,
    lr=0.1,
    steps=4,
    betas=(0.9, 0.999),
    power=0.5,
    unbiased=(True, True),
    fixed=False,
    clip=True,
    moving=True,
    keeping=True,
):
    """What a mistake gives: without arguments Adam itself."""
    (b1, b2), m, v, start = betas, np.zeros_like(x), np.zeros_like(x), x
    for t in range(1, steps + 1):
        g = 2 * ((x if moving else start) - wanted) * scale
        if not keeping:
            m, v = np.zeros_like(x), np.zeros_like(x)
        m = b1 * m + (1 - b1) * g
        v = np.ones_like(x) if b2 is None else b2 * v + (1 - b2) * g * g
        by_m, by_v = (
            1 - b ** (1 if fixed else t) if one and b else 1.0 for b, one in zip(betas, unbiased, strict=True)
        )
        x = (x if moving else start) - lr * (m / by_m) / ((v / by_v) ** power + 1e-8)
        x = np.clip(x, 0, 1) if clip else x
    return x.astype(F32)


def an_ideal_class(student):
    """ideal: the class's score up, grey as home; as the project's"""
    image = np.clip(0.5 + 0.1 * np.random.default_rng(0).standard_normal((1, 3, 32, 32)), 0, 1)

    def made(objective=CAT, **penalty):
        penalty = {"weight": 0.1} | penalty
        penalties = {"l2": lambda x: viz.l2(x, **penalty)} if penalty["weight"] else {}
        course = dict(lr=0.05, steps=3, transforms=[], penalties=penalties)
        return viz.maximize(reference.network(), objective, image, **course).image

    def mistakes():
        return {
            "the sign is lost: the score is made small, not large": made(-viz.class_score(CAT)),
            "the penalty is left out": made(weight=0.0),
            "the penalty has the wrong sign: far from grey should be dear": made(weight=-0.1),
            "the penalty pulls to black: (x - 1/2)^2, grey is the middle": made(centre=0.0),
            "the penalty is a mean over the pixels: their squares are added up": made(weight=0.1 / image.size),
            "the probability is raised, not the score": made(viz.log_probability(CAT)),
        }

    example = "ideal(network, image, cat, steps=3, lr=0.05, penalty=0.1), image (1, 3, 32, 32)"
    found = student.ideal(own_network(), image, CAT, steps=3, lr=0.05, penalty=0.1)
    same(example, found, made(), mistakes)


def a_fooled_network(student):
    """fgsm: one step of epsilon in each pixel, up the loss"""
    network, image, epsilon = own_network(), np.clip(2 * reference.photograph(32) - 0.5, 0, 1), 8 / 255
    label = int(reference.network()(image).numpy().argmax())  # what it is taken for: an image named wrong is left alone

    def mistakes():
        g, up_score = (f(reference.network(), image, label) for f in (viz.loss_gradient, viz.gradient))
        step, other = epsilon * np.sign(g), epsilon * np.sign(up_score)
        bent = np.clip(step, 0, 1)
        return {
            "the result is not clipped: it has to be an image, within [0,1]": image + step,
            "clipped after the sign, before the step was added: its -1 are lost": image + bent,
            "clipped after the sign, and again at the end: the -1 of the sign are lost": np.clip(image + bent, 0, 1),
            "it goes down the loss, which helps the label: add the step": np.clip(image - step, 0, 1),
            "it goes down the loss, and is not clipped": image - step,
            "the sign is left out: every pixel moves by epsilon": np.clip(image + epsilon * g, 0, 1),
            "epsilon is left out": np.clip(image + np.sign(g), 0, 1),
            "epsilon is in units of the pixels, not in levels of 255": np.clip(image + step / 255, 0, 1),
            "the gradient is the score's, not the loss's": np.clip(image + other, 0, 1),
            "the gradient is the score's, downhill: the loss looks at all classes": np.clip(image - other, 0, 1),
            "this is the step alone: add it to the image": step,
        }

    example = "fgsm(network, image, np.array([label]), 8 / 255), image (1, 3, 32, 32)"
    expected = viz.fgsm(reference.network(), image, label=label, epsilon=epsilon)
    same(example, student.fgsm(network, image, np.array([label]), epsilon), expected, mistakes)
    small = image[:, :, :16, :16].astype(F32)
    found = student.fgsm(network, small, np.array([label]), epsilon)
    dtype = getattr(found, "dtype", None)
    require(dtype == F32, "float64 creeps in: float32 went in", "fgsm of an image of float32", "float32", dtype)


def products_of_channels(student):
    """gram: channels with channels, over all places"""
    a = np.array([[[[1, 2, 3]], [[4, 5, 7]]], [[[0, 1, 0]], [[2, 0, 2]]]], F32)
    rows = a.reshape(2, 2, 3)
    expected = rows @ rows.transpose(0, 2, 1)
    places = rows.transpose(0, 2, 1) @ rows
    mistakes = {
        "these are products of places: of channels, (N,C,C)": places,
        "the mean over the places is taken: the sum": expected / 3,
        "the images are added up: each has its own": expected.sum(0),
        "divided by all C h w: style_loss does that": expected / 6,
        "a channel's mean is taken off: these are products, no covariances": (rows - rows.mean(-1, keepdims=True))
        @ (rows - rows.mean(-1, keepdims=True)).transpose(0, 2, 1),
    }
    t = engine().Tensor(a)
    found = student.gram(t)
    same("gram(a), a (2, 2, 1, 3)", found, expected, mistakes)
    sentence = "the gradient ends here: compute with Tensors, not with their .data"
    by_a = engine().grad(found, [t])[0]
    slopes = 2 * np.broadcast_to(rows.sum(1, keepdims=True), rows.shape).reshape(a.shape)
    same("its gradient by a", by_a, slopes, {sentence: 0 * a})


def constants(student):
    """style_loss: with its constants"""
    rng = np.random.default_rng(0)
    a, wanted = rng.standard_normal((1, 3, 2, 5)).astype(F32), rng.standard_normal((1, 3, 3)).astype(F32)
    rows, c, places = a.reshape(1, 3, 10), 3, 10
    squares = ((rows @ rows.transpose(0, 2, 1) - wanted) ** 2).sum()
    mistakes = {
        "the constants are left out: 1 / (4 C^2 (h w)^2)": squares,
        "the 4 is left out of the constants": squares / (c**2 * places**2),
        "the places are left out of the constants: (h w)^2": squares / (4 * c**2),
        "the channels are left out of the constants: C^2": squares / (4 * places**2),
        "the constants are not squared: C^2 and (h w)^2": squares / (4 * c * places),
        "C and h w are not squared, and the 4 is left out": squares / (c * places),
        "the mean of the squares is taken: their sum, with the constants": squares / c**2,
        "the magnitudes are added up, not the squares": squares**0.5 / (4 * c**2 * places**2),
    }
    found = student.style_loss(engine().Tensor(a), wanted)
    expected = F32(squares / (4 * c**2 * places**2))
    same("style_loss(a, wanted), a (1, 3, 2, 5), wanted (1, 3, 3)", found, expected, mistakes)


def content_and_style(student):
    """transfer: the content's activations and the style's Gram matrices; as the project's"""
    content = reference.photograph(32)
    waves = np.sin(np.add.outer(np.arange(32), 2 * np.arange(32)) / 5) / 2 + 0.5
    style = np.stack([waves, waves.T, 1 - waves])[None]

    def made(content=content, style=style, contents=("relu3_1",), styles=("relu1_1", "relu2_1"), weight=1e4, **more):
        course = dict(style_weight=weight, steps=3, optimizer="adam", lr=0.02) | more
        return viz.style_transfer(reference.network(), content, style, list(contents), list(styles), **course).image

    def mistakes():
        return {
            "content and style are swapped": made(style, content),
            "it starts from the style: start from the content": made(start="style"),
            "the content is left out": made(contents=()),
            "the style is left out": content,
            "the style's layers are added up: their mean is wanted": made(weight=2e4),
            "the content's 1/2 is left out": made(content_weight=2.0),
            "only the first style layer counts": made(styles=("relu1_1",)),
            "only the last style layer counts": made(styles=("relu2_1",)),
            "weight is left out": made(weight=1.0),
        }

    example = 'transfer(network, content, style, "relu3_1", ["relu1_1", "relu2_1"], weight=1e4, steps=3), images 32x32'
    found = student.transfer(own_network(), content, style, "relu3_1", ["relu1_1", "relu2_1"], weight=1e4, steps=3)
    same(example, found, made(), mistakes)


CHECKS = (steps_of_adam, an_ideal_class, a_fooled_network, products_of_channels, constants, content_and_style)
