"""The page from its parts: templates that escape all texts, with the style sheet and the script written into it."""

import base64
import hashlib
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import minigrad as mg
from minigrad.nn import Module
from models.mistakes import UserError

from ..record import versions
from . import embed
from .notes import ADEBAYO, ROOT, SECTIONS, place
from .study import Study

HERE = Path(__file__).parent
STYLES, SCRIPTS = ("style.css", "maps.css"), ("gallery.js", "maps.js")


@cache
def environment() -> Any:
    """Jinja's, and the converter of equations. Raises UserError where one of them is not installed."""
    try:
        import jinja2
        from latex2mathml.converter import convert
    except ImportError as error:
        raise UserError(f"the gallery needs {error.name}: pip install 'minigrad[demo]'") from None

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters["equation"] = lambda tex: jinja2.filters.Markup(convert(tex, display="block"))
    return found


def rendered(study: Study, sections: dict[str, Any], seconds: float, missing: int = 0) -> str:
    """The page as text. missing: how many parts are still being made."""
    job, model, markup = study.job, study.model, environment().filters["safe"]
    style, script = ("\n".join((HERE / name).read_text("utf-8") for name in names) for names in (STYLES, SCRIPTS))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    facts, listings = job.facts(), {}
    return (
        environment()
        .get_template("page.html")
        .render(
            sections=sections,
            titles={key: SECTIONS[key].title for key in sections},
            name=study.first.name,
            top=job.class_name(int(job.probabilities.argmax())),
            photograph=sections["seen"]["photograph"],
            model={
                "name": model.name,
                "parameters": learned(model),
                "classes": len(job.probabilities),
                "size": model.input_size,
                "source": model.provenance.get("source", "unknown"),
            },
            persuasion=ADEBAYO,
            code=lambda function: code(function, job.args.out, listings),
            listings=listings,
            colours={"plain": embed.colours(False), "signed": embed.colours(True)},
            missing=missing,
            style=markup(style),
            script=markup(script),
            digest=digest,
            ramps={"plain": embed.ramp(False), "signed": embed.ramp(True)},
            stopped=job.stopped,
            made={
                "command": facts["command"],
                "seed": facts["seed"],
                "seconds": seconds,
                "date": time.strftime("%d %B %Y", time.gmtime(job.began)).lstrip("0"),
                "versions": {k: v for k, v in versions().items() if k != "platform"},
            },
        )
    )


def learned(model: Module) -> int:
    """How many numbers a network learned, frozen or not: buffers are measured, and what layers share counts once."""
    modules = [model, *(module for _, module in model.named_modules())]
    tensors = {
        id(tensor): tensor.size
        for module in modules
        for name, tensor in vars(module).items()
        if isinstance(tensor, mg.Tensor) and name not in module.buffers
    }
    return sum(tensors.values())


def code(function: Any, out: str, listings: dict[str, Any]) -> dict[str, Any]:
    """{"name": "grad_cam", "text": "viz/cam.py, line 21", "link": ..., "source": its text}, put into `listings` too.

    link: the file as seen from the page, or None where the page lies outside of the repository.
    """
    path, line, source = place(function)
    inside = ROOT in out.resolve().parents
    link = Path(os.path.relpath(ROOT / path, out.resolve())).as_posix() if inside else None
    name = function.__name__
    return listings.setdefault(
        name, {"name": name, "text": f"{path}, line\u00a0{line}", "link": link, "source": source}
    )
