"""What would it rather see: the image that a class, a channel or a neuron likes best, frame by frame."""

import minigrad as mg
from viz.target import as_image, logits, probabilities

from .. import maximize
from .packed import picture
from .why import class_text


def ascent(room, question, wish):
    """Frames, and at the end what the network says of the image."""
    job = room.asked("maximize", question, wish)
    args = job.args
    job.drawn = lambda image: {"image": picture(image)}
    args.preset = "fourier"
    if args.target is None:
        args.target = str(int(job.probabilities.argmax()))
        job.shown = [f"--target={args.target}", *job.shown]
    result = maximize.ascend(job, [job.wanted.objective()])
    job.left(result, args.steps)
    with mg.no_grad():
        p = probabilities(logits(job.model, as_image(job.model, result.image))).numpy()[0]
    return {
        "image": picture(result.image),
        "of": job.target_name(),
        "says": job.class_name(int(p.argmax())),
        "p": float(p.max()),
        "ending": job.ending,
        "kept": True,
        "command": job.command_line,
        "python": room.python(None, f"found = {call_text(job, result)}.image", network=args.model),
    }


def call_text(job, result):
    """The call of viz.maximize that the command makes."""
    chosen = maximize.settings(job.args)
    words = {name: repr(chosen[name]) for name in ("parameterization", "optimizer", "lr", "steps")}
    words["size"] = str(result.image.shape[2])
    if chosen["tv_weight"]:
        words["penalties"] = f'{{"tv": lambda x: viz.total_variation(x, "l1", {chosen["tv_weight"]!r})}}'
    words["transforms"] = "viz.robust()"
    named = ", ".join(f"{name}={value}" for name, value in words.items())
    return f"viz.maximize(model, {objective_text(job)}, {named})"


def objective_text(job):
    wanted = job.wanted
    if wanted.layer is None:
        first, *less = [f"viz.class_score({name})" for name in (class_text(job, index) for index in wanted.classes)]
        return f"{first} - {less[0]}" if less else first
    if wanted.unit is None:
        return f"viz.energy({wanted.layer!r})"
    kind = "neuron" if len(wanted.unit) == 3 else "channel"
    return f"viz.{kind}({', '.join(map(repr, (wanted.layer, *wanted.unit)))})"
