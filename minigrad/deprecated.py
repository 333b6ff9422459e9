"""Old public names, which work for one version and warn with the new one. docs/changes.md lists them."""

import importlib
import importlib.abc
import importlib.util
import sys
import types
import warnings
from typing import Any

MODULES = {  # old -> new
    "minigrad.backend": "minigrad.device",
    "minigrad.config": "minigrad.tools.config",
    "minigrad.cost": "minigrad.tools.cost",
    "minigrad.gradcheck": "minigrad.tools.gradcheck",
    "minigrad.graph": "minigrad.tools.graph",
    "minigrad.graph_layout": "minigrad.tools.graph_layout",
    "minigrad.kernels.conv": "minigrad.kernels",
    "minigrad.profile": "minigrad.tools.profile",
    "minigrad.summary": "minigrad.tools.summary",
}


def warn(old: str, new: str) -> None:
    """Say that `old` is now `new`, at the line that used it."""
    warnings.warn(f"{old} is now {new}; the old name goes with the next version", DeprecationWarning, stacklevel=3)


class _Moved(types.ModuleType):
    """A module under its old name. `mg.graph` and `mg.profile`, which share theirs with one, can still be called."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        new = MODULES[self.__name__]
        warn(f"{self.__name__}.{name}", f"{new}.{name}")
        return getattr(importlib.import_module(new), name)

    def __call__(self, *arguments, **named):
        new = importlib.import_module(MODULES[self.__name__])
        return getattr(new, self.__name__.rpartition(".")[2])(*arguments, **named)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name in MODULES else None

    def create_module(self, spec):
        return _Moved(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.append(_Finder())


def functions(functional: Any) -> dict[str, Any]:
    """{old name: (function, what to write now)} of minigrad.functional."""
    F = functional
    return {
        "conv2d_relu": (lambda *a, **k: F.relu(F.conv2d(*a, **k)), "relu(conv2d(...))"),
        "conv2d_relu_max_pool": (
            lambda *a, **k: F.max_pool2d(F.relu(F.conv2d(*a, **k)), 2),
            "max_pool2d(relu(conv2d(...)), 2)",
        ),
        "batch_norm_relu": (lambda *a, **k: F.relu(F.batch_norm(*a, **k)), "relu(batch_norm(...))"),
        "cat_relu": (lambda *a, **k: F.relu(F.cat(*a, **k)), "relu(cat(...))"),
        "to_device": (lambda x, device: F.shape.as_tensor(x).to(device), "x.to(device)"),
    }
