"""The check of kernel families: what it runs, what it leaves out and why, and when it fails."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# In place of pytest: what a run has in its environment, and which kernels it gets.
SHOW = """
import os
from threadpoolctl import threadpool_info
import numpy

kernels = [blas["architecture"] for blas in threadpool_info()]
print("run:", {k: v for k, v in os.environ.items() if k.startswith(("OPENBLAS_", "OMP_"))}, *kernels)
"""
FAILS_WITH_ONE_THREAD = """
import os

def test_threads():
    assert os.environ["OMP_NUM_THREADS"] != "1"
"""


@pytest.fixture
def families(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests")
    return importlib.import_module("kernel_families")


def this_one(families):
    """The family that NumPy's BLAS takes by itself on this machine."""
    found = families.missing("Nothing").split()[-1]
    if families.missing(found):
        pytest.skip(f"NumPy's BLAS is not an OpenBLAS whose kernels can be chosen: {families.missing(found)}")
    return found


def test_a_family_that_there_is_not(families):
    assert "NumPy's BLAS does not have them, and runs " in families.missing("Nothing")
    assert families.missing(this_one(families)) == ""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGILL on Windows")
@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "the processor cannot execute them (SIGILL)"),
        ("assert False, 'wrong sums'", "the trial failed: AssertionError: wrong sums"),
    ],
)
def test_a_family_that_dies_or_errs(families, monkeypatch, probe, reason):
    monkeypatch.setattr(families, "PROBE", probe)
    assert families.missing("Haswell") == reason


def test_every_setting_runs_alone(families, monkeypatch, capfd, tmp_path):
    family, cores = this_one(families), families.cores()
    monkeypatch.setattr(families, "FAMILIES", ("Nothing", family))
    monkeypatch.setattr(families, "PYTEST", ())
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"):  # of the environment: left out
        monkeypatch.setenv(name, "1")
    (tmp_path / "show.py").write_text(SHOW)

    assert families.main([str(tmp_path / "show.py")]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("run:")] == [
        f"run: {variables} {family}"
        for variables in (
            {"OPENBLAS_CORETYPE": family},
            {"OMP_NUM_THREADS": "1"},
            {"OMP_NUM_THREADS": f"{cores + 1}"},
        )
    ]
    nothing, *others = lines[-4:]
    assert nothing.startswith("Nothing kernels ") and "skipped: NumPy's BLAS does not have them" in nothing
    assert all("passed" in line for line in others) and others[0].startswith(f"{family} kernels ")


def test_after_an_earlier_run_threads_go_with_other_families(families, monkeypatch, capfd, tmp_path):
    family = this_one(families)
    monkeypatch.setattr(families, "FAMILIES", (family,))
    monkeypatch.setattr(families, "PYTEST", ())
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    (tmp_path / "show.py").write_text(SHOW)
    assert families.main(["--others", str(tmp_path / "show.py")]) == 0
    out = capfd.readouterr().out
    assert out.count("run:") == 2 and f"{family} kernels" in out and "skipped: the tests have run with them" in out

    another = "Haswell" if family != "Haswell" else "Nehalem"
    if not families.missing(another):
        monkeypatch.setenv("OPENBLAS_CORETYPE", another)  # which the earlier run had, then
        assert families.main(["--others", str(tmp_path / "show.py")]) == 0
        first, second = [line for line in capfd.readouterr().out.splitlines() if "passed" in line]
        assert first.startswith(f"{family} kernels, OMP_NUM_THREADS=1 ") and second.startswith("OMP_NUM_THREADS=")


def test_one_failure_is_enough(families, monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(families, "FAMILIES", ())
    (tmp_path / "test_it.py").write_text(FAILS_WITH_ONE_THREAD)
    assert families.main([str(tmp_path / "test_it.py")]) == 1
    one, more = capfd.readouterr().out.splitlines()[-2:]
    assert one.startswith("OMP_NUM_THREADS=1 ") and "FAILED" in one and "passed" in more


def test_nothing_to_run_is_an_error(families, capsys):
    assert families.main([]) == 2 and "what follows is pytest's" in capsys.readouterr().err
