"""A folder with all solutions, and a Python that has the core alone."""

import os
import sys
from pathlib import Path

import pytest

from viz.course.source import STAGES

sys.path.insert(0, str(Path(__file__).parent))  # planted.py


@pytest.fixture
def solved(tmp_path):
    for stage in STAGES:
        (tmp_path / stage.file).write_text(stage.solution(), "utf-8")
    return tmp_path


@pytest.fixture
def core_alone(tmp_path_factory, monkeypatch):
    """Processes that are started find none of the extras' packages, and no network."""
    folder = tmp_path_factory.mktemp("core_alone")
    (folder / "sitecustomize.py").write_text(CORE_ALONE, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


CORE_ALONE = """
import socket, sys

EXTRAS = "torch skimage sklearn onnx safetensors jinja2 latex2mathml cupy pytest nbformat".split()

class Refused:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ImportError(f"{name} is not of the core")

sys.meta_path.insert(0, Refused)

def refused(*_):
    raise OSError("there is no network")

socket.socket.connect = refused
"""
