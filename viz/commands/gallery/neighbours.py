"""The section that puts photographs, or parts of one, on a map by what the network says of them."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

import viz
from viz.colours import CYCLE, as_picture
from viz.target import logits_layer

from . import embed
from .layers import described
from .notes import SECTIONS
from .study import Study

WIDTH, HEIGHT, THUMB, FRAME = 1200, 900, 64, 4  # of a map, in its pixels


def neighbours(study: Study) -> dict[str, Any]:
    """PCA and, with scikit-learn, t-SNE of the scores, with thumbnails framed in the colour of their class."""
    whole = len(study.paths) >= 12
    images, captions = study.pool if whole else study.crops((1, 2, 3, 4), overlap=True)
    layer = logits_layer(study.model)
    x = viz.features(study.model, images, layer)
    study.did(2)
    probabilities = study.probabilities(images)
    named = probabilities.argmax(1)
    names = [f"{caption}: {study.job.class_name(row.argmax())}, p = {row.max():.2f}"
             for caption, row in zip(captions, probabilities, strict=True)]  # fmt: skip
    legend = legend_of(study, named)
    points, _, shares = viz.pca(x)
    maps = [drawn_map(images, names, points, named, legend, "PCA", f"{shares.sum():.0%} of the variance")]
    with contextlib.suppress(ImportError, ValueError):  # without scikit-learn, or with few pictures, PCA stands alone
        points = viz.tsne(x, 12, study.job.args.seed)
        maps.append(drawn_map(images, names, points, named, legend, "t-SNE", "perplexity 12"))
    study.did(2)
    apart = viz.silhouette(x, named) if 2 <= len(np.unique(named)) < len(x) else None
    return {
        "maps": maps,
        "legend": [{"name": study.job.class_name(c), "colour": colour, "count": int((named == c).sum())}
                   for c, colour in legend.items()],
        "source": f"{len(images)} photographs" if whole else f"{len(images)} parts of {described(study)}",
        "layer": layer,
        "silhouette": None if apart is None else embed.number(apart),
        "commands": [study.command("embedding", "--data", "DIR", "--method", "tsne", photograph=False)],
        "note": SECTIONS["map"],
    }  # fmt: skip


def legend_of(study: Study, named: np.ndarray) -> dict[int, str]:
    """{class: colour}: the most frequent classes first; those beyond the colours there are share a grey."""
    kinds, counts = np.unique(named, return_counts=True)
    ranked = [int(c) for c in kinds[np.argsort(-counts, kind="stable")]]
    colours = [c for c in CYCLE if c != "#000000"]
    return {c: colours[n] if n < len(colours) else "#8a8a8a" for n, c in enumerate(ranked)}


def drawn_map(
    images: np.ndarray,
    names: Sequence[str],
    points: np.ndarray,
    named: np.ndarray,
    legend: Mapping[int, str],
    title: str,
    detail: str,
) -> dict[str, Any]:
    """The picture of a map, and where its points are: (share of the width, of the height, name), from left to right."""
    low, high = points.min(0), points.max(0)
    place = (points - low) / np.where(high > low, high - low, 1)
    sheet = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    side = THUMB + 2 * FRAME
    corners = np.rint(np.stack([place[:, 0], 1 - place[:, 1]], 1) * (WIDTH - side, HEIGHT - side)).astype(int)
    for image, corner, c in sorted(zip(images, corners.tolist(), named, strict=True), key=lambda row: -row[1][1]):
        thumb = Image.fromarray(np.rint(255 * as_picture(image)).astype(np.uint8)).resize((THUMB, THUMB))
        card = Image.new("RGBA", (side, side), legend[int(c)])
        card.paste(thumb, (FRAME, FRAME))
        sheet.paste(card, tuple(corner))
    alt = f"{title} map of {len(images)} pictures, each framed in the colour of the class that the network names"
    centres = (corners + side / 2) / (WIDTH, HEIGHT)
    points = sorted([round(x, 4), round(y, 4), name] for (x, y), name in zip(centres.tolist(), names, strict=True))
    return {"title": title, "detail": detail, "picture": embed.transparent(np.asarray(sheet), alt), "points": points,
            "size": f"{side / WIDTH:.4%}"}  # fmt: skip
