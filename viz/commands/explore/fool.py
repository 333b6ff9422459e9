"""Fool it: an attack within a budget, what it changes, and what defences make of the result."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import minigrad as mg
import viz
from models.mistakes import UserError
from viz.target import as_image, logits, probabilities

from .. import attack
from .packed import numbers, picture
from .room import Live, Room
from .why import class_text
from .worker import Wish

DEFENCES = {  # made anew for each answer: noise is drawn by how often it has met a picture
    "4 bits a pixel": lambda: viz.BitDepth(4),
    "a blur of 1 pixel": lambda: viz.GaussianBlur(1.0),
    "JPEG of quality 75": lambda: viz.Jpeg(75),
    "noise of 0.05": lambda: viz.GaussianNoise(0.05),
}
METHODS = {"pgd": "PGD", "fgsm": "FGSM", "apgd": "APGD", "deepfool": "DeepFool", "one_pixel": "few pixels"}


def attempt(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """The attack: both pictures, their difference, and what the network says of each, also behind defences."""
    job = room.asked("attack", question, wish)
    if job.args.method not in METHODS or job.args.norm is not None:
        raise UserError(f"here an attack is one of {', '.join(METHODS)}, with its usual norm")
    image, attacked, saved, found, farther = attack.attempt(job)
    return {
        "original": picture(image),
        "saved": picture(saved),
        "difference": numbers((saved - image)[0]),
        "readings": [reading(job, name, found[name]) for name in ("original", "attacked", "saved")],
        "fooled": bool(found["saved"]["success"]),
        "ends": attack.end(found) + attack.way(farther),
        "linf": 255 * found["saved"]["linf"],
        "l2": found["saved"]["l2"],
        "l0": found["saved"]["l0"],
        "defences": [defended(job, name, image, saved) for name in DEFENCES],
        "ending": job.ending,
        "kept": True,
        "command": job.command_line,
        "python": room.python(job.photo, f"found = {call_text(job)}"),
    }


def reading(job: Live, name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """What the network says of one of the pictures, as attack.attempt found it."""
    return {"name": name, "class": job.class_name(state["class"]), "p": float(state["probability"])}


def defended(job: Live, name: str, image: np.ndarray, saved: np.ndarray) -> dict[str, Any]:
    """What the network says of both pictures behind a defence, which the attack did not know."""
    model = viz.defend(job.model, DEFENCES[name]())
    with mg.no_grad():
        p = probabilities(logits(model, as_image(job.model, np.concatenate([image, saved])))).numpy()
    said = [{"class": job.class_name(int(row.argmax())), "p": float(row.max())} for row in p]
    return {"name": name, "original": said[0], "saved": said[1]}


def call_text(job: Live) -> str:
    """The call of viz's function that the command makes."""
    args, words = job.args, {}
    if args.target:
        words["target"] = class_text(job, job.target)
    if args.epsilon is not None:
        levels = round(255 * args.epsilon)
        words["epsilon"] = f"{levels} / 255" if levels / 255 == args.epsilon else repr(args.epsilon)
    if args.steps is not None:
        words["generations" if args.method == "one_pixel" else "steps"] = str(args.steps)
    if args.method == "one_pixel":
        words["pixels"] = str(args.pixels)
    named = "".join(f", {name}={value}" for name, value in words.items())
    return f"viz.{args.method}(model, viz.as_saved(image){named})"
