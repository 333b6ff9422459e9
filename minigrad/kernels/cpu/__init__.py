"""Fast kernels for NumPy's arrays: the functions of plain.py, for all threads and for the caches of a CPU."""

from minigrad.kernels.cpu.channel import (
    channel_affine,
    channel_affine2,
    channel_moments,
    channel_sum,
    channel_sum_product,
    concatenate,
)
from minigrad.kernels.cpu.choose import (
    conv2d,
    conv2d_input_grad,
    conv2d_relu,
    conv2d_relu_max_pool,
    conv2d_weight_grad,
)
from minigrad.kernels.cpu.elementwise import add, relu, relu_grad
from minigrad.kernels.cpu.pooling import max_pool, window_gather, window_scatter, window_spread, window_sum
from minigrad.kernels.cpu.product import matmul
from minigrad.kernels.cpu.sums import axis_sum

__all__ = [
    "add",
    "axis_sum",
    "channel_affine",
    "channel_affine2",
    "channel_moments",
    "channel_sum",
    "channel_sum_product",
    "concatenate",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_relu",
    "conv2d_relu_max_pool",
    "conv2d_weight_grad",
    "matmul",
    "max_pool",
    "relu",
    "relu_grad",
    "window_gather",
    "window_scatter",
    "window_spread",
    "window_sum",
]
