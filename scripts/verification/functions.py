"""Functions and their gradients against torch, on freshly drawn inputs."""

import numpy as np
import torch
from torch.nn import functional

import minigrad as mg
from minigrad import functional as F
from verification.agreement import PRECISIONS, WITHOUT_CONVOLUTION, Check

A, B = (4, 6, 5), (6, 1)
MAPS, PLANES = (2, 8, 13, 15), (1, 3, 9, 11)


class _Torch:
    """torch.nn.functional first, then torch, under the names of minigrad.functional."""

    def __getattr__(self, name):
        return getattr(functional if hasattr(functional, name) else torch, name)

    def var(self, x, axis):
        return torch.var(x, axis, correction=0)

    def max(self, x, axis):
        return torch.amax(x, axis)

    def min(self, x, axis):
        return torch.amin(x, axis)


def listed():
    """(name, call(M, *tensors), shapes or (shape, kind) of the inputs, whether it convolves)."""
    for name in ("add", "sub", "mul", "maximum", "minimum"):
        yield name, lambda M, x, y, f=name: getattr(M, f)(x, y), (A, B), False
    yield "div", lambda M, x, y: M.div(x, y), (A, (B, "positive")), False
    yield "pow", lambda M, x, y: x**y, ((A, "positive"), B), False
    for name in ("exp", "sin", "cos", "tanh", "sigmoid", "abs", "relu", "square"):
        yield name, lambda M, x, f=name: getattr(M, f)(x), (A,), False
    for name in ("log", "sqrt"):
        yield name, lambda M, x, f=name: getattr(M, f)(x), ((A, "positive"),), False
    yield "leaky_relu", lambda M, x: M.leaky_relu(x, 0.1), (A,), False
    yield "clamp", lambda M, x: M.clamp(x, -0.5, 0.7), (A,), False
    yield "where", lambda M, x, y: M.where(x > 0.1, x * y, y), (A, B), False
    for name in ("sum", "mean", "max", "min", "var", "logsumexp"):
        yield name, lambda M, x, f=name: getattr(M, f)(x, (1, 2)), (A,), False
    yield "reshape, permute", lambda M, x: M.permute(M.reshape(x, (6, 4, 5)), (2, 0, 1)), (A,), False
    yield "cat, stack", lambda M, x, y: M.stack([M.cat([x, y], 1)] * 2), (A, (4, 2, 5)), False
    yield "flip, roll", lambda M, x: M.roll(M.flip(x, (0, 2)), 2, 1), (A,), False
    yield "index", lambda M, x: x[1:3, ..., [0, 3, 3]], (A,), False
    for mode in ("constant", "reflect", "replicate", "circular"):
        yield f"pad, {mode}", lambda M, x, m=mode: M.pad(x, (2, 1, 3, 0), mode=m), (PLANES,), False
    yield "matmul", lambda M, x, y: M.matmul(x, y), (A, (5, 7)), False
    yield "linear", lambda M, x, w, b: M.linear(x, w, b), (A, (7, 5), (7,)), False
    yield from convolutions()
    yield from pooling()
    yield from normalisation()
    yield from losses()
    yield from resampling()


def convolutions():
    kernel = (16, 16, 3, 3)
    yield "conv2d 3x3", lambda M, x, w, b: M.conv2d(x, w, b, padding=1), ((2, 16, 29, 31), kernel, (16,)), True
    yield "conv2d 3x3, no padding", lambda M, x, w: M.conv2d(x, w), ((1, 16, 30, 28), kernel), True
    yield (
        "conv2d, strided, dilated",
        lambda M, x, w, b: M.conv2d(x, w, b, (2, 1), (1, 2), (1, 2)),
        (MAPS, (5, 8, 3, 2), (5,)),
        False,
    )
    yield "conv2d, groups", lambda M, x, w: M.conv2d(x, w, padding=1, groups=4), (MAPS, (12, 2, 3, 3)), False
    yield "conv2d 1x1", lambda M, x, w, b: M.conv2d(x, w, b), (MAPS, (5, 8, 1, 1), (5,)), False
    yield (
        "conv_transpose2d",
        lambda M, x, w, b: M.conv_transpose2d(x, w, b, 2, 1, 1),
        (MAPS, (8, 4, 3, 3), (4,)),
        False,
    )


def pooling():
    yield "max_pool2d", lambda M, x: M.max_pool2d(x, 2), (MAPS,), False
    yield "max_pool2d, overlapping", lambda M, x: M.max_pool2d(x, 3, 2, 1, ceil_mode=True), (MAPS,), False
    yield "max_pool2d, ties", lambda M, x: M.max_pool2d(x, 3, 2, 1), ((MAPS, "steps"),), False

    def unpooled(M, x):
        y, where = M.max_pool2d(x, 2, return_indices=True)
        return M.max_unpool2d(y * y, where, 2)

    yield "max_unpool2d", unpooled, ((2, 3, 8, 10),), False
    yield "avg_pool2d", lambda M, x: M.avg_pool2d(x, 3, 2, 1, count_include_pad=False), (MAPS,), False
    yield "adaptive_avg_pool2d", lambda M, x: M.adaptive_avg_pool2d(x, (4, 7)), (MAPS,), False


