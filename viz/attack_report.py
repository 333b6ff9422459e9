"""What an attack is worth once its result is a picture: saved with 8 bits a channel, read again, scored again.

Rounding to 256 levels moves a pixel by up to half a level (1/510). That may undo an attack that stands right at the
border of two classes, and may exceed an L-infinity budget by half a level; `round_within` rounds inside the budget.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.nn import Module
from models.images import load_image, save_image

from .attacks import aimed_by_name, check_budget, checked_images, distance, measured, require_classes, scores
from .objective import Objective, as_objective
from .table import Table
from .target import classes, is_class
from .typing import Classes, Images, Target

LEVELS = 255


def as_saved(image: Images) -> np.ndarray:
    """`image` (N,3,H,W) in [0, 1] as it comes back from an 8-bit file: the nearest of 256 levels, float32."""
    return np.rint(np.asarray(image, np.float64) * LEVELS).astype(np.float32) / np.float32(LEVELS)


def round_within(adversarial: np.ndarray, image: Images, epsilon: float) -> np.ndarray:
    """`adversarial` on 256 levels without leaving the L-infinity ball of radius epsilon about `image`.

    Each value goes to the nearest level in [image - epsilon, image + epsilon]. Where there is none (epsilon below half
    a level, and an image that is not on the levels itself) it goes to the level nearest to the image.
    """
    adversarial, image = (np.asarray(x, np.float64) * LEVELS for x in (adversarial, image))
    slack = 1e-4  # of a level: what float32 makes of k/255 must not lose level k
    low = np.ceil(np.maximum(image - epsilon * LEVELS, 0) - slack)
    high = np.floor(np.minimum(image + epsilon * LEVELS, LEVELS) + slack)
    levels = np.where(low <= high, np.clip(np.rint(adversarial), low, high), np.rint(image))
    return levels.astype(np.float32) / np.float32(LEVELS)


def distances(image: Images, other: np.ndarray, threshold: float = 0.0) -> dict[str, np.ndarray]:
    """{"linf", "l2", "l0"}: arrays (N,) of how far `other` is from `image`, both (N,3,H,W) in [0, 1].

    linf: the largest change of a value. l2: the root of the summed squares over all values of an image. l0: the number
    of pixels (positions) with a value that changed by more than `threshold`.
    """
    delta = np.abs(np.asarray(other, np.float64) - np.asarray(image, np.float64))
    return {
        "linf": delta.max((1, 2, 3)),
        "l2": np.sqrt((delta**2).sum((1, 2, 3))),
        "l0": (delta > threshold).any(1).sum((1, 2)),
    }


@aimed_by_name
def report_attack(
    model: Module,
    image: Images,
    adversarial: np.ndarray,
    *,
    target: Target | None = None,
    label: Classes | None = None,
    epsilon: float | None = None,
    paths: Sequence[Any] | None = None,
) -> list:
    """Scores and distances of attacked images as they are, and after they were saved as 8-bit PNG and read again.

    image, adversarial: (N,3,H,W) in [0, 1], before and after the attack. target: the class (or one for each image) that
    the attack was to reach; None for an untargeted one, which succeeds where the class is no longer `label` (by default
    the network's own class for `image`). epsilon: round inside this L-infinity budget (`round_within`), not to the
    nearest level. paths: where to save the PNGs, one for each image; None saves none, but rounds as a PNG does.

    Returns a Table, a list with a dict of plain numbers for each image: "label", "target", and under "original",
    "attacked" and "saved" the "class" found and "probability" of it, "p_label" and "p_target"; the last two also hold
    "success" and the distances "linf", "l2" and "l0" to `image`, l0 of the saved one counting changes of more than half
    a level. Of an Objective or a function of the output as target or label, there is its "score" in the place of
    classes, and success is that it has risen (target) or fallen (label).
    """
    image, adversarial = (
        checked_images("report_attack", model, image),
        checked_images("report_attack", model, adversarial),
    )
    if image.shape != adversarial.shape:
        raise ValueError(f"report_attack: image {image.shape} and adversarial {adversarial.shape} must agree in shape")
    if paths is not None and len(paths) != len(image):
        raise ValueError(f"report_attack: {len(paths)} paths for {len(image)} images; give one for each")
    if epsilon is not None:
        check_budget("report_attack", image, epsilon)
    saved = _through_files(round_within(adversarial, image, epsilon) if epsilon is not None else adversarial, paths)
    half_a_level = 0.5 / LEVELS + 1e-6

    states = {"original": image, "attacked": adversarial, "saved": saved.astype(image.dtype)}
    chosen = label if target is None else target
    if is_class(chosen):
        reports = _of_classes(model, states, target, label)
    else:
        reports = _of_score(model, states, as_objective(chosen), 1 if target is None else -1)
    for state, moved in (("attacked", distances(image, adversarial)), ("saved", distances(image, saved, half_a_level))):
        for n, report in enumerate(reports):
            report[state] |= {name: values[n].item() for name, values in moved.items()}
    return reports


def _of_classes(model: Module, states: dict, target: Any, label: Any) -> list[dict]:
    """The reports without distances, of images {state: (N,3,H,W)}."""
    found = {state: _probabilities(model, image) for state, image in states.items()}
    labels = classes(model, mg.from_numpy(found["original"]), label, "label")
    targets = None if target is None else classes(model, mg.from_numpy(found["original"]), target)
    reports = Table()
    for n, own in enumerate(labels):
        goal = None if targets is None else int(targets[n])
        report = {"label": int(own), "target": goal}
        for state, p in found.items():
            report[state] = _outcome(p[n], int(own), goal)
            if state != "original":
                reached = report[state]["class"] != own if goal is None else report[state]["class"] == goal
                report[state] |= {"success": bool(reached)}
        reports.append(report)
    return reports


def _of_score(model: Module, states: dict, objective: Objective, direction: float) -> list[dict]:
    """The same for an Objective, which was to be lowered (direction 1) or raised (-1)."""
    away = {
        state: measured(model, image, lambda model, x: distance(model, x, objective)) for state, image in states.items()
    }
    reports = Table()
    for n, before in enumerate(away["original"]):
        report = {state: {"score": -float(found[n])} for state, found in away.items()}
        for state in ("attacked", "saved"):
            report[state] |= {"success": bool((away[state][n] - before) * direction > 0)}
        reports.append(report)
    return reports


def _outcome(p: np.ndarray, label: int, target: int | None) -> dict:
    top = int(p.argmax())
    outcome = {"class": top, "probability": float(p[top]), "p_label": float(p[label])}
    return outcome if target is None else outcome | {"p_target": float(p[target])}


def _probabilities(model: Module, image: np.ndarray) -> np.ndarray:
    z = scores(model, image).astype(np.float64)
    require_classes("report_attack", z)
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _through_files(image: np.ndarray, paths: Sequence[Any]) -> np.ndarray:
    """(N,C,H,W) float32: each image saved as PNG and loaded again; without paths, what that would give."""
    if paths is None:
        return as_saved(image)
    for one, path in zip(image, paths, strict=True):
        save_image(one, path)
    return np.concatenate([load_image(path)[:, : image.shape[1]] for path in paths])
