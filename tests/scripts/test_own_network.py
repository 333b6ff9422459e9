"""--model MODULE:FUNCTION: commands, each in a process of its own, on the network that a user's function returns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models import description
from tests.scripts import tiny

ROOT = Path(__file__).parents[2]
CODE = """
import models
from minigrad import nn
from tests.scripts import tiny


@models.register
class Same(nn.Module):
    def forward(self, x):
        return x


def network():
    given = dict(tiny.network().children())
    return models.Model({"preprocess": given.pop("preprocess"), "same": Same(), **given}, "own", (16, 16), tiny.CLASSES)
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return tiny.photographs(tmp_path_factory.mktemp("own") / "photographs")


@pytest.fixture
def typed(tmp_path):
    """typed("viz", "classify", ...) of a folder with my_network.py: the CompletedProcess."""
    (tmp_path / "my_network.py").write_text(CODE)

    def typed(*words):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = [sys.executable, *map(str, words)]
        return subprocess.run(done, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)

    return typed


@pytest.mark.parametrize("name", ["classify", "lrp", "maximize", "top_patches"])
def test_a_command_takes_a_function_in_a_files_place(name, typed, photographs, tmp_path):
    done = typed("-m", "viz", name, *tiny.arguments(name, *photographs), "--model", "my_network:network")
    assert (done.returncode, done.stderr) == (0, "") and "my_network_network" in done.stdout
    record = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert record["weights"]["made_by"] == "my_network:network" and record["weights"]["weights_sha256"]


def test_a_script_and_models_info_look_in_the_working_folder(typed, photographs):
    done = typed(ROOT / "scripts" / "classify.py", photographs[1], "--model", "my_network:network")
    assert done.returncode == 0, done.stderr
    done = typed("-m", "models", "info", "my_network:network")
    assert done.returncode == 0 and "4 classes: cat, dog, tiger, zebra" in done.stdout, done.stderr


@pytest.mark.parametrize("more", [(), ("--workers", 2)], ids=["alone", "workers"])
def test_over_and_its_workers(more, typed, photographs, tmp_path):
    if more:
        pytest.importorskip("distributed")
    words = ("over", photographs[0], "--do", "saliency", "--model", "my_network:network", *more, "--out", "store")
    done = typed("-m", "viz", *words)
    assert done.returncode == 0 and "12 of 12 photographs" in done.stdout, done.stderr
    assert (tmp_path / "store" / "table.csv").is_file()


def test_what_fails_there_is_one_sentence(typed):
    done = typed("-m", "viz", "classify", "--model", "my_network:no")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("classify: my_network:no: the module my_network has no function 'no'")


def test_explore_tells_it(monkeypatch, tmp_path, photographs):
    from viz.commands.command import find
    from viz.commands.explore.room import Room
    from viz.commands.job import Job

    (tmp_path / "my_network.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    options = find("explore").options
    args = options.parse_args([str(photographs[1]), "--model", "my_network:network"])
    try:
        room = Room(Job("explore", args, [], "python -m viz {}", False, []))
        job = room.asked("saliency", {"photo": room.own.key})
        assert "--model my_network:network" in job.command_line
        assert "models.load('my_network:network')" in room.begin_python(None)
    finally:
        sys.modules.pop("my_network", None)
        description.KINDS.pop("Same", None)
