"""A map beside its photograph, drawn with Pillow: what `plot.attribution` draws, in a tenth of the time.

Importing matplotlib and drawing with it takes longer than VGG16 takes for a Grad-CAM. Scripts that write one map use
this; charts, grids and notebooks, where figures may be changed further, use plot.py. Sizes are in pixels, 150 an inch.
"""

import textwrap
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .colours import Scale, as_map, as_picture, overlay

INCH = 150
TITLE, LABEL, SMALL = (round(points * INCH / 72) for points in (10, 8, 7))
MARGIN, GAP, BAR = 22, 18, 15
INK, FAINT, GROUND = "#222222", "#bbbbbb", "white"
CELL = 390  # the side of a square map; wider or taller ones are stretched


def attribution(image: np.ndarray, heat: np.ndarray, title: str = "", label: str = "") -> Any:
    """A PIL image: the photograph, the map with its colour bar, and the map over the photograph.

    image, heat: as in plot.py. label: what the map measures. The bar is pointed where values lie beyond its end.
    """
    scale = Scale.of(as_map(heat))
    cells = [as_picture(image), scale.colours(heat), overlay(image, heat, scale)]
    height, width = _cell_size(cells[0])
    right = MARGIN + 3 * (width + GAP)
    ticks = [scale.low, (scale.low + scale.high) / 2, scale.high]
    figures = max(_font(SMALL).getlength(f"{tick:.2g}") for tick in ticks)
    whole = round(right + BAR + 8 + figures + 8 + 1.3 * SMALL * len(_lines(label, height, SMALL)) + MARGIN)

    lines = _lines(title, whole - 2 * MARGIN, TITLE)
    top = round(MARGIN + 1.25 * TITLE * len(lines) + 2.2 * LABEL)
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", (whole, top + height + MARGIN), GROUND)
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((MARGIN, MARGIN), "\n".join(lines), INK, _font(TITLE), spacing=0.25 * TITLE)
    for i, (cell, caption) in enumerate(zip(cells, ("photograph", "map", "map over photograph"), strict=True)):
        x = MARGIN + i * (width + GAP)
        draw.text((x, top - 10), caption, INK, _font(LABEL), anchor="ls")
        sheet.paste(_pixels(cell).resize((width, height), Image.Resampling.NEAREST), (x, top))
    _draw_bar(sheet, draw, scale, ticks, right + 3, top, height)
    _draw_label(sheet, label, round(right + BAR + 16 + figures), top, height)
    return sheet


def _cell_size(picture: Any) -> tuple[int, int]:
    """(height, width) of a map on the sheet: the area hardly depends on the shape."""
    aspect = picture.shape[1] / picture.shape[0]
    width = CELL * min(max(aspect**0.5, 0.5), 2.0)
    return max(round(width / aspect), 24), round(width)


def _draw_bar(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, scale: Scale, ticks: Any, x: float, top: float, height: float
) -> None:
    """The colour bar, its ends pointed where the map goes on beyond them, and three numbers."""
    point = BAR if scale.clipped else 0
    foot = point if scale.signed else 0
    colours = scale.colours(np.linspace(scale.high, scale.low, height - point - foot)[:, None])
    sheet.paste(_pixels(np.repeat(colours, BAR, 1)), (x, top + point))
    if point:
        _draw_point(draw, colours[0, 0], x, top + point, -point)
    if foot:
        _draw_point(draw, colours[-1, 0], x, top + height - foot, foot)
    for tick in ticks:
        y = top + point + (height - point - foot - 1) * (scale.high - tick) / (scale.high - scale.low)
        draw.line([(x + BAR, y), (x + BAR + 4, y)], FAINT, 2)
        draw.text((x + BAR + 8, y), f"{tick:.2g}", INK, _font(SMALL), anchor="lm")


def _draw_point(draw: ImageDraw.ImageDraw, colour: Any, x: float, y: float, rise: float) -> None:
    fill = tuple(int(round(255 * c)) for c in colour)
    draw.polygon([(x, y), (x + BAR - 1, y), (x + (BAR - 1) / 2, y + rise)], fill)


def _draw_label(sheet: Image.Image, label: str, x: float, top: float, height: float) -> None:
    """The label, turned to be read from below, centred beside the bar."""
    from PIL import Image, ImageDraw

    lines = _lines(label, height, SMALL)
    turned = Image.new("RGB", (height, round(1.3 * SMALL * len(lines) + 4)), GROUND)
    text = "\n".join(lines)
    ImageDraw.Draw(turned).multiline_text(
        (height / 2, 0), text, INK, _font(SMALL), anchor="ma", align="center", spacing=0.2 * SMALL
    )
    sheet.paste(turned.transpose(Image.Transpose.ROTATE_90), (x, top))


def _pixels(picture: Any) -> Image.Image:
    from PIL import Image

    return Image.fromarray(np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8))


def _lines(text: str, width: float, size: float) -> list[str]:
    """The text in lines no wider than `width`; no lines for no text."""
    text = str(text).replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    most = max(8, int(len(text) * width / max(1.0, _font(size).getlength(text)) * 0.95))
    return textwrap.wrap(text, most)


@cache
def _font(size: float) -> Any:
    """matplotlib's DejaVu Sans, which has most of the world's letters, found without importing matplotlib."""
    from PIL import ImageFont

    folder = Path(find_spec("matplotlib").submodule_search_locations[0])
    return ImageFont.truetype(folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", size)
