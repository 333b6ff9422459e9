"""VGG16 as DeZero does it: another autograd engine on NumPy, with a VGG16 of its own, given the same weights.

DeZero cannot freeze weights: its backward pass computes their gradients too. Its VGG16 has no preprocessing layer.
"""

from pathlib import Path

import numpy as np

vars(np)["int"] = int  # DeZero 0.0.13 asks for numpy.int when imported; NumPy took that name away in 1.24

import dezero  # noqa: E402
from dezero.models import VGG16  # noqa: E402

import models  # noqa: E402


def steps(case, folder):
    """{"dezero": step}; its input is what minigrad's preprocessing makes of the image."""
    ours = models.load(Path(folder) / f"{case.network}.h5")
    images = np.random.default_rng(0).random((case.batch, 3, case.size, case.size), dtype=np.float32)
    images = np.ascontiguousarray(ours["preprocess"](ours_tensor(images)).numpy())
    network = VGG16(pretrained=False)
    for name, array in ours.state_dict().items():
        layer, _, kind = name.partition(".")
        link = getattr(network, layer)
        if kind == "bias":
            link.b.data = array
        else:
            link.W.data = array if array.ndim == 4 else np.ascontiguousarray(array.T)

    def forward():
        with dezero.no_grad(), dezero.test_mode():
            return network(images).data

    def gradient():
        x = dezero.Variable(images)
        network.cleargrads()
        with dezero.test_mode():
            score = dezero.functions.sum(network(x)[:, 0])
        score.backward()
        return x.grad.data[:, ::-1] * 255  # by the image: through preprocessing, which turns RGB to BGR and scales

    return {"dezero": forward if case.kind == "forward" else gradient}


def ours_tensor(array):
    import minigrad

    return minigrad.Tensor(array)
