"""How one layer with weights shares relevance out among its inputs: the equations at the top of viz/lrp.py."""

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

    def __init__(self, linear, transposed, x, w, bias, epsilon):
        self.linear, self.transposed = linear, transposed
        self.x, self.w, self.bias, self.epsilon = x, w, bias, epsilon

    def distribute(self, r, parts, bias):
        """The inputs' relevance, given that `parts`, pairs (x, w), sum up to what is shared; epsilon keeps z from 0."""
        z = sum((self.linear(x, w) for x, w in parts[1:]), self.linear(*parts[0])) + bias
        s = r / stable(z, self.epsilon)
        first, *rest = (x * self.transposed(s, w) for x, w in parts)
        return sum(rest, first)

    def all(self, r):
        return self.distribute(r, [(self.x, self.w)], self.bias)

    def gamma(self, r, gamma):
        """The generalised rule, which favours the contributions of the output's own sign: no sum comes near 0."""
        below = self.linear(self.x, self.w) + self.bias < 0
        found = self.favoured(F.where(below, 0.0, r), gamma, self.positive(), _positive(self.bias))
        r = F.where(below, r, 0.0)
        if not r.numpy().any():  # as behind a ReLU
            return found
        return found + self.favoured(r, gamma, self.negative(), -_positive(-self.bias))

    def favoured(self, r, gamma, parts, bias):
        parts = [(self.x, self.w), *((x, w * gamma) for x, w in parts)]
        return self.distribute(r, parts, self.bias + bias * gamma)

    def alpha_beta(self, r, alpha):
        found = self.distribute(r, self.positive(), _positive(self.bias)) * alpha
        if alpha == 1.0:
            return found
        return found - self.distribute(r, self.negative(), -_positive(-self.bias)) * (alpha - 1.0)

    def box(self, r, low, high):
        """Without the bias: it is no input that could lie anywhere in the box (Montavon et al. 2019, section 10.3)."""
        low, high = (F.broadcast_to(bound, self.x.shape) for bound in (low, high))
        parts = [(self.x, self.w), (-low, _positive(self.w)), (-high, -_positive(-self.w))]
        return self.distribute(r, parts, 0.0)

    def flat(self, r):
        """To all inputs alike."""
        return self.distribute(r, [(self.x * 0.0 + 1.0, self.w * 0.0 + 1.0)], 0.0)

    def w_square(self, r):
        """By the squares of the weights alone."""
        return self.distribute(r, [(self.x * 0.0 + 1.0, self.w * self.w)], 0.0)

    def positive(self):
        """c+ = x+ w+ + x- w-, the second only where there are negative inputs."""
        parts = [(_positive(self.x), _positive(self.w)), (-_positive(-self.x), -_positive(-self.w))]
        return parts if (self.x.numpy() < 0).any() else parts[:1]

    def negative(self):
        """c- = x+ w- + x- w+."""
        parts = [(_positive(self.x), -_positive(-self.w)), (-_positive(-self.x), _positive(self.w))]
        return parts if (self.x.numpy() < 0).any() else parts[:1]


def _positive(x):
    return max(x, 0.0) if isinstance(x, float) else F.relu(x)


def stable(z, epsilon):
    """z moved away from 0 by epsilon; the sign of 0 is taken as 1."""
    return z + ((z >= 0).astype(z.dtype) * 2.0 - 1.0) * epsilon
