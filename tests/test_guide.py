"""The guide quotes the code as it is, and its pictures are small and shown; test_docs.py runs its pages."""

import importlib
import re
import shlex
import textwrap
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
QUOTE = re.compile(r"^```py\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUOTES = [(page, *found) for page in PAGES for found in QUOTE.findall(page.read_text("utf-8"))]


@pytest.mark.parametrize(("page", "path", "quote"), QUOTES, ids=[f"{p.stem}-{path}" for p, path, _ in QUOTES])
def test_a_quotation_is_in_the_source(page, path, quote):
    """Line by line, but for the indentation of the whole; a line "..." leaves some lines out."""
    source = textwrap.dedent((DOCS.parent / path).read_text("utf-8"))
    for part in re.split(r"^ *\.\.\.\n", quote, flags=re.MULTILINE):
        lines = textwrap.dedent(part).splitlines()
        found = [textwrap.indent("\n".join(lines), " " * depth) for depth in range(0, 13, 4)]
        assert lines and any(f"\n{part}\n" in source for part in found), f"{page.name} quotes what {path} does not say"


def test_every_page_of_techniques_quotes_shows_and_runs_something():
    pages = [page for page in PAGES if page.parent.name == "techniques"]
    assert len(pages) == 10
    for page in pages:
        text = page.read_text("utf-8")
        assert len(QUOTE.findall(text)) >= 2 and "](../images/" in text and "$$" in text, page.name
        for heading in ("The equations", "Our lines", "Try it", "What goes wrong", "What to try next"):
            assert f"## {heading}\n" in text, f"{page.name} has no section {heading!r}"
        assert text.split("## What to try next")[1].count("assert ") + text.count("print(f") >= 2, page.name


def test_pictures_are_small_and_all_of_them_are_shown():
    pictures = sorted((DOCS / "images").glob("*"))
    assert sum(picture.stat().st_size for picture in pictures) < 6e6
    texts = "".join(page.read_text("utf-8") for page in [*PAGES, DOCS.parent / "README.md"])
    for picture in pictures:
        assert picture.stat().st_size < 300_000, picture.name
        assert f"images/{picture.name}" in texts, f"{picture.name} is shown nowhere"


COMMANDS = sorted(
    {command for page in PAGES for command in re.findall(r"`python (scripts/[^`|]+)`", page.read_text("utf-8"))}
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_within_sentences_and_tables(command, monkeypatch):
    script, *words = shlex.split(command)
    monkeypatch.syspath_prepend((DOCS.parent / script).parent)
    assert importlib.import_module(Path(script).stem).options.parse_args(words)
