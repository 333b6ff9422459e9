"""Photographs to arrays in [0, 1] and back.

`load_image` gives (1, 3, H, W) float32, RGB, which is every model's input; `save_image` writes 8-bit PNG. Needs Pillow.
"""

import io
import os
import re
import sys
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.serialization import replacing

if TYPE_CHECKING:
    from PIL import Image  # imported where it is used: `import models` is quick

MAX_PIXELS = 80_000_000
# No format that runs a program to be decoded. Pillow imports all its readers, 40, for the last two alone.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")


class ImageError(ValueError):
    """A picture that cannot be read or written; the message says why and, where it can, what to do."""


def load_image(source: Any, size: int | tuple[int, int] | None = None, short_side: int | None = None) -> np.ndarray:
    """A picture as a (1, 3, H, W) float32 array, RGB in [0, 1].

    source      a path (JPEG, PNG, WebP, GIF's first frame, BMP, TIFF, PPM) or such a file's bytes, a PIL image, or an
                array: (H, W), (H, W, 1|3|4), (1|3, H, W) or (1, 1|3, H, W), of uint8, uint16, bool, or floats in
                [0, 1]. A PIL image of mode "I" must be that of a file: one made in memory may hold 8 bits or 16.
    size        None keeps the picture's size; an int s means (s, s); (h, w) resizes the picture, sides in proportion,
                until it just covers h x w, and takes the centre. Resizing is bicubic and antialiased.
    short_side  resize to this short side instead before taking the centre: networks are usually tested on the centre
                227 or 224 pixels of pictures with a short side of 256.

    Grey becomes three equal channels, transparency goes over white, CMYK becomes RGB, and a photograph is turned as its
    EXIF orientation asks. The 12 or 16 bits of a grey, RGB, RGBA or LA file keep their depth; others, and PIL images in
    colour, have 8. Raises ImageError: no such file, a folder, empty, not a picture, damaged, less than 2 pixels wide or
    high, more than 80 megapixels (both told from the header, before decoding), NaN or values outside [0, 1].
    Pillow's warnings are passed on: on many pixels, and on damaged EXIF data, which is ignored.
    """
    size = _checked_size(size)
    if short_side is not None and (size is None or not max(size) <= short_side <= MAX_PIXELS):
        raise ImageError(f"short_side must be at least the size, {size}, got {short_side!r}")
    if isinstance(source, str | os.PathLike | bytes):
        planes = _open(source if isinstance(source, bytes) else Path(source))
    elif hasattr(source, "getbands"):
        _check_pixels(source.size, "the picture")
        planes = _planes(source)
    elif hasattr(source, "__array__"):
        planes = _planes_of_array(np.asarray(source))
    else:
        raise ImageError(f"load_image takes a path, a PIL image or an array, got {type(source).__name__}")

    if size is not None:
        planes = [_centred(plane, size, short_side) for plane in planes]
    if len(planes) == 1:  # 8-bit RGB
        pixels = np.asarray(planes[0], dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
    else:
        pixels = np.clip(np.stack([np.asarray(plane, dtype=np.float32) for plane in planes]), 0, 1)
    return np.ascontiguousarray(pixels[None])


def save_image(array: np.ndarray, path: str | PathLike[str]) -> None:
    """Write one picture, (1, 1|3, H, W), (1|3, H, W) or (H, W) with values in [0, 1], as 8-bit PNG; atomically.

    Values are rounded to the nearest of 256 levels. Raises ImageError on NaN, values outside [0, 1] (by more than a
    rounding error), a shape that is no picture or a path that does not end in .png; OSError if it cannot be written.
    """
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ImageError(f"{path}: pictures are saved as PNG, so the name must end in .png")
    array = np.asarray(array)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if 0 in array.shape or array.ndim != 2 and not (array.ndim == 3 and array.shape[2] == 3):
        raise ImageError(f"save_image takes (1, 3, H, W), (3, H, W) or (H, W), got shape {array.shape}")
    levels = np.rint(_checked_values(array).astype(np.float64) * 255).astype(np.uint8)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        Image.fromarray(levels).save(file, format="PNG")


def _checked_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    try:
        height, width = (size, size) if np.ndim(size) == 0 else size
        if height != int(height) or width != int(width):
            raise ValueError
        height, width = int(height), int(width)
    except (TypeError, ValueError):
        raise ImageError(f"size is None, a number of pixels or (height, width), got {size!r}") from None
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise ImageError(f"size {height}x{width} is out of range: 1 to {MAX_PIXELS:,} pixels in all")
    return height, width


# ----------------------------------------------------------------------------------------------------------------------
# Files
# ----------------------------------------------------------------------------------------------------------------------


def _open(source: Any) -> list["Image.Image"]:
    """The planes of a file: its Path, or its bytes."""
    from PIL import Image, UnidentifiedImageError

    path = "the picture" if isinstance(source, bytes) else source  # what sentences call it
    if isinstance(source, Path) and source.is_dir():
        raise ImageError(f"{path} is a folder, not a picture")
    try:
        if not (len(source) if isinstance(source, bytes) else source.stat().st_size):
            raise ImageError(f"{path} is empty (zero bytes)")
        Image.preinit()  # the readers of the first five formats
        image = Image.open(_file(source), formats=FORMATS)
    except FileNotFoundError:
        raise ImageError(f"there is no file {path}") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a picture in a format that is read here ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path} is larger than {MAX_PIXELS // 1_000_000} megapixels: make it smaller first") from None
    except ImageError:
        raise
    except Exception as error:  # decoders raise all sorts on damaged headers
        raise ImageError(f"{path} cannot be opened as a picture ({_reason(error)})") from None

    with image:
        _check_pixels(image.size, path)
        try:
            levels = _levels_of_16_bits(source, image)
            return _planes(image) if levels is None else _planes_of_array(levels)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
        except Exception as error:  # and on truncated or damaged data
            raise ImageError(f"{path} is damaged or cut short ({_reason(error)})") from None


def _file(source: Any) -> Any:
    """What Pillow opens, of a Path or of bytes."""
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _check_pixels(size: tuple[int, int], name: object) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width}x{height})")
    if width < 2 or height < 2:
        raise ImageError(f"{name} has {width}x{height} pixels: a line or a dot shows nothing, give a picture")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width}x{height} pixels, more than {MAX_PIXELS // 1_000_000} megapixels: make it smaller first"
        )


