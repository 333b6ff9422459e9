"""One run of a command: what it was asked, its model, image and target, and the results it writes."""

import json
import shlex
import signal
import sys
import time
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np

import minigrad as mg
import models
from minigrad import functional as F
from minigrad.device import array_module, current_device, device_of, to_device
from minigrad.tools.config import gpu_facts
from models.convert import USUAL
from models.memory import keep_freed_memory
from models.mistakes import UserError
from models.weights_file import is_foreign
from viz.animation import save_gif
from viz.target import as_image, logits

from .options import TOLD
from .pictures import in_channels
from .record import (
    answered,
    as_json,
    asked,
    check_folder,
    described,
    file_stem,
    save,
    save_arrays,
    save_figure,
    sha256,
    versions,
)
from .target import Target, read_target


class Job:
    """One run of a command: what it was asked (`.args`), its model, image and target, and the writing of results.

    Model, image and target are loaded when first used. `.args.device` is what --device came to, "cpu" or "cuda:1", say;
    inside `with job.on_device():` it is the current one. `.written` lists the paths written so far, `.rng` is the run's
    numpy Generator, `.progress` whether to show a bar (on a terminal, unless --quiet).
    """

    def __init__(self, name, args, argv, program, own_process, written):
        """name, argv, program, own_process: as `command.main` has them; written: the list that paths are added to."""
        self.name, self.args, self.argv, self.program, self.own_process = name, args, list(argv), program, own_process
        self.began, self.written, self.stopped = time.time(), written, False
        self.progress = not args.quiet and sys.stderr.isatty()
        if args.seed < 0:
            raise UserError(f"--seed must not be negative, got {args.seed}")
        self.rng = np.random.default_rng(args.seed)
        check_folder(args.out)
        self._probe = to_device(np.zeros(1, np.float32), args.device)  # says now what is wrong with the device
        self.device_asked, args.device = args.device, device_of(self._probe)

    def on_device(self):
        """A context in which the run's GPU is the current one; on the CPU, one that does nothing."""
        return current_device(self._probe)

    # ---- what was asked for

    @cached_property
    def model(self):
        """The network, on the device, in evaluation mode, frozen; `.labels`, `.input_size`, `.provenance`."""
        told = {name: value for name, option in TOLD.items() if (value := getattr(self.args, option, None)) is not None}
        model = models.load(self.args.model, device=self.args.device, **told).eval().requires_grad_(False)
        done = model.provenance.get("conversion", "")
        if USUAL in done and not self.args.quiet and is_foreign(self.args.model):
            print(f"{self.args.model}: {done} (--preprocessing)", file=sys.stderr)
        if self.own_process:
            keep_freed_memory()
        return model

    @property
    def names_model(self):
        """The words of a command line that name the model, if not the default, and say what its file does not."""
        given = {"model": self.args.model} if self.args.model != "minivgg" else {}
        given |= {option: value for option in TOLD.values() if (value := getattr(self.args, option)) is not None}
        return [word for option, value in given.items() for word in (f"--{option.replace('_', '-')}", str(value))]

    @cached_property
    def image(self):
        """(1,3,H,W) float32 in [0,1]: the photograph at the model's input size, centre-cropped as the model asks; its
        luminance, (1,1,H,W), where the model sees grey.

        A picture that has this size already, such as one saved by attack.py, is taken as it is.
        """
        size, short_side = self.model.input_size, self.model.short_side
        if short_side is None or (whole := self.photograph(self.args.image)).shape[2:] != size:
            whole = self.photograph(self.args.image, size, short_side)
        return in_channels(self.model, whole)

    @staticmethod
    def photograph(path, size=None, short_side=None):
        """A picture as models.load_image gives it; None is scikit-image's cat."""
        if path is not None:
            return models.load_image(path, size, short_side)
        try:
            from skimage import data
        except ImportError:
            raise UserError("no IMAGE was given, and the sample needs scikit-image: pip install scikit-image") from None
        return models.load_image(data.cat(), size, short_side)

    @property
    def image_name(self):
        """The file's name without its ending; "cat" for the sample."""
        return Path(self.args.image).stem if self.args.image else "cat"

    @property
    def subject(self):
        """What results are called by default: the image's name and what was asked to be explained in it, if anything.

        So the files of one class do not replace those of another: "dog", "dog_zebra", "dog_relu3_1_7".
        """
        asked, parts = vars(self.args), [self.image_name]
        if asked.get("target") is not None:
            parts.append(self.target_name("-", "_"))
        if asked.get("layer") is not None:
            parts.append(asked["layer"])
        return "_".join(parts)

    @cached_property
    def scores(self):
        """(1,K) of the model for the image; a technique whose own pass through the network gives them may set them."""
        with mg.no_grad():
            return logits(self.model, as_image(self.model, self.image)).numpy()

    @cached_property
    def probabilities(self):
        """(K,) softmax of `scores`."""
        return F.softmax(mg.from_numpy(self.scores), 1).numpy()[0]

    @cached_property
    def wanted(self):
        """The Target of --target; the top class where none is given."""
        if self.args.target is None:
            return Target((int(self.probabilities.argmax()),))
        return read_target(self.model, self.args.target)

    @property
    def explained(self):
        """What to explain, as keyword arguments of viz's functions: {"target": c}, or {"layer": name, "unit": unit}."""
        return self.wanted.arguments

    @property
    def target(self):
        """The index of the class asked for, or of the top one, for techniques that explain or reach one class."""
        if len(self.wanted.classes) != 1:
            raise UserError(f"{self.name} takes a single class, --target {self.args.target} is none")
        return self.wanted.classes[0]

    def class_name(self, index):
        """A class's short name; "class 7" for a model without labels."""
        return str(self.model.labels[index]) if self.model.labels is not None else f"class {index}"

    def target_name(self, less=" less ", unit=", unit "):
        """Of what is explained: "cat", "cat less dog", "relu3_1, unit 7". less, unit: what stands between."""
        if self.wanted.layer is None:
            return less.join(map(self.class_name, self.wanted.classes))
        return self.wanted.layer + (unit + "-".join(map(str, self.wanted.unit)) if self.wanted.unit else "")

    def title(self, what, index=None):
        """ "what: cat (p = 0.98)", for what is explained or the class `index`; or "what: relu3_1, unit 7"."""
        name = self.target_name() if index is None else self.class_name(index)
        classes = self.wanted.classes if index is None else [index]
        shares = ", ".join(f"{self.probabilities[c]:.3g}" for c in classes)
        return f"{what}: {name}" + (f" (p = {shares})" if shares else "")

    @contextmanager
    def stoppable(self):
        """Inside, the first Ctrl-C only sets `.stopped`; a second one stops at once. Only in the main thread."""

        def note(*_):
            if self.stopped:
                raise KeyboardInterrupt
            self.stopped = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)

    # ---- what comes out

    def write(self, line, figure=None, arrays=None, numbers=None, pictures=None, frames=None, subject=None):
        """Write one result, each file atomically, and print `line` with their paths.

        The files are NAME_SUBJECT.png (figure, of plot.py or sheet.py), .npz (arrays, by name), .json (the record,
        with `numbers`), _PICTURE.png for each of `pictures` (by name, (1,3,H,W) in [0,1], 8 bits) and .gif for `frames`
        (such pictures, in order). subject: by default `.subject`. Returns the list of paths, the record's last.
        """
        base, arrays, paths = self._base(subject), arrays or {}, []
        if self.stopped:
            line += ", stopped early"
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
            "numbers": numbers or {},
            "arrays": described(arrays),
            "files": [p.name for p in paths],
        }
        self.written += paths
        paths.append(self.write_text(as_json(record), ".json", subject))
        if not self.args.quiet:
            print(f"{line} -> {' '.join(map(str, paths))}", flush=True)
        return paths

    def write_text(self, text, suffix, subject=None):
        """Write NAME_SUBJECT with this suffix, a file of text beside the others; returns its path."""
        self.written.append(save(self._base(subject), suffix, lambda path: path.write_text(text, "utf-8")))
        return self.written[-1]

    def _base(self, subject):
        """The path of a result without its suffix, in a folder that is there.

        The answer to the same question is replaced; that to another one stays, and the next free number is taken.
        """
        ends = ["stopped"] if self.stopped else []
        stem = file_stem(self.name, self.subject if subject is None else subject, *ends)
        self.args.out.mkdir(parents=True, exist_ok=True)
        question = json.loads(as_json(asked(self.facts())))
        names = (stem if n == 1 else f"{stem}_{n}" for n in count(1))
        return next(base for base in map(self.args.out.joinpath, names) if answered(base) in (None, question))

    def command(self, name, *argv):
        """The command line of a technique, started as this one was."""
        return shlex.join([*self.program.format(name).split(), *map(str, argv)])

    def facts(self):
        """What it takes to know where a result came from, and to make it again."""
        used = vars(self)  # the cached properties that this run has looked at
        return {
            "command": self.command(self.name, *self.argv),
            "options": vars(self.args),
            "device": self._device(),
            "seed": self.args.seed,
            "target": self._target_asked() if "wanted" in used and self.wanted.classes else None,
            "image": {"shape": self.image.shape, "sha256": sha256(self.image)} if "image" in used else None,
            "weights": self.model.provenance if "model" in used else None,
            "stopped_early": self.stopped,
            "versions": versions(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.began)),
            "seconds": round(time.time() - self.began, 3),
        }

    def _target_asked(self):
        classes = self.wanted.classes
        return {"index": classes[0] if len(classes) == 1 else classes, "name": self.target_name()}

    def _device(self):
        """The device asked for and the one used; of a GPU its name and CUDA's versions, and the memory pool's bytes."""
        facts = {} if self.args.device == "cpu" else gpu_facts(array_module(self._probe))
        return {"asked": self.device_asked, "used": self.args.device, **facts}
