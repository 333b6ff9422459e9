"""What all families share: the network under test, its images and classes, drawn from one seed."""

import zlib
from functools import cached_property

import numpy as np

from verification.networks import Pair, image_like

SMALL, TINY = 64, 32  # pixels, for methods that need many passes, or hundreds


class Setting:
    """The network `.pair` of --model, and what is drawn from --seed. Everything is made when first used."""

    def __init__(self, model, seed):
        self.name, self.seed = model, seed

    def rng(self, what):
        """A Generator of its own for each thing that is drawn, so that --only draws the same numbers."""
        return np.random.default_rng([self.seed, zlib.crc32(what.encode())])

    @cached_property
    def pair(self):
        return Pair.named(self.name, self.seed)

    @cached_property
    def image(self):
        """(2,3,H,W) float32 at the network's input size."""
        return image_like(self.rng("image"), (2, 3, *self.pair.model.input_size))

    @cached_property
    def small(self):
        """(2,3,64,64) float32, for methods that need many passes."""
        return image_like(self.rng("small"), (2, 3, SMALL, SMALL))

    @cached_property
    def tiny(self):
        """(2,3,32,32) float32, for searches."""
        return image_like(self.rng("tiny"), (2, 3, TINY, TINY))

    @cached_property
    def classes(self):
        """One class for each of the two images, the two the network finds most likely in the first, in turn."""
        import torch

        order = self.pair.torch(torch.from_numpy(self.image[:1]).double())[0].argsort(descending=True)
        return order[:2].tolist()

    @property
    def shape(self):
        return f"{self.pair.title} {self.image.shape}"

    @property
    def small_shape(self):
        return f"{self.pair.title} {self.small.shape}"

    @property
    def tiny_shape(self):
        return f"{self.pair.title} {self.tiny.shape}"
