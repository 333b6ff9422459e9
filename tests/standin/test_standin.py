"""The stand-in for CuPy refuses what CuPy refuses, and a little more."""

import copy
import pickle

import numpy as np
import pytest

import minigrad as mg


@pytest.fixture
def x(standin):
    return standin.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))


REFUSED = {
    "NumPy's view": lambda cp, x: np.asarray(x),
    "NumPy's function": lambda cp, x: np.sum(x),
    "NumPy's ufunc": lambda cp, x: np.sqrt(x),
    "an operator": lambda cp, x: x + np.ones(3),
    "an operator, from the left": lambda cp, x: np.ones(3) + x,
    "a product of matrices": lambda cp, x: x @ np.ones((3, 2), np.float32),
    "a comparison": lambda cp, x: x > np.ones(3),
    "an addition in place": lambda cp, x: x.__iadd__(np.ones(3, np.float32)),
    "a list": lambda cp, x: x * [1.0, 2.0, 3.0],
    "a ufunc": lambda cp, x: cp.maximum(x, np.ones(3)),
    "an output": lambda cp, x: cp.maximum(x, 0, out=np.empty((2, 3), np.float32)),
    "a function": lambda cp, x: cp.concatenate([x, np.ones((1, 3), np.float32)]),
    "where": lambda cp, x: cp.where(x > 0, x, np.zeros(3)),
    "an index": lambda cp, x: x[np.array([0, 1])],
    "an index among others": lambda cp, x: x[:, np.array([True, False, True])],
    "an assignment": lambda cp, x: x.__setitem__(0, np.ones(3)),
    "an array that is added": lambda cp, x: cp.add.at(x, 0, np.ones(3)),
    "an argument of a ufunc": lambda cp, x: cp.add(x, x, where=x > 0),
    "an argument of a function": lambda cp, x: cp.sum(x, where=x > 0),
    "an argument of a method": lambda cp, x: x.max(initial=0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_mixing_and_arguments_are_refused(name, standin, x):
    with pytest.raises(TypeError):
        REFUSED[name](standin, x)
    np.testing.assert_array_equal(standin.asnumpy(x), np.arange(6).reshape(2, 3))


def test_names_that_cupy_lacks(standin, x):
    for name in ("nditer", "memmap", "spacing", "busday_count"):
        assert hasattr(np, name)
        with pytest.raises(AttributeError, match=f"CuPy has no cupy.{name}"):
            getattr(standin, name)
    with pytest.raises(AttributeError, match="CuPy has no cupy.linalg.cond"):
        standin.linalg.cond(x)
    assert not hasattr(x, "resize") and not hasattr(x.flags, "writeable")
    with pytest.raises(NotImplementedError):
        standin.maximum.reduce(x)
    with pytest.raises(NotImplementedError):
        standin.subtract.at(x, 0, 1.0)
    with pytest.raises(TypeError, match="int64"):
        standin.add.at(standin.zeros(3, np.int64), standin.asarray([0]), 1)
    with pytest.raises(ValueError, match="dtype"):
        standin.asarray(["a"])


def test_numbers_mix_and_come_out_only_when_asked_for(standin, x):
    for y in (x * 2, np.float32(2) * x, x * np.float32(2), 2 * x):
        assert type(y) is standin.ndarray and y.dtype == np.float32
    assert (np.float64(2) * x).dtype == np.float64
    total = x.sum()
    assert type(total) is standin.ndarray and total.shape == () and float(total) == 15 and bool(total) and int(total)
    assert type(x[1, 2]) is standin.ndarray and x[1, 2].item() == 5 and f"{total:.1f}" == "15.0"
    assert type(x.get()) is np.ndarray and x.tolist() == [[0, 1, 2], [3, 4, 5]]
    x[0] = 7
    x[standin.asarray([1])] += 1
    assert x.tolist() == [[7, 7, 7], [4, 5, 6]] and [row.tolist() for row in x][1] == [4, 5, 6]


def test_memory(standin, x):
    y = x.T
    y[0, 0] = 9
    assert x[0, 0] == 9 and y.base is x and standin.asarray(x) is x
    given = np.ones(3)
    standin.asarray(given)[0] = 5
    assert given[0] == 1
    assert not y.flags.c_contiguous and (y + 1).flags.c_contiguous  # results of arithmetic are, unlike NumPy's
    assert (standin.asarray(y.get()) + y).flags.c_contiguous and standin.empty_like(y).flags.f_contiguous
    for same in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert type(same) is standin.ndarray and same.tolist() == x.tolist() and same is not x
    pool = standin.get_default_memory_pool()
    before = pool.used_bytes()
    large = standin.zeros(1000)
    view = large[:10]
    assert pool.used_bytes() == before + 8000
    del large
    assert pool.used_bytes() == before + 8000
    del view
    assert pool.used_bytes() == before


def test_two_gpus_do_not_mix(standin, x):
    with standin.cuda.Device(1):
        there = standin.asarray(x)
        assert there is not x and there.device.id == 1 and (there + 1).device.id == 1
        with pytest.raises(ValueError, match=r"array resides \(0\) is different from the current device \(1\)"):
            x + 1
    for call in (
        lambda: there + 1,
        lambda: there.sum(),
        lambda: standin.exp(there),
        lambda: there[0],
        lambda: x + there,
    ):
        with pytest.raises(ValueError, match="different from the current device"):
            call()
    assert x.device.id == 0 and there.get().sum() == 15


def test_events_and_dlpack(standin, x):
    start, end = standin.cuda.Event(), standin.cuda.Event()
    start.record()
    end.record()
    end.synchronize()
    assert standin.cuda.get_elapsed_time(start, end) >= 0
    shared = mg.from_dlpack(x)
    assert shared.device == "cuda:0"
    x[0, 0] = 3
    assert shared[0, 0].item() == 3
