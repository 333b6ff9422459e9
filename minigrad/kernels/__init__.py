"""The door: all that functions and networks know of arithmetic. Arrays in, arrays out, no autograd.

Every `_door` below is to a function of plain.py, which says what it computes, on any array. Fast modules offer
functions of the same names and arguments for arrays of their kind: `cpu` for NumPy's, `cuda` for CuPy's. A call asks
the fast module first. One that lacks the function, or declines its arguments by returning NotImplemented, leaves the
call to plain.

    with mg.use_kernels("plain"):    everything by the textbook, in this thread

Also here: `whole_pass`, which keeps the threads over a pass, what shares work out to them, and `output_hw` and
`flat_indices`, geometry that needs no fast form. Nobody outside this folder imports what is behind the door. Arrays are
(N, C, H, W) by shape and may have any strides; what fast kernels return is channels-last in memory, that is (N, H, W,
C) seen transposed.
"""

# ruff: noqa: F401

import functools

import numpy as np

from minigrad.device import array_module
from minigrad.kernels import cpu, plain
from minigrad.kernels.cpu.threads import blocks, cgroup_quota, one_thread, parallel, thread_count, whole_pass
from minigrad.kernels.modes import conv_algorithm, current_algorithm, current_kernels, tf32, tf32_allowed, use_kernels
from minigrad.kernels.plain import flat_indices, output_hw

_fast = {np: cpu}  # array module -> its fast kernels


def _fast_kernels(array):
    """The fast module for arrays like this one; None where there is none."""
    if type(array) is np.ndarray:
        return cpu
    module = array_module(array)
    if module not in _fast:
        _fast[module] = _cuda_for(module)
    return _fast[module]


def _cuda_for(module):
    """`cuda` where the array module compiles CUDA's kernels, as CuPy does."""
    if not hasattr(module, "RawKernel"):
        return None
    from minigrad.kernels import cuda

    return cuda


def _door(way):
    """The function that asks a fast module first, for `way` of plain.py."""
    name = way.__name__

    @functools.wraps(way)
    def asked(first, *others, **named):
        if current_kernels() == "auto":
            fast = getattr(_fast_kernels(first[0] if isinstance(first, tuple) else first), name, None)
            if fast is not None and (found := fast(first, *others, **named)) is not NotImplemented:
                return found
        return way(first, *others, **named)

    return asked


# convolution and its two gradients; and, where no graph is recorded, with what follows it
conv2d = _door(plain.conv2d)
conv2d_input_grad = _door(plain.conv2d_input_grad)
conv2d_weight_grad = _door(plain.conv2d_weight_grad)
conv2d_relu = _door(plain.conv2d_relu)
conv2d_relu_max_pool = _door(plain.conv2d_relu_max_pool)

# pools and their ways back
max_pool = _door(plain.max_pool)
window_scatter = _door(plain.window_scatter)
window_gather = _door(plain.window_gather)
window_sum = _door(plain.window_sum)
window_spread = _door(plain.window_spread)

# sums over any axes; channels
axis_sum = _door(plain.axis_sum)
channel_sum = _door(plain.channel_sum)
channel_sum_product = _door(plain.channel_sum_product)
channel_sums = _door(plain.channel_sums)
channel_moments = _door(plain.channel_moments)
channel_affine = _door(plain.channel_affine)
channel_affine2 = _door(plain.channel_affine2)
concatenate = _door(plain.concatenate)

# elements and matrices
add = _door(plain.add)
relu = _door(plain.relu)
relu_grad = _door(plain.relu_grad)
relu6_grad = _door(plain.relu6_grad)
where = _door(plain.where)
matmul = _door(plain.matmul)
