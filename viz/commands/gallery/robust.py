"""The section that asks two networks the same: the standard one, and the one that was trained against attacks."""

from collections.abc import Sequence
from typing import Any

import models
import viz
from minigrad.nn import Module
from viz.colours import centred

from . import embed
from .attributions import shown
from .notes import SECTIONS
from .optimised import ascend, film
from .study import Study, probabilities

PARTNERS = {"minivgg": "minivgg_robust", "minivgg_robust": "minivgg"}
CALLED = {"minivgg": "the standard network", "minivgg_robust": "trained against attacks"}
SMALL = 4 / 255  # the budget in which the robust network was trained
LARGE = 6.0  # the length of a change that anybody can see


def robust(study: Study) -> dict[str, Any]:
    """The same classes, attacks and class images for both embedded networks, a column for each."""
    job, name = study.job, study.job.args.model
    if name not in PARTNERS:
        return {"remark": f"{study.model.name} has no twin that was trained against attacks; --model minivgg has."}
    partner = models.load(PARTNERS[name], device=job.args.device).eval().requires_grad_(False)
    explained, other = study.classes[:2]
    least = int(job.probabilities.argmin())
    columns = [column(study, model, other, least) for model in (study.model, partner)]
    return {
        "columns": columns,
        "other": job.class_name(other),
        "least": job.class_name(least),
        "levels": round(255 * SMALL),
        "length": embed.number(LARGE),
        "classes": [job.class_name(c) for c in study.classes],
        "frames": max(answer["grown"].frames for c in columns for answer in c["answers"]),
        "commands": [
            job.command(technique, *study.first.argument, "--model", PARTNERS[name], *options)
            for technique, *options in (
                ("saliency", "--target", job.class_name(explained)),
                ("attack", "--method", "pgd", "--target", job.class_name(least), "--epsilon", "4/255"),
            )
        ],
        "note": SECTIONS["robust"],
    }


def column(study: Study, model: Module, other: Module, least: Any) -> dict[str, Any]:
    """What one of the networks answers: readings, a small and a large attack; and for each class explained its gradient
    and its image."""
    image, steps, title = study.first.image, study.budget.attack_steps, study.job.class_name
    who, attack = CALLED[model.name], {"steps": steps, "seed": study.job.args.seed}
    before = probabilities(model, image)[0]
    small = viz.pgd(model, image, target=least, epsilon=SMALL, **attack)
    large = viz.pgd(model, image, target=other, epsilon=LARGE, norm="l2", **attack)
    study.did(4)
    reached = probabilities(model, large)[0, other]
    return {
        "title": who,
        "name": model.name,
        "bars": study.bars(before, 3),
        "attacked": study.bars(probabilities(model, small)[0], 3),
        "answers": answers(study, model),
        "large": embed.exact(large, f"The photograph moved a long way towards {title(other)}, {who}"),
        "reached": f"{reached:.2f}",
    }


def answers(study: Study, model: Module) -> list[dict[str, Any]]:
    """For each class explained: its gradient as colours, as a map, and a Film of its image."""
    subjects = [f"{study.job.class_name(c)}, {CALLED[model.name]}" for c in study.classes]
    images = study.first.image.repeat(len(subjects), 0)
    gradients = viz.gradient(model, images, study.classes)
    maps = shown(study, "saliency", images, study.classes, subjects, model)
    grown = class_images(study, model, subjects)
    return [
        {
            "class": study.job.class_name(c),
            "gradient": embed.exact(centred(gradients[n]), f"The gradient of {subject} as colours; grey is 0"),
            "saliency": maps[n],
            "grown": grown[n],
        }
        for n, (c, subject) in enumerate(zip(study.classes, subjects, strict=True))
    ]


def class_images(study: Study, model: Module, subjects: Sequence[str]) -> list[Any]:
    """A Film for each class explained; those that were made before, if they were."""
    if model is study.model and all(c in study.grown for c in study.classes):
        return [study.grown[c] for c in study.classes]
    made = ascend(study, model, study.classes, study.budget.class_steps)
    return [film(made, n, f"What grows for {subject}", subject) for n, subject in enumerate(subjects)]
