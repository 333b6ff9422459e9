"""Tables of robustness: how often attacks succeed, what defences are worth, what passes from one network to another.

Every attacked image is first rounded to 256 levels, as if it had been saved and read again. An `attack` here is a
function attack(model, image, label, samples) that returns attacked images (N,3,H,W), such as

    lambda model, image, label, samples: viz.pgd(model, image, label=label, samples=samples)

Tables are lists of dicts, one a row, of numbers, which notebooks draw; rates are from 0 to 1, `images` says over how
many, and every number is an Estimate: `low` and `high` are where it might fall for other photographs of the same kind.
An attack, defence or corruption that refuses these networks or images has its sentence in the table, in place of its
(first) number; where all do, it is raised.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import Tensor, nn
from minigrad import functional as F
from minigrad.nn import Module

from .attack_report import as_saved, distances
from .attacks import require_classes, scores
from .corruptions import SEVERITIES, corrupt
from .defenses import defend
from .intervals import estimate, median
from .network import described_as
from .progress import tqdm
from .table import Table
from .target import as_images, classes
from .typing import Classes, Images


def accuracy(model: Module, image: Images, label: Classes) -> Any:
    """The share of images (N,3,H,W) whose highest score is that of `label` (N,), as an Estimate."""
    return estimate(is_right(model, image, label))


def is_right(model: Module, image: np.ndarray, label: Classes | None) -> np.ndarray:
    """(N,) bool: whether each image's highest score is that of `label` (N,)."""
    found = scores(model, image)
    require_classes("accuracy", found)
    return found.argmax(1) == known_labels(model, found, label)


def known_labels(model: Module, found: np.ndarray, label: Classes | None) -> np.ndarray:
    """(N,) class indices of `label`, indices or names, for images of scores `found` (N,K)."""
    if not len(found):
        raise ValueError("there are no images to measure: the batch is empty")
    if label is None:
        raise ValueError("label is None: give the right class of each image")
    return classes(model, mg.as_tensor(found), label, "label")


def attacked_images(
    model: Module,
    image: np.ndarray,
    label: Classes | None,
    attack: Callable[..., Any],
    samples: int = 1,
    batch_size: int = 32,
    bar: Any = None,
) -> np.ndarray:
    """attack(model, image, label, samples) in batches, not saved yet."""
    attacked = []
    for start in range(0, len(image), batch_size):
        batch = slice(start, start + batch_size)
        attacked.append(attack(model, image[batch], label[batch], samples))
        if bar is not None:
            bar.update(len(attacked[-1]))
    return np.concatenate(attacked)


def attack_table(
    model: Module,
    image: Images,
    label: Classes,
    attacks: Mapping[str, Any],
    batch_size: int = 32,
    progress: bool = False,
) -> Any:
    """How often each of `attacks` ({name: attack}) changes a right class, and how far it had to go.

    Only images that the model gets right count. Rows: "attack", "images", "success" (in floating point),
    "success_saved", "accuracy" after it over all images, and where it succeeded the medians "linf", "l2"
    and "l0" of the saved pictures (None where it never did).
    """
    image = as_images(model, image)
    found = scores(model, image)
    label = known_labels(model, found, label)
    right = found.argmax(1) == label
    if not right.any():
        raise ValueError("attack_table: the model names none of these images right, so there is nothing to attack")
    clean, own = image[right], label[right]
    rows = Table()
    with tqdm(total=len(attacks) * len(clean), unit="image", disable=not progress) as bar:
        for name, attack in attacks.items():
            bar.set_description(name)
            row = {"attack": name, "images": len(clean)}
            raw = _or_sentence(lambda attack=attack: attacked_images(model, clean, own, attack, 1, batch_size, bar))
            if isinstance(raw, str):
                rows.append(row | {"success": raw} | dict.fromkeys(("success_saved", "accuracy", "linf", "l2", "l0")))
                continue
            saved = as_saved(raw)
            fooled = scores(model, saved).argmax(1) != own
            moved = distances(clean, saved, 0.5 / 255 + 1e-6)
            withstood = np.zeros(len(label), bool)
            withstood[right] = ~fooled
            row |= {"success": estimate(~is_right(model, raw, own)), "success_saved": estimate(fooled)}
            row |= {"accuracy": estimate(withstood)}
            row |= {key: median(d[fooled]) if fooled.any() else None for key, d in moved.items()}
            rows.append(row)
    _raise_if_all_refused(rows, "success")
    return rows


def _or_sentence(call: Callable[[], Any]) -> Any:
    """What call() gives, or the sentence by which it refuses."""
    try:
        return call()
    except (NotImplementedError, ValueError) as error:
        return str(error)


def _raise_if_all_refused(rows: list, key: str) -> None:
    sentences = [row[key] for row in rows if isinstance(row[key], str)]
    if sentences and len(sentences) == len(rows):
        raise ValueError(sentences[0])


