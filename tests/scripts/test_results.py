"""What commands leave behind: arrays under one name each, settings in effect, and where they were stopped."""

import itertools
import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

import minigrad as mg
import viz
from minigrad.nn import observe
from tests.scripts import tiny
from viz import sheet
from viz.commands import attribution, record
from viz.commands.command import find, main
from viz.commands.methods import METHODS, Method
from viz.commands.techniques import COMMANDS

NAMES = sorted({name for name, *_ in COMMANDS.values()} - {"gallery", "explore"})


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """words(name, *more): the command line that lets a command run on the tiny network."""
    folder = tmp_path_factory.mktemp("tiny")
    weights, (data, image) = tiny.write(folder), tiny.photographs(folder / "photographs")

    def words(name, *more):
        model = ["--model", weights] if "--model" in find(name).options._option_string_actions else []
        return [str(word) for word in (*tiny.arguments(name, data, image), *model, *more)]

    return words


def run(name, argv):
    return main(name, find(name).options, find(name).run, argv)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_inputs_and_maps_go_by_one_name_and_records_are_whole(name, words, tmp_path, capsys):
    assert run(name, words(name, "--out", tmp_path)) == 0, capsys.readouterr().err
    found = {}
    for path in tmp_path.glob("*.npz"):
        with np.load(path) as file:
            found |= {key: file[key] for key in file.files}
    if "image" in {action.dest for action in find(name).options._actions} and name != "sanity_check":
        assert found["image"].ndim == 4 and found["image"].shape[:2] == (1, 3)
    if name in attribution.COMMANDS:
        assert found["map"].shape == (1, 16, 16) and set(found) <= {"image", "map", "attribution", "map_of_layer"}
    assert not {"photograph", "maps", "heat"} & set(found)
    for path in tmp_path.glob("*.json"):
        told = {"options": {}, "settings": {}, "numbers": {}} | json.loads(path.read_text())
        options, said = told["options"], {*told["settings"], *told["numbers"]}
        left_open = {key for key in ("epsilon", "norm", "steps", "layer") if options.get(key, 0) is None}
        assert left_open <= said, f"{path.name} does not say which {left_open - said} it took"
        assert not isinstance(options.get("image"), str) or told["image"]["sha256"]


@pytest.mark.parametrize(
    "name, settings",
    [
        ("style_transfer", {"content_layers", "style_layers", "style_weight", "layer_weights"}),
        ("texture", {"layers"}),
        ("invert", {"layers"}),
        ("reconstruct_content", {"layers"}),
        ("maximize", {"optimizer", "lr", "steps", "size", "parameterization"}),
        ("attack", {"epsilon", "norm", "steps"}),
    ],
)
def test_records_hold_the_settings_in_effect(name, settings, words, tmp_path):
    assert run(name, words(name, "--out", tmp_path)) == 0
    (path,) = tmp_path.glob("*.json")
    found = json.loads(path.read_text())["settings"]
    assert settings <= set(found) and all(found[key] not in (None, []) for key in settings)


def test_dreams_say_of_what(words, tmp_path):
    argv = words("dream", "--out", tmp_path)
    assert run("dream", argv) == 0
    (path,) = tmp_path.glob("*.json")
    assert "_tiny3_relu4_1_" in path.name and json.loads(path.read_text())["options"]["target"] == "relu4_1"


def test_embeddings_name_their_photographs(words, tmp_path):
    assert run("embedding", words("embedding", "--out", tmp_path)) == 0
    (path,) = tmp_path.glob("*.json")
    photographs = json.loads(path.read_text())["numbers"]["photographs"]
    assert len(photographs) == 8 and len(set(photographs)) == 8 and "cat/0.png" in photographs


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------

MANY = 100_000
STEPPED = {  # what makes a command work for so long that Ctrl-C comes in the middle
    "attack": ["--steps", MANY],
    "cue_conflict": ["--count", 100],
    "dream": ["--steps", MANY],
    "invert": ["--steps", MANY, "--optimizer", "sgd"],
    "maximize": ["--steps", MANY],
    "reconstruct_content": ["--steps", MANY, "--optimizer", "sgd"],
    "rise": ["--samples", MANY],
    "smooth_grad": ["--samples", MANY],
    "style_transfer": ["--steps", MANY, "--optimizer", "sgd"],
    "templates": ["--epochs", MANY],
    "texture": ["--steps", MANY, "--optimizer", "sgd"],
    "universal": ["--epochs", MANY, "--fooling-rate", 1],
}
ATTACKS = {
    "iterative": ["--steps", MANY],
    "ascent": ["--steps", MANY, "--target", "zebra"],
    "cw": ["--steps", MANY, "--kappa", 1000],
}


