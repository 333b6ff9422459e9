"""Arrays and pictures as JSON carries them to the page."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from viz.colours import as_picture


def numbers(array: np.ndarray) -> dict[str, Any]:
    """An array as float32: {"shape", "f4": base64}, little-endian."""
    array = np.ascontiguousarray(array, "<f4")
    return {"shape": array.shape, "f4": base64.b64encode(array.tobytes()).decode("ascii")}


def levels(array: np.ndarray) -> dict[str, Any]:
    """An array of 0 to 255 as bytes: {"shape", "u1": base64}."""
    array = np.ascontiguousarray(array, np.uint8)
    return {"shape": array.shape, "u1": base64.b64encode(array.tobytes()).decode("ascii")}


def png(image: np.ndarray) -> bytes:
    """The bytes of a PNG of an image (3,H,W) or (1,3,H,W) in [0,1]."""
    file = io.BytesIO()
    Image.fromarray(np.rint(as_picture(image) * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def picture(image: np.ndarray) -> str:
    """The same as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode("ascii")
