"""How a technique is run, whoever asked: options, warnings, exit code.

A technique is a module of this folder with a docstring, `options` and `run(job)`:

    \"""Saliency: which pixels change the score of a class (Simonyan et al. 2013, arXiv:1312.6034, section 3).\"""

    import viz
    from viz import sheet

    from .options import parser

    options = parser(__doc__, "photo.jpg --target zebra", neuron=True)
    options.add_argument("--reduce", choices=("max", "sum", "l2"), default="max", help="how channels become one")


    def run(job):
        maps = viz.saliency(job.model, job.image, **job.explained, reduce=job.args.reduce)
        job.write(
            figure=sheet.attribution(job.image[0], maps[0], title=job.title("Saliency")),
            arrays={"image": job.image, "map": maps},
            numbers={"largest": maps.max()},
            line=job.title("saliency"),
        )

This one and those like it are rows of attribution.py. All are listed in techniques.py; scripts/NAME.py starts one from
the repository. Long work may be left with what it has so far: viz's optimisers take Ctrl-C as the end and say so,
`job.left(result, steps)`; other loops run inside `with job.stoppable():`, where the first Ctrl-C only sets
`job.stopped`, for the loop to look at, which `callback=job.until_stopped(steps)` or `job.so_far` does. Write the
results as usual, under `job.heading(title)`: the exit code is then 130. `progress=job.progress` shows a bar on a
terminal, and a line every half minute in a file, unless --quiet. One that takes no photograph says `parser(...,
image=False)`; one that writes several results names each by its `part`.
"""

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from models.exits import exit_code
from models.mistakes import UserError
from viz.target import NoScores, logits_layer

from . import attribution, techniques
from .job import Job
from .options import Parser
from .progress import as_lines

SCRIPT, MODULE = "python scripts/{}.py", "python -m viz {}"


def find(name: str) -> Any:
    """What has the `options` and the `run` of a technique's command, such as "grad_cam"."""
    return attribution.COMMANDS.get(name) or importlib.import_module(f".{name}", __package__)


def start(name: str, argv: Sequence[str], program: str = MODULE, own_process: bool = False) -> int:
    """Run a technique's command by its name; the exit code. See `main`."""

    def work() -> int:
        found = find(name)
        return main(name, found.options, found.run, argv, program, own_process)

    return exit_code(name, work)


def main(
    name: str,
    options: Parser,
    run: Callable[[Job], None],
    argv: Sequence[str] | None = None,
    program: str = SCRIPT,
    own_process: bool | None = None,
) -> int:
    """Parse the command line, call `run(job)`, and return the exit code: 0, 2 (user's mistake) or 130 (Ctrl-C).

    name: which begins the files and the sentences. program: how it was started, with {} for the name.
    own_process: whether the process is this run's alone, so that its memory may be kept (default: if no argv is given).
    """
    if own_process is None:
        own_process = argv is None
    argv = sys.argv[1:] if argv is None else argv
    command, written = program.format(name), []
    options.prog = command.removeprefix("python scripts/")
    options.epilog = "\n\n".join(filter(None, (f"Example:\n  {command} {options.example}", techniques.reference(name))))

    def work() -> int | None:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: sys.stderr.write(f"{name}: warning: {message}\n")
            warnings.filterwarnings("ignore", module=r"PIL\.")  # once: threads that read share the filters
            args = options.parse_args(argv)
            defaults = {key: options.get_default(key) for key in vars(args)}
            job = Job(name, args, argv, program, own_process, written, defaults)
            with job.on_device(), as_lines():
                try:
                    run(job)
                except NoScores as error:
                    raise UserError(no_scores(job, error, options.layer_was_target)) from None
            return 130 if job.stopped else job.code

    return exit_code(name, work, written)


def no_scores(job: Job, error: NoScores, takes_layers: bool) -> str:
    """The sentence of a NoScores: at a command line the target is no function, but may be a layer's channel."""
    if not takes_layers:
        return f"{error.found}, which {job.name} needs"
    ndim, last = getattr(error.output, "ndim", 0), logits_layer(job.model)
    such = f", such as --target {last}{':0' if ndim > 1 else ''}" if ndim else ""
    return f"{error.found}: give --target LAYER:CHANNEL{such}"
