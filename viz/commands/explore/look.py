"""Look: what the network gets of a photograph, and what it takes it for."""

from typing import Any

import numpy as np

import models

from .room import Live, Room
from .worker import Wish

TOP = 8


def ranked(job: Live) -> list[dict[str, Any]]:
    """The classes of highest probability: [{"name", "index", "p"}]."""
    best = np.argsort(-job.probabilities, kind="stable")[:TOP]
    return [{"name": job.class_name(c), "index": int(c), "p": float(job.probabilities[c])} for c in best]


def classes(room: Room, question: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """The classes of highest probability."""
    job = room.asked("classify", question, wish)
    height, width = job.image.shape[2:]
    return {
        "classes": ranked(job),
        "unknown": bool(models.unknown(job.model, job.image)[0]),
        "gets": f"{width} x {height} pixels",
        "command": job.command_line,
        "python": room.python(
            job.photo,
            "from minigrad import functional as F",
            "",
            "probabilities = F.softmax(model(image), 1).numpy()[0]",
            "for c in (-probabilities).argsort()[:5]:",
            "    print(model.labels[c] if model.labels else c, probabilities[c])",
        ),
    }
