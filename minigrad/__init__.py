"""minigrad: a small autograd engine on NumPy or CuPy, made to be read.

>>> import minigrad as mg
>>> x = mg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> mg.grad((x * x).sum(), x)
tensor([2., 4., 6.], dtype=float32)
"""

from .tensor import Tensor, as_tensor, from_dlpack, from_numpy  # isort: skip  (first: the rest builds on it)
from . import functional, nn, optim
from .autograd import Function, backward, detect_anomaly, grad, no_grad
from .config import show_config
from .gradcheck import check_gradients
from .graph import graph
from .kernels.conv import conv_algorithm
from .kernels.cuda.product import tf32
from .profile import profile
from .serialization import load, save

__all__ = [
    "Function",
    "Tensor",
    "as_tensor",
    "backward",
    "check_gradients",
    "conv_algorithm",
    "detect_anomaly",
    "from_dlpack",
    "from_numpy",
    "functional",
    "grad",
    "graph",
    "load",
    "nn",
    "no_grad",
    "optim",
    "profile",
    "save",
    "show_config",
    "tf32",
]
