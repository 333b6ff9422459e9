"""What every script shares: options, exit codes, and the record that each result leaves.

A script is a docstring, a `run(job)` and, where it has options of its own, a few lines more:

    \"""Saliency: which pixels change the score of a class (Simonyan et al. 2013, arXiv:1312.6034, section 3).\"""

    from command import main, parser

    import viz
    from viz import sheet

    options = parser(__doc__, "python scripts/saliency.py photo.jpg --target zebra", neuron=True)
    options.add_argument("--reduce", choices=("max", "sum", "l2"), default="max", help="how channels become one")


    def run(job):
        maps = viz.saliency(job.model, job.image, **job.explained, reduce=job.args.reduce)
        job.write(
            figure=sheet.attribution(job.image[0], maps[0], title=job.title("Saliency")),
            arrays={"image": job.image, "map": maps},
            numbers={"largest": maps.max()},
            line=job.title("saliency"),
        )


    if __name__ == "__main__":
        raise SystemExit(main(options, run))

`main` exits with 0, with 2 and one sentence for what a user got wrong, with 130 after Ctrl-C; anything else is a
mistake of ours and keeps its traceback. Long work may be left with what it has so far: viz's optimisers take Ctrl-C as
the end and say so, `job.stopped = result.stopped`; other loops run inside `with job.stoppable():`, where the first
Ctrl-C only sets `job.stopped`, for the loop to look at. Write the results as usual: the exit code is then 130.
`progress=job.progress` shows a bar on a terminal, unless --quiet. A script that takes no photograph says
`parser(..., image=False)` and names what it writes: `job.write(..., subject="zebra")`. A script must not be named as a
module of the standard library, for its folder is searched first.
"""

import argparse
import re
import sys
import warnings
from pathlib import Path

from exits import flush, interruptible  # first: Ctrl-C may come while the rest is imported
from job import Job
from mistakes import UserError, users_mistake

__all__ = ["UserError", "main", "parser", "unit"]


# ---- options ---------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(f"{message} (--help lists the options)")


A_MODEL = "a model's name or the path of a weights file (default %(default)s)"


def parser(doc, example, image=True, target=True, neuron=False, model=A_MODEL):
    """An ArgumentParser with the options that all scripts share.

    doc: the script's docstring, shown by --help; example: one command line that works.
    image, target: False for a script that takes no photograph, or no class.
    neuron: also --layer and --unit, which are explained in the class's place (see `Job.explained`).
    model: what --help says of --model.
    """
    options = _Parser(
        description=doc, epilog=f"Example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = options.add_argument
    if image:
        add("image", nargs="?", metavar="IMAGE", help="a photograph; none means scikit-image's sample of a cat")
    add("--model", default="minivgg", help=model)
    if target:
        add("--target", metavar="CLASS", help="a class by name or index (default: the top one)")
    if neuron:
        add("--layer", metavar="NAME", help="explain this layer in the class's place, its mean or that of --unit")
        add("--unit", type=unit, metavar="C[,ROW,COL]", help="a channel of --layer, or one neuron of it")
    add(
        "--device",
        default="cpu",
        help="cpu, cuda, cuda:1, or auto: a GPU if there is one (default %(default)s)",
    )
    add("--seed", type=int, default=0, help="of everything random (default %(default)s)")
    add("--out", type=Path, default=Path("out"), metavar="DIR", help="folder for the results (default %(default)s)")
    add("--quiet", action="store_true", help="no progress bar and no line for each result")
    return options


def unit(text):
    """ "3" or "3,0,12" as a tuple: a channel, or channel, row and column. An argparse type."""
    if not re.fullmatch(r"\d+(,\d+,\d+)?", text):
        raise argparse.ArgumentTypeError(
            f"a unit is a channel, or channel,row,column, such as 3 or 3,0,12; got {text!r}"
        )
    return tuple(int(number) for number in text.split(","))


# ---- running ---------------------------------------------------------------------------------------------------------


def main(options, run, argv=None):
    """Parse the command line, call `run(job)`, and return the exit code: 0, 2 (user's mistake) or 130 (Ctrl-C)."""
    name = Path(run.__code__.co_filename).stem
    job = None
    try:
        with interruptible(), warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: print(f"{name}: warning: {message}", file=sys.stderr)
            job = Job(name, options.parse_args(argv), sys.argv[1:] if argv is None else argv, own_process=argv is None)
            with job.on_device():
                run(job)
            flush(sys.stdout)
    except KeyboardInterrupt:
        written = ", ".join(map(str, job.written)) if job and job.written else "nothing"
        print(f"{name}: stopped; written so far: {written}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        return 141
    except Exception as error:
        sentence = users_mistake(error)
        if sentence is None:
            raise
        print(f"{name}: {sentence.removeprefix(f'{name}: ')}", file=sys.stderr)  # viz names its functions so
        return 2
    return 130 if job.stopped else 0
