"""What a network cannot know: whether a photograph is probably of none of its classes.

The largest probability says so, if weakly (Hendrycks and Gimpel 2017, arXiv:1610.02136). Below a threshold the network
is said not to know; it is set on held-out photographs of its classes so that PASSING of them are above it.
"""

import numpy as np
from numpy.typing import ArrayLike

from .model import Model

PASSING = 0.95


def threshold(probabilities: ArrayLike) -> float:
    """The largest probability that `unknown` asks for, from those (N,K) of held-out photographs."""
    return float(np.quantile(np.asarray(probabilities).max(1), 1 - PASSING))


def unknown(model: Model, scores: ArrayLike) -> np.ndarray:
    """Which photographs are probably of none of the model's classes: (N,) bool.

    scores: (N,K), what the model gives for them, before the softmax. A model whose weights file holds no threshold
    (`model.provenance["known"]`, as training writes it) says so of none.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2:
        raise ValueError(f"unknown: scores have shape {scores.shape}, expected (N,K)")
    largest = 1 / np.exp(scores - scores.max(1, keepdims=True)).sum(1)
    return largest < model.provenance.get("known", 0.0)
