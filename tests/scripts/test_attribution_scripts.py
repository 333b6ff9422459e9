"""The scripts of the attribution methods write what viz computes; the two that measure methods measure right."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import models
import viz
from minigrad import nn
from viz.commands import evaluate_attribution
from viz.commands.attribution import relevance_and_score

ATTRIBUTIONS = {
    "deconvnet": {},
    "guided_backprop": {},
    "input_x_gradient": {},
    "integrated_gradients": {"steps": 3},
    "smooth_grad": {"samples": 3, "sigma": 0.1, "seed": 4},
    "lrp": {"rule": "zplus"},
    "guided_grad_cam": {},
    "grad_cam_plus_plus": {},
    "layer_cam": {},
    "hires_cam": {},
    "xgrad_cam": {},
    "eigen_cam": {},
    "occlusion": {"patch": 10, "stride": 7, "fill": 0.3},
    "rise": {"samples": 5, "cells": 3, "seed": 2},
}
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "white": (1, 1, 1)}


def the_only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """(weights file, folder of photographs): four classes of plain colours, and a network that knows them."""
    folder = tmp_path_factory.mktemp("colours")
    conv, fc = nn.Conv2d(3, 4, 1), nn.Linear(4, 4)
    weight = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]], np.float32).reshape(4, 3, 1, 1)
    conv.load_state_dict({"weight": weight, "bias": np.array([0, 0, 0, -2], np.float32)})
    fc.load_state_dict({"weight": 20 * np.eye(4, dtype=np.float32), "bias": np.zeros(4, np.float32)})
    layers = {"preprocess": models.Preprocess(), "conv": conv, "relu": nn.ReLU()}
    layers |= {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": fc}
    models.save_weights(models.Model(layers, "colours", (24, 24), models.labels.read_labels(COLOURS)), folder / "c.h5")

    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / "photos" / name).mkdir(parents=True)
        for k in range(3):
            picture = 0.6 * np.array(colour)[:, None, None] + rng.uniform(0.1, 0.3, (3, 24, 24))
            models.save_image(picture, folder / "photos" / name / f"{k}.png")
    return folder / "c.h5", folder / "photos"


@pytest.fixture
def written(script, colours, tmp_path):
    """Run a script on a photograph of something blue; gives its arrays and its record."""

    def run(name, *argv):
        code, out, err = script(name, colours[1] / "blue" / "0.png", "--model", colours[0], *argv)
        assert code == 0 and (not err or "no max pool lies" in err)  # deconvnet of a network without one
        path = Path(out.split(" -> ")[1].split()[-1])
        assert path.parent == tmp_path / "out" and path.name.startswith(f"{name}_0")
        assert path.with_suffix(".png").stat().st_size > 5_000
        with np.load(path.with_suffix(".npz")) as file:
            return {key: file[key] for key in file.files}, json.loads(path.read_text())

    return run


@pytest.fixture
def model_and_image(colours):
    return models.load(colours[0]), models.load_image(colours[1] / "blue" / "0.png", 24)


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_scripts_write_what_viz_computes(name, written, model_and_image):
    options = ATTRIBUTIONS[name]
    arrays, record = written(name, "--target", "blue", *(f"--{k}={v}" for k, v in options.items()))
    found = arrays.get("attribution", arrays["map"])
    np.testing.assert_array_equal(found, getattr(viz, name)(*model_and_image, "blue", **options))
    assert record["target"] == {"index": 2, "name": "blue"}


def test_a_neuron_or_another_layer(written, model_and_image):
    arrays, _ = written("deconvnet", "--target", "relu:2,0,5")
    np.testing.assert_array_equal(arrays["attribution"], viz.deconvnet(*model_and_image, layer="relu", unit=(2, 0, 5)))
    arrays, record = written("layer_cam", "--target", "blue", "--layer", "conv")
    np.testing.assert_array_equal(arrays["map"], viz.layer_cam(*model_and_image, "blue", "conv"))
    assert record["numbers"]["layer"] == "conv"


def test_residuals_are_reported(written):
    _, record = written("integrated_gradients", "--steps", "2", "--baseline", "0.5")
    assert 0 < abs(record["numbers"]["residual"]) < record["numbers"]["sum"]
    _, record = written("lrp", "--rule", "epsilon")
    np.testing.assert_allclose(record["numbers"]["relevance"], record["numbers"]["score"], rtol=1e-4)
    assert record["numbers"]["arrived"] == "arrive (100 %)"


@pytest.mark.parametrize(
    "relevance, rest",
    [(-0.03, "(-1 %), biases keep the rest"), (3.77, "(100 %)"), (5.0, "(133 %), biases add the rest")],
)
def test_what_biases_keep_of_the_score_is_said(relevance, rest, monkeypatch):
    class Run:
        model, image, explained, args = None, None, {}, SimpleNamespace(through=None)

    monkeypatch.setattr(viz, "completeness", lambda *_, **__: [relevance - 3.77])
    assert relevance_and_score(Run, np.array([relevance]), None)["arrived"] == f"arrive {rest}"
    Run.args.through = ("conv", [0])
    assert "biases" not in relevance_and_score(Run, np.array([relevance]), None)["arrived"]


def test_a_chart_of_measures_is_dark_where_they_are_good(monkeypatch):
    drawn = {}
    monkeypatch.setattr(evaluate_attribution.plot, "matrix", lambda *given, **more: drawn.update(more, given=given))
    job = SimpleNamespace(
        args=SimpleNamespace(noises=5), model=SimpleNamespace(name="net"), heading=lambda text: text, stopped=False
    )
    kinds = ("seconds", "insertion", "deletion", "infidelity")
    measured = {
        "a": dict(zip(kinds, np.array([[1], [0.2], [0.3], [0.9]]), strict=True)),
        "b": dict(zip(kinds, np.array([[2], [0.6], [0.1], [0.5]]), strict=True)),
    }
    evaluate_attribution.chart(job, measured, 1)
    nan = math.nan
    np.testing.assert_allclose(drawn["given"][0], [[0.2, 0.3, 0.9], [0.6, 0.1, 0.5], [nan, nan, 0.75]])
    np.testing.assert_allclose(drawn["shades"], [[0, 0, 0], [1, 1, 1], [nan, nan, 0.375]])
    assert drawn["given"][1] == ["a", "b", "chance"]


def test_lrp_by_layer_and_through_channels(written, model_and_image):
    arrays, _ = written("lrp", "--rule", "epsilon", "--rules", "conv=flat", "--through", "conv:0,2")
    options = {"rule": "epsilon", "rules": {"conv": "flat"}, "through": ("conv", [0, 2])}
    np.testing.assert_array_equal(arrays["attribution"], viz.lrp(*model_and_image, **options))


def test_evaluation(script, colours, tmp_path):
    weights, photos = colours
    methods = "grad_cam,input_x_gradient,random,centre"
    argv = ("--data", photos, "--count", "6", "--methods", methods, "--batch-size", "4", "--steps", "6")
    code, out, err = script("evaluate_attribution", *argv, "--model", weights)
    assert (code, err) == (0, "")
    assert [line.partition(",")[0] for line in out.splitlines()[1:4]] == methods.split(",")[:3]
    record = json.loads(the_only(tmp_path / "out", "*.json").read_text())["numbers"]
    rows = {row["method"]: row for row in record["rows"]}

    assert record["images"] == 6 and list(rows) == methods.split(",")
    assert rows["grad_cam"]["pointing"] == 1 and rows["grad_cam"]["share"] > 0.99
    assert rows["input_x_gradient"]["pointing"] == 1
    assert 0.2 < rows["random"]["share"] < 0.3 and 0.2 < rows["centre"]["share"] < 0.3
    assert rows["input_x_gradient"]["infidelity"] < 0.6 < rows["random"]["infidelity"] <= 1 + 1e-6
    low, high = rows["random"]["infidelity_interval"]
    assert low < rows["random"]["infidelity"] < high and record["chance"]["infidelity"] == pytest.approx(1 - 1 / 127)
    (less,) = [row["infidelity"] for row in record["differences"] if row["less the centre"] == "random"]
    assert less == pytest.approx(rows["random"]["infidelity"] - rows["centre"]["infidelity"])
    assert rows["input_x_gradient"]["deletion"] < rows["random"]["deletion"]
    assert record["table"] in out and record["differences_table"] in out
    assert record["table"].count("\n") == 7 and "| grad_cam |" in record["table"]


def test_evaluation_of_one_measure(script, colours, tmp_path):
    argv = ("--data", colours[1], "--count", "4", "--methods", "grad_cam,centre", "--measures", "infidelity")
    code, _, err = script("evaluate_attribution", *argv, "--sigma", "0.02", "--noises", "8", "--model", colours[0])
    assert (code, err) == (0, "")
    record = json.loads(the_only(tmp_path / "out", "*.json").read_text())["numbers"]
    measured = {key for row in record["rows"] for key in row if not key.endswith("_interval")}
    assert measured == {"method", "seconds", "infidelity"}


def test_evaluation_of_measures_by_name(script, colours, tmp_path):
    measures = ("road", "faithfulness", "other_class", "sparseness")
    argv = ("--data", colours[1], "--count", "6", "--methods", "input_x_gradient,random", "--measures")
    code, _, err = script("evaluate_attribution", *argv, ",".join(measures), "--model", colours[0])
    assert (code, err) == (0, "")
    record = json.loads(the_only(tmp_path / "out", "*.json").read_text())["numbers"]
    right, random = record["rows"]
    assert {key for key in right if not key.endswith("_interval")} == {"method", "seconds", *measures}
    assert right["road"] > 0 and right["faithfulness"] > 0.5 > abs(random["faithfulness"])
    assert right["road"] > random["road"] and record["chance"]["road"] == record["chance"]["faithfulness"] == 0
    assert right["other_class"] < random["other_class"] == pytest.approx(1)  # it looks at no class
    assert random["sparseness"] == pytest.approx(1 / 3, abs=0.02)  # Gini's index of evenly spread values


def test_evaluation_needs_photographs_that_it_gets_right(script, colours, weights):
    code, _, err = script("evaluate_attribution", "--data", colours[1], "--count", "2", "--model", weights)
    assert code == 2 and "no class for the photographs of" in err
    code, _, err = script("evaluate_attribution", "--data", colours[1], "--methods", "tarot", "--model", colours[0])
    assert code == 2 and "there is no method 'tarot'" in err


def test_sanity_check(script, colours, tmp_path):
    weights, photos = colours
    argv = ("--data", photos, "--count", "8", "--methods", "saliency,centre", "--model", weights, "--draws", "5")
    code, out, err = script("sanity_check", *argv)
    assert (code, err) == (0, "")
    record = json.loads(the_only(tmp_path / "out", "sanity_check_photos_c_methods-*.json").read_text())["numbers"]
    rows = {row["method"]: row for row in record["rows"]}
    assert record["layers"] == ["fc", "conv"] and record["images"] == 8
    likeness = [value for key, value in rows["centre"].items() if key != "method" and not key.endswith("interval")]
    np.testing.assert_allclose(likeness, 1, rtol=1e-6)  # it looks at nothing
    assert rows["saliency"]["rank all"] < 0.9 and record["draws"] == 5
    low, high = rows["saliency"]["SSIM all_interval"]
    assert low <= rows["saliency"]["SSIM all"] <= high
    assert record["table"] in out and the_only(tmp_path / "out", "*_likeness_*.png")


def test_sanity_check_of_one_photograph(script, photograph, tmp_path, colours):
    argv = ("--methods", "grad_cam", "--target", "red", "--model", colours[0])
    code, _, err = script("sanity_check", photograph, *argv)
    assert (code, err) == (0, "")
    with np.load(the_only(tmp_path / "out", "sanity_check_my_cat_c_red_*.npz")) as file:
        assert file["grad_cam_spearman"].shape == (10, 3, 1)
    code, _, err = script("sanity_check", photograph, "--data", "somewhere")
    assert code == 2 and "not both" in err


# ---- a method that does not apply ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """The weights file of a network of those colours without maps, for which class activation maps have no meaning."""
    fc = nn.Linear(3 * 24 * 24, 4)
    weight = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]], np.float32)
    fc.load_state_dict({"weight": weight.repeat(576, 1) / 576, "bias": np.array([0, 0, 0, -2], np.float32)})
    layers = {"preprocess": models.Preprocess(), "flatten": nn.Flatten(), "fc": fc}
    path = tmp_path_factory.mktemp("linear") / "linear.h5"
    models.save_weights(models.Model(layers, "linear", (24, 24), models.labels.read_labels(COLOURS)), path)
    return path


def test_a_method_that_refuses_has_its_sentence_in_the_tables(script, colours, linear, tmp_path):
    argv = ("--data", colours[1], "--count", "4", "--model", linear, "--methods", "grad_cam,saliency,layer_cam")
    code, out, err = script("sanity_check", *argv, "--draws", "2")
    assert (code, err) == (0, "")
    numbers = json.loads(the_only(tmp_path / "out", "sanity_check_photos_linear_methods-*.json").read_text())["numbers"]
    assert [row["method"] for row in numbers["rows"]] == ["saliency"] and list(numbers["refused"]) == [
        "grad_cam",
        "layer_cam",
    ]
    assert all(f"| {method} | {sentence} |" in numbers["table"] for method, sentence in numbers["refused"].items())
    assert "name a layer" in numbers["refused"]["grad_cam"]

    code, out, err = script("evaluate_attribution", *argv, "--steps", "3", "--measures", "curves")
    assert (code, err) == (0, "")
    numbers = json.loads(the_only(tmp_path / "out", "evaluate_attribution_*.json").read_text())["numbers"]
    assert [row["method"] for row in numbers["rows"]] == ["saliency"]
    assert list(numbers["refused"]) == ["grad_cam", "layer_cam"]
    assert all(f"| {method} | {sentence} |" in numbers["table"] for method, sentence in numbers["refused"].items())
    assert f"layer_cam: {numbers['refused']['layer_cam']}" in out


@pytest.mark.parametrize("command", ["sanity_check", "evaluate_attribution", "compare", "bias"])
def test_where_every_method_refuses_the_sentence_is_the_answer(script, colours, linear, command):
    data = ("--data", colours[1], "--count", "4") if command != "compare" else (colours[1] / "blue" / "0.png",)
    methods = ("--method", "grad_cam") if command == "bias" else ("--methods", "grad_cam,layer_cam")
    rest = ("--measures", "curves") if command == "evaluate_attribution" else ()
    code, _, err = script(command, *data, "--model", linear, *methods, *rest)
    assert code == 2 and "name a layer" in err and err.count("\n") == 1
