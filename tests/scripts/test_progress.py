"""Long work says how far it is: a bar on a terminal, lines in a file, nothing if quiet."""

import ast
import io
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from viz.commands import command, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def said(monkeypatch):
    """What three steps write to a stream."""

    def run(stream, **how):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            with progress.steps(3, "sanity", **how) as bar:
                for _ in range(3):
                    bar.update()
        return stream.getvalue()

    return run


def test_a_file_gets_lines_of_their_own(said):
    text = said(io.StringIO(), every=0)
    assert [line.split(" after")[0] for line in text.splitlines()[:4]] == [f"sanity: {n} of 3 steps" for n in range(4)]
    assert "\r" not in text


def test_a_file_gets_a_line_now_and_then(said):
    lines = [line.split(" after")[0] for line in said(io.StringIO(), every=1e6).splitlines()]
    assert lines == ["sanity: 0 of 3 steps", "sanity: 3 of 3 steps"] and progress.EVERY == 30


def test_a_terminal_gets_a_bar_that_rewrites_itself(said):
    text = said(Terminal())
    assert text.count("\r") >= 2 and "after" not in text


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_quiet_is_quiet(said, stream):
    assert said(stream(), quiet=True) == ""


@pytest.mark.parametrize("every, lines", [(0, ["work:   0%", "work:  50%", "work: 100%", "heard"]), (1e6, ["heard"])])
def test_every_bar_is_lines_in_a_file_and_other_words_stay(monkeypatch, every, lines):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.as_lines(every):
        for _ in tqdm(range(2), "work", mininterval=0):
            pass
        print("heard", file=sys.stderr)
    assert sys.stderr is stream
    assert list(dict.fromkeys(line.split("|")[0] for line in stream.getvalue().splitlines())) == lines


def test_nested_bars_leave_no_empty_lines(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.as_lines(0):
        for _ in tqdm(range(2), "outer", mininterval=0):
            for _ in tqdm(range(2), "inner", mininterval=0, leave=False):
                pass
    assert all(line.strip() and "\x1b" not in line for line in stream.getvalue().splitlines())


def test_a_terminal_keeps_its_bars(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.as_lines():
        assert sys.stderr is stream


@pytest.mark.parametrize("quiet", [True, False])
def test_a_long_command_speaks_into_a_pipe_unless_quiet(script, photograph, monkeypatch, quiet):
    monkeypatch.setattr(command, "as_lines", lambda: progress.as_lines(every=0))
    code, _, said = script("rise", photograph, "--samples", 64, *(["--quiet"] if quiet else []))
    assert code == 0 and ("RISE: 100%" in said) != quiet and "\r" not in said


def test_every_bar_says_what_it_is_of():
    """In a file, where a bar is a line every half minute, nothing stands around it that would."""
    root, bars = Path(__file__).parents[2], 0
    for path in (path for folder in ("viz", "models", "scripts") for path in (root / folder).rglob("*.py")):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("tqdm", "trange") and path.name != "progress.py":
                bars += 1
                named = called == "tqdm" and len(node.args) > 1 or any(word.arg == "desc" for word in node.keywords)
                assert named or "bar.set_description(" in text, f"{path}:{node.lineno}"
    assert bars > 20