def defence_table(
    model: Module,
    image: Images,
    label: Classes,
    defences: Mapping[str, Any],
    attack: Any,
    samples: int = 8,
    batch_size: int = 32,
    progress: bool = False,
) -> Any:
    """What each of `defences` ({name: Module of viz/defenses.py}) is worth against `attack`.

    Rows, the first without a defence: "defence", "images", and three accuracies of the defended model: "clean",
    "attacked" by an attack that saw the bare model, "adaptive" by the same attack on the defended model, which averages
    gradients over `samples` draws where the defence is random. What counts is the lower of the last two.
    """
    image = as_images(model, image)
    label = known_labels(model, scores(model, image), label)
    rows = Table()
    with tqdm(total=(1 + len(defences)) * len(image), unit="image", disable=not progress) as bar:
        unaware = as_saved(attacked_images(model, image, label, attack, batch_size=batch_size, bar=bar))
        bare = accuracy(model, unaware, label)
        clean = accuracy(model, image, label)
        rows.append({"defence": "none", "images": len(image), "clean": clean, "attacked": bare, "adaptive": bare})
        for name, defence in defences.items():
            bar.set_description(name)
            defended = defend(model, defence)
            draws = samples if defence.random else 1

            def measured(defended: Any = defended, draws: int = draws) -> dict:
                found = {"clean": accuracy(defended, image, label), "attacked": accuracy(defended, unaware, label)}
                # last: a random defence draws by how often it has met a photograph, and an attack may run elsewhere
                adaptive = as_saved(attacked_images(defended, image, label, attack, draws, batch_size, bar))
                return found | {"adaptive": accuracy(defended, adaptive, label)}

            found = _or_sentence(measured)
            found = {"clean": found, "attacked": None, "adaptive": None} if isinstance(found, str) else found
            rows.append({"defence": name, "images": len(image), **found})
    return rows


def transfer_table(
    models: Mapping[str, Any], image: Images, label: Classes, attack: Any, batch_size: int = 32, progress: bool = False
) -> Any:
    """Whether images attacked on one of `models` ({name: model}, of the same classes) fool the others.

    Rows, one for each model attacked: "attacked", "images", and under each model's name the share of its right answers
    for the clean images that the attack turned wrong; None where there is no such answer.
    """
    first = next(iter(models.values()))
    image = as_images(first, image)
    label = known_labels(first, scores(first, image), label)
    right = {name: scores(model, image).argmax(1) == label for name, model in models.items()}
    rows = Table()
    with tqdm(total=len(models) * len(image), unit="image", disable=not progress) as bar:
        for source, model in models.items():
            bar.set_description(source)
            row = {"attacked": source, "images": len(image)} | dict.fromkeys(models)
            attacked = _or_sentence(
                lambda model=model: attacked_images(model, image, label, attack, 1, batch_size, bar)
            )
            if isinstance(attacked, str):
                rows.append(row | {source: attacked})
                continue
            saved = as_saved(attacked)
            for victim, other in models.items():
                if right[victim].any():
                    row[victim] = estimate(~is_right(other, saved[right[victim]], label[right[victim]]))
            rows.append(row)
    if rows and all(isinstance(row[row["attacked"]], str) for row in rows):
        raise ValueError(rows[0][rows[0]["attacked"]])
    return rows


def robustness_table(
    models: Mapping[str, Any],
    image: Images,
    label: Classes,
    attacks: Mapping[str, Any],
    severity: int = 3,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool = False,
) -> Any:
    """Accuracy of `models` ({name: model}, of the same classes) under the same attacks, noises and corruptions.

    Rows, one for each model: "model", "images", "clean", each of `attacks` ({name: attack}) made on that model, each
    corruption of viz/corruptions.py at this severity, and "corruptions", the mean of those that these images take: JPEG
    does not take four bands.
    """
    first = next(iter(models.values()))
    image = as_images(first, image)
    label = known_labels(first, scores(first, image), label)
    corrupted, refused = _corrupted(image, severity, seed)
    rows = Table()
    with tqdm(total=len(models) * len(attacks) * len(image), unit="image", disable=not progress) as bar:
        for name, model in models.items():
            bar.set_description(name)
            row = {"model": name, "images": len(image), "clean": accuracy(model, image, label)}
            for kind, attack in attacks.items():
                row[kind] = _or_sentence(
                    lambda model=model, attack=attack: accuracy(
                        model, as_saved(attacked_images(model, image, label, attack, 1, batch_size, bar)), label
                    )
                )
            found = {kind: is_right(model, changed, label) for kind, changed in corrupted.items()}
            mean = estimate(np.mean(list(found.values()), 0))
            cells = {kind: estimate(found[kind]) if kind in found else refused[kind] for kind in SEVERITIES}
            rows.append(row | cells | {"corruptions": mean})
    return rows


def _corrupted(image: np.ndarray, severity: int, seed: int) -> tuple:
    """({kind: images}, {kind: the sentence by which it refuses these})."""
    made = {kind: _or_sentence(lambda kind=kind: corrupt(image, kind, severity, seed)) for kind in SEVERITIES}
    refused = {kind: one for kind, one in made.items() if isinstance(one, str)}
    if len(refused) == len(made):
        raise ValueError(next(iter(refused.values())))
    return {kind: one for kind, one in made.items() if kind not in refused}, refused


# ---- networks of other classes ---------------------------------------------------------------------------------------


class ClassGroups(nn.Module):
    """Scores (N,K) to (N,G): the highest score of each of G groups of classes."""

    def __init__(self, groups: list[list[int]]) -> None:
        self.groups = [list(group) for group in groups]

    def forward(self, x: Tensor) -> Tensor:
        return F.stack([x[:, group].max(1) for group in self.groups], 1)

    def describe(self) -> dict:
        return {"groups": self.groups}


def regroup(model: Module, groups: Any, labels: Any = None) -> Any:
    """The network whose class g is the best of the model's classes in groups[g]: 1,000 classes beside 12, say.

    groups: a sequence of sequences of class indices. labels: the names of the groups.
    """
    grouped = described_as(model, nn.Sequential({**dict(model.children()), "groups": ClassGroups(groups)}))
    grouped.labels = labels
    return grouped