def test_a_trial_goes_by_its_photograph_and_the_others(words, tmp_path, capsys):
    image, *more = words("trust", "--out", tmp_path, "--draws", 2, "--steps", 2)
    data = Path(image).parent.parent
    for photograph in (data / "cat" / "0.png", data / "dog" / "1.png"):
        assert run("trust", [str(photograph), *more, "--data", str(data)]) == 0, capsys.readouterr().err
    assert [path.name.split("_")[1] for path in sorted(tmp_path.glob("*.json"))] == ["0", "1"]


@pytest.fixture
def titles(monkeypatch):
    """The texts of all figures that are written."""
    texts, lines = [], sheet._lines

    def save(figure, path):
        if hasattr(figure, "findobj"):
            texts.extend(text.get_text() for text in figure.findobj(Text))
        record.save_figure(figure, path)

    monkeypatch.setattr("viz.commands.job.save_figure", save)
    monkeypatch.setattr(sheet, "_lines", lambda text, *given: texts.append(text) or lines(text, *given))
    return texts


@pytest.mark.parametrize(
    "name", [n for n in NAMES if {"method", "methods"} & {action.dest for action in find(n).options._actions}]
)
@pytest.mark.filterwarnings("ignore")
def test_figures_call_methods_by_name(name, words, titles, tmp_path, capsys):
    assert run(name, words(name, "--out", tmp_path)) == 0, capsys.readouterr().err
    assert not [text for text in titles if re.search(r"\b(pgd|[a-z]+_(cam|gradients|backprop|pixel|map))\b", text)]


@pytest.fixture
def ctrl_c_in_pass(monkeypatch):
    """ctrl_c_in_pass(n): Ctrl-C is pressed when a network is called for the n-th time from now on."""

    def press(number):
        def counted(module, *inputs):
            if not observe._running.depth and next(passes) == number:
                os.kill(os.getpid(), signal.SIGINT)
            return call(module, *inputs)

        passes, call = itertools.count(1), mg.nn.Module.__call__
        monkeypatch.setattr(mg.nn.Module, "__call__", counted)

    return press


def says_where_it_was_stopped(folder, out, titles, of):
    """The number of steps done, as line, name, record and figure give it."""
    (path,) = folder.glob("*.json")
    found = json.loads(path.read_text())
    assert found["stopped_early"] and found["stopped"]["of"] == of and 0 <= found["stopped"]["at"] <= of
    said = f"stopped at {found['stopped']['at']} of {of}"
    assert said in out and path.stem.endswith(said.replace(" ", "-"))
    assert any(said in " ".join(text.split()) for text in titles)


@pytest.mark.parametrize(
    "name, more", [*STEPPED.items(), *(("attack", ["--method", method, *more]) for method, more in ATTACKS.items())]
)
@pytest.mark.filterwarnings("ignore")
def test_a_stopped_run_says_where(name, more, words, titles, ctrl_c_in_pass, tmp_path, capsys):
    ctrl_c_in_pass(12)
    assert run(name, words(name, *more, "--out", tmp_path)) == 130
    of = {"cue_conflict": 100, "attack": 6 * MANY if "cw" in more else MANY}.get(name, MANY)
    says_where_it_was_stopped(tmp_path, capsys.readouterr().out, titles, of)


@pytest.mark.parametrize("name, more", [("invert", []), ("reconstruct_content", ["--optimizer", "sgd"])])
@pytest.mark.filterwarnings("ignore")
def test_a_stopped_run_says_in_which_layer(name, more, words, titles, ctrl_c_in_pass, tmp_path, capsys):
    ctrl_c_in_pass(12)
    layers = ["--layers", "relu1_1,relu2_1,relu3_1", "--steps", MANY]
    assert run(name, words(name, *layers, *more, "--out", tmp_path)) == 130
    said = f" of {MANY}, in relu1_1; not begun: relu2_1, relu3_1"
    assert said in capsys.readouterr().out and any(said in " ".join(text.split()) for text in titles)


@pytest.mark.parametrize("name", ["evaluate_attribution", "sanity_check"])
def test_a_stopped_comparison_says_how_many_methods(name, words, titles, tmp_path, capsys, monkeypatch):
    def interrupted(model, image, target):
        os.kill(os.getpid(), signal.SIGINT) if not stopped else None
        stopped.append(True)
        return viz.saliency(model, image, target)

    stopped = []
    monkeypatch.setitem(METHODS, "saliency", Method(interrupted, "signed"))
    assert run(name, words(name, "--out", tmp_path)) == 130
    out = capsys.readouterr().out
    assert "stopped at 1 of 2" in out and "\n," not in out
    assert any("stopped at 1 of 2" in " ".join(text.split()) for text in titles)
    assert all(path.stem.partition(".")[0].endswith("stopped-at-1-of-2") for path in tmp_path.glob("*.json"))
