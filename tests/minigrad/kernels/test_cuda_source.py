"""The kernels' source as nvcc sees it: it compiles for old and new GPUs, and keeps to registers."""

import itertools
import re
import shutil
import subprocess

import numpy as np
import pytest

from minigrad.kernels.cuda import channel, depthwise, direct, elementwise, few_channels, pooling, winograd
from minigrad.kernels.cuda.launch import Kernel
from tests.standin import raw_kernel

from .conftest import StandIn

pytestmark = pytest.mark.host("kernels are called with arrays that the tests put on a device")

NVCC = shutil.which("nvcc")
FILES = (channel, depthwise, direct, elementwise, few_channels, pooling, winograd)
CHOICES = {
    "T": ("float", "double"),
    "INDEX": ("int", "long long"),
    "V": (1, 4),
    "WINNER": ("unsigned char", "unsigned"),
}


def variants():
    """Every kernel with every choice of its words."""
    for kernel in (kernel for file in FILES for kernel in file.KERNELS):
        words = [word for word in CHOICES if word in kernel.words]
        for choice in itertools.product(*(CHOICES[word] for word in words)):
            yield kernel.of(**dict(zip(words, choice, strict=True)))


def one_source(kernels):
    """All in one file, each in a namespace and under a name of its own: compiling them one by one takes minutes."""
    parts = []
    for i, kernel in enumerate(kernels):
        named = re.sub(rf"\b{kernel.name}\(", f"{kernel.name}_{i}(", kernel.source)
        defined = re.findall(r"^#define (\w+)", named, re.MULTILINE)
        parts += [f"namespace variant_{i} {{", named, "}", *(f"#undef {word}" for word in defined)]
    return "\n".join(parts)


def test_every_kernel_has_a_name_of_its_own():
    names = [kernel.name for file in FILES for kernel in file.KERNELS]
    assert len(set(names)) == len(names) and len(list(variants())) > 80
    for kernel in variants():
        assert f'extern "C" __global__ void {kernel.name}(' in kernel.source
        assert "__shared__" not in kernel.source and "atomic" not in kernel.source


@pytest.mark.skipif(NVCC is None, reason="no nvcc: the kernels' source is not compiled for a GPU")
def test_nvcc_compiles_every_kernel_without_spilling_registers(tmp_path):
    known = subprocess.run([NVCC, "--list-gpu-code"], capture_output=True, text=True).stdout.split()
    oldest = min(known, key=lambda name: int(re.sub(r"\D", "", name)))
    kernels = list(variants())
    (tmp_path / "kernels.cu").write_text(one_source(kernels))
    for architecture in dict.fromkeys([oldest, "sm_90" if "sm_90" in known else known[-1]]):
        command = [
            NVCC,
            f"-arch={architecture}",
            "-Xptxas",
            "-v",
            "-cubin",
            "-o",
            tmp_path / "o",
            tmp_path / "kernels.cu",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        registers = [int(count) for count in re.findall(r"Used (\d+) registers", done.stderr)]
        assert len(registers) == len(kernels)
        assert max(registers) <= 128
        spilled = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill", done.stderr)
        assert set(spilled) == {("0", "0")}, done.stderr


def test_the_stand_in_sees_what_is_written_beside_an_array_and_what_is_not_written(standin):
    if raw_kernel.COMPILER is None:
        pytest.skip("no C++ compiler: the kernels' source is not run")
    gpu = StandIn(standin)
    code = r"""
extern "C" __global__ void beside(const float* __restrict__ x, float* __restrict__ y, long long count) {
    if (THREAD < count) y[THREAD] = THREAD < 4 ? x[THREAD + 1] : 7;
}
"""
    x, y = gpu.put(np.arange(4, dtype=np.float32)), gpu.xp.empty((5,), np.float32)
    kernel = Kernel("beside", code)
    kernel(gpu.xp, 4, x, y, 4)
    values = gpu.get(y)
    assert values[:3].tolist() == [1, 2, 3] and np.isnan(values[3:]).all()
    gpu.check()
    kernel(gpu.xp, 6, x, y, 6)
    with pytest.raises(AssertionError, match="written beside an array"):
        gpu.check()
