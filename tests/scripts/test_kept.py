"""Long measurements with --store go on after they were ended, and come to what they would have."""

import json

import pytest

from tests.scripts import tiny
from viz.commands import evaluate_attribution, robustness

COMMANDS = {
    "evaluate_attribution": ["--methods", "saliency,random", "--measures", "curves", "--steps", 4, "--batch-size", 3],
    "robustness": ["--tables", "attacks,defences,networks", "--steps", 2, "--samples", 1],
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """(weights, folder)"""
    root = tmp_path_factory.mktemp("given")
    return tiny.write(root), tiny.photographs(root / "few")[0]


@pytest.fixture
def run(script, given, tmp_path):
    def run(name, *more, out="out"):
        argv = ["--data", given[1], "--count", 8, "--model", given[0], "--out", tmp_path / out, *COMMANDS[name], *more]
        return script(name, *argv)

    return run


def figures(folder):
    """{file: rows without seconds, arrays too}"""
    rows = {path.name: json.loads(path.read_text())["numbers"]["rows"] for path in sorted(folder.glob("*.json"))}
    for some in rows.values():
        for row in some:
            row.pop("seconds", None), row.pop("seconds_interval", None)
    return rows


@pytest.mark.parametrize(
    "name, module, does",
    [("evaluate_attribution", evaluate_attribution, "measured_of"), ("robustness", robustness.viz, "pgd")],
)
def test_ended_in_the_middle_it_goes_on(run, tmp_path, monkeypatch, name, module, does):
    once, calls = getattr(module, does), []

    def ending(*given, **options):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return once(*given, **options)

    store = tmp_path / "kept"
    assert run(name, out="whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(module, does, ending)
        assert run(name, "--store", store)[0] == 130
    assert len(list((store / "parts").iterdir())) >= 2

    def counted(*given, **options):
        calls.append(1)
        return once(*given, **options)

    calls.clear()
    monkeypatch.setattr(module, does, counted)
    assert run(name, "--store", store)[0] == 0
    went_on = len(calls)
    assert figures(tmp_path / "out") == figures(tmp_path / "whole")
    calls.clear()
    assert run(name, "--store", store, out="again")[0] == 0 and not calls and went_on
    assert figures(tmp_path / "again") == figures(tmp_path / "whole")


def test_another_question_is_refused(run, tmp_path):
    assert run("evaluate_attribution", "--store", tmp_path / "kept")[0] == 0
    code, _, said = run("evaluate_attribution", "--store", tmp_path / "kept", "--seed", 1)
    assert code == 2 and "answers another question" in said
    code, _, said = run("robustness", "--store", tmp_path / "kept")
    assert code == 2 and "answers another question: its command is" in said
