"""What is done with a batch of photographs: a function of the question and the batch alone, for whoever computes it.

Letters: N photographs, C channels, H W input size, h w the size of a map.
"""

import hashlib
import inspect
import os
import platform
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from scipy.stats import rankdata

import minigrad as mg
import models
import viz
from minigrad import functional as F
from minigrad.kernels import frozen
from minigrad.nn import Module
from models.memory import keep_freed_memory
from models.mistakes import UserError, users_mistake

from ..cam import grad_cam_and_more
from ..target import NoScores, as_image, logits
from .photographs import Batch, decoded

# Gradients say how much a pixel matters, their sign is that of its colour; the others are signed evidence.
MAGNITUDES = ("saliency", "smooth_grad", "deconvnet", "guided_backprop", "guided_grad_cam")
COARSEST = 16  # cells of a side at most, for comparing maps: what is finer is noise to a rank


@dataclass(frozen=True)
class Technique:
    """One of viz's functions with options. kind: attribution, attack, optimised (an image) or features."""

    name: str
    kind: str
    options: dict = field(default_factory=dict)

    @property
    def function(self) -> Callable[..., Any]:
        return getattr(viz, self.name)


@dataclass(frozen=True)
class Question:
    """What to compute for each photograph; it travels to workers, and a store knows it.

    model, told, device: as `models.load` takes them. weights: the model's provenance, to see that a worker has the
    same. explained: {"target": class} or {"layer", "unit"}, or {} for each one's top class. classes: {folder: indices
    of the classes that are right for it}. half: whether maps are kept as float16, in units of their largest value.
    """

    model: str
    told: dict
    device: str
    weights: dict
    techniques: tuple[Technique, ...]
    explained: dict
    classes: dict
    seed: int
    half: bool


@dataclass(frozen=True)
class Answer:
    """Of a batch: rows for the table, arrays and scales for the store, and who computed it, with how much memory."""

    first: int
    rows: list
    arrays: dict
    scales: dict
    who: str
    memory: dict


# ---- what a process holds --------------------------------------------------------------------------------------------

_held: dict = {}  # the one model of this process
_loading = threading.Lock()


def hold(question: Question, model: Module) -> None:
    """Let this process use a model that it has loaded already."""
    _held.clear()
    _held[question.model, str(question.told), question.device] = model


def held(question: Question) -> Any:
    """The model of the question, which this process reads once."""
    key = question.model, str(question.told), question.device
    with _loading:
        if key in _held:
            return _held[key]
        model = models.load(question.model, device=question.device, **question.told).eval().requires_grad_(False)
        if identity(model) != question.weights:
            raise UserError(f"{platform.node()} has other weights at {question.model} than this run was begun with")
        keep_freed_memory()
        warnings.filterwarnings("ignore", module=r"PIL\.")  # as command.py does in its process
        hold(question, model)
        return model


def identity(model: Module) -> dict:
    """A model's provenance, wherever its file lies."""
    return {key: value for key, value in model.provenance.items() if key != "file"}


