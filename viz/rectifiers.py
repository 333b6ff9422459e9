"""Rectifiers, at which guided backpropagation and the deconvnet change the backward pass.

A rectifier hands on x where it is positive, and nothing or a part of x elsewhere. With 0 <= slope < 1 it is one of

    F.relu(x)             F.leaky_relu(x, slope)
    F.maximum(x, 0)       F.maximum(x, slope * x)
    F.prelu(x, slopes)    F.elu(x, alpha)           alpha from 0 to 1, by its own derivative
    F.clamp(x, min=0)     F.clamp(x, 0, 6)          F.relu6(x)
    F.where(x > 0, x, 0)  F.where(x > 0, x, slope * x)  and with the other branch first, at x < 0
    x * (x > 0)
    F.relu(x) - F.relu(x - 6)                       the difference of two of the above, which is a bounded one
    6 - F.relu(6 - F.relu(x))                       the same: what is turned round, rectified and turned back is a bound
    F.relu(x) - slope * F.relu(-x)                  of two sides, also as the sum with -slope

The derivative at 0 is that of below. The same functions of other arguments are no rectifiers: a mask that was not
computed by comparing this x with 0 is a constant, also where the two happen to agree.
"""

from typing import Any

from minigrad import Function, Tensor
from minigrad import functional as F
from minigrad.device import current_device
from minigrad.functional import activation
from minigrad.functional.activation import ELU, PReLU
from minigrad.functional.choice import Clamp, Maximum, Where
from minigrad.functional.convert import Cast
from minigrad.functional.elementwise import Add, Mul, Neg, Sub
from minigrad.tools.summary import functions_between


class Rectifiers:
    """Rules for one backward pass: only positive gradients pass a rectifier.

    gates: whether those of its inputs that are not positive let nothing pass (guided backpropagation), or do not matter
        (deconvnet). only_maps: leave alone those whose inputs are no feature maps. met: how many the pass came by.
        pools: how many max pools. smooth: the activations it came by that stand in a rectifier's place and are none,
        by their own derivative. bounds: ReLUs that are no rectifiers, but bound what they take from above.
    """

    def __init__(self, gates: bool, only_maps: bool = False) -> None:
        self.gates, self.only_maps, self.met, self.pools, self.smooth = gates, only_maps, 0, 0, []
        self.bounds: set[Function] = set()

    def table(self) -> dict[Any, Any]:
        """{Function class: rule}, as `mg.grad` takes them."""
        rules = dict.fromkeys((*_OWN, Maximum, Clamp, Where, Mul), self.rule) | {Sub: self.difference}
        rules |= {Add: self.two_sided, Neg: self.turned}
        return rules | dict.fromkeys(_SMOOTH, self.noted) | {F.MaxPool2d: self.pooled}

    def pooled(self, f: Function, g: Tensor) -> Tensor:
        self.pools += 1
        return f.vjp(g)

    def noted(self, f: Function, g: Tensor) -> Tensor:
        self.smooth.append(f)
        return f.vjp(g)

    def difference(self, f: Function, g: Tensor) -> tuple[Any, ...]:
        """At relu(x) - relu(x - c), of which the first is to rectify alone, in the bounds of both."""
        bound = _bound(f)
        if bound is None or self.only_maps and f.output.ndim != 4:
            return self.two_sided(f, g)
        g = F.relu(g)
        return F.where(bound > 0, 0.0, g) if self.gates else g, None

    def two_sided(self, f: Function, g: Tensor) -> Tensor | tuple[Any, ...]:
        """At relu(x) - slope * relu(-x), of which the second side is no rectifier of its own."""
        below = _below(f)
        if below is None or self.only_maps and f.output.ndim != 4:
            return self.turned(f, g)
        self.bounds.add(below)
        return f.vjp(F.relu(g)) if self.gates else (F.relu(g), None)

    def turned(self, f: Function, g: Tensor) -> Tensor | tuple[Any, ...]:
        """At what turns values round; a ReLU between two of them is a bound, min(x, c) = c - relu(c - x)."""
        for one in f.inputs:
            if isinstance(one.function, F.ReLU) and _slope(f, one) < 0 and _turns(one.function.inputs[0]):
                self.bounds.add(one.function)
        return f.vjp(g)

    def rule(self, f: Function, g: Tensor) -> Tensor | tuple[Any, ...]:
        place = rectified(f)
        if place is None:
            return self.turned(f, g) if isinstance(f, Mul) else f.vjp(g)
        if f in self.bounds:
            return f.vjp(g) if self.gates else g
        self.met += 1
        if self.only_maps and f.inputs[place].ndim != 4:
            return f.vjp(g)
        g = F.relu(g)
        return derivative(f, place, g) if self.gates else handed_to(f, place, g)


