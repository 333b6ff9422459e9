"""GrabCut (Rother, Kolmogorov and Blake 2004): object and background, told apart by colour and by edges.

Each pixel n has a label a_n, 1 for object, and a colour z_n. With a Gaussian mixture of K components for each label,

    E = sum_n D(a_n, z_n) + gamma * sum over neighbours m, n with a_m != a_n of exp(-beta |z_m - z_n|^2) / dist(m, n)
    D(a, z) = min over k of  -log pi(a,k) + 1/2 log det S(a,k) + 1/2 (z - mu(a,k))' S(a,k)^-1 (z - mu(a,k))

is made small by turns: which component each pixel belongs to, the components' parameters, and then all labels at once
by a minimum cut (Boykov and Jolly 2001). No turn raises E. Neighbours are the eight around a pixel; beta is 1 / (2 *
mean |z_m - z_n|^2).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .random import pixels_key, stream
from .typing import Callback, Images

SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # to four neighbours; the other four are the same pairs seen from there
VARIANCE = 1.0  # of a grey level, added to every component's: flat colours have none of their own


def grabcut(
    image: Images,
    foreground: np.ndarray,
    background: np.ndarray,
    components: int = 5,
    iterations: int = 5,
    gamma: float = 50.0,
    seed: int = 0,
    callback: Callback | None = None,
) -> np.ndarray:
    """The object in an image: (H,W) bool.

    image: (C,H,W) in [0, 1]. foreground, background: masks (H,W) of pixels that are certain and stay so; the colours of
    the object are first learnt from `foreground`, or where that is empty from all that is not `background`.
    components: K. iterations: at most; it ends once no label changes. gamma: the price of a border. seed: of the first
    components (k-means). callback(iteration, mask, energy): after each; True stops.
    """
    z = np.asarray(image, np.float64).reshape(len(image), -1).T * 255
    shape = image.shape[1:]
    sure, out = np.asarray(foreground, bool), np.asarray(background, bool)
    if sure.shape != shape or out.shape != shape:
        raise ValueError(f"grabcut: foreground {sure.shape} and background {out.shape} must have the image's {shape}")
    if (sure & out).any():
        raise ValueError("grabcut: a pixel is in both foreground and background")
    mask = sure if sure.any() else ~out
    if not mask.any() or not out.any():
        raise ValueError("grabcut: needs at least one pixel of background and one that may be object")

    rng = stream(seed, "grabcut", pixels_key(image))
    links = _links(z, shape, gamma)
    known = np.where(sure, 1, np.where(out, -1, 0)).ravel()
    learnt = {1: mask.ravel(), 0: out.ravel()}
    part = {a: _k_means(z[learnt[a]], components, rng) for a in (1, 0)}
    for iteration in range(iterations):
        mixture = {a: _fit(z[learnt[a]], part[a]) for a in (1, 0)}
        cost = {a: _costs(z, mixture[a]) for a in (1, 0)}  # (P,K)
        data = {a: cost[a].min(1) for a in (1, 0)}
        label = minimum_cut(data[0] - data[1], known, links)
        energy = np.where(label, data[1], data[0]).sum() + _border(label, links)
        same = iteration > 0 and (label == learnt[1]).all()
        learnt = {1: label, 0: ~label}
        if callback and callback(iteration, label.reshape(shape), energy) or same or not 0 < label.sum() < len(label):
            break
        part = {a: cost[a][learnt[a]].argmin(1) for a in (1, 0)}
    return learnt[1].reshape(shape)


def told_apart(
    image: Images, foreground: np.ndarray, background: np.ndarray, components: int = 5, seed: int = 0
) -> float:
    """How well colour alone tells the two seeds of `grabcut` apart: from about 1/2, not at all, to 1.

    The mean of the shares of `foreground` (or where that is empty, of all that is not `background`) and of `background`
    whose pixels cost less as what they are. Where both are of one thing, such as a face that fills the picture, GrabCut
    outlines a part of it that nobody would.
    """
    z = np.asarray(image, np.float64).reshape(len(image), -1).T * 255
    rng = stream(seed, "grabcut", pixels_key(image))
    here, there = np.ravel(foreground if np.any(foreground) else ~background), np.ravel(background)
    inside, outside = (_costs(z, _fit(z[own], _k_means(z[own], components, rng))).min(1) for own in (here, there))
    return float(((inside < outside)[here].mean() + (outside < inside)[there].mean()) / 2)


# ---- colours ---------------------------------------------------------------------------------------------------------


def _k_means(z: np.ndarray, components: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) the component that each colour (n,3) starts in."""
    from scipy.cluster.vq import kmeans2

    count = min(components, len(np.unique(z, axis=0)))
    return kmeans2(z, count, minit="++", rng=rng, missing="warn")[1]