def share_cores(processes: int) -> None:
    """Keep this process's kernels to its share of the machine's cores, of so many processes on it."""
    whole = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ["OMP_NUM_THREADS"] = str(max(1, whole // processes))  # read at every pass


# ---- a batch ---------------------------------------------------------------------------------------------------------


def answer(question: Question, batch: Batch, ready: tuple | None = None) -> Answer:
    """Compute a batch. A photograph that cannot be read, or on which a technique fails, has its sentence as error.

    ready: what `decoded` gives of it, where that is done.
    """
    model = held(question)
    images, errors = decoded(model, batch) if ready is None else ready
    began = time.perf_counter()
    places = [place for place in range(len(batch.names)) if place not in errors]
    found = {}
    if places:
        try:
            columns, arrays = computed(question, model, images)
            found = {place: (columns, arrays, n) for n, place in enumerate(places)}
        except Exception:  # one of them, perhaps; alone, each says for itself
            for n, place in enumerate(places):
                try:
                    found[place] = (*computed(question, model, images[n : n + 1]), 0)
                except Exception as error:
                    errors[place] = users_mistake(error) or f"{type(error).__name__}: {error}"
    seconds = (time.perf_counter() - began) / max(1, len(places))
    return gathered(question, batch, found, errors, seconds)


def unanswered(question: Question, batch: Batch, sentence: str) -> Answer:
    """The Answer of a batch that could not be computed: each photograph has the sentence as error."""
    return gathered(question, batch, {}, dict.fromkeys(range(len(batch.names)), sentence), 0.0)


def gathered(question: Question, batch: Batch, found: dict, errors: dict, seconds: float) -> Answer:
    """The Answer. found: {place in the batch: (columns, arrays, which of their N)}."""
    rows = []
    for place, name in enumerate(batch.names):
        row = {"photograph": batch.first + place, "name": name, "class": PurePosixPath(name).parent.name}
        if place in found:
            its, _, n = found[place]
            row |= {key: values[n] for key, values in its.items()} | its_class(question, row["class"], its, n)
        file = batch.files[place]
        if isinstance(file, bytes):
            row |= {"sha256": hashlib.sha256(file).hexdigest(), "bytes": len(file), "modified": batch.modified[place]}
        rows.append(row | {"seconds": round(seconds, 6), "error": errors.get(place, "")})
    names = next(iter(found.values()))[1] if found else {}
    arrays = {name: np.stack([its[name][n] for _, its, n in found.values()]) for name in names}
    return Answer(batch.first, in_order(question, rows), *stored(question, arrays), who(), memory())


def in_order(question: Question, rows: list) -> list[dict]:
    """The rows with the same columns each, in one order; what is not known is empty."""
    known = ["photograph", "name", "class", "named", "probability", "right", "in_top5"]
    numbers = [f"{technique.name}_{what}" for technique in question.techniques for what in COLUMNS[technique.kind]]
    maps = sum(technique.kind == "attribution" for technique in question.techniques)
    order = [*known, *numbers, *(["agreement"] if maps > 1 else []), "sha256", "bytes", "modified", "seconds", "error"]
    return [{key: row.get(key, "") for key in order} for row in rows]


def its_class(question: Question, folder: str, columns: dict, n: int) -> dict:
    """Whether the classes that are right for the folder are named first, and among the first five."""
    right = question.classes.get(folder)
    if not right or "best" not in columns:
        return {}
    best = columns["best"][n]
    return {"right": int(best[0] in right), "in_top5": int(any(index in right for index in best[:5]))}


def stored(question: Question, arrays: dict) -> tuple:
    """(arrays, scales) as they are kept: with `half`, floats as float16 in units of each one's largest value."""
    if not question.half:
        return arrays, {}
    scales = {}
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            scale = abs(array).max(tuple(range(1, array.ndim)), initial=0).astype(np.float32)
            scale[scale == 0] = 1
            arrays[name], scales[name] = (array / scale.reshape(-1, *[1] * (array.ndim - 1))).astype(np.float16), scale
    return arrays, scales


def who() -> str:
    return f"{platform.node()}, process {os.getpid()}"


def memory() -> dict:
    """{"peak": of this process, "prepared": what is kept of weights, transformed}, in bytes."""
    import resource  # not on Windows, where no store is written

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak": peak, "prepared": frozen.kept_by_device().get("cpu", 0)}


# ---- the techniques --------------------------------------------------------------------------------------------------

COLUMNS = {
    "attribution": ("largest", "sum"),
    "attack": ("named", "success", "linf", "l2"),
    "optimised": ("loss", "l2"),
    "features": (),
}


def computed(question: Question, model: Module, images: np.ndarray) -> tuple:
    """({column: (N,) values}, {name: (N,...) array}) of images (N,C,H,W) by all techniques."""
    arrays, maps = {}, {}
    cam = next((one for one in question.techniques if one.name == "grad_cam"), None)
    scores, found = first_pass(question, cam, model, images)
    named, columns = scores_columns(model, scores)
    for technique in question.techniques:
        if technique is cam:
            maps[cam.name] = found
            continue
        if technique.kind == "optimised":
            arrays[technique.name], its = optimised(question, technique, model, images)
            columns |= its
            continue
        result = call(question, technique, model, images, named)
        if technique.kind == "attribution":
            maps[technique.name] = result if result.ndim == 3 else viz.per_pixel(result, how(technique))
        elif technique.kind == "attack":
            arrays[technique.name], its = attacked(model, technique, images, result, named)
            columns |= its
        else:
            arrays[technique.name] = result
    for name, heat in maps.items():
        columns[f"{name}_largest"] = [float(x) for x in abs(heat).max((1, 2))]
        columns[f"{name}_sum"] = [float(x) for x in heat.sum((1, 2), dtype=np.float64)]
    if len(maps) > 1:
        columns["agreement"] = [float(x) for x in agreement(list(maps.values()))]
    return columns, arrays | {name: heat.astype(np.float32) for name, heat in maps.items()}


def how(technique: Technique) -> str:
    return "magnitude" if technique.name in MAGNITUDES else "signed"


def first_pass(question: Question, cam: Any, model: Module, images: np.ndarray) -> tuple:
    """(scores (N,K), None where the network has none; the maps of Grad-CAM, which come with them, if asked for)."""
    if cam is not None:
        low, _, scores, _ = grad_cam_and_more(model, images, **question.explained, **cam.options)
        return scores, low
    with mg.no_grad():
        try:
            return logits(model, as_image(model, images)).numpy(), None
        except NoScores:
            return None, None


def scores_columns(model: Module, scores: Any) -> tuple:
    """((N,) the top classes, or None; {column: (N,) values})."""
    if scores is None:
        return None, {}
    best = np.argsort(-scores, 1, kind="stable")[:, :5]
    shares = F.softmax(mg.from_numpy(scores), 1).numpy()
    probability = [float(share[c]) for share, c in zip(shares, best[:, 0], strict=True)]
    return best[:, 0], {"named": class_names(model, best[:, 0]), "probability": probability, "best": best.tolist()}


def class_names(model: Module, indices: Any) -> list[str]:
    """The classes' short names; "class 7" of a model without labels."""
    return [str(model.labels[c]) if model.labels is not None else f"class {c}" for c in indices]


def call(question: Question, technique: Technique, model: Module, images: np.ndarray, named: Any) -> Any:
    """The technique's result for images, for what the question explains, or each one's top class."""
    known = inspect.signature(technique.function).parameters
    options = dict(technique.options)
    if technique.kind == "attribution":
        options |= question.explained or ({} if named is None else {"target": [int(c) for c in named]})
        options |= {"upsample": False} if "upsample" in known else {}
    elif technique.kind == "attack" and "target" in question.explained:
        options |= question.explained
    options |= {"seed": question.seed} if "seed" in known else {}
    return technique.function(model, images, **options)


def attacked(model: Module, technique: Technique, images: np.ndarray, result: Any, named: Any) -> tuple:
    """((N,C,H,W) uint8 of attacked images as a file keeps them, {column: (N,) values})."""
    saved = viz.as_saved(result)
    with mg.no_grad():
        now = logits(model, as_image(model, saved)).numpy().argmax(1)
    moved = viz.distances(images, saved)
    found = {
        "named": class_names(model, now),
        "success": [int(c != before) for c, before in zip(now, named, strict=True)],
        "linf": [float(x) for x in moved["linf"]],
        "l2": [float(x) for x in moved["l2"]],
    }
    return np.rint(255 * saved).astype(np.uint8), {f"{technique.name}_{key}": found[key] for key in found}


def optimised(question: Question, technique: Technique, model: Module, images: np.ndarray) -> tuple:
    """((N,C,H,W) uint8, {column: (N,) values}) of an image for each of images (N,C,H,W), one at a time: their losses
    are then their own, and which others are in the batch does not matter."""
    pictures, losses = [], []
    for n in range(len(images)):
        found = technique.function(model, images[n : n + 1], **technique.options, seed=question.seed)
        pictures.append(viz.as_saved(found.image))
        losses.append(found.total[-1])
    saved = np.concatenate(pictures)
    moved = [float(x) for x in viz.distances(images, saved)["l2"]]
    return np.rint(255 * saved).astype(np.uint8), {f"{technique.name}_loss": losses, f"{technique.name}_l2": moved}


def agreement(maps: Any) -> np.ndarray:
    """(N,): the mean rank correlation (Spearman 1904) of every two of the maps (N,h,w), over cells that all have."""
    side = min(COARSEST, *(min(found.shape[1:]) for found in maps))
    ranks = []
    for found in maps:
        cells = found
        for axis in (1, 2):
            edges = np.linspace(0, found.shape[axis], side + 1).astype(int)
            cells = np.add.reduceat(cells, edges[:-1], axis) / np.diff(edges).reshape(-1, *[1] * (2 - axis))
        rank = rankdata(cells.reshape(len(cells), -1), axis=1)
        rank -= rank.mean(1, keepdims=True)
        ranks.append(rank / np.maximum(np.linalg.norm(rank, axis=1, keepdims=True), 1e-12))
    pairs = [(a * b).sum(1) for i, a in enumerate(ranks) for b in ranks[:i]]
    return np.mean(pairs, 0)
