"""The page from its parts: templates that escape all texts, with the style sheet and the script written into it."""

import base64
import hashlib
import os
import time
from functools import cache
from pathlib import Path

from models.mistakes import UserError

from ..record import versions
from . import embed
from .notes import ADEBAYO, ROOT, SECTIONS, place

HERE = Path(__file__).parent


@cache
def environment():
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


def rendered(study, sections, seconds):
    """The page as text."""
    job, model, markup = study.job, study.model, environment().filters["safe"]
    style = (HERE / "style.css").read_text("utf-8")
    script = (HERE / "gallery.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    facts = job.facts()
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
                "parameters": sum(parameter.size for parameter in model.parameters()),
                "classes": len(job.probabilities),
                "size": model.input_size,
                "source": model.provenance.get("source", "unknown"),
            },
            persuasion=ADEBAYO,
            code=lambda function: code(function, job.args.out),
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


def code(function, out):
    """{"text": "viz/cam.py, line 21", "link": the file as seen from the page, or None where it lies elsewhere}."""
    path, line = place(function)
    inside = ROOT in out.resolve().parents
    link = Path(os.path.relpath(ROOT / path, out.resolve())).as_posix() if inside else None
    return {"text": f"{path}, line\u00a0{line}", "name": function.__name__, "link": link}
