"""Training: the schedule, the average, learning, stopping and going on, and the script as it is run."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import models
from minigrad import nn
from models.augment import Augmentation, Batch
from models.dataset import open_photographs
from models.running_average import RunningAverage
from models.training import Recipe, Trainer, confusion, one_cycle, probabilities
from viz.commands import progress

ROOT = Path(__file__).parents[2]
GENTLE = Augmentation(area=(0.8, 1.0), brightness=0.1, contrast=0.1, saturation=0.1)


def shape(kind, rng, side=24):
    """A disc, a square or a cross of any colour, somewhere on any other colour."""
    dark, light = rng.integers(0, 100, 3), rng.integers(156, 256, 3)
    colours = [tuple(dark), tuple(light)] if rng.random() < 0.5 else [tuple(light), tuple(dark)]
    image = Image.new("RGB", (side, side), tuple(map(int, colours[0])))
    draw, ink = ImageDraw.Draw(image), tuple(map(int, colours[1]))
    r = rng.uniform(0.2, 0.35) * side
    x, y = rng.uniform(r, side - r, 2)
    if kind == 0:
        draw.ellipse((x - r, y - r, x + r, y + r), ink)
    elif kind == 1:
        draw.rectangle((x - 0.85 * r, y - 0.85 * r, x + 0.85 * r, y + 0.85 * r), ink)
    else:
        draw.line((x - r, y, x + r, y), ink, 3)
        draw.line((x, y - r, x, y + r), ink, 3)
    return image


@pytest.fixture(scope="module")
def shapes():
    rng = np.random.default_rng(0)
    labels = np.arange(360) % 3
    return np.stack([np.asarray(shape(label, rng)) for label in labels]), labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(1)
    for label, name in enumerate(("disc", "square", "cross")):
        (root / "set" / name).mkdir(parents=True)
        for i in range(20):
            shape(label, rng).save(root / "set" / name / f"{i}.png")
    return root


def network():
    rng = np.random.default_rng(0)
    layers = {
        "conv1": nn.Conv2d(3, 16, 3, padding=1, bias=False, rng=rng),
        "bn1": nn.BatchNorm2d(16),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(16, 32, 3, padding=1, bias=False, rng=rng),
        "bn2": nn.BatchNorm2d(32),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "conv3": nn.Conv2d(32, 32, 3, padding=1, bias=False, rng=rng),
        "bn3": nn.BatchNorm2d(32),
        "relu3": nn.ReLU(),
        "gap": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "drop": nn.Dropout(0.1),
        "fc": nn.Linear(32, 3, rng=rng),
    }
    return nn.Sequential(layers)


def run(trainer, steps=None):
    """To the end, or for so many steps."""
    while not trainer.finished:
        for _ in trainer.steps():
            if steps is not None and (steps := steps - 1) == 0:
                return
        trainer.close_epoch()


# ---------------------------------------------------------------- parts


def test_learning_rate_rises_and_falls():
    rates = [one_cycle(step, 1000, peak=0.1, warmup=0.2) for step in range(1000)]
    assert rates[0] == pytest.approx(0.004) and rates[100] == pytest.approx(0.052)
    assert max(rates) == rates[200] == pytest.approx(0.1)
    assert rates[600] == pytest.approx(0.05, rel=0.01) and rates[-1] == pytest.approx(1e-4)
    assert np.all(np.diff(rates[:201]) > 0) and np.all(np.diff(rates[200:]) < 0)
    assert one_cycle(0, 1, peak=0.1, warmup=0) == pytest.approx(0.1)


def test_sizes_are_spread_over_the_epochs():
    recipe = Recipe(epochs=7, sizes=(16, 24, 32))
    assert [recipe.size(epoch) for epoch in range(7)] == [16, 16, 16, 24, 24, 32, 32]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"epochs": 0}, "epochs must be"),
        ({"batch_size": 1}, "batch size"),
        ({"sizes": (0,)}, "sizes must be"),
        ({"epochs": 2}, "4 sizes do not fit into 2 epochs"),
        ({"lr": -1.0}, "learning rate"),
        ({"warmup": 1.0}, "warmup"),
        ({"label_smoothing": 1.0}, "label smoothing"),
        ({"average": 1.0}, "decay"),
        ({"augmentation": Augmentation(area=(0, 1))}, "area"),
        ({"augmentation": Augmentation(unresized=2)}, "unresized crops"),
        ({"cutmix": 1.5}, "cutmix"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(Recipe(), **change)


def test_running_average_follows_its_formula():
    average = RunningAverage({"w": np.float32([1.0])}, decay=0.5)
    expected = 1.0
    for step, value in enumerate([3.0, -2.0, 8.0, 4.0, 0.0, 1.0, 7.0, 9.0, 5.0], 1):
        average.update({"w": np.float32([value])})
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert average.state["w"][0] == pytest.approx(expected, rel=1e-5)
    assert average.state["w"].dtype == np.float32


def test_counts_are_not_averaged():
    average = RunningAverage({"batches": np.array(3)}, decay=0.5)
    average.update({"batches": np.array(8)})
    assert average.state["batches"] == 8


def test_confusion_counts_true_rows_and_predicted_columns():
    counts = confusion(np.array([0, 1, 1, 2, 0]), np.array([0, 1, 0, 2, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_probabilities_can_be_averaged_with_the_mirror_image(shapes):
    images, _ = shapes
    model, members = network(), np.array([5, 2, 9])
    plain = probabilities(model, images, members, 24, batch_size=2)
    assert plain.shape == (3, 3) and np.allclose(plain.sum(1), 1, atol=1e-6)
    mirrored = probabilities(model, images[:, :, ::-1], members, 24)
    both = probabilities(model, images, members, 24, flip=True)
    assert np.allclose(both, (plain + mirrored) / 2, atol=1e-6)


# ---------------------------------------------------------------- the loop


def test_it_learns(shapes):
    images, labels = shapes
    recipe = Recipe(epochs=12, batch_size=20, sizes=(16, 24), lr=0.1, average=0.9, augmentation=GENTLE)
    train, val = np.arange(240), np.arange(240, 360)

    def evaluate(model):
        return {"val_accuracy": float((probabilities(model, images, val, 24).argmax(1) == labels[val]).mean())}

    trainer = Trainer(network(), images, labels, train, recipe, evaluate, evaluate_every=6)
    run(trainer)
    history = trainer.history
    assert [entry["epoch"] for entry in history] == list(range(1, 13))
    assert [entry["size"] for entry in history] == [16] * 6 + [24] * 6
    assert [entry["epoch"] for entry in history if "val_accuracy" in entry] == [6, 12]
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["val_accuracy"] > 0.9  # chance is 1/3


@pytest.mark.parametrize("steps", [1, 4, 6])  # within an epoch, at its end, and in the next
@pytest.mark.parametrize("mixed", [0, 0.5])
def test_a_stopped_run_ends_with_the_same_weights_bit_for_bit(shapes, tmp_path, steps, mixed):
    images, labels = shapes
    crops = replace(GENTLE, unresized=mixed)
    recipe = Recipe(epochs=3, batch_size=16, sizes=(12, 16), augmentation=crops, seed=7, cutmix=mixed)
    members = np.arange(70)

    def trainer():
        return Trainer(network(), images, labels, members, recipe)

    whole = trainer()
    run(whole)
    first = trainer()
    run(first, steps)
    first.save(tmp_path / "checkpoint.npz")
    second = trainer()
    second.restore(tmp_path / "checkpoint.npz")
    run(second)

    assert second.finished
    for name, array in whole.model.state_dict().items():
        assert np.array_equal(array, second.model.state_dict()[name]), name
        assert np.array_equal(whole.average.state[name], second.average.state[name]), name
    assert [e["loss"] for e in second.history] == [e["loss"] for e in whole.history]
    assert not np.array_equal(whole.model.state_dict()["fc.weight"], network().state_dict()["fc.weight"])


def test_the_loss_of_mixed_views_is_the_classes_by_their_shares(shapes):
    images, labels = shapes
    recipe = Recipe(epochs=1, batch_size=8, sizes=(8,), label_smoothing=0, dropout=0)
    losses = []
    for one, other, share in ((0, 0, 1.0), (1, 1, 1.0), (0, 1, 0.75)):
        trainer = Trainer(network(), images, labels, np.arange(8), recipe)
        full = [np.full(8, label) for label in (one, other)]
        trainer._step(Batch(images[:8, :8, :8], *full, share))
        losses.append(trainer.sums.loss)
    assert losses[2] == pytest.approx(0.75 * losses[0] + 0.25 * losses[1], rel=1e-5)


def test_only_weights_decay(shapes):
    images, labels = shapes
    recipe = Recipe(epochs=1, batch_size=8, sizes=(8,), weight_decay=0.1)
    decaying, plain = Trainer(network(), images, labels, np.arange(8), recipe).optimizers
    assert {p.ndim for p in decaying.params} == {2, 4} and decaying.weight_decay == 0.1
    assert {p.ndim for p in plain.params} == {1} and plain.weight_decay == 0


def test_a_checkpoint_of_another_run_is_refused(shapes, tmp_path):
    images, labels = shapes
    recipe = Recipe(epochs=2, sizes=(8,), batch_size=8)
    path = tmp_path / "checkpoint.npz"
    Trainer(network(), images, labels, np.arange(20), recipe).save(path)
    with pytest.raises(ValueError, match=r"another run \(it differs in lr, seed\)"):
        Trainer(network(), images, labels, np.arange(20), replace(recipe, lr=0.2, seed=3)).restore(path)
    with pytest.raises(ValueError, match=r"differs in photographs"):
        Trainer(network(), images, labels, np.arange(21), recipe).restore(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="no checkpoint of this program, or is damaged"):
        Trainer(network(), images, labels, np.arange(20), recipe).restore(path)


def test_a_loss_that_is_not_finite_stops_the_run(shapes):
    images, labels = shapes
    recipe = Recipe(epochs=2, sizes=(8,), batch_size=8, lr=1e30, warmup=0)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="lower the learning rate"):
        run(Trainer(network(), images, labels, np.arange(64), recipe))


def test_freed_memory_is_kept_once_asked_for():
    code = """
