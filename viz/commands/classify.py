"""Classify photographs: the classes of highest probability, the softmax of the network's scores.

Of several photographs there is a table too; of folders (or tar archives, or texts with a path on each line) how often
the class that a photograph's folder is named for, by name or WordNet id, is the first one and among the first five.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

import models
import viz
from models.dataset import SUFFIXES
from models.mistakes import UserError
from viz import plot
from viz.many.engine import here
from viz.many.photographs import Source
from viz.many.work import Question, hold, identity

from .job import Job
from .labelled import classes_of_folders
from .options import SEVERAL, parser
from .record import network_name, source_name
from .several import each, table
from .tables import counted

BATCH = 16  # photographs at a time
SHOWN = 100  # photographs of a folder that have a line of their own; the table has all

options = parser(__doc__, "photo.jpg --top 5", image=SEVERAL, target=False)
options.number("--top", 5, "how many classes to show", low=1, metavar="K")


def run(job: Job) -> None:
    """Write the most probable classes of each photograph, or of all in a folder, an archive or a list."""
    given = job.args.image
    paths = [Path(path) for path in (given if isinstance(given, list) else [given]) if path is not None]
    if any(path.is_dir() or path.exists() and path.suffix.lower() not in SUFFIXES for path in paths):
        for path in paths:
            in_source(job, path)
    else:
        each(job, one)


def one(job: Job) -> None:
    """Write the likeliest classes of the job's photograph."""
    best = np.argsort(-job.probabilities, kind="stable")[: job.args.top]
    names, values = [job.class_name(index) for index in best], job.probabilities[best]
    foreign = bool(models.unknown(job.model, job.image)[0])
    remark = f"; probably none of what {job.model.name} knows" if foreign else ""
    title = f"{job.image_name}, seen by {job.model.name}{remark}"
    job.write(
        figure=plot.bars(names, values, title, image=job.image, highlight=0),
        arrays={"image": job.image, "probabilities": job.probabilities},
        numbers={"named": names[0], "probability": float(values[0])}
        | {"top": [{"class": c, "name": n, "p": p} for c, n, p in zip(best, names, values, strict=True)]}
        | {"unknown": foreign},
        line="classes: " + ", ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True)) + remark,
    )


def in_source(job: Job, path: Path) -> None:
    """The table of a folder, an archive or a list, and how often the folders' classes were named."""
    source, model, args = Source(path), job.model, job.args
    told = {"told": job.told, "device": args.device, "weights": identity(model), "seed": args.seed}
    classes = classes_of_folders(model, source)
    question = Question(model=args.model, techniques=(), explained={}, classes=classes, half=False, **told)
    hold(question, model)
    rows = []
    with job.stoppable(), tqdm(total=len(source), desc="classify", unit="image", disable=not job.progress) as bar:
        for found in here(question, source.batches(BATCH)):
            rows += found.rows
            bar.update(len(found.rows))
            job.done = len(rows), len(source)
            if job.stopped:
                break
    for row in rows[:SHOWN]:
        job.say(f"{row['name']}: {row['error'] or row['named'] + format(row['probability'], ' .3f')}")
    if all(row["error"] for row in rows) and not job.stopped:
        raise UserError(f"no photograph can be read, {rows[0]['name']}: {rows[0]['error']}")
    known = [row for row in rows if row["right"] != ""]
    numbers = {
        "photographs": len(rows),
        "errors": sum(bool(row["error"]) for row in rows),
        "of_a_known_class": len(known),
    }
    said = "; no folder is named as a class" if not known else ""
    if known:
        numbers |= {key: viz.estimate([row[key] for row in known]) for key in ("right", "in_top5")}
        first, five = (numbers[key].text("{:.1%}") for key in ("right", "in_top5"))
        said = f": {len(known)} of a known class, named right {first}, among five {five}"
    table(job, rows, source_name(path))
    job.write(
        counted(len(rows), "photograph") + said,
        numbers=numbers,
        subject=f"{source_name(path)}_{network_name(args.model)}",
    )
