"""Every function of minigrad.functional with many combinations of its arguments.

A case is a call, written once for minigrad and PyTorch alike: `M` is the module it is looked up in. Golden values
(tests/golden) are what PyTorch gave for these calls; the gradient checks run over the same list.
"""

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import minigrad as mg


class Input(NamedTuple):
    """What an argument looks like; `array()` makes it."""

    kind: str  # normal, large, positive, probabilities, steps (equal values), or the int below which indices lie
    shape: tuple
    constant: bool = False  # no gradient by it is asked for

    def array(self):
        rng = np.random.default_rng(zlib.crc32(repr((self.kind, self.shape)).encode()))
        if self.kind == "normal":
            return np.round(rng.normal(size=self.shape), 4)
        if self.kind == "large":
            return np.round(rng.normal(0, 20, size=self.shape), 2)
        if self.kind == "positive":
            return np.round(rng.uniform(0.2, 3.0, size=self.shape), 4)
        if self.kind == "steps":
            return rng.integers(-1, 2, size=self.shape).astype(np.float64)
        if self.kind == "probabilities":
            raw = rng.uniform(0.05, 1.0, size=self.shape)
            return np.round(raw / raw.sum(axis=1, keepdims=True), 4)
        return rng.integers(0, int(self.kind), size=self.shape)


@dataclass
class Case:
    """`call(M, *tensors)`. smooth: differentiable at these inputs, so that differences can check it."""

    name: str
    call: object
    inputs: tuple
    smooth: bool = True


CASES = []


def case(name, call, *inputs, smooth=True):
    CASES.append(Case(name, call, tuple(inputs), smooth))


def normal(*shape):
    return Input("normal", shape)


def large(*shape):
    return Input("large", shape)


def positive(*shape):
    return Input("positive", shape)


def below(high, *shape):
    return Input(str(high), shape)


def steps(*shape):
    return Input("steps", shape)


def probabilities(*shape):
    return Input("probabilities", shape)


def constant(argument):
    return argument._replace(constant=True)


def each(name, function, *inputs, smooth=True, **choices):
    """One case for each entry of the keyword lists, zipped: each(..., stride=[1, 2], padding=[0, 1]) makes two."""
    for values in zip(*choices.values(), strict=True):
        options = dict(zip(choices, values, strict=True))
        label = ", ".join(f"{k}={v}" for k, v in options.items())
        case(f"{name}({label})", lambda M, *xs, o=options: getattr(M, function)(*xs, **o), *inputs, smooth=smooth)


# ---- arithmetic and functions of one tensor --------------------------------------------------------------------------

a, b = normal(3, 4), positive(3, 4)
for operator in ("add", "sub", "mul", "div", "maximum", "minimum"):
    case(operator, lambda M, x, y, f=operator: getattr(M, f)(x, y), a, positive(3, 4))
    case(f"{operator} broadcast", lambda M, x, y, f=operator: getattr(M, f)(x, y), normal(3, 1, 4), positive(2, 1))
case("operators with numbers", lambda M, x: 2 - (1 + x * 3) / 4 + 5 / x - (-x) ** 3, positive(3, 4))
case("pow of tensors", lambda M, x, y: x**y, positive(3, 4), b)
case("pow by a number", lambda M, x: x**2.5, positive(3, 4))
case("pow by 2 of negatives", lambda M, x: x**2, a)
case("number to the power", lambda M, x: 2.0**x, a)
case("pow at 0", lambda M, x: M.pow(x, 2.0) + M.pow(x, 1.0) + M.pow(x, 0.0), steps(3, 4), smooth=False)
for name in ("exp", "sin", "cos", "tanh", "sigmoid", "abs", "relu", "square"):
    case(name, lambda M, x, f=name: getattr(M, f)(x), a)
for name in ("log", "sqrt"):
    case(name, lambda M, x, f=name: getattr(M, f)(x), positive(3, 4))
SMOOTH_ACTIVATIONS = ("relu6", "silu", "hardswish", "hardsigmoid", "gelu", "elu", "softplus", "mish", "erf")
for name in SMOOTH_ACTIVATIONS:
    case(name, lambda M, x, f=name: getattr(M, f)(x), normal(3, 5))
    case(f"{name} far out", lambda M, x, f=name: getattr(M, f)(x), large(3, 5), smooth=False)
