"""The sections that look inside: activation maps layer by layer, and the patches that excite a channel most."""

from typing import Any

import numpy as np

import minigrad as mg
import viz
from minigrad.nn import Module
from minigrad.nn.activations import ACTIVATIONS
from viz.colours import Scale, centred
from viz.head import stages
from viz.target import as_image

from . import embed
from .notes import SECTIONS
from .study import Study

SIDE = 48  # pixels of a patch's side on the page, at least


def activations(study: Study) -> dict[str, Any]:
    """The strongest channels of the layers that `looked_at` chooses."""
    model = study.model
    rows, all_of_them = looked_at(model, study.budget.layers)
    names = [row.name for row in rows]
    with mg.no_grad():
        found = model.activations(as_image(model, study.first.image), names)
    study.did()
    return {
        "rows": [activation_row(study, row, found[row.name].numpy()) for row in rows],
        "of": all_of_them,
        "commands": [study.command("activations", "--layer", names[-1], "--top", study.budget.maps)],
        "note": SECTIONS["activations"],
    }


def looked_at(model: Module, most: int) -> tuple[list[Any], int]:
    """(rows of `model.layers()`, of how many): the rectifiers and other activations that give maps, evenly spaced where
    there are more than `most`; the last maps of each size where a network has no such layers."""
    maps = {row.name: row for row in model.layers() if len(row.output_shape) == 3 and row.output_shape[1:] != (1, 1)}
    names = [name for name in maps if type(model[name]).__name__ in ACTIVATIONS] or stages(model)
    chosen = np.unique(np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int))
    return [maps[names[n]] for n in chosen], len(names)


def activation_row(study: Study, row: Any, a: np.ndarray) -> dict[str, Any]:
    """A layer's strongest maps (1,C,H,W) on one scale, with what the page says of the layer."""
    channels = viz.strongest_channels(a, study.budget.maps)
    scale = Scale.of([a[0, c] for c in channels])
    count, height, width = row.output_shape
    return {
        "name": row.name,
        "size": f"{width}\u00a0×\u00a0{height}",
        "count": count,
        "silent": int((a[0].max((1, 2)) <= 0).sum()) or "none",
        "field": "\u00a0×\u00a0".join(map(str, row.receptive_field.size[::-1])),
        "maps": [embed.drawn(a[0, c], scale, f"{row.name}, channel {c}") for c in channels],
        "channels": [int(c) for c in channels],
        "scale": embed.colour_bar(scale),
    }


def patches(study: Study) -> dict[str, Any]:
    """For some channels of the last layer of each stage, the strongest patches and their projections."""
    images, _ = study.pool
    layers, budget, rng = stages(study.model), study.budget, np.random.default_rng(study.job.args.seed)
    maxima = viz.channel_maxima(study.model, images, layers)
    study.did()
    groups = []
    for layer in layers:
        cards = []
        for channel in viz.live_channels(maxima[layer], budget.patch_channels, budget.patches, rng):
            cards.append(patch_card(study, images, layer, int(channel), maxima[layer]))
            study.did()
        if cards:
            groups.append({"layer": layer, "size": cards[0]["size"], "cards": cards})
    whole = len(study.paths) >= 12
    return {
        "groups": groups,
        "source": f"{len(images)} photographs" if whole else f"{len(images)} parts of {described(study)}",
        "commands": [study.command("top_patches", "--data", "DIR", "--layer", layers[-1], photograph=False)],
        "note": SECTIONS["patches"],
    }


def patch_card(study: Study, images: np.ndarray, layer: str, channel: int, maxima: np.ndarray) -> dict[str, Any]:
    """A channel's strongest patches above what each projects to, and how strong they are."""
    found = viz.top_patches(study.model, images, layer, channel, study.budget.patches, maxima)
    back = viz.projections(study.model, images, found)
    back = np.stack([centred(p) for p in back]).astype(np.float32)
    rows = [viz.enlarge(p, SIDE) for p in (found.pixels, back)]
    sheet = viz.tile(np.concatenate(rows), columns=len(found.pixels), gap=4)
    size = f"{found.pixels.shape[3]} × {found.pixels.shape[2]}"
    alt = f"{layer}, channel {channel}: its {len(found.pixels)} strongest patches, and below them their projections"
    ends = [embed.number(float(found.activation[i])) for i in (0, -1)]
    return {"channel": channel, "sheet": embed.photograph(sheet, alt), "ends": ends, "size": size}


def described(study: Study) -> str:
    """ "cat.png", or "3 photographs"."""
    return study.first.name if len(study.paths) == 1 else f"{1 + len(study.others)} photographs"
