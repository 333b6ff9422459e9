"""How much arithmetic an operation is and how much memory it must move, from its shapes alone.

FLOPs are those of the definition: a multiplication and an addition are two, and so is any other operation on one number
(a comparison, an exponential) one, whatever it costs in cycles. A product that needs K multiplications and K-1
additions for each element counts 2K. Copying and rearranging is no arithmetic. An algorithm that needs fewer
multiplications than the definition (Winograd's, see ../kernels/winograd.py) is still counted by the definition, so that
times can be compared: its rate may then exceed what the machine can multiply.

Bytes are the least that must be moved: each input read once, each result written once (and the winners of a max pool
with it), nothing for a result that is a view of its input. Scratch memory and what stays in a cache are not counted.

Letters: N C H W the input, O OH OW the output, KH KW the kernel, G groups.
"""

from math import prod
from typing import Any

from .. import functional as F
from ..autograd import Function
from ..device import array_module
from ..functional import broadcast, choice, convert, index, loss, normalize, pool, reduce, resample, shape
from ..interchange import ToDevice


def convolution(outputs: int, weight_shape: tuple[int, ...], bias: bool) -> int:
    """2 C/G KH KW for each of `outputs` = N O OH OW elements, and one more for a bias; weight (O, C/G, KH, KW)."""
    return outputs * (2 * prod(weight_shape[1:]) + bias)


def product(outputs: int, inner: int, bias: bool = False) -> int:
    """2K for each element of a product of (..., M, K) by (..., K, N), and one more for a bias."""
    return outputs * (2 * inner + bias)


def pooling(outputs: int, kernel: tuple[int, ...]) -> int:
    """KH KW for each element: comparisons of a maximum; additions and one division of a mean."""
    return outputs * prod(kernel)


def flops(function: Function, arrays: tuple, result: Any) -> int:
    """FLOPs of `function.forward(*arrays)`, which gave `result`. One for each element of the result where no formula
    below says otherwise."""
    for kind in type(function).__mro__:
        if kind in _FORMULAS:
            return int(_FORMULAS[kind](function, arrays, result))
    return int(result.size)


def bytes_moved(function: Function, arrays: tuple, result: Any) -> int:
    """Bytes that `function.forward(*arrays)` had to read and write, at least."""
    if isinstance(function, normalize.ChannelMean | normalize.ChannelVariance):  # they give what is known already
        return 0
    if any(array_module(result).may_share_memory(result, array) for array in arrays):
        return 0
    winner = getattr(function, "winner", None)
    return int(sum(array.nbytes for array in arrays) + result.nbytes + (0 if winner is None else winner.nbytes))


def _of_input(count):
    """`count` for each element of the first input."""
    return lambda function, arrays, result: count * arrays[0].size


_FORMULAS = {
    F.Conv2d: lambda f, a, y: convolution(y.size, a[1].shape, len(a) > 2),
    F.Conv2dInputGrad: lambda f, a, y: convolution(a[0].size, a[1].shape, False),  # as its forward: g has y's shape
    F.Conv2dWeightGrad: lambda f, a, y: convolution(a[1].size, y.shape, False),
    F.MatMul: lambda f, a, y: product(y.size, a[0].shape[-1]),
    F.Linear: lambda f, a, y: product(y.size, a[1].shape[-1], len(a) > 2),
    F.MaxPool2d: lambda f, a, y: pooling(y.size, f.geometry[0]),
    F.AvgPool2d: lambda f, a, y: pooling(y.size, f.geometry[0]),
    pool.AvgPool2dInputGrad: lambda f, a, y: pooling(a[0].size, f.geometry[0]) + a[0].size,  # a division before
    pool.WindowScatter: _of_input(1),
    reduce.Sum: _of_input(1),
    reduce.Max: _of_input(1),
    reduce.Min: _of_input(1),
    broadcast.SumTo: _of_input(1),
    resample.Fold: _of_input(1),
    loss.Softmax: _of_input(5),  # maximum, subtraction, exp, sum, division
    loss.LogSoftmax: _of_input(5),
    loss.LogSumExp: _of_input(4),
    F.BatchNorm: _of_input(6),  # mean; distance, square and sum; scale and shift
    normalize.ChannelAffine: _of_input(2),
    normalize.ChannelAffine2: _of_input(4),
    normalize.ChannelSumProduct: _of_input(2),
    normalize.ChannelSums: _of_input(3),
} | dict.fromkeys(
    (
        *(broadcast.BroadcastTo, shape.Reshape, shape.Permute, shape.Flip, shape.Roll, index.GetItem, index.PutItem),
        *(shape.Cat, shape.Pad, pool.WindowGather, index.PutAlongAxis, index.TakeAlongAxis, resample.Unfold),
        *(convert.Cast, ToDevice, choice.Where, normalize.ChannelMean, normalize.ChannelVariance),
    ),
    _of_input(0),
)
