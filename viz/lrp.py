"""Layer-wise relevance propagation: the score shared out backwards, layer by layer, until it lies on the pixels.

Bach et al. 2015 (PLoS ONE 10(7)); Montavon et al. 2019 (Explainable AI, chapter 10). A linear layer
z_j = sum_i x_i w_ij + b_j hands the relevance R_j of its outputs to its inputs in proportion to what each contributed;
input i gets R_j times

    epsilon     x_i w_ij / (z_j + epsilon sign z_j)
    gamma       (c_ij + gamma c+_ij) / sum_i (c_ij + gamma c+_ij),  with c_ij = x_i w_ij and c+ its positive part;
                where z_j < 0 its negative part c- in the place of c+ (Andeol et al. 2021)
    z-plus      c+_ij / sum_i c+_ij
    alpha-beta  alpha c+_ij / sum_i c+_ij - beta c-_ij / sum_i c-_ij,  with alpha - beta = 1
    box         (x_i w_ij - l_i w+_ij - h_i w-_ij) / its sum over i,  for inputs between l and h

These are rules for the backward pass, in place of the derivatives of convolutions and linear layers. ReLU passes
relevance on as it is, a maximum to the winner, average pooling in proportion to its inputs, concatenation and
reshaping to where each element came from, and the preprocessing (scale, shift, order of the channels) from each value
to its pixel.

Conservation: the relevance of the pixels adds up to the score but for what biases keep (each sum over i above counts
the bias, or its positive or negative part, as one more input whose share goes nowhere; the box rule's does not) and
what epsilon keeps.
alpha-beta also needs contributions of both signs: where an output has none below 0, it hands on alpha times R_j.
"""

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.functional import convert, elementwise, normalize, reduce, shape
from minigrad.interchange import ToDevice

from .target import as_image, as_logits, classes, logits_layer, pick, unit_activation


def lrp(
    model,
    image,
    target=None,
    layer=None,
    unit=None,
    rule="composite",
    epsilon=1e-6,
    gamma=0.25,
    alpha=2.0,
):
    """(N,3,H,W), signed: the relevance of each input value for the score of `target` (or for `layer` and `unit`).

    rule: "epsilon", "gamma", "zplus" or "alphabeta", for all layers with weights; or "composite" (Montavon et al.
        2019, section 10.3): box at the first convolution, whose inputs lie between those of a black and a white image,
        gamma at the other convolutions, epsilon at linear layers.
    epsilon: of every rule's division, in units of the layer's outputs. gamma: how much positive contributions are
        favoured. alpha: at least 1; beta is alpha - 1.

    Raises NotImplementedError for models with functions that have no rule, such as batch normalisation, which
    `models.fold_batch_norm` folds into the convolutions.
    """
    x = as_image(model, image)
    name = layer or logits_layer(model)
    a = model.activations(x, [name])[name]
    if layer is None:
        a = as_logits(a)
        y = pick(a, classes(model, a, target))
    elif target is not None:
        raise ValueError(f"give a target or a layer to explain, not both (target {target!r}, layer {layer!r})")
    else:
        y = unit_activation(a, unit)
    start = mg.grad(y.sum(), a) * a.detach()  # the score, shared out among the outputs that make it
    rules = _Rules(rule, epsilon, gamma, alpha, _input_bounds(model, x) if rule == "composite" else None)
    return mg.grad(a, x, grad_outputs=start, rules=rules.table()).numpy()


def _input_bounds(model, x):
    """What the first layer with weights gets of a black and of a white image: (lowest, highest), each (1,C,H,W)."""
    before = []
    for _, layer in model.children():
        if layer.named_tensors():
            break
        before.append(layer)
    ends = [mg.Tensor(np.full((1, *x.shape[1:]), v), dtype=x.dtype).to(x.device) for v in (0.0, 1.0)]
    with mg.no_grad():
        black, white = (nn.Sequential({f"{i}": part for i, part in enumerate(before)})(end) for end in ends)
    return F.minimum(black, white), F.maximum(black, white)