def rectified(f: Function) -> int | None:
    """Which of a Function's inputs is the x that it rectifies; None if it is no rectifier, or that cannot be known."""
    if isinstance(f, ELU):
        return 0 if 0 <= f.alpha <= 1 else None
    if isinstance(f, Clamp):
        return 0 if f.min is not None and f.min == 0 else None
    if isinstance(f, F.LeakyReLU):
        return 0 if 0 <= f.negative_slope < 1 else None
    with current_device(f.inputs[0].data):
        if isinstance(f, PReLU):
            slopes = f.inputs[1].data
            return 0 if bool(((slopes >= 0) & (slopes < 1)).all()) else None
        if isinstance(f, _OWN):
            return 0
        if len(f.inputs) != 2:
            return None
        return next((place for place in (0, 1) if f.needs_input_grad[place] and _rectifies(f, place)), None)


def _rectifies(f: Function, place: int) -> bool:
    """Whether f of two inputs gives that at `place` where it is positive, and a part of it elsewhere."""
    x, other = f.inputs[place], f.inputs[1 - place]
    if isinstance(f, Mul):
        return _tells_positive(other, x) is True
    if isinstance(f, Where):
        known = _tells_positive(f.condition, x) is (place == 0)
    else:
        known = type(f) is Maximum  # not Minimum
    return known and _is_part_of(f, 1 - place, x)


def _tells_positive(mask: Tensor, x: Tensor) -> bool | None:
    """True if the Tensor `mask` was computed as x > 0, False if as x < 0, either with or without 0; else None."""
    name, *operands = getattr(mask, "compared", (None,))
    if name not in ("gt", "ge", "lt", "le"):
        return None
    arrays = _same_values(x)
    for (array, _), (other, depends), positive in zip(operands, operands[::-1], ("g", "l"), strict=True):
        if any(array is one for one in arrays):
            return name[0] == positive if not depends and not other.any() else None
    return None


def _same_values(x: Tensor) -> Any:
    """The arrays of x and of what it was cast from: float16 is computed in float32."""
    arrays = [x.data]
    while isinstance(x.function, Cast):
        (x,) = x.function.inputs
        arrays.append(x.data)
    return arrays


def _is_part_of(f: Function, place: int, x: Tensor) -> bool:
    """Whether f's input at `place` is 0, or x times constants from 0 to below 1."""
    if _is_constant(f, place):
        return not f.inputs[place].data.any()
    product = f.inputs[place].function
    if not isinstance(product, Mul) or not any(one is x for one in product.inputs):
        return False
    slope = 1 if product.inputs[0] is x else 0
    values = product.inputs[slope].data
    return _is_constant(product, slope) and bool(((values >= 0) & (values < 1)).all())


_SMOOTH: tuple[type, ...] = (activation.SiLU, activation.Hardswish, activation.GELU, activation.GELUTanh)
_SMOOTH += (activation.Softplus, activation.Mish, activation.Tanh)  # a sigmoid is a gate's
_OWN = (F.ReLU, F.ReLU6, F.LeakyReLU, PReLU, ELU)  # functions that are rectifiers themselves, by their own derivative


