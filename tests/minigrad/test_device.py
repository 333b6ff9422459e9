"""Devices, and the stand-in for a second array module."""

import sys
import types

import numpy as np
import pytest

import minigrad as mg
from minigrad import device
from minigrad.device import array_module, device_of, to_device, to_numpy


class StandIn:
    """An array type of another module."""


@pytest.fixture
def stand_in():
    module = types.SimpleNamespace(__name__="stand_in", asnumpy=lambda array: np.zeros(3))
    device.register_array_module(StandIn, module)
    yield module
    del device._registered[StandIn]


def test_arrays_have_a_module_and_a_device(stand_in):
    assert array_module(np.zeros(2), 3.0, np.float32(1)) is np
    assert array_module(StandIn(), 3.0) is stand_in
    assert array_module(2.0) is np
    assert device_of(np.zeros(2)) == "cpu" and device_of(StandIn()) == "cuda:0"
    np.testing.assert_array_equal(to_numpy(StandIn()), np.zeros(3))


def test_mixing_modules_is_refused_by_name(stand_in):
    with pytest.raises(TypeError, match=r"numpy, stand_in.*\.to\(device\)"):
        array_module(np.zeros(2), StandIn())


def test_moves():
    x = np.zeros(2)
    assert to_device(x, "cpu") is x and to_numpy(x) is x
    for wrong in ("gpu", "cuda:x", "cuda:", "cuda:²", "auto:1", "auto:", "cpu:0", 3):
        with pytest.raises(ValueError, match="device is"):
            to_device(x, wrong)


def test_a_cupy_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "cupy"]:
        monkeypatch.delitem(sys.modules, name)
    message = "=====\nFailed to import CuPy.\n\nOriginal error:\n  ImportError: libcublas.so.13: no such file\n=====\n"
    (tmp_path / "cupy.py").write_text(f"raise ImportError({message!r})")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match=r"cannot be imported \(ImportError: libcublas.so.13: no such file\)$"):
        device.find_device("cuda")
    assert device.find_device("auto") == "cpu"
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match="CuPy is not installed"):
        device.find_device("cuda")


def test_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr(device, "cupy_or_reason", lambda: (None, "CuPy is not installed"))
    x = np.zeros(2)
    assert to_device(x, "auto") is x
    with pytest.raises(RuntimeError, match="'cuda:1' is not available: CuPy is not installed"):
        to_device(x, "cuda:1")


# ---- a GPU, as CuPy shows it -----------------------------------------------------------------------------------------


def test_arrays_go_to_the_gpu_that_is_named(standin):
    x = np.arange(3.0)
    for name, there in (("cuda", "cuda:0"), ("auto", "cuda:0"), ("cuda:1", "cuda:1")):
        moved = to_device(x, name)
        assert array_module(moved, 2.0) is standin and device_of(moved) == there
        assert to_device(moved, there) is moved and type(to_numpy(moved)) is np.ndarray
    with standin.cuda.Device(1):
        assert device_of(to_device(x, "cuda")) == "cuda:1"
    with pytest.raises(TypeError, match="different devices"):
        array_module(x, moved)


def test_gpus_that_are_not_there_are_named(standin, monkeypatch):
    x = np.arange(3.0)
    with pytest.raises(RuntimeError, match=r"'cuda:2' is not available: this machine has 2 GPU\(s\)"):
        to_device(x, "cuda:2")
    monkeypatch.setattr(standin.cuda.runtime, "getDeviceCount", lambda: 0)
    with pytest.raises(RuntimeError, match="'cuda' is not available: CuPy finds no GPU"):
        to_device(x, "cuda")

    def no_driver():
        raise standin.cuda.runtime.CUDARuntimeError("cudaErrorInsufficientDriver")

    monkeypatch.setattr(standin.cuda.runtime, "getDeviceCount", no_driver)
    with pytest.raises(RuntimeError, match=r"CuPy finds no GPU \(cudaErrorInsufficientDriver\)"):
        to_device(x, "cuda")
    assert to_device(x, "auto") is x


def test_a_gradient_comes_back_to_the_device_of_its_input(standin):
    x = mg.Tensor(np.arange(3.0), requires_grad=True)
    there = x.to("cuda")
    assert type(there.data) is standin.ndarray and there.device == "cuda:0"
    g = mg.grad((there * there).to("cpu").sum(), x)
    assert type(g.data) is np.ndarray and g.tolist() == [0, 2, 4]
