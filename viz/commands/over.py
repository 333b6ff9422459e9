"""Any technique over many photographs: a folder, a tar archive, or a text with a path on each line, into a store.

The store is a folder: a table (CSV), a page of the extremes (HTML) and the arrays (HDF5), which `viz.open_store` reads.
It grows by batches that are written whole or not at all: after Ctrl-C or a kill the same command goes on. A photograph
that cannot be read is a row that says why. In the table stand the class that the network names, its probability, and
whether it is that of the photograph's folder, by name or WordNet id; of a map its largest value and its sum, and how
far the maps agree, as rank correlation (Spearman 1904). Maps are one number for each pixel, or for each place of the
layer.
"""

import inspect
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import minigrad as mg
import viz
from minigrad.nn import Module
from models.mistakes import UserError
from viz.many import engine, report
from viz.many.photographs import Source
from viz.many.store import Writer
from viz.many.work import Question, Technique, computed, hold, identity
from viz.remarks import silence
from viz.target import channels, logits_layer

from . import attribution
from .dream import dreamer
from .job import Job
from .kept import add_worker_options, workers
from .labelled import classes_of_folders
from .options import chosen, names, parser
from .pictures import fitted
from .record import code_sha256, sha256, versions
from .tables import counted
from .target import ANYTHING

ATTACKS = ("fgsm", "pgd", "apgd", "auto_attack", "square_attack", "deepfool", "carlini_wagner", "one_pixel")
NOWHERE = ("deepfool", "auto_attack")
TO_A_CLASS = ("jsma", "targeted_ascent")
OPTIMISED = ("deep_dream", "invert", "reconstruct_content", "style_transfer")
WRITTEN = ("table.csv", "report.html", "contact_sheet.png")
KNOWN = (*attribution.COMMANDS, *ATTACKS, *TO_A_CLASS, *OPTIMISED, "features")

options = parser(__doc__, "photographs --do grad_cam,saliency --model minivgg --out store", image=False, kind=ANYTHING)
options.set_defaults(out=Path("out") / "store")
add, number = options.add_argument, options.number
add("source", type=Path, metavar="PHOTOGRAPHS", help="a folder, a tar archive, or a text with a path on each line")
add("--do", default="grad_cam", metavar="A,B,...", help=f"any of {', '.join(KNOWN)} (default %(default)s)")
add(
    "--set",
    nargs="+",
    default=[],
    metavar="NAME.OPTION=VALUE",
    help="options of the techniques, as `python -m viz NAME --help` has them: lrp.rule=zplus rise.samples=500",
)
number("--batch-size", 16, "photographs computed, and written, at a time", low=1)
number("--count", int, "how many photographs, evenly spaced", low=1, shown="default: all")
add("--half", action="store_true", help="keep maps as float16, each in units of its largest value")
add_worker_options(options)


def run(job: Job) -> None:
    """Compute the techniques over all photographs into the store, and write its report."""
    args = job.args
    if args.source.is_dir() and args.out.resolve().is_relative_to(args.source.resolve()):
        raise UserError(
            f"--out {args.out} lies among the photographs, and its pictures would be more of them: name another"
        )
    source = Source(args.source, args.count)
    question = asked(job, source)
    hold(question, job.model)
    with Writer(args.out, recorded(question, source, args.batch_size)) as store:
        forget_changed(store, source, args.batch_size)
        if not store.done:
            refuse_now(question, job.model)
        facts = {
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(job.began)),
            "command": job.command(job.name, *job.argv),
            "source": str(args.source),
            "versions": versions(),
            "code_sha256": code_sha256(),
        }
        warn_of_other_code(store, facts["code_sha256"])
        store.note(facts)
        began = time.perf_counter()
        done, memory = compute(job, store, source, question)
        seconds = time.perf_counter() - began
        store.note(facts | {"photographs": done, "seconds": round(seconds, 3), "memory_of": memory})
        store.finish()
        report.write(viz.open_store(store.path), source, job.model)
    job.written += [args.out / name for name in WRITTEN]
    found = report.summary(viz.open_store(args.out))
    line(job, source, done, seconds, found)
    if found["rows"] and found["rows"] == found["errors"] and not job.stopped:
        raise UserError(f"no photograph has an answer, the first for: {found['error']}")


def forget_changed(store: Writer, source: Source, size: int) -> None:
    """Let the batches be computed again whose photographs are others now, under the same names."""
    answered = (row for rows in viz.open_store(store.path).tables() for row in rows if not row["error"])
    changed = source.changed(answered)
    store.done -= {place - place % size for place in changed}
    if changed:
        few = ", ".join(source.names[place] for place in sorted(changed)[:3]) + ", ..." * (len(changed) > 3)
        warnings.warn(f"other photographs than before, whose batches are computed again: {few}", stacklevel=2)