class _Rules:
    """The rules of one call: {Function class: rule} in `table()`."""

    def __init__(self, rule, epsilon, gamma, alpha, bounds):
        if rule not in ("epsilon", "gamma", "zplus", "alphabeta", "composite"):
            raise ValueError(f"lrp: rule must be epsilon, gamma, zplus, alphabeta or composite, got {rule!r}")
        if not epsilon > 0 or gamma < 0 or alpha < 1:
            raise ValueError(f"lrp: needs epsilon > 0, gamma >= 0, alpha >= 1, got {epsilon}, {gamma}, {alpha}")
        self.rule, self.epsilon, self.gamma, self.alpha, self.bounds = rule, epsilon, gamma, alpha, bounds

    def table(self):
        weighted = {F.Conv2d: self.convolution, F.Linear: self.linear}
        averages = dict.fromkeys((F.AvgPool2d, F.MatMul, reduce.Sum), self.in_proportion)
        unmoved = dict.fromkeys((F.ReLU, F.LeakyReLU), lambda f, r: r)
        moves = (shape.Reshape, shape.Permute, shape.Cat, shape.GetItem, shape.Pad, shape.Flip, F.MaxPool2d)
        moved = dict.fromkeys((*moves, reduce.Max, convert.Cast, ToDevice), lambda f, r: f.vjp(r))
        with_constants = dict.fromkeys((elementwise.Add, elementwise.Sub, elementwise.Mul, elementwise.Div), _constant)
        refused = {mg.Function: _refuse, normalize.ChannelAffine: _refuse_batch_norm}
        return {**weighted, **averages, **unmoved, **moved, **with_constants, **refused}

    def convolution(self, conv, r):
        x = conv.inputs[0]
        share = Shares(
            lambda x, w: F.Conv2d(*conv.geometry)(x, w),
            lambda s, w: F.Conv2dInputGrad(x.shape[2:], *conv.geometry)(s, w),
            *_operands(conv, (1, -1, 1, 1)),
            self.epsilon,
        )
        if self.rule == "composite" and not _has_weights_before(x):
            return share.box(r, *self.bounds), *_nothing(conv)
        return self.by_name("gamma" if self.rule == "composite" else self.rule, share, r), *_nothing(conv)

    def linear(self, linear, r):
        share = Shares(F.linear, F.matmul, *_operands(linear, (-1,)), self.epsilon)
        return self.by_name("epsilon" if self.rule == "composite" else self.rule, share, r), *_nothing(linear)

    def by_name(self, rule, share, r):
        if rule == "epsilon":
            return share.all(r)
        if rule == "gamma":
            return share.gamma(r, self.gamma)
        return share.alpha_beta(r, 1.0 if rule == "zplus" else self.alpha)

    def in_proportion(self, average, r):
        """Averages, sums and products with a constant matrix (pooling to odd sizes): the epsilon rule."""
        needed = average.needs_input_grad
        if sum(needed) > 1:
            _refuse(average, r)
        gs = average.vjp(r / _stable(average.output.detach(), self.epsilon))
        gs = gs if isinstance(gs, tuple) else (gs,)
        return tuple(x.detach() * g if n else None for x, g, n in zip(average.inputs, gs, needed, strict=True))


class Shares:
    """The rules of a layer z = linear(x, w) + bias, with `transposed(s, w)` the vjp of linear by x."""

    def __init__(self, linear, transposed, x, w, bias, epsilon):
        self.linear, self.transposed = linear, transposed
        self.x, self.w, self.bias, self.epsilon = x, w, bias, epsilon

    def distribute(self, r, parts, bias):
        """The inputs' relevance, given that `parts`, pairs (x, w), sum up to what is shared; epsilon keeps z from 0."""
        z = sum((self.linear(x, w) for x, w in parts[1:]), self.linear(*parts[0])) + bias
        s = r / _stable(z, self.epsilon)
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

    def positive(self):
        """c+ = x+ w+ + x- w-, the second only where there are negative inputs."""
        parts = [(_positive(self.x), _positive(self.w)), (-_positive(-self.x), -_positive(-self.w))]
        return parts if self.x.min().item() < 0 else parts[:1]

    def negative(self):
        """c- = x+ w- + x- w+."""
        parts = [(_positive(self.x), -_positive(-self.w)), (-_positive(-self.x), _positive(self.w))]
        return parts if self.x.min().item() < 0 else parts[:1]


def _positive(x):
    return max(x, 0.0) if isinstance(x, float) else F.relu(x)


def _stable(z, epsilon):
    """z moved away from 0 by epsilon; the sign of 0 is taken as 1."""
    return z + ((z >= 0).astype(z.dtype) * 2.0 - 1.0) * epsilon


# ---- the functions of the graph --------------------------------------------------------------------------------------


def _operands(f, bias_shape):
    """(x, w, bias or 0) of a convolution or linear layer, cut from the graph."""
    x, w, *bias = f.inputs
    if any(f.needs_input_grad[1:]):
        raise NotImplementedError(f"lrp: the weights of {type(f).__name__} depend on the image: it has no rule")
    return x.detach(), w.detach(), bias[0].detach().reshape(*bias_shape) if bias else 0.0


def _nothing(f):
    return (None for _ in f.inputs[1:])


def _constant(f, r):
    """Arithmetic with constants, such as preprocessing: relevance goes to the operand that depends on the image."""
    if sum(f.needs_input_grad) > 1:
        _refuse(f, r)
    needed = zip(f.inputs, f.needs_input_grad, strict=True)
    return tuple(F.sum_to(r, x.shape) if is_needed else None for x, is_needed in needed)


def _has_weights_before(x):
    """Whether a convolution or a linear layer leads to x."""
    waiting, seen = [x], set()
    while waiting:
        f = waiting.pop().function
        if isinstance(f, F.Conv2d | F.Linear):
            return True
        if f is not None and f not in seen:
            seen.add(f)
            waiting.extend(f.inputs)
    return False


def _refuse(f, r):
    raise NotImplementedError(f"lrp: there is no rule for {type(f).__name__} of these inputs")


def _refuse_batch_norm(f, r):
    raise NotImplementedError("lrp: batch normalisation has no rule; fold it first, with models.fold_batch_norm(model)")
