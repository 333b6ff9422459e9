"""The benchmark on a GPU, without one: minigrad's side of it, and the command, on the stand-in."""

import json
import sys

import bench
import numpy as np
import pytest
from benchmarks import accuracy, cases, gpu, gpu_accuracy, gpu_peak, minigrad_side

import models
from minigrad.device import find_device


@pytest.fixture(params=["standin", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """The stand-in's second GPU, as the current one; and a real one, where there is any."""
    if request.param == "cuda":
        yield find_device("cuda")
    else:
        with request.getfixturevalue("standin").cuda.Device(1):
            yield "cuda:1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """MiniVGG with batch normalisation for training, and a small VGG, under the names of the benchmark's networks."""
    folder = tmp_path_factory.mktemp("networks")
    models.save_weights(models.build("minivgg", batch_norm=True), folder / "minivgg_bn.h5")
    models.save_weights(models.build("minivgg"), folder / "vgg16.h5")
    models.save_weights(models.build("vgg11_features"), folder / "vgg16_features.h5")
    return folder


def small(kind):
    network = {"style": "vgg16_features", "training": "minivgg_bn", "fed": "minivgg_bn"}.get(kind, "vgg16")
    return cases.Case("small", "a small case", kind, network, 1 if kind == "style" else 4, 32, 0.8)


# ---- minigrad's side, on the stand-in --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["forward", "gradient", "style", "training", "fed"])
def test_a_step_gives_on_the_device_what_it_gives_on_the_cpu(kind, folder, device, monkeypatch):
    monkeypatch.setattr(cases, "STYLE_LAYERS", ("relu1_1", "relu2_1"))
    monkeypatch.setattr(cases, "CONTENT_LAYER", "relu3_1")
    monkeypatch.setattr(minigrad_side, "PHOTOGRAPHS", 16)
    monkeypatch.setattr(minigrad_side, "keep_freed_memory", lambda: None)
    (there,) = minigrad_side.steps(small(kind), folder, device).values()
    (here,) = minigrad_side.steps(small(kind), folder).values()
    for _ in range(2):
        result, expected = there(), here()
        assert result.device == device and expected.device == "cpu"
        np.testing.assert_allclose(
            result.numpy(), expected.numpy(), rtol=1e-3, atol=1e-5 * np.abs(expected.numpy()).max()
        )


def test_timing_a_case_of_minigrad(folder, device):
    steps, timed = gpu.ours(small("forward"), folder, device)
    taken = gpu.timed_in_turns(small("forward"), [(steps, timed)], 4)
    assert taken.keys() == {"minigrad", "minigrad TF32"}
    assert all(len(seconds) == 4 and min(seconds) > 0 for seconds in taken.values())


def test_peak_memory_is_what_the_pool_holds(folder, device):
    weights = sum(array.nbytes for array in models.load(folder / "vgg16.h5").state_dict().values())
    assert weights < gpu_peak.of_minigrad(small("forward"), folder, device)["kept"] < 100 * weights


def test_errors_are_those_against_float64(folder, device):
    images = accuracy.noises((2, 4), 32)
    truth = gpu_accuracy.truths(folder / "vgg16.h5", images)
    rows = gpu_accuracy.of_minigrad(folder / "vgg16.h5", images, truth, device)
    exact = rows["minigrad"]
    assert 0 < exact["scores max"] < 1e-5 and 0 < exact["held gradient max"] < 1e-5
    assert exact["relu decisions"] > 1000 and exact["pool decisions"] > 1000
    assert exact["scores max"] <= rows["minigrad TF32"]["scores max"] < 1e-2


# ---- the command -----------------------------------------------------------------------------------------------------


def test_cases_and_needs_are_the_gpus(device, tmp_path, monkeypatch, capsys):
    assert bench.main(["--device", device, "--only", "squeezenet", "--out", str(tmp_path)]) == 2
    assert "there is no case 'squeezenet': choose from vgg16-b1, vgg16-b16, " in capsys.readouterr().err
    monkeypatch.setattr(bench, "NEEDED_ON_GPU", ("no_such_package",))
    assert bench.main(["--device", device, "--out", str(tmp_path)]) == 2
    assert "no_such_package must be installed" in capsys.readouterr().err


def test_a_run_on_a_gpu_asks_for_each_case_and_each_peak(device, tmp_path, monkeypatch, capsys):
    asked = []

    def child(module, *arguments):
        asked.append((module, *arguments))
        names = ("minigrad", "torch contiguous", "torch channels_last")
        return {
            "machine": {"machine": {"GPU": "a GPU"}},
            "gpu": {"seconds": {n + tf32: [0.01] * 5 for n in names for tf32 in ("", " TF32")}, "difference": {}},
            "gpu_peak": {"kept": 1 << 20, "used": 1 << 20},
            "gpu_accuracy": {"minigrad": {"scores max": 1e-6, "gradient max": 1e-6}},
        }.get(module)

    class Torch:
        class cuda:
            is_available = staticmethod(lambda: True)

    monkeypatch.setattr(bench, "child", child)
    monkeypatch.setattr(bench, "needs", lambda packages: None)
    monkeypatch.setitem(sys.modules, "torch", Torch)
    argv = ["--device", device, "--only", "vgg16-b64,accuracy", "--rounds", "5", "--out", str(tmp_path)]
    assert bench.main(argv) == 0
    folder = asked[0][1]
    assert asked[0] == ("prepare", folder, "vgg16") and asked[1] == ("machine", device)
    assert asked[2] == ("gpu", "vgg16-b64", folder, device, 5)
    assert [a[1] for a in asked if a[0] == "gpu_peak"] == ["minigrad", "contiguous", "channels_last"]
    found = json.loads((tmp_path / "bench_cuda.json").read_text())
    assert found["device"] == device
    assert found["cases"]["vgg16-b64"]["memory"]["minigrad"] == {"kept": 1 << 20, "used": 1 << 20}
    assert (tmp_path / "bench_cuda.md").read_text() in capsys.readouterr().out

    def fails(module, *arguments):
        if module == "gpu":
            raise RuntimeError("benchmarks.gpu vgg16-b64 failed:\nOut of memory")
        return child(module, *arguments)

    monkeypatch.setattr(bench, "child", fails)
    with pytest.raises(SystemExit) as left:
        bench.main(argv)
    assert left.value.code == 1 and "- vgg16-b64 failed: Out of memory" in capsys.readouterr().out
    assert json.loads((tmp_path / "bench_cuda.json").read_text())["accuracy"]  # the rest was done
    Torch.cuda.is_available = staticmethod(lambda: False)
    assert bench.main(argv) == 2 and "torch finds no GPU" in capsys.readouterr().err
