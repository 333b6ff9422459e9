"""minigrad: a small autograd engine on NumPy or CuPy, made to be read.

>>> import minigrad as mg
>>> x = mg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> mg.grad((x * x).sum(), x)
tensor([2., 4., 6.], dtype=float32)
"""

import importlib
from typing import Any

from . import deprecated, functional, nn, optim  # noqa: F401
from .autograd import Function, backward, detect_anomaly, enable_grad, grad, no_grad
from .interchange import from_dlpack
from .kernels import conv_algorithm, tf32, use_kernels
from .serialization import load, save
from .tensor import Tensor, as_tensor, from_numpy

__version__ = "0.2.0.dev0"

__all__ = [
    "Function",
    "Tensor",
    "as_tensor",
    "backward",
    "check_gradients",
    "conv_algorithm",
    "detect_anomaly",
    "enable_grad",
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
    "use_kernels",
]

# Tools are looked at, never needed to compute: imported when they are asked for.
_TOOLS = {"check_gradients": "gradcheck", "graph": "graph", "profile": "profile", "show_config": "config"}


def __getattr__(name: str) -> Any:
    if name in _TOOLS:
        return getattr(importlib.import_module(f".tools.{_TOOLS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
