"""minigrad: a small autograd engine on NumPy or CuPy, made to be read.

    import minigrad as mg
    from minigrad import functional as F, nn

    x = mg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    mg.grad((x * x).sum(), x)  # tensor([2., 4., 6.])
"""

from .tensor import Tensor, as_tensor, from_numpy  # isort: skip  (first: the rest builds on it)
from . import functional, nn, optim
from .autograd import Function, backward, detect_anomaly, grad, no_grad
from .kernels.conv import conv_algorithm

__all__ = [
    "Function",
    "Tensor",
    "as_tensor",
    "backward",
    "conv_algorithm",
    "detect_anomaly",
    "from_numpy",
    "functional",
    "grad",
    "nn",
    "no_grad",
    "optim",
]
