"""Agreement with the reference frameworks, on identical weights: every row is a comparison made now.

The references are torch, captum, pytorch-grad-cam, saliency, Quantus, torchattacks, foolbox, ART, and the losses of
Gatys et al. written in torch. They compute in float64 from the same numbers; this project computes in float64, in
float32 with the direct convolution, and in float32 with the fast one (Winograd, wherever it can). Inputs are drawn anew
from --seed. For other programs' files the references are onnxruntime and Keras, in float32.

A row passes if max|d| / max|reference| is within the tolerance: 1e-10 in float64, 1e-5 in float32, 2e-5 with the fast
convolution. In float32 a ReLU or a maximum that is nearly tied may fall otherwise than in float64, so gradients are
gated by the 99.9th percentile and by a cosine of 1 - 1e-6 at least, and the row says how many elements differ. What is
beyond that passes as "near ties" only if the reference itself moves as much when the images change by 1e-6. Where a
reference is itself wrong, the row says how and proves it, and nothing is matched. `make verify` installs all of them.

The table is printed and written as Markdown; the JSON record has every number. Exit code 1 if a row missed.
"""

import importlib
import importlib.util
import time
import warnings
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import begin  # noqa: F401 (first of all: see there)
from tqdm import tqdm

from models.mistakes import UserError
from viz.commands.command import main
from viz.commands.options import parser
from viz.commands.tables import markdown

FAMILIES = ("functions", "optimisers", "architectures", "onnx_files", "keras_files", "attribution", "cams")
FAMILIES += ("residual", "measures", "pair", "attacks", "art", "style")

options = parser(
    __doc__,
    "--only grad_cam,pgd --seed 7",
    image=False,
    target=False,
    model="a model's name or weights file, whose rows are compared; vgg16, squeezenet1_1 get random weights if theirs "
    "are not here (default %(default)s, and these two at full size beside it)",
)
options.add_argument("--only", metavar="A,B,...", help="rows whose family, name or reference has one of these in it")


def run(job):
    check_arguments(job.args)
    from verification.setting import Setting

    began, rows, setting = time.perf_counter(), [], Setting(job.args.model, job.args.seed)
    with job.stoppable(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the references, and of maps that are zero
        for checks in by_reference(chosen(job.args.only, setting)):
            if job.stopped:
                break
            rows += rows_of_all(job, checks, setting)
    write(job, rows, time.perf_counter() - began)
    if any(row.missed for row in rows):
        raise SystemExit(1)


def check_arguments(args):
    if importlib.util.find_spec("torch") is None:
        raise UserError("PyTorch is not installed: `make verify` installs it and the other references")
    if args.device != "cpu":
        raise UserError(f"--device {args.device}: the references run on the CPU, and so does this comparison")


def chosen(only, setting):
    """The checks that `only`, the text of --only or None, names, in order. Raises UserError if it names none."""
    families = [importlib.import_module(f"verification.{name}") for name in FAMILIES]
    checks = [check for family in families for check in family.checks(setting)]
    if only is None:
        return checks
    wanted = [part.strip().lower() for part in only.split(",") if part.strip()]
    found = [c for c in checks if any(w in f"{c.family} {c.name} {c.needs}".lower() for w in wanted)]
    if not found:
        raise UserError(f"--only {only}: no row has that in its family, name or reference")
    return found


def by_reference(checks):
    """The checks in runs of the same family and reference, in order."""
    runs = {}
    for check in checks:
        runs.setdefault((check.family, check.needs), []).append(check)
    return list(runs.values())


def rows_of_all(job, checks, setting):
    """The rows of checks that share a reference: one that says why, if it cannot be imported."""
    from verification import agreement, references

    name, rows = checks[0].needs, []
    try:
        references.reference(name)
    except references.MissingReference as error:
        rows = [agreement.not_compared(checks[0].family, checks, references.label(name), str(error))]
        show(job, rows)
        return rows
    for check in tqdm(checks, desc=checks[0].family, disable=not job.progress, leave=False):
        if job.stopped:
            break
        found = list(agreement.rows_of(check, references.label(name), setting))
        show(job, found)
        rows += found
    return rows


# ---- what comes out --------------------------------------------------------------------------------------------------


def cells(row):
    """{column: text} of a row."""
    if row.error is None:
        numbers = ["–"] * 6
    else:
        differing = f"{row.differing:,}" if row.differing else "0"
        numbers = [f"{row.error:.1e}", f"{row.percentile:.1e}", f"{row.cosine:.9f}", f"{row.digits:.1f}"]
        numbers += [f"{differing} of {row.elements:,}", f"{row.tolerance:.0e}"]
    names = ("error", "99.9 %", "cosine", "digits", "beyond", "allowed")
    return {
        "what": row.what,
        "reference": row.reference,
        "inputs": row.inputs,
        "computed in": row.dtype if row.algorithm == "–" else f"{row.dtype}, {row.algorithm}",
        **dict(zip(names, numbers, strict=True)),
        "gate": row.gate,
        "result": row.result,
        "note": row.note,
    }


def show(job, rows):
    """Print rows as they come, in columns."""
    for row in rows if not job.args.quiet else ():
        c = cells(row)
        line = f"{row.family:20.20} {c['what']:34.34} {c['reference']:19.19} {c['computed in']:18} "
        line += f"{c['error']:>8} {c['99.9 %']:>8} {c['cosine']:>12} {c['digits']:>5}  {c['result']}"
        tqdm.write(line if not row.note or row.result == "pass" else f"{line}: {row.note}")


def write(job, rows, seconds):
    """verify_MODEL.md and .json, and one line of summary."""
    from verification.references import PACKAGES, label

    counts = Counter(row.result for row in rows)
    summary = ", ".join(f"{counts[result]} {result}" for result in counts) + f"; {seconds:.0f} s"
    text = f"# Agreement with the references\n\nSeed {job.args.seed}, model {job.args.model}: {summary}.\n"
    for family in dict.fromkeys(row.family for row in rows):
        text += f"\n## {family[0].upper()}{family[1:]}\n\n"
        text += markdown([cells(row) for row in rows if row.family == family])
    subject = Path(job.args.model).stem
    table = job.write_text(text, ".md", subject)
    numbers = {
        "counts": counts,
        "seconds": seconds,
        "references": [label(name) for name in PACKAGES],
        "rows": [asdict(row) for row in rows],
    }
    job.write(f"{summary} -> {table}", numbers=numbers, subject=subject)


if __name__ == "__main__":
    raise SystemExit(main("verify", options, run))
