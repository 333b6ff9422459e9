"""Solutions pass, stubs say what to do, planted mistakes are named; `python -m viz course` as a student types it."""

import json

import forked
import planted
import planted_late
import pytest

from viz.__main__ import main
from viz.course.check import check
from viz.course.measure import lines_of_code
from viz.course.source import STAGES

MISTAKES = planted.MISTAKES | planted_late.MISTAKES
IDS = [stage.name for stage in STAGES]
PLANTED = [
    pytest.param(STAGES[number - 1], *mistake, id=f"{number}: {mistake[2]}")
    for number, mistakes in MISTAKES.items()
    for mistake in mistakes
]


@pytest.mark.parametrize("stage", STAGES, ids=IDS)
def test_the_solution_passes_with_the_core_alone(stage, solved, core_alone):
    results = check(stage, solved)
    assert results and all(result.right for result in results), [r for r in results if not r.right]


@pytest.mark.parametrize("stage", STAGES, ids=IDS)
def test_the_stub_fails_each_check_with_what_to_do(stage, solved):
    (solved / stage.file).write_text(stage.stub(), "utf-8")
    for result in check(stage, solved):
        assert not result.right and f"{stage.file}, line " in result.sentence, result
        assert " is still to be written: " in result.sentence


@pytest.mark.parametrize(("stage", "old", "new", "words"), PLANTED)
def test_a_planted_mistake_is_named(stage, old, new, words, solved, monkeypatch):
    monkeypatch.setattr("viz.course.check.run", forked.run)
    text = stage.solution()
    assert old in text
    (solved / stage.file).write_text(text.replace(old, new), "utf-8")
    seconds = 5 if words.startswith("still running") else 200
    first = next(result for result in check(stage, solved, seconds=seconds) if not result.right)
    assert words in first.sentence, first


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "sum_to(g @ swap(b), a.shape)",
            "sum_to(g @ swap(b) * 2.0, a.shape)",
            "; stage 3 is not right (8 of 10): check 3",
        ),
        ("        return a @ b\n", "        return b @ a\n", "; stage 3 is not right (8 of 10): check 3 first"),
    ],
)
def test_an_earlier_stage_that_is_wrong_is_told_of(old, new, words, solved):
    text = STAGES[2].solution()
    assert text.count(old) == 1
    (solved / "tensor.py").write_text(text.replace(old, new), "utf-8")
    wrong = [result for result in check(STAGES[4], solved) if not result.right]
    assert wrong and all(words in result.sentence for result in wrong), wrong


def test_an_earlier_stage_that_is_missing_is_told_of(solved):
    words = "(write stage 3 first, or: python -m viz course start FOLDER --at 5)"
    (solved / "tensor.py").write_text(STAGES[2].stub(), "utf-8")
    *_, pooled = check(STAGES[4], solved)
    assert "tensor.py, line" in pooled.sentence and pooled.sentence.endswith(words)
    (solved / "tensor.py").unlink()
    first, *_ = check(STAGES[4], solved)
    assert "No module named 'tensor'" in first.sentence and first.sentence.endswith(words)
    assert [stage.number for stage in STAGES[4].needs] == [2, 3] and not STAGES[0].needs


def test_every_stage_has_mistakes_hints_and_what_to_try():
    assert set(MISTAKES) == {stage.number for stage in STAGES}
    for stage in STAGES:
        assert len(stage.hints) >= 2 and stage.stub().count("raise NotImplementedError") >= 3
        for heading in ("What to know", "The mathematics", "What you write", "When it works", "In the engine"):
            assert f"## {heading}\n" in stage.page()


