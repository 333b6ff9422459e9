"""Animated GIFs. A GIF has 256 colours; one palette for all frames, and dithering, keep it from flickering."""

from typing import Any

import numpy as np

from minigrad.serialization import replacing


def save_gif(frames: list[Any], path: Any, seconds: float = 0.08, hold: float = 1.5) -> None:
    """Write images as a GIF that runs for ever; Pillow's.

    frames: arrays (3,H,W) or (N,3,H,W), RGB in [0,1] (what lies outside is cut off), or with 1 for 3, grey; all of one
        shape; the N images of a frame stand side by side. seconds: for each frame; hold: for the last.
    """
    from PIL import Image

    levels = [_levels(frame) for frame in frames]
    if not levels:
        raise ValueError("there are no frames to write: record some (record=10 keeps every tenth image)")
    if len({level.shape for level in levels}) > 1:
        raise ValueError(f"the frames differ in size: {sorted({level.shape[:2] for level in levels})}")

    # Median cut on pixels of all frames, refined by k-means.
    pixels = np.concatenate([level.reshape(-1, 3) for level in levels])
    pixels = pixels[:: max(1, len(pixels) // 2**18)]
    palette = Image.fromarray(pixels[None]).quantize(256, Image.Quantize.MEDIANCUT, kmeans=2)
    first, *rest = (
        Image.fromarray(level).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for level in levels
    )
    durations = [round(1000 * seconds)] * len(rest) + [round(1000 * hold)]
    with replacing(path) as temporary:
        first.save(
            temporary, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False
        )


def _levels(frame: np.ndarray) -> np.ndarray:
    """(H, W*N, 3) uint8."""
    frame = np.asarray(frame)
    frame = frame[None] if frame.ndim == 3 else frame
    if frame.ndim != 4 or frame.shape[1] not in (1, 3):
        raise ValueError(f"a frame must be (3,H,W) or (N,3,H,W), got shape {frame.shape}")
    frame = np.broadcast_to(frame, (len(frame), 3, *frame.shape[2:]))
    side_by_side = np.concatenate(list(frame), axis=2).transpose(1, 2, 0)
    return np.rint(np.clip(side_by_side, 0, 1) * 255).astype(np.uint8)
