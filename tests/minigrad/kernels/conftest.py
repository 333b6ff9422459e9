"""`gpu`: where CUDA kernels are tested, the stand-in (see tests/standin) or, marked gpu, a GPU. `all_kernels`: the
tests that use it run on the fast kernels and on the textbook."""

import numpy as np
import pytest

from minigrad.kernels import modes, use_kernels
from tests.standin import array, module, raw_kernel

ZONE = 512  # bytes of NaN before and after every array of the stand-in


class Gpu:
    """put(values) and get(array) move arrays, xp is the module."""

    def __init__(self, xp):
        self.xp = xp

    def put(self, *arrays):
        moved = [self.xp.asarray(values) for values in arrays]
        return moved[0] if len(moved) == 1 else moved

    def get(self, values):
        return self.xp.asnumpy(values)


class StandIn(Gpu):
    """The stand-in. Its new arrays are full of NaN, and NaN lies around them: what a kernel reads beside an array, or
    forgets to write, shows in its results, and what it writes beside one is seen by `check`."""

    def __init__(self, xp):
        super().__init__(xp)
        self.zones = []
        xp.empty, xp.zeros = self.empty, self.zeros
        xp.empty_like = lambda a, dtype=None: array.wrap(self._like(a._values, dtype))

    def empty(self, shape, dtype=float):
        return array.wrap(self._new(shape, dtype))

    def zeros(self, shape, dtype=float):
        values = self._new(shape, dtype)
        values[...] = 0
        return array.wrap(values)

    def put(self, *arrays):
        moved = []
        for values in arrays:
            moved.append(array.wrap(self._like(values)))
            moved[-1]._values[...] = values
        return moved[0] if len(moved) == 1 else moved

    def check(self):
        for memory, size in self.zones:
            assert (memory[:ZONE] == 255).all() and (memory[ZONE + size :] == 255).all(), "written beside an array"

    def _new(self, shape, dtype):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        space = np.full(size + 2 * ZONE + 256, 255, np.uint8)
        memory = space[-space.ctypes.data % 256 :][: size + 2 * ZONE]  # aligned, as CuPy's arrays are
        self.zones.append((memory, size))
        return memory[ZONE : ZONE + size].view(dtype).reshape(shape)

    def _like(self, values, dtype=None):
        """An array of the same order in memory."""
        order = sorted(range(values.ndim), key=lambda axis: -values.strides[axis])
        made = self._new([values.shape[axis] for axis in order], dtype or values.dtype)
        return made.transpose(np.argsort(order))


@pytest.fixture(params=["standin", pytest.param("cuda", marks=pytest.mark.gpu)])
def gpu(request):
    if request.param == "cuda":
        import cupy

        yield Gpu(cupy)
        return
    if raw_kernel.COMPILER is None:
        pytest.skip("no C++ compiler: the kernels' source is not run")
    standin = StandIn(module.install())
    yield standin
    module.uninstall()
    standin.check()


@pytest.fixture(scope="module", params=modes.KERNELS)
def all_kernels(request):
    """The test runs on the fast kernels and once more on the textbook."""
    with use_kernels(request.param):
        yield
