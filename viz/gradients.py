"""Attribution by gradients: which pixels the score reacts to.

Every method here is the backward pass, with rules in place of the derivative of some functions. At a ReLU, or another
rectifier (viz/rectifiers.py), with input x and the gradient g arriving from above:

    gradient           g * [x > 0]
    deconvnet          g * [g > 0]
    guided backprop    g * [x > 0] * [g > 0]

All take `image` (N,3,H,W), an array or Tensor in the model's input space, and `target`, `layer`, `unit` as
`viz.objective.score` does; they return NumPy arrays, one attribution for each image, whatever the others are.
"""

import math
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor
from minigrad.nn import Module
from minigrad.nn.observe import observed
from minigrad.tools.summary import Calls

from .objective import score
from .progress import trange
from .random import drawn, streams
from .ranges import require
from .rectifiers import Rectifiers, layers_of
from .remarks import remark
from .target import (
    as_image,
    as_images,
    as_leaf,
    classes,
    fixed_target,
    log_probabilities,
    logits,
    pick,
    require_units,
)
from .typing import Images, SoFar, Target, Unit


def gradient(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    rules: Any = None,
) -> np.ndarray:
    """(N,3,H,W): dy/dx, signed, with `rules` for the backward pass as in `mg.grad`."""
    return _gradient_at(model, as_images(model, image), target, layer, unit, rules)


def _gradient_at(model: Module, image: Any, target: Any, layer: str | None, unit: Any, rules: Any = None) -> Tensor:
    """The same at points that a method has made of an image, whose values may leave its range."""
    x = as_leaf(model, image)
    return mg.grad(score(model, x, target, layer, unit).sum(), x, rules=rules).numpy()


def loss_gradient(model: Module, image: Images, target: Target | None = None) -> np.ndarray:
    """(N,3,H,W): the gradient by x of each image's cross-entropy, -log softmax(y)_c, signed.

    Of a network with one output, whose softmax is always 1, it is that of -y.
    """
    x = as_image(model, image)
    y = logits(model, x)
    return mg.grad(-pick(log_probabilities(y), classes(model, y, target)).sum(), x).numpy()


def saliency(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    reduce: str = "max",
) -> np.ndarray:
    """(N,H,W): M = max over channels of |dy/dx| (Simonyan et al. 2013, arXiv:1312.6034, section 3).

    reduce: "max", as the paper; "sum" of the channels' |dy/dx|; "l2", their Euclidean norm; or "none", the signed
        gradient (N,3,H,W) itself.
    """
    g = gradient(model, image, target, layer, unit)
    if reduce not in _REDUCTIONS:
        raise ValueError(f"saliency: reduce must be one of {', '.join(_REDUCTIONS)}, got {reduce!r}")
    return _REDUCTIONS[reduce](g)


def _norm(g: np.ndarray) -> np.ndarray:
    """(N,H,W): the Euclidean norm over channels, scaled by the largest: the square of 1e-25 is 0 in float32."""
    largest = abs(g).max(1, keepdims=True)
    scaled = g / np.where(largest > 0, largest, 1)
    return largest[:, 0] * (scaled * scaled).sum(1) ** 0.5


_REDUCTIONS = {
    "max": lambda g: abs(g).max(1),
    "sum": lambda g: abs(g).sum(1),
    "l2": _norm,
    "none": lambda g: g,
}


def deconvnet(
    model: Module, image: Images, target: Target | None = None, layer: str | None = None, unit: Unit | None = None
) -> np.ndarray:
    """(N,3,H,W), signed: the deconvolutional network (Zeiler and Fergus 2013, arXiv:1311.2901, section 2.1).

    ReLU passes back R = g * [g > 0], whatever its input was. Max-pooling unpools by the switches of the forward pass:
    to the first maximum of a window in row-major order, also where the whole window is 0. Without a rectifier this is
    the plain gradient, and without a max pool next to nothing depends on the image (Springenberg et al. 2014, section
    3.4), which warnings say.
    """
    return _by_rectifiers("deconvnet", Rectifiers(gates=False), model, image, target, layer, unit)


def guided_backprop(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    only_convolutional: bool = False,
) -> np.ndarray:
    """(N,3,H,W), signed: guided backpropagation (Springenberg et al. 2014, arXiv:1412.6806, section 3.4).

    ReLU passes back R = g * [g > 0] * [x > 0]: positive evidence, through open gates. Without a rectifier this is the
    plain gradient, which a warning says.

    only_convolutional: apply this to ReLUs of feature maps only, and the plain gradient to those between fully
        connected layers.
    """
    rectifiers = Rectifiers(gates=True, only_maps=only_convolutional)
    return _by_rectifiers("guided_backprop", rectifiers, model, image, target, layer, unit)


