"""The sections on one photograph's classes: what the network sees, where it looked, and the sanity check."""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import viz
from minigrad.nn import Module
from models.mistakes import users_mistake
from viz.colours import Scale

from ..methods import COARSE, METHODS, SLOW
from . import embed
from .notes import ATTRIBUTIONS, SECTIONS
from .study import Photograph, Study

FAMILIES = {
    "Gradients": ("saliency", "smooth_grad", "input_x_gradient", "integrated_gradients"),
    "Rules for the backward pass": (
        "deconvnet",
        "guided_backprop",
        "lrp",
        "lrp_epsilon",
        "lrp_zplus",
        "lrp_alphabeta",
    ),
    "Class activation maps": (
        "grad_cam",
        "grad_cam_plus_plus",
        "layer_cam",
        "hires_cam",
        "xgrad_cam",
        "eigen_cam",
        "score_cam",
        "guided_grad_cam",
    ),
    "Covering": ("occlusion", "rise"),
}
BRIEF = ("saliency", "lrp", "grad_cam")  # for each photograph beside the first
CHECKED = ("saliency", "input_x_gradient", "lrp", "grad_cam", "guided_grad_cam", "deconvnet", "guided_backprop")
LOOKS = 16  # at each of their maps, on the way through the layers
TRIED = Path(__file__).with_name("ground_truth.json")  # rows of the record of `python -m viz ground_truth`
LONG = 6  # units of work of a slow method


# ---- what the network sees -------------------------------------------------------------------------------------------


def seen(study: Study) -> dict[str, Any]:
    """The photograph, what of it the network gets, and the likeliest classes; then the other photographs."""
    first, job = study.first, study.job
    height, width = job.model.input_size
    study.did()
    return {
        "photograph": embed.photograph(first.sharp, f"As much of {first.name} as the network sees"),
        "input": embed.exact(first.image, f"The same at {width} × {height} pixels, which is all the network gets"),
        "bars": study.bars(job.probabilities),
        "unknown": study.unknown(first.image),
        "others": [other(study, photograph) for photograph in study.others],
        "left_out": len(study.paths) - 1 - len(study.others),
        "commands": [study.command("classify")],
        "note": SECTIONS["seen"],
    }


def other(study: Study, photograph: Photograph) -> dict[str, Any]:
    """One of the further photographs: its bars, and a few maps of its top class."""
    probabilities = study.probabilities(photograph.image)[0]
    target = int(probabilities.argmax())
    name = study.job.class_name(target)
    maps = [shown(study, key, photograph.image, [target], [f"{name} in {photograph.name}"])[0] for key in BRIEF]
    study.did()
    return {
        "name": photograph.name,
        "top": name,
        "photograph": embed.photograph(photograph.sharp, f"The photograph {photograph.name}"),
        "bars": study.bars(probabilities, 3),
        "unknown": study.unknown(photograph.image),
        "maps": [{"title": ATTRIBUTIONS[key].title, **found} for key, found in zip(BRIEF, maps, strict=True)],
    }


# ---- attributions ----------------------------------------------------------------------------------------------------


def attributions(study: Study) -> dict[str, Any]:
    """Every method for every class explained."""
    families = [{"title": title, "methods": [method(study, key) for key in keys]} for title, keys in FAMILIES.items()]
    names = [study.job.class_name(c) for c in study.classes]
    return {
        "families": families,
        "count": sum(map(len, FAMILIES.values())),
        "classes": names,
        "considered": min(study.budget.considered, len(study.job.probabilities)),
        "trusted": trusted(),
        "commands": [study.command("compare", "--targets", ",".join(names))],
        "note": SECTIONS["attributions"],
    }


def trusted() -> dict[str, Any]:
    """What each method can be trusted for, as it was measured: {scenes, command, columns, rows}."""
    found = json.loads(TRIED.read_text("utf-8"))
    by_method = {row["method"]: row for row in found["rows"]}
    rows = [{"title": ATTRIBUTIONS[key].title, **by_method[key]} for keys in FAMILIES.values() for key in keys]
    return found | {"columns": [name for name in found["rows"][0] if name != "method"], "rows": rows}


def method(study: Study, key: str) -> dict[str, Any]:
    """One method's maps, one for each class, made together, and its note."""
    names = [study.job.class_name(target) for target in study.classes]
    found = shown(study, key, np.repeat(study.first.image, len(names), 0), study.classes, names)
    study.did(LONG if key in SLOW else len(names))
    maps = [{"class": name, **one} for name, one in zip(names, found, strict=True)]
    return {"maps": maps, "note": ATTRIBUTIONS[key], "commands": [attribution_command(study, key)]}