def _below(f: Function) -> Function | None:
    """The ReLU of -x of the Add or Sub f if it is relu(x) - slope * relu(-x) with 0 <= slope < 1, else None."""
    above, part = (one.function for one in f.inputs)
    if not isinstance(above, F.ReLU) or not isinstance(part, Mul) or len(moving := _moving(part)) != 1:
        return None
    below, other = moving[0].function, part.inputs[part.inputs[0] is moving[0]]
    if not isinstance(below, F.ReLU) or not isinstance(below.inputs[0].function, Neg):
        return None
    sign = 1 if isinstance(f, Sub) else -1
    with current_device(other.data):
        gentle = bool(((other.data * sign >= 0) & (other.data * sign < 1)).all())
    return below if gentle and below.inputs[0].function.inputs[0] is above.inputs[0] else None


def _moving(f: Function) -> list[Tensor]:
    """Those of f's inputs that depend on the image."""
    return [one for one, needed in zip(f.inputs, f.needs_input_grad, strict=True) if needed]


def _turns(x: Tensor) -> bool:
    """Whether the Tensor x is -z, c - z, or z times a number below 0, and so on, of a z that depends on the image."""
    while isinstance(x.function, Neg | Sub | Add | Mul):
        moving = _moving(x.function)
        if len(moving) != 1 or (slope := _slope(x.function, moving[0])) == 0:
            return False
        if slope < 0:
            return True
        (x,) = moving
    return False


def _slope(f: Function, x: Tensor) -> int:
    """Whether the Neg, Sub, Add or Mul f rises (1) or falls (-1) with its input x; 0 where that is not the same for
    all."""
    if isinstance(f, Mul):
        other = f.inputs[f.inputs[0] is x]
        with current_device(other.data):
            values = other.data if not other.requires_grad and other.data.size else None
            return 0 if values is None else int((values > 0).all()) - int((values < 0).all())
    return -1 if isinstance(f, Neg) or isinstance(f, Sub) and f.inputs[1] is x else 1


def _bound(f: Function) -> Any:
    """x - c of the Sub f if it is relu(x) - relu(x - c), or relu(x) - relu(relu(x) - c), of a constant c > 0; or
    None."""
    first, second = (x.function for x in f.inputs)
    if not isinstance(first, F.ReLU) or not isinstance(second, F.ReLU):
        return None
    (x,), (shifted,) = first.inputs, second.inputs
    shift = shifted.function
    if (
        not isinstance(shift, Sub | Add)
        or not any(shift.inputs[0] is one for one in (x, f.inputs[0]))
        or not x.requires_grad
    ):
        return None
    c = shift.inputs[1]
    sign = 1 if isinstance(shift, Sub) else -1
    with current_device(c.data):
        return shifted if not c.requires_grad and bool((c.data * sign > 0).all()) else None


def _is_constant(f: Function, place: int) -> bool:
    return not f.needs_input_grad[place]


def derivative(f: Function, place: int, g: Tensor) -> Tensor | tuple[Any, ...]:
    """What the rectifier f hands on of g: all of it where x is positive, elsewhere to what takes x's place there."""
    x = f.inputs[place]
    if isinstance(f, _OWN):
        return f.vjp(g)
    if isinstance(f, Clamp):
        return F.where(x > 0, f.vjp(g), 0.0)
    handed = handed_to(f, place, F.where(x > 0, g, 0.0))
    if not _is_constant(f, 1 - place):
        other = F.sum_to(F.where(x > 0, 0.0, g), f.inputs[1 - place].shape)
        handed = (handed[0], other) if place == 0 else (other, handed[1])
    return handed


def handed_to(f: Function, place: int, g: Tensor) -> Tensor | tuple[Any, ...]:
    """g for the input at `place`, and nothing for another."""
    if len(f.inputs) == 1:
        return g
    g = F.sum_to(g, f.inputs[place].shape)
    return (g, None) if place == 0 else (None, g)


def layers_of(functions: list[Any], calls: list[Any]) -> list[str]:
    """The names of the innermost modules that ran these Functions, in the order of the pass: calls as in `Calls`."""
    waiting, names = set(functions), []
    for name, _, before, after in calls:
        inside = waiting.intersection(functions_between(before, after)) if waiting else ()
        if inside:
            waiting -= inside
            names.append(name or "of the network itself")
    return names
