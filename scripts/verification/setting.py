"""What all families share: the network under test, its images and classes, drawn from one seed."""

import zlib
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch

from verification.networks import Pair, image_like

SMALL, TINY = 64, 32  # pixels, for methods that need many passes, or hundreds
NUDGE = 1e-6  # relative; what float32 makes of activations after a few layers


class Setting:
    """The network `.pair` of --model, and what is drawn from --seed. Everything is made when first used."""

    def __init__(self, model, seed):
        self.name, self.seed = model, seed
        self._drawn, self._nudge = {}, None

    def rng(self, what):
        """A Generator of its own for each thing that is drawn, so that --only draws the same numbers."""
        return np.random.default_rng([self.seed, zlib.crc32(what.encode())])

    def images(self, name, shape):
        """(N,3,H,W) float32 in [0,1], drawn once for each name; inside `nudged`, changed by a millionth."""
        if name not in self._drawn:
            self._drawn[name] = image_like(self.rng(name), shape)
            if name == "framed":
                frame(self._drawn[name])
        image = self._drawn[name]
        if self._nudge is None:
            return image
        noise = self.rng(f"nudge {self._nudge} of {name}").standard_normal(shape)
        return np.clip(image * (1 + NUDGE * noise), 0, 1).astype(np.float32)

    @contextmanager
    def nudged(self, number):
        """Inside, all images differ by a relative 1e-6 at random, in another way for each number."""
        self._nudge = number
        try:
            yield
        finally:
            self._nudge = None

    @cached_property
    def pair(self):
        return Pair.named(self.name, self.seed)

    @property
    def image(self):
        """(2,3,H,W) at the network's input size."""
        return self.images("image", (2, 3, *self.pair.model.input_size))

    @property
    def framed(self):
        """The same size with a white margin, where every maximum is tied exactly."""
        return self.images("framed", self.image.shape)

    @property
    def small(self):
        """(2,3,64,64), for methods that need many passes."""
        return self.images("small", (2, 3, SMALL, SMALL))

    @property
    def tiny(self):
        """(2,3,32,32), for searches."""
        return self.images("tiny", (2, 3, TINY, TINY))

    @cached_property
    def classes(self):
        """One class for each of the two images: the two that the network finds most likely in the first."""
        order = self.pair.torch(torch.from_numpy(self.image[:1]).double())[0].argsort(descending=True)
        return order[:2].tolist()

    @property
    def shape(self):
        return f"{self.pair.title} {self.image.shape}"

    @property
    def small_shape(self):
        return f"{self.pair.title} {self.small.shape}"


def frame(image):
    """Make a fifth of the image (N,3,H,W) white on each side."""
    h, w = image.shape[2] // 5, image.shape[3] // 5
    for edge in (image[:, :, :h], image[:, :, -h:], image[..., :w], image[..., -w:]):
        edge[:] = 1.0
