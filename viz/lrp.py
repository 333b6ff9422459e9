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
    flat        1 / (number of inputs)                                          (Lapuschkin et al. 2019)
    w-square    w_ij^2 / sum_i w_ij^2                                           (Montavon et al. 2017)

These are rules for the backward pass, in place of the derivatives of convolutions (transposed ones too) and linear
layers. For the rest:

    a sum of two maps       shares relevance out by what each contributed, as average pooling does: the epsilon rule
    a product of two maps   hands everything to the one that is no gate (signal-takes-all, Arras et al. 2017); a gate is
                            what is broadcast over places or channels, or comes from a sigmoid, a softmax, or a tanh
    a quotient of two maps  hands everything to the numerator: local response normalisation passes relevance on
    batch normalisation     behind a convolution or a linear layer is a part of it, folded into its weights and bias;
                            elsewhere it is a layer of one weight for each channel, under the epsilon rule
    activations             pass relevance on as it is, smooth ones too; a maximum, to the winner
    group, instance and     x less its mean is linear, a layer under the epsilon rule; the deviation is a gate (Ali et
    layer normalisation     al. 2022, arXiv:2202.07304), and its own scale and shift are constants
    concatenation, reshaping, resizing       to where each element came from
    preprocessing (scale, shift, order)      from each value to its pixel

