"""Long work says how far it is: a bar on a terminal, lines in a file, nothing if quiet."""

import io
import sys

import pytest

from viz.commands import progress


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
