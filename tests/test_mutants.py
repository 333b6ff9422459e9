"""The mistakes of mutants.py still apply: the text is there, once, and the tests exist. And the check can tell."""

import ast
import importlib
import queue
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants import MUTANTS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mistake_can_be_planted(mutant):
    text = (ROOT / mutant.file).read_text("utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.old!r} must be found once in {mutant.file}: change tests/mutants.py"
    wrong = ast.parse(text.replace(mutant.old, mutant.new))  # raises where the mistake would not even run
    assert ast.dump(wrong) != ast.dump(ast.parse(text))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_tests_exist(mutant):
    assert mutant.tests and mutant.why
    for test in mutant.tests:
        path, _, name = test.partition("::")
        names = {node.name for node in ast.parse((ROOT / path).read_text("utf-8")).body if hasattr(node, "name")}
        assert not name or name in names, f"{path} has no {name}: change tests/mutants.py"


def test_names_are_unique():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20


def test_the_check_tells_caught_from_survived(tmp_path, monkeypatch):
    """A mistake, a harmless change, one that does not apply and a test that there is not."""
    monkeypatch.syspath_prepend(ROOT / "tests")
    mutation_check = importlib.import_module("mutation_check")
    trees = queue.SimpleQueue()
    trees.put(tree := mutation_check.copy_of_the_project(tmp_path / "tree"))
    mistake = next(mutant for mutant in MUTANTS if mutant.name == "momentum_as_an_average")
    before = (tree / mistake.file).read_text("utf-8")

    found = [
        mutation_check.check(trees, mutant)[0::2]
        for mutant in (
            mistake,
            replace(mistake, new=f"({mistake.old})"),
            replace(mistake, old="no such line"),
            replace(mistake, tests=("tests/minigrad/test_optim.py::test_nothing",)),
        )
    ]
    assert found[0] == ("caught", "minigrad/test_optim.py::test_sgd_follows_its_recursion[False]")
    assert found[1] == ("SURVIVED", mistake.why)
    assert found[2][0] == "ERROR" and "'no such line' is found 0 times in minigrad/optim.py" in found[2][1]
    assert found[3][0] == "ERROR" and "exit code 4" in found[3][1]
    assert (tree / mistake.file).read_text("utf-8") == before
