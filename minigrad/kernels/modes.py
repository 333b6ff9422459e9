"""What a thread may ask of the kernels: which of them run, by which algorithm they convolve, how they may round."""

import threading
from contextlib import AbstractContextManager, contextmanager

KERNELS = ("auto", "plain")
ALGORITHMS = ("auto", "direct", "winograd")


class _Modes(threading.local):
    kernels = "auto"
    algorithm = "auto"
    tf32 = False


_modes = _Modes()


@contextmanager
def _set(mode, value):
    before = getattr(_modes, mode)
    setattr(_modes, mode, value)
    try:
        yield
    finally:
        setattr(_modes, mode, before)


def _one_of(function, name, names):
    if name not in names:
        raise ValueError(f"{function}: name is {name!r}, expected one of {', '.join(map(repr, names))}")
    return name


def use_kernels(name: str) -> AbstractContextManager[None]:
    """Within `with use_kernels(name):`, this thread computes by these kernels.

    "plain" is the textbook, kernels/plain.py, on any array: to step through, and to compare with. "auto" takes the fast
    ones where there are any, and plain where these lack a function or decline its arguments. Raises ValueError for any
    other name.
    """
    return _set("kernels", _one_of("use_kernels", name, KERNELS))


def current_kernels():
    """The name in force in this thread: "auto" or "plain"."""
    return _modes.kernels


def conv_algorithm(name: str) -> AbstractContextManager[None]:
    """Within `with conv_algorithm(name):`, this thread's fast kernels convolve by that algorithm.

    "auto" chooses by shape and dtype; "direct" is exact to rounding; "winograd" takes Winograd for every convolution it
    can do (3x3, stride 1, dilation 1, one group, float32), however small, and direct for the others. Raises ValueError
    for any other name.
    """
    return _set("algorithm", _one_of("conv_algorithm", name, ALGORITHMS))


def current_algorithm():
    """The name in force in this thread: "auto", "direct" or "winograd"."""
    return _modes.algorithm


def tf32(allow: bool = True) -> AbstractContextManager[None]:
    """Within `with tf32():`, this thread's float32 products on a GPU may round their factors to TF32.

    A sum of K products is then wrong by up to about 2^-10 of the sum of their magnitudes, and as a rule by far less,
    where float32 is within K * 2^-24 of it. Winograd's transforms add to that: of the largest output of one 3x3 layer,
    2.4e-3 with it and 3e-4 with conv_algorithm("direct"), where float32 has 1.4e-6 and 5e-7 (with TF32 emulated, by
    rounding factors). Single pixels of a deep network's gradient can be off by a fifth of the largest one.
    Faster on GPUs of compute capability 8.0 or more, no effect elsewhere. Off unless asked for.
    """
    return _set("tf32", bool(allow))


def tf32_allowed():
    """Whether this thread is within `with tf32():`."""
    return _modes.tf32
