"""--device: what it may be, that the whole run is there, that records say so, and that results are the CPU's.

The GPUs are the stand-in's, of which 0 is the current one.
"""

import importlib
import json
import sys

import numpy as np
import pytest
from PIL import Image

import models
from minigrad import autograd, nn
from minigrad.device import to_device
from models.training import Recipe, Trainer
from viz.commands.command import find
from viz.commands.techniques import COMMANDS


@pytest.fixture
def gpus(monkeypatch, standin):
    """The stand-in in CuPy's place; the list of devices on which functions of minigrad then computed."""
    seen, call = [], autograd.Function.__call__

    def noted(function, *inputs):
        output = call(function, *inputs)
        seen.append(output.device)
        return output

    monkeypatch.setattr(autograd.Function, "__call__", noted)
    return seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of the classes of an untrained MiniVGG, a few of each."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for label in models.build("minivgg").labels:
        for part, count in (("train", 3), ("val", 2)):
            (root / part / str(label)).mkdir(parents=True)
            for i in range(count):
                picture = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
                Image.fromarray(picture).save(root / part / str(label) / f"{i}.png")
    return root


def record(out, pattern):
    (path,) = out.glob(f"{pattern}.json")
    return json.loads(path.read_text())


# ---- results are the CPU's -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("saliency", []),
        ("grad_cam", []),
        ("lrp", []),
        ("occlusion", []),
        ("maximize", ["--steps", "3", "--target", "0"]),
        ("attack", ["--target", "6", "--steps", "3"]),
    ],
)
def test_results_are_the_cpus_and_the_record_names_the_gpu(
    name, options, script, small_weights, photograph, tmp_path, gpus
):
    arrays = {}
    for device in ("cpu", "cuda:1"):
        del gpus[:]
        out = tmp_path / device
        image = [] if name == "maximize" else [photograph]
        code, _, errors = script(name, *image, "--model", small_weights, "--device", device, "--out", out, *options)
        assert code == 0, errors
        assert set(gpus) - {device} <= {"cpu"} and device in gpus
        (path,) = out.glob(f"{name}*.npz")
        arrays[device] = dict(np.load(path))
        found = record(out, f"{name}*")["device"]
        assert found["asked"] == found["used"] == device
        assert device == "cpu" or (found["gpu"] == "stand-in for a GPU" and found["memory_pool"]["total_bytes"] > 0)
    for key, expected in arrays["cpu"].items():
        off = np.abs(arrays["cuda:1"][key].astype(float) - expected) / max(np.abs(expected).max(), 1e-12)
        # a few steps of an optimiser multiply what rounding did, and an attack goes by signs, also of what is nearly 0
        off = np.quantile(off, 0.98) if key in ("attacked", "saved") else off.max()
        assert off < 1e-2, (key, off)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("evaluate_attribution", ["--count", 6, "--methods", "saliency", "--noises", 3, "--steps", 3]),
        ("robustness", ["--count", 24, "--steps", 2, "--tables", "defences", "--samples", 1]),
        ("universal", ["--count", 8, "--epochs", 1]),
        ("linear_demo", ["--count", 24, "--sizes", 8, "--epochs", 1]),
    ],
)
def test_scripts_over_photographs_compute_on_the_device(name, options, script, small_weights, folder, tmp_path, gpus):
    model = [] if name == "linear_demo" else ["--model", small_weights]  # which makes its own
    code, _, errors = script(name, "--data", folder, *model, "--device", "cuda:1", *options)
    assert code == 0 or "photographs" in errors, errors  # an untrained network may get none right, or too few
    assert gpus.count("cuda:1") > len(gpus) / 2


def test_sanity_check_on_the_device(script, small_weights, photograph, gpus):
    argv = ("--methods", "saliency,grad_cam", "--model", small_weights, "--device", "cuda:1")
    assert script("sanity_check", photograph, *argv)[0] == 0 and gpus.count("cuda:1") > 100


# ---- names -----------------------------------------------------------------------------------------------------------


def test_auto_is_a_gpu_where_there_is_one(script, photograph, small_weights, tmp_path, gpus, monkeypatch):
    for present, used in ((True, "cuda:0"), (False, "cpu")):
        if not present:
            monkeypatch.setattr(sys.modules["cupy"].cuda.runtime, "getDeviceCount", lambda: 0)
        out = tmp_path / used
        argv = (photograph, "--model", small_weights, "--device", "auto", "--out", out)
        assert script("saliency", *argv)[0] == 0
        found = record(out, "saliency*")
        assert found["device"]["asked"] == "auto" and found["device"]["used"] == used == found["options"]["device"]


def all_scripts():
    """The scripts that take --device and --out; bench has its own test."""
    return sorted({name for name, *_ in COMMANDS.values()} - {"explore"} | {"train", "adversarial_training", "verify"})


