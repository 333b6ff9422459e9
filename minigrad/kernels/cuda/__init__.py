"""Kernels for a GPU: CUDA source that CuPy compiles, and cuBLAS for products of matrices.

`launch` starts kernels, `product` multiplies matrices, `choose` picks the convolution; each other file is a family of
plain.py's functions, or an algorithm. What is neither float32 nor float64 they decline. In every kernel a thread writes
its own part of the output and nobody else's: there is no shared memory, no barrier and no atomic addition, so results
are the same in every run, and a loop over the threads on a CPU gives them too, which is how they are tested where there
is no GPU.
"""

from minigrad.kernels.cuda.channel import (
    channel_affine,
    channel_affine2,
    channel_moments,
    channel_sum,
    channel_sum_product,
    channel_sums,
    concatenate,
)
from minigrad.kernels.cuda.choose import (
    conv2d,
    conv2d_input_grad,
    conv2d_relu,
    conv2d_relu_max_pool,
    conv2d_weight_grad,
)
from minigrad.kernels.cuda.elementwise import add, relu, relu_grad
from minigrad.kernels.cuda.pooling import max_pool, window_gather, window_scatter, window_spread, window_sum
from minigrad.kernels.cuda.product import matmul

__all__ = [
    "add",
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
    "relu_grad",
    "window_gather",
    "window_scatter",
    "window_spread",
    "window_sum",
]
