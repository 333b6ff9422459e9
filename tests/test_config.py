"""show_config says what there is, and warns of pinned kernels; nothing it looks at may break it."""

import subprocess
import sys
import types

import numpy as np
import pytest

import minigrad as mg
from minigrad import kernels
from minigrad.kernels import frozen, tf32
from minigrad.tools import config

AVX2 = {"avx2", "fma"}


def test_prints_what_dicts_hold(capsys):
    found = mg.show_config(mode="dicts")
    assert found["NumPy"] == np.__version__ and found["threads"].startswith(f"{kernels.thread_count()} (")
    assert mg.show_config() is None
    printed = capsys.readouterr().out
    for name, text in found.items():
        assert any(line.startswith(name) and line.endswith(text) for line in printed.splitlines()), name
    with pytest.raises(ValueError, match="show_config: mode is 'json'"):
        mg.show_config("json")


def test_algorithm_and_threads_in_force(monkeypatch):
    with mg.conv_algorithm("direct"):
        assert mg.show_config("dicts")["convolution"] == "direct"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = mg.show_config("dicts")
    assert found["convolution"] == "auto"
    assert found["threads"].startswith("1 (") and "OMP_NUM_THREADS=1" in found["threads"]


@pytest.mark.parametrize(
    ("core_type", "architecture", "flags", "warns"),
    [
        ("Haswell", "Haswell", config.AVX512 | AVX2, "AVX2 kernels, this CPU has AVX-512"),
        ("Prescott", "Prescott", AVX2, "older kernels, this CPU has AVX2"),
        ("Haswell", "Haswell", AVX2, None),
        ("SkylakeX", "SkylakeX", config.AVX512 | AVX2, None),
        (None, "Haswell", config.AVX512 | AVX2, None),
        ("Haswell", None, config.AVX512 | AVX2, None),
        ("Prescott", "Prescott", set(), None),
    ],
)
def test_pinned_kernels(core_type, architecture, flags, warns):
    said = config.pinned_below(core_type, [architecture], flags)
    assert said is None if warns is None else warns in said and core_type in said


def test_warning_line_of_a_pinned_process():
    """OpenBLAS reads the variable when it is loaded, so in a process of its own."""
    shown = subprocess.run(
        [sys.executable, "-c", "import minigrad; print(minigrad.show_config('dicts'))"],
        env={"OPENBLAS_CORETYPE": "Prescott", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert ("'warning': 'OPENBLAS_CORETYPE=Prescott" in shown) == ("openblas" in shown and AVX2 <= config._cpu_flags())


def test_threads_line_has_the_control_groups_share(monkeypatch):
    monkeypatch.setattr(config, "cgroup_quota", lambda: 1.5)
    assert mg.show_config("dicts")["threads"].endswith("cgroup: 1.5 cores' worth of time)")


@pytest.fixture
def cupy(monkeypatch):
    """A module that answers what is asked of CuPy here, in CuPy's place."""
    runtime = types.SimpleNamespace(
        getDeviceProperties=lambda index: {"name": b"A GPU"},
        runtimeGetVersion=lambda: 12040,
        driverGetVersion=lambda: 13010,
        memGetInfo=lambda: (3 << 30, 4 << 30),
    )
    cuda = types.SimpleNamespace(runtime=runtime, Device=lambda: types.SimpleNamespace(id=0))
    pool = types.SimpleNamespace(used_bytes=lambda: 5 << 20, total_bytes=lambda: 9 << 20, get_limit=lambda: 0)
    module = types.SimpleNamespace(
        cuda=cuda, get_default_memory_pool=lambda: pool, __version__="13.6.0", ndarray=type("ndarray", (), {})
    )
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(config, "_driver_version", lambda: "580.1")
    return module


def test_gpu_missing():
    if "cupy" not in sys.modules and config.find_spec("cupy") is None:
        assert "CuPy is not installed" in mg.show_config("dicts")["GPU"]


def test_gpu_present_and_broken(cupy):
    found = mg.show_config("dicts")
    assert found["GPU"] == "A GPU, CuPy 13.6.0, CUDA 12.4, driver 580.1 for CUDA 13.1"
    pool = "5 MiB used of 9 MiB kept in CuPy's pool, no limit"
    assert found["GPU memory"] == f"{pool}; 3072 of 4096 MiB free on the GPU"
    assert found["TF32"].startswith("off: ")
    with tf32():
        assert mg.show_config("dicts")["TF32"].startswith("on: ")
    cupy.get_default_memory_pool().get_limit = lambda: 1 << 30
    assert "limit 1024 MiB" in mg.show_config("dicts")["GPU memory"]
    cupy.cuda.runtime.driverGetVersion = lambda: 1 / 0
    found = mg.show_config("dicts")
    assert found["GPU"] == "not used: CuPy finds none (division by zero)" and "GPU memory" not in found


def test_kept_forms_of_each_device(monkeypatch):
    monkeypatch.setattr(frozen, "kept_by_device", lambda: {"cuda:0": 3 << 20, "cpu": 2 << 20, "cuda:1": 1 << 20})
    assert mg.show_config("dicts")["frozen weights"] == (
        f"2.0 MiB of at most {frozen.limit >> 20} kept transformed; of at most {frozen.gpu_limit >> 20} on GPUs, "
        "3.0 MiB on cuda:0, 1.0 MiB on cuda:1"
    )


def test_facts_of_a_gpu_for_a_record(cupy):
    pool = {"used_bytes": 5 << 20, "total_bytes": 9 << 20, "limit_bytes": 0}
    expected = {"gpu": "A GPU", "driver": "580.1", "cuda": "12.4", "cupy": "13.6.0", "memory_pool": pool}
    assert config.gpu_facts(cupy) == expected
    cupy.cuda.runtime.getDeviceProperties = lambda index: 1 / 0
    assert config.gpu_facts(cupy) == expected | {"gpu": None}


def test_import_stays_quick():
    """Neither show_config's look-ups nor anything else heavy is imported with minigrad."""
    heavy = "{'cupy', 'threadpoolctl', 'scipy', 'matplotlib', 'h5py', 'importlib.metadata', 'torch'}"
    code = f"import sys, minigrad; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
