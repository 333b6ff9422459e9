"""What an attribution method can be trusted for: its maps beside what is known to matter.

mark, object, background: rendered scenes of four parts of which one decides, and networks trained on each. gain is how
much of the map's positive part lies on it, 0 for a map that knows nothing, 1 for one that lies inside; precision, how
many of as many highest pixels as it has; null, whether a map fits its own scene better than others, chance 1/2; rank,
the correlation over the parts of what the map has there beyond its area with what changing each does to the score,
chance 0; missed and invented, parts of which the map is silent or speaks wrongly.

gridpg, difull, dipart: grids of four scenes, in the last two of which the other cells cannot matter, or hardly (Boehle
et al. 2021, Rao et al. 2022); gain of the right cell.

axioms: networks set by hand, and the share of them on which the method is complete, gives nothing to dummies, is
symmetric, is sensitive (Sundararajan et al. 2017).

Networks are trained at the first run, a few minutes each, and kept in --out, as are all values: the same command goes
on where it was stopped, and adds methods and scenes. 500 scenes, all methods and both networks take hours; the tables
have what there is, and how many scenes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import viz
from viz import plot
from viz.ground_truth.families import CUES, FAMILIES, family
from viz.ground_truth.networks import ARCHITECTURES, trained
from viz.ground_truth.scenes import scenes
from viz.remarks import silence

from .attribution import heading
from .job import Job
from .methods import METHODS, Method, chosen_methods
from .options import chosen, parser
from .record import save, save_arrays
from .tables import markdown

# Conventions, on a scale whose ends are given: 0 is a map that knows nothing, 1 one that lies inside. A method is
# trusted whose map is nearer to the second, and said to be at chance within a tenth of the first.
TRUSTED, NOTHING = 0.5, 0.1
KEPT = (
    0.95  # of the networks and pictures on which an axiom can be asked for; less than all, for pictures it nearly holds
)
SHOWN = ("saliency", "guided_backprop", "integrated_gradients", "lrp", "grad_cam", "layer_cam", "occlusion")

options = parser(__doc__, "--scenes 500", image=False, target=False, model=None)
options.number("--scenes", 500, "of each family", low=1)
for name, known, what in (
    ("methods", METHODS, "of attribution"),
    ("families", FAMILIES, "of scenes, see above"),
    ("networks", ARCHITECTURES, "that are trained on them"),
):
    text = f"{what} (default: all of {', '.join(known)})"
    options.add_argument(f"--{name}", default=",".join(known), metavar="A,B,...", help=text)
options.number("--batch-size", 50, "scenes explained at a time")


def run(job: Job) -> None:
    """Write the tables of methods against what is known to matter, and what each can be trusted for."""
    methods = chosen_methods(job.args.methods)
    families = chosen(job.args.families, FAMILIES, "truth")
    architectures = chosen(job.args.networks, ARCHITECTURES, "network")
    kept = job.args.out / "ground_truth"
    networks = {
        name: {cue: trained(name, cue, kept, job.args.seed, job.progress) for cue in needed(families)}
        for name in architectures
    }
    with job.stoppable(), silence():  # on maps that are zero: here that is a result
        for first in tqdm(range(0, job.args.scenes, job.args.batch_size), "ground_truth", disable=not job.progress):
            extend(job, kept, networks, families, methods, first)
            if job.stopped:
                break
    places = dict.fromkeys(("known" if f == "axioms" else a, f) for f in families for a in architectures)
    write(job, {where: read(job, kept, *where, methods) for where in places}, methods)
    draw(job, networks, methods)


def needed(families: Sequence[str]) -> list[str]:
    """The cues of which a network is asked for."""
    return [cue for cue in CUES if cue in families or (cue == "object" and set(families) - {*CUES, "axioms"})]


# ---- values, kept as they come ---------------------------------------------------------------------------------------


def extend(
    job: Job,
    kept: Path,
    networks: Mapping[str, Any],
    families: Sequence[str],
    methods: Mapping[str, Method],
    first: int,
) -> None:
    """Measure the batch that begins at scene `first`, where a method has not come so far."""
    count = min(job.args.batch_size, job.args.scenes - first)
    for architecture, models in networks.items():
        for name in families:
            batch = None
            for key, method in methods.items():
                values = load(place(job, kept, architecture, name, key))
                if job.stopped or reached(values) >= first + count:
                    continue
                batch = batch or family(name, models, count, first, job.args.seed)
                new = batch.marks(fitted(key, method, name).map)
                values = {measure: np.append(values.get(measure, ())[:first], one) for measure, one in new.items()}
                path = place(job, kept, architecture, name, key)
                path.parent.mkdir(parents=True, exist_ok=True)
                save(path.with_suffix(""), ".npz", lambda file, values=values: save_arrays(values, file))


def fitted(key: str, method: Method, name: str) -> Method:
    """The method with patches of a size that suits the pictures, on black where the networks' baseline is black."""
    if key != "occlusion":
        return method
    patch = 4 if name == "axioms" else 8 if name in CUES else 16
    how = {"patch": patch, "stride": patch // 2} | ({"fill": 0.0} if name == "axioms" else {})
    return replace(method, options=method.options | how)


def place(job: Job, kept: Path, architecture: str, name: str, key: str) -> Path:
    """Where the values of a method for a family of scenes and an architecture are kept."""
    architecture = "known" if name == "axioms" else architecture
    return kept / f"seed{job.args.seed}_by{job.args.batch_size}" / architecture / name / f"{key}.npz"


def load(path: Path) -> dict[str, np.ndarray]:
    """{measure: (N,)} of the scenes so far; nothing if there are none."""
    if not path.is_file():
        return {}
    with np.load(path) as file:
        return dict(file)


def reached(values: Mapping[str, np.ndarray]) -> int:
    """How many scenes they are of."""
    return len(next(iter(values.values()), ()))


def read(
    job: Job, kept: Path, architecture: str, name: str, methods: Mapping[str, Method]
) -> dict[str, dict[str, np.ndarray]]:
    """{method: {measure: (N,)}}, no more scenes than asked for, and none of methods that have not begun."""
    values = {key: load(place(job, kept, architecture, name, key)) for key in methods}
    return {key: {m: one[: job.args.scenes] for m, one in found.items()} for key, found in values.items() if found}


# ---- tables ----------------------------------------------------------------------------------------------------------


def write(job: Job, found: Mapping[tuple[str, str], Mapping[str, Any]], methods: Mapping[str, Method]) -> None:
    """found: {(network, family): {method: {measure: (N,)}}}."""
    estimates = {
        where: {key: {m: viz.estimate(v) for m, v in measures.items()} for key, measures in values.items()}
        for where, values in found.items()
    }
    rows = trust(estimates, methods)
    tables = {"trust": markdown(rows)} | {
        " ".join(where): markdown(
            [{"method": key, "scenes": reached(found[where][key])} | row for key, row in by_method.items()], "{:.2f}"
        )
        for where, by_method in estimates.items()
        if by_method
    }
    named = [(*where, key, measures) for where, values in found.items() for key, measures in values.items()]
    job.write(
        arrays={"_".join((*parts, measure)): v for *parts, measures in named for measure, v in measures.items()},
        numbers={"tables": tables, "trust": rows},
        line="".join(f"{name}\n\n{table}\n" for name, table in tables.items()) + "ground truth",
        subject=str(job.args.scenes),
    )


def trust(
    estimates: Mapping[tuple[str, str], Mapping[str, Any]], methods: Mapping[str, Method]
) -> list[dict[str, str]]:
    """A row of words for each method: yes, in part or no to each question, over all networks."""
    families = dict.fromkeys(name for _, name in estimates if name != "axioms")
    questions = {name: (name, "gain") for name in families}
    questions |= {f"{name}: parts": (name, "rank") for name in families if name in CUES}
    rows = []
    for key in methods:
        row = {"method": key}
        for question, (name, measure) in questions.items():
            of_networks = [found.get(key, {}) for (_, family), found in estimates.items() if family == name]
            row[question] = verdict([found.get(measure) for found in of_networks])
        shares = estimates.get(("known", "axioms"), {}).get(key)
        kept = [axiom for axiom, share in (shares or {}).items() if share >= KEPT]
        row["axioms"] = "–" if shares is None else ", ".join(kept) or "none"
        rows.append(row)
    return rows


def verdict(values: Mapping[str, np.ndarray]) -> str:
    """yes where every interval lies above 0.5, no where one lies below 0.1, in part between; a dash if one is not
    there."""
    if None in values:
        return "–"
    if all(value.low >= TRUSTED for value in values):
        return "yes"
    return "no" if any(value.high < NOTHING for value in values) else "in part"


# ---- a picture -------------------------------------------------------------------------------------------------------


def draw(job: Job, networks: Mapping[str, Any], methods: Mapping[str, Method]) -> None:
    """One scene as the networks of three cues see it: the picture is the same, and what matters is not."""
    models = next(iter(networks.values()))
    shown, scene = [key for key in SHOWN if key in methods], scenes(1, job.args.seed, 4)
    if not models or not shown:
        return
    maps = [
        [fitted(key, methods[key], cue).map(model, scene.images, scene.kinds[cue])[0] for key in shown]
        for cue, model in models.items()
    ]
    rows, title = [f"{cue} decides" for cue in models], "One scene, and networks that look at one part of it each"
    job.write(
        figure=plot.attribution_grid(scene.images[0], maps, rows, list(map(heading, shown)), title, over=()),
        line="one scene, explained for each cue",
        subject="scene",
    )