@pytest.mark.parametrize("name", all_scripts())
def test_a_wrong_device_is_refused_before_any_work(name, script, tmp_path, gpus):
    options = (find(name) if name in COMMANDS else importlib.import_module(name)).options
    required = [action for action in options._actions if action.required]
    options = [word for action in required for word in (*action.option_strings[:1], "1")]
    for device, sentence in (("tpu", "device is 'tpu': give"), ("cuda:7", "this machine has 2 GPU(s)")):
        code, output, errors = script(name, *options, "--device", device)
        assert code == 2 and output == "" and sentence in errors and errors.count("\n") == 1
    assert not gpus and not (tmp_path / "out").exists()


# ---- training --------------------------------------------------------------------------------------------------------


def trainer(device):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), rng.integers(0, 3, 40)
    layers = {
        "conv1": nn.Conv2d(3, 16, 3, padding=1, bias=False, rng=rng),
        "bn1": nn.BatchNorm2d(16),
        "relu1": nn.ReLU(),
    }
    layers |= {"pool1": nn.MaxPool2d(2), "conv2": nn.Conv2d(16, 16, 3, padding=1, rng=rng), "relu2": nn.ReLU()}
    layers |= {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "drop": nn.Dropout(0.1)}
    model = nn.Sequential(layers | {"fc": nn.Linear(16, 3, rng=rng)})
    recipe = Recipe(epochs=2, batch_size=8, sizes=(12,), lr=0.01)
    return Trainer(model, images, labels, np.arange(40), recipe, device=device)


def run(trainer, steps=None):
    while not trainer.finished:
        for _ in trainer.steps():
            if steps is not None and (steps := steps - 1) == 0:
                return trainer
        trainer.close_epoch()
    return trainer


def state(trainer):
    return {name: np.asarray(getattr(a, "get", lambda a=a: a)()) for name, a in trainer.model.state_dict().items()}


@pytest.mark.parametrize(("first", "second"), [("cuda:1", "cpu"), ("cpu", "cuda:1"), ("cuda:1", "cuda:0")])
def test_a_checkpoint_goes_on_on_another_device(first, second, gpus, tmp_path):
    expected = run(trainer("cpu"))
    run(trainer(first), steps=7).save(tmp_path / "checkpoint.npz")
    resumed = trainer(second)
    resumed.restore(tmp_path / "checkpoint.npz")
    run(resumed)
    assert resumed.device == second and len(resumed.history) == 2
    for mine, cpus in zip(resumed.history, expected.history, strict=True):
        assert mine["loss"] == pytest.approx(cpus["loss"], rel=1e-3)
    for name, array in state(expected).items():
        assert np.linalg.norm(state(resumed)[name] - array) <= 1e-3 * np.linalg.norm(array) + 1e-6, name


def test_losses_are_read_back_every_few_steps(gpus, monkeypatch):
    from tests.standin.array import DeviceArray

    reads = []

    def noting(read):
        return lambda array, *args, **named: (reads.append(array.shape), read(array, *args, **named))[1]

    for name in ("get", "item", "tolist", "__bool__", "__float__", "__int__", "__index__"):  # all wait for the GPU
        if hasattr(DeviceArray, name):
            monkeypatch.setattr(DeviceArray, name, noting(getattr(DeviceArray, name)))
    monkeypatch.setattr("models.training.READ_EVERY", 3)
    running = trainer("cuda:1")
    fresh = [running.up_to_date for _ in running.steps()]
    assert fresh == [False, False, True, False, False]
    assert reads == [(3,), (3,)]  # losses and right answers of three steps, and nothing else in five
    assert running.close_epoch()["accuracy"] >= 0 and len(reads) == 4


def test_a_loss_that_is_not_finite_stops_a_run_on_a_gpu(gpus, tmp_path):
    running = trainer("cuda:1")
    bias = running.model["fc"].bias
    bias.data = to_device(np.full(3, np.nan, np.float32), bias.device)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        run(running, steps=2).save(tmp_path / "checkpoint.npz")
    assert not (tmp_path / "checkpoint.npz").exists()


def test_train_script_writes_the_same_network_from_either_device(script, folder, tmp_path, gpus):
    found = {}
    for device in ("cpu", "cuda:1"):
        out = tmp_path / device
        common = ["--data", folder, "--cache", tmp_path / "cache", "--out", out, "--eval-size", 32, "--batch-size", 12]
        options = ["--epochs", 1, "--sizes", 16, "--device", device, "--quiet", "--model", "minivgg", "--average", 0]
        code, _, errors = script("train", *common, *options)
        assert code == 0, errors
        found[device] = models.load(out / "minivgg.h5").state_dict()
        assert record(out, "train_minivgg_confusion")["device"]["used"] == device
    for name, array in found["cpu"].items():
        assert np.linalg.norm(found["cuda:1"][name] - array) <= 1e-2 * np.linalg.norm(array) + 1e-5, name