def compute(job: Job, store: Writer, source: Source, question: Question) -> tuple[int, dict[str, Any]]:
    """(How many photographs were computed now, {process: its memory in bytes})."""
    args, memory, done = job.args, {}, 0
    size, whole = args.batch_size, len(source)
    before = sum(min(size, whole - first) for first in store.done)
    if before == whole:
        return 0, {}
    batches = source.batches(size, frozenset(store.done))
    bar = tqdm(total=whole, desc="over", initial=before, unit="image", disable=not job.progress)
    with job.stoppable(), bar:
        for found in answers(job, question, batches):
            store.put(found.first, found.rows, found.arrays, found.scales)
            memory[found.who], done = found.memory, done + len(found.rows)
            bar.update(len(found.rows))
            job.done = before + done, whole
            if job.stopped:
                break
    return done, memory


def answers(job: Job, question: Question, batches: Iterable[Any]) -> Iterator[Any]:
    """What engine gives for each batch, computed here or by the workers."""
    with workers(job.args) as client:
        if client is None:
            yield from engine.here(question, batches)
        else:
            yield from engine.on_dask(client, question, batches, lambda: job.stopped)


# ---- what is asked ---------------------------------------------------------------------------------------------------


def asked(job: Job, source: Source) -> Question:
    """The Question."""
    args = job.args
    techniques = chosen_techniques(args.do, args.set)
    explained = {} if args.target is None else job.wanted.arguments
    cams = [one.name for one in techniques if one.kind == "attribution" and attribution.COMMANDS[one.name].at_layer]
    if "layer" in explained and cams:
        raise UserError(f"{cams[0]} explains classes, {args.target} is a layer: leave {cams[0]} out, or name a class")
    if "layer" in explained and not any(one.kind == "attribution" for one in techniques):
        raise UserError(f"--target {args.target} is a layer, which only attributions explain")
    for one in techniques:
        if one.name == "style_transfer" and "style" not in one.options:
            raise UserError("style_transfer needs a picture: give --set style_transfer.style=FILE")
        if one.name in TO_A_CLASS and "target" not in explained:
            raise UserError(f"{one.name} needs a --target to reach, a class")
        if one.name in NOWHERE and explained:
            raise UserError(f"{one.name} takes no --target: it leaves the class by whichever way is short or works")
    return Question(
        model=args.model,
        told=job.told,
        device=args.device,
        weights=identity(job.model),
        techniques=with_defaults(job, techniques),
        explained=explained,
        classes=classes_of_folders(job.model, source),
        seed=args.seed,
        half=args.half,
    )


def recorded(question: Question, source: Source, size: int) -> dict[str, Any]:
    """The question as a store knows it; where files lie, and who computes, is no part of it."""
    explained = question.explained.get("target", question.explained)
    return {
        "techniques": {one.name: {k: told(v) for k, v in one.options.items()} for one in question.techniques},
        "target": str(explained) if explained != {} else "the top class",
        "weights": question.weights,
        "told": question.told,
        "photographs": {"count": len(source), "sha256 of names": source.key},
        "batch_size": size,
        "seed": question.seed,
        "half": question.half,
        "version": mg.__version__,
    }


def told(option: Any) -> Any:
    """An option as a store knows it: of a picture its checksum."""
    return {"sha256": sha256(option)} if isinstance(option, np.ndarray) else option


def chosen_techniques(text: str, settings: Sequence[str]) -> list[Technique]:
    """[Technique] of --do and --set."""
    names, given = chosen(text, KNOWN, "technique"), {}
    for setting in settings:
        name, dot, option = setting.partition(".")
        if name not in names or not dot:
            raise UserError(f"--set {setting}: give TECHNIQUE.OPTION=VALUE of one that --do names ({', '.join(names)})")
        key, _, value = option.partition("=")
        given.setdefault(name, {})[key.replace("-", "_")] = value
    return [technique(name, given.get(name, {})) for name in names]


