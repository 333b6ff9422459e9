"""One attribution as a command: its options, how its result is drawn, and what is recorded of it."""

import inspect
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

import viz
from viz import sheet

from .job import Job
from .options import SEVERAL, parser
from .several import each
from .target import ANYTHING, SCORE

COMMANDS: dict[str, "Attribution"] = {}


def heading(method: str) -> str:
    """What figures call one of COMMANDS or of methods.METHODS: "Grad-CAM", "LRP, zplus", "centre"."""
    name, rule = ("lrp", method[4:]) if method.startswith("lrp_") else (method, "composite")
    return COMMANDS[name].heading.format(rule=rule) if name in COMMANDS else method


def call(job: Job, name: str, **explained: Any) -> np.ndarray:
    """viz's function of this name, for the job's model and image, with those options of the job that it takes."""
    function = getattr(viz, name)
    offered = {**vars(job.args), "progress": job.progress, "callback": job.so_far}
    own = list(inspect.signature(function).parameters)[5:]  # after model, image, target, layer, unit
    return function(job.model, job.image, **explained, **{key: offered[key] for key in own if key in offered})


# ---- what is drawn and recorded of a result --------------------------------------------------------------------------


def signed(found: np.ndarray) -> np.ndarray:
    """(N,H,W): the sum over channels, if there are any."""
    return viz.per_pixel(found, "signed")


def largest(job: Job, found: np.ndarray, heat: np.ndarray) -> dict[str, Any]:
    return {"largest": heat.max()}


def largest_and_mean(job: Job, found: np.ndarray, heat: np.ndarray) -> dict[str, Any]:
    return {"largest": heat.max(), "mean": heat.mean()}


def extremes(job: Job, found: np.ndarray, heat: np.ndarray) -> dict[str, Any]:
    return {"largest": found.max(), "smallest": found.min()}


class Attribution:
    """One of them. Its own options are arguments of its function: `.options.add_argument(...)`.

    name: of the function in viz. about: what --help says first, up to a colon the title of figures, if none is given.
    label: what the map measures, or a function of the options that says so. Title and label may name options, {rule},
    and label the result's {mean}. more: of --help's example.
    draw: the map (N,H,W) of a result; None for a result that is a picture itself.
    numbers: of (job, result, map), for the record. tail: of the line that is printed, which may name these numbers.
    """

    at_layer = False  # whether the map is drawn at a layer, which --layer names
    tail_in_title = False  # whether the figure's title says what the line does

    def __init__(
        self,
        name: str,
        about: str,
        label: str | Callable[[Namespace], str] = "",
        more: str = "",
        title: str = "",
        draw: Callable[[np.ndarray], np.ndarray] | None = signed,
        numbers: Callable[..., dict[str, Any]] = largest,
        tail: str = "",
    ) -> None:
        self.name, self.heading, self.label = name, title or about.partition(":")[0], label
        self.draw, self.numbers, self.tail = draw, numbers, tail
        kind = SCORE if self.at_layer else ANYTHING
        self.options = parser(about, f"photo.jpg --target cat {more}".strip(), image=SEVERAL, kind=kind)
        if self.at_layer:
            where = "where to look (default: the last rectified convolution)"
            self.options.add_argument("--layer", metavar="NAME", help=where)
        COMMANDS[name] = self

    def title(self, job: Job) -> str:
        """What titles call it, with the options that its heading names."""
        return self.heading.format(**vars(job.args))

    def arrays(self, job: Job, layer: Mapping[str, str]) -> dict[str, np.ndarray]:
        """{name: array} of the result, which comes first, and of what else there is, such as its map.

        layer: {} or {"layer": name}.
        """
        long = "callback" in inspect.signature(getattr(viz, self.name)).parameters
        with job.stoppable() if long else nullcontext():
            found = call(job, self.name, **self.explained(job), **layer)
        return {"map": found} if found.ndim == 3 else {"attribution": found, "map": (self.draw or signed)(found)}

    def explained(self, job: Job) -> dict[str, Any]:
        """What is explained, as keyword arguments of the function."""
        return job.explained

    def where(self, job: Job) -> dict[str, str]:
        """{"layer": name} of one that is drawn at a layer, or {}."""
        return {"layer": job.args.layer or viz.default_layer(job.model)} if self.at_layer else {}

    def explain(self, job: Job) -> tuple[dict[str, str], dict[str, np.ndarray]]:
        """(`where`, `arrays`) of the job."""
        layer = self.where(job)
        return layer, self.arrays(job, layer)

    def measures(self, job: Job, found: np.ndarray) -> str:
        """What the map measures, in words."""
        label = self.label(job.args) if callable(self.label) else self.label
        return label.format(**vars(job.args), mean=found.mean())

    def run(self, job: Job) -> None:
        """Explain each photograph."""
        each(job, self.one)

    def one(self, job: Job) -> None:
        """Explain the job's photograph, and write what comes of it."""
        layer, arrays = self.explain(job)
        found = next(iter(arrays.values()))
        heat = found if self.draw is None else self.draw(found)
        numbers = layer | self.numbers(job, found, heat)
        at = f", at {layer['layer']}" if layer else ""
        title, tail = self.title(job), self.tail.format(**numbers)
        word = title.lower() if title == title.capitalize() else title  # names, such as RISE, stay as they are
        job.write(
            figure=self.figure(job, found, heat, job.title(title) + at + tail * self.tail_in_title),
            arrays={"image": job.image, **arrays},
            numbers=numbers,
            line=job.title(word) + at + tail,
        )

    def figure(self, job: Job, found: np.ndarray, heat: np.ndarray, title: str) -> Any:
        """The photograph beside the map, or beside the picture that the result is."""
        if self.draw is not None:
            return sheet.attribution(job.image, heat, title, self.measures(job, found))
        from viz import plot  # with matplotlib, which sheet does without

        labels = ["photograph", f"grey is 0, full colour ±{plot.Scale.of(found).high:.2g}"]
        return plot.pictures([job.image, plot.centred(found)], labels, title)
