"""Style transfer from small to full size (Gatys et al. 2017, arXiv:1611.07865): what a layer sees is a large part of a
small picture, so that wide strokes come first, and the finer ones upon them.
"""

from dataclasses import replace
from typing import Any

from minigrad.nn import Module

from .optimize import Optimized
from .ranges import require
from .style import photograph, resized, style_transfer
from .typing import Images

LEAST = 64  # pixels of a side, below which there is no smaller size


def style_coarse_to_fine(
    model: Module,
    content: Images,
    style: Any,
    *layers: Any,
    scales: int = 3,
    style_scale: float = 1.0,
    start: Any = "content",
    **options: Any,
) -> Optimized:
    """`style_transfer` at several sizes, each twice the one before. Returns an Optimized.

    What comes of one size, enlarged, is where the next begins. scales: how many, fewer where a side would have less
    than 64 pixels. The style is reduced as the content is, but keeps 64 pixels as well. layers, options: as in
    `style_transfer`; steps are taken at each size. The callback counts them all, and images and frames have the size of
    `content`; losses and settings are those of the last size.
    """
    require("style_coarse_to_fine", scales=scales, style_scale=style_scale)
    content = photograph(model, "content", content)
    styles = style if isinstance(style, list | tuple) else [style]
    sides = [min(photograph(model, "style", one).shape[2:]) for one in styles if one is not None]
    least = LEAST / (style_scale * min(sides, default=LEAST))
    if not isinstance(start, str):
        start = photograph(model, "start", start)
        if start.shape[2:] != content.shape[2:]:
            raise ValueError(f"style_coarse_to_fine: start is {start.shape[2:]}, the content {content.shape[2:]}")
    full, callback, frames, taken = content.shape[2:], options.pop("callback", None), [], 0

    def shown(step: int, image: Any, losses: dict) -> Any:
        return callback(taken + step, resized(image, full), losses)

    for factor in factors(full, scales):
        size = tuple(round(n * factor) for n in full)
        if not isinstance(start, str):
            start = resized(start, size)
        result = style_transfer(
            model, resized(content, size), style, *layers, start=start, callback=shown if callback else None,
            style_scale=style_scale * max(factor, min(1.0, least)), **options,
        )  # fmt: skip
        start, taken = resized(result.image, full), taken + result.steps
        frames += [resized(frame, full) for frame in result.frames[bool(frames) :]]  # the first is the last, enlarged
        if result.stopped:
            break
    return replace(result, image=start, frames=frames, steps=taken)


def factors(size: tuple[int, ...], scales: int) -> list[float]:
    """Of the sizes, by which the full one is multiplied: 1/4, 1/2, 1 for three."""
    return [0.5**k for k in reversed(range(scales)) if k == 0 or min(size) * 0.5**k >= LEAST]
