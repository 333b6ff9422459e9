"""The figure of a Trust: the map beside its rivals, where each stands, and what was found, in words."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .colours import Scale, as_map, as_picture, overlay
from .plot import ACCENT, CYCLE, DPI, FAINT, INK, LABEL, SMALL, TITLE

SIGNS = {True: "against it", None: "unclear", False: "for it"}


def figure(image: np.ndarray, found: Any, title: str = "") -> Any:
    """A matplotlib Figure. image: (3,H,W) in [0,1]; found: a Trust."""
    sheet = Figure(figsize=(9.6, 6.6), dpi=DPI, facecolor="white")
    sheet.text(0.02, 0.975, title, fontsize=TITLE, color=INK, va="top", parse_math=False)
    _maps(sheet, image, found)
    for place, measure in enumerate(("insertion", "deletion")):
        _strip(sheet.add_axes((0.19 + 0.41 * place, 0.42, 0.36, 0.2)), found, measure, named=not place)
    _words(sheet, found)
    return sheet


def _maps(sheet: Any, image: np.ndarray, found: Any) -> None:
    others, shifts = found.rivals["maps of other photographs"], found.rivals["shifts of it"]
    cells = {
        "photograph": as_picture(image),
        "this map": _over(image, found.map),
        "same, network drawn anew": _over(image, found.random_map),
        "map of another photograph": _over(image, others.maps[others.insertion.argmax()]),
        "this map, shifted": _over(image, shifts.maps[shifts.insertion.argmax()]),
        "a blob": _over(image, found.rivals["blob at the centre"].maps[0]),
    }
    for n, (label, picture) in enumerate(cells.items()):
        axes = sheet.add_axes((0.02 + 0.163 * n, 0.67, 0.15, 0.22))
        axes.imshow(picture, interpolation="nearest", vmin=0, vmax=1)
        axes.set_title(label, fontsize=SMALL, color=INK, pad=3)
        axes.set_axis_off()


def _over(image: np.ndarray, heat: np.ndarray) -> Any:
    return overlay(image, heat, Scale.of(as_map(heat)))


def _strip(axes: Any, found: Any, measure: str, named: str) -> None:
    """One dot for each rival, a line for the map itself."""
    kinds = list(found.rivals)
    for row, kind in enumerate(kinds):
        values = getattr(found.rivals[kind], measure)
        axes.plot(values, np.full(len(values), row), "o", color=CYCLE[1], markersize=4, alpha=0.6, markeredgewidth=0)
    axes.axvline(getattr(found, measure), color=ACCENT, linewidth=1.5)
    axes.set_yticks(range(len(kinds)), kinds if named else [""] * len(kinds), fontsize=SMALL)
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    better = "higher" if measure == "insertion" else "lower"
    axes.set_xlabel(f"area below the {measure} curve ({better} is better); line: this map", fontsize=SMALL, color=INK)
    axes.tick_params(labelsize=SMALL, length=2, color=FAINT, labelcolor=INK)
    axes.spines[:].set_color(FAINT)
    axes.spines[["top", "right"]].set_visible(False)


def _words(sheet: Any, found: Any) -> None:
    y = 0.33
    sheet.text(0.02, y, found.verdict, fontsize=LABEL + 1, color=INK, weight="bold", parse_math=False)
    for name, finding in found.findings.items():
        lines = textwrap.wrap(f"{name} ({SIGNS[finding.against]}): {finding.text}", 170)
        y -= 0.035
        sheet.text(0.02, y, "\n".join(lines), fontsize=SMALL, color=INK, va="top", parse_math=False, linespacing=1.3)
        y -= 0.022 * (len(lines) - 1)
