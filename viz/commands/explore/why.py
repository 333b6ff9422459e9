"""Why: the maps of any attribution method. A method's own options are its controls, whatever methods there are."""

import inspect
from collections.abc import Mapping
from typing import Any

import models
import viz
from minigrad import nn
from models.mistakes import UserError

from ..attribution import COMMANDS
from ..methods import COARSE, SLOW
from ..options import Parser
from .packed import numbers
from .room import Live, Room, own_options
from .worker import Wish

STEPWISE = ("integrated_gradients", "smooth_grad")
LATE = (*STEPWISE, *SLOW)  # those that take many steps, and are asked last


def methods() -> list[dict[str, Any]]:
    """[{"name", "title", "about", "slow", "options"}] of all attribution methods."""
    return [
        {
            "name": name,
            "title": command.options.description.partition(":")[0],
            "about": command.options.description.partition("\n")[0].partition(": ")[2],
            "slow": name in LATE,
            "coarse": name in COARSE,
            "options": controls(name, command.options),
        }
        for name, command in COMMANDS.items()
    ]


def controls(name: str, options: Parser) -> list[dict[str, Any]]:
    """What a method can be told: [{"flag", "kind", "default", "help", ...}]. kind: number, choice, switch, layer or
    text."""
    ranges = dict(options.ranges.values())
    takes_seed = "seed" in inspect.signature(getattr(viz, name)).parameters
    found = []
    for flag, action in own_options(options).items():
        if flag == "--batch-size" or flag == "--seed" and not takes_seed:
            continue
        control = {"flag": flag, "default": action.default, "help": " ".join(action.help.split("(")[0].split())}
        if action.nargs == 0:
            control |= {"kind": "switch", "default": False}
        elif action.choices:
            control |= {"kind": "choice", "choices": list(action.choices)}
        elif flag in ranges or action.type in (int, float):
            whole = isinstance(action.default, int)
            control |= {"kind": "number", "range": str(ranges.get(flag, "at least 0")), "step": 1 if whole else "any"}
        else:
            control |= {"kind": "layer" if flag == "--layer" else "text"}
        found.append(control)
    return found


def attribution(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """A map: {"map": (H,W), or (3,H,W) of what is a picture itself; what it is; and how to make it}."""
    name = question["method"]
    if name not in COMMANDS:
        raise UserError(f"there is no method {name!r}")
    command, job = COMMANDS[name], room.asked(name, question, wish)
    draw = command.draw or (lambda found: found)
    job.drawn = lambda found: {"map": numbers(draw(found)[0])}
    layer, arrays = command.explain(job)
    found = next(iter(arrays.values()))
    return {
        "map": numbers(draw(found)[0]),
        "of": job.target_name(),
        "p": [float(job.probabilities[c]) for c in job.wanted.classes],
        "title": command.title(job),
        "measures": command.measures(job, found),
        "ending": job.ending,
        "kept": job.stopped,  # what a stopped method has is shown all the same
        "command": job.command_line,
        "python": room.python(job.photo, f"found = {call_text(job, name, layer)}"),
        **layer,
    }


def call_text(job: Live, name: str, layer: Mapping[str, str]) -> str:
    """The call of viz's function, as attribution.call makes it, in Python."""
    function = getattr(viz, name)
    words = {"target": target_text(job)} if job.args.target else {}
    if job.args.target and job.wanted.layer is not None:
        words = {"layer": repr(job.wanted.layer), "unit": repr(job.wanted.unit)}
    words |= {key: repr(value) for key, value in layer.items()}
    for key, parameter in list(inspect.signature(function).parameters.items())[5:]:
        value = vars(job.args).get(key, parameter.default)
        if value != parameter.default:
            words[key] = repr(value)
    return f"viz.{name}({', '.join(['model', 'image', *(f'{key}={value}' for key, value in words.items())])})"


def target_text(job: Live) -> str:
    """The class or the Contrast that is explained, in Python."""
    names = [class_text(job, index) for index in job.wanted.classes]
    return names[0] if len(names) == 1 else f"viz.Contrast({', '.join(names)})"


def class_text(job: Live, index: int) -> str:
    """The class's name, if that says which it is, or its index."""
    try:
        name = str(job.model.labels[index])
        return repr(name) if models.find_class(job.model, name) == index else str(index)
    except (ValueError, TypeError):
        return str(index)


def layers(room: Room) -> list[str]:
    """Names of the layers whose output has positions, where a map can be drawn."""
    rows = room.model.layers((viz.target.channels(room.model), *room.model.input_size))
    return [
        row.name for row in rows if len(row.output_shape) == 3 and not isinstance(room.model[row.name], nn.Identity)
    ]
