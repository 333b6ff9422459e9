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
    """The rules of a layer z = linear(x, w) + bias, with `transposed(s, w)` the vjp of linear by x."""

    def __init__(
        self,
        linear: Callable[..., Any],
        transposed: Callable[..., Any],
        x: Tensor,
        w: Tensor,
        bias: Tensor | float,
        divide: Callable[..., Any],
    ) -> None:
        self.linear, self.transposed = linear, transposed
        self.x, self.w, self.bias, self.divide = x, w, bias, divide

    def distribute(self, r: Tensor, parts: list[tuple[Tensor, Tensor]], bias: Tensor | float) -> Tensor:
        """The inputs' relevance, given that `parts`, pairs (x, w), sum up to what is shared; epsilon keeps z from 0."""
        z = sum((self.linear(x, w) for x, w in parts[1:]), self.linear(*parts[0])) + bias
        s = self.divide(r, z)
        first, *rest = (x * self.transposed(s, w) for x, w in parts)
        return sum(rest, first)

    def all(self, r: Tensor) -> Tensor:
        return self.distribute(r, [(self.x, self.w)], self.bias)

    def gamma(self, r: Tensor, gamma: float) -> Tensor:
        """The generalised rule, which favours the contributions of the output's own sign: no sum comes near 0."""
        below = self.linear(self.x, self.w) + self.bias < 0
        found = self.favoured(F.where(below, 0.0, r), gamma, self.positive(), _positive(self.bias))
        r = F.where(below, r, 0.0)
        if not r.numpy().any():  # as behind a ReLU
            return found
        return found + self.favoured(r, gamma, self.negative(), -_positive(-self.bias))

    def favoured(self, r: Tensor, gamma: float, parts: list[tuple[Tensor, Tensor]], bias: Tensor | float) -> Tensor:
        parts = [(self.x, self.w), *((x, w * gamma) for x, w in parts)]
        return self.distribute(r, parts, self.bias + bias * gamma)

    def alpha_beta(self, r: Tensor, alpha: float) -> Tensor:
        found = self.distribute(r, self.positive(), _positive(self.bias)) * alpha
        if alpha == 1.0:
            return found
        return found - self.distribute(r, self.negative(), -_positive(-self.bias)) * (alpha - 1.0)

    def box(self, r: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Without the bias: it is no input that could lie anywhere in the box (Montavon et al. 2019, section 10.3)."""
        low, high = (F.broadcast_to(bound, self.x.shape) for bound in (low, high))
        parts = [(self.x, self.w), (-low, _positive(self.w)), (-high, -_positive(-self.w))]
        return self.distribute(r, parts, 0.0)

    def flat(self, r: Tensor) -> Tensor:
        """To all inputs alike."""
        return self.distribute(r, [(self.x * 0.0 + 1.0, self.w * 0.0 + 1.0)], 0.0)

    def w_square(self, r: Tensor) -> Tensor:
        """By the squares of the weights alone."""
        return self.distribute(r, [(self.x * 0.0 + 1.0, self.w * self.w)], 0.0)

    def positive(self) -> list[tuple[Tensor, Tensor]]:
        """c+ = x+ w+ + x- w-, the second only where there are negative inputs."""
        parts = [(_positive(self.x), _positive(self.w)), (-_positive(-self.x), -_positive(-self.w))]
        return parts if (self.x.numpy() < 0).any() else parts[:1]

    def negative(self) -> list[tuple[Tensor, Tensor]]:
        """c- = x+ w- + x- w+."""
        parts = [(_positive(self.x), -_positive(-self.w)), (-_positive(-self.x), _positive(self.w))]
        return parts if (self.x.numpy() < 0).any() else parts[:1]


def _positive(x: Tensor | float) -> Any:
    return max(x, 0.0) if isinstance(x, float) else F.relu(x)


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
        kept, held = (self.by_image(one) for one in (F.where(z == 0, 0.0, s), r))
        part = np.divide(kept * self.epsilon, held, out=np.zeros_like(held), where=held > 0)
        if part.max(initial=0) > max(self.kept, 0.01):
            self.kept, self.function = part.max(), function
            by_size = self.by_image(F.where(z == 0, 0.0, r) / F.where(z == 0, 1.0, z))
            self.size = (held / by_size)[part.argmax()]
        return s

    def by_image(self, r: Tensor) -> np.ndarray:
        """(N,): the sum of |r| over each image, or (1,) of all where r is not of N images."""
        count = self.count if r.size and r.size % self.count == 0 else 1
        return abs(r).astype(np.float64).reshape(count, r.size // count).sum(1).numpy()


def stable(z: Tensor, epsilon: float) -> Tensor:
    """z moved away from 0 by epsilon; the sign of 0 is taken as 1."""
    return z + ((z >= 0).astype(z.dtype) * 2.0 - 1.0) * epsilon