def test_from_start_to_a_right_answer(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "mine"
    assert main(["course", "start", str(folder), "--at", "2"]) == 0
    monkeypatch.chdir(folder)
    assert (folder / "1-number.md").is_file() and "NotImplementedError" not in (folder / "number.py").read_text()
    assert main(["course", "check", "1"]) == 0
    assert main(["course", "check"]) == 1
    shown = capsys.readouterr().out
    assert "still to be written" in shown and "3. " not in shown, "it stops at the first stage that is not right"

    assert main(["course", "start", str(folder)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["course", "solution", "2"]) == 0
    (folder / "arrays.py").write_text(capsys.readouterr().out)
    assert main(["course", "check", "2", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["stage"] == 2 and told["right"] == told["of"] == len(told["checks"])
    assert not list(folder.glob("__pycache__"))


def test_what_is_still_to_be_written_is_open_and_told_once(solved, capsys):
    text = STAGES[0].solution()
    stub = text.replace(
        "        return Number(self.value**n, (self,), (n * self.value ** (n - 1),))\n", "        return 0\n"
    )
    (solved / "number.py").write_text(stub, "utf-8")
    assert main(["course", "check", "1", "--folder", str(solved)]) == 1
    assert "   WRONG  sums" in (shown := capsys.readouterr().out) and "   open " not in shown
    (solved / "number.py").write_text(STAGES[0].stub(), "utf-8")
    assert main(["course", "check", "1", "--folder", str(solved)]) == 1
    shown = capsys.readouterr().out
    assert shown.count("   open   ") == 7 and "WRONG" not in shown and shown.count("Number.__mul__ is still to be") == 1
    (solved / "convolution.py").write_text(STAGES[4].stub(), "utf-8")
    told = " ".join(result.sentence for result in check(STAGES[4], solved))
    assert "Unfold.forward is still" in told and "Fold.forward is still" in told


def test_hints_one_at_a_time(capsys):
    assert main(["course", "hint", "1"]) == 0 and "1 of " in capsys.readouterr().out
    assert main(["course", "hint", "1", "99"]) == 2 and "stage 1 has" in capsys.readouterr().err
    assert main(["course", "hint", "5", "max_pool"]) == 0 and "4 of 4: `max_pool`" in capsys.readouterr().out
    assert main(["course", "hint", "3", "MatMul"]) == 0 and "3 of 6: `MatMul.vjp`" in capsys.readouterr().out
    assert main(["course", "hint", "5", "min_pool"]) == 2 and "name of a function" in capsys.readouterr().err
    assert main(["course", "hint", "99"]) == 2
    assert main(["course"]) == 0 and "course start FOLDER" in capsys.readouterr().out


def test_what_a_student_prints_does_not_spoil_the_json(solved, capfd):
    with open(solved / "number.py", "a") as file:
        file.write("print('hello')\n")
    assert main(["course", "check", "1", "--json", "--folder", str(solved)]) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out) and "hello" in shown.err


def test_a_missing_file_and_a_process_that_ends(solved):
    stage = STAGES[0]
    (solved / stage.file).unlink()
    (missing,) = check(stage, solved)
    assert "there is no number.py" in missing.sentence and "cd FOLDER" in missing.sentence
    (solved / stage.file).write_text(
        stage.solution().replace("    found = {last: 1.0}\n", "    import os; os._exit(7)\n")
    )
    assert "the process ended within this check (exit code 7)" in [r.sentence for r in check(stage, solved)]
    (solved / stage.file).write_text("while True:\n    pass\n")
    first, *others = check(stage, solved, seconds=1)
    assert "number.py, line" in first.sentence and "still running after 1 seconds" in first.sentence
    assert all(result.sentence == "not reached" for result in others)


def test_the_finished_engine_beside_the_projects(solved, capsys):
    assert main(["course", "measure", "--folder", str(solved)]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    found = {row[0]: row[1:] for row in rows[2:]}
    for name in ("error of scores", "error of saliency", "error of Grad-CAM"):
        assert all(0 <= float(error) < 1e-4 for error in found[name]), found
    yours, textbook, whole = map(int, found["lines of the engine (stages 1 to 5)"])
    assert 200 < yours < 400 < textbook < whole
    (solved / "images.py").unlink()
    assert main(["course", "measure", "--folder", str(solved)]) == 2
    assert "there is no images.py" in capsys.readouterr().err


def test_what_is_not_finished_is_not_measured(solved, capsys):
    (solved / "rules.py").write_text(STAGES[6].stub(), "utf-8")
    assert main(["course", "measure", "--folder", str(solved)]) == 2
    assert "rules.py, line" in (shown := capsys.readouterr().err) and "is still to be written" in shown


def test_lines_of_code_are_without_words():
    text = '"""Words\nand words."""\n\nimport os  # a comment\n\n\ndef f(x):\n    """Words."""\n    # a comment\n'
    text += "    return (\n        x\n    )\n"
    assert lines_of_code(text) == 5