def attribution_command(study: Study, key: str) -> str:
    """The command line that makes a method's map alone."""
    technique, options = ("lrp", ["--rule", key[4:]]) if key.startswith("lrp_") else (key, [])
    options += [word for name in ("samples", "steps") if name in METHODS[key].options
                for word in (f"--{name}", METHODS[key].options[name])]  # fmt: skip
    return study.command(technique, "--target", study.job.class_name(study.classes[0]), *options)


def shown(
    study: Study, key: str, images: np.ndarray, targets: Any, subjects: Sequence[str], model: Module | None = None
) -> list[dict[str, Any]]:
    """A map for each image, alone and, if it is coarse, as an overlay, with its colour bar, and what the method warns
    of; a sentence where the method does not apply.

    Fine maps would be hidden by the photograph that they lie over. RISE is shown less its mean, as by its own command.
    """
    try:
        maps, warned = heard(METHODS[key].map, model or study.model, images, targets)
    except (NotImplementedError, ValueError, RuntimeError) as error:
        sentence = users_mistake(error)
        if sentence is None:
            raise
        return [{"remark": sentence} for _ in subjects]
    return [pictured(key, heat, subject, warned) for heat, subject in zip(maps, subjects, strict=True)]


def pictured(key: str, heat: np.ndarray, subject: str, warned: str = "") -> dict[str, Any]:
    """A map as the page shows it: over the photograph if it is coarse, bare, and its scale."""
    something = heat.any()
    if key == "rise":
        heat = heat - heat.mean()
    title, scale = ATTRIBUTIONS[key].title, Scale.of(heat)
    over = embed.veil(heat, scale, f"{title} for {subject}, over the photograph") if key in COARSE else None
    return {
        "overlay": over,
        "bare": embed.drawn(heat, scale, f"{title} for {subject}"),
        "scale": embed.colour_bar(scale),
        "remark": warned if something else "The map is zero everywhere.",
    }


def heard(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """(what the function gives, what it warned of, as sentences); of maps that are zero the page says so itself."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        found = function(*arguments)
    said = [str(one.message).partition(": ")[2] for one in caught if issubclass(one.category, UserWarning)]
    said = dict.fromkeys(text for text in said if "zero everywhere" not in text)
    return found, " ".join(f"{text[:1].upper()}{text[1:]}." for text in said)


# ---- the sanity check ------------------------------------------------------------------------------------------------


def sanity(study: Study) -> dict[str, Any]:
    """Maps and rank correlations as the network's layers are randomised, for some of the methods and every class."""
    images, rows, layers = np.repeat(study.first.image, len(study.classes), 0), [], ()
    for key in CHECKED:
        try:
            found, _ = heard(
                lambda key=key: viz.model_randomization(
                    study.model, images, METHODS[key], study.classes, seed=study.job.args.seed, looks=LOOKS
                )
            )
        except (NotImplementedError, ValueError) as error:
            if users_mistake(error) is None:
                raise
            continue
        finally:
            study.did(2)
        layers = found.layers
        rows.append(sanity_row(key, found, looks(layers), len(study.classes)))
    rows.sort(key=lambda row: row["left"])
    names = [study.job.class_name(c) for c in study.classes]
    return {
        "rows": rows,
        "columns": ["trained", *(f"down to {layers[k - 1]}" for k in looks(layers)[1:])],
        "classes": names,
        "commands": [study.command("sanity_check", "--target", names[0], "--methods", ",".join(CHECKED))],
        "note": SECTIONS["sanity"],
    }


def looks(layers: Sequence[str]) -> list[int]:
    """After which looks a map is shown: none random yet, the first, the second, the middle one, and the last."""
    return sorted({0, 1, 2, (len(layers) + 1) // 2, len(layers)})


def sanity_row(key: str, found: Any, shown_looks: Sequence[int], count: int) -> dict[str, Any]:
    """A method's row of the table, with the cells of each of `count` classes; left: what is left on average."""
    title = ATTRIBUTIONS[key].title

    def cell(k: int, n: int) -> dict[str, Any]:
        heat, alt = found.maps[k][n], f"{title}, {f'{k} layers random' if k else 'trained network'}"
        drawn = embed.drawn(heat, Scale.of(heat), alt)
        return {"picture": drawn, "rho": float(found.spearman[k][n]), "trained": k == 0}

    cells = [[cell(k, n) for k in shown_looks] for n in range(count)]
    return {"title": title, "cells": cells, "left": float(np.mean(found.spearman[1:]))}
