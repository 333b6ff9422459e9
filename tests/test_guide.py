"""The guide quotes the code as it is, and its pictures are small and shown; test_docs.py runs its pages."""

import importlib
import re
import shlex
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tests.docs_scripts import script
from viz.commands.command import find
from viz.commands.techniques import COMMANDS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
QUOTE = re.compile(r"^( *)```py\n *# (\S+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)  # indented, within a list
QUOTES = [(page, *found[1:]) for page in PAGES for found in QUOTE.findall(page.read_text("utf-8"))]


@pytest.mark.parametrize(("page", "path", "quote"), QUOTES, ids=[f"{p.stem}-{path}" for p, path, _ in QUOTES])
def test_a_quotation_is_in_the_source(page, path, quote):
    """Line by line, but for the indentation of the whole; a line "..." leaves some lines out."""
    source = textwrap.dedent((DOCS.parent / path).read_text("utf-8"))
    for part in re.split(r"^ *\.\.\.\n", quote, flags=re.MULTILINE):
        lines = textwrap.dedent(part).splitlines()
        found = [textwrap.indent("\n".join(lines), " " * depth) for depth in range(0, 17, 4)]
        assert lines and any(f"\n{part}\n" in source for part in found), f"{page.name} quotes what {path} does not say"


def test_every_page_of_techniques_quotes_shows_and_runs_something():
    pages = [page for page in PAGES if page.parent.name == "techniques"]
    assert len(pages) == 13
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


SHOWN = sorted(
    {command for page in PAGES for command in re.findall(r"`python (scripts/[^`|]+)`", page.read_text("utf-8"))}
)


@pytest.mark.parametrize("command", SHOWN)
def test_commands_within_sentences_and_tables(command, monkeypatch):
    script, *words = shlex.split(command)
    monkeypatch.syspath_prepend(DOCS.parent / "scripts")  # where the tools of the repository are
    name = Path(script).stem
    assert (find(name) if name in COMMANDS else importlib.import_module(name)).options.parse_args(words)


@pytest.fixture(scope="module")
def pictures():
    """docs/pictures.py as a module."""
    pytest.importorskip("skimage")
    return script("pictures")


def test_the_script_makes_the_pictures_that_are_shown(pictures, tmp_path):
    shown = "".join(page.read_text("utf-8") for page in PAGES)
    for name in pictures.PICTURES:
        assert (DOCS / "images" / f"{name}.png").is_file() and f"images/{name}.png" in shown, name
    pictures.save(pictures.PICTURES["weights"](), tmp_path / "weights.png")
    made, kept = (folder / "weights.png" for folder in (tmp_path, DOCS / "images"))
    assert 0.5 < made.stat().st_size / kept.stat().st_size < 2
    assert pictures.main(["nothing"]) == 2


def test_rendered_patterns_are_images_and_differ(pictures):
    images, label = pictures.patterns(count=2, side=32)
    assert images.shape == (10, 3, 32, 32) and images.min() >= 0 and images.max() <= 1 and images.dtype == np.float32
    assert (np.bincount(label) == 2).all() and (images.std((2, 3)).max(1) > 0.05).all()
    np.testing.assert_array_equal(images, pictures.patterns(count=2, side=32)[0])
