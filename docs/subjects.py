"""What the guide's pictures show: the embedded network, scikit-image's photograph of a cat, patterns rendered here."""

import numpy as np
from skimage import data

import models
import viz


def network():
    """The embedded network, frozen."""
    return models.load("minivgg").eval().requires_grad_(False)


def cat(model=None):
    """(1,3,H,W): the photograph, as the model takes it."""
    return viz.as_images(model, data.cat())


def pattern(kind, side=112, rng=None):
    """(3,side,side): "stripes", "checks", "discs", "waves" or "clouds", in colours and at a scale drawn by `rng`."""
    rng = rng or np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] + rng.uniform(0, side, 2)[:, None, None]
    turn, period = rng.uniform(0, np.pi), rng.uniform(10, 22)
    u = 2 * np.pi * (np.cos(turn) * x + np.sin(turn) * y) / period
    v = 2 * np.pi * (-np.sin(turn) * x + np.cos(turn) * y) / period
    if kind == "stripes":
        level = np.sin(u) > 0
    elif kind == "checks":
        level = np.sin(u) * np.sin(v) > 0
    elif kind == "discs":
        level = np.cos(u) + np.cos(v) > 0.6
    elif kind == "waves":
        level = (np.sin(u + 1.5 * np.sin(v / 2)) + 1) / 2
    else:
        from scipy.ndimage import gaussian_filter

        level = gaussian_filter(rng.standard_normal((side, side)), period / 4, mode="wrap")
        level = (level - level.min()) / np.ptp(level)
    dark, light = rng.uniform(0, 0.45, 3), rng.uniform(0.55, 1, 3)
    return (dark[:, None, None] + (light - dark)[:, None, None] * level).astype(np.float32)


KINDS = ("stripes", "checks", "discs", "waves", "clouds")


def patterns(count=24, side=112, seed=0):
    """Images (5*count,3,side,side) of the five KINDS, and their labels."""
    rng = np.random.default_rng(seed)
    images = [pattern(kind, side, rng) for kind in KINDS for _ in range(count)]
    return np.stack(images), np.repeat(np.arange(len(KINDS)), count)


def pieces(side=112, count=48, seed=0):
    """(count,3,side,side): pieces of the photograph, drawn by `seed`."""
    photograph, rng = cat()[0], np.random.default_rng(seed)
    corners = rng.integers(0, np.array(photograph.shape[1:]) - side + 1, (count, 2))
    return np.stack([photograph[:, r : r + side, c : c + side] for r, c in corners])


def painting(side=160):
    """(1,3,side,side): bands of colour that swirl, for want of a painter."""
    y, x = np.mgrid[:side, :side] / side * 6
    for k in (1.0, 1.7, 2.9):
        x, y = x + np.sin(k * y + 1) / k, y + np.cos(k * x) / k
    waves = [np.sin(3 * x + p) * np.cos(2 * y + 2 * p) for p in (0.0, 0.7, 2.1)]
    return ((np.stack(waves) + 1) / 2 * np.array([0.95, 0.8, 0.9])[:, None, None]).astype(np.float32)[None]


def probability(model, image, target):
    """p(target) of one image (1,3,H,W)."""
    z = viz.attacks.scores(model, image)[0].astype(np.float64)
    e = np.exp(z - z.max())
    return float(e[models.find_class(model, target)] / e.sum())
