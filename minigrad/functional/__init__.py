"""Differentiable functions, with torch.nn.functional's names and arguments (torch's own for the array functions)."""

# ruff: noqa: F401, I001  (in order: what comes later builds on it)
import sys

from .convert import cast, ones_like, zeros_like
from .broadcast import broadcast_to, sum_to
from .choice import clamp, eq, ge, gt, le, logical_and, logical_not, logical_or, lt, maximum, minimum, ne, where
from .elementwise import abs, add, cos, div, exp, log, mul, neg, pow, sign, sin, sqrt, square, sub
from .index import getitem
from .shape import cat, flatten, flip, pad, permute, reshape, roll, squeeze, stack, transpose, unsqueeze
from .activation import Activation, ELU, GELU, LeakyReLU, PReLU, ReLU, ReLU6, SiLU
from .activation import elu, erf, gelu, hardsigmoid, hardswish, leaky_relu, mish, prelu, relu, relu6, sigmoid, silu
from .activation import softplus, tanh
from .reduce import argmax, argmin, max, mean, min, sum, var
from .linalg import Linear, MatMul, linear, matmul
from .conv import Conv2d, Conv2dInputGrad, Conv2dWeightGrad, conv2d, conv_transpose2d
from .pool import AvgPool2d, MaxPool2d, adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d, max_unpool2d
from .normalize import BatchNorm, batch_norm, dropout, local_response_norm
from .window import pair
from .instance import channel_layer_norm, group_norm, instance_norm, layer_norm
from .loss import cross_entropy, l1_loss, log_softmax, logsumexp, mse_loss, nll_loss, softmax
from .resample import fold, interpolate, pixel_shuffle, unfold
from typing import Any


def __getattr__(name: str) -> Any:
    from .. import deprecated

    old = deprecated.functions(sys.modules[__name__])
    if name not in old:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function, new = old[name]
    deprecated.warn(f"functional.{name}", new)
    return function
