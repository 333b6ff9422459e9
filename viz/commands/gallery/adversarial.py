"""The section on an adversarial pair: two photographs that look alike, read after both were saved with 8 bits."""

from typing import Any

import numpy as np

import viz
from viz.colours import Scale

from . import embed
from .notes import SECTIONS
from .study import Study

BUDGETS = (2, 4, 8, 16)  # levels of 255; the first with which the saved picture is read as the target is shown


def adversarial(study: Study) -> dict[str, Any]:
    """PGD towards the class that the network thinks least likely, within the smallest budget that suffices."""
    job, image = study.job, viz.as_saved(study.first.image)
    target = int(job.probabilities.argmin())
    for levels in BUDGETS:
        attacked = viz.pgd(study.model, image, target=target, epsilon=levels / 255, steps=study.budget.attack_steps,
                           seed=job.args.seed)  # fmt: skip
        (found,) = viz.report_attack(study.model, image, attacked, target=target, epsilon=levels / 255)
        study.did(2)
        if found["saved"]["success"]:
            break
    saved = viz.round_within(attacked, image, levels / 255)
    difference = saved - image
    gain = max(1, round(0.3 / Scale.of(difference).high))  # grey is 0, and the largest changes stay within the picture
    before, after = (study.probabilities(x)[0] for x in (image, saved))
    name = job.class_name(target)
    return {
        "before": embed.exact(image, f"The photograph before the attack, read as {job.class_name(before.argmax())}"),
        "after": embed.exact(saved, f"The attacked photograph, read as {job.class_name(after.argmax())}"),
        "difference": embed.exact(
            0.5 + gain * difference, "The difference between the two, amplified; grey is no change"
        ),
        "amplified": gain,
        "bars_before": study.bars(before, 4),
        "bars_after": study.bars(after, 4),
        "target": name,
        "success": found["saved"]["success"],
        "levels": levels,
        "moved": {"linf": round(255 * found["saved"]["linf"]), "l2": embed.number(found["saved"]["l2"]),
                  "l0": found["saved"]["l0"], "of": int(np.prod(image.shape[2:]))},
        "numbers": found,
        "commands": [study.command("attack", "--method", "pgd", "--target", name, "--epsilon", f"{levels}/255",
                                   "--steps", study.budget.attack_steps)],
        "note": SECTIONS["adversarial"],
    }  # fmt: skip