for name in ("relu6", "hardswish", "hardsigmoid", "elu"):
    kink = {"relu6": 6.0, "elu": 1.0}.get(name, 3.0)
    case(f"{name} at its kinks", lambda M, x, f=name, k=kink: getattr(M, f)(x * k), steps(3, 4), smooth=False)
each("gelu", "gelu", normal(3, 5), approximate=["none", "tanh"])
each("elu", "elu", steps(3, 4), alpha=[1.5], smooth=False)
each("elu", "elu", a, alpha=[0.3])
each("softplus", "softplus", normal(3, 5), beta=[2.0, 0.5], threshold=[1.0, 20.0])
case("prelu", lambda M, x, w: M.prelu(x, w), normal(2, 3, 2, 2), normal(3))
case("prelu of rows, one number", lambda M, x, w: M.prelu(x, w), normal(3, 4), normal(1))
case("prelu at 0", lambda M, x, w: M.prelu(x, w), steps(3, 4), normal(4), smooth=False)
for name in ("abs", "relu", "leaky_relu", "sign"):
    case(f"{name} with zeros", lambda M, x, f=name: getattr(M, f)(x), steps(3, 4), smooth=False)
each("leaky_relu", "leaky_relu", a, negative_slope=[0.01, 0.3, 1.5])
each("clamp", "clamp", a, min=[-0.5, None, -0.3], max=[0.5, 0.2, None])
each("clamp at its bounds", "clamp", steps(3, 4), smooth=False, min=[-1, 0], max=[1, 0])
case("clamp by tensors", lambda M, x, lo, hi: M.clamp(x, lo, hi), a, normal(4), positive(3, 1))
case("maximum with ties", lambda M, x, y: M.maximum(x, y) + 2 * M.minimum(x, y), steps(3, 4), steps(4), smooth=False)
case("where", lambda M, x, y: M.where(x > 0.1, x * 2, y), normal(3, 4), normal(4))
for name in ("eq", "ne", "lt", "le", "gt", "ge"):
    case(name, lambda M, x, y, f=name: getattr(M, f)(x, y), steps(3, 4), steps(4), smooth=False)

# ---- reductions ------------------------------------------------------------------------------------------------------

for name in ("sum", "mean", "max", "min"):
    case(name, lambda M, x, f=name: getattr(M, f)(x, (0, 1, 2)), normal(2, 3, 4))
    case(f"{name} axis", lambda M, x, f=name: getattr(M, f)(x, 1), normal(2, 3, 4))
    case(f"{name} axes kept", lambda M, x, f=name: getattr(M, f)(x, (0, -1), True), normal(2, 3, 4))
    case(f"{name} of equal values", lambda M, x, f=name: getattr(M, f)(x, 1), steps(3, 4), smooth=False)
case("sum over all but channels", lambda M, x: M.sum(x, (0, 2, 3)), normal(2, 3, 4, 2))
case("var", lambda M, x: M.var(x, 1), normal(2, 3, 4))
case("argmax", lambda M, x: M.argmax(x, 1), steps(3, 4), smooth=False)
case("argmin flat", lambda M, x: M.argmin(x), steps(3, 4), smooth=False)
case("logsumexp", lambda M, x: M.logsumexp(x, (0, 2), keepdim=True), normal(2, 3, 4))

# ---- shapes ----------------------------------------------------------------------------------------------------------

x3 = normal(2, 3, 4)
case("reshape", lambda M, x: M.reshape(x, (4, -1)), x3)
case("permute", lambda M, x: M.permute(x, (2, 0, 1)), x3)
case("transpose", lambda M, x: M.transpose(x, 0, -1), x3)
each("flatten", "flatten", x3, start_dim=[0, 1, 0], end_dim=[-1, 2, 1])
case("squeeze unsqueeze", lambda M, x: M.unsqueeze(M.squeeze(x, 1), -1), normal(2, 1, 3))
case("flip", lambda M, x: M.flip(x, (0, 2)), x3)
each("roll", "roll", x3, shifts=[2, (1, -1)], dims=[None, (0, 2)])
case("broadcast_to", lambda M, x: M.broadcast_to(x, (2, 3, 4)), normal(3, 1))
case("cat", lambda M, x, y: M.cat([x, y, x], 1), x3, normal(2, 1, 4))
case("cat of channels", lambda M, x, y: M.cat([x, y], 1), normal(1, 2, 2, 3), normal(1, 1, 2, 3))
case("stack", lambda M, x, y: M.stack([x, y], -1), a, b)
INDICES = {
    "integer": 1,
    "slices": (slice(None), slice(0, 3, 2)),
    "ellipsis and None": (Ellipsis, None, 1),
    "array": np.array([1, 0, 1]),
    "list": [1, 1],
    "two arrays": (np.array([0, 1, 1]), np.array([2, 0, 2])),
    "arrays apart": (np.array([0, 1, 1]), slice(None), np.array([3, 0, 3])),
    "mask": np.array([[True, False, True], [False, False, True]]),
    "mask and slice": (slice(None), np.array([True, False, True])),
}


