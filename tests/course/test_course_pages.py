"""The pages and notebooks are those of the stages, and the code that they show runs on the solutions."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.docs_scripts import script
from viz.course.source import STAGES

ROOT = Path(__file__).parents[2]


def test_pages_and_notebooks_are_made_from_the_stages():
    for name, text in script("course/pages").files().items():
        path = ROOT / "docs/course" / name
        assert path.read_text("utf-8") == text, f"{name} is old: python docs/course/pages.py"
        if path.suffix == ".ipynb":
            nbformat.validate(nbformat.reads(text, 4))


@pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
def test_what_a_page_lets_you_try_runs(stage, solved):
    tried = stage.page().partition("## When it works\n")[2]
    (code,) = re.findall(r"```py\n(.*?)```", tried, re.DOTALL)
    path = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=solved, env=path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout, done.stderr
