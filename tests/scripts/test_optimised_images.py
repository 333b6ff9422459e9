"""The scripts of section 4 and 6, on an untrained network and very few steps: what they write, and what they refuse."""

import json

import numpy as np
import pytest
from PIL import Image

import models
import viz
from minigrad import functional as F
from viz.target import as_image, logits


def read(folder, beginning):
    """(record, arrays) of the only result whose name begins so."""
    (path,) = folder.glob(f"{beginning}*.json")
    with np.load(path.with_suffix(".npz")) as arrays:
        return json.loads(path.read_text()), dict(arrays)


def probability(model, picture, target):
    return float(F.softmax(logits(model, as_image(model, picture)), 1).numpy()[0, target])


def test_maximize_scores_the_picture_it_saved(script, weights, tmp_path):
    code, out, err = script("maximize", "--targets", "cat,zebra", "--size", 32, "--steps", 3, "--gif", 1)
    assert code == 0, err
    record, arrays = read(tmp_path / "out", "maximize_random_cat_zebra")
    model, stem = models.load(weights), record["files"][0].removesuffix(".png")
    for i, name in enumerate(("cat", "zebra")):
        target = models.find_class(model, name)
        saved = models.load_image(tmp_path / "out" / f"{stem}_{i}.png")
        before, after = record["numbers"]["probabilities"][name], record["numbers"]["probabilities_saved"][name]
        assert after == pytest.approx(probability(model, saved, target), rel=1e-5)
        assert before == pytest.approx(probability(model, arrays["result"][i : i + 1], target), rel=1e-5)
    with Image.open(tmp_path / "out" / f"{stem}.gif") as gif:
        assert gif.n_frames == 4 and gif.size == (64, 32)


def test_maximize_takes_contrasts_beside_classes(script, weights, tmp_path):
    code, out, err = script("maximize", "--targets", "cat,cat-zebra", "--size", 32, "--steps", 3)
    assert code == 0, err
    record, arrays = read(tmp_path / "out", "maximize_random_cat_cat-zebra")
    model = models.load(weights)
    cat, zebra = (models.find_class(model, name) for name in ("cat", "zebra"))
    objective = viz.class_score(cat) - viz.class_score(zebra)
    how = {"parameterization": "fourier", "lr": 0.05, "transforms": viz.robust()}
    alone = viz.maximize(model, [viz.class_score(cat), objective], size=32, steps=3, **how)
    np.testing.assert_allclose(arrays["result"], alone.image, atol=1e-5)
    both = record["numbers"]["probabilities"]["cat less zebra"]
    wanted = [probability(model, arrays["result"][1:], target) for target in (cat, zebra)]
    assert both == pytest.approx(wanted, rel=1e-4) and "cat less zebra (p = " in out


def test_maximize_as_the_blog_leaves_preprocessing_out(script, weights, tmp_path):
    code, _, err = script("maximize", "--preset", "blog", "--target", "zebra", "--size", 32, "--steps", 2, "--seed", 5)
    assert code == 0, err
    record, arrays = read(tmp_path / "out", "maximize_random_zebra_")
    model = models.load(weights)
    wanted = viz.maximize_as_blog(model, "zebra", size=(32, 32), steps=2, tv_steps=2, seed=5)
    np.testing.assert_allclose(arrays["result"], wanted.image, atol=1e-6)
    network, target = viz.without_preprocessing(model), models.find_class(model, "zebra")
    assert record["numbers"]["probabilities"]["zebra"] == pytest.approx(
        probability(network, wanted.image, target), rel=1e-4
    )
    low, high = record["numbers"]["range"]
    picture = low + models.load_image(tmp_path / "out" / record["files"][1]) * (high - low)
    np.testing.assert_allclose(picture, wanted.image, atol=(high - low) / 255)
    assert record["numbers"]["probabilities_saved"]["zebra"] == pytest.approx(
        probability(network, picture.astype(np.float32), target), rel=1e-4
    )


@pytest.mark.parametrize(
    "options, subject",
    [
        (["--target", "relu3_1:4"], "relu3_1_4"),
        (["--target", "relu3_1:4", "--centre"], "relu3_1_4"),
        (["--target", "conv3_1:4,0,1", "--optimizer", "lbfgs"], "conv3_1_4-0-1"),
        (["--target", "cat-zebra"], "cat-zebra"),
        (["--target", "relu2_1", "--preset", "fourier"], "relu2_1_preset-fourier"),
        (
            [
                "--target",
                "cat",
                "--l2-weight",
                "0.1",
                "--tv-weight",
                "0.1",
                "--clip-norm",
                "10",
                "--clip-contribution",
                "10",
            ],
            "cat",
        ),
    ],
)
def test_what_can_be_maximised(script, tmp_path, options, subject):
    code, out, err = script("maximize", *options, "--size", 32, "--steps", 2)
    assert code == 0, err
    record, arrays = read(tmp_path / "out", f"maximize_random_{subject}_")
    assert arrays["result"].shape == (1, 3, 32, 32) and len(arrays["loss_objective"]) == 3


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("maximize", [], "--targets"),
        ("maximize", ["--targets", "cat,relu3_1:5"], "--targets are classes or contrasts of two, relu3_1 is a layer"),
        ("maximize", ["--targets", "cat-zebra,cat - zebra"], "the class 'cat less zebra' is named twice"),
        ("maximize", ["--target", "cat-zebra", "--preset", "blog"], "the blog's recipe is for classes"),
        ("maximize", ["--target", "cat", "--targets", "zebra"], "--target or --targets, not both"),
        ("maximize", ["--target", "cat", "--centre"], "--centre"),
        ("maximize", ["--target", "cat", "--preset", "blog", "--lr", "2"], "no --lr"),
        ("maximize", ["--target", "relu1_1", "--preset", "blog"], "for classes"),
        ("maximize", ["--target", "cat", "--optimizer", "lbfgs", "--blur", "1"], "lbfgs"),
        ("maximize", ["--target", "cat", "--gif", "-1"], "--gif"),
        ("dream", ["--unit", "3"], "--layer"),
        ("dream", ["--octave-scale", "1"], "--octave-scale must be above 1"),
        ("texture", ["--size", "3"], "--size must be from 16 to 8192"),
        ("invert", ["--layers", "relu9_9"], "no layer 'relu9_9'"),
        ("style_transfer", [], "--style"),
    ],
)
def test_mistakes_are_one_sentence(script, photograph, name, options, message):
    image = [] if name == "maximize" else [photograph]
    code, _, err = script(name, *image, *options)
    assert code == 2 and message in err and err.count("\n") == 1


