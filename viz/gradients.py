"""Attribution by gradients: which pixels the score reacts to.

Every method here is the backward pass, with rules in place of the derivative of some functions. At a ReLU with input x
and the gradient g arriving from above:

    gradient           g * [x > 0]
    deconvnet          g * [g > 0]
    guided backprop    g * [x > 0] * [g > 0]

All take `image` (N,3,H,W), an array or Tensor in the model's input space, and `target`, `layer`, `unit` as
`viz.target.score` does; they return NumPy arrays, one attribution for each image, which does not depend on the others.
"""

import minigrad as mg
from minigrad import functional as F

from .target import as_image, score


def gradient(model, image, target=None, layer=None, unit=None, rules=None):
    """(N,3,H,W): dy/dx, signed, with `rules` for the backward pass as in `mg.grad`."""
    x = as_image(model, image)
    return mg.grad(score(model, x, target, layer, unit).sum(), x, rules=rules).numpy()


def saliency(model, image, target=None, layer=None, unit=None, reduce="max"):
    """(N,H,W): M = max over channels of |dy/dx| (Simonyan et al. 2013, arXiv:1312.6034, section 3).

    reduce: "max", as the paper; "sum" of the channels' |dy/dx|; "l2", their Euclidean norm; or "none", the signed
        gradient (N,3,H,W) itself.
    """
    g = gradient(model, image, target, layer, unit)
    if reduce not in _REDUCTIONS:
        raise ValueError(f"saliency: reduce must be one of {', '.join(_REDUCTIONS)}, got {reduce!r}")
    return _REDUCTIONS[reduce](g)


_REDUCTIONS = {
    "max": lambda g: abs(g).max(1),
    "sum": lambda g: abs(g).sum(1),
    "l2": lambda g: (g * g).sum(1) ** 0.5,
    "none": lambda g: g,
}


def deconvnet(model, image, target=None, layer=None, unit=None):
    """(N,3,H,W), signed: the deconvolutional network (Zeiler and Fergus 2013, arXiv:1311.2901, section 2.1).

    ReLU passes back R = g * [g > 0], whatever its input was. Max-pooling unpools by the switches of the forward pass:
    to the first maximum of a window in row-major order, also where the whole window is 0.
    """
    return gradient(model, image, target, layer, unit, rules={F.ReLU: lambda relu, g: F.relu(g)})


def guided_backprop(model, image, target=None, layer=None, unit=None, only_convolutional=False):
    """(N,3,H,W), signed: guided backpropagation (Springenberg et al. 2014, arXiv:1412.6806, section 3.4).

    ReLU passes back R = g * [g > 0] * [x > 0]: positive evidence, through open gates.

    only_convolutional: apply this to ReLUs of feature maps only, and the plain gradient to those between fully
        connected layers.
    """

    def rule(relu, g):
        guided = relu.inputs[0].ndim == 4 or not only_convolutional
        return relu.vjp(F.relu(g) if guided else g)

    return gradient(model, image, target, layer, unit, rules={F.ReLU: rule})
