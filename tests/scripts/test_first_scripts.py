"""classify, saliency, grad_cam and compare write what models and viz compute, for what the command line asked."""

import json
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import models
import viz
from models.known import Known


@pytest.fixture(scope="module")
def model(weights):
    return models.load(weights).requires_grad_(False)  # frozen, as the scripts have it: to the same bits


@pytest.fixture(scope="module")
def image(model, photograph):
    return models.load_image(photograph, model.input_size)


@pytest.fixture(scope="module")
def probabilities(model, image):
    with mg.no_grad():
        scores = model(mg.Tensor(image)).numpy()[0].astype(np.float64)
    return np.exp(scores) / np.exp(scores).sum()


@pytest.fixture
def written(script, photograph, tmp_path):
    """Run a script on the photograph; gives its arrays and its record."""

    def run(name, *argv):
        code, out, err = script(name, photograph, *argv)
        assert (code, err) == (0, "")
        path = Path(out.split(" -> ")[1].split()[-1])
        assert path.parent == tmp_path / "out" and path.name.startswith(f"{name}_my_cat")
        with np.load(path.with_suffix(".npz")) as file:
            return {key: file[key] for key in file.files}, json.loads(path.read_text())

    return run


def test_classify(written, model, image, probabilities):
    arrays, record = written("classify", "--top", "3")
    np.testing.assert_allclose(arrays["probabilities"], probabilities, rtol=1e-5)
    assert np.array_equal(arrays["image"], image)
    top = record["numbers"]["top"]
    assert [entry["class"] for entry in top] == list(np.argsort(-probabilities)[:3])
    assert [entry["name"] for entry in top] == [str(model.labels[entry["class"]]) for entry in top]
    np.testing.assert_allclose([entry["p"] for entry in top], sorted(probabilities)[:-4:-1], rtol=1e-5)


@pytest.mark.parametrize("means", [True, False])
@pytest.mark.parametrize("least, said", [(0.9999, True), (0.0, False)])
def test_classify_says_what_is_none_of_its_classes(script, photograph, model, tmp_path, least, said, means):
    other = model.replace(dict(model.children()))
    other.provenance = model.provenance | {"known": least}
    other.known = Known("gap", np.eye(12, 384), least) if means else None
    models.save_weights(other, tmp_path / "other.h5")
    code, out, _ = script("classify", photograph, "--model", tmp_path / "other.h5")
    assert code == 0 and ("; probably none of what minivgg knows" in out) == said


def test_imagenet_networks_see_the_customary_crop(script, tmp_path):
    """The centre 227 pixels of 256; all of a picture of 227 pixels."""
    models.save_weights(models.build("squeezenet1_1", seed=0), tmp_path / "s.h5")
    for side, crop in ((320, {"short_side": 256}), (227, {})):
        models.save_image(np.random.default_rng(0).random((3, side, side)), tmp_path / f"{side}.png")
        assert script("classify", tmp_path / f"{side}.png", "--model", tmp_path / "s.h5")[0] == 0
        with np.load(tmp_path / "out" / f"classify_{side}_s.npz") as file:
            assert np.array_equal(file["image"], models.load_image(tmp_path / f"{side}.png", 227, **crop))


def test_classify_shows_at_least_one_class(script):
    code, _, err = script("classify", "--top", "0")
    assert code == 2 and "--top must be at least 1" in err


def test_saliency_of_the_top_class_and_of_another(written, model, image, probabilities):
    arrays, record = written("saliency")
    assert record["target"]["index"] == probabilities.argmax()
    np.testing.assert_array_equal(arrays["map"], viz.saliency(model, image, int(probabilities.argmax())))
    arrays, _ = written("saliency", "--target", "zebra", "--reduce", "l2")
    np.testing.assert_array_equal(arrays["map"], viz.saliency(model, image, "zebra", reduce="l2"))


def test_results_for_one_class_do_not_replace_those_for_another(script, photograph, tmp_path):
    for target in (None, "cat", "3", "cat-zebra", "relu2_1", "relu2_1:3", "relu2_1:3,0,5"):
        assert script("saliency", photograph, *[f"--target={target}"] if target else [])[0] == 0
    names = {path.stem.removeprefix("saliency_my_cat_random") for path in (tmp_path / "out").iterdir()}
    assert names == {"", "_cat", "_zebra", "_cat-zebra", "_relu2_1", "_relu2_1_3", "_relu2_1_3-0-5"}


