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

These are rules for the backward pass, in place of the derivatives of convolutions and linear layers. For the rest:

    a sum of two maps       shares relevance out by what each contributed, as average pooling does: the epsilon rule
    a product of two maps   hands everything to the one that is no gate (signal-takes-all, Arras et al. 2017); a gate is
                            what is broadcast over places or channels, or comes from a sigmoid, a softmax, or a tanh
    a quotient of two maps  hands everything to the numerator: local response normalisation passes relevance on
    batch normalisation     behind a convolution or a linear layer is a part of it, folded into its weights and bias;
                            elsewhere it is a layer of one weight for each channel, under the epsilon rule
    activations             pass relevance on as it is, smooth ones too; a maximum, to the winner
    concatenation, reshaping, resizing       to where each element came from
    preprocessing (scale, shift, order)      from each value to its pixel

Conservation: the relevance of the pixels adds up to the score but for what biases keep (each sum over i above counts
the bias, or its positive or negative part, as one more input whose share goes nowhere; the box rule's does not) and
what epsilon keeps: `viz.completeness(..., baseline=None)` says how much. alpha-beta also needs contributions of both
signs: where an output has none below 0, it hands on alpha times R_j.
"""

from collections import Counter

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad.autograd import functions_before
from minigrad.functional import activation, convert, elementwise, loss, normalize, pool, reduce, shape
from minigrad.interchange import ToDevice
from minigrad.nn.observe import observed
from minigrad.tools.summary import Calls, functions_between, several

from .objective import explained, looked_at
from .rectifiers import handed_to, rectified
from .target import as_image


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

    What is shared out is what each output contributes to the score, its value times the derivative: all of the score
    where that is linear in the outputs, as a class's, a difference of two, or a product with a fixed vector.

    rule: "epsilon", "gamma", "zplus" or "alphabeta", for all layers with weights; or "composite" (Montavon et al.
        2019, section 10.3): box at the first convolution, whose inputs lie between those of a black and a white image,
        gamma at the other convolutions, epsilon at linear layers.
    epsilon: of every rule's division, in units of the layer's outputs. gamma: how much positive contributions are
        favoured. alpha: at least 1; beta is alpha - 1.

    Raises NotImplementedError for models with functions that have no rule, with the layer's name.
    """
    x, calls, objective = as_image(model, image), Calls(), explained(target, layer, unit)
    with observed(model, calls):
        found = looked_at(model, x, objective.layers)
    outputs, starts = _shared_out(model, objective, found)
    rules = _Rules(rule, epsilon, gamma, alpha, functions_before(outputs))
    if rule == "composite":
        rules.bounds = _input_bounds(model, x)
    try:
        return mg.grad(outputs, x, grad_outputs=starts, rules=rules.table()).numpy()
    except _NoRule as error:
        inside = (n for n, _, before, after in calls.seen if error.function in functions_between(before, after))
        where = next((f" in layer {n!r}" for n in inside if n), "")
        raise NotImplementedError(f"lrp: {error}{where}") from None


def _shared_out(model, objective, found):
    """(outputs, what each contributes to the score), lists of Tensors, of those that have a part in it."""
    outputs, leaves = [], []

    def cut(output):
        """The same, of leaves: the score's derivative by each is its own, what lies between them is for the rules."""
        if isinstance(output, dict):
            return {key: cut(part) for key, part in output.items()}
        if isinstance(output, list | tuple):
            return type(output)([cut(part) for part in output])
        outputs.append(output)
        leaves.append(mg.Tensor(output.detach(), requires_grad=True))
        return leaves[-1]

    with mg.enable_grad():
        y = objective.score(model, {name: cut(output) for name, output in found.items()}).sum()
    taken = {id(one) for f in functions_before([y]) for one in f.inputs}
    used = [i for i, leaf in enumerate(leaves) if id(leaf) in taken]
    gradients = mg.grad(y, [leaves[i] for i in used])
    return [outputs[i] for i in used], [g * outputs[i].detach() for i, g in zip(used, gradients, strict=True)]


def _input_bounds(model, x):
    """What the first convolution or linear layer gets of a black and of a white image: (lowest, highest), (1,C,H,W)."""
    ends = mg.Tensor(np.stack([np.full(x.shape[1:], v) for v in (0.0, 1.0)]), dtype=x.dtype).to(x.device)
    first = _First(model)
    with mg.no_grad(), observed(model, first):
        model(ends)
    half = len(first.input) // 2  # a layer before it may make more images of each
    black, white = first.input[:1], first.input[half : half + 1]
    return F.minimum(black, white), F.maximum(black, white)


class _First:
    """An observer of the first layer with weights of several dimensions: `input` is what it takes."""

    def __init__(self, model):
        layers = dict(model.named_modules()) | {"": model}
        self.names = {
            name
            for name, one in layers.items()
            if any(isinstance(t, mg.Tensor) and t.ndim > 1 for t in vars(one).values())
        }
        self.input, self.done = None, False

    def asks_for(self, name):
        return name in self.names

    def leaves(self, name, module, x, y):
        if name in self.names:
            self.input, self.done = several(x)[0], True


class _Rules:
    """The rules of one call: {Function class: rule} in `table()`."""

    def __init__(self, rule, epsilon, gamma, alpha, functions):
        if rule not in ("epsilon", "gamma", "zplus", "alphabeta", "composite"):
            raise ValueError(f"lrp: rule must be epsilon, gamma, zplus, alphabeta or composite, got {rule!r}")
        if not epsilon > 0 or gamma < 0 or alpha < 1:
            raise ValueError(f"lrp: needs epsilon > 0, gamma >= 0, alpha >= 1, got {epsilon}, {gamma}, {alpha}")
        self.rule, self.epsilon, self.gamma, self.alpha = rule, epsilon, gamma, alpha
        self.taken = Counter(id(x) for f in functions for x in f.inputs)  # by how many functions
        self.folded = {}  # a layer's Function: scale and shift of the batch normalisation that is a part of it

    def table(self):
        weighted = {F.Conv2d: self.convolution, F.Linear: self.linear, normalize.ChannelAffine: self.batch_norm}
        averages = dict.fromkeys((F.AvgPool2d, F.MatMul, reduce.Sum, shape.SumTo), self.in_proportion)
        sums = dict.fromkeys((elementwise.Add, elementwise.Sub), self.sum)
        kinds = (F.Activation, elementwise.Clamp, elementwise.Neg)
        unmoved = dict.fromkeys(kinds, lambda f, r: r) | {F.PReLU: lambda f, r: (r, None)}
        chosen = dict.fromkeys((elementwise.Maximum, elementwise.Minimum, elementwise.Where), _chosen)
        moves = (shape.Reshape, shape.Permute, shape.Cat, shape.GetItem, shape.Pad, shape.Flip, shape.Roll)
        moves += (shape.BroadcastTo, F.MaxPool2d, pool.TakeAlongAxis, reduce.Max, reduce.Min, convert.Cast, ToDevice)
        moved = dict.fromkeys(moves, lambda f, r: f.vjp(r))
        products = {elementwise.Mul: _product, elementwise.Div: _quotient, mg.Function: _refuse}
        return {**weighted, **averages, **sums, **unmoved, **chosen, **moved, **products}

    def convolution(self, conv, r):
        x = conv.inputs[0]
        share = Shares(
            lambda x, w: F.Conv2d(*conv.geometry)(x, w),
            lambda s, w: F.Conv2dInputGrad(x.shape[2:], *conv.geometry)(s, w),
            *self.operands(conv),
            self.epsilon,
        )
        if self.rule == "composite" and not _has_weights_before(x):
            return share.box(r, *self.bounds), *_nothing(conv)
        return self.by_name("gamma" if self.rule == "composite" else self.rule, share, r), *_nothing(conv)

    def linear(self, linear, r):
        share = Shares(F.linear, F.matmul, *self.operands(linear), self.epsilon)
        return self.by_name("epsilon" if self.rule == "composite" else self.rule, share, r), *_nothing(linear)

    def operands(self, f):
        """(x, w, bias or 0) of a convolution or linear layer, cut from the graph, batch normalisation folded in."""
        if any(f.needs_input_grad[1:]):
            raise _NoRule(f, f"the weights of {type(f).__name__} depend on the image: it has no rule")
        x, w, *bias = (one.detach() for one in f.inputs)
        across = (1, -1, 1, 1) if isinstance(f, F.Conv2d) else (-1,)  # a vector (C,) against the outputs
        bias = bias[0].reshape(*across) if bias else 0.0
        if f in self.folded:
            scale, shift = (one.detach() for one in self.folded[f])
            w = w * scale.reshape(-1, *(1,) * (w.ndim - 1))
            bias = bias * scale.reshape(*across) + shift.reshape(*across)
        return x, w, bias

    def batch_norm(self, affine, r):
        """x * scale + shift for each channel."""
        x, scale, shift = affine.inputs
        if any(affine.needs_input_grad[1:]):
            _refuse(affine, r)
        alone = self.taken[id(x)] == 1
        if alone and (isinstance(x.function, F.Conv2d) or (isinstance(x.function, F.Linear) and x.ndim == 2)):
            self.folded[x.function] = scale, shift
        elif _has_weights_before(x):
            s = r / _stable(affine.output.detach(), self.epsilon)
            r = x.detach() * normalize.channel_scale(s, scale.detach())
        return r, None, None

    def sum(self, f, r):
        """Two maps share in proportion; of a map and a constant, the map takes all."""
        return self.in_proportion(f, r) if sum(f.needs_input_grad) > 1 else _constant(f, r)

    def in_proportion(self, f, r):
        """Sums, averages and products with a constant matrix (pooling to odd sizes): the epsilon rule."""
        needed = f.needs_input_grad
        if isinstance(f, F.MatMul) and sum(needed) > 1:
            _refuse(f, r)
        gs = f.vjp(r / _stable(f.output.detach(), self.epsilon))
        gs = gs if isinstance(gs, tuple) else (gs,)
        return tuple(x.detach() * g if n else None for x, g, n in zip(f.inputs, gs, needed, strict=True))

    def by_name(self, rule, share, r):
        if rule == "epsilon":
            return share.all(r)
        if rule == "gamma":
            return share.gamma(r, self.gamma)
        return share.alpha_beta(r, 1.0 if rule == "zplus" else self.alpha)


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


def _chosen(f, r):
    """A rectifier passes relevance on, as every activation; elsewhere it goes to the operand that was chosen."""
    place = rectified(f)
    return f.vjp(r) if place is None else handed_to(f, place, r)


def _product(f, r):
    """Everything to the operand that is no gate."""
    if sum(f.needs_input_grad) == 1:
        return _constant(f, r)
    for is_gate in (
        lambda x: x.size < f.output.size,
        lambda x: _comes_from(x, _GATES),
        lambda x: _comes_from(x, _OPEN),
    ):
        gates = [is_gate(x) for x in f.inputs]
        if sum(gates) == 1:
            return handed_to(f, gates.index(False), r)
    raise _NoRule(f, "there is no rule for a product of two maps of which neither, or both, is a gate")


def _quotient(f, r):
    """Everything to the numerator: the divisor, as a gate, only says how much of it passes."""
    return handed_to(f, 0, r) if all(f.needs_input_grad) else _constant(f, r)


_GATES = (activation.Sigmoid, activation.Hardsigmoid, loss.Softmax)
_OPEN = (activation.Tanh, elementwise.Clamp)  # gates too, where the other is none of the above
_MOVED = (shape.Reshape, shape.Permute, shape.BroadcastTo, shape.GetItem, convert.Cast)
_ON_THE_WAY = (*_MOVED, elementwise.Add, elementwise.Mul, elementwise.Div)


def _comes_from(x, kinds):
    """Whether x is the output of one of these, moved, or shifted and scaled by constants."""
    f = x.function
    while isinstance(f, _ON_THE_WAY) and sum(one.function is not None for one in f.inputs) == 1:
        f = next(one.function for one in f.inputs if one.function is not None)
    return isinstance(f, kinds)


class _NoRule(Exception):
    """A Function that has no rule, and why."""

    def __init__(self, function, why):
        super().__init__(why)
        self.function = function


def _refuse(f, r):
    raise _NoRule(f, f"there is no rule for {type(f).__name__} of these inputs")
