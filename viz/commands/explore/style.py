"""Style: a photograph in the style of another picture, frame by frame.

Both are read again from their files, larger than the network takes a photograph.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from viz.style import default_layers

from .. import style_transfer
from ..options import names
from .packed import picture
from .room import Live, Room
from .worker import Wish


def usual(room: Room) -> dict[str, Any]:
    """The usual layers of a network, {"content", "layers"}; {"refused": sentence} where it has none with maps."""
    try:
        return dict(zip(("content", "layers"), default_layers(room.model), strict=True))
    except ValueError as error:
        return {"refused": str(error)}


def style(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Frames, and at the end both losses' course."""
    job = room.asked("style_transfer", question, wish)
    job.drawn = lambda image: {"image": picture(image)}
    content, (other,), result = style_transfer.transferred(job)
    losses = {name: [values[0], values[-1]] for name, values in result.losses.items()}
    return {
        "image": picture(result.image),
        "losses": losses,
        "weight": result.settings["style_weight"],
        "ending": job.ending,
        "kept": True,
        "command": job.command_line,
        "python": program(room, job, {"image": content, "style": other}, f"found = {style_text(job)}.image"),
    }


def style_text(job: Live) -> str:
    """The call of viz.style_coarse_to_fine that the command makes."""
    args, words = job.args, {"layer_weights": job.args.layer_weights or "balanced"}
    for name in ("content_layers", "style_layers"):
        if getattr(args, name):
            words[name] = names(getattr(args, name))
    given = ("content_weight", "style_weight", "tv_weight", "normalization", "style_scale", "scales")
    options = style_transfer.options
    for name in (*given, "average_pooling", "optimizer", "lr", "steps", "seed"):
        if getattr(args, name) != options.get_default(name) or name in ("steps", "average_pooling"):
            words[name] = getattr(args, name)
    if args.original_colours:
        words["original_colors"] = True
    words = ", ".join(f"{name}={value!r}" for name, value in words.items())
    return f"viz.style_coarse_to_fine(model, image, style, {words})"


def program(room: Room, job: Live, pictures: Mapping[str, np.ndarray], line: str) -> str:
    """A program that loads the network and pictures, {name: array whose size they get}, and goes on with a line."""
    lines = []
    if any(one.shape[1] == 1 for one in pictures.values()):
        lines.append("from viz.commands.pictures import in_channels\n")
    files = {"image": job.args.image, "style": vars(job.args).get("style", [None])[0]}
    if files["image"] is None:
        lines.append("from skimage import data\n")
    for name, array in pictures.items():
        source = "data.cat()" if files[name] is None else repr(files[name])
        loaded = f"models.load_image(models.load_image({source}), {array.shape[2:]!r})"
        lines.append(f"{name} = " + (f"in_channels(model, {loaded})" if array.shape[1] == 1 else loaded))
    return room.python(None, *lines, line, network=job.args.model)
