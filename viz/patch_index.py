"""An index of the patches that the channels of a network respond to most, made once over many photographs and kept.

    index = viz.index_patches(model, photographs, ["relu3_1", "relu3_2"])
    index.save("patches.npz");  index = viz.load_patches("patches.npz")
    index.of(model, "relu3_2", 17).pixels         # (K,3,RH,RW), the strongest first

The photographs are kept with it, small and with a little loss; what they are indexed by is what was kept.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import models
from minigrad.nn import Module
from minigrad.serialization import replacing

from .patches import Patches, channel_maxima, crop, receptive_field
from .target import require_rgb
from .typing import Images

QUALITY = 85  # of the photographs kept, as WebP


@dataclass(frozen=True)
class PatchIndex:
    """pictures: a tuple of the photographs' files, WebP. places: {layer: (image (C,K), row (C,K), column (C,K),
    activation (C,K))}, for each channel the K strongest responses, at most one from a photograph."""

    pictures: tuple
    places: dict

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def layers(self) -> list[str]:
        return list(self.places)

    def image(self, n: int) -> np.ndarray:
        """(1,3,H,W) in [0,1]: photograph n."""
        return decoded(self.pictures[n])

    def of(self, model: Module, layer: str, channel: int) -> Patches:
        """The Patches of a channel. model: the network that was indexed, which says what its units see."""
        if layer not in self.places:
            raise ValueError(f"the index knows {', '.join(self.places)}, not {layer!r}")
        image, row, column, activation = (array[channel] for array in self.places[layer])
        whole = [self.image(int(n))[0] for n in image]
        field = receptive_field(model, layer, whole[0].shape)
        corner = np.array(field.offset) + np.stack([row, column], 1).astype(int) * field.stride
        boxes = np.concatenate([corner, corner + field.size], axis=1)
        pixels = np.stack([crop(one, box, 0.5) for one, box in zip(whole, boxes, strict=True)])
        return Patches(layer, channel, image, row, column, activation, boxes, pixels)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """{name: array}, all there is to it, as a file of it holds them."""
        lengths = [len(one) for one in self.pictures]
        found = {"pictures": np.frombuffer(b"".join(self.pictures), np.uint8), "lengths": np.array(lengths)}
        for layer, places in self.places.items():
            found |= {f"{name} {layer}": one for name, one in zip(_NAMES, places, strict=True)}
        return found

    def save(self, path: str | Path) -> None:
        """Write it to a file, whole or not at all."""
        with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **self.arrays)


_NAMES = ("image", "row", "column", "activation")


def load_patches(path: str | Path) -> PatchIndex:
    """The PatchIndex of a file. Raises ValueError for a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content, ends = arrays["pictures"].tobytes(), np.cumsum(arrays["lengths"])
            layers = [name.removeprefix("image ") for name in arrays if name.startswith("image ")]
            places = {layer: tuple(arrays[f"{name} {layer}"] for name in _NAMES) for layer in layers}
    except (KeyError, ValueError, EOFError):  # whose texts are NumPy's, of pickles and the like
        raise ValueError(f"{path} is no index of patches, as index_patches and patch_index make them") from None
    starts = [0, *ends[:-1]]
    return PatchIndex(tuple(content[a:b] for a, b in zip(starts, ends, strict=True)), places)


def index_patches(
    model: Module, image: Images, layers: Sequence[str], count: int = 9, progress: bool = False
) -> PatchIndex:
    """The PatchIndex of photographs (N,3,H,W) in [0,1] for the channels of some layers.

    count: how many responses are kept for a channel, at most one from a photograph.
    """
    require_rgb("index_patches", model)
    pictures = tuple(map(encoded, np.asarray(image)))
    kept = np.concatenate([decoded(one) for one in pictures])
    found: dict[str, Any] = {}
    for layer, (activation, rows, columns) in channel_maxima(model, kept, layers, progress=progress).items():
        best = np.argsort(-activation, axis=0, kind="stable")[:count].T  # (C,K)
        by_channel = [np.take_along_axis(one.T, best, 1) for one in (rows, columns, activation)]
        kinds = (np.uint16, np.uint16, np.uint16, np.float32)
        found[layer] = tuple(one.astype(kind) for one, kind in zip((best, *by_channel), kinds, strict=True))
    return PatchIndex(pictures, found)


def encoded(image: np.ndarray) -> bytes:
    """The bytes of a WebP of (3,H,W) in [0,1]."""
    from PIL import Image

    file = io.BytesIO()
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(pixels).save(file, "WEBP", quality=QUALITY, method=6)
    return file.getvalue()


def decoded(content: bytes) -> np.ndarray:
    from PIL import Image

    return models.load_image(Image.open(io.BytesIO(content)))
