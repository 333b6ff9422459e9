"""The scripts that look inside a network, on an untrained one and a few small pictures."""

import json
import re

import numpy as np
import pytest

import models
import viz
from viz.grabcut import told_apart
from viz.localization import seeds

from . import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """24 noisy pictures of 40 pixels in the folders of three of MiniVGG's classes."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for label in models.build("minivgg", seed=None).labels[1:4]:
        (root / label.synset).mkdir()
        for n in range(8):
            models.save_image(rng.random((3, 40, 40)) ** (0.5 + n / 4), root / label.synset / f"{n}.png")
    return root


@pytest.fixture
def written(script, tmp_path):
    """Run a script: gives the arrays and the numbers of its only result."""

    def run(name, *argv):
        code, _, err = script(name, *argv, "--quiet")
        assert (code, err) == (0, "")
        (path,) = (tmp_path / "out").glob("*.json")
        with np.load(path.with_suffix(".npz")) as file:
            return {key: file[key] for key in file.files}, json.loads(path.read_text())["numbers"]

    return run


def test_weights(written, weights):
    arrays, _ = written("weights")
    np.testing.assert_array_equal(arrays["images"], viz.weight_images(models.load(weights), "conv1_1"))


def test_deeper_weights_and_rows_of_linear_layers_can_be_drawn(script):
    for layer in ("conv2_1", "fc6", "fc7"):
        assert script("weights", "--layer", layer, "--shared")[0] == 0
    code, _, err = script("weights", "--layer", "relu1_1")
    assert code == 2 and "has no weights" in err


def test_channels_switched_off_in_turn_and_together(script, photograph, small_weights, tmp_path):
    argv = [photograph, "--model", small_weights, "--draws", "2", "--quiet"]
    assert script("switch_off", *argv)[0] == 0
    stem = next((tmp_path / "out").glob("switch_off_*.json"))
    numbers = json.loads(stem.read_text())["numbers"]
    model = models.load(small_weights)
    image = models.load_image(photograph, model.input_size)
    layer = viz.default_layer(model)
    with np.load(stem.with_suffix(".npz")) as file:
        np.testing.assert_allclose(file["effects"], viz.channel_effects(model, image, layer)[0], atol=1e-6)
        assert len(file["score_at random"]) == 2
    assert numbers["layer"] == layer and -1 <= numbers["correlation"] <= 1

    code, out, err = script("switch_off", *argv, "--channels", "0")
    assert (code, err) == (0, "")
    code, _, err = script("switch_off", *argv, "--channels", "99999")
    assert code == 2 and "has channels 0 to" in err


def test_activations(written, photograph, weights):
    arrays, numbers = written("activations", photograph, "--layer", "relu2_1", "--top", "5")
    model = models.load(weights)
    image = models.load_image(photograph, model.input_size)
    np.testing.assert_array_equal(arrays["activations"], viz.activation_maps(model, image, "relu2_1"))
    assert len(numbers["strongest"]) == 5
    means = arrays["activations"][0].mean((1, 2))
    assert numbers["means"][0] == pytest.approx(means.max())


def test_the_arithmetic_of_a_place(written, script, photograph, weights):
    place = ["--layer", "conv2_1", "--place", "3,2,1"]
    arrays, numbers = written("activations", photograph, *place)
    model, image = models.load(weights).eval(), arrays["image"]
    assert numbers["value"] == pytest.approx(viz.activation_maps(model, image, "conv2_1")[0, 3, 2, 1], rel=1e-6)
    np.testing.assert_allclose(arrays["products"].sum((1, 2)), numbers["sums"], rtol=1e-5)
    assert sum(numbers["sums"]) + numbers["rest"] + numbers["bias"] == pytest.approx(numbers["value"], abs=1e-4)
    assert [use["layer"] for use in numbers["uses"]] == ["relu2_1"]
    code, _, err = script("activations", photograph, *place, "--top", "3")
    assert (code, err.count("\n")) == (2, 1) and "--place is of one number" in err
    code, _, err = script("activations", photograph, "--layer", "conv2_1", "--place", "3,200,1")
    assert (code, err.count("\n")) == (2, 1) and "it has no unit (3, 200, 1)" in err


def test_activations_of_a_vector_are_refused(script, photograph):
    code, _, err = script("activations", photograph, "--layer", "fc6")
    assert code == 2 and "has no maps" in err


def test_embedding(written, folder, weights):
    arrays, numbers = written("embedding", "--data", folder, "--count", "12", "--layers", "relu5_2")
    assert arrays["points"].shape == (12, 2) and -1 <= numbers["silhouette"] <= 1
    assert numbers["features"] == 8 * 8 * models.load(weights)["conv5_2"].weight.shape[0]


def test_top_patches(written, folder):
    argv = ["--data", folder, "--count", "12", "--layer", "relu2_1", "--channels", "0", "7", "--patches", "4"]
    arrays, numbers = written("top_patches", *argv)
    assert arrays["patches_7"].shape == arrays["projections_7"].shape == (4, 3, 8, 8)
    values = [entry["activation"] for entry in numbers["7"]]
    assert values == sorted(values, reverse=True)


def test_zeiler_fergus(written, folder):
    argv = ["--data", folder, "--count", "12", "--per-layer", "1", "--layers", "relu2_1,relu2_2"]
    _, numbers = written("zeiler_fergus", *argv)
    assert numbers["relu2_1"]["receptive_field"] == [8, 8] and numbers["relu2_2"]["receptive_field"] == [12, 12]


def test_zeiler_fergus_takes_the_deconvnet_only_where_pools_have_switches(script, folder, tmp_path):
    pooled = tiny.network()
    networks = {"deconvnet": pooled, "guided_backprop": viz.with_average_pooling(pooled)}
    for method, model in networks.items():
        models.save_weights(model, tmp_path / f"{method}.h5")
        argv = ["--data", folder, "--count", "12", "--per-layer", "1", "--layers", "relu3_1", "--quiet"]
        argv += ["--model", tmp_path / f"{method}.h5", "--out", tmp_path / method]
        assert script("zeiler_fergus", *argv)[::2] == (0, "")
        (path,) = (tmp_path / method).glob("*.json")
        assert json.loads(path.read_text())["settings"]["method"] == method


def test_the_stages_end_before_the_pools():
    from viz.head import stages

    assert stages(models.build("minivgg", seed=None)) == ["relu1_1", "relu2_2", "relu3_2", "relu4_2", "relu5_2"]


def test_localize(written, photograph):
    arrays, numbers = written("localize", photograph, "--method", "saliency", "--smooth", "3")
    top, left, bottom, right = numbers["box"]
    assert arrays["region"][top:bottom, left:right].sum() == arrays["region"].sum() > 0
    assert arrays["segment"].dtype == bool and 0 < numbers["segment_share"] < 1
    assert 0.3 < numbers["seeds_told_apart"] <= 1


def test_localize_draws_an_outline_only_where_colours_differ(script, tmp_path):
    rng, square = np.random.default_rng(0), np.zeros((64, 64), bool)
    square[16:48, 16:48] = True
    pictures = {"grey": rng.uniform(0, 1, (64, 64, 3)), "red": rng.uniform(0, 0.3, (64, 64, 3))}
    pictures["red"][square] = [0.9, 0.1, 0.1]
    heat = square + 0.01 * rng.uniform(size=(64, 64))
    apart = {name: told_apart(p.transpose(2, 0, 1), *seeds(heat, 0.8, 0.7)) for name, p in pictures.items()}
    assert apart["red"] > 0.99 and apart["grey"] < 0.8
    models.save_image(pictures["grey"].transpose(2, 0, 1), tmp_path / "noise.png")
    code, out, err = script("localize", tmp_path / "noise.png")
    assert code == 0 and "no outline: only" in out, (out, err)


def test_bias_with_a_box_and_with_masks(written, script, folder, tmp_path):
    arrays, numbers = written("bias", "--data", folder, "--count", "12", "--method", "saliency")
    assert numbers["rows"][-1]["images"] == 12 and 0.4 < numbers["rows"][-1]["area"] < 0.6
    for path in folder.rglob("*.png"):
        mask = np.zeros((40, 40))
        mask[:20] = 1
        there = tmp_path / "masks" / path.parent.name
        there.mkdir(parents=True, exist_ok=True)
        models.save_image(mask, there / path.name)
    argv = ["--data", folder, "--count", "12", "--method", "saliency", "--masks", tmp_path / "masks"]
    code, _, err = script("bias", *argv, "--out", tmp_path / "masked", "--quiet")
    assert (code, err) == (0, "")
    (path,) = (tmp_path / "masked").glob("*.npz")
    with np.load(path) as file:
        maps = file["map"]
        np.testing.assert_allclose(file["inside"], maps[:, :64].sum((1, 2)) / maps.sum((1, 2)), rtol=1e-5)


def test_bias_says_what_it_measured_and_why_it_drew_nothing(script, folder, tmp_path):
    code, out, err = script("bias", "--data", folder, "--count", "12", "--method", "saliency", "--shown", "0")
    assert (code, err) == (0, "") and not list((tmp_path / "out").glob("*.png"))
    assert re.search(r"the maps' mass inside the central box, \d+% of the area; no figure, --shown is 0 ->", out)


def test_templates(written, folder):
    arrays, numbers = written("templates", "--data", folder, "--count", "24", "--size", "8", "--epochs", "3")
    assert arrays["before"].shape == arrays["after"].shape == (3, 3, 8, 8)
    assert numbers["losses"][-1] < numbers["losses"][0]


def test_one_map_on_trial(script, photograph, small_weights, folder, tmp_path):
    argv = [photograph, "--model", small_weights, "--draws", "2", "--steps", "2", "--quiet"]
    code, out, err = script("trust", *argv, "--method", "saliency", "--data", folder, "--count", "4")
    assert (code, err) == (0, "")
    (path,) = (tmp_path / "out").glob("trust_*_saliency*.json")
    numbers = json.loads(path.read_text())["numbers"]
    assert numbers["verdict"].endswith(".") and len(numbers["findings"]) == 5
    assert {kind: len(one["insertion"]) for kind, one in numbers["rivals"].items()} == {
        "maps of other photographs": 4,
        "shifts of it": 15,
        "blob at the centre": 1,
    }
    assert set(numbers["agreement"]) == {"integrated_gradients", "grad_cam", "occlusion"}
    assert path.with_suffix(".png").stat().st_size > 20_000
    code, _, err = script("trust", *argv, "--method", "centre")
    assert code == 2 and "invalid choice: 'centre'" in err
