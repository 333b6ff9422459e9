"""The mistakes of mutants.py still apply: the text is there, once, and the tests exist."""

import ast
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
