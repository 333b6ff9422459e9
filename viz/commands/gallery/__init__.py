"""One page with everything that minigrad shows of a photograph: a single HTML file that any browser opens, offline.

What the network sees, every attribution side by side, whether they depend on what was learned, the network layer by
layer, what its channels look for, an adversarial pair, a network that was trained against such pairs, another style,
and a map. Each picture comes with how to read it, its equation, the paper, the command that makes it alone, and its
code. Several photographs, or a folder: the first is looked at in depth, the others in brief, and all stand in the map.

With MiniVGG it takes 20 to 30 seconds on two cores; a network for 224 pixels takes minutes: of one core, 200 seconds
with EfficientNet-Lite0, 620 with ResNet-50. The page is there from the first part on, and grows: open it while the
others are made. Where stderr goes to a file, a line every half minute says how far it is. Ctrl-C leaves out what is not
done yet, and ends the page with what there is.
"""

import time
from pathlib import Path
from typing import Any

from minigrad.serialization import replacing
from models.mistakes import UserError, users_mistake

from ..job import Job
from ..options import parser
from ..pictures import fitted
from ..progress import steps
from ..record import as_json
from . import adversarial, attributions, layers, neighbours, optimised, page, robust
from .apart import APART, Beside, beside
from .study import Budget, Study, photographs

options = parser(__doc__, "photo.jpg --target cat", image=False)
options.add_argument(
    "images",
    nargs="*",
    type=Path,
    metavar="IMAGE",
    help="a photograph, several, or a folder of them; none means scikit-image's sample of a cat",
)
options.add_argument("--style", type=Path, metavar="IMAGE", help="for the style transfer (default: waves, drawn here)")

BUDGET = Budget()
SECTIONS = {
    "seen": attributions.seen,
    "attributions": attributions.attributions,
    "sanity": attributions.sanity,
    "activations": layers.activations,
    "patches": layers.patches,
    "optimised": optimised.optimised,
    "adversarial": adversarial.adversarial,
    "robust": robust.robust,
    "style": optimised.style,
    "map": neighbours.neighbours,
}
LARGEST = 25_000_000  # bytes of a page


def run(job: Job) -> None:
    """Write the page of all there is to see, part by part."""
    page.environment()
    paths = photographs(job.args.images, job.args.seed, BUDGET.points)
    job.args.image = paths[0]
    style = None if job.args.style is None else fitted(job, job.args.style, BUDGET.style_side)
    study, growing = Study(job, paths, style, BUDGET), None
    try:
        with beside(study, built_or_remark) as other:
            _ = study.first, study.others, study.classes  # all that a user may have got wrong, before any work
            growing = job.growing(".html")
            sections = built(study, growing, other)
        write(study, sections)
    finally:
        if growing is not None and growing not in job.written:
            growing.unlink(missing_ok=True)


def built(study: Study, growing: Path | None, other: Beside) -> dict[str, Any]:
    """{key: what its template needs}, or {"remark": sentence} where a section does not apply to this network.

    growing: the path of the page, which is written anew after each section; or None.
    """
    sections = {}

    def done(key: str, section: dict[str, Any], seconds: float) -> None:
        sections[key], study.seconds[key] = section, seconds
        if growing is not None and not study.job.stopped:
            grow(study, sections, growing)

    with steps(work(study), "gallery", study.job.args.quiet) as bar:

        def did(units: int = 1) -> None:
            bar.update(units)
            other.look(bar.update)

        study.did = did
        try:
            for key in sorted(SECTIONS, key=APART.__contains__):
                other.look(bar.update, wait=key in APART)
                for made in other.taken():
                    done(*made)
                if key in sections:
                    continue
                bar.set_description_str(key, refresh=False)
                began = time.time()
                done(key, built_or_remark(key, study), round(time.time() - began, 2))
                if study.job.stopped:
                    break
        except KeyboardInterrupt:
            if not sections:
                raise
            study.job.stopped = True
    return in_order(sections)


def in_order(sections: dict[str, Any]) -> dict[str, Any]:
    return {key: sections[key] for key in SECTIONS if key in sections}


def grow(study: Study, sections: dict[str, Any], path: Path) -> None:
    """Write the page with the sections that are done."""
    missing = len(SECTIONS) - len(sections)
    html = page.rendered(study, in_order(sections), time.time() - study.job.began, missing)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(html, "utf-8")


def built_or_remark(key: str, study: Study) -> dict[str, Any]:
    """A section, or in its place the sentence by which it refuses this network."""
    try:
        return SECTIONS[key](study)
    except (NotImplementedError, ValueError) as error:
        sentence = users_mistake(error)
        if sentence is None or isinstance(error, UserError):
            raise
        return {"remark": sentence}


def work(study: Study) -> int:
    """About how many steps the bar will count."""
    budget, methods = study.budget, [key for keys in attributions.FAMILIES.values() for key in keys]
    slow = sum(key in attributions.SLOW for key in methods)
    patches = 5 * budget.patch_channels
    films = 2 * budget.class_steps + budget.channel_layers * budget.channel_steps
    return (
        len(study.classes) * (len(methods) - slow)
        + attributions.LONG * slow
        + 2 * len(attributions.CHECKED)
        + patches
        + films
        + 2 * budget.style_steps
        + len(study.others)
        + 20
    )


def write(study: Study, sections: dict[str, Any]) -> None:
    """The page and its record."""
    job = study.job
    seconds = time.time() - job.began
    html = page.rendered(study, sections, seconds)
    size = len(html.encode())
    if size > LARGEST:
        raise UserError(f"the page has {size / 1e6:.0f} MB, more than {LARGEST / 1e6:.0f}: give fewer photographs")
    path = job.write_text(html, ".html")
    numbers = {
        "bytes": size,
        "seconds": study.seconds,
        "probabilities": {job.class_name(c): job.probabilities[c] for c in study.classes},
        "sanity": {
            row["title"]: [cell["rho"] for cell in row["cells"][0]]
            for row in sections.get("sanity", {}).get("rows", ())
        },
        "adversarial": sections.get("adversarial", {}).get("numbers"),
        "style": sections.get("style", {}).get("numbers"),
    }
    record = job.write_text(as_json({**job.facts(), "numbers": numbers, "files": [path.name]}), ".json")
    done = f"{len(sections)} sections, {size / 1e6:.1f} MB, {seconds:.0f} s"
    job.say(f"gallery of {study.first.name}: {done} -> {record} {path}")
