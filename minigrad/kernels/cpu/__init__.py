"""Fast kernels for NumPy's arrays: the functions of plain.py, for all threads and for the caches of a CPU.

    choose                                   which algorithm a convolution takes
    direct, windows                          convolution as a product of matrices
    winograd, winograd_tiles                 the same with fewer products
    pooling, channel, elementwise, product   the other families of plain.py
    blocking                                 how an output is cut into blocks, and where a tap lies
    threads, workers, memory                 who computes, and in which memory
    tuning                                   sizes and thresholds that speed hangs on: to touch for a machine

A thread writes to its own block alone, and what a sum's order is does not depend on who takes a block. So the same call
gives the same bits in every run, with as many threads. Keep that, and everything else may be changed: plain.py says
what is to come out, and tests/minigrad/kernels compares.
"""

from minigrad.kernels.cpu.channel import (
    channel_affine,
    channel_affine2,
    channel_moments,
    channel_sum,
    channel_sum_product,
    channel_sums,
    concatenate,
)
from minigrad.kernels.cpu.choose import (
    conv2d,
    conv2d_input_grad,
    conv2d_relu,
    conv2d_relu_max_pool,
    conv2d_weight_grad,
)
from minigrad.kernels.cpu.elementwise import add, relu, relu6_grad, relu_grad, where
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
    "channel_sums",
    "concatenate",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_relu",
    "conv2d_relu_max_pool",
    "conv2d_weight_grad",
    "matmul",
    "max_pool",
    "relu",
    "relu6_grad",
    "relu_grad",
    "where",
    "window_gather",
    "window_scatter",
    "window_spread",
    "window_sum",
]
