"""Figures from arrays. Nothing here computes a map; nothing elsewhere draws one.

Every function returns a matplotlib Figure of its own, made without pyplot's global state: `figure.savefig("x.png")`; a
notebook shows it.
Images are (3,H,W) or (1,3,H,W) in [0,1]; heat maps are (H,W) or (1,H,W), and signed if they hold a negative value: then
their colours diverge from 0 (red for, blue against), otherwise they go from black to yellow. Colours span the map up to
its 99.5th percentile, so that one pixel does not darken all others; the colour bar's arrow says when values lie beyond.

Sizes are in inches, sizes of type in points.
"""

import io
import math
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from .colours import CYCLE, Scale, as_map, as_picture, centred, overlay  # noqa: F401 (scripts take them from here)
from .typing import Images

DPI = 150
TITLE, LABEL, SMALL = 10, 8, 7
MARGIN, GAP, BAR = 0.15, 0.12, 0.95
INK, FAINT, ACCENT = "#222222", "#bbbbbb", "#0072b2"
DASHES = ("-", "--", ":", "-.")  # where there are more lines than colours


# ---- figures of maps and images --------------------------------------------------------------------------------------


def attribution(image: np.ndarray, heat: np.ndarray, title: str = "", label: str = "") -> "_Shown":
    """The image, the map with its colour bar, and the map over the image. label: what the map measures."""
    scale = Scale.of(as_map(heat))
    cells = [as_picture(image), scale.colours(heat), overlay(image, heat, scale)]
    sheet = _Sheet([cells], [["photograph", "map", "map over photograph"]], title, bars=1)
    sheet.bars([scale], label)
    return sheet.figure


def attribution_grid(
    images: np.ndarray,
    maps: list[list[np.ndarray]],
    rows: list[str],
    columns: list[str],
    title: str = "",
    over: Any = None,
) -> "_Shown":
    """Maps side by side: `maps[r][c]` over `images[r]`, each on its own scale, and the image itself at the left.

    images: one for all rows, or a list with one for each. rows, columns: labels, such as classes and methods.
    over: the rows and columns whose maps lie over the image, others stand alone (fine ones show better); None for all.
    In a map's place a sentence may stand, why there is none.
    """
    if len(maps) != len(rows) or any(len(row) != len(columns) for row in maps):
        raise ValueError(f"attribution_grid: maps are not {len(rows)} rows (rows) of {len(columns)} (columns)")
    images = list(images) if isinstance(images, list | tuple) else [images] * len(rows)
    scales = []

    def cell(image: Any, row: int, column: int, heat: Any) -> Any:
        if isinstance(heat, str):
            return heat
        scales.append(scale := Scale.of(as_map(heat)))
        return overlay(image, heat, scale) if over is None or {row, column} & set(over) else scale.colours(heat)

    cells = [
        [as_picture(image), *(cell(image, name, column, heat) for column, heat in zip(columns, row, strict=True))]
        for image, name, row in zip(images, rows, maps, strict=True)
    ]
    captions = [["photograph", *columns]] + [[""] * (len(columns) + 1)] * (len(rows) - 1)
    kinds = sorted({scale.signed for scale in scales})
    clipped = any(scale.clipped for scale in scales)
    sheet = _Sheet(cells, captions, title, rows=rows, bars=len(kinds))
    if kinds:
        sheet.bars([Scale(1.0, signed, clipped) for signed in kinds], "relative to each map's scale")
    return sheet.figure


def maps(
    maps: list[Any],
    labels: list[str] | None = None,
    title: str = "",
    label: str = "",
    columns: Any = None,
    shared: bool = True,
    image: Images | None = None,
) -> "_Shown":
    """A grid of maps (K,H,W) or a list of them. shared: one scale for all; otherwise each has its own.

    image: what they are maps of, to stand first.
    """
    maps = [as_map(heat) for heat in maps]
    if not maps:
        raise ValueError("maps: there is nothing to draw, the list is empty")
    own = [Scale.of(heat) for heat in maps]
    common = Scale.of(maps)
    cells = [(common if shared else scale).colours(heat) for heat, scale in zip(maps, own, strict=True)]
    if image is not None:
        labels = ["photograph", *([""] * len(cells) if labels is None else labels)]
        cells.insert(0, as_picture(image))
    kinds = (
        [common] if shared else [Scale(1.0, s, any(o.clipped for o in own)) for s in sorted({o.signed for o in own})]
    )
    sheet = _Sheet(*_in_rows(cells, labels, columns), title, bars=len(kinds))
    sheet.bars(kinds, label if shared else f"{label or 'value'}, relative to each map's scale")
    return sheet.figure


