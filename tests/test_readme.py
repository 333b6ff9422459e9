"""What README shows runs: Python blocks in order, commands as far as their options; what it names exists."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "bash" for line in block.splitlines()]


def test_python_blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert len(blocks) > 3
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    for name in ("saliency", "guided", "deconvnet"):
        assert namespace[name].shape == namespace["image"].shape and abs(namespace[name].numpy()).max() > 0
    assert namespace["ideal"].image.shape == namespace["photograph"].shape


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command, monkeypatch):
    program, *words = shlex.split(command)
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        return
    assert program in ("python", ".venv/bin/python")
    script = ROOT / words[0]
    monkeypatch.syspath_prepend(script.parent)
    options = importlib.import_module(script.stem).options
    assert isinstance(options, argparse.ArgumentParser) and options.parse_args(words[1:])


def test_files_and_packages_that_are_named_exist():
    tree = next(block for kind, block in BLOCKS if kind == "")
    for name in re.findall(r"^(\w+)/", tree, re.MULTILINE):
        assert (ROOT / name).is_dir()
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / path).is_file(), path
    for path in re.findall(r"`((?:viz|scripts|models)/[\w./]+\.\w+)`", README):
        assert (ROOT / path).is_file(), path
    for name in re.findall(r"`viz\.(\w+)", README):
        assert hasattr(importlib.import_module("viz"), name), name