def technique(name: str, given: Mapping[str, Any]) -> Technique:
    """A Technique with the options given, {name: text}: of attributions as their own commands read them."""
    if name in attribution.COMMANDS:
        command = attribution.COMMANDS[name]
        own = [*list(inspect.signature(getattr(viz, name)).parameters)[5:], *(["layer"] if command.at_layer else [])]
        refuse_unknown(name, given, [key for key in own if command.options.get_default(key) is not None or key in OPEN])
        words = [f"--{key.replace('_', '-')}" + (f"={value}" if value else "") for key, value in given.items()]
        read = vars(command.options.parse_args(words))
        return Technique(name, "attribution", {key: read[key] for key in own if key in read and read[key] is not None})
    known = inspect.signature(getattr(viz, name)).parameters
    open_to = [key for key, one in list(known.items())[2:] if type(one.default) in (bool, int, float, str)]
    open_to += [key for key in OPEN if key in known and key not in open_to]
    refuse_unknown(name, given, [key for key in open_to if key not in NOT_ASKED])
    read = {key: read_as(name, key, known[key].default, value) for key, value in given.items()}
    return Technique(name, KINDS.get(name, "attack"), read)


LAYERS = ("layers", "content_layers", "style_layers")  # several
OPEN = ("layer", "rules", "through", "signed", "counterfactual", "only_convolutional")  # without a default
OPEN += (*LAYERS, "style", "style_weight")
NOT_ASKED = ("progress", "seed", "batch_size", "samples", "clip")
KINDS = dict.fromkeys(OPTIMISED, "optimised") | {"features": "features"}


def refuse_unknown(name: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise UserError for a --set whose option the technique does not have."""
    for key in given:
        if key not in known:
            listed = f"its options are {', '.join(known)}" if known else "it has none"
            raise UserError(f"--set {name}.{key}: {name} has no such option; {listed}")


def read_as(name: str, key: str, default: Any, text: str) -> Any:
    """The text as the type of the option's default; distances may be fractions."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if key in LAYERS:
            return names(text)
        if key in ("layer", "style"):
            return text
        return float(Fraction(text)) if default is None or isinstance(default, float) else type(default)(text)
    except (ValueError, KeyError, ZeroDivisionError):
        kind = {bool: "true or false", int: "a whole number"}.get(type(default), "a number such as 0.5 or 4/255")
        raise UserError(f"--set {name}.{key}={text}: expected {kind}") from None


def with_defaults(job: Job, techniques: Sequence[Technique]) -> tuple[Technique, ...]:
    """The same, with the layers written down that viz would take, and the picture of a style in place of its path."""
    model = job.model

    def its_layer(one: Technique) -> dict[str, Any]:
        """The layer that a technique takes by default."""
        if one.kind == "attribution" and attribution.COMMANDS[one.name].at_layer:
            return {"layer": viz.default_layer(model)}
        if one.name in ("deep_dream", "invert"):
            return {"layer": dreamer(model)}
        if one.name == "style_transfer":
            return dict(zip(LAYERS[1:], viz.default_layers(model), strict=True))
        if one.name == "reconstruct_content":
            return {"layers": viz.default_layers(model, None, ())[0]}
        return {"layer": logits_layer(model)} if one.kind == "features" else {}

    def its_style(one: Technique) -> dict[str, Any]:
        """The picture of a style, as the technique takes it."""
        return {"style": fitted(job, one.options["style"], max(model.input_size))} if "style" in one.options else {}

    return tuple(Technique(one.name, one.kind, its_layer(one) | one.options | its_style(one)) for one in techniques)


def refuse_now(question: Question, model: Module) -> None:
    """Compute a drawn picture, so that what a technique says of the network comes before the work, as its own error."""
    shape = 1, channels(model), *model.input_size
    with silence():
        computed(question, model, np.random.default_rng(0).random(shape, np.float32))


# ---- what is said ----------------------------------------------------------------------------------------------------


def warn_of_other_code(store: Writer, code: str) -> None:
    before = {run["code_sha256"] for run in store.facts["runs"]}
    if before - {code}:
        warnings.warn(f"{store.path} was begun by other code of minigrad, models or viz", stacklevel=2)


def line(job: Job, source: Source, done: int, seconds: float, found: Mapping[str, Any]) -> None:
    """What was computed, how fast, and what the table comes to, `found`."""
    rate = f", {done / seconds:.1f} a second" if done else ""
    said = [f"{found['rows']} of {counted(len(source), 'photograph')}, {done} of them now{rate}"]
    if found["known"]:
        top1, top5 = (viz.estimate(found[key]) for key in ("right", "in_top5"))
        said.append(
            f"right {top1.text('{:.1%}')}, among five {top5.text('{:.1%}')}, of {found['known']} of a known class"
        )
    if found["errors"]:
        said.append(f"{found['errors']} without an answer, the first for: {found['error']}")
    if job.stopped:
        said.append(f"{job.ending}: the same command goes on")
    job.say(" ".join(["; ".join(said), "->", *(str(job.args.out / name) for name in WRITTEN)]))
