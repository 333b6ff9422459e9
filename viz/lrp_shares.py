"""How one layer with weights shares relevance out among its inputs: the equations at the top of viz/lrp.py."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import Function, Tensor
from minigrad import functional as F

# At the first convolution, at the others, at linear layers; epsilon_plus and so on are zennit's names.
COMPOSITES = {
    "composite": ("box", "gamma", "epsilon"),
    "epsilon_plus": ("zplus", "zplus", "epsilon"),
    "epsilon_plus_flat": ("flat", "zplus", "epsilon"),
    "epsilon_alpha2_beta1": ("alphabeta", "alphabeta", "epsilon"),
    "epsilon_alpha2_beta1_flat": ("flat", "alphabeta", "epsilon"),
}
RULES = ("epsilon", "gamma", "zplus", "alphabeta", "flat", "wsquare")  # box needs bounds: of the first layer alone


class Shares:
    """The rules of a layer that computed z = linear(x, w) + bias, with `transposed(s, w)` the vjp of linear by x."""

    def __init__(
        self,
        linear: Callable[..., Any],
        transposed: Callable[..., Any],
        x: Tensor,
        w: Tensor,
        bias: Tensor | float,
        z: Tensor,
        divide: Callable[..., Any],
    ) -> None:
        self.linear, self.transposed = linear, transposed
        self.x, self.w, self.bias, self.z, self.divide = x, w, bias, z, divide

    def distribute(self, r: Tensor, parts: list[tuple[Tensor, Tensor]], bias: Tensor | float) -> Tensor:
        """The inputs' relevance, given that `parts`, pairs (x, w), sum up to what is shared; epsilon keeps z from 0."""
        z = sum((self.linear(x, w) for x, w in parts[1:]), self.linear(*parts[0])) + bias
        return self.handed(self.divide(r, z), parts)

    def handed(self, s: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        """What s = r / z, of the outputs, becomes at the inputs."""
        first, *rest = (x * self.transposed(s, w) for x, w in parts)
        return sum(rest, first)

    def all(self, r: Tensor) -> Tensor:
        return self.handed(self.divide(r, self.z), [(self.x, self.w)])

    def gamma(self, r: Tensor, gamma: float) -> Tensor:
        """The generalised rule, which favours the contributions of the output's own sign: no sum comes near 0."""
        below = self.z < 0
        if not F.logical_and(below, r != 0).numpy().any():  # as behind a ReLU
            return self.favoured(r, gamma, _positive, _negative)
        found = self.favoured(F.where(below, 0.0, r), gamma, _positive, _negative)
        return found + self.favoured(F.where(below, r, 0.0), gamma, _negative, _positive)

    def favoured(self, r: Tensor, gamma: float, own: Callable[..., Any], other: Callable[..., Any]) -> Tensor:
        """x+ (w + gamma w+) + x- (w + gamma w-) for the positive outputs, whose `own` part of a number is the first."""
        parts = self.by_sign(self.w + own(self.w) * gamma, self.w + other(self.w) * gamma)
        return self.distribute(r, parts, self.bias + own(self.bias) * gamma)

    def alpha_beta(self, r: Tensor, alpha: float) -> Tensor:
        """c+ = x+ w+ + x- w- and c- = x+ w- + x- w+."""
        above, below = _positive(self.w), _negative(self.w)
        found = self.distribute(r, self.by_sign(above, below), _positive(self.bias)) * alpha
        if alpha == 1.0:
            return found
        return found - self.distribute(r, self.by_sign(below, above), _negative(self.bias)) * (alpha - 1.0)

    def box(self, r: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """x w - l w+ - h w- = (x - l) w+ + (x - h) w-; without the bias, which is no input that could lie anywhere in
        the box (Montavon et al. 2019, section 10.3)."""
        parts = [(self.x - low, _positive(self.w)), (self.x - high, _negative(self.w))]
        return self.distribute(r, parts, 0.0)

    def flat(self, r: Tensor) -> Tensor:
        """To all inputs alike."""
        return self.distribute(r, [(self.x * 0.0 + 1.0, self.w * 0.0 + 1.0)], 0.0)

    def w_square(self, r: Tensor) -> Tensor:
        """By the squares of the weights alone."""
        return self.distribute(r, [(self.x * 0.0 + 1.0, self.w * self.w)], 0.0)

    def by_sign(self, w_above: Tensor, w_below: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The pairs (x, w) of the inputs above and below 0, each with weights of their own."""
        if not (self.x.numpy() < 0).any():  # as behind a ReLU
            return [(self.x, w_above)]
        return [(_positive(self.x), w_above), (_negative(self.x), w_below)]


def _positive(x: Tensor | float) -> Any:
    return max(x, 0.0) if isinstance(x, float) else F.relu(x)


def _negative(x: Tensor | float) -> Any:
    return -_positive(-x)


class Divider:
    """r / z with z kept from 0 by epsilon; and which of these divisions lost the most to it."""

    def __init__(self, epsilon: float, count: int) -> None:
        self.epsilon, self.count = epsilon, count
        self.kept, self.size, self.function = 0.0, 0.0, None  # of the worst

    def divide(self, function: Function, r: Tensor, z: Tensor) -> Tensor:
        """r / (z + epsilon sign z), for the outputs z of `function`.

        Of R_j this loses epsilon |R_j| / (|z_j| + epsilon), which is to be little of what each of `count` images has
        there. It is not the loss where z_j is 0: no smaller epsilon would hand on anything.
        """
        s = r / stable(z, self.epsilon)
        held = self.by_image(r)
        if (self.by_image(s) * self.epsilon > max(self.kept, 0.01) * held).any():
            kept = self.by_image(F.where(z == 0, 0.0, s)) * self.epsilon
            part = np.divide(kept, held, out=np.zeros_like(held), where=held > 0)
            if part.max() > max(self.kept, 0.01):
                self.kept, self.function = part.max(), function
                by_size = self.by_image(F.where(z == 0, 0.0, r) / F.where(z == 0, 1.0, z))
                self.size = (held / by_size)[part.argmax()]
        return s

    def by_image(self, r: Tensor) -> np.ndarray:
        """(N,): the sum of |r| over each image, or (1,) of all where r is not of N images."""
        sums = abs(r.astype(np.promote_types(r.dtype, np.float32))).sum(tuple(range(1, r.ndim)))
        return sums.reshape(self.count if self.count and len(r) % self.count == 0 else 1, -1).sum(1).numpy()


def stable(z: Tensor, epsilon: float) -> Tensor:
    """z moved away from 0 by epsilon; the sign of 0 is taken as 1."""
    return z + ((z >= 0).astype(z.dtype) * (2 * epsilon) - epsilon)
