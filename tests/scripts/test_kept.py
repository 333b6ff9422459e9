"""Long measurements with --store go on after they were ended, and come to what they would have."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.scripts import tiny
from viz.commands import bias, embedding, evaluate_attribution, kept, robustness, sanity_check, top_patches
from viz.many import engine

ROOT = Path(__file__).parents[2]

COMMANDS = {
    "evaluate_attribution": ["--methods", "saliency,random", "--measures", "curves", "--steps", 4, "--batch-size", 3],
    "robustness": ["--tables", "attacks,defences,networks", "--steps", 2, "--samples", 1],
    "sanity_check": ["--methods", "saliency,random", "--draws", 3, "--looks", 2],
    "embedding": ["--layers", "relu2_1,fc"],
    "top_patches": ["--layer", "relu2_1", "--channels", 1, 2, 3, "--patches", 2],
    "bias": ["--method", "saliency"],
}
DOES = {  # what the command calls for each piece
    "evaluate_attribution": (evaluate_attribution, "measured_of"),
    "robustness": (robustness.viz, "pgd"),
    "sanity_check": (sanity_check.viz, "model_randomization"),
    "embedding": (embedding.viz, "features"),
    "top_patches": (top_patches.viz, "channel_maxima"),
    "bias": (bias, "scores"),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """(weights, folder)"""
    root = tmp_path_factory.mktemp("given")
    return tiny.write(root), tiny.photographs(root / "few")[0]


@pytest.fixture
def run(script, given, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "BATCH", 3)

    def run(name, *more, out="out"):
        argv = ["--data", given[1], "--count", 8, "--model", given[0], "--out", tmp_path / out, *COMMANDS[name], *more]
        return script(name, *argv)

    return run


def figures(folder):
    """{file: its numbers, {file and array: its bytes}}, all without seconds."""

    def timeless(found):
        if isinstance(found, dict):
            return {k: timeless(v) for k, v in found.items() if "seconds" not in k and "table" not in k}
        return [timeless(one) for one in found] if isinstance(found, list) else found

    numbers = {path.name: timeless(json.loads(path.read_text())["numbers"]) for path in sorted(folder.glob("*.json"))}
    arrays = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as found:
            arrays |= {f"{path.name} {key}": found[key].tolist() for key in found if "seconds" not in key}
    return numbers, arrays


def counting(once, calls, end=None):
    """The function `once`, whose calls are counted; `end` is called in place of the third."""

    def counted(*given, **options):
        if end is not None and len(calls) == 2:
            end()
        calls.append(1)
        return once(*given, **options)

    return counted


def interrupted():
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", COMMANDS)
def test_ended_in_the_middle_it_goes_on(run, tmp_path, monkeypatch, name):
    if name == "sanity_check":
        pytest.importorskip("skimage", reason="scikit-image is not installed: pip install 'minigrad[test]'")
    (module, does), store = DOES[name], tmp_path / "kept"
    once = getattr(module, does)

    def counted(*more, out="out", end=None):
        calls = []
        monkeypatch.setattr(module, does, counting(once, calls, end))
        return run(name, *more, out=out)[0], len(calls)

    code, whole = counted(out="whole")
    assert code == 0 and whole > 2
    assert counted("--store", store, end=interrupted) == (130, 2)
    assert counted("--store", store) == (0, whole - 2)
    assert figures(tmp_path / "out") == figures(tmp_path / "whole")
    assert counted("--store", store, out="again") == (0, 0)
    assert figures(tmp_path / "again") == figures(tmp_path / "whole")


KILLED = """
import os, signal, sys
from tests.scripts.test_kept import DOES, counting
from viz.__main__ import main
from viz.commands import kept
kept.BATCH, (module, does) = 3, DOES[sys.argv[1]]
setattr(module, does, counting(getattr(module, does), [], lambda: os.kill(os.getpid(), signal.SIGKILL)))
main(sys.argv[1:])
"""


def test_killed_outright_it_goes_on(run, given, tmp_path):
    argv = ["--data", given[1], "--count", 8, "--model", given[0], "--out", tmp_path / "out", *COMMANDS["bias"]]
    argv += ["--store", tmp_path / "kept"]
    process = subprocess.run([sys.executable, "-c", KILLED, "bias", *map(str, argv)], cwd=ROOT, check=False)
    assert process.returncode == -signal.SIGKILL and len(list((tmp_path / "kept" / "parts").glob("*.h5"))) == 2
    assert run("bias", out="whole")[0] == 0 and run("bias", "--store", tmp_path / "kept")[0] == 0
    numbers, arrays = figures(tmp_path / "out")
    expected, others = figures(tmp_path / "whole")
    assert numbers.keys() == expected.keys() and arrays.keys() == others.keys()
    for key, values in arrays.items():
        np.testing.assert_allclose(values, others[key], rtol=1e-4, atol=1e-6)


def test_another_question_is_refused(run, tmp_path):
    assert run("evaluate_attribution", "--store", tmp_path / "kept")[0] == 0
    code, _, said = run("evaluate_attribution", "--store", tmp_path / "kept", "--seed", 1)
    assert code == 2 and "answers another question" in said
    code, _, said = run("robustness", "--store", tmp_path / "kept")
    assert code == 2 and "answers another question: its command is" in said


@pytest.fixture(scope="module")
def cluster():
    """The address of a scheduler with two workers."""
    dask = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "memory_limit": 0}
    with dask.LocalCluster(host="127.0.0.1", processes=True, **options) as found:
        yield found.scheduler_address


def assert_alike(one, other):
    """Numbers, in dicts and lists, are equal within 0.1 %."""
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list):
        for its, others in zip(one, other, strict=True):
            assert_alike(its, others)
    else:
        assert one == (pytest.approx(other, rel=1e-3, abs=1e-5) if isinstance(other, float) else other)


@pytest.mark.parametrize("name", COMMANDS)
def test_workers_come_to_the_same(run, tmp_path, monkeypatch, cluster, name):
    if name == "sanity_check":
        pytest.importorskip("skimage", reason="scikit-image is not installed: pip install 'minigrad[test]'")
    assert run(name, out="whole")[0] == 0
    sends = []  # of robustness: the network for six attacks, six defences, the network again
    monkeypatch.setattr(engine, "sent", counting(engine.sent, sends))
    code, _, heard = run(name, "--scheduler", cluster, "--store", tmp_path / "kept")
    assert code == 0 and len(sends) == (8 if name == "robustness" else 1), heard
    numbers, arrays = figures(tmp_path / "out")
    expected, others = figures(tmp_path / "whole")
    assert numbers.keys() == expected.keys() and arrays.keys() == others.keys()
    if name == "robustness":  # which has no arrays
        assert_alike(numbers, expected)
    for key, values in arrays.items():
        np.testing.assert_allclose(values, others[key], rtol=1e-3, atol=1e-5)
    (module, does), calls = DOES[name], []
    monkeypatch.setattr(module, does, counting(getattr(module, does), calls))
    assert run(name, "--store", tmp_path / "kept", out="again")[0] == 0 and not calls  # the workers' answers were kept
    assert figures(tmp_path / "again") == figures(tmp_path / "out")


def test_workers_are_either_here_or_there(run):
    code, _, heard = run("bias", "--workers", 2, "--scheduler", "tcp://127.0.0.1:1")
    assert code == 2 and "give --workers or --scheduler, not both" in heard
