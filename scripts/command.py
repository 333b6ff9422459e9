"""What every script shares: options, exit codes, and the record that each result leaves.

A script is a docstring, a `run(job)` and, where it has options of its own, a few lines more:

    \"""Saliency: which pixels change the score of a class (Simonyan et al. 2013, arXiv:1312.6034, section 3).\"""

    from command import main, parser

    import viz
    from viz import plot

    options = parser(__doc__, "python scripts/saliency.py photo.jpg --target zebra")
    options.add_argument("--reduce", choices=("max", "sum", "l2"), default="max", help="how channels become one")


    def run(job):
        maps = viz.saliency(job.model, job.image, job.target, reduce=job.args.reduce)
        job.write(
            figure=plot.attribution(job.image[0], maps[0], title=job.title("Saliency")),
            arrays={"image": job.image, "map": maps},
            numbers={"probability": job.probabilities[job.target]},
            line=job.title("saliency"),
        )


    if __name__ == "__main__":
        raise SystemExit(main(options, run))

`main` exits with 0, with 2 and one sentence for what a user got wrong, with 130 after Ctrl-C; anything else is a
mistake of ours and keeps its traceback. Long work goes on inside `with job.stoppable():`, where the first Ctrl-C only
sets `job.stopped`; whoever loops looks at it (a callback that returns `job.stopped`), and the script then writes what
it has. `progress=job.progress` shows a bar unless --quiet. A script that takes no photograph says
`parser(..., image=False)` and names what it writes: `job.write(..., subject="zebra")`. A script must not be named as a
module of the standard library: its folder is searched first.
"""

import argparse
import os
import shlex
import signal
import sys
import time
import warnings
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
from mistakes import UserError, users_mistake
from record import described, file_stem, save, save_8_bit, save_arrays, save_json, sha256, versions

import minigrad as mg
import models
from minigrad import functional as F
from minigrad.backend import to_device

# ---- options ---------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(f"{message} (--help lists the options)")


