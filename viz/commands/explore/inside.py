"""Inside: layers, their channels, and the arithmetic of a single place."""

from typing import Any

import numpy as np

import viz
from minigrad import nn
from models.mistakes import UserError
from viz import patches
from viz.arithmetic import Term
from viz.colours import Scale
from viz.target import channels

from .. import activations
from . import rather
from .look import ranked
from .packed import levels, numbers, picture
from .room import Live, Room
from .worker import Wish

THUMB = 56  # pixels of a side, the most that a channel's map has among the others
SHOWN = 60  # channels of a layer, the strongest
JOINED = {nn.Sum: "added", nn.Product: "multiplied", nn.Parallel: "side by side"}


def tree(room: Room) -> list[dict[str, Any]]:
    """The network as nested {"name", "kind", "shape", "joined", "takes", "inner"}. joined: how what is inside comes
    together, None for a chain or a layer. takes: the names of other nodes of a graph, where not the one before."""
    rows = {row.name: row.output_shape for row in room.model.layers((channels(room.model), *room.model.input_size))}

    def described(name: str, module: nn.Module) -> dict[str, Any]:
        inner = [described(f"{name}.{child}".lstrip("."), one) for child, one in module.children()]
        if isinstance(module, nn.Graph):
            before = "input"
            for (child, (_, taken)), one in zip(module.nodes.items(), inner, strict=True):
                names = [source if isinstance(source, str) else source[0] for source in taken]
                one["takes"] = names if names != [before] else []
                before = child
        facts = {"name": name, "kind": type(module).__name__, "shape": rows.get(name), "inner": inner, "takes": []}
        return facts | {"joined": next((word for kind, word in JOINED.items() if isinstance(module, kind)), None)}

    return described("", room.model)["inner"]


def maps_of(job: Live, layer: str) -> np.ndarray:
    """(C,h,w), or (C,) of a layer without positions: the activations for the job's photograph."""
    found = viz.activation_maps(job.model, job.image, layer)
    if found.ndim not in (2, 4):
        raise UserError(
            f"{layer} gives {found.shape[1:]}, neither maps nor a vector: choose a layer before or inside it"
        )
    return found[0]


