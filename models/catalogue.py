"""Models by name: where their weights lie on this machine, and where the official files come from."""

import os
from dataclasses import dataclass
from pathlib import Path

from .architectures import FEATURES, NAMES
from .hdf5 import WeightsError
from .weights_file import read


@dataclass(frozen=True)
class Source:
    """An official weights file; `digest` is its `algorithm` checksum, or the beginning of it."""

    url: str
    algorithm: str
    digest: str
    preprocessing: str

    @property
    def filename(self):
        return self.url.rpartition("/")[2]


SOURCES = {
    "vgg16": Source(
        "https://github.com/fchollet/deep-learning-models/releases/download/v0.1/"
        "vgg16_weights_tf_dim_ordering_tf_kernels.h5",
        "md5",
        "64373286793e3c8b2b4e3219cbf3544b",
        "caffe",
    ),
    "vgg19": Source("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "sha256", "dcbb9e9d", "torchvision"),
    "squeezenet1_1": Source(
        "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", "sha256", "b8a52dc0", "torchvision"
    ),
}
EMBEDDED = Path(__file__).parent / "weights"


def home():
    """The folder of this user's downloaded and converted weights: $MINIGRAD_HOME, or minigrad in the user's cache."""
    if os.environ.get("MINIGRAD_HOME"):
        return Path(os.environ["MINIGRAD_HOME"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minigrad"


def load(name_or_path, device="cpu"):
    """A trained model, in evaluation mode: "minivgg" (embedded), "vgg16", "vgg19", "squeezenet1_1" (downloaded once),
    or the path of a weights file.

    device: "cpu", "cuda", "cuda:1" or "auto". The first layer, "preprocess", takes RGB images (N, 3, H, W) in [0, 1];
    scores come out, before the softmax. The model has `.labels`, `.input_size`, `.provenance` and `.name`.
    Raises WeightsError if there are no such weights, saying how to get them, or if the file cannot be used.
    """
    model = read(_find(name_or_path))
    return model if device == "cpu" else model.to(device)


def _find(name):
    if not isinstance(name, str) or name not in NAMES:
        if isinstance(name, str) and not Path(name).exists() and os.sep not in name and not Path(name).suffix:
            if name.removesuffix(FEATURES) in NAMES:
                raise WeightsError(f"{name!r} has no weights of its own: load {name.removesuffix(FEATURES)!r}")
            raise WeightsError(f"there is no model {name!r}: give a weights file or one of {', '.join(NAMES)}")
        return Path(name)
    found = whereabouts(name)
    if found is None:
        raise WeightsError(how_to_get(name))
    return found


def whereabouts(name):
    """The path of the weights of a model of this name, or None."""
    paths = (folder / f"{name}.h5" for folder in (EMBEDDED, home()))
    return next((path for path in paths if path.is_file()), None)


def how_to_get(name):
    """One sentence on where the weights of `name` come from."""
    there = home() / f"{name}.h5"
    if name in SOURCES:
        return f"the weights of {name} are not here ({there}): run `python -m models download {name}` to fetch them"
    return (
        f"there are no weights for {name} ({there}): convert a file of them with `python -m models convert SOURCE "
        f"--arch {name} --out {there}`"
    )
