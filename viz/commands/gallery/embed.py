"""Arrays as pictures inside a page: data URIs with their sizes, films, and colour bars with numbers.

Images are (3,H,W) or (1,3,H,W) in [0,1]; maps (H,W) take their colours from viz/colours.py.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from viz.colours import Scale, as_map, as_picture, table


@dataclass(frozen=True)
class Picture:
    """A picture in a page: its data URI, size in pixels, and what it shows, in words; of a map its colours' scale."""

    uri: str
    width: int
    height: int
    alt: str
    scale: Scale | None = None


@dataclass(frozen=True)
class Film:
    """Frames side by side in one picture, each with a copy of its edge left and right, so that none bleeds over."""

    picture: Picture
    frames: int
    width: int
    height: int
    label: str

    @property
    def style(self) -> str:
        """What the style sheet needs to place the frames: see .film there."""
        cell = self.width + 2
        whole = self.frames * cell
        place = f"--last:{self.frames - 1};--step:{1 / self.frames:.7f};--inset:{1 / whole:.7f}"
        return f"--sheet:{whole / self.width:.5f};{place};aspect-ratio:{self.width}/{self.height}"


def photograph(image: np.ndarray, alt: str, quality: int = 84) -> Picture:
    """A Picture that may lose a little: for photographs and frames."""
    return _encoded(_levels(image), alt, "WEBP", quality=quality, method=4)


def exact(image: np.ndarray, alt: str) -> Picture:
    """A Picture of the image's 256 levels as they are, as PNG."""
    return _encoded(_levels(image), alt, "PNG", optimize=True)


def drawn(heat: np.ndarray, scale: Scale, alt: str) -> Picture:
    """A map's colours, as they are: the page reads values from them."""
    return replace(_encoded(_bytes(scale.colours(heat)), alt, "WEBP", lossless=True, method=4), scale=scale)


def veil(heat: np.ndarray, scale: Scale, alt: str) -> Picture:
    """A map's colours to lay over a photograph, the more opaque the larger the value; as in colours.overlay."""
    opacity = 0.9 * np.clip(np.abs(np.nan_to_num(as_map(heat))) / scale.high, 0, 1)[..., None]
    return _encoded(_bytes(np.concatenate([scale.colours(heat), opacity], 2)), alt, "WEBP", lossless=True, method=4)


def transparent(pixels: np.ndarray, alt: str) -> Picture:
    """A Picture of (H,W,4) uint8."""
    return _encoded(pixels, alt, "WEBP", quality=84, method=4)


def film(frames: Sequence[np.ndarray], alt: str, label: str) -> Film:
    """A Film of images (3,H,W) or (1,3,H,W)."""
    cells = [np.pad(_levels(frame), ((0, 0), (1, 1), (0, 0)), mode="edge") for frame in frames]
    height, width = cells[0].shape[:2]
    sheet = _encoded(np.concatenate(cells, axis=1), alt, "WEBP", quality=80, method=4)
    return Film(sheet, len(cells), width - 2, height, label)


# ---- colour bars -----------------------------------------------------------------------------------------------------


def colour_bar(scale: Scale) -> dict[str, Any]:
    """What the numbers below a colour bar say: {"signed", "ends", "clipped"}."""
    ends = (number(-scale.high), "0", number(scale.high)) if scale.signed else ("0", number(scale.high))
    return {"signed": scale.signed, "ends": ends, "clipped": scale.clipped}


def ramp(signed: bool, stops: int = 17) -> str:
    """The colours of a colour bar as a CSS gradient."""
    scale = Scale(1.0, signed, False)
    colours = scale.colours(np.linspace(scale.low, scale.high, stops)[None])[0]
    return "linear-gradient(90deg," + ",".join("#" + _bytes(c).tobytes().hex() for c in colours) + ")"


def colours(signed: bool) -> str:
    """The 256 colours of maps, the smallest value's first, as one string of six digits each."""
    return _bytes(table(signed)).tobytes().hex()


def number(value: float) -> str:
    """Two digits that count, with a true minus sign; powers of ten for what is very small or large."""
    size = abs(value)
    if size and not 1e-4 <= size < 1e4:
        digits, power = f"{size:.1e}".split("e")
        text = f"{digits} × 10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    else:
        text = f"{float(f'{size:.2g}'):.7f}".rstrip("0").rstrip(".") if size < 100 else f"{size:.0f}"
    return f"−{text}" if value < 0 else text


# ---- pixels ----------------------------------------------------------------------------------------------------------


def _levels(image: np.ndarray) -> np.ndarray:
    return _bytes(as_picture(image))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _encoded(pixels: np.ndarray, alt: str, kind: str, **how: Any) -> Picture:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return Picture(f"data:image/{kind.lower()};base64,{text}", pixels.shape[1], pixels.shape[0], alt)