def test_dream(script, photograph, tmp_path):
    options = ["--size", 64, "--steps", 2, "--octaves", 2, "--jitter", 4, "--gif", 1, "--target", "relu2_1"]
    code, out, err = script("dream", photograph, *options)
    assert code == 0, err
    record, arrays = read(tmp_path / "out", "dream_my_cat_random_relu2_1")
    assert arrays["result"].shape == (1, 3, 41, 64) and len(arrays["loss_objective"]) == 5
    objective = record["numbers"]["objective"]
    assert objective[4] > objective[2] and f"{objective[4]:.4g}" in out


def test_invert(script, photograph, tmp_path):
    code, out, err = script("invert", photograph, "--size", 32, "--steps", 5, "--layers", "relu1_1,relu2_1")
    assert code == 0, err
    record, arrays = read(tmp_path / "out", "invert_my_cat_random")
    assert (
        set(arrays) == {"image", "result_relu1_1", "result_relu2_1"}
        and 0 < record["numbers"]["features"]["relu1_1"] < 1
    )


def test_reconstruct_content(script, photograph, tmp_path):
    layers = ["--layers", "relu1_1,relu2_1", "--size", 32, "--steps", 4]
    for together, images in (("_together", ["relu1_1, relu2_1"]), ("_size", ["relu1_1", "relu2_1"])):
        options = ["--together"] if together == "_together" else []
        code, out, err = script("reconstruct_content", photograph, *layers, *options)
        assert code == 0, err
        record, arrays = read(tmp_path / "out", f"reconstruct_content_my_cat_random_layers-relu1_1_relu2_1{together}")
        assert set(arrays) == {"image", *(f"result_{name}" for name in images)}
        assert all(last < first for first, last in record["numbers"].values())


def test_style_transfer(script, photograph, tmp_path):
    options = ["--style", photograph, photograph, "--blend", 1, 2, "--size", 32, "--steps", 3, "--start", "noise"]
    code, out, err = script("style_transfer", photograph, *options, "--original-colours", "--average-pooling")
    assert code == 0, err
    record, arrays = read(tmp_path / "out", "style_transfer_my_cat_random")
    assert record["numbers"]["style"]["last"] < record["numbers"]["style"]["first"]
    assert set(arrays) == {"image", "result", "loss_content", "loss_style"} and arrays["result"].shape == (1, 3, 21, 32)


def test_style_transfer_begins_at_half_the_size(script, weights, tmp_path):
    """With layers that weigh alike, unless it is told otherwise."""
    models.save_image(np.random.default_rng(0).random((3, 128, 128), np.float32), tmp_path / "large.png")
    models.save_image(np.random.default_rng(1).random((3, 128, 128), np.float32), tmp_path / "painting.png")
    layers, found = ["relu1_1", "relu2_1"], []
    for options in ([], ["--scales", 1, "--layer-weights", 0.1, 0.2]):
        args = ["--style", tmp_path / "painting.png", "--size", 128, "--style-layers", ",".join(layers), *options]
        out = tmp_path / f"out{len(found)}"
        code, _, err = script("style_transfer", tmp_path / "large.png", *args, "--steps", 2, "--out", out)
        assert code == 0, err
        found.append(read(out, "style_transfer_large_random"))
    (usual, usually), (told, alone) = found
    content, style = (models.load_image(tmp_path / name) for name in ("large.png", "painting.png"))
    given = {"style_layers": layers, "steps": 2, "average_pooling": None, "layer_weights": "balanced"}
    by_viz = viz.style_coarse_to_fine(models.load(weights), content, style, **given)
    np.testing.assert_allclose(usually["result"], by_viz.image, atol=2e-3)
    assert usual["settings"]["layer_weights"] == pytest.approx(by_viz.settings["layer_weights"], rel=0.01)
    assert told["settings"]["layer_weights"] == [0.1, 0.2]
    assert abs(usually["result"] - alone["result"]).mean() > 0.01


def test_texture(script, photograph, tmp_path):
    code, out, err = script("texture", photograph, "--size", 32, "--width", 40, "--height", 24, "--steps", 3)
    assert code == 0, err
    _, arrays = read(tmp_path / "out", "texture_my_cat_random")
    assert arrays["result"].shape == (1, 3, 24, 40) and arrays["loss_style"][-1] < arrays["loss_style"][0]
