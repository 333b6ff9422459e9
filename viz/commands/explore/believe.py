"""Can I believe it: what can be said against the map in view."""

from collections.abc import Callable
from typing import Any

import viz
from viz import trust_figure

from .. import trust
from ..attribution import heading
from ..methods import METHODS
from .packed import numbers
from .room import Room
from .why import target_text
from .worker import Cancelled, Wish


def believe(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """The findings of viz.trust for a method's map, in words."""
    name = question["method"]
    job = room.asked("trust", question | {"options": {"--method": name}}, wish)
    job.drawn = lambda own: {}
    job.so_far = until_cancelled(job.so_far)
    found = trust.tried(job)
    target = f"target={target_text(job)}, " if job.args.target else ""
    return {
        "of": job.target_name(),
        "verdict": found.verdict,
        "findings": [
            {"name": check, "sign": trust_figure.SIGNS[one.against], "text": one.text}
            for check, one in found.findings.items()
        ],
        "map": numbers(found.map),
        "random": numbers(found.random_map),
        "command": job.command_line,
        "python": room.python(
            job.photo,
            "import numpy as np",
            "from skimage import data",
            "",
            "from viz.commands.methods import METHODS",
            "from viz.commands.pictures import in_channels",
            "",
            f"names = {trust.PICTURES!r}",
            "loaded = [models.load_image(getattr(data, name)(), model.input_size) for name in names]",
            "others = in_channels(model, np.concatenate(loaded))",
            f"method = METHODS[{name!r}]",
            f"panel = {{{', '.join(f'{heading(one)!r}: viz.trusted.PANEL[{one!r}]' for one in trust.panel(name))}}}",
            f"found = viz.trust(model, image, method, {target}others=others, how=method.how, panel=panel)",
        ),
    }


def until_cancelled(so_far: Callable[..., bool]) -> Callable[..., None]:
    """The callback of a trial, which viz.trust does not end by what it gives: half of one says nothing."""

    def callback(*given: Any) -> None:
        if so_far(*given):
            raise Cancelled

    return callback


TRIED = [name for name in METHODS if hasattr(viz, name)]  # those that the page has maps of, as they are by default
