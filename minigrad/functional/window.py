"""Arguments that are whole numbers, and those of convolutions and pools, which go over an image by windows."""

import operator
from typing import Any

import numpy as np

HW = tuple[int, int]  # of rows and columns


def ints(function: str, argument: str, value: Any) -> tuple[int, ...]:
    """An int or a sequence of ints, Python's or NumPy's, as a tuple of Python's."""
    several = isinstance(value, list | tuple) or np.ndim(value)
    try:
        return tuple(operator.index(n) for n in (value if several else (value,)))
    except TypeError:
        raise TypeError(f"{function}: {argument} must be an int or a sequence of ints, got {value!r}") from None


def pair(function: str, argument: str, value: Any, least: int) -> tuple[int, int]:
    """An int or a pair of ints as a pair of ints >= least."""
    if type(value) is int and value >= least:  # as most are: this is asked several times in every convolution
        return value, value
    values = (value, value) if isinstance(value, int | np.integer) else value
    values = tuple(values) if isinstance(values, list | tuple) else ()
    values = values * 2 if len(values) == 1 else values
    if len(values) != 2 or not all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values):
        raise TypeError(f"{function}: {argument} must be an int or a pair of ints, got {value!r}")
    if min(values) < least:
        raise ValueError(f"{function}: {argument} must be at least {least}, got {value!r}")
    return tuple(int(v) for v in values)


def sides(function: str, padding: Any, hw: HW, kernel: HW, stride: HW, dilation: HW = (1, 1)) -> tuple:
    """((top, bottom), (left, right)): how many rows and columns `padding` adds to an image of height and width `hw`.

    padding: an int or a pair (rows, columns), on both sides; four ints (left, right, top, bottom), as F.pad takes them;
    "valid": none; "same": the output has the size of the image, which needs stride 1; "same_upper", "same_lower": it
    has ceil(size / stride), as TensorFlow and ONNX pad. What is odd goes to the end, for "same_lower" to the beginning.
    """
    if not isinstance(padding, str):
        if isinstance(padding, list | tuple) and len(padding) == 4:
            left, right, top, bottom = (pair(function, "padding", n, 0)[0] for n in padding)
            return (top, bottom), (left, right)
        return tuple((p, p) for p in pair(function, "padding", padding, 0))
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding not in ("same", "same_upper", "same_lower"):
        known = '"valid", "same", "same_upper", "same_lower", an int, a pair or four ints'
        raise ValueError(f"{function}: padding must be {known}, got {padding!r}")
    if padding == "same" and stride != (1, 1):
        raise ValueError(f'{function}: padding "same" needs stride 1, got {stride}; "same_upper" takes any')
    around = []
    for n, k, s, d in zip(hw, kernel, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        around.append((total // 2, total - total // 2))
    return tuple((after, before) if padding == "same_lower" else (before, after) for before, after in around)


def fitted(hw: HW, kernel: HW, stride: HW, dilation: HW, around: Any, ceil_mode: bool) -> tuple:
    """`around` with as much at the end as the last windows need: less where rows are left over, more in ceil_mode, in
    which windows may stick out that start inside the image or before it."""
    found = []
    for n, k, s, d, (before, after) in zip(hw, kernel, stride, dilation, around, strict=True):
        span = d * (k - 1) + 1
        out = (n + before + after - span + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (out - 1) * s >= n + before:
            out -= 1
        found.append((before, (out - 1) * s + span - n - before) if out > 0 else (before, after))
    return tuple(found)


def counts(hw: HW, kernel: HW, stride: HW, dilation: HW, around: Any, counted: Any) -> np.ndarray:
    """int64 (OH, OW), NumPy: how many elements lie in each window of an image with `around` added to it. `counted`: how
    much of that, at each side, counts."""
    found = []
    sizes = zip(hw, kernel, stride, dilation, around, counted, strict=True)
    for n, k, s, d, (before, after), (first, last) in sizes:
        out = (n + before + after - d * (k - 1) - 1) // s + 1
        places = np.arange(out)[:, None] * s - before + np.arange(k) * d
        found.append(((places >= -first) & (places < n + last)).sum(1))
    return np.multiply.outer(*found)