def parser(doc, example, image=True, target=True):
    """An ArgumentParser with the options that all scripts share.

    doc: the script's docstring, shown by --help; example: one command line that works.
    image, target: False for a script that takes no photograph, or no class.
    """
    options = _Parser(
        description=doc, epilog=f"Example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = options.add_argument
    if image:
        add("image", nargs="?", metavar="IMAGE", help="a photograph; none means scikit-image's sample of a cat")
    add("--model", default="minivgg", help="a model's name or the path of a weights file (default %(default)s)")
    if target:
        add("--target", metavar="CLASS", help="a class by name or index (default: the top one)")
    add("--device", default="cpu", help="cpu, cuda, or auto for a GPU if there is one (default %(default)s)")
    add("--seed", type=int, default=0, help="of everything random (default %(default)s)")
    add("--out", type=Path, default=Path("out"), metavar="DIR", help="folder for the results (default %(default)s)")
    add("--quiet", action="store_true", help="no progress bar and no line for each result")
    return options


# ---- running ---------------------------------------------------------------------------------------------------------


def main(options, run, argv=None):
    """Parse the command line, call `run(job)`, and return the exit code: 0, 2 (user's mistake) or 130 (Ctrl-C)."""
    name = Path(run.__code__.co_filename).stem
    job = None
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: print(f"{name}: warning: {message}", file=sys.stderr)
            job = Job(name, options.parse_args(argv), sys.argv[1:] if argv is None else argv)
            run(job)
            sys.stdout.flush()
    except KeyboardInterrupt:
        written = ", ".join(map(str, job.written)) if job and job.written else "nothing"
        print(f"{name}: stopped; written so far: {written}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        sentence = users_mistake(error)
        if sentence is None:
            raise
        print(f"{name}: {sentence}", file=sys.stderr)
        return 2
    return 130 if job.stopped else 0


class Job:
    """One run of a script: what it was asked (`.args`), its model, image and target, and the writing of results.

    Model, image and target are loaded when first used. `.written` lists the paths written so far, `.rng` is the run's
    numpy Generator, `.progress` whether to show a bar.
    """

    def __init__(self, script, args, argv):
        self.script, self.args, self.argv = script, args, list(argv)
        self.began, self.written, self.stopped = time.time(), [], False
        self.progress = not args.quiet
        if args.seed < 0:
            raise UserError(f"--seed must not be negative, got {args.seed}")
        self.rng = np.random.default_rng(args.seed)
        _check_folder(args.out)
        _check_device(args.device)

    # ---- what was asked for

    @cached_property
    def model(self):
        """The network, on the device, in evaluation mode, frozen; `.labels`, `.input_size`, `.provenance`."""
        return models.load(self.args.model, device=self.args.device).eval().requires_grad_(False)

    @cached_property
    def image(self):
        """(1,3,H,W) float32 in [0,1]: the photograph at the model's input size, centre-cropped."""
        return self.photograph(self.args.image, self.model.input_size)

    @staticmethod
    def photograph(path, size=None):
        """A picture as models.load_image gives it; None is scikit-image's cat."""
        if path is not None:
            return models.load_image(path, size)
        try:
            from skimage import data
        except ImportError:
            raise UserError("no IMAGE was given, and the sample needs scikit-image: pip install scikit-image") from None
        return models.load_image(data.cat(), size)

    @property
    def image_name(self):
        """The file's name without its ending; "cat" for the sample."""
        return Path(self.args.image).stem if self.args.image else "cat"

    @cached_property
    def probabilities(self):
        """(K,) softmax of the model's scores for the image."""
        with mg.no_grad():
            scores = self.model(mg.Tensor(to_device(self.image, self.args.device)))
        return F.softmax(scores, 1).numpy()[0]

    @cached_property
    def target(self):
        """The index of the class asked for, or of the top one."""
        if self.args.target is None:
            return int(self.probabilities.argmax())
        return models.find_class(self.model, self.args.target)

    def class_name(self, index):
        """A class's short name; "class 7" for a model without labels."""
        return str(self.model.labels[index]) if self.model.labels is not None else f"class {index}"

    def title(self, what, index=None):
        """ "what: cat (p = 0.98)", for the target or the class `index`."""
        index = self.target if index is None else index
        return f"{what}: {self.class_name(index)} (p = {self.probabilities[index]:.3g})"

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

        The files are SCRIPT_SUBJECT.png (figure, a matplotlib Figure), .npz (arrays, by name), .json (the record, with
        `numbers`), _NAME.png for each of `pictures` (by name, (1,3,H,W) in [0,1], 8 bits) and .gif for `frames` (such
        pictures, in order). subject: by default the image's name. Returns the list of paths, the record's last.
        """
        base = self.args.out / file_stem(self.script, self.image_name if subject is None else subject)
        base.parent.mkdir(parents=True, exist_ok=True)
        arrays, paths = arrays or {}, []
        if figure is not None:
            paths.append(save(base, ".png", lambda path: figure.savefig(path, format="png")))
        for name, picture in (pictures or {}).items():
            paths.append(save(base, f"_{file_stem(name)}.png", lambda path, it=picture: save_8_bit([it], path, "PNG")))
        if frames:
            paths.append(save(base, ".gif", lambda path: save_8_bit(frames, path, "GIF")))
        if arrays:
            paths.append(save(base, ".npz", lambda path: save_arrays(arrays, path)))
        record = {
            **self.facts(),
            "numbers": numbers or {},
            "arrays": described(arrays),
            "files": [p.name for p in paths],
        }
        paths.append(save(base, ".json", lambda path: save_json(record, path)))
        self.written += paths
        if not self.args.quiet:
            print(f"{line} -> {' '.join(map(str, paths))}", flush=True)
        return paths

    def facts(self):
        """What it takes to know where a result came from, and to make it again."""
        used = vars(self)  # the cached properties that this run has looked at
        return {
            "command": shlex.join(["python", f"scripts/{self.script}.py", *map(str, self.argv)]),
            "options": vars(self.args),
            "seed": self.args.seed,
            "target": {"index": self.target, "name": self.class_name(self.target)} if "target" in used else None,
            "image": {"shape": self.image.shape, "sha256": sha256(self.image)} if "image" in used else None,
            "weights": self.model.provenance if "model" in used else None,
            "stopped_early": self.stopped,
            "versions": versions(),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.began)),
            "seconds": round(time.time() - self.began, 3),
        }


def _check_folder(out):
    """Before any work: that `out` is or can become a folder that may be written to."""
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise UserError(f"--out {out}: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"--out {out}: the folder {there} may not be written to")


def _check_device(device):
    to_device(np.zeros(1, np.float32), device)
