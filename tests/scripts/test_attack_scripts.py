"""The scripts of attacks, defences and robustness, on an untrained network and a few small pictures."""

import json
from pathlib import Path

import numpy as np
import pytest

import models
import viz
from models.mistakes import UserError
from viz.attacks import scores
from viz.commands import attack, cue_conflict, linear_demo
from viz.linear import linear_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """24 noisy pictures of 32 pixels, a colour for each of the 12 classes of MiniVGG, laid out as a data set."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    lines = ["# label\tfolder\tname\timagenet_indices"]
    for index, label in enumerate(models.build("minivgg", seed=None).labels):
        lines.append(f"{index}\t{label.synset}\t{label}\t{index},{index + 500}")
        for part in ("train", "val"):
            (root / part / label.synset).mkdir(parents=True)
            for n in range(2):
                pixels = np.clip(rng.random((3, 1, 1)) + rng.normal(0, 0.1, (3, 32, 32)), 0, 1)
                models.save_image(pixels, root / part / label.synset / f"{n}.png")
    (root / "classes.txt").write_text("\n".join(lines) + "\n")
    return root


def record(out, beginning):
    """Of the only result whose name begins so."""
    (path,) = out.glob(f"{beginning}*.json")
    return json.loads(path.read_text())


# ---- attack ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def attacked(script, small_weights, photograph, tmp_path):
    """Run attack.py: gives what it printed, its arrays and its numbers."""

    def run(method, *argv):
        code, out, err = script("attack", photograph, "--model", small_weights, "--method", method, *argv)
        assert (code, err) == (0, "")
        path = Path(out.split()[-1])
        assert path.name.startswith(f"attack_my_cat_small_{'church_' if '--target' in argv else ''}{method}")
        with np.load(path.with_suffix(".npz")) as file:
            return {key: file[key] for key in file.files}, json.loads(path.read_text())["numbers"]

    return run


@pytest.mark.parametrize(
    "method, options",
    [
        ("fgsm", []),
        ("fgsm", ["--target", "church"]),
        ("iterative", ["--steps", "3"]),
        ("pgd", ["--steps", "3", "--target", "church"]),
        ("pgd", ["--steps", "3", "--norm", "l2", "--epsilon", "1/2"]),
        ("apgd", ["--steps", "3", "--target", "church"]),
        ("apgd_dlr", ["--steps", "3", "--norm", "l2"]),
        ("square", ["--steps", "4"]),
        ("auto", ["--steps", "1", "--epsilon", "20/255"]),
        ("ascent", ["--target", "church", "--steps", "3"]),
        ("deepfool", ["--steps", "3"]),
        ("cw", ["--steps", "2", "--target", "6"]),
        ("jsma", ["--target", "church"]),
        ("one_pixel", ["--steps", "1", "--pixels", "2"]),
    ],
)
def test_every_method_reports_what_it_saved(attacked, small_weights, tmp_path, method, options):
    arrays, numbers = attacked(method, *options)
    (path,) = (tmp_path / "out").glob("*_adversarial.png")
    saved = models.load_image(path)
    original = models.load_image(path.with_name(path.name.replace("adversarial", "original")))
    np.testing.assert_array_equal(saved, arrays["saved"])
    np.testing.assert_array_equal(original, arrays["image"])
    assert numbers["saved"]["linf"] == pytest.approx(np.abs(saved - original).max(), abs=1e-7)
    z = viz.attacks.scores(models.load(small_weights), saved)[0]
    assert numbers["saved"]["class"] == z.argmax()
    assert numbers["target"] == (6 if "--target" in options else None)


def test_the_budget_holds_after_saving(attacked, tmp_path):
    _, numbers = attacked("pgd", "--steps", "4", "--epsilon", "3/255")
    assert numbers["saved"]["linf"] <= 3 / 255 + 1e-6
    _, numbers = attacked("pgd", "--steps", "4", "--epsilon", "0.3", "--norm", "l2")
    assert numbers["attacked"]["l2"] <= 0.3 + 1e-5


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["--method", "jsma"], "needs a --target"),
        (["--method", "nothing"], "invalid choice: 'nothing'"),
        (["--method", "deepfool", "--target", "zebra"], "takes no --target"),
        (
            ["--method", "auto", "--target", "zebra"],
            "auto takes no --target: it leaves the class by whichever way works",
        ),
        (["--epsilon", "a/0"], "is no distance"),
        (["--epsilon", "-1"], "epsilon must be"),
        (["--target", "xyzzy"], "no class is called"),
    ],
)
def test_mistakes_are_one_sentence(script, photograph, argv, sentence):
    code, _, err = script("attack", photograph, *argv)
    assert code == 2 and sentence in err


# ---- over a folder ---------------------------------------------------------------------------------------------------


def test_photographs_come_evenly_from_the_classes(folder):
    from viz.commands.labelled import labelled_images

    data = labelled_images(folder, (32, 32), 15, 0)
    assert data.images.shape == (15, 3, 32, 32) and data.images.dtype == np.float32
    np.testing.assert_array_equal(np.bincount(data.labels), [2, 2, 2] + [1] * 9)
    assert all(path.parent.parent.name == "val" for path in data.paths)
    assert data.paths == labelled_images(folder, (32, 32), 15, 0).paths
    np.testing.assert_array_equal(data.images[4:5], models.load_image(data.paths[4], (32, 32)))


def test_a_thousand_classes_stand_beside_twelve(folder):
    from viz.commands.labelled import labelled_images, model_for

    data = labelled_images(folder, (32, 32), 12, 0)
    own = models.build("minivgg", seed=0)
    assert model_for(own, data) is own
    many = models.build("squeezenet1_1", seed=0)
    many.labels = None
    with pytest.raises(ValueError, match="no class for the photographs of 'tench'"):
        model_for(many, data)
    many = models.build("squeezenet1_1", seed=0)
    grouped = viz.attacks.scores(model_for(many, data), data.images[:2])
    z = viz.attacks.scores(many, data.images[:2])
    cat = z[:, [2, 502]].max(1)  # no class of ImageNet's is called cat: classes.txt says which are
    np.testing.assert_array_equal(grouped[:, 2], cat)
    np.testing.assert_array_equal(grouped[:, 3], z[:, 340])  # zebra is one of its own classes


def test_universal(script, folder, small_weights, tmp_path):
    argv = ["--data", folder, "--count", "8", "--model", small_weights, "--epochs", "1", "--epsilon", "20/255"]
    code, out, err = script("universal", *argv, "--quiet")
    assert (code, out, err) == (0, "", "")
    numbers = record(tmp_path / "out", "universal_")["numbers"]
    assert numbers["held_out"] == 4 and numbers["linf"] <= 20 / 255 + 1e-6
    assert 0 <= numbers["fooling_rate"] <= 1


def test_linear_demo(script, folder, tmp_path):
    code, _, err = script("linear_demo", "--data", folder, "--sizes", "8", "12", "--epochs", "2", "--quiet")
    assert (code, err) == (0, "")
    rows = record(tmp_path / "out", "linear_demo_")["numbers"]["rows"]
    assert [row["dimensions"] for row in rows] == [192, 432]
    assert all((row["measured_move"] is None) == (row["clean"] == 0) for row in rows)


def test_linear_demo_measures_the_lead_of_what_is_named_right():
    model, rng = linear_classifier((3, 4, 4), 4), np.random.default_rng(0)
    images = rng.random((40, 3, 4, 4), np.float32)
    labels = rng.integers(4, size=40)
    z = scores(model, images)
    right = z.argmax(1) == labels
    numbers, _ = linear_demo.measure(model, images, labels, 1 / 255, rng)
    ranked = np.sort(z[right], 1)
    assert 0 < right.mean() < 1 and numbers["clean"] == right.mean()
    assert numbers["median_lead"] == pytest.approx(np.median(ranked[:, -1] - ranked[:, -2]), rel=1e-5)
    w = model["fc"].weight.numpy()
    first, second = np.argsort(z[right], 1)[:, :-3:-1].T
    moves = abs(w[first] - w[second]).sum(1) / 255
    assert numbers["predicted_move"] == pytest.approx(np.median(moves), rel=1e-5)
    assert numbers["measured_move"] == pytest.approx(numbers["predicted_move"], rel=1e-3)
    assert f"{right.mean():.1%} of 40 new photographs that are named right" in linear_demo.line(numbers)

    numbers, _ = linear_demo.measure(model, images[~right], labels[~right], 1 / 255, rng)
    assert numbers["median_lead"] is numbers["measured_move"] is None and linear_demo.figure([], 1 / 255) is None
    assert "none of" in linear_demo.line(numbers)


@pytest.mark.parametrize(
    "found, saved, said",
    [(1, 1, "succeeds"), (1, 0, "succeeds, but what is left in 8 bits fails"), (0, 0, "fails")],
)
def test_an_attack_says_where_it_failed(found, saved, said):
    assert attack.end({"attacked": {"success": bool(found)}, "saved": {"success": bool(saved)}}) == said


def test_robustness_writes_every_table(script, folder, small_weights, weights, tmp_path):
    argv = ["--data", folder, "--count", "12", "--model", small_weights, "--beside", weights]
    code, out, err = script("robustness", *argv, "--steps", "1", "--samples", "1", "--quiet")
    assert (code, out, err) == (0, "", "")
    for name, heading in (
        ("attacks", "attack"),
        ("defences", "defence"),
        ("transfer", "attacked"),
        ("networks", "model"),
    ):
        (path,) = (tmp_path / "out").glob(f"robustness_*_small_{name}_*.md")
        rows, table = record(tmp_path / "out", path.stem)["numbers"]["rows"], path.read_text().splitlines()
        assert len(table) == len(rows) + 2 and table[0].startswith(f"| {heading} |")
    assert {"small", "random"} <= rows[0].keys() | {row["model"] for row in rows}


def test_robustness_by_the_ensemble(script, folder, small_weights, tmp_path):
    argv = ["--data", folder, "--count", "6", "--model", small_weights, "--tables", "networks", "--attack", "auto"]
    code, out, err = script("robustness", *argv, "--steps", "1", "--queries", "2", "--quiet")
    assert (code, out, err) == (0, "", "")
    (row,) = record(tmp_path / "out", "robustness_")["numbers"]["rows"]
    assert row["auto 4/255"] <= row["clean"] and "pgd-1 4/255" in row


def test_cue_conflict(script, folder, small_weights, tmp_path):
    code, _, err = script(
        "cue_conflict", "--data", folder, "--count", "2", "--model", small_weights, "--steps", "2", "--quiet"
    )
    sentence = "photographs that are named right make 0 pairs: --count is 2"
    assert code == 0 or (code == 2 and sentence in err)  # an untrained network may name everything alike
    if code == 0:
        numbers = record(tmp_path / "out", "cue_conflict_")["numbers"]
        assert numbers["images"] == 2 and numbers["shape"] + numbers["texture"] + numbers["neither"] == 1


def test_cue_conflict_makes_no_picture_twice():
    labels, usable = np.array([0, 0, 1, 1, 2]), np.array([0, 2, 4])  # three photographs, six pairs
    found = cue_conflict.pairs(labels, usable, 6, np.random.default_rng(0))
    assert len({*map(tuple, found.T)}) == 6 and (labels[found[0]] != labels[found[1]]).all()
    with pytest.raises(UserError, match="the 3 photographs that are named right make 6 pairs: --count is 7"):
        cue_conflict.pairs(labels, usable, 7, np.random.default_rng(0))


def test_adversarial_training_goes_on_and_measures(script, folder, small_weights, tmp_path):
    argv = [
        "--data",
        folder,
        "--start",
        small_weights,
        "--epochs",
        "1",
        "--batch-size",
        "12",
        "--sizes",
        "24",
        "--lr",
        "0.001",
    ]
    argv += ["--attack-steps", "1", "--eval-size", "32", "--attacked", "6", "--cache", tmp_path / "cache", "--quiet"]
    code, _, err = script("adversarial_training", *argv, "--model", "minivgg")
    assert (code, err) == (0, "")
    out = tmp_path / "out"
    rows = record(out, "adversarial_training_minivgg_robust_attacked")["numbers"]["rows"]
    assert [row["network"] for row in rows] == ["robust", "before"] and rows[0]["images"] == 6
    trained, before = models.load(out / "minivgg_robust.h5"), models.load(small_weights)
    moved = np.abs(trained["fc7"].weight.numpy() - before["fc7"].weight.numpy()).max()
    assert 0 < moved < 0.1 and trained.labels == before.labels
