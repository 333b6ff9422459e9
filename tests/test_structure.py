"""The layout keeps its promises: imports run one way, one door to the kernels, a reading path that is whole."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINE = sorted((ROOT / "minigrad").rglob("*.py"))
README = (ROOT / "README.md").read_text("utf-8")
READING_PATH = re.findall(r"^\d+\. `([\w/]+\.py)`", README, re.MULTILINE)


def imported(path):
    """The absolute names of all modules, or names in modules, that a file imports, wherever in it."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    names, place = imported(path), path.relative_to(ROOT / "minigrad").parts
    outside = {name for name in names if name.split(".")[0] in ("models", "viz", "scripts", "tests")}
    assert not outside, f"the engine imports {outside}"
    if place[0] != "kernels":
        behind = {name for name in names if re.match(r"minigrad\.kernels\.(cpu|cuda|plain|winograd)\b", name)}
        assert not behind, f"{behind} is behind the door"
    if place[0] not in ("tools", "deprecated.py", "__init__.py", "nn"):
        assert not {name for name in names if name.startswith("minigrad.tools")}
    if place[:2] == ("kernels", "cpu"):
        assert not {name for name in names if "cuda" in name}
        text = path.read_text("utf-8")
        assert "xp is np" not in text and "array_module" not in text, "cpu/ is NumPy's alone"
    if place[0] == "functional":
        text = path.read_text("utf-8")
        assert not re.search(r"current_device|one_device|to_device|device_of|find_device", text)
    if path.name == "autograd.py":
        assert not {name for name in names if name.startswith("minigrad.functional")}


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_can_be_held_in_the_head(path):
    source = path.read_text("utf-8")
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    long = {node.name: lines for node in functions if (lines := code_lines(node)) >= 50}
    assert not long, long
    assert len(source.splitlines()) <= 400


def code_lines(function):
    """The lines of a function but for its docstring's."""
    first = function.body[0]
    told = ast.get_docstring(function) is not None
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if told else 0)


def test_the_reading_path_is_there_and_is_an_evening():
    assert READING_PATH[:2] == ["tensor.py", "autograd.py"] and len(READING_PATH) == 14
    lines = {name: len((ROOT / "minigrad" / name).read_text("utf-8").splitlines()) for name in READING_PATH}
    assert sum(lines.values()) < 2650, lines


def test_nothing_on_the_reading_path_leans_on_what_is_left_out():
    """What its files import of the engine is on the path, or is named here with the reason."""
    told = {
        "minigrad.functional": "more functions like those of elementwise and conv",
        "minigrad.interchange": "asked for by Tensor.to and DLPack only",
        "minigrad.nn.layers": "a layer is its parameters and a call of its function",
        "minigrad.nn.peephole": "several layers by one kernel: the same result sooner",
        "minigrad.nn.plan": "passes that are replayed: the same result sooner",
        "minigrad.kernels.cpu": "the fast kernels",
        "minigrad.kernels.cuda": "the fast kernels of a GPU",
        "minigrad.tools": "tables of layers, asked for",
        "minigrad.typing": "names for annotations",
    }
    path = {"minigrad." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in READING_PATH}
    for name in READING_PATH:
        for wanted in imported(ROOT / "minigrad" / name):
            if wanted.startswith("minigrad."):
                known = any(wanted == one or wanted.startswith(one + ".") for one in (*path, *told))
                assert known, f"{name} leans on {wanted}"


def test_the_process_filters_of_warnings_are_left_alone():
    """They belong to all threads: `viz.remarks.silence` is one thread's own. Named here: who may, and why."""
    told = {
        "viz/commands/command.py": "the frame of a process, before there are threads",
        "viz/commands/gallery/attributions.py": "hears what is warned of, in a process without other threads",
        "viz/commands/explore/worker.py": "hears what is warned of, one wish at a time",
        "viz/many/work.py": "once in a worker's life, and never put back",
        "models/from_torch.py": "of torch, while a network is converted",
    }
    files = [path for folder in ("minigrad", "models", "viz") for path in (ROOT / folder).rglob("*.py")]
    changing = re.compile(r"^[^#]*\b(catch_warnings|simplefilter|filterwarnings)\(", re.MULTILINE)
    assert {str(p.relative_to(ROOT)) for p in files if changing.search(p.read_text("utf-8"))} == set(told)


def test_import_is_quick_and_needs_only_numpy():
    code = (
        "import sys, minigrad\n"
        "heavy = ('scipy', 'h5py', 'matplotlib', 'PIL', 'tqdm', 'cupy', 'torch', 'skimage', 'sklearn')\n"
        "print([name for name in sys.modules if name.split('.')[0] in heavy or name.startswith('minigrad.tools')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n", done.stdout + done.stderr
