"""What a network cannot know: whether a photograph is probably of none of its classes.

Photographs of a class make the same channels answer. With s_c the share of channel c in all that the last maps of
convolution hold, a photograph is the vector of the sqrt(s_c), which has length 1; between two photographs its cosine
is the Bhattacharyya coefficient of their shares. Where the nearest mean of a class (class means: Lee et al. 2018,
arXiv:1807.03888) is further away than for PASSING of held-out photographs, the network is said not to know.

A weights file without the means goes by the largest probability (Hendrycks and Gimpel 2017, arXiv:1610.02136), which
catches less.
"""

import warnings
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

import minigrad as mg
from minigrad import Tensor, nn
from minigrad import functional as F

from .model import Model

PASSING = 0.95
EACH = 120  # photographs of a class, or all there are, that its mean is taken from
DECIMALS = 4  # of the means in a weights file: their cosines then have four, too


def threshold(scores: ArrayLike) -> float:
    """The score that PASSING of (N,) held-out photographs reach."""
    return float(np.quantile(np.asarray(scores), 1 - PASSING))


@dataclass(frozen=True)
class Known:
    """What a network's own photographs look like to it: means (K,C), a row of length 1 for each class, of what `shares`
    gives for `layer`, and the cosine with the nearest one that is asked for."""

    layer: str
    means: np.ndarray
    threshold: float

    @classmethod
    def of(cls, layer: str, shares: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> Self:
        """From the `shares` (N,C) of training photographs of classes `labels` (N,), and (M,C) of held-out ones."""
        means = np.stack([shares[labels == k].mean(0) for k in range(labels.max() + 1)])
        means = np.round(means / np.linalg.norm(means, axis=1, keepdims=True), DECIMALS)
        return cls(layer, means, threshold(cls(layer, means, 0.0).cosines(held_out)))

    def cosines(self, shares: np.ndarray) -> np.ndarray:
        """(N,) in [0,1]: how near photographs of `shares` (N,C) are to the nearest class mean."""
        return (shares @ self.means.T).max(1)

    def described(self) -> dict[str, Any]:
        """As JSON, for a weights file; `Known.read` takes it."""
        return asdict(self) | {"means": [[round(float(v), DECIMALS) for v in row] for row in self.means]}

    @classmethod
    def read(cls, described: Any) -> Self:
        """Of what `described` gave. Raises KeyError, TypeError or ValueError for anything else."""
        means = np.array(described["means"], np.float64)
        if means.ndim != 2:
            raise ValueError(f"the class means have shape {means.shape}, expected (K,C)")
        return cls(str(described["layer"]), means, float(described["threshold"]))


def last_maps(model: Model) -> str:
    """The layer before Flatten, whose maps the classifier gets. Raises ValueError where there is none."""
    for (name, _), (_, layer) in pairwise(model.children()):
        if isinstance(layer, nn.Flatten):
            return name
    raise ValueError(f"{model.name} is no chain with a Flatten, before which its last maps would be")


def shares(model: Model, x: Tensor, layer: str) -> Tensor:
    """(N,C), rows of length 1: the square roots of the channels' shares in the maps of `layer`, rectified, of x
    (N,3,H,W); 0 where nothing answers."""
    sums = F.relu(model.activations(x, [layer])[layer]).sum((2, 3))
    return F.sqrt(sums / F.clamp(sums.sum(1, keepdims=True), min=1e-12))


def learn(
    model: Model, images: Any, labels: np.ndarray, members: np.ndarray, held_out: np.ndarray, device: str = "cpu"
) -> Known:
    """The Known of a model that is on `device`: the means of images[members], the threshold of images[held_out].

    images: (N,S,S,3) uint8, of classes labels (N,). Of each class EACH are drawn, by seed 0. Raises ValueError for a
    model without a Flatten.
    """
    from .training import answers  # imported where it is used: `import models` is quick

    layer, side, rng = last_maps(model), model.input_size[0], np.random.default_rng(0)
    drawn = np.concatenate([rng.permutation(members[labels[members] == k])[:EACH] for k in range(labels.max() + 1)])
    seen, new = (
        answers(lambda x: shares(model, x, layer), images, chosen, side, device=device) for chosen in (drawn, held_out)
    )
    return Known.of(layer, seen, labels[drawn], new)


def unknown(model: Model, images: ArrayLike) -> np.ndarray:
    """Which images (N,3,H,W) are probably of none of the model's classes: (N,) bool.

    A model whose weights file holds neither means (`model.known`) nor a threshold of the largest probability
    (`model.provenance["known"]`), as training writes them, says so of none.
    """
    images = np.asarray(images)
    if images.ndim == 2:
        warnings.warn("unknown: give images (N,3,H,W), not their scores", DeprecationWarning, stacklevel=2)
        return _unsure(model, images)
    if model.known is None and "known" not in model.provenance:
        return np.zeros(len(images), bool)
    with mg.no_grad():
        x = mg.from_numpy(images).to(model.named_tensors()[0][1].device)
        if model.known is None:
            return _unsure(model, model(x).numpy())
        return model.known.cosines(shares(model, x, model.known.layer).numpy()) < model.known.threshold


def _unsure(model: Model, scores: np.ndarray) -> np.ndarray:
    """Where the softmax of scores (N,K) is nowhere as large as the model's threshold."""
    scores = scores.astype(np.float64)
    largest = 1 / np.exp(scores - scores.max(1, keepdims=True)).sum(1)
    return largest < model.provenance.get("known", 0.0)
