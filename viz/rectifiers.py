"""Rectifiers, at which guided backpropagation and the deconvnet change the backward pass.

A rectifier hands on x where it is positive, and nothing or a part of x elsewhere. With 0 <= slope < 1 it is one of

    F.relu(x)             F.leaky_relu(x, slope)
    F.maximum(x, 0)       F.maximum(x, slope * x)
    F.clamp(x, min=0)     F.clamp(x, 0, 6)
    F.where(x > 0, x, 0)  F.where(x > 0, x, slope * x)  and with the other branch first, at x < 0
    x * (x > 0)

The derivative at 0 is that of below. The same functions of other arguments are no rectifiers.
"""

from minigrad import functional as F
from minigrad.device import current_device
from minigrad.functional.elementwise import Clamp, Maximum, Mul, Where


class Rectifiers:
    """Rules for one backward pass: only positive gradients pass a rectifier.

    gates: whether those of its inputs that are not positive let nothing pass (guided backpropagation), or do not matter
        (deconvnet). only_maps: leave alone those whose inputs are no feature maps. met: how many the pass came by.
    """

    def __init__(self, gates, only_maps=False):
        self.gates, self.only_maps, self.met = gates, only_maps, 0

    def table(self):
        """{Function class: rule}, as `mg.grad` takes them."""
        return dict.fromkeys((F.ReLU, F.LeakyReLU, Maximum, Clamp, Where, Mul), self.rule)

    def rule(self, f, g):
        place = rectified(f)
        if place is None:
            return f.vjp(g)
        self.met += 1
        if self.only_maps and f.inputs[place].ndim != 4:
            return f.vjp(g)
        g = F.relu(g)
        return derivative(f, place, g) if self.gates else handed_to(f, place, g)


def rectified(f):
    """Which of a Function's inputs is the x that it rectifies; None if it is no rectifier, or that cannot be known."""
    if isinstance(f, F.ReLU | F.LeakyReLU):
        return 0
    if isinstance(f, Clamp):
        return 0 if f.min is not None and f.min == 0 else None
    with current_device(f.inputs[0].data):
        return next((place for place in (0, 1) if f.needs_input_grad[place] and _rectifies(f, place)), None)


def _rectifies(f, place):
    """Whether f of two inputs gives that at `place` where it is positive, and a part of it elsewhere."""
    x, other = f.inputs[place], f.inputs[1 - place]
    if isinstance(f, Mul):
        return _is_constant(f, 1 - place) and other.shape == x.shape and bool((other.data == (x.data > 0)).all())
    if isinstance(f, Where):
        chosen = f.condition if place == 0 else ~f.condition
        known = bool(((chosen == (x.data > 0)) | (x.data == 0)).all())
    else:
        known = type(f) is Maximum  # not Minimum
    return known and _is_part_of(f, 1 - place, x)


def _is_part_of(f, place, x):
    """Whether f's input at `place` is 0, or x times constants from 0 to below 1."""
    if _is_constant(f, place):
        return not f.inputs[place].data.any()
    product = f.inputs[place].function
    if not isinstance(product, Mul) or not any(one is x for one in product.inputs):
        return False
    slope = 1 if product.inputs[0] is x else 0
    values = product.inputs[slope].data
    return _is_constant(product, slope) and bool(((values >= 0) & (values < 1)).all())


def _is_constant(f, place):
    return not f.needs_input_grad[place]


def derivative(f, place, g):
    """What the rectifier f hands on of g: all of it where x is positive, elsewhere to what takes x's place there."""
    x = f.inputs[place]
    if isinstance(f, F.ReLU | F.LeakyReLU):
        return f.vjp(g)
    if isinstance(f, Clamp):
        return F.where(x > 0, f.vjp(g), 0.0)
    handed = handed_to(f, place, F.where(x > 0, g, 0.0))
    if not _is_constant(f, 1 - place):
        other = F.sum_to(F.where(x > 0, 0.0, g), f.inputs[1 - place].shape)
        handed = (handed[0], other) if place == 0 else (other, handed[1])
    return handed


def handed_to(f, place, g):
    """g for the input at `place`, and nothing for another."""
    if len(f.inputs) == 1:
        return g
    g = F.sum_to(g, f.inputs[place].shape)
    return (g, None) if place == 0 else (None, g)
