"""What README and docs/**/*.md show runs, and what they name exists. New files are found by themselves.

How a page marks its code blocks, by the words after the three backticks:

    python          runs. The blocks of one page run in order in one namespace, in an empty folder, so a later block may
                    use what an earlier one made, as for a reader who types them in.
    pycon           runs with the blocks before it, as an interpreter session (>>>): what is shown must be what is
                    printed (as in doctest; "..." stands for anything).
    python torch    (or pycon torch) needs PyTorch: runs with the page's other blocks under `pytest -m torch`
                    (`make verify`) and is left out otherwise.
    bash            commands, one on each line (a backslash at the end joins lines, # begins a comment). They are not
                    run: the options of `python scripts/NAME.py` are parsed, a target of `make` and a file or module
                    given to python or pytest must exist, `pip install` must name this package or a requirement of it.
    py              an excerpt: its first line is "# path/of/the/file.py", the other lines must be in that file in this
                    order, indentation apart; a line "..." stands for lines left out. No path: only shown.
    anything else   (text, json, or nothing) is only shown.

Blocks may be indented, as in lists. Relative links (with the heading behind #), `viz.NAME`, and paths such as
`viz/cam.py` must exist.
"""

import argparse
import doctest
import importlib
import importlib.util
import re
import shlex
import textwrap
from pathlib import Path

import pytest

from viz.commands.command import find
from viz.commands.techniques import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *(p for p in [ROOT / "CONTRIBUTING.md"] if p.exists()), *sorted(ROOT.glob("docs/**/*.md"))]
NAMES = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}
FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(text):
    """[(words after the backticks, code, number of its first line)]"""
    return [
        (found[2].split(), textwrap.dedent(found[3]), text.count("\n", 0, found.start(3)) + 1)
        for found in FENCE.finditer(text)
    ]


def run(name, with_torch):
    """Run a page's blocks in order; returns their namespace. Tracebacks show the page's own line numbers."""
    namespace = {"__name__": "__main__"}
    for words, code, line in blocks(NAMES[name]):
        if not words or words[0] not in ("python", "pycon") or ("torch" in words[1:] and not with_torch):
            continue
        if words[0] == "python":
            exec(compile("\n" * (line - 1) + code, name, "exec"), namespace)
        else:
            test = doctest.DocTestParser().get_doctest(code, namespace, name, name, line - 1)
            runner = doctest.DebugRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            try:
                runner.run(test, clear_globs=False)
            except doctest.DocTestFailure as failure:
                where = f"{name}, line {line + failure.example.lineno}"
                pytest.fail(f"{where}: {failure.example.source.strip()} printed {failure.got!r}")
            namespace.update(test.globs)
    return namespace


def code_pages(torch):
    """The pages with code that runs, or with code that runs with PyTorch."""
    kinds = {name: [w for w, _, _ in blocks(text) if w[:1] in (["python"], ["pycon"])] for name, text in NAMES.items()}
    return [name for name, found in kinds.items() if any("torch" in w[1:] for w in found) or (found and not torch)]


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")


@pytest.mark.parametrize("name", code_pages(torch=False))
def test_python_blocks(name, empty_folder):
    namespace = run(name, with_torch=False)
    if name == "README.md":
        for method in ("saliency", "guided", "deconvnet"):
            assert namespace[method].shape == namespace["image"].shape and abs(namespace[method].numpy()).max() > 0
        assert namespace["ideal"].image.shape == namespace["photograph"].shape


@pytest.mark.torch
@pytest.mark.parametrize("name", code_pages(torch=True) or [pytest.param("", marks=pytest.mark.skip("no such block"))])
def test_python_blocks_with_torch(name, empty_folder):
    pytest.importorskip("torch")
    run(name, with_torch=True)


@pytest.mark.parametrize("name", NAMES)
def test_excerpts_are_what_the_files_say(name):
    for words, code, line in blocks(NAMES[name]):
        path = re.match(r"# ([\w/]+\.py)\n", code)
        if words[:1] != ["py"] or not path:
            continue
        source = [text.strip() for text in (ROOT / path[1]).read_text("utf-8").splitlines()]
        position = 0
        for number, text in enumerate(code.splitlines()[1:], line + 1):
            if text.strip() not in ("", "..."):
                assert text.strip() in source[position:], f"{name}, line {number}: not in {path[1]}: {text.strip()}"
                position = source.index(text.strip(), position) + 1


