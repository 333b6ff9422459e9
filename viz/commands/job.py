"""One run of a command: what it was asked, its model, image and target, and the results it writes."""

import argparse
import copy
import json
import shlex
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
import models
from minigrad import functional as F
from minigrad.device import array_module, current_device, device_of, to_device
from minigrad.tools.config import gpu_facts
from models.memory import keep_freed_memory
from models.mistakes import UserError
from models.model import Model
from models.weights_file import is_foreign
from viz.animation import save_gif
from viz.many.photographs import at_input_size
from viz.optimize import Optimized
from viz.target import as_image, logits

from .options import TOLD
from .record import (
    answered,
    as_json,
    asked,
    check_folder,
    checksum,
    described,
    file_stem,
    in_words,
    network_name,
    save,
    save_arrays,
    save_figure,
    sha256,
    source_name,
    versions,
)
from .target import Target, read_target


class Job:
    """One run of a command: what it was asked (`.args`), its model, image and target, and the writing of results.

    Model, image and target are loaded when first used. `.args.device` is what --device came to, "cpu" or "cuda:1", say;
    inside `with job.on_device():` it is the current one. `.written` lists the paths written so far, `.rng` is the run's
    numpy Generator, `.progress` whether to say how far it is (see progress.py; not with --quiet).
    """

    def __init__(
        self,
        name: str,
        args: Namespace,
        argv: Sequence[str],
        program: str,
        own_process: bool,
        written: list[Path],
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """name, argv, program, own_process: as `command.main` has them; written: the list that paths are added to;
        defaults: {option: value} of those that have one."""
        self.name, self.args, self.argv, self.program, self.own_process = name, args, list(argv), program, own_process
        self.numbers = {}  # of the results written so far
        self.began, self.written, self.defaults = time.time(), written, dict(defaults or {})
        self.stopped, self.done = False, None  # done: (how many, of how many) steps, where it was stopped
        self.code = None  # 0 where Ctrl-C is how the work ends
        self.fitted: np.ndarray | None = None  # the photograph, where it keeps its shape: see pictures.fitted
        self.progress = not args.quiet
        self._said: list[str] = []  # by this run and those of it for one photograph each
        if args.seed < 0:
            raise UserError(f"--seed must not be negative, got {args.seed}")
        self.rng = np.random.default_rng(args.seed)
        if args.out is not None:
            check_folder(args.out)
        self._probe = to_device(np.zeros(1, np.float32), args.device)  # says now what is wrong with the device
        self.device_asked, args.device = args.device, device_of(self._probe)

    def on_device(self) -> AbstractContextManager:
        """A context in which the run's GPU is the current one; on the CPU, one that does nothing."""
        return current_device(self._probe)

    def of(self, image: Any) -> "Job":
        """The same run, of the same model, for the photograph `image` alone."""
        model = self.model
        one = copy.copy(self)
        one.args = argparse.Namespace(**vars(self.args) | {"image": image})
        one.rng, one.numbers = np.random.default_rng(self.args.seed), {}
        for name in ("image", "scores", "probabilities", "wanted"):
            vars(one).pop(name, None)
        one.model = model
        return one

    # ---- what was asked for

    @property
    def told(self) -> dict[str, Any]:
        """What the options say that the file of another program's network does not, as `models.load` takes it."""
        return {name: value for name, option in TOLD.items() if (value := getattr(self.args, option, None)) is not None}

    @cached_property
    def model(self) -> Model:
        """The network, on the device, in evaluation mode, frozen; `.labels`, `.input_size`, `.provenance`."""
        model = models.load(self.args.model, device=self.args.device, **self.told).eval().requires_grad_(False)
        done = model.provenance.get("conversion", "")
        if done and not self.args.quiet and is_foreign(self.args.model):
            from models.convert import USUAL  # with all its readers

            if USUAL in done:
                print(f"{self.args.model}: {done} (--preprocessing)", file=sys.stderr)
        if self.own_process:
            keep_freed_memory()
        return model

    @property
    def network(self) -> str:
        """The network in words: "minivgg, 12 classes, 112 x 112 pixels"."""
        classes = "" if self.model.labels is None else f", {len(self.model.labels)} classes"
        height, width = self.model.input_size
        return f"{network_name(self.args.model)}{classes}, {width} x {height} pixels"

    @property
    def names_model(self) -> list[str]:
        """`model_named` for a command whose default is minivgg, as that of most."""
        return self.model_named("minivgg")

    def model_named(self, default: str) -> list[str]:
        """The words of a command line that name the model, if not the command's default, and say what its file does
        not."""
        given = {"model": self.args.model} if self.args.model != default else {}
        given |= {option: value for option in TOLD.values() if (value := getattr(self.args, option)) is not None}
        return [word for option, value in given.items() for word in (f"--{option.replace('_', '-')}", str(value))]

    @cached_property
    def image(self) -> np.ndarray:
        """The photograph as `viz.many.photographs.at_input_size` gives it."""
        return at_input_size(self.model, self.args.image, self.photograph)

    def photograph(
        self, path: Any, size: int | tuple[int, int] | None = None, short_side: int | None = None
    ) -> np.ndarray:
        """A picture as models.load_image gives it; None is scikit-image's cat."""
        if path is not None:
            return models.load_image(path, size, short_side)
        try:
            from skimage import data
        except ImportError:
            raise UserError("no IMAGE was given, and the sample needs scikit-image: pip install scikit-image") from None
        return models.load_image(data.cat(), size, short_side)

    @property
    def image_name(self) -> str:
        """The file's name without its ending; "cat" for the sample."""
        return Path(self.args.image).stem if self.args.image else "cat"

    def subject(self, part: str = "") -> str:
        """What results are called: picture, folder, network, what is explained, part, and options not at a default.

        "dog_minivgg", "dog_minivgg_zebra_steps-100", "imagenette_minivgg_relu3_1". part: of several results of a run.
        """
        asked = vars(self.args)
        data, model, target = (asked.get(key) for key in ("data", "model", "target"))
        said = [self.image_name if asked.get("image") or ("image" in asked and not data) else None]
        said += [source_name(data) if data else None]
        said += [network_name(model) if model else None, None if target is None else self.target_name("-", "_")]
        said += [asked.get("method"), asked.get("layer"), part]
        kept = ("image", "images", "data", "model", "target", "targets", "method", "layer", "out", "store", "quiet")
        kept += ("workers", "scheduler")  # who computes
        changed = {key: value for key, value in asked.items() if key not in kept and value != self.defaults.get(key)}
        return "_".join([*filter(None, said), *(in_words(key.replace("_", "-"), v) for key, v in changed.items())])

    @cached_property
    def scores(self) -> np.ndarray:
        """(1,K) of the model for the image; a technique whose own pass through the network gives them may set them."""
        with mg.no_grad():
            return logits(self.model, as_image(self.model, self.image)).numpy()

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(K,) softmax of `scores`."""
        return F.softmax(mg.from_numpy(self.scores), 1).numpy()[0]

    @cached_property
    def wanted(self) -> Target:
        """The Target of --target; the top class where none is given."""
        if self.args.target is None:
            return Target((int(self.probabilities.argmax()),))
        return read_target(self.model, self.args.target)

    @property
    def explained(self) -> dict[str, Any]:
        """What to explain, as keyword arguments of viz's functions: {"target": c}, or {"layer": name, "unit": unit}."""
        return self.wanted.arguments

    @property
    def explained_classes(self) -> dict[str, Any]:
        """{"target": a class or a Contrast of two}, for techniques that explain no layer."""
        if self.wanted.layer is not None:
            hint = "--layer says where to look" if "layer" in vars(self.args) else "give a class, or A-B for two"
            raise UserError(f"{self.name} explains classes, {self.args.target} is a layer: {hint}")
        return self.wanted.arguments

    @property
    def target(self) -> int:
        """The index of the class asked for, or of the top one, for techniques that explain or reach one class."""
        if len(self.wanted.classes) != 1:
            raise UserError(f"{self.name} takes a single class, --target {self.args.target} is none")
        return self.wanted.classes[0]

    def class_name(self, index: int) -> str:
        """A class's short name; "class 7" for a model without labels."""
        return str(self.model.labels[index]) if self.model.labels is not None else f"class {index}"

    def target_name(self, less: str = " less ", unit: str = ", unit ") -> str:
        """Of what is explained: "cat", "cat less dog", "relu3_1, unit 7". less, unit: what stands between."""
        return self.wanted.name(self.class_name, less, unit)

    def title(self, what: str, index: int | None = None) -> str:
        """ "what: cat (p = 0.98)", for what is explained or the class `index`; or "what: relu3_1, unit 7"."""
        name = self.target_name() if index is None else self.class_name(index)
        classes = self.wanted.classes if index is None else [index]
        shares = ", ".join(f"{self.probabilities[c]:.3g}" for c in classes)
        return self.heading(f"{what}: {name}" + (f" (p = {shares})" if shares else ""))

    def heading(self, text: str) -> str:
        """The text, and that the work was stopped, if it was: for titles of figures."""
        return f"{text}, {self.ending}" if self.stopped else text

    @property
    def ending(self) -> str:
        """ "stopped at 34 of 400", where that is known; "" for work that was not stopped."""
        if not self.stopped:
            return ""
        if self.done is None:
            return "stopped early"
        return f"stopped at {self.done[0]}" + (f" of {self.done[1]}" if self.done[1] else "")

    @contextmanager
    def stoppable(self) -> Iterator["Job"]:
        """Inside, the first Ctrl-C only sets `.stopped`; a second one stops at once. Only in the main thread."""

        def note(*_: Any) -> None:
            if self.stopped:
                raise KeyboardInterrupt
            self.stopped = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)

    def until_stopped(
        self, total: int | None, done: Callable[..., Any] = lambda *given: given[0]
    ) -> Callable[..., bool]:
        """A callback for viz's loops, which ends them after Ctrl-C and takes down how far they came.

        total: of their steps, None if it is not known. done: how many are done, of what the callback is given.
        """

        def callback(*given: Any) -> bool:
            self.done = done(*given), total
            return self.stopped

        return callback

    def so_far(self, step: int, steps: int, result: np.ndarray) -> bool:
        """The callback of attributions that take many steps: as of `until_stopped`."""
        self.done = step, steps
        return self.stopped

    frame: Callable[..., bool] | None = None  # the callback of optimised images, where they are watched

    def left(self, result: Optimized, total: int | None) -> None:
        """Take down whether an optimised image was left early, after how many of `total` steps."""
        self.stopped, self.done = result.stopped, (result.steps, total)

    # ---- what comes out

    def write(
        self,
        line: str,
        figure: Any = None,
        arrays: Mapping[str, Any] | None = None,
        numbers: Mapping[str, Any] | None = None,
        pictures: Mapping[str, np.ndarray] | None = None,
        frames: Sequence[np.ndarray] | None = None,
        settings: Mapping[str, Any] | None = None,
        part: str = "",
        subject: str | None = None,
    ) -> list[Path]:
        """Write one result, each file atomically, and print `line` with their paths.

        The files are NAME_SUBJECT.png (figure, of plot.py or sheet.py), .npz (arrays, by name), .json (the record,
        with `numbers`), _PICTURE.png for each of `pictures` (by name, (1,3,H,W) in [0,1], 8 bits) and .gif for `frames`
        (such pictures, in order). An array is called image if it is what the network was shown, map if it is maps.
        settings: what was in effect where options left it open. subject: by default `.subject(part)`. Returns the list
        of paths, the record's last.
        """
        self.numbers |= numbers or {}
        subject = self.subject(part) if subject is None else subject
        base, arrays, paths = self._base(subject), arrays or {}, []
        if self.stopped and self.ending not in line:
            line += self.ending if line.endswith("\n") else f", {self.ending}"
        if figure is not None:
            paths.append(save(base, ".png", lambda path: save_figure(figure, path)))
        for name, picture in (pictures or {}).items():
            paths.append(base.with_name(f"{base.name}_{file_stem(name)}.png"))
            models.save_image(picture, paths[-1])
        if frames:
            paths.append(base.with_name(base.name + ".gif"))
            save_gif(frames, paths[-1])
        if arrays:
            paths.append(save(base, ".npz", lambda path: save_arrays(arrays, path)))
        record = {
            **self.facts(),
            "settings": settings or {},
            "numbers": numbers or {},
            "arrays": described(arrays),
            "files": [p.name for p in paths],
        }
        self.written += paths
        paths.append(self.write_text(as_json(record), ".json", subject))
        self.say(f"{line} -> {' '.join(map(str, paths))}")
        return paths

    def say(self, text: str) -> None:
        """Print what the run has to say, below a first line that names the network; nothing with --quiet."""
        if self.args.quiet:
            return
        if not self._said and "model" in vars(self):
            print(f"network: {self.network}")
        self._said.append(text)
        print(text, flush=True)

    def write_text(self, text: str, suffix: str, subject: str | None = None) -> Path:
        """Write NAME_SUBJECT with this suffix, a file of text beside the others; returns its path."""
        base = self._base(self.subject() if subject is None else subject)
        self.written.append(save(base, suffix, lambda path: path.write_text(text, "utf-8")))
        return self.written[-1]

    def growing(self, suffix: str) -> Path | None:
        """Where NAME_SUBJECT with this suffix will be, for what is shown as it grows; None where the answer to the same
        question is there, which stays until the new one is whole."""
        base = self._base(self.subject())
        return base.with_name(base.name + suffix) if answered(base) is None else None

    def _base(self, subject: str) -> Path:
        """The path of a result without its suffix, in a folder that is there.

        The answer to the same question is replaced; where that to another one has the name (weights or pictures of one
        name from two folders), a checksum of the question stands behind it.
        """
        ending = self.ending.replace(" ", "-")
        stem = file_stem(self.name, subject) + (f"_{ending}" if ending else "")
        self.args.out.mkdir(parents=True, exist_ok=True)
        question = json.loads(as_json(asked(self.facts())))
        base = self.args.out / stem
        if answered(base) in (None, question):
            return base
        return self.args.out / f"{stem}_{checksum(json.dumps(question, sort_keys=True))}"

    def command(self, name: str, *argv: object) -> str:
        """The command line of a technique, started as this one was."""
        return shlex.join([*self.program.format(name).split(), *map(str, argv)])

    def facts(self) -> dict[str, Any]:
        """What it takes to know where a result came from, and to make it again."""
        used = vars(self)  # the cached properties that this run has looked at
        shown = self.image if "image" in used else self.fitted
        return {
            "command": self.command(self.name, *self.argv),
            "options": vars(self.args),
            "device": self._device(),
            "seed": self.args.seed,
            "target": self._target_asked() if "wanted" in used and self.wanted.classes else None,
            "image": None if shown is None else {"shape": shown.shape, "sha256": sha256(shown)},
            "weights": self.model.provenance if "model" in used else None,
            "stopped_early": self.stopped,
            "stopped": dict(zip(("at", "of"), self.done, strict=True)) if self.stopped and self.done else None,
            "versions": versions(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.began)),
            "seconds": round(time.time() - self.began, 3),
        }

    def _target_asked(self) -> dict[str, Any]:
        classes = self.wanted.classes
        return {"index": classes[0] if len(classes) == 1 else classes, "name": self.target_name()}

    def _device(self) -> dict[str, Any]:
        """The device asked for and the one used; of a GPU its name and CUDA's versions, and the memory pool's bytes."""
        facts = {} if self.args.device == "cpu" else gpu_facts(array_module(self._probe))
        return {"asked": self.device_asked, "used": self.args.device, **facts}
