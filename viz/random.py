"""Every stream of random numbers of viz, from a seed, the name of the method, and a key of the photograph.

So a photograph's result depends neither on the rest of its batch nor on its place in it, and no two methods or measures
ever share their noise: SmoothGrad must not be judged with the noise that made it.
"""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import numpy as np

NOBODY: Mapping[bytes, bytes] = MappingProxyType({})
_originals = ContextVar("the photographs that others are taken for", default=NOBODY)


def stream(seed: int, method: str, key: Any = b"") -> np.random.Generator:
    """A numpy Generator of its own for each (seed, method, key).

    seed: as numpy's: an int or ints, none negative. method: the name of what draws. key: bytes or a name.
    """
    if seed is None:
        raise ValueError(f"{method}: seed must be an int or ints, so that the result can be had again, got None")
    words = np.random.SeedSequence(seed).generate_state(8)
    parts = [words.tobytes(), method.encode(), key if isinstance(key, bytes) else str(key).encode()]
    digest = blake2b(digest_size=32)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return np.random.default_rng(np.frombuffer(digest.digest(), np.uint32).tolist())


def streams(seed: int, method: str, image: np.ndarray, key: Any = None) -> list[np.random.Generator]:
    """A Generator for each image of the array `image` (N,C,H,W).

    key: a name for all, which then draw the same numbers, or a sequence of one for each; None takes the pixels.
    """
    if key is None:
        keys: list[Any] = [pixels_key(one) for one in image]
        keys = [_originals.get().get(one, one) for one in keys]
    else:
        keys = [key] * len(image) if isinstance(key, str | int | np.integer) else list(key)
    if len(keys) != len(image):
        raise ValueError(f"{method}: key has {len(keys)} names for {len(image)} images: give one, or one for each")
    return [stream(seed, method, one) for one in keys]


def pixels_key(image: np.ndarray) -> bytes:
    """The bytes that stand for a photograph, an array: a hash of its shape and its values, as float32."""
    values = np.ascontiguousarray(image, np.float32) + np.float32(0)  # -0 becomes 0
    return blake2b(repr(values.shape).encode() + values.tobytes(), digest_size=16).digest()


@contextmanager
def taken_for(changed: np.ndarray, image: np.ndarray) -> Any:
    """Within, each of `changed` (N,C,H,W) draws what the one of `image` draws that it was made of."""
    pairs = {pixels_key(one): pixels_key(other) for one, other in zip(changed, image, strict=True)}
    token = _originals.set({**_originals.get(), **pairs})
    try:
        yield
    finally:
        _originals.reset(token)


def drawn(rngs: list[np.random.Generator], draw: Callable[..., Any]) -> np.ndarray:
    """(N,...): draw(rng) of each of the N Generators."""
    of_each = [draw(rng) for rng in rngs or [stream(0, "the shape of what nobody draws")]]
    return np.stack(of_each)[: len(rngs)]