# ---- commands --------------------------------------------------------------------------------------------------------


def commands():
    found = [
        (name, line.strip())
        for name, text in NAMES.items()
        for words, code, _ in blocks(text)
        if words[:1] == ["bash"]
        for line in code.replace("\\\n", " ").splitlines()
        if shlex.split(line, comments=True)
    ]
    return [pytest.param(*each, id=f"{each[0]}: {each[1]}") for each in dict.fromkeys(found)]


@pytest.mark.parametrize("name, command", commands())
def test_commands(name, command, monkeypatch):
    words = shlex.split(command, comments=True)
    while re.fullmatch(r"\w+=.*", words[0]):  # VARIABLE=value before the command
        words = words[1:]
    program, *words = words
    program = program.removeprefix(".venv/bin/")
    if program == "make":
        targets = [word for word in words if "=" not in word]
        makefile = (ROOT / "Makefile").read_text("utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets), command
    elif program == "pip":
        check_pip(words)
    elif program == "pytest":
        assert all((ROOT / word.split("::")[0]).exists() for word in words if word.startswith("tests"))
    elif program == "python" and words[0] == "-m":
        check_module(words[1], words[2:], monkeypatch)
    elif program == "python":
        check_script(ROOT / words[0], words[1:], monkeypatch)
    else:
        assert program in ("cd", "git", "ruff", "mypy", "jupyter"), (
            f"{name} shows a command that is not checked: {command}"
        )


def check_script(script, words, monkeypatch):
    assert script.is_file(), script
    if script.parent == ROOT / "scripts":
        monkeypatch.syspath_prepend(script.parent)  # where the tools of the repository are
        options = (find(script.stem) if script.stem in COMMANDS else importlib.import_module(script.stem)).options
        assert isinstance(options, argparse.ArgumentParser)
        if not {"-h", "--help"} & set(words):
            assert options.parse_args(words)


def check_module(module, words, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")  # from which `python -m benchmarks.case` is called
    if module == "pip":
        check_pip(words)
    elif module == "pytest":
        assert all((ROOT / word.split("::")[0]).exists() for word in words if word.startswith("tests"))
    else:
        assert importlib.util.find_spec(f"{module}.__main__" if (ROOT / module).is_dir() else module), module


def check_pip(words):
    declared = (ROOT / "pyproject.toml").read_text("utf-8")
    for word in words[1:]:
        if not word.startswith("-"):
            package, _, extra = word.partition("[")
            known = package in (".", "minigrad") or re.search(rf'"{re.escape(package)}["=><\[]', declared)
            assert words[0] == "install" and known, word
            assert not extra or re.search(rf"^{extra.rstrip(']')} = ", declared, re.MULTILINE), word


# ---- names -----------------------------------------------------------------------------------------------------------


def headings(page):
    """The names by which a page's headings can be linked to."""
    found = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in found]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_exists(name):
    text = FENCE.sub("", NAMES[name])
    for link, heading in re.findall(r"\]\(([^)\s#]*)#?([^)]*)\)", text):
        page = (ROOT / name).parent / link if link else ROOT / name
        assert re.match(r"\w+:", link) or page.exists(), f"{name} links to {link}"
        assert not heading or page.suffix != ".md" or heading in headings(page), f"{name} links to {link}#{heading}"
    for path in re.findall(r"`((?:viz|scripts|models|minigrad|tests|docs)/[\w./]+\.\w+)`", text):
        assert (ROOT / path).is_file(), f"{name} names {path}"
    for function in re.findall(r"`(?:viz|mg|models)\.\w+", text):
        package, _, attribute = function[1:].partition(".")
        package = "minigrad" if package == "mg" else package
        if not attribute or (ROOT / package / attribute).exists():
            continue
        module = importlib.import_module(package)
        found = hasattr(module, attribute) or importlib.util.find_spec(f"{package}.{attribute}")
        assert found, f"{name} names {function[1:]}"


def test_folders_of_the_tree_exist():
    tree = next(code for words, code, _ in blocks(NAMES["README.md"]) if not words)
    for folder in re.findall(r"^(\w+)/", tree, re.MULTILINE):
        assert (ROOT / folder).is_dir()
