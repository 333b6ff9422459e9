"""The section that asks two networks the same: the standard one, and the one that was trained against attacks."""

import models
import viz
from viz import plot

from . import embed
from .attributions import shown
from .notes import SECTIONS
from .optimised import ascend, film
from .study import probabilities

PARTNERS = {"minivgg": "minivgg_robust", "minivgg_robust": "minivgg"}
CALLED = {"minivgg": "the standard network", "minivgg_robust": "trained against attacks"}
SMALL = 4 / 255  # the budget in which the robust network was trained
LARGE = 6.0  # the length of a change that anybody can see


def robust(study):
    """The same class, attack and class image for both embedded networks, a column for each."""
    job, name = study.job, study.job.args.model
    if name not in PARTNERS:
        return {"remark": f"{study.model.name} has no twin that was trained against attacks; --model minivgg has."}
    partner = models.load(PARTNERS[name], device=job.args.device).eval().requires_grad_(False)
    explained, other = study.classes[:2]
    least = int(job.probabilities.argmin())
    columns = [column(study, model, explained, other, least) for model in (study.model, partner)]
    return {
        "columns": columns,
        "class": job.class_name(explained),
        "other": job.class_name(other),
        "least": job.class_name(least),
        "levels": round(255 * SMALL),
        "length": embed.number(LARGE),
        "frames": max(c["grown"].frames for c in columns),
        "commands": [
            job.command(technique, *study.first.argument, "--model", PARTNERS[name], *options)
            for technique, *options in (
                ("saliency", "--target", job.class_name(explained)),
                ("attack", "--method", "pgd", "--target", job.class_name(least), "--epsilon", "4/255"),
            )
        ],
        "note": SECTIONS["robust"],
    }


def column(study, model, explained, other, least):
    """What one of the networks answers: readings, its gradient, a small and a large attack, and its class image."""
    image, steps, title = study.first.image, study.budget.attack_steps, study.job.class_name
    who, attack = CALLED[model.name], {"steps": steps, "seed": study.job.args.seed}
    before = probabilities(model, image)[0]
    small = viz.pgd(model, image, target=least, epsilon=SMALL, **attack)
    large = viz.pgd(model, image, target=other, epsilon=LARGE, norm="l2", **attack)
    study.did(4)
    gradient = plot.centred(viz.gradient(model, image, explained)[0])
    reached = probabilities(model, large)[0, other]
    return {
        "title": who,
        "name": model.name,
        "bars": study.bars(before, 3),
        "attacked": study.bars(probabilities(model, small)[0], 3),
        "gradient": embed.exact(gradient, f"The gradient of {title(explained)} as colours, {who}; grey is 0"),
        "saliency": shown(study, "saliency", image, [explained], [f"{title(explained)}, {who}"], model)[0],
        "large": embed.exact(large, f"The photograph moved a long way towards {title(other)}, {who}"),
        "reached": f"{reached:.2f}",
        "grown": class_image(study, model, explained),
    }


def class_image(study, model, explained):
    """A Film; the one that was made before, if there is one."""
    if model is study.model and explained in study.grown:
        return study.grown[explained]
    label = f"{study.job.class_name(explained)}, {CALLED[model.name]}"
    return film(ascend(study, model, [explained], study.budget.class_steps), 0, f"What grows for {label}", label)