def normalisation():
    yield (
        "batch_norm, training",
        lambda M, x, w, b: M.batch_norm(x, None, None, w, b, True),
        (MAPS, (8,), (8,)),
        False,
    )
    yield (
        "batch_norm",
        lambda M, x, w, b: M.batch_norm(x, w.detach() * 0 + 0.1, w.detach() * 0 + 1.5, w, b),
        (MAPS, (8,), (8,)),
        False,
    )
    yield "local_response_norm", lambda M, x: M.local_response_norm(x, 5, 0.3, 0.75, 2.0), (MAPS,), False
    for name in ("softmax", "log_softmax"):
        yield name, lambda M, x, f=name: getattr(M, f)(x * 20, 1), (A,), False


def losses():
    for name, options in (("", {}), (", smoothed", {"label_smoothing": 0.2}), (", sum", {"reduction": "sum"})):
        yield (
            f"cross_entropy{name}",
            lambda M, x, t, o=options: M.cross_entropy(x, t, **o),
            ((20, 7), ((20,), "classes")),
            False,
        )
    yield "mse_loss", lambda M, x, y: M.mse_loss(x, y), (A, A), False
    yield "l1_loss", lambda M, x, y: M.l1_loss(x, y), (A, A), False


def resampling():
    for mode, options in (
        ("nearest", {}),
        ("bilinear", {"align_corners": False}),
        ("bilinear", {"align_corners": True}),
    ):
        corners = ", corners aligned" if options.get("align_corners") else ""
        yield (
            f"interpolate, {mode}{corners}",
            lambda M, x, m=mode, o=options: M.interpolate(x, (14, 6), mode=m, **o),
            (PLANES,),
            False,
        )
    yield "unfold", lambda M, x: M.unfold(x, 3, padding=1, stride=2), (PLANES,), False
    yield "fold", lambda M, x: M.fold(x, (9, 11), 3, padding=1, stride=2), ((1, 27, 30),), False


# ---- checks ----------------------------------------------------------------------------------------------------------


def checks(setting):
    """Value and gradients by every input, against torch's; and gradients of gradients of a convolution."""
    for name, call, inputs, convolves in listed():
        shapes = [i if isinstance(i[0], int) else i[0] for i in inputs]
        arrays = [_drawn(setting.rng(f"{name} {k}"), i) for k, i in enumerate(inputs)]
        yield Check(
            *("functions", name, "torch"),
            inputs=" ".join(f"({','.join(map(str, shape))})" for shape in shapes),
            ours=lambda p, c=call, a=arrays: _ours(c, a, p.dtype),
            theirs=lambda c=call, a=arrays: _theirs(c, a),
            precisions=PRECISIONS if convolves else WITHOUT_CONVOLUTION,
        )
    yield second_derivative(setting)


def _drawn(rng, described):
    shape, kind = described if not isinstance(described[0], int) else (described, "normal")
    if kind == "steps":  # many equal values
        return rng.integers(-1, 2, shape).astype(np.float32)
    if kind == "classes":
        return rng.integers(0, 7, shape)
    return (rng.normal(size=shape) if kind == "normal" else rng.uniform(0.3, 3, shape)).astype(np.float32)


def _weight(shape):
    """What the gradients are taken of: the result's sum with these weights."""
    return np.cos(np.arange(np.prod(shape, dtype=int)), dtype=np.float32).reshape(shape)


def _ours(call, arrays, dtype):
    tensors = [
        mg.Tensor(a.astype(dtype), requires_grad=True) if a.dtype.kind == "f" else mg.as_tensor(a) for a in arrays
    ]
    y = call(F, *tensors)
    leaves = [x for x in tensors if x.requires_grad]
    return [y.numpy(), *(g.numpy() for g in mg.grad(y, leaves, mg.Tensor(_weight(y.shape), dtype=y.dtype)))]


def _theirs(call, arrays):
    tensors = [
        torch.tensor(a, dtype=torch.float64, requires_grad=True) if a.dtype.kind == "f" else torch.tensor(a)
        for a in arrays
    ]
    y = call(_Torch(), *tensors)
    leaves = [x for x in tensors if x.requires_grad]
    return [a.detach().numpy() for a in (y, *torch.autograd.grad(y, leaves, torch.tensor(_weight(y.shape)).double()))]


def second_derivative(setting):
    """The gradient, by the weights, of the squared input gradient of a small network."""
    rng = setting.rng("second derivative")
    x, w, v = (rng.normal(size=s).astype(np.float32) for s in ((2, 16, 20, 20), (16, 16, 3, 3), (16, 16, 3, 3)))

    def call(M, x, w, v):
        return M.conv2d(M.tanh(M.conv2d(x, w * 0.1, padding=1)), v, padding=1).sum()

    def ours(precision):
        x_, w_, v_ = (mg.Tensor(a.astype(precision.dtype), requires_grad=True) for a in (x, w, v))
        g = mg.grad(call(F, x_, w_, v_), x_, create_graph=True)
        return [a.numpy() for a in mg.grad(F.square(g).sum(), [w_, v_])]

    def theirs():
        x_, w_, v_ = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, v))
        (g,) = torch.autograd.grad(call(_Torch(), x_, w_, v_), x_, create_graph=True)
        return [a.numpy() for a in torch.autograd.grad(g.square().sum(), [w_, v_])]

    return Check("functions", "second derivative of conv2d", "torch", "(2,16,20,20) (16,16,3,3)", ours, theirs)