def _fit(z: np.ndarray, part: np.ndarray) -> list:
    """[(weight, mean, inverse covariance, log determinant)] of the components that have any of the colours z (n,3)."""
    found = []
    for k in np.unique(part):
        own = z[part == k]
        mean = own.mean(0)
        covariance = (own - mean).T @ (own - mean) / len(own) + VARIANCE * np.eye(z.shape[1])
        found.append((len(own) / len(z), mean, np.linalg.inv(covariance), np.linalg.slogdet(covariance)[1]))
    return found


def _costs(z: np.ndarray, mixture: Any) -> np.ndarray:
    """(n,K): D of each colour in each component."""
    costs = []
    for weight, mean, inverse, log_determinant in mixture:
        d = z - mean
        costs.append(-np.log(weight) + 0.5 * log_determinant + 0.5 * np.einsum("ni,ij,nj->n", d, inverse, d))
    return np.stack(costs, axis=1)


# ---- borders and the cut ---------------------------------------------------------------------------------------------


def _links(z: np.ndarray, shape: Sequence[int], gamma: float) -> tuple:
    """(m, n, price): pairs of neighbouring pixels, as indices, and what it costs to give them different labels."""
    index = np.arange(len(z)).reshape(shape)
    height, width = shape
    pairs = []
    for down, right in SHIFTS:
        first = index[: height - down, max(-right, 0) : width - max(right, 0)]
        second = index[down:, max(right, 0) : width + min(right, 0)]
        pairs.append((first.ravel(), second.ravel(), np.full(first.size, np.hypot(down, right))))
    m, n, distance = (np.concatenate(part) for part in zip(*pairs, strict=True))
    contrast = ((z[m] - z[n]) ** 2).sum(1)
    beta = 1 / max(2 * contrast.mean(), 1e-12)
    return m, n, gamma * np.exp(-beta * contrast) / distance


def _border(label: np.ndarray, links: tuple) -> float:
    m, n, price = links
    return price[label[m] != label[n]].sum()


def minimum_cut(gain: np.ndarray, known: np.ndarray, links: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """The labels (P,) bool that minimise -sum of gain over label 1, plus the price of every link between two labels.

    gain: (P,). known: (P,) 1 or -1 where the label must be 1 or 0, else 0. links: (m, n, price). By scipy's maximum
    flow in whole numbers, of 1/100 where they fit. A gain beyond all a pixel's links together decides its label alone,
    so larger ones are cut to that.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    m, n, price = links
    count = len(gain)
    most = np.bincount(m, price, count) + np.bincount(n, price, count) + 1.0
    gain = np.where(known == 0, np.clip(gain, -most, most), known * most)
    pixel, source, sink = np.arange(count), np.full(count, count), np.full(count, count + 1)
    tail = np.concatenate([m, n, source, pixel])
    head = np.concatenate([n, m, pixel, sink])
    capacity = np.concatenate([price, price, np.maximum(gain, 0), np.maximum(-gain, 0)])
    scale = min(100.0, (2**31 - 1 - 8 * count) / max(np.abs(gain).sum(), 1.0))
    whole = np.rint(capacity * scale).astype(np.int32)
    used = whole > 0
    graph = csr_array((whole[used], (tail[used], head[used])), shape=(count + 2, count + 2))
    graph.indices, graph.indptr = graph.indices.astype(np.int32), graph.indptr.astype(np.int32)
    left = graph - maximum_flow(graph, count, count + 1).flow
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    label = np.zeros(count + 2, bool)
    label[breadth_first_order(left, count, return_predecessors=False)] = True
    return label[:count]
