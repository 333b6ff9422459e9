"""What would it rather see: the image that a class, a channel or a neuron likes best, frame by frame, from Fourier
coefficients or pixels, or from the photograph, a dream."""

from typing import Any

import numpy as np

import minigrad as mg
from models.mistakes import UserError
from viz.optimize import Optimized
from viz.target import as_image, channels, logits, probabilities

from .. import changing, dream, maximize
from .packed import picture
from .room import Live, Room
from .style import program
from .why import class_text
from .worker import Wish

# "usual": the options there are, and what they are at first. "live": those that act on an ascent that is on its way.
RECIPES = {
    "fourier": {
        "title": "Fourier coefficients",
        "usual": {"steps": 128, "size": 112, "lr": 0.05, "tv-weight": 0},
        "live": ["lr", "tv-weight"],
    },
    "pixels": {
        "title": "pixels",
        "usual": {"steps": 128, "size": 112, "lr": 0.03, "tv-weight": 0, "blur": 0.5, "jitter": 8},
        "live": ["lr", "tv-weight", "blur", "jitter"],
    },
    "dream": {
        "title": "the photograph, a dream",
        "usual": {"steps": 10, "size": 192, "lr": 0.006, "octaves": 4, "jitter": 32},
        "live": [],
    },
}
PRESETS = {"fourier": "fourier", "pixels": "paper"}


def recipes(room: Room) -> dict[str, dict[str, Any]]:
    """Those that the network can be asked by: Fourier coefficients are of colours."""
    return {name: one for name, one in RECIPES.items() if name != "fourier" or channels(room.model) == 3}


def check_change(recipe: str, text: str) -> None:
    """Refuse "40:lr=0.01" where it is none that the recipe knows."""
    changing.read(text, [flag.replace("-", "_") for flag in RECIPES[recipe]["live"]])


def ascent(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Frames, and at the end what the network says of the image."""
    recipe = question.get("recipe", "fourier")
    if recipe not in RECIPES:
        raise UserError(f"explore knows no recipe {recipe!r}: {', '.join(RECIPES)}")
    if recipe == "dream":
        return dreaming(room, question, wish)
    changes = question.get("changes", [])
    for text in changes:
        check_change(recipe, text)
    wish.changes[:0] = changes
    options = question.get("options", {}) | ({"--preset": "paper"} if recipe == "pixels" else {})
    job = room.asked("maximize", question | {"options": options}, wish)
    job.args.preset, job.args.change = PRESETS[recipe], wish.changes
    if job.args.target is None:
        job.args.target = str(int(job.probabilities.argmax()))
        job.shown = [f"--target={job.args.target}", *job.shown]
    job.drawn = lambda image: {"image": picture(image)}
    result = maximize.ascend(job, [job.wanted])
    job.left(result, job.args.steps)
    if wish.changes:
        job.shown = [*job.shown, "--change", *wish.changes]
        options |= {"--change": list(wish.changes)}
    return {
        **ended(job, result),
        **said(job, result.image),
        "python": room.python(None, *python(job, result), network=job.args.model),
        "keep": ["maximize", {"target": job.args.target, "options": options}],
    }


def ended(job: Live, result: Optimized) -> dict[str, Any]:
    """The last frame, of what it is, how it ended, and the command that makes it."""
    return {
        "image": picture(result.image),
        "of": job.target_name(),
        "ending": job.ending,
        "kept": True,
        "command": job.command_line,
    }


def said(job: Live, image: np.ndarray) -> dict[str, Any]:
    """What the network says of the image; nothing, where it has no scores of classes."""
    try:
        with mg.no_grad():
            p = probabilities(logits(job.model, as_image(job.model, image))).numpy()[0]
    except ValueError:
        return {}
    return {"says": job.class_name(int(p.argmax())), "p": float(p.max())}


def python(job: Live, result: Optimized) -> list[str]:
    """Lines of Python that make the image as the command does."""
    args, chosen = job.args, maximize.settings(job.args)
    later = {}
    for text in args.change:
        step, name, value = changing.read(text, chosen)
        later.setdefault(step, {})[name] = value
    now = {name: later.get(1, {}).get(name, chosen[name]) for changes in later.values() for name in changes}
    value = {name: f'now["{name}"]' if name in now else repr(given) for name, given in chosen.items()}
    words = {name: value[name] for name in ("parameterization", "optimizer", "lr", "steps")}
    words["size"] = str(result.image.shape[2])
    if "lr" in now:
        words["lr"] = 'lambda step: now["lr"]'
    if chosen["tv_weight"] or "tv_weight" in now:
        words["penalties"] = f'{{"tv": lambda x: viz.total_variation(x, "l1", {value["tv_weight"]})}}'
    unless = {name: f" if {value[name]} else x" if name in now else "" for name in ("blur", "jitter")}
    if chosen["blur"] or "blur" in now:
        blurred = f"viz.gaussian_blur(x, {value['blur']})" + unless["blur"]
        words["after_step"] = f"[({chosen['blur_every']}, lambda x, g: {blurred})]"
    shifted = f"viz.jitter({value['jitter']})"
    if "jitter" in now:
        shifted = f"lambda x, rng: {shifted}(x, rng){unless['jitter']}"
    words["transforms"] = "viz.robust()" if chosen["robust"] else f"[{shifted}]"
    lines = []
    if later:
        words["callback"] = "stepped"
        lines = [f"now = {now!r}", f"later = {later!r}  # from which step on", "", ""]
        lines += ["def stepped(step, image, losses):", "    now.update(later.get(step + 1, {}))", "", ""]
    named = ", ".join(f"{name}={value}" for name, value in words.items())
    return [*lines, f"found = viz.maximize(model, {objective_text(job)}, {named}).image"]


def objective_text(job: Live) -> str:
    """The Objective of what is asked for, in Python."""
    wanted = job.wanted
    if wanted.layer is None:
        first, *less = [f"viz.class_score({name})" for name in (class_text(job, index) for index in wanted.classes)]
        return f"{first} - {less[0]}" if less else first
    if wanted.unit is None:
        return f"viz.energy({wanted.layer!r})"
    kind = "neuron" if len(wanted.unit) == 3 else "channel"
    return f"viz.{kind}({', '.join(map(repr, (wanted.layer, *wanted.unit)))})"


def dreaming(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Frames of a dream that begins with the photograph."""
    job = room.asked("dream", question, wish)
    job.drawn = lambda image: {"image": picture(image)}
    image, result = dream.dreamt(job)
    args = job.args
    words = {name: getattr(args, name) for name in ("octaves", "octave_scale", "steps", "lr", "jitter")}
    named = ", ".join(f"{name}={value!r}" for name, value in words.items())
    call = f"viz.deep_dream(model, image, {objective_text(job)}, {named})"
    return {
        **ended(job, result),
        "python": program(room, job, {"image": image}, f"found = {call}.image"),
        "keep": ["dream", {"target": args.target, "options": question.get("options", {})}],
    }
