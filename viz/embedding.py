"""Where a layer puts images: its activations as points, in two dimensions, and how well classes lie apart.

Letters: N images, F features, K components.
"""

import math
from typing import Any

import numpy as np

from minigrad.nn import Module

from .inside import activation_maps
from .progress import tqdm
from .random import stream
from .ranges import require
from .target import as_images
from .typing import Images


def features(model: Module, image: Images, layer: str, batch_size: int = 32, progress: bool = False) -> np.ndarray:
    """(N,F): the activations of `layer` for images (N,3,H,W), flattened."""
    image, found = as_images(model, image), []
    for start in tqdm(range(0, len(image) or 1, batch_size), "features", disable=not progress):
        batch = activation_maps(model, image[start : start + batch_size], layer)
        found.append(batch.reshape(len(batch), math.prod(batch.shape[1:])).copy())
    return np.concatenate(found)


def pca(x: Any, components: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal components of points x (N,F) (Pearson 1901), by singular value decomposition.

    The sign of a component, which is arbitrary, is fixed: its entry of largest size is positive.

    Returns (points (N,K), components (K,F) of length 1, shares (K,) of the variance that they explain).
    """
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or not 1 <= components <= min(x.shape):
        raise ValueError(f"pca: {components} components need x (N,F) with N and F no smaller, got shape {x.shape}")
    centred = x - x.mean(0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(vt[:components]).argmax(1)
    sign = np.sign(vt[np.arange(components), largest])
    total = (s**2).sum()
    shares = s[:components] ** 2 / total if total else np.zeros(components)
    return u[:, :components] * s[:components] * sign, vt[:components] * sign[:, None], shares


def tsne(x: Any, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """(N,2): t-SNE of points x (N,F) (van der Maaten and Hinton 2008), scikit-learn's, from at most 50 principal axes.

    Distances between far clusters and their sizes mean nothing. perplexity: about how many neighbours count; at most
    (N - 1) / 3. Raises ImportError without scikit-learn.
    """
    require("tsne", perplexity=perplexity)
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise ImportError("t-SNE needs scikit-learn: pip install 'minigrad[embed]'") from None
    if len(x) < 5:
        raise ValueError(f"tsne: needs at least 5 points, got {len(x)}")
    points = pca(x, min(50, *np.shape(x)))[0]
    perplexity = min(perplexity, (len(x) - 1) / 3)
    drawn = int(stream(seed, "tsne").integers(1 << 32))
    return TSNE(2, perplexity=perplexity, init="pca", random_state=drawn).fit_transform(points.astype(np.float32))


def silhouette(x: Any, label: Any) -> float:
    """How well classes lie apart, from -1 to 1: the mean over points of (b - a) / max(a, b) (Rousseeuw 1987).

    a: the mean distance to the other points of the own class; b: to those of the nearest other class. A point alone in
    its class counts 0. x: (N,F). label: (N,), at least two classes and fewer than points.
    """
    x, (names, label) = np.asarray(x, np.float64), np.unique(label, return_inverse=True)
    if not 2 <= len(names) < len(x):
        raise ValueError(f"silhouette: needs 2 to {len(x) - 1} classes among {len(x)} points, got {len(names)}")
    square = (x**2).sum(1)
    distance = np.sqrt(np.maximum(square[:, None] + square - 2 * x @ x.T, 0))
    np.fill_diagonal(distance, 0)
    member = np.eye(len(names))[label]
    count = member.sum(0)
    sums = distance @ member  # (N, classes)
    rows = np.arange(len(x))
    own = np.maximum(count[label] - 1, 1)
    a = sums[rows, label] / own
    others = sums / count
    others[rows, label] = np.inf
    b = others.min(1)
    s = np.where(count[label] > 1, (b - a) / np.maximum(np.maximum(a, b), 1e-300), 0)
    return float(s.mean())
