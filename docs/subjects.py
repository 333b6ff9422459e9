"""What the guide's pictures show: the embedded network, scikit-image's photographs, patterns rendered here."""

import numpy as np
from skimage import data

import models
import viz

PHOTOGRAPHS = ("astronaut", "cat", "coffee", "rocket", "camera", "coins")  # of scikit-image


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


def photographs(side=112):
    """(N,3,side,side): squares of PHOTOGRAPHS, one beside the other, of a half and of a third of the short side."""
    found = []
    for name in PHOTOGRAPHS:
        whole = models.load_image(getattr(data, name)())
        for parts in (2, 3):
            length = min(whole.shape[2:]) // parts
            rows, columns = (n // length for n in whole.shape[2:])
            for row, column in np.ndindex(rows, columns):
                box = np.s_[row * length : (row + 1) * length, column * length : (column + 1) * length]
                found.append(models.load_image(whole[..., *box], (side, side)))
    return np.concatenate(found)


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