def test_saliency_of_a_channel_and_of_a_neuron(written, model, image):
    for text, unit in (("3", (3,)), ("3,0,5", (3, 0, 5))):
        arrays, record = written("saliency", "--target", f"relu2_1:{text}")
        np.testing.assert_array_equal(arrays["map"], viz.saliency(model, image, layer="relu2_1", unit=unit))
        assert record["target"] is None


def test_grad_cam(written, model, image):
    arrays, record = written("grad_cam", "--target", "cat", "--signed", "--layer", "relu4_1")
    chosen = {"layer": "relu4_1", "signed": True}
    np.testing.assert_array_equal(arrays["map"], viz.grad_cam(model, image, "cat", **chosen))
    np.testing.assert_array_equal(arrays["map_of_layer"], viz.grad_cam(model, image, "cat", **chosen, upsample=False))
    assert record["numbers"]["layer"] == "relu4_1" and arrays["map"].min() < 0

    arrays, record = written("grad_cam", "--target", "cat", "--counterfactual")
    np.testing.assert_array_equal(arrays["map"], viz.grad_cam(model, image, "cat", counterfactual=True))
    assert record["numbers"]["layer"] == viz.default_layer(model)


def test_saliency_of_a_contrast(written, model, image):
    arrays, record = written("saliency", "--target", "cat-zebra")
    np.testing.assert_array_equal(arrays["map"], viz.saliency(model, image, viz.Contrast("cat", "zebra")))
    assert record["target"] == {"index": [2, 3], "name": "cat less zebra"}
    arrays, _ = written("compare", "--methods", "saliency", "--targets", "cat-zebra,cat")
    np.testing.assert_array_equal(arrays["map_2-3_saliency"], viz.saliency(model, image, viz.Contrast(2, 3))[0])


@pytest.mark.parametrize(
    "name, old, new",
    [
        ("saliency", ["--layer", "relu2_1", "--unit", "3"], ["--target", "relu2_1:3"]),
        ("activations", ["--count", "2"], ["--top", "2"]),
    ],
)
def test_old_spellings_do_the_same_and_say_so(script, photograph, tmp_path, name, old, new):
    said = [script(name, photograph, *words, "--out", tmp_path / words[0]) for words in (old, new)]
    assert [code for code, *_ in said] == [0, 0] and said[1][2] == ""
    assert said[0][2].startswith(f"{name}: warning: ") and said[0][2].count("\n") == 1
    arrays = [next((tmp_path / words[0]).glob("*.npz")).read_bytes() for words in (old, new)]
    assert arrays[0] == arrays[1]


def test_compare(written, model, image, probabilities):
    arrays, record = written("compare", "--methods", "saliency,guided_backprop", "--targets", "cat, 3")
    assert set(arrays) == {"image", *(f"map_{c}_{m}" for c in (2, 3) for m in ("saliency", "guided_backprop"))}
    np.testing.assert_array_equal(arrays["map_2_saliency"], viz.saliency(model, image, "cat")[0])
    np.testing.assert_array_equal(arrays["map_3_guided_backprop"], viz.guided_backprop(model, image, "zebra")[0].sum(0))
    assert record["numbers"]["probabilities"] == pytest.approx(
        {"cat": probabilities[2], "zebra": probabilities[3]}, rel=1e-5
    )


def test_compare_shows_why_a_method_does_not_apply(written, script, photograph, monkeypatch):
    def refuse(*_, **__):
        return viz.objective.score(None, None, target=1, layer="relu1")  # raises in viz, in a sentence

    monkeypatch.setattr(viz, "guided_backprop", refuse)
    arrays, record = written("compare", "--methods", "saliency,guided_backprop", "--targets", "cat")
    assert set(arrays) == {"image", "map_2_saliency"}
    assert "not both" in record["numbers"]["refused"]["guided_backprop"]
    code, _, err = script("compare", photograph, "--methods", "guided_backprop")
    assert code == 2 and "not both" in err and err.count("\n") == 1


def test_compare_takes_the_top_two_classes(written, probabilities):
    arrays, _ = written("compare", "--methods", "saliency")
    first, second = np.argsort(-probabilities)[:2]
    assert list(arrays) == ["image", f"map_{first}_saliency", f"map_{second}_saliency"]


def test_compare_knows_its_methods(script):
    code, _, err = script("compare", "--methods", "saliency,entrails")
    assert code == 2 and "there is no method 'entrails'; the methods are: saliency," in err


def test_every_method_that_compare_offers_exists():
    from viz.commands import attribution, compare

    assert [name for name in attribution.COMMANDS if not callable(getattr(viz, name, None))] == []
    assert set(compare.COARSE) < set(attribution.COMMANDS)