def pictures(images: Images, labels: list[str] | None = None, title: str = "", columns: Any = None) -> "_Shown":
    """A grid of images, each with its label above."""
    return _Sheet(*_in_rows([as_picture(image) for image in images], labels, columns), title).figure


def _in_rows(cells: Any, labels: Any, columns: int) -> tuple:
    """Cells and labels as lists of rows; the last row is filled up with None."""
    if not cells:
        raise ValueError("there is nothing to draw: the list of maps or images is empty")
    labels = [""] * len(cells) if labels is None else [str(label) for label in labels]
    if len(labels) != len(cells):
        raise ValueError(f"there are {len(labels)} labels for {len(cells)} maps or images")
    height, width = cells[0].shape[:2]
    columns = columns or min(len(cells), max(1, round(math.sqrt(1.4 * len(cells) * height / width))))
    missing = -len(cells) % columns
    cells, labels = cells + [None] * missing, labels + [""] * missing
    return [[row[i : i + columns] for i in range(0, len(cells), columns)] for row in (cells, labels)]


# ---- charts ----------------------------------------------------------------------------------------------------------


def bars(
    names: list[str],
    values: list[float],
    title: str = "",
    image: Images | None = None,
    highlight: int | None = None,
    label: str = "probability",
) -> "_Shown":
    """Horizontal bars of values in [0,1], the first at the top, beside the image if there is one.

    highlight: the index of a bar to set apart.
    """
    height, foot = max(1.6, 0.3 * len(names) + 0.2), 0.5
    beside = 0.0 if image is None else min(2 * height, height * _aspect(image)) + 2 * GAP
    text = min(2.4, 0.08 + max(_width(str(name), LABEL) for name in names))
    width = MARGIN + beside + text + 2.6 + MARGIN
    titled, top = _wrapped(title, width - 2 * MARGIN, TITLE)
    figure = _figure(width, foot + height + top + MARGIN)
    at = _inches(figure)
    _text(figure, titled, MARGIN, foot + height + top, TITLE)
    if image is not None:
        _show(figure.add_axes(at(MARGIN, foot, beside - 2 * GAP, height)), as_picture(image))
    axes = figure.add_axes(at(MARGIN + beside + text, foot, 2.1, height))
    places = np.arange(len(names))
    axes.barh(places, values, 0.62, color=[ACCENT if i == highlight else FAINT for i in places])
    for place, name, value in zip(places, names, values, strict=True):
        name = textwrap.shorten(str(name), int(text * 72 / (0.58 * LABEL)), placeholder="…")
        axes.text(-0.03, place, name, ha="right", va="center", fontsize=LABEL, color=INK, parse_math=False)
        axes.text(value + 0.02, place, f"{value:.3f}", ha="left", va="center", fontsize=SMALL, color=INK)
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), yticks=[], xticks=[0, 0.5, 1])
    _quiet(axes, label, "")
    axes.spines["left"].set_visible(True)
    return figure


