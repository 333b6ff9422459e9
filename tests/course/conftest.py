"""A folder with all solutions."""

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