def layer(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """The channels of a layer by strength, and the maps of the strongest, small. Strength is the mean of a map, or its
    value at the place "by", (row, column)."""
    name = question["layer"]
    job = room.asked("activations", question | {"options": {"--layer": name}}, wish)
    a = maps_of(job, name)
    by = question.get("by")
    if by and not (a.ndim == 3 and 0 <= by[0] < a.shape[1] and 0 <= by[1] < a.shape[2]):
        raise UserError(f"{name} has no place {by}")
    strength = a[:, by[0], by[1]] if by else a.reshape(len(a), -1).mean(1)
    order = np.argsort(-strength, kind="stable")
    shown = order[: question.get("count", SHOWN)]
    facts = {
        "shape": a.shape,
        "channels": [{"channel": int(c), "strength": float(strength[c]), "max": float(a[c].max())} for c in shown],
        "silent": int((a.reshape(len(a), -1).max(1) <= 0).sum()),
        "command": job.command_line if a.ndim == 3 else None,
        "python": room.python(
            job.photo,
            f"a = viz.activation_maps(model, image, {name!r})",
            f"strongest = (-a[0, :, {by[0]}, {by[1]}]).argsort()[:{len(shown)}]"
            if by
            else f"strongest = viz.strongest_channels(a, {len(shown)})",
        ),
    }
    if a.ndim == 3:
        step = -(-max(a.shape[1:]) // THUMB)
        small = a[shown][:, ::step, ::step]
        scale = Scale.of(small)
        share = np.clip((small - scale.low) / (scale.high - scale.low), 0, 1)
        facts |= {"maps": levels(np.minimum(share * 256, 255)), "signed": scale.signed, "high": scale.high}
    return facts


def channel(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """A channel: its map, where it responds most, what of the photograph it responds to there, and its best patches."""
    name, number = question["layer"], int(question["channel"])
    words = {"--layer": name}
    job = room.asked("activations", question | {"options": words}, wish)
    a = maps_of(job, name)
    if not 0 <= number < len(a):
        raise UserError(f"{name} has channels 0 to {len(a) - 1}, there is no {number}")
    unit = (number,)
    if a.ndim == 3:
        unit += tuple(int(n) for n in np.unravel_index(a[number].argmax(), a.shape[1:]))
    value, strength = float(a[unit]), a.reshape(len(a), -1).mean(1)
    facts = {
        "map": numbers(a[number]) if a.ndim == 3 else None,
        "unit": unit,
        "max": value,
        "rank": int((strength > strength[number]).sum()) + 1,
        "of": len(a),
        "box": box(job, name, unit),
        "python": room.python(
            job.photo,
            f"a = viz.activation_maps(model, image, {name!r})[0, {number}]",
            f"found = viz.guided_backprop(model, image, layer={name!r}, unit={unit!r})",
        ),
    }
    target = f"{name}:{','.join(map(str, unit))}"
    shown = room.asked("guided_backprop", question | {"target": target, "options": {}})
    facts["command"] = shown.command_line
    if value > 0:
        back = viz.guided_backprop(job.model, job.image, layer=name, unit=unit)[0]
        facts["back"] = numbers(back)
    return facts | best_patches(room, name, number)


def best_patches(room: Room, name: str, number: int) -> dict[str, Any]:
    """Of the photographs of the index, where there is one and it knows the layer."""
    if room.patches is None or name not in room.patches.layers:
        return {"patches": []}
    found = room.patches.of(room.model, name, number)
    whole = [
        {"picture": picture(one), "value": float(v)} for one, v in zip(found.pixels, found.activation, strict=True)
    ]
    return {"patches": [one for one in whole if one["value"] > 0], "indexed": len(room.patches)}


def box(job: Live, name: str, unit: tuple[int, ...]) -> list[int]:
    """(top, left, bottom, right) of the pixels that a unit sees, cut at the edges."""
    field = patches.receptive_field(job.model, name, job.image.shape[1:])
    return [int(n) for n in field.box(*(unit[1:] if len(unit) == 3 else (0, 0)), job.image.shape[2:])]


def off(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """What becomes of the classes where channels of a layer are switched off."""
    name, chosen = question["layer"], sorted({int(c) for c in question["channels"]})
    options = {"--layer": name, "--channels": chosen}
    job = room.asked("switch_off", question | {"options": options}, wish)
    top = int(job.scores[0].argmax())
    changed = room.asked("classify", question, wish)
    changed.model, changed.kept = viz.switched_off(job.model, name, chosen), None
    fall = float(job.scores[0, top] - changed.scores[0, top])
    after = changed.probabilities
    first, *others = np.argsort(-after, kind="stable")[:2]
    return {
        "channels": chosen,
        "classes": [one | {"after": float(after[one["index"]])} for one in ranked(job)],
        "now": job.class_name(int(first)),
        "second": next((job.class_name(int(c)) for c in others), None),
        "top": job.class_name(top),
        "fall": fall,
        "command": job.command_line,
        "keep": ["switch_off", {"options": options}],
        "python": room.python(job.photo, f"fall = viz.switch_off(model, image, {name!r}, {chosen!r})"),
    }


def ideal(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """The image that a channel likes best, frame by frame."""
    target = f"{question['layer']}:{int(question['channel'])}"
    recipe, options = next(iter(rather.recipes(room))), {"--steps": int(question["steps"])}
    asked = {"photo": question["photo"], "target": target, "recipe": recipe, "options": options}
    return rather.ascent(room, asked, wish)


def place(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """The arithmetic of one place, and who takes it."""
    name, unit = question["layer"], tuple(int(n) for n in question["unit"])
    options = {"--layer": name, "--place": ",".join(map(str, unit))}
    job = room.asked("activations", question | {"options": options}, wish)
    found = viz.arithmetic(job.model, job.image, name, unit)
    return {
        "layer": name,
        "unit": unit,
        "kind": found.kind,
        "value": found.value,
        "source": found.source,
        "note": found.note,
        "terms": [described_term(one) for one in found.terms],
        "rest": found.rest,
        "more": found.more,
        "bias": found.bias,
        "inputs": [{"layer": one.layer, "unit": one.unit, "value": one.value} for one in found.inputs],
        "uses": [
            {"layer": use.layer, "unit": use.unit, "part": use.part, "value": use.value}
            for use in viz.uses(job.model, job.image, name, unit)
        ],
        "box": box(job, name, unit),
        "command": job.command_line,
        "keep": ["activations", {"options": options}, ["png", "npz"] if activations.has_patches(found) else ["npz"]],
        "python": room.python(
            job.photo,
            f"found = viz.arithmetic(model, image, {name!r}, {unit!r})",
            f"uses = viz.uses(model, image, {name!r}, {unit!r})",
        ),
    }


def described_term(term: Term) -> dict[str, Any]:
    """The numbers of a Term, None for those in the padding of a max pool; of a large window, such as that of a mean
    over all, the first."""
    most = 12
    patch = [[float(x) if np.isfinite(x) else None for x in row] for row in term.patch[:most, :most]]
    return {
        "channel": term.channel,
        "row": term.row,
        "column": term.column,
        "step": term.step,
        "patch": patch,
        "kernel": None if term.kernel is None else term.kernel[:most, :most].tolist(),
        "sum": None if term.kernel is None else term.sum,
    }


ANSWERS = {"layer": layer, "channel": channel, "off": off, "ideal": ideal, "place": place}