def _by_rectifiers(
    name: str, rectifiers: Any, model: Module, image: Any, target: Any, layer: str | None, unit: Any
) -> np.ndarray:
    """The gradient with the rules of Rectifiers; warns if the pass came by none, or by smooth activations too."""
    calls = Calls()
    with observed(model, calls):
        found = gradient(model, image, target, layer, unit, rules=rectifiers.table())
    if rectifiers.met and rectifiers.smooth:
        names = layers_of(rectifiers.smooth, calls.seen)
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        remark(
            f"{name}: this is the plain gradient at the smooth activations {', '.join(names[:3])}{more}: "
            f"only rectifiers, of which there are {rectifiers.met}, have a rule",
            stacklevel=3,
        )
    if rectifiers.met and not rectifiers.gates and not rectifiers.pools:
        remark(
            f"{name}: no max pool lies between the image and what is explained, and its switches are what a deconvnet "
            "takes from the image: this shows the network, and hardly the image (guided_backprop shows both)",
            stacklevel=3,
        )
    if not rectifiers.met:
        remark(
            f"{name}: no rectifier (relu, relu6, leaky_relu, prelu, elu, maximum(x, 0), clamp(x, min=0), where) lies "
            "between the image and what is explained, so this is the plain gradient",
            stacklevel=3,
        )
    elif len(empty := np.flatnonzero([not one.any() for one in found])):
        remark(
            f"{name}: the map of image {', '.join(map(str, empty))} is zero everywhere: no positive gradient comes "
            "through the rectifiers from what is explained to the image (saliency shows the gradient itself)",
            stacklevel=3,
        )
    return found


def input_x_gradient(
    model: Module, image: Images, target: Target | None = None, layer: str | None = None, unit: Unit | None = None
) -> np.ndarray:
    """(N,3,H,W), signed: x * dy/dx (Shrikumar et al. 2016, arXiv:1605.01713), in units of score.

    It adds up to y(x) - y(0) for a piecewise linear network without biases.
    """
    return gradient(model, image, target, layer, unit) * as_image(model, image).numpy()


def integrated_gradients(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    baseline: Any = 0.0,
    steps: int = 50,
    progress: bool = False,
    callback: SoFar | None = None,
) -> np.ndarray:
    """(N,3,H,W), signed: integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365, equation 1).

        (x - x') * integral over a from 0 to 1 of dy/dx at x' + a (x - x')

    by the midpoint rule: a = (k + 1/2) / steps, taken in an order that spreads any first few of them evenly. The
    attributions add up to y(x) - y(x') but for the rule's error, which `viz.completeness` gives.

    baseline: x', a number or an array that broadcasts to the image; 0 is black. steps: gradients to take.
    callback(step, steps, attribution): after each, with the estimate by those taken; True ends with that.
    """
    require("integrated_gradients", steps=steps)
    target = fixed_target(model, image, target, layer)
    require_units(model, "integrated_gradients: baseline", baseline)
    x = as_image(model, image).numpy()
    difference = x - np.asarray(baseline, x.dtype)
    total = np.zeros(x.shape, np.promote_types(x.dtype, np.float32))
    stride = next(n for n in range(round(0.618 * steps) or 1, 2 * steps + 1) if math.gcd(n, steps) == 1)
    for done in trange(1, steps + 1, desc="integrated gradients", disable=not progress):
        k = done * stride % steps
        point = x - difference * x.dtype.type(1 - (k + 0.5) / steps)
        total += _gradient_at(model, point, target, layer, unit)
        if callback and callback(done, steps, (difference * total / x.dtype.type(done)).astype(x.dtype)):
            break
    return (difference * total / x.dtype.type(done)).astype(x.dtype)


def smooth_grad(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    samples: int = 50,
    sigma: float = 0.15,
    seed: int = 0,
    key: Any = None,
    progress: bool = False,
    callback: SoFar | None = None,
) -> np.ndarray:
    """(N,3,H,W), signed: SmoothGrad (Smilkov et al. 2017, arXiv:1706.03825), dy/dx averaged over noisy copies of x.

    samples: how many copies. sigma: the noise's standard deviation as a fraction of max - min of each image.
    seed: of the noise, which is each photograph's own, drawn from its pixels. key: a name for it, or one for each
        image, in the pixels' place: what is drawn for a changed photograph is then what was drawn for the first.
    callback(step, steps, mean so far): after each copy; True ends with that.
    """
    require("smooth_grad", samples=samples, sigma=sigma)
    target = fixed_target(model, image, target, layer)
    x = as_image(model, image).numpy()
    scale = sigma * (x.max((1, 2, 3), keepdims=True) - x.min((1, 2, 3), keepdims=True))
    rngs = streams(seed, "smooth_grad", x, key)
    total = np.zeros(x.shape, np.promote_types(x.dtype, np.float32))
    for done in trange(1, samples + 1, desc="SmoothGrad", disable=not progress):
        noise = drawn(rngs, lambda rng: rng.standard_normal(x.shape[1:])).astype(x.dtype)
        total += _gradient_at(model, x + scale * noise, target, layer, unit)
        if callback and callback(done, samples, (total / x.dtype.type(done)).astype(x.dtype)):
            break
    return (total / x.dtype.type(done)).astype(x.dtype)
