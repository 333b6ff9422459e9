"""A student's engine beside the project's in one table: what the rest of the code buys, in time and in rounding."""

import ast
import io
import sys
import time
import tokenize
from contextlib import chdir, contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np

import minigrad as mg
import models
import viz

from . import reference
from .child import sentence_of
from .material import PHOTOGRAPH, WEIGHTS
from .source import STAGES

CLASS, LAYER = 2, "relu5_2"  # the cat, and the last maps before the average
REPEATS = 15
ROOT = Path(mg.__file__).parents[1]
SAME_THINGS = (
    "models/weights_file.py models/images.py models/layers.py viz/gradients.py viz/rectifiers.py viz/cam.py "
    "viz/maximize.py viz/objective.py viz/optimize.py viz/attacks.py viz/gram.py viz/style.py"
).split()
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


class NotFinished(Exception):
    """What is still to be done before there is an engine to measure."""


def table(folder):
    """The table in Markdown, of the finished engine in `folder`: its row's names, then yours, textbook and fast.

    Times are the least of fifteen, in milliseconds, on as many threads as there are; errors the largest differences
    from the project in float64, of the largest value. Raises NotFinished.
    """
    missing = [stage.file for stage in STAGES if not Path(folder, stage.file).is_file()]
    if missing:
        raise NotFinished(f"there is no {missing[0]} in {folder}")
    image = models.load_image(PHOTOGRAPH)
    ours = models.load(WEIGHTS).requires_grad_(False).eval()
    columns = [_measured(*_students(Path(folder)), image)]
    for kernels in ("plain", "auto"):
        with mg.use_kernels(kernels):
            columns.append(_measured(*_projects(ours), image))
    lines = _lines(Path(folder))
    rows = lines | {name: [column[name] for column in columns] for name in columns[0]}
    head = "| | yours | the project, textbook kernels | the project |\n|---|---:|---:|---:|\n"
    return head + "".join(f"| {name} | {' | '.join(map(str, values))} |\n" for name, values in rows.items())


def _students(folder):
    """What is measured: (scores, saliency, Grad-CAM), functions of an image, on the student's engine."""
    with chdir(folder), _importable():
        try:
            tensor, network, rules = (import_module(name) for name in ("tensor", "network", "rules"))
            loaded = network.load(WEIGHTS)
            rules.grad_cam(loaded, models.load_image(PHOTOGRAPH), CLASS, LAYER)
        except Exception as error:  # whatever a student's file may raise
            raise NotFinished(f"{sentence_of(error)} (python -m viz course check says more)") from None
    return (
        lambda image: loaded(tensor.Tensor(image)).data,
        lambda image: rules.saliency(loaded, image, CLASS),
        lambda image: rules.grad_cam(loaded, image, CLASS, LAYER),
    )


@contextmanager
def _importable():
    """The files here can be imported, and are forgotten afterwards: another folder has files of the same names."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path.remove(str(Path.cwd()))
        for stage in STAGES:
            sys.modules.pop(stage.name, None)


def _projects(model):
    """The same on the project's."""
    return (
        mg.no_grad()(lambda image: model(image).numpy()),
        lambda image: viz.saliency(model, image, CLASS),
        lambda image: viz.grad_cam(model, image, CLASS, LAYER),
    )


def _measured(scores, saliency, cam, image):
    """{row's name: its entry} of one engine."""
    functions = {"scores of the photograph": scores, "saliency": saliency, "Grad-CAM": cam}
    times, results = _milliseconds(functions.values(), image), [function(image) for function in functions.values()]
    right, exact = reference.network(), image.astype(np.float64)
    expected = (right(exact).numpy(), viz.saliency(right, exact, CLASS), viz.grad_cam(right, exact, CLASS, LAYER))
    errors = {
        f"error of {name.split()[0]}": f"{abs(result - wanted).max() / abs(wanted).max():.1e}"
        for name, result, wanted in zip(functions, results, expected, strict=True)
    }
    return {f"{name}, ms": f"{least:.0f}" for name, least in zip(functions, times, strict=True)} | errors


def _milliseconds(functions, image):
    """Of each function the least of REPEATS runs; they take turns, as another's load on the machine comes and goes."""
    times = []
    for _ in range(REPEATS + 1):  # the first round does not count
        for function in functions:
            begin = time.perf_counter()
            function(image)
            times.append(time.perf_counter() - begin)
    rounds = np.reshape(times, (REPEATS + 1, -1))[1:]
    return 1000 * rounds.min(axis=0)


def _lines(folder):
    """{row's name: lines of code of yours, of the project without its fast kernels, and with them}."""
    yours = [lines_of_code((folder / stage.file).read_text("utf-8")) for stage in STAGES]
    engine = [path.relative_to(ROOT) for path in (ROOT / "minigrad").rglob("*.py")]
    engine = [path for path in engine if not {"cuda", "tools"} & set(path.parts)]
    textbook, whole, same = (
        sum(lines_of_code((ROOT / path).read_text("utf-8")) for path in paths)
        for paths in ([path for path in engine if "cpu" not in path.parts], engine, SAME_THINGS)
    )
    return {
        "lines of the engine (stages 1 to 5)": [sum(yours[:5]), textbook, whole],
        "lines of what stands on it (6 to 8)": [sum(yours[5:]), same, same],
    }


def lines_of_code(text):
    """How many lines of a Python file hold code: no comments, no docstrings, none that is empty."""
    strings = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr) and _is_string(node.value)]
    documented = {line for node in strings for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type not in NO_CODE]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - documented)


def _is_string(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
