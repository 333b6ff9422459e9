"""The reference frameworks: what they are called, which version is here, and importing them.

torchattacks, grad-cam and zennit declare torchvision, which has no build for CPUs on every package index, quantus
another build of OpenCV, saliency and adversarial-robustness-toolbox much that is not used here, so the Makefile
installs them without what they declare. grad-cam and zennit also import torchvision, for the preparation of pictures,
for detectors and for its networks: where there is none, empty modules of its name stand in while they are imported, and
any use of them raises.
"""

import importlib
import os
import sys
import warnings
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

# {name: (module, distribution)}
PACKAGES = {
    "torch": ("torch", "torch"),
    "captum": ("captum.attr", "captum"),
    "grad-cam": ("pytorch_grad_cam", "grad-cam"),
    "torchattacks": ("torchattacks", "torchattacks"),
    "foolbox": ("foolbox", "foolbox"),
    "zennit": ("zennit", "zennit"),
    "quantus": ("quantus", "quantus"),
    "saliency": ("saliency.core", "saliency"),
    "art": ("art.attacks.evasion", "adversarial-robustness-toolbox"),
    "onnxruntime": ("onnxruntime", "onnxruntime"),
    "keras": ("keras", "keras"),
}


class MissingReference(Exception):
    """A reference that cannot be imported; the message says why."""


@cache
def reference(name):
    """The module of the reference `name`. Raises MissingReference if it cannot be imported."""
    module, _ = PACKAGES[name]
    os.environ.setdefault("KERAS_BACKEND", "torch")  # or it takes TensorFlow, which is not here
    try:
        with warnings.catch_warnings(), _stand_in_for_torchvision(), _scripts_last():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except Exception as error:  # whatever a package does when it does not fit the others
        raise MissingReference(f"cannot be imported: {type(error).__name__}: {error}") from error


def label(name):
    """The reference's name and version, or its name alone where it is not installed."""
    try:
        return f"{name} {version(PACKAGES[name][1])}"
    except PackageNotFoundError:
        return name


@contextmanager
def _stand_in_for_torchvision():
    """Inside, `import torchvision` gives modules whose every attribute is a class that cannot be made."""
    if importlib.util.find_spec("torchvision"):
        yield
        return
    inner = ("transforms", "transforms.functional", "models", "models.resnet")
    names = ("torchvision", *(f"torchvision.{name}" for name in inner))
    for name in names:
        sys.modules[name] = _Absent(name)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


@contextmanager
def _scripts_last():
    """Inside, installed packages come before the scripts, of which one is called saliency too."""
    before, scripts = list(sys.path), str(Path(__file__).parents[1])
    sys.path[:] = [place for place in before if place != scripts] + [scripts]
    try:
        yield
    finally:
        sys.path[:] = before


class _Absent(ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def absent(*_, **__):
            raise ImportError(f"{self.__name__}.{name}: torchvision is not installed")

        return absent
