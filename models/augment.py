"""Random views of photographs, and batches of them made one step ahead of the network.

Every number is drawn from a ``numpy.random.Generator`` seeded by (seed, epoch, batch), so a batch does not depend on
what was read before it, or on threads: training can stop anywhere and go on with the very same batches.

Resizing and colour are Pillow's: 0.3 ms an image at 112 px, most of it without the interpreter lock, which the
network's threads need.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601: grey = LUMA @ (R,G,B)


@dataclass(frozen=True)
class Augmentation:
    """A random crop, resized (Szegedy et al. 2015, arXiv:1409.4842, section 6), perhaps mirrored, its colours changed.

    ``area`` is the range of the crop's share of the image and ``ratio`` the range of width / height, drawn
    log-uniformly. ``brightness``, ``contrast`` and ``saturation`` b give factors drawn from [1 - b, 1 + b]; contrast is
    about mid-grey. ``flip`` is the probability of a mirror image.
    """

    area: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.25

    def boxes(self, count: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """(count, 4): left, upper, right, lower of each crop, in pixels; what is too long for the image is cut."""
        area = rng.uniform(*self.area, count) * height * width
        ratio = np.exp(rng.uniform(np.log(self.ratio[0]), np.log(self.ratio[1]), count))
        w, h = np.minimum(np.sqrt(area * ratio), width), np.minimum(np.sqrt(area / ratio), height)
        left, upper = rng.uniform(size=count) * (width - w), rng.uniform(size=count) * (height - h)
        return np.stack([left, upper, left + w, upper + h], axis=1)

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
        count, height, width, _ = images.shape
        boxes = self.boxes(count, height, width, rng).tolist()
        colours = self.colours(count, rng).reshape(count, 12).tolist()
        mirrored = rng.uniform(size=(count,)) < self.flip
        views = np.empty((count, size, size, 3), np.uint8)
        for view, image, box, colour, mirror in zip(views, images, boxes, colours, mirrored, strict=True):
            crop = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box)
            pixels = np.asarray(crop.convert("RGB", colour))
            view[:] = pixels[:, ::-1] if mirror else pixels
        return to_float(views)


def whole(images: np.ndarray, size: int) -> np.ndarray:
    """``images`` (N,S,S,3) uint8, unchanged but for their size, as (N,3,size,size) float32 in [0,1]."""
    if images.shape[1:3] != (size, size):
        shape = (size, size)
        images = np.stack([np.asarray(Image.fromarray(im).resize(shape, Image.Resampling.BILINEAR)) for im in images])
    return to_float(images)


def to_float(images: np.ndarray) -> np.ndarray:
    """(N,H,W,3) uint8 to a (N,3,H,W) view of float32 in [0,1]; the memory stays channels-last."""
    return np.multiply(images, np.float32(1 / 255), dtype=np.float32).transpose(0, 3, 1, 2)


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
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch of (views (B,3,size,size) float32, labels (B,) int64) over ``members``, shuffled, from ``start`` on.

    The last, smaller batch is left out (it would upset batch normalisation) unless it is the only one.
    """
    order = np.random.default_rng([seed, epoch, 0]).permutation(members)
    for batch in range(start, batches_per_epoch(len(members), batch_size)):
        chosen = order[batch * batch_size : (batch + 1) * batch_size]
        rng = np.random.default_rng([seed, epoch, 1 + batch])
        yield augmentation(images[chosen], size, rng), labels[chosen]


def batches_per_epoch(count: int, batch_size: int) -> int:
    """How many whole batches ``count`` photographs make; one, however small, if they make none."""
    return max(1, count // batch_size)


def validation_batches(
    images: np.ndarray, labels: np.ndarray, members: np.ndarray, *, size: int, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each of ``members`` once, in order, unaugmented: (images (B,3,size,size) float32, labels (B,) int64)."""
    for first in range(0, len(members), batch_size):
        chosen = members[first : first + batch_size]
        yield whole(images[chosen], size), labels[chosen]


def prefetch(items: Iterable, depth: int = 2) -> Iterator:
    """Iterate over ``items`` in one background thread, ``depth`` items ahead; its errors are raised here."""
    ready: queue.Queue[Callable] = queue.Queue(depth)
    stopped = threading.Event()

    def put(deliver: Callable) -> bool:
        while not stopped.is_set():
            try:
                ready.put(deliver, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put(lambda item=item: item):
                    return
            put(_finish)
        except BaseException as error:  # whatever it is, it belongs to the thread that asked
            put(lambda error=error: _raise(error))

    threading.Thread(target=produce, name="prefetch", daemon=True).start()
    try:
        while (deliver := ready.get()) is not _finish:
            yield deliver()
    finally:
        stopped.set()


def _finish() -> None:
    """Marks the end of what ``prefetch`` iterates over."""


def _raise(error: BaseException) -> None:
    raise error