Conservation: the relevance of the pixels adds up to the score but for what biases keep (each sum over i above counts
the bias, or its positive or negative part, as one more input whose share goes nowhere; the last three do not) and
what epsilon keeps: `viz.completeness(..., baseline=None)` says how much. alpha-beta also needs contributions of both
signs: where an output has none below 0, it hands on alpha times R_j.
"""

from collections import Counter
from functools import partial
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Function, Tensor
from minigrad import functional as F
from minigrad.autograd import functions_before
from minigrad.functional import broadcast, convert, elementwise, index, normalize, reduce, shape
from minigrad.functional.choice import Clamp, Maximum, Minimum, Where
from minigrad.interchange import ToDevice
from minigrad.nn import Module
from minigrad.nn.observe import observed
from minigrad.tools.summary import Calls, functions_between, several

from .lrp_graph import WEIGHTED, NoRule, choice, constant, has_weights_before, nothing, product, quotient, refuse
from .lrp_shares import COMPOSITES, RULES, Divider, Shares
from .objective import explained, looked_at
from .ranges import require
from .remarks import remark
from .target import as_image, channel_numbers
from .typing import Images, Target, Unit


def lrp(
    model: Module,
    image: Images,
    target: Target | None = None,
    layer: str | None = None,
    unit: Unit | None = None,
    rule: str = "composite",
    rules: Any = None,
    through: Any = None,
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    alpha: float = 2.0,
) -> np.ndarray:
    """(N,3,H,W), signed: the relevance of each input value for the score of `target` (or for `layer` and `unit`).

    What is shared out is what each output contributes to the score, its value times the derivative: all of the score
    where that is linear in the outputs, as a class's, a difference of two, or a product with a fixed vector.

    rule: "epsilon", "gamma", "zplus", "alphabeta", "flat" or "wsquare", for all layers with weights; or a composite:
        "composite" (after Montavon et al. 2019, section 10.3, who take epsilon at the upper convolutions too, and no
        epsilon at linear layers): box at the first convolution, whose inputs lie between those of a black and a white
        image, gamma at the other convolutions, epsilon at linear layers; "epsilon_plus" and
        "epsilon_alpha2_beta1": z-plus, or alpha-beta, at convolutions, epsilon at linear layers; with "_flat" behind,
        flat at the first convolution (Kohlbrenner et al. 2020, arXiv:1910.09840).
    rules: {layer: rule}, what holds there in the place of `rule`, with all layers inside; "box" at the first alone.
    through: (layer, channel), or (layer, [channels]): only the relevance that these channels of the layer's output
        hand on, for the concept that they stand for (concept relevance propagation, Achtibat et al. 2023,
        arXiv:2206.03208); over all channels of a chain's layer the maps add up to the whole.
    epsilon: of every rule's division, in units of the layer's outputs; a layer that loses more than a hundredth of its
        relevance to it is warned of. gamma: how much positive contributions are favoured. alpha: at least 1; beta is
        alpha - 1.

    Raises NotImplementedError for models with functions that have no rule, with the layer's name.
    """
    watched = [] if through is None else [through[0]]
    walk = _Pass(model, image, target, layer, unit, watched, _Rules(rule, rules, epsilon, gamma, alpha))
    if through is None:
        return walk.relevance(walk.explained, walk.starts, [walk.x])[0].numpy()
    hidden = walk.watched[through[0]]
    handed = walk.relevance(walk.explained, walk.starts, [hidden, walk.x])[0]
    return walk.relevance(hidden, handed * _only(hidden, *through), [walk.x])[0].numpy()


def channel_relevance(
    model: Module, image: Images, target: Target | None = None, layer: str | None = None, **options: Any
) -> np.ndarray:
    """(N,C): how much of the score's relevance each channel of `layer` holds, summed over its places.

    options: rule, rules, epsilon, gamma and alpha, as of `lrp`, which shows a channel's part with through=(layer, c).
    """
    if layer is None:
        raise ValueError("channel_relevance: give layer, the name of the layer whose channels are asked for")
    named = {"rule": "composite", "rules": None, "epsilon": 1e-6, "gamma": 0.25, "alpha": 2.0} | options
    walk = _Pass(model, image, target, None, None, [layer], _Rules(**named))
    hidden = walk.watched[layer]
    found = walk.relevance(walk.explained, walk.starts, [hidden, walk.x])[0].numpy()
    return found.sum(tuple(range(2, found.ndim)))


def _only(hidden: Tensor, layer: str, channels: Any) -> Tensor:
    """(1,C,...): 1 for the channels of `hidden` (N,C,...) that are asked for."""
    mask = np.zeros((1, hidden.shape[1], *(1,) * (hidden.ndim - 2)), hidden.dtype)
    mask[0, channel_numbers("lrp: through", layer, channels, hidden.shape[1])] = 1
    return mg.from_numpy(mask).to(hidden.device)


class _Pass:
    """One forward pass: x, what is `explained` (the outputs that make the score), the score shared out among these
    (`starts`), and the outputs of the layers `watched`, by name."""

    def __init__(
        self, model: Module, image: Images, target: Any, layer: str | None, unit: Any, watched: Any, rules: Any
    ) -> None:
        self.x, self.calls, self.rules = as_image(model, image), Calls(), rules
        objective = explained(target, layer, unit)
        with observed(model, self.calls):
            found = looked_at(model, self.x, [*watched, *objective.layers])
        self.explained, self.starts = _shared_out(model, objective, found)
        self.watched = {one: found[one] for one in watched}
        functions = functions_before(self.explained)
        for one, hidden in self.watched.items():
            if hidden.function not in functions:
                raise ValueError(f"lrp: layer {one!r} does not lead to what is explained, {objective.name}")
        rules.meet(model, self.x, functions, self.calls.seen)

    def relevance(self, outputs: Any, starts: Any, inputs: Any) -> Any:
        """The relevance of the inputs, all of it; with x among them, for what else leads to x takes its share."""
        self.rules.divider = divider = Divider(self.rules.epsilon, len(self.x))
        try:
            found = mg.grad(outputs, inputs, grad_outputs=starts, rules=self.rules.table())
        except NoRule as error:
            raise NotImplementedError(f"lrp: {error}{self.where(error.function)}") from None
        if divider.function is not None:
            remark(
                f"lrp: the outputs{self.where(divider.function)} are as small as {divider.size:.3g}, of whose "
                f"relevance epsilon, {divider.epsilon:g}, keeps up to {divider.kept:.0%}: make epsilon less than "
                f"{divider.size / 1000:.1g}",
                stacklevel=3,
            )
        return found

    def where(self, function: Function) -> str:
        """In which layer it is, in words."""
        inside = (n for n, _, ins, outs in self.calls.seen if function in functions_between(ins, outs))
        return next((f" in layer {n!r}" for n in inside if n), "")


def _shared_out(model: Module, objective: Any, found: Any) -> tuple:
    """(outputs, what each contributes to the score), lists of Tensors, of those that have a part in it."""
    outputs, leaves = [], []
    with mg.enable_grad():
        y = objective.score(model, {name: _cut(one, outputs, leaves) for name, one in found.items()}).sum()
    taken = {id(one) for f in functions_before([y]) for one in f.inputs}
    used = [i for i, leaf in enumerate(leaves) if id(leaf) in taken]
    gradients = mg.grad(y, [leaves[i] for i in used])
    return [outputs[i] for i in used], [g * outputs[i].detach() for i, g in zip(used, gradients, strict=True)]


def _cut(output: Any, outputs: Any, leaves: Any) -> Any:
    """`output` with a leaf for each Tensor in it, noted in both lists: the score's derivative by each is its own, what
    lies between them is for the rules."""
    if isinstance(output, dict):
        return {key: _cut(part, outputs, leaves) for key, part in output.items()}
    if isinstance(output, list | tuple):
        return type(output)([_cut(part, outputs, leaves) for part in output])
    outputs.append(output)
    leaves.append(mg.Tensor(output.detach(), requires_grad=True))
    return leaves[-1]


def _input_bounds(model: Module, x: Tensor) -> tuple:
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

    def __init__(self, model: Module) -> None:
        layers = dict(model.named_modules()) | {"": model}
        self.names = {
            name
            for name, one in layers.items()
            if any(isinstance(t, mg.Tensor) and t.ndim > 1 for t in vars(one).values())
        }
        self.input, self.done = None, False

    def asks_for(self, name: str) -> bool:
        return name in self.names

    def leaves(self, name: str, module: Module, x: Any, y: Any) -> None:
        if name in self.names:
            self.input, self.done = several(x)[0], True


class _Rules:
    """The rules of one call: {Function class: rule} in `table()`."""

    def __init__(self, rule: str, rules: Any, epsilon: float, gamma: float, alpha: float) -> None:
        if rule not in (*RULES, *COMPOSITES):
            raise ValueError(f"lrp: rule must be one of {', '.join((*RULES, *COMPOSITES))}, got {rule!r}")
        for name, one in (rules or {}).items():
            if one not in (*RULES, "box"):
                raise ValueError(
                    f"lrp: rules: of layer {name!r} must be one of {', '.join((*RULES, 'box'))}, got {one!r}"
                )
        require("lrp", epsilon=epsilon, gamma=gamma, alpha=alpha)
        if "alpha2" in rule and alpha != 2:
            raise ValueError(f"lrp: {rule} has alpha 2, got {alpha}: for another give rule and rules by layer")
        self.rule, self.rules, self.epsilon, self.gamma, self.alpha = rule, rules or {}, epsilon, gamma, alpha

    def meet(self, model: Module, x: Any, functions: Any, calls: Any) -> None:
        """Learn the graph: its functions, and the calls of modules that made them."""
        self.taken = Counter(id(x) for f in functions for x in f.inputs)  # by how many functions
        self.folded = {}  # a layer's Function: scale and shift of the batch normalisation that is a part of it
        self.biases = {}  # a transposed convolution: the bias that is added to it
        weighted = [f for f in functions if isinstance(f, WEIGHTED)]
        self.named = {f: rule for name, rule in self.by_depth() for f in self.inside(name, weighted, calls)}
        if any(self.rule_of(f) == "box" for f in weighted):
            self.bounds = _input_bounds(model, x)

    def by_depth(self) -> list:
        """The rules by layer, those of outer layers first."""
        return sorted(self.rules.items(), key=lambda pair: pair[0].count("."))

    def inside(self, name: str, weighted: Any, calls: Any) -> dict:
        made = [functions_between(before, after) for one, _, before, after in calls if one == name]
        found = [f for f in weighted if any(f in functions for functions in made)]
        if not found:
            raise ValueError(f"lrp: rules: no convolution or linear layer that leads to the score is in {name!r}")
        if self.rules[name] == "box" and any(has_weights_before(f.inputs[0]) for f in found):
            raise ValueError(f"lrp: rules: box is for the first layer with weights alone, {name!r} is not")
        return found

    def rule_of(self, f: Function) -> str:
        """The rule of a convolution or linear layer."""
        if f in self.named:
            return self.named[f]
        first, others, linear = COMPOSITES.get(self.rule, (self.rule,) * 3)
        if isinstance(f, F.Linear):
            return linear
        return others if has_weights_before(f.inputs[0]) else first

    def table(self) -> dict:
        weighted = {F.Conv2d: self.convolution, F.Conv2dInputGrad: self.transposed, F.Linear: self.linear}
        weighted |= {normalize.ChannelAffine: self.batch_norm}
        averages = dict.fromkeys((F.AvgPool2d, F.MatMul, reduce.Sum, broadcast.SumTo), self.in_proportion)
        sums = dict.fromkeys((elementwise.Add, elementwise.Sub), self.sum)
        kinds = (F.Activation, Clamp, elementwise.Neg)
        unmoved = dict.fromkeys(kinds, lambda f, r: r) | {F.PReLU: lambda f, r: (r, None)}
        chosen = dict.fromkeys((Maximum, Minimum, Where), choice)
        moves = (shape.Reshape, shape.Permute, shape.Cat, index.GetItem, shape.Pad, shape.Flip, shape.Roll)
        moves += (broadcast.BroadcastTo, convert.Cast, ToDevice)
        moves += (F.MaxPool2d, index.TakeAlongAxis, reduce.Max, reduce.Min)
        moved = dict.fromkeys(moves, lambda f, r: f.vjp(r))
        products = {elementwise.Mul: product, elementwise.Div: quotient, mg.Function: refuse}
        return {**weighted, **averages, **sums, **unmoved, **chosen, **moved, **products}

    def convolution(self, conv: Function, r: Tensor) -> tuple:
        x = conv.inputs[0]
        share = Shares(
            lambda x, w: F.Conv2d(*conv.geometry)(x, w),
            lambda s, w: F.Conv2dInputGrad(x.shape[2:], *conv.geometry)(s, w),
            *self.operands(conv),
            partial(self.divider.divide, conv),
        )
        return self.by_name(self.rule_of(conv), share, r), *nothing(conv)

    def transposed(self, conv: Function, r: Tensor) -> tuple:
        h, w = conv.inputs[0].shape[2:]
        share = Shares(
            lambda x, w: F.Conv2dInputGrad(conv.input_hw, *conv.geometry)(x, w),
            lambda s, weight: F.Conv2d(*conv.geometry)(s, weight)[:, :, :h, :w],  # cut: output_padding is nobody's
            *self.operands(conv),
            partial(self.divider.divide, conv),
        )
        return self.by_name(self.rule_of(conv), share, r), *nothing(conv)

    def linear(self, linear: Function, r: Tensor) -> tuple:
        share = Shares(F.linear, F.matmul, *self.operands(linear), partial(self.divider.divide, linear))
        return self.by_name(self.rule_of(linear), share, r), *nothing(linear)

    def operands(self, f: Function) -> tuple:
        """(x, w, bias or 0, z = x w + bias) of a convolution or linear layer, cut from the graph, batch normalisation
        folded in."""
        if any(f.needs_input_grad[1:]):
            raise NoRule(f, f"the weights of {type(f).__name__} depend on the image: it has no rule")
        x, w, *bias = (one.detach() for one in f.inputs)
        across = (1, -1, 1, 1) if isinstance(f, F.Conv2d) else (-1,)  # a vector (C,) against the outputs
        bias, z = bias[0].reshape(*across) if bias else 0.0, f.output.detach()
        if f in self.biases:
            bias, z = self.biases[f], z + self.biases[f]
        if f in self.folded:
            scale, shift = (one.detach() for one in self.folded[f])
            w = w * scale.reshape(-1, *(1,) * (w.ndim - 1))
            scale, shift = scale.reshape(*across), shift.reshape(*across)
            bias, z = bias * scale + shift, z * scale + shift
        return x, w, bias, z

    def batch_norm(self, affine: Function, r: Tensor) -> tuple:
        """x * scale + shift for each channel."""
        x, scale, shift = affine.inputs
        if any(affine.needs_input_grad[1:]):
            refuse(affine, r)
        alone = self.taken[id(x)] == 1
        if alone and (isinstance(x.function, F.Conv2d) or (isinstance(x.function, F.Linear) and x.ndim == 2)):
            self.folded[x.function] = scale, shift
        elif has_weights_before(x):
            s = self.divider.divide(affine, r, affine.output.detach())
            r = x.detach() * normalize.channel_scale(s, scale.detach())
        return r, None, None

    def sum(self, f: Function, r: Tensor) -> Any:
        """Two maps share in proportion; of a map and a constant, the map takes all, but for a layer's own bias."""
        if sum(f.needs_input_grad) > 1:
            return self.in_proportion(f, r)
        x, other = f.inputs
        if isinstance(f, elementwise.Add) and isinstance(x.function, F.Conv2dInputGrad) and self.taken[id(x)] == 1:
            self.biases[x.function] = other.detach()
        return constant(f, r)

    def in_proportion(self, f: Function, r: Tensor) -> Any:
        """Sums, averages and products with a constant matrix (pooling to odd sizes): the epsilon rule."""
        needed = f.needs_input_grad
        if isinstance(f, F.MatMul) and sum(needed) > 1:
            refuse(f, r)
        gs = f.vjp(self.divider.divide(f, r, f.output.detach()))
        gs = gs if isinstance(gs, tuple) else (gs,)
        return tuple(x.detach() * g if n else None for x, g, n in zip(f.inputs, gs, needed, strict=True))

    def by_name(self, rule: str, share: Any, r: Tensor) -> Any:
        if rule == "epsilon":
            return share.all(r)
        if rule == "gamma":
            return share.gamma(r, self.gamma)
        if rule == "box":
            return share.box(r, *self.bounds)
        if rule in ("flat", "wsquare"):
            return share.flat(r) if rule == "flat" else share.w_square(r)
        return share.alpha_beta(r, 1.0 if rule == "zplus" else self.alpha)
