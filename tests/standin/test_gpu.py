"""The tests of the engine and of viz on a real GPU: `pytest --device cuda`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.gpu
@pytest.mark.parametrize("suite", ["tests/minigrad/functional", "tests/viz"])
def test_the_same_tests_pass_on_a_gpu(suite):
    command = [sys.executable, "-m", "pytest", "-m", "not torch and not gpu", "--device", "cuda", suite]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_a_file_that_stayed_on_the_cpu_fails(tmp_path):
    """`--device` cannot silently run on NumPy: here the tensors are made by a function outside of any test file."""
    (tmp_path / "test_cpu.py").write_text(
        "import minigrad as mg\n\ndef test_cpu():\n    assert mg.Tensor([1.0]).exp()\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--device", "standin", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "no test computed on cuda:1 in" in done.stdout, done.stdout + done.stderr
