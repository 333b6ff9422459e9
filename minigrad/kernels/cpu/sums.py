"""Sums over axes whose error does not grow with their length, in whatever order the axes lie in memory.

NumPy adds pairwise along the axis that is innermost in memory. Along any other it adds row to row, so that the last of
a million rows meets a sum a million times its size and loses as many digits. Here rows are added in groups, and then
the groups' sums in groups: a product of matrices with ones, which costs no more than reading the rows.
"""

from math import prod

import numpy as np

_GROUP = 32  # rows added one to the other: the error is about that of NumPy's pairwise sums, which adds 16


def axis_sum(x, axes):
    """x (floating point) summed over the axes, which stay as length 1; in x's dtype."""
    if not x.size or prod(x.shape[axis] for axis in axes) <= _GROUP:
        return x.sum(axis=axes, keepdims=True, dtype=x.dtype)
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    memory = np.ascontiguousarray(x.transpose(order))
    while summed := [place for place, axis in enumerate(order) if axis in axes]:
        first = last = summed[-1]
        while first - 1 in summed:
            first -= 1
        before, after = memory.shape[:first], memory.shape[last + 1 :]
        memory = add_rows(memory.reshape(prod(before), -1, prod(after))).reshape(before + after)
        del order[first : last + 1]
    kept = memory.transpose(np.argsort(order))
    return kept.reshape([1 if axis in axes else n for axis, n in enumerate(x.shape)])


def add_rows(x):
    """(A,B): the sum over R of x (A,R,B), contiguous within its last axis."""
    if x.shape[2] == 1:
        return x[:, :, 0].sum(1, keepdims=True)
    while x.shape[1] > _GROUP:
        whole = x.shape[1] - x.shape[1] % _GROUP
        groups = x[:, :whole].reshape(len(x), -1, _GROUP, x.shape[2])
        x = np.concatenate([np.ones(_GROUP, x.dtype) @ groups, x[:, whole:]], 1)
    return x.sum(1)