import resource, numpy as np
from models.memory import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(8 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after <= before / 4 or before < 20  # where it makes a difference at all: glibc


# ---------------------------------------------------------------- the script


def command(folder, out, *options):
    """The arguments that train on the folder, at most at 32 px."""
    common = ["--data", folder / "set", "--cache", folder / "cache", "--out", out]
    return [str(part) for part in (*common, "--eval-size", 32, "--batch-size", 12, *options)]


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs scripts/train.py in this process; gives its exit code, output and errors."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import train

    from viz.commands.command import main

    def run(*arguments):
        code = main("train", train.options, train.run, command(*arguments))
        return code, *capsys.readouterr()

    return run


def test_the_script_writes_weights_curve_matrix_and_records(script, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(progress.as_lines, "__defaults__", (0.0,))  # every state of the bar, not one a half minute
    code, output, errors = script(folder, tmp_path, "--epochs", 2, "--sizes", "16,24", "--seed", 3, "--half")
    assert code == 0, errors
    assert "epoch 2/2 at 24 px" in errors and "images/s" in errors
    assert output.splitlines()[-1].startswith(f"{(top1 := record(tmp_path)['validation']['top1']):.2%} of 12")
    numbers = record(tmp_path)
    assert numbers["photographs"] == {"training": 48, "validation": 12} and numbers["seed"] == 3
    assert set(numbers["classes"]) == {"cross", "disc", "square"}
    assert "--epochs 2 --sizes 16,24" in numbers["command"] and numbers["versions"]["numpy"] == np.__version__
    log = [json.loads(line) for line in (tmp_path / "train_minivgg_log.jsonl").read_text().splitlines()]
    assert [entry["size"] for entry in log] == [16, 24] and log[1]["val_loss"] > 0
    for name in ("curve", "confusion"):
        with Image.open(tmp_path / f"train_minivgg_{name}.png") as figure:
            assert np.asarray(figure.convert("L")).std() > 10

    model = models.load(tmp_path / "minivgg.h5")
    assert model.labels == ("cross", "disc", "square") and model.input_size == (32, 32)
    assert not any("bn" in name for name in model.names())
    assert model.provenance["validation"]["top1"] == top1
    photographs = open_photographs(folder / "set", 32, folder / "cache")
    held_out = photographs.split(seed=3)[1]
    guessed = probabilities(model, photographs.images, held_out, 32).argmax(1)
    counts = confusion(guessed, photographs.labels[held_out], 3)
    assert np.array_equal(counts, np.load(tmp_path / "train_minivgg_confusion.npz")["confusion"])
    assert counts.trace() / 12 == top1


def test_a_run_may_begin_with_trained_weights_and_with_mixed_and_sharp_views(script, folder, tmp_path):
    short = ("--epochs", 1, "--sizes", 16, "--quiet")
    assert script(folder, tmp_path / "new", *short, "--seed", 4)[0] == 0
    assert record(tmp_path / "new")["start"] == "He initialisation, seed 4"
    first = tmp_path / "new" / "minivgg.h5"
    options = ("--start", first, "--lr", 1e-9, "--cutmix", 0.5, "--unresized", 0.25)
    code, _, errors = script(folder, tmp_path, *short, *options)
    assert code == 0, errors
    numbers, before = record(tmp_path), models.load(first)
    assert numbers["start"] == before.provenance["weights_sha256"]
    assert numbers["recipe"]["cutmix"] == 0.5 and numbers["recipe"]["augmentation"]["unresized"] == 0.25
    after = models.load(tmp_path / "minivgg.h5").state_dict()
    assert all(np.allclose(array, after[name], atol=1e-6) for name, array in before.state_dict().items())
    code, _, errors = script(folder, tmp_path / "other", *short, "--start", "minivgg")
    assert code == 2 and "--start minivgg has 12 classes, the photographs have 3" in errors


def record(out):
    return json.loads((out / "train_minivgg_confusion.json").read_text())["numbers"]


# The script gets SIGINT as it writes its log after the first epoch, however quick it is.
STOPPED = """
import os, runpy, signal, sys

def stop(event, arguments, sent=[]):
    if event == "os.rename" and str(arguments[1]).endswith("_log.jsonl") and not sent:
        sent.append(os.kill(os.getpid(), signal.SIGINT))

sys.addaudithook(stop)
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_ctrl_c_saves_and_the_same_command_goes_on(script, folder, tmp_path):
    options = ("--epochs", 5, "--sizes", 16, "--eval-every", 5, "--quiet")
    assert script(folder, tmp_path / "whole", *options) == (0, "", "")

    arguments = [sys.executable, "-c", STOPPED, "scripts/train.py", *command(folder, tmp_path / "parts", *options)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 130 and "the same command goes on" in done.stdout and done.stderr == ""
    log = tmp_path / "parts/train_minivgg_log.jsonl"
    assert len(log.read_text().splitlines()) == 1 and not (tmp_path / "parts/minivgg.h5").exists()

    code, _, errors = script(folder, tmp_path / "parts", *options, "--lr", 0.2)
    assert code == 2 and "is of another run (it differs in lr)" in errors
    assert script(folder, tmp_path / "parts", *options) == (0, "", "")
    whole, parts = (models.load(tmp_path / name / "minivgg.h5").state_dict() for name in ("whole", "parts"))
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--data", "/nowhere"], "does not exist"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--sizes", "64,large"], "no list of numbers"),
        (["--model", "resnet"], "there is no model 'resnet'"),
        (["--held-out", "1.5"], "held out"),
        (["--eval-every", "0"], "--eval-every"),
        (["--checkpoint-every", "0"], "--checkpoint-every must be at least 1, got 0"),
        (["--sizes", "8", "--eval-size", "8"], "minivgg takes images from 16 px (--sizes, --eval-size), got 8"),
        (["--sizes", "16", "--model", "vgg11_features"], "takes images from 32 px"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_sentence(script, folder, tmp_path, options, sentence):
    code, output, errors = script(folder, tmp_path, "--quiet", *options)
    assert code == 2 and output == ""
    assert errors.startswith("train: ") and sentence in errors and errors.count("\n") == 1


def test_options_added_for_one_script_are_not_the_others(script):
    import train

    train.course_options("Another course.", "python scripts/other.py").add_argument("--extra")
    more = train.course_options("A third.", "python scripts/third.py")
    more.add_argument("--extra")  # a conflict, were they one parser
    assert "--extra" in more.format_help() and "--extra" not in train.options.format_help()
    assert "path of a weights file" not in train.options.format_help()  # training begins with new weights


def test_a_single_validation_shows_in_the_curve(script):
    import train

    history = [{"epoch": e, "size": 16, "loss": 1.0, "accuracy": 0.5} for e in (1, 2)]
    history[1] |= {"val_loss": 1.2, "val_accuracy": 0.4}
    for axes in train.training_curve(history).axes:
        (line,) = (line for line in axes.lines if line.get_label() == "validation")
        assert len(line.get_xdata()) == 1 and line.get_marker() == "o"