def curves(series: dict[str, Any], x: str = "", y: str = "", title: str = "", log: bool | str = False) -> "_Shown":
    """Lines: `series` is {name: values} or {name: (xs, values)}; log: a logarithmic vertical axis, or "both" axes, for
    few values, which are marked. A line that lies on an earlier one is dashed, so that both can be seen."""
    figure, axes = _chart(title)
    before: list[np.ndarray] = []
    for n, (name, line) in enumerate(series.items()):
        xs, values = line if isinstance(line, tuple) else (np.arange(len(line)), line)
        covers = any(_alike(values, other) for other in before)
        before.append(np.asarray(values))
        colour, dashes = CYCLE[n % len(CYCLE)], DASHES[(n // len(CYCLE) + covers) % len(DASHES)]
        axes.plot(
            xs, values, color=colour, linestyle=dashes, linewidth=1.3, label=str(name), marker="o" * (log == "both")
        )
    if log:
        axes.set_yscale("log")
    if log == "both":
        axes.set_xscale("log")
        axes.set_xticks(xs, [f"{value:g}" for value in xs])
        axes.set_xticks([], minor=True)
    _quiet(axes, x, y)
    if len(series) > 1:
        axes.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _alike(values: Any, other: np.ndarray) -> bool:
    """Whether two lines are one to the eye: no further apart anywhere than a hundredth of their range."""
    return np.shape(values) == other.shape and np.allclose(values, other, rtol=0, atol=0.01 * np.ptp(other))


def scatter(
    points: np.ndarray, classes: np.ndarray, names: list[str], title: str = "", x: str = "", y: str = ""
) -> "_Shown":
    """Points (K,2), coloured by their class (K,), an index into `names`."""
    figure, axes = _chart(title)
    points, classes = np.asarray(points), np.asarray(classes)
    markers = "osD^vPX"
    for index, (name, colour) in enumerate(zip(names, _cycle(), strict=False)):
        chosen = points[classes == index]
        marker = markers[index // len(CYCLE) % len(markers)]
        axes.scatter(*chosen.T, s=12, color=colour, marker=marker, linewidth=0, alpha=0.8, label=str(name))
    _quiet(axes, x, y)
    if not x and not y:  # as of t-SNE, whose axes mean nothing
        axes.set(xticks=[], yticks=[])
    axes.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def matrix(
    values: list[Any] | np.ndarray,
    rows: list[str],
    columns: list[str],
    title: str = "",
    x: str = "",
    y: str = "",
    form: str = "{:.2f}",
    shades: list[list[int]] | None = None,
) -> "_Shown":
    """A table (R,C) of numbers as shades with the numbers written in, a dash for NaN. form: how a number is written.

    shades: (R,C) in [0,1], white to dark, where the shade is not to be the number.
    """
    values = np.asarray(values, dtype=np.float64)
    drawn = values if shades is None else np.asarray(shades, dtype=np.float64)
    width, height = max(2.0, 0.5 * len(columns)), max(0.8, 0.3 * len(rows))
    left = 0.25 + max(_width(str(row), SMALL) for row in rows) + (0.25 if y else 0)
    each = width / len(columns)  # names of columns lean to the left, by the cosine of 40 degrees
    left = max(left, *(0.77 * _width(str(name), SMALL) - (c + 0.5) * each + 0.1 for c, name in enumerate(columns)))
    foot = 0.2 + 0.7 * max(_width(str(column), SMALL) for column in columns) + (0.3 if x else 0)
    titled, top = _wrapped(title, left + width, TITLE)
    figure = _figure(left + width + 2 * MARGIN, foot + height + top + MARGIN)
    _text(figure, titled, MARGIN, foot + height + top, TITLE)
    axes = figure.add_axes(_inches(figure)(left, foot, width, height))
    scale = Scale.of(values, percentile=100) if shades is None else Scale(1.0, False, False)
    axes.imshow(drawn, cmap="RdBu_r" if scale.signed else "Blues", norm=scale.norm, aspect="auto")
    for (r, c), value in np.ndenumerate(values):
        dark = abs(drawn[r, c]) > 0.6 * scale.high
        text = "–" if math.isnan(value) else form.format(value)
        axes.text(c, r, text, ha="center", va="center", fontsize=SMALL, color="white" if dark else INK)
    axes.set_xticks(range(len(columns)), [str(c) for c in columns], rotation=40, ha="right", parse_math=False)
    axes.set_yticks(range(len(rows)), [str(r) for r in rows], parse_math=False)
    _quiet(axes, x, y)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _chart(title: str) -> tuple:
    width, height = 6.4, 3.6
    titled, top = _wrapped(title, width - 2 * MARGIN, TITLE)
    figure = _figure(width, height + top)
    _text(figure, titled, MARGIN, height + top - 0.1, TITLE)
    return figure, figure.add_axes(_inches(figure)(0.75, 0.55, 4.2, height - 0.7))


def _cycle() -> Iterator[str]:
    while True:
        yield from CYCLE


# ---- the sheet -------------------------------------------------------------------------------------------------------


class _Sheet:
    """A figure with equal cells in rows: captions above cells, labels left of rows, colour bars at the right."""

    def __init__(self, cells: Any, captions: Any, title: str = "", rows: Any = None, bars: int = 0) -> None:
        aspects = [cell.shape[1] / cell.shape[0] for row in cells for cell in row if hasattr(cell, "shape")]
        aspect = float(np.exp(np.mean(np.log(aspects))))  # width / height of a cell
        count = max(len(row) for row in cells)
        side = min(2.6, max(0.9, 10 / count), max(1.2, 14 / len(cells)))
        stretch = min(math.sqrt(aspect), 2.0) if aspect > 1 else max(math.sqrt(aspect), 0.5)
        width = max(side * stretch, 0.6)
        height = max(width / aspect, 0.15)

        names = [_lines(row, 1.3, LABEL) for row in rows or [""] * len(cells)]
        left = MARGIN + (max(_width(line, LABEL) for name in names for line in name) + GAP if rows else 0)
        heights = [max(height, 1.25 * LABEL / 72 * len(name)) for name in names]
        lines = [[_wrapped(text, width, LABEL) for text in row] for row in captions]
        above = [max(h for _, h in row) for row in lines]
        self.width = max(left + count * (width + GAP) + (BAR if bars else 0) + MARGIN - GAP, 3.2)
        titled, top = _wrapped(title, self.width - 2 * MARGIN, TITLE)
        self.height = 2 * MARGIN + top + sum(above) + sum(heights) + GAP * (len(cells) - 1)
        self.figure = _figure(self.width, self.height)
        at = _inches(self.figure)

        _text(self.figure, titled, MARGIN, self.height - MARGIN, TITLE)
        y = self.height - MARGIN - top
        self.top = y - above[0]
        self.right = left + count * (width + GAP)
        for r, row in enumerate(cells):
            y -= above[r] + heights[r]
            _text(self.figure, "\n".join(names[r]), MARGIN, y + heights[r] / 2, LABEL, va="center")
            for c, cell in enumerate(row):
                if cell is None:
                    continue
                x = left + c * (width + GAP)
                _text(self.figure, lines[r][c][0], x, y + heights[r] + 0.07, LABEL, va="baseline")
                if isinstance(cell, str):
                    text = "\n".join(_lines(cell, width, SMALL))
                    _text(self.figure, text, x, y + heights[r] / 2, SMALL, va="center")
                    continue
                _show(self.figure.add_axes(at(x, y, width, heights[r])), cell)
            y -= GAP
        self.bottom = y + GAP

    def bars(self, scales: Any, label: str) -> None:
        """One colour bar for each scale, one above the other, all under one label."""
        room = min(self.top - self.bottom, 2.6 * len(scales))
        each = (room - 0.3 * (len(scales) - 1)) / len(scales)
        for i, scale in enumerate(scales):
            place = (self.right + 0.02, self.top - (i + 1) * each - i * 0.3, 0.1, each)
            axes = self.figure.add_axes(_inches(self.figure)(*place))
            extend = ("both" if scale.signed else "max") if scale.clipped else "neither"
            bar = self.figure.colorbar(ScalarMappable(scale.norm, scale.colormap), cax=axes, extend=extend)
            ticks = [-scale.high, 0, scale.high] if scale.signed else [0, scale.high / 2, scale.high]
            bar.set_ticks(ticks, labels=[_plain(tick) for tick in ticks])
            bar.outline.set_visible(False)
            axes.tick_params(labelsize=SMALL, length=2, color=FAINT, labelcolor=INK)
            if label:
                text = "\n".join(_lines(label, max(each, 0.6), SMALL))
                axes.set_ylabel(text, fontsize=SMALL, color=INK, labelpad=5)


def _plain(number: float) -> str:
    """ "120", "0.035"; powers of ten for what is very large or small only."""
    rounded = float(f"{number:.2g}")
    plain = not rounded or 1e-3 <= abs(rounded) < 1e6
    return np.format_float_positional(rounded, trim="-") if plain else f"{rounded:.2g}"


class _Shown(Figure):
    """A Figure that a notebook shows by itself, without pyplot."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def _figure(width: float, height: float) -> "_Shown":
    return _Shown(figsize=(width, height), dpi=DPI, facecolor="white")


def _inches(figure: Any) -> Callable[..., Any]:
    """A function from (left, bottom, width, height) in inches to the figure's own fractions."""
    w, h = figure.get_size_inches()
    return lambda left, bottom, width, height: (left / w, bottom / h, width / w, height / h)


def _show(axes: Any, picture: Any) -> None:
    axes.imshow(picture, interpolation="nearest", aspect="equal", vmin=0, vmax=1)
    axes.set_axis_off()


def _text(figure: Any, text: str, x: float, y: float, size: float, va: str = "top") -> None:
    w, h = figure.get_size_inches()
    figure.text(x / w, y / h, text, fontsize=size, color=INK, ha="left", va=va, linespacing=1.2, parse_math=False)


def _quiet(axes: Any, x: str, y: str) -> None:
    axes.spines[:].set_color(FAINT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL, length=2, color=FAINT, labelcolor=INK)
    axes.set_xlabel(x, fontsize=LABEL, color=INK)
    axes.set_ylabel(y, fontsize=LABEL, color=INK)


def _aspect(image: Any) -> float:
    height, width = as_picture(image).shape[:2]
    return width / height


def _width(text: str, size: float) -> float:
    """About how wide a line of text is, in inches."""
    return 0.56 * size / 72 * len(text)


def _lines(text: str, width: float, size: float) -> list[str]:
    text = str(text).replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    return textwrap.wrap(text, max(8, int(width * 72 / (0.56 * size)))) or [""]


def _wrapped(text: str, width: float, size: float) -> tuple:
    """The text in lines no wider than `width`, and the height they need in inches, 0 for none."""
    lines = _lines(text, width, size)
    return "\n".join(lines), (1.25 * size / 72 * len(lines) + 0.08 if lines[0] else 0.0)
