"""Differentiable functions, with torch.nn.functional's names and arguments (torch's own for the array functions)."""

# ruff: noqa: F401, I001  (elementwise first: the others build on it)
from .shape import broadcast_to, cat, flatten, flip, getitem, pad, permute, reshape, roll, squeeze, stack, sum_to
from .shape import transpose, unsqueeze
from .elementwise import abs, add, cast, clamp, cos, div, eq, exp, ge, gt, le, log, logical_and, logical_not, logical_or
from .elementwise import lt, maximum, minimum, mul, ne, neg, ones_like, pow, sigmoid, sign, sin, sqrt, square, sub, tanh
from .elementwise import LeakyReLU, ReLU, leaky_relu, relu, to_device, where, zeros_like
from .reduce import argmax, argmin, max, mean, min, sum, var
from .linalg import MatMul, linear, matmul
from .conv import Conv2d, Conv2dInputGrad, Conv2dWeightGrad, conv2d, conv_transpose2d, pair
from .pool import AvgPool2d, MaxPool2d, adaptive_avg_pool2d, avg_pool2d, max_pool2d, max_unpool2d
from .normalize import BatchNorm, batch_norm, dropout, local_response_norm
from .loss import cross_entropy, l1_loss, log_softmax, logsumexp, mse_loss, nll_loss, softmax
from .resample import fold, interpolate, unfold