def _reason(error: Exception) -> str:
    return str(error).split("\n")[0] or type(error).__name__


# ----------------------------------------------------------------------------------------------------------------------
# Pixels: one 8-bit RGB PIL image, or three float ("F") ones where 8 bits would lose something
# ----------------------------------------------------------------------------------------------------------------------


def _planes(image: "Image.Image") -> list["Image.Image"]:
    """The PIL images that hold `image`'s first frame: [RGB], or [F, F, F] in [0, 1] for 16-bit and float grey."""
    from PIL import Image

    tags = getattr(image, "tag_v2", {})
    bits, photometric, sign = tags.get(258, (16,)), tags.get(262, 1), tags.get(339, (1,))
    whole_numbers = image.mode == "I" and image.format is None  # of 32 bits, by `convert` or `fromarray`
    image.load()
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image)
        if image.mode != "F":
            if bits not in ((12,), (16,)) or sign != (1,):
                raise ImageError("a TIFF of signed or 32-bit whole numbers has no known range: save it with 16 bits")
            if whole_numbers:
                raise ImageError('an image of mode "I" has no known range: give uint8, uint16 or floats in [0, 1]')
            transparent = grey == image.info.get("transparency", -1)
            grey = grey.astype(np.float32) / (2 ** bits[0] - 1)  # I and I;16 hold 16-bit greys, and those of 12
            grey = np.where(transparent, np.float32(1), grey)
        grey = 1 - grey if photometric == 0 else grey  # of whose TIFF 0 is white: Pillow leaves these as they are
        return _planes_of_array(_checked_values(grey))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return [image.convert("RGB")]


def _levels_of_16_bits(source: Any, image: "Image.Image") -> np.ndarray | None:
    """(H,W,3|4) of the file of `image` if its colours have 16 bits, of which Pillow keeps the upper 8; else None.

    uint16, or floats in [0, 1]. Pillow can be asked for either byte of a sample, as the upper one of either byte order.
    """
    tags = getattr(image, "tag_v2", {})
    if tags.get(284) == 2 and 16 in tags.get(
        258, ()
    ):  # PlanarConfiguration, BitsPerSample: Pillow takes bytes for levels
        raise ImageError("a TIFF of 16 bits with its colours in separate planes is not read: save it interleaved")
    decoder, _, _, arguments = image.tile[0] if image.tile else (None, None, None, "")
    if decoder == "ppm_plain" and image.mode == "RGB" and arguments[-1] > 255:
        image.load()  # which finds what is damaged
        return _plain_levels(source, image.size).astype(np.float32) / arguments[-1]
    if decoder == "ppm" and image.mode == "RGB":
        kind, order, top = "RGB", "B", arguments[-1]
    else:
        kind, _, order = str(arguments[0] if isinstance(arguments, tuple) else arguments).partition(";16")
        top = 65535
    if kind not in ("RGB", "RGBA", "RGBa", "LA") or order not in ("B", "L", "N") or top < 256:
        return None

    if kind == "LA":  # as four bytes, two of grey and two of alpha
        both = _bytes_as(source, "RGBA")
        both = both[..., [0, 0, 0, 2]], both[..., [1, 1, 1, 3]]
    else:
        both = [_bytes_as(source, f"{kind.upper()};16{letter}") for letter in "BL"]
    little = order == "L" or order == "N" and sys.byteorder == "little"
    lower, upper = both if little else both[::-1]
    levels = upper.astype(np.uint16) * np.uint16(256) + lower
    if "transparency" in image.info and kind == "RGB":
        levels[(levels == image.info["transparency"]).all(2)] = top
    if kind == "RGBa":  # each colour times alpha already
        return np.clip((levels[..., :3].astype(np.float32) + (65535 - levels[..., 3:])) / 65535, 0, 1)
    return levels if top == 65535 else levels.astype(np.float32) / top