def beside(x, index):
    """`index` with its arrays as ours, on the device of x; torch takes NumPy's."""
    if isinstance(index, tuple):
        return tuple(beside(x, i) for i in index)
    return mg.from_numpy(index) if isinstance(x, mg.Tensor) and isinstance(index, np.ndarray) else index


for name, index in INDICES.items():
    case(f"index by {name}", lambda M, x, i=index: x[beside(x, i)], x3)
x4 = normal(1, 2, 4, 5)
for mode in ("constant", "reflect", "replicate", "circular"):
    each(
        f"pad {mode}",
        "pad",
        x4,
        pad=[(1, 2), (1, 2, 2, 1), (2, -1, -2, 3)]
        if mode == "constant"
        else [(1, 2, 2, 1), (2, 0, 0, 3), (2, -1, -1, 2)],
        mode=[mode] * 3,
    )
each("pad", "pad", a, pad=[(1, 1, 0, 2)], value=[1.5])

# ---- products --------------------------------------------------------------------------------------------------------

for left, right in (((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((2, 1, 2, 3), (4, 3, 2))):
    case(f"matmul {left} {right}", lambda M, x, y: M.matmul(x, y), normal(*left), normal(*right))
case("linear", lambda M, x, w, b: M.linear(x, w, b), normal(3, 4), normal(2, 4), normal(2))
case("linear of 3-d, no bias", lambda M, x, w: M.linear(x, w), normal(2, 2, 4), normal(3, 4))
case("linear of one vector", lambda M, x, w, b: M.linear(x, w, b), normal(4), normal(3, 4), normal(3))
case("linear with a vector", lambda M, x, w: M.linear(x, w), normal(2, 4), normal(4))

# ---- convolutions ----------------------------------------------------------------------------------------------------

kernel = normal(2, 2, 3, 2)
each(
    "conv2d",
    "conv2d",
    x4,
    kernel,
    normal(2),
    stride=[1, 2, (1, 2), 1, 1, 2, 1],
    padding=[0, 1, (1, 0), "same", "valid", (2, 3), "same"],
    dilation=[1, 1, 1, 1, 1, (1, 2), (1, 3)],
)
case("conv2d without bias, one image", lambda M, x, w: M.conv2d(x, w), normal(2, 4, 5), kernel)
case(
    "conv2d in groups",
    lambda M, x, w, b: M.conv2d(x, w, b, 1, 1, 1, 2),
    normal(2, 4, 3, 3),
    normal(2, 2, 2, 2),
    normal(2),
)
case("conv2d depthwise", lambda M, x, w: M.conv2d(x, w, groups=2, padding=1), x4, normal(4, 1, 3, 3))
case("conv2d 1x1", lambda M, x, w: M.conv2d(x, w, stride=2), x4, normal(3, 2, 1, 1))
case("conv2d 3x3", lambda M, x, w, b: M.conv2d(x, w, b, padding=1), normal(2, 2, 5, 6), normal(3, 2, 3, 3), normal(3))
each(
    "conv_transpose2d",
    "conv_transpose2d",
    normal(1, 2, 3, 3),
    kernel,
    normal(2),
    stride=[1, 2, (3, 2), 1],
    padding=[0, 1, (1, 0), 1],
    output_padding=[0, 1, (2, 1), 1],
    dilation=[1, 1, 1, 2],
)
case(
    "conv_transpose2d in groups",
    lambda M, x, w, b: M.conv_transpose2d(x, w, b, stride=2, groups=2),
    normal(4, 2, 2),
    normal(4, 1, 3, 2),
    normal(2),
)

# ---- pooling ---------------------------------------------------------------------------------------------------------

x5 = normal(1, 2, 5, 6)
each(
    "max_pool2d",
    "max_pool2d",
    x5,
    kernel_size=[2, 3, (2, 3), 3, 2, 3, 2],
    stride=[None, 2, (1, 2), 2, 3, 1, 2],
    padding=[0, 1, 1, 1, 0, 1, 0],
    dilation=[1, 1, 1, 1, 1, 2, (2, 1)],
    ceil_mode=[False, False, False, True, True, True, True],
)
case("max_pool2d with ties", lambda M, x: M.max_pool2d(x, 3, 2, 1), steps(1, 2, 5, 6), smooth=False)
case("max_pool2d of one image", lambda M, x: M.max_pool2d(x, 2), normal(2, 4, 5))
case("max_pool2d indices", lambda M, x: M.max_pool2d(x, 3, 2, 1, return_indices=True)[1], x5, smooth=False)


def unpooled(M, x, **options):
    y, indices = M.max_pool2d(x, 2, return_indices=True)
    return M.max_unpool2d(y * y, indices, 2, **options)


case("max_unpool2d", unpooled, x5)
case("max_unpool2d to a size", lambda M, x: unpooled(M, x, output_size=(5, 7)), x5)
each(
    "avg_pool2d",
    "avg_pool2d",
    x5,
    kernel_size=[2, 3, (2, 3), 3, 3, 3],
    stride=[None, 2, (1, 2), 2, 2, 2],
    padding=[0, 1, 1, 1, 1, (0, 1)],
    ceil_mode=[False, False, False, True, True, True],
    count_include_pad=[True, True, False, True, False, True],
    divisor_override=[None, None, None, None, None, 5],
)
each("adaptive_avg_pool2d", "adaptive_avg_pool2d", x5, output_size=[1, (5, 3), (2, 4), (None, 2), 7])
for size in (1, (5, 3), (2, 4), (None, 2)):
    case(f"adaptive_max_pool2d {size}", lambda M, x, s=size: M.adaptive_max_pool2d(x, s), x5)
case("adaptive_max_pool2d with ties", lambda M, x: M.adaptive_max_pool2d(x, 2), steps(1, 2, 5, 6), smooth=False)

# ---- normalisation ---------------------------------------------------------------------------------------------------

xn, vector = normal(3, 2, 2, 3), normal(2)
case("batch_norm training", lambda M, x, w, b: M.batch_norm(x, None, None, w, b, True, eps=1e-3), xn, vector, normal(2))
case("batch_norm training, plain", lambda M, x: M.batch_norm(x, None, None, training=True), xn)
case("batch_norm of rows", lambda M, x, w: M.batch_norm(x, None, None, w, None, True), normal(5, 2), vector)
case(
    "batch_norm",
    lambda M, x, m, v, w, b: M.batch_norm(x, m, v, w, b),
    xn,
    constant(vector),
    constant(positive(2)),
    vector,
    normal(2),
)
each(
    "local_response_norm",
    "local_response_norm",
    normal(1, 5, 2, 2),
    size=[5, 2, 3],
    alpha=[1e-4, 0.5, 0.3],
    beta=[0.75, 0.5, 1.0],
    k=[1.0, 2.0, 0.7],
)
case("group_norm", lambda M, x, w, b: M.group_norm(x, 2, w, b, eps=1e-3), normal(2, 4, 2, 3), normal(4), positive(4))
case("group_norm of rows, plain", lambda M, x: M.group_norm(x, 1), normal(3, 4))
case(
    "instance_norm",
    lambda M, x, w, b: M.instance_norm(x, weight=w, bias=b, eps=1e-3),
    normal(2, 2, 2, 3),
    normal(2),
    positive(2),
)
case("layer_norm", lambda M, x, w, b: M.layer_norm(x, (2, 3), w, b), normal(3, 2, 2, 3), normal(2, 3), positive(2, 3))
case("layer_norm of rows, plain", lambda M, x: M.layer_norm(x, (4,)), normal(3, 4))
case(
    "channel_layer_norm",
    lambda M, x, w, b: M.channel_layer_norm(x, w, b),
    normal(2, 4, 2, 3),
    normal(4),
    positive(4),
)
case("dropout in evaluation", lambda M, x: M.dropout(x, 0.3, False), a)

# ---- softmax and losses ----------------------------------------------------------------------------------------------

for name in ("softmax", "log_softmax"):
    each(name, name, x3, dim=[0, 1, -1])
    case(f"{name} of large scores", lambda M, x, f=name: getattr(M, f)(x * 1000, 1), a, smooth=False)
scores, targets, weights = normal(4, 5), below(5, 4), positive(5)
maps, labels = normal(2, 3, 2, 2), below(3, 2, 2, 2)
for reduction in ("mean", "sum", "none"):
    for smoothing in (0.0, 0.2):
        options = {"reduction": reduction, "label_smoothing": smoothing}
        label = f"{reduction}, smoothing {smoothing}"
        case(f"cross_entropy {label}", lambda M, x, t, o=options: M.cross_entropy(x, t, **o), scores, targets)
        case(
            f"cross_entropy weighted {label}",
            lambda M, x, t, w, o=options: M.cross_entropy(x, t, weight=w, ignore_index=2, **o),
            scores,
            targets,
            constant(weights),
        )
        case(
            f"cross_entropy of maps {label}",
            lambda M, x, t, o=options: M.cross_entropy(x, t, ignore_index=1, **o),
            maps,
            labels,
        )
        case(
            f"cross_entropy by probabilities {label}",
            lambda M, x, t, w, o=options: M.cross_entropy(x, t, weight=w, **o),
            maps,
            probabilities(2, 3, 2, 2),
            positive(3),
        )
        case(
            f"cross_entropy of one sample {label}",
            lambda M, x, t, o=options: M.cross_entropy(x, t, **o),
            normal(5),
            below(5),
        )
    case(
        f"nll_loss {reduction}",
        lambda M, x, t, w, r=reduction: M.nll_loss(x, t, weight=w, reduction=r),
        scores,
        targets,
        constant(weights),
    )
    case(
        f"nll_loss of maps {reduction}",
        lambda M, x, t, r=reduction: M.nll_loss(x, t, ignore_index=0, reduction=r),
        maps,
        labels,
    )
    each(f"mse_loss {reduction}", "mse_loss", a, b, reduction=[reduction])
    each(f"l1_loss {reduction}", "l1_loss", a, b, reduction=[reduction])

# ---- resampling ------------------------------------------------------------------------------------------------------

for mode in ("nearest", "bilinear"):
    each("interpolate", "interpolate", x4, size=[(3, 8), 2], mode=[mode] * 2)
    each("interpolate", "interpolate", x4, scale_factor=[2, (0.6, 1.3)], mode=[mode] * 2)
each("interpolate", "interpolate", x4, size=[(3, 8), (1, 2)], mode=["bilinear"] * 2, align_corners=[True] * 2)
each(
    "interpolate",
    "interpolate",
    x4,
    scale_factor=[1.7, 0.6],
    mode=["bilinear"] * 2,
    align_corners=[True, False],
    recompute_scale_factor=[True] * 2,
)
each(
    "interpolate",
    "interpolate",
    x4,
    scale_factor=[1.1, (2.1, 1.05), (1.05, 2)],
    mode=["nearest", "nearest", "bilinear"],
)
each(
    "interpolate",
    "interpolate",
    x4,
    size=[(3, 8), None, None],
    scale_factor=[None, 2, (0.6, 1.3)],
    mode=["nearest-exact"] * 3,
)
each("pixel_shuffle", "pixel_shuffle", normal(2, 8, 2, 3), upscale_factor=[2, 1])
case("pixel_shuffle of one image", lambda M, x: M.pixel_shuffle(x, 3), normal(9, 2, 2))
each("unfold", "unfold", x4, kernel_size=[2, (3, 2)], dilation=[1, (1, 2)], padding=[0, (1, 2)], stride=[2, 1])
case("unfold of one image", lambda M, x: M.unfold(x, 2), normal(2, 3, 3))
case("fold", lambda M, x: M.fold(x, (4, 5), (3, 2), (1, 2), (1, 0), (2, 1)), normal(1, 6, 6))
