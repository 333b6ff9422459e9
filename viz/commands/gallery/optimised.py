"""The sections of pictures that were optimised: class and channel images with their course, and style transfer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import viz
from minigrad.nn import Module
from viz.coarse_to_fine import factors
from viz.head import stages
from viz.optimize import Optimized

from ..pictures import fitted
from . import embed
from .notes import SECTIONS
from .study import Study


def optimised(study: Study) -> dict[str, Any]:
    """Films of the images that the likeliest classes, and some channels, grow from noise."""
    budget, job = study.budget, study.job
    classes = list(dict.fromkeys([*study.classes, *map(int, np.argsort(-job.probabilities, kind="stable"))]))
    classes = classes[: budget.class_images]
    made = ascend(study, study.model, classes, budget.class_steps)
    reached = study.probabilities(made.image)
    films = []
    for n, c in enumerate(classes):
        name, label = job.class_name(c), f"{job.class_name(c)}, p = {reached[n, c]:.2f}"
        study.grown[c] = film(made, n, f"What the network grows for {name}, from noise to the last step", label)
        films.append(study.grown[c])

    channels = []
    for layer in stages(study.model)[1:][-budget.channel_layers :]:
        if job.stopped:
            break
        layer = unrectified(study.model, layer)
        chosen = strongest(study, layer)
        made_here = ascend(study, study.model, [viz.channel(layer, c) for c in chosen], budget.channel_steps)
        for n, c in enumerate(chosen):
            channels.append(film(made_here, n, f"What channel {c} of {layer} grows", f"{layer}, channel {c}"))
    name = job.class_name(classes[0])
    options = ("--preset", "fourier", "--steps", budget.class_steps, "--gif", 6)
    return {
        "films": films,
        "channels": channels,
        "steps": budget.class_steps,
        "channel_steps": budget.channel_steps,
        "frames": max(f.frames for f in films),
        "commands": [study.command("maximize", "--target", name, *options, photograph=False)],
        "note": SECTIONS["optimised"],
        "best": made.image[0],
    }


def ascend(study: Study, model: Module, objectives: Sequence[Any], steps: int) -> Optimized:
    """An Optimized of one image for each objective, made together."""
    made = viz.maximize(
        model,
        objectives,
        parameterization="fourier",
        transforms=viz.robust(),
        steps=steps,
        seed=study.job.args.seed,
        record=study.record_every(steps),
        callback=study.step,
    )
    study.job.stopped |= made.stopped
    return made


def film(made: Optimized, n: int, alt: str, label: str) -> embed.Film:
    return embed.film([frame[n] for frame in made.frames], alt, label)


def unrectified(model: Module, relu: str) -> str:
    """The layer that `relu` rectifies, if it is the one before: there, every unit has a gradient from the start."""
    rows = model.layers()
    place = next(n for n, row in enumerate(rows) if row.name == relu)
    before = rows[place - 1]
    return before.name if before.output_shape == rows[place].output_shape else relu


def strongest(study: Study, layer: str) -> list[int]:
    """The channels of a layer that the photograph excites most."""
    return [int(c) for c in viz.strongest_channels(viz.activation_maps(study.model, study.first.image, layer),
                                                   study.budget.channels)]  # fmt: skip


# ---- style -----------------------------------------------------------------------------------------------------------


def style(study: Study) -> dict[str, Any]:
    """The photograph in the style of --style, or of waves that are drawn here."""
    budget, job = study.budget, study.job
    content = fitted(job, study.first.path, budget.style_side)
    model_style = waves(budget.style_side) if study.style is None else study.style
    scales = len(factors(content.shape[2:], 3))
    made = viz.style_coarse_to_fine(
        study.model,
        content,
        model_style,
        scales=scales,
        layer_weights="balanced",
        average_pooling=None,
        steps=budget.style_steps,
        seed=job.args.seed,
        record=study.record_every(scales * budget.style_steps),
        callback=study.step,
    )
    job.stopped |= made.stopped
    drawn = "waves, drawn for this page" if study.style is None else job.args.style.name
    given = "STYLE" if study.style is None else job.args.style
    losses = {name: (values[0], values[-1]) for name, values in made.losses.items()}
    return {
        "content": embed.photograph(content, f"The content: {study.first.name}"),
        "pattern": embed.photograph(model_style, f"The style: {drawn}"),
        "pattern_name": drawn,
        "film": embed.film(made.frames, f"{study.first.name} in the style of {drawn}", "result"),
        "losses": {name: [embed.number(v) for v in ends] for name, ends in losses.items()},
        "numbers": losses,
        "steps": scales * budget.style_steps,
        "commands": [
            study.command(
                "style_transfer", "--style", given, "--size", budget.style_side, "--steps", budget.style_steps
            )
        ],
        "note": SECTIONS["style"],
    }


def waves(side: int) -> np.ndarray:
    """(1,3,side,side): bands of colour that swell and turn, as a pattern with strokes and a palette of its own."""
    y, x = np.mgrid[:side, :side] / side * 2 * np.pi
    phase = 3 * x + 1.6 * np.sin(2 * y + np.sin(x)) + 0.8 * np.sin(5 * y - 2 * x)
    height = 0.5 + 0.5 * np.sin(4 * y + 1.2 * np.sin(phase) + 0.6 * np.sin(2 * phase))
    palette = np.array([[0.07, 0.16, 0.30], [0.13, 0.42, 0.52], [0.93, 0.80, 0.55], [0.85, 0.36, 0.20]])
    place = height * (len(palette) - 1)
    low = np.minimum(place.astype(int), len(palette) - 2)
    part = (place - low)[..., None]
    picture = (1 - part) * palette[low] + part * palette[low + 1]
    return picture.transpose(2, 0, 1)[None].astype(np.float32)
