"""The table of ground truth: values are kept as they come, and the same command goes on with them."""

import json

import numpy as np
import pytest

import minigrad as mg
from viz.ground_truth import families
from viz.ground_truth.networks import build


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where results go, with networks in it that need no training; they are told that they are right."""
    folder = tmp_path / "out" / "ground_truth"
    folder.mkdir(parents=True)
    for cue in families.CUES:
        mg.save(folder / f"plain_{cue}_0.h5", build("plain").state_dict())
    monkeypatch.setattr(families, "named", lambda model, images: AllRight())
    return folder


class AllRight:
    """Equal to any array of labels, element by element."""

    def __eq__(self, labels):
        return np.ones(len(labels), bool)

    __hash__ = None


FAST = ("--networks", "plain", "--batch-size", "2", "--methods", "saliency,grad_cam,random")


def numbers(tmp_path, count):
    return json.loads((tmp_path / "out" / f"ground_truth_{count}.json").read_text())["numbers"]


def test_every_family_has_its_table(script, kept, tmp_path):
    code, out, err = script("ground_truth", *FAST, "--scenes", "4")
    assert (code, err) == (0, "")
    found = numbers(tmp_path, 4)
    named = {f"plain {name}" for name in families.FAMILIES[:-1]} | {"known axioms", "trust"}
    assert set(found["tables"]) == named
    trust = [line.split(" | ") for line in found["tables"]["trust"].splitlines()]
    assert [row[0].strip("| ") for row in trust] == ["method", "---", "saliency", "grad_cam", "random"]
    rows = [line.strip("| ").split(" | ") for line in found["tables"]["plain difull"].splitlines()[2:]]
    gains = {method: float(gain.split()[0]) for method, scenes, gain, _ in rows}
    assert gains["saliency"] == 1 and gains["grad_cam"] < 0.9 and abs(gains["random"]) < 0.02
    assert [row[1] for row in rows] == ["4"] * 3
    assert found["tables"]["plain mark"] in out
    assert (tmp_path / "out" / "ground_truth_scene.png").is_file()


def test_the_same_command_goes_on_where_it_stopped(script, kept, tmp_path, monkeypatch):
    argv = (*FAST, "--families", "mark,axioms")
    assert script("ground_truth", *argv, "--scenes", "3")[0] == 0
    begun = []
    made = families.family

    def noted(name, networks, count, first, seed=0):
        begun.append((name, first, count))
        return made(name, networks, count, first, seed)

    monkeypatch.setattr("viz.commands.ground_truth.family", noted)
    assert script("ground_truth", *argv, "--scenes", "5")[0] == 0
    assert begun == [("mark", 2, 2), ("axioms", 2, 2), ("mark", 4, 1), ("axioms", 4, 1)]
    whole = numbers(tmp_path, 5)["tables"]
    with np.load(tmp_path / "out" / "ground_truth_5.npz") as file:
        assert {len(file[name]) for name in file} == {5}
    begun.clear()
    assert script("ground_truth", *argv, "--scenes", "5")[0] == 0 and not begun
    assert numbers(tmp_path, 5)["tables"] == whole
    assert script("ground_truth", *argv[:-2], "--families", "axioms", "--scenes", "2")[0] == 0 and not begun


def test_what_there_is_not_is_refused(script):
    code, _, err = script("ground_truth", "--families", "dogs")
    assert code == 2 and "there is no truth 'dogs'; the truths are: mark, object, background" in err
