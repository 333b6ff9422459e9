"""Random views of photographs, and batches of them made ahead of the network.

Every number is drawn from a ``numpy.random.Generator`` seeded by (seed, epoch, batch), so a batch does not depend on
what was read before it, or on threads: training can stop anywhere and go on with the very same batches.

Resizing and colour are Pillow's: 0.3 ms an image at 112 px, most of it without the interpreter lock, which the
network's threads need. Views are bytes, a quarter of the memory to be moved to a GPU; `to_float` is called where they
are computed on.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from minigrad.device import array_module

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601: grey = LUMA @ (R,G,B)


@dataclass(frozen=True)
class Augmentation:
    """A random crop, resized (Szegedy et al. 2015, arXiv:1409.4842, section 6), perhaps mirrored, its colours changed.

    ``area`` is the range of the crop's share of the image and ``ratio`` the range of width / height, drawn
    log-uniformly. ``brightness``, ``contrast`` and ``saturation`` b give factors drawn from [1 - b, 1 + b]; contrast is
    about mid-grey. ``flip`` is the probability of a mirror image. ``unresized`` is the probability of a square of the
    view's own size, cut out pixel for pixel: as sharp as the photograph, which most resized crops are not.
    """

    area: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.25
    unresized: float = 0.0

    def boxes(self, count: int, height: int, width: int, size: int, rng: np.random.Generator) -> np.ndarray:
        """(count, 4): left, upper, right, lower of each crop, in pixels; what is too long for the image is cut."""
        area = rng.uniform(*self.area, count) * height * width
        ratio = np.exp(rng.uniform(np.log(self.ratio[0]), np.log(self.ratio[1]), count))
        w, h = np.minimum(np.sqrt(area * ratio), width), np.minimum(np.sqrt(area / ratio), height)
        left, upper = rng.uniform(size=count) * (width - w), rng.uniform(size=count) * (height - h)
        boxes = np.stack([left, upper, left + w, upper + h], axis=1)
        if self.unresized and size <= min(height, width):
            corners = rng.integers(0, (width - size + 1, height - size + 1), (count, 2))
            squares = np.concatenate([corners, corners + size], axis=1)
            boxes = np.where(rng.uniform(size=(count, 1)) < self.unresized, squares, boxes)
        return boxes

    def colours(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, 3, 4): for each image the affine map of (R, G, B, 1), in 0..255, that changes its colours."""
        factors = [rng.uniform(1 - b, 1 + b, (count, 1, 1)) for b in (self.brightness, self.contrast, self.saturation)]
        brightness, contrast, saturation = factors
        grey = np.ones((3, 1)) * LUMA
        linear = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * grey)
        offset = np.broadcast_to(127.5 * (1 - contrast), (count, 3, 1))
        return np.concatenate([linear, offset], axis=2)

    def __call__(self, images: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """``images`` (N,H,W,3) uint8 to (N,3,size,size) float32 in [0,1], channels last in memory."""
        return to_float(self.views(images, size, rng))

    def views(self, images: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """The same as (N,size,size,3) uint8."""
        count, height, width, _ = images.shape
        boxes = self.boxes(count, height, width, size, rng).tolist()
        colours = self.colours(count, rng).reshape(count, 12).tolist()
        mirrored = rng.uniform(size=(count,)) < self.flip
        views = np.empty((count, size, size, 3), np.uint8)
        for view, image, box, colour, mirror in zip(views, images, boxes, colours, mirrored, strict=True):
            crop = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box)
            pixels = np.asarray(crop.convert("RGB", colour))
            view[:] = pixels[:, ::-1] if mirror else pixels
        return views


@dataclass(frozen=True)
class Batch:
    """Views to learn from, and what is in them: ``share`` of each is of its class in ``labels``, the rest of the class
    in ``others``."""

    views: np.ndarray  # (B,size,size,3) uint8
    labels: np.ndarray  # (B,) int64
    others: np.ndarray  # (B,) int64
    share: float = 1.0


def cutmix(views: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Batch:
    """CutMix (Yun et al. 2019, arXiv:1905.04899): in each view a rectangle from another view of the batch.

    The rectangle is the same for the whole batch, of the view's proportions, its area uniform in [0, 1], its centre
    anywhere (so it may be cut by the border).
    """
    order, side = rng.permutation(len(views)), views.shape[1]
    half = side * np.sqrt(rng.uniform()) / 2
    centre = rng.uniform(0, side, 2)
    (top, left), (bottom, right) = np.rint(np.clip([centre - half, centre + half], 0, side)).astype(int).tolist()
    mixed = views.copy()
    mixed[:, top:bottom, left:right] = views[order, top:bottom, left:right]
    return Batch(mixed, labels, labels[order], 1 - (bottom - top) * (right - left) / side**2)


def whole(images: np.ndarray, size: int) -> np.ndarray:
    """``images`` (N,S,S,3) uint8, unchanged but for their size, as (N,3,size,size) float32 in [0,1]."""
    return to_float(resized(images, size))


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """``images`` (N,S,S,3) uint8 as (N,size,size,3) uint8."""
    if images.shape[1:3] == (size, size):
        return images
    shape = (size, size)
    return np.stack([np.asarray(Image.fromarray(im).resize(shape, Image.Resampling.BILINEAR)) for im in images])


def to_float(images: Any) -> Any:
    """(N,H,W,3) uint8, of any device, to a (N,3,H,W) view of float32 in [0,1]; the memory stays channels-last."""
    return array_module(images).multiply(images, np.float32(1 / 255), dtype=np.float32).transpose(0, 3, 1, 2)


def training_batches(
    images: np.ndarray,
    labels: np.ndarray,
    members: np.ndarray,
    *,
    size: int,
    batch_size: int,
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    start: int = 0,
    mixed: float = 0.0,
) -> Iterator[Callable[[], Batch]]:
    """One epoch over ``members``, shuffled, from batch ``start`` on: for each a function that makes it, in any thread.

    ``mixed`` is the probability with which a batch goes through ``cutmix``. The last, smaller batch is left out (it
    would upset batch normalisation) unless it is the only one.
    """
    order = np.random.default_rng([seed, epoch, 0]).permutation(members)

    def batch(number: int) -> Batch:
        chosen = order[number * batch_size : (number + 1) * batch_size]
        rng = np.random.default_rng([seed, epoch, 1 + number])
        views = augmentation.views(images[chosen], size, rng)
        if mixed and rng.uniform() < mixed:
            return cutmix(views, labels[chosen], rng)
        return Batch(views, labels[chosen], labels[chosen])

    return (partial(batch, number) for number in range(start, batches_per_epoch(len(members), batch_size)))


def batches_per_epoch(count: int, batch_size: int) -> int:
    """How many whole batches ``count`` photographs make; one, however small, if they make none."""
    return max(1, count // batch_size)


def validation_batches(
    images: np.ndarray, labels: np.ndarray, members: np.ndarray, *, size: int, batch_size: int
) -> Iterator[Callable[[], tuple[np.ndarray, np.ndarray]]]:
    """Each of ``members`` once, in order, unaugmented: functions that give (images (B,size,size,3) uint8, labels (B,)
    int64)."""

    def batch(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return resized(images[chosen], size), labels[chosen]

    return (partial(batch, members[first : first + batch_size]) for first in range(0, len(members), batch_size))


def prefetch(makers: Iterable[Callable[[], Any]], workers: int = 1) -> Iterator:
    """What each of ``makers`` returns, in order, made ahead by ``workers`` threads, two for each; errors come here."""
    makers = iter(makers)
    with ThreadPoolExecutor(workers, "prefetch") as pool:
        ahead = deque(map(pool.submit, islice(makers, 2 * workers)))
        try:
            while ahead:
                made = ahead.popleft().result()
                ahead.extend(map(pool.submit, islice(makers, 1)))
                yield made
        finally:
            for future in ahead:
                future.cancel()
