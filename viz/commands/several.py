"""A command for one photograph, given several: each as if it were alone, and one table of what is known of them all."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.images import ImageError
from models.mistakes import UserError
from viz.many.store import as_csv

from .job import Job
from .record import network_name


def each(job: Job, one: Callable[[Job], Any]) -> None:
    """Run one(job) for each of the photographs that the command line names, and write a table if they are several.

    A photograph that cannot be read is a row of the table that says why.
    """
    paths = job.args.image if isinstance(job.args.image, list) else [job.args.image]
    for path in paths:
        if path is not None and Path(path).is_dir():
            over = job.command("over", path, "--do", job.name, *job.names_model)
            raise UserError(f"{path} is a folder, not a picture: name pictures, or compute over all in it with {over}")
    if len(paths) < 2:
        return one(job)
    rows = []
    for path in paths:
        this = job.of(path)
        try:
            one(this)
            rows.append({"photograph": path} | row_of(this))
        except ImageError as error:
            rows.append({"photograph": path, "error": str(error)})
        if this.stopped:
            job.stopped, job.done = True, (len(rows), len(paths))
            break
    if all("error" in row for row in rows):
        raise UserError(rows[0]["error"])
    table(job, rows, f"{len(paths)}-photographs")


def row_of(job: Job) -> dict[str, Any]:
    """What is explained, and the numbers of one photograph's results."""
    explained = {"explained": job.target_name()} if "target" in vars(job.args) else {}
    classes = job.wanted.classes if explained else ()
    share = {"probability": float(job.probabilities[classes[0]])} if len(classes) == 1 else {}
    return explained | share | {key: x for key, x in job.numbers.items() if not isinstance(x, dict | list | tuple)}


def table(job: Job, rows: Sequence[Mapping[str, Any]], what: str) -> None:
    """Write the rows, dicts, as CSV, and print where. what: the photographs, for the file's name."""
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "error"] + ["error"]
    text = as_csv([{name: row.get(name, "") for name in columns} for row in rows])
    subject = "_".join(filter(None, [what, network_name(job.args.model), vars(job.args).get("target")]))
    path = job.write_text(text, ".csv", subject)
    wrong = [row for row in rows if row.get("error")]
    first = [": ".join(filter(None, [row.get("name"), row["error"]])) for row in wrong[:1]]
    failed = f"; {len(wrong)} without an answer, the first for: {first[0]}" if wrong else ""
    job.say(f"{len(rows)} photographs{failed} -> {path}")
