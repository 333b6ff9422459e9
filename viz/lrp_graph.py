"""How relevance passes the functions of a graph that have no weights: products, sums with constants, choices.

The rules of viz/lrp.py, rule(function, r) each: r is the relevance of the function's output.
"""

from typing import Any

from minigrad import Function, Tensor
from minigrad import functional as F
from minigrad.functional import activation, broadcast, convert, elementwise, index, loss, shape
from minigrad.functional.choice import Clamp

from .rectifiers import handed_to, rectified

WEIGHTED = (F.Conv2d, F.Conv2dInputGrad, F.Linear)  # the second is the transposed convolution


def nothing(f: Function) -> Any:
    return (None for _ in f.inputs[1:])


def constant(f: Function, r: Tensor) -> tuple[Any, ...]:
    """Arithmetic with constants, such as preprocessing: relevance goes to the operand that depends on the image."""
    if sum(f.needs_input_grad) > 1:
        refuse(f, r)
    needed = zip(f.inputs, f.needs_input_grad, strict=True)
    return tuple(F.sum_to(r, x.shape) if is_needed else None for x, is_needed in needed)


def has_weights_before(x: Tensor) -> bool:
    """Whether a convolution, transposed or not, or a linear layer leads to x."""
    waiting, seen = [x], set()
    while waiting:
        f = waiting.pop().function
        if isinstance(f, WEIGHTED):
            return True
        if f is not None and f not in seen:
            seen.add(f)
            waiting.extend(f.inputs)
    return False


def choice(f: Function, r: Tensor) -> tuple[Any, ...]:
    """A rectifier passes relevance on, as every activation; elsewhere it goes to the operand that was chosen."""
    place = rectified(f)
    return f.vjp(r) if place is None else handed_to(f, place, r)


def product(f: Function, r: Tensor) -> tuple[Any, ...]:
    """Everything to the operand that is no gate."""
    if sum(f.needs_input_grad) == 1:
        return constant(f, r)
    for is_gate in (
        lambda x: x.size < f.output.size,
        lambda x: _comes_from(x, _GATES),
        lambda x: _comes_from(x, _OPEN),
    ):
        gates = [is_gate(x) for x in f.inputs]
        if sum(gates) == 1:
            return handed_to(f, gates.index(False), r)
    raise NoRule(f, "there is no rule for a product of two maps of which neither, or both, is a gate")


def quotient(f: Function, r: Tensor) -> tuple[Any, ...]:
    """Everything to the numerator: the divisor, as a gate, only says how much of it passes."""
    return handed_to(f, 0, r) if all(f.needs_input_grad) else constant(f, r)


_GATES = (activation.Sigmoid, activation.Hardsigmoid, loss.Softmax)
_OPEN = (activation.Tanh, Clamp)  # gates too, where the other is none of the above
_MOVED = (shape.Reshape, shape.Permute, broadcast.BroadcastTo, index.GetItem, convert.Cast)
_ON_THE_WAY = (*_MOVED, elementwise.Add, elementwise.Mul, elementwise.Div)


def _comes_from(x: Tensor, kinds: Any) -> bool:
    """Whether x is the output of one of these, moved, or shifted and scaled by constants."""
    f = x.function
    while isinstance(f, _ON_THE_WAY) and sum(one.function is not None for one in f.inputs) == 1:
        f = next(one.function for one in f.inputs if one.function is not None)
    return isinstance(f, kinds)


class NoRule(Exception):
    """A Function that has no rule, and why."""

    def __init__(self, function: Function, why: str) -> None:
        super().__init__(why)
        self.function = function


def refuse(f: Function, r: Tensor) -> None:
    raise NoRule(f, f"there is no rule for {type(f).__name__} of these inputs")