def _plain_levels(source: Any, size: tuple[int, int]) -> np.ndarray | None:
    """(H,W,3): the numbers in a PPM file of text."""
    text = re.sub(rb"#[^\r\n]*", b"", source if isinstance(source, bytes) else source.read_bytes())
    numbers = np.fromstring(text.strip().removeprefix(b"P3").decode("ascii"), np.int32, sep=" ")
    (width, height), top, levels = size, numbers[2], numbers[3:]
    if len(levels) < height * width * 3 or levels.min() < 0 or levels.max() > top:
        raise ImageError(f"its pixels are damaged or cut short: expected {height * width * 3} numbers from 0 to {top}")
    return levels[: height * width * 3].reshape(height, width, 3)


def _bytes_as(source: Any, rawmode: str) -> np.ndarray:
    """(H,W,C) uint8, upright: the file decoded as if its samples lay there as Pillow's `rawmode` says."""
    from PIL import Image

    with Image.open(_file(source), formats=FORMATS) as image:
        image.tile = [_tile_as(tile, rawmode) for tile in image.tile]
        image.load()
        return np.asarray(_upright(image))


def _tile_as(tile: Any, rawmode: str) -> Any:
    decoder, extents, offset, arguments = tile
    if decoder == "ppm":
        decoder, arguments = "raw", (rawmode, 0, 1)
    else:
        arguments = (rawmode, *arguments[1:]) if isinstance(arguments, tuple) else rawmode
    return type(tile)(decoder, extents, offset, arguments)


def _upright(image: "Image.Image") -> "Image.Image":
    """Turned as its EXIF orientation asks; EXIF that cannot be read is no reason to refuse the pixels."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _planes_of_array(array: np.ndarray) -> list["Image.Image"]:
    from PIL import Image

    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[:, :, None]
    elif array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ImageError(f"an array of shape {array.shape} is no picture: give (H, W), (H, W, 3) or (1, 3, H, W)")
    _check_pixels((array.shape[1], array.shape[0]), "the array")
    if array.dtype == np.uint16:
        array = array.astype(np.float32) / 65535
    elif array.dtype == np.uint8:
        array = array.astype(np.float32) / 255
    array = _checked_values(array).astype(np.float32)

    if array.shape[2] == 4:  # over white
        array = array[:, :, :3] * array[:, :, 3:] + (1 - array[:, :, 3:])
    array = np.broadcast_to(array, (*array.shape[:2], 3))
    return [Image.fromarray(np.ascontiguousarray(array[:, :, channel])) for channel in range(3)]


def _checked_values(array: np.ndarray) -> np.ndarray:
    if array.dtype == bool:
        return array.astype(np.float32)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"pixels of dtype {array.dtype} have no known range: give uint8, uint16 or floats in [0, 1]")
    if not np.isfinite(array).all():
        raise ImageError("the picture has NaN or infinite values")
    low, high = float(array.min()), float(array.max())
    if low < -1e-3 or high > 1 + 1e-3:
        raise ImageError(f"pixels must lie in [0, 1], these go from {low:.4g} to {high:.4g}: scale them first")
    return np.clip(array, 0, 1)


def _centred(plane: "Image.Image", size: tuple[int, int], short_side: int | None) -> "Image.Image":
    """The centre of a PIL image, resized to `size`: as much of it as fits, or what `short_side` leaves."""
    from PIL import Image

    height, width = size
    scale = min(plane.width / width, plane.height / height)
    if short_side is not None:
        scale = min(plane.width, plane.height) / short_side
    left, top = (plane.width - scale * width) / 2, (plane.height - scale * height) / 2
    right, bottom = min(left + scale * width, plane.width), min(top + scale * height, plane.height)
    if (left, top, right, bottom) == (0, 0, width, height):
        return plane
    return plane.resize((width, height), Image.Resampling.BICUBIC, box=(max(left, 0), max(top, 0), right, bottom))
