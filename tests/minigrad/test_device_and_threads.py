"""Devices, the stand-in for a second array module, and the threads of the kernels."""

import mmap
import os
import sys
import threading
import time
import types

import numpy as np
import pytest

import minigrad as mg
from minigrad import device, kernels, nn
from minigrad.device import array_module, device_of, to_device, to_numpy
from minigrad.kernels import blocks, parallel, thread_count
from minigrad.kernels.cpu import memory, threads

LONG = 600  # seconds: what has not happened by then, on however slow a machine, does not happen


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


# ---- threads ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["a core each", "roaming"])
def several_threads(request, monkeypatch):
    """As many threads as cores, each kept on one of its own; or fewer, free to roam. Whatever the environment says."""
    if request.param == "roaming":
        monkeypatch.setattr(threads, "_cores", lambda: [0, 1, 2])
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
    elif len(threads._cores()) < 2:
        pytest.skip("this machine lends one core")
    else:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_parallel_keeps_order_and_uses_several_threads(several_threads):
    meeting = threading.Barrier(2, timeout=LONG)  # passed only if two items run at the same time

    def item(i):
        if i < 2:
            meeting.wait()
        return i * i

    assert parallel(item, range(9)) == [i * i for i in range(9)]
    assert parallel(item, []) == []


def blas_threads():
    from threadpoolctl import threadpool_info

    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blas_is_held_to_one_thread_within_and_freed_after(several_threads):
    before = blas_threads()
    assert parallel(lambda i: blas_threads(), range(2)) == [{1}, {1}]
    assert blas_threads() == before


def test_blas_is_held_and_freed_by_whichever_thread_comes_first_and_last(several_threads):
    before = blas_threads()
    parallel(lambda i: i, range(2))  # this thread is the first to hold it
    here, there = threading.Event(), threading.Event()

    def other():
        with threads.whole_pass():
            here.set()
            there.wait(LONG)

    thread = threading.Thread(target=other)
    thread.start()
    assert here.wait(LONG) and blas_threads() == {1}
    with threads.whole_pass():
        there.set()
        thread.join()
        assert blas_threads() == {1}
    assert blas_threads() == before

    here.clear(), there.clear()
    thread = threading.Thread(target=other)
    with threads.whole_pass():
        thread.start()
        assert here.wait(LONG)
    assert blas_threads() == {1}
    there.set()
    thread.join()  # it is the last to let go
    assert blas_threads() == before


def test_nested_parallel_is_a_plain_loop(several_threads):
    def outer(i):
        here = threading.get_ident()
        return all(parallel(lambda j: threading.get_ident() == here, range(4)))

    assert all(parallel(outer, range(4)))


def test_within_a_block_there_is_one_thread_whoever_has_it(several_threads):
    meeting = threading.Barrier(2, timeout=LONG)

    def item(i):
        if i < 2:  # one for the caller, one for a worker
            meeting.wait()
        return thread_count()

    assert parallel(item, range(6)) == [1] * 6
    with threads.whole_pass():
        meeting.reset()
        assert parallel(item, range(6)) == [1] * 6
    with threads._pool.in_use:  # the workers are another thread's
        assert parallel(lambda i: thread_count(), range(6)) == [1] * 6
        assert parallel(lambda i: blas_threads(), range(2)) == [{1}, {1}]
    assert thread_count() > 1


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride"), [(256, 4, 3, 2), (256, 32, 5, 2), (128, 64, 5, 1), (64, 64, 3, 1)]
)
def test_bits_do_not_depend_on_who_computes_what(channels, outputs, kernel, stride, several_threads):
    """Sums of long windows, which a thread of its own would cut in two."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, channels, 47, 54), np.float32)
    w = rng.standard_normal((outputs, channels, kernel, kernel), np.float32)
    arguments = x, w, None, (stride, stride), (1, 1), (1, 1), 1
    with threads.whole_pass():
        shared = kernels.conv2d(*arguments)
        with threads._pool.in_use:
            alone = kernels.conv2d(*arguments)
    np.testing.assert_array_equal(shared, alone)


def test_the_first_exception_comes_out_and_the_pool_goes_on(several_threads):
    before = blas_threads()

    def item(i):
        if i == 3:
            raise ZeroDivisionError("item 3")
        time.sleep(0.001)

    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match="item 3"):
            parallel(item, range(50))
    assert parallel(lambda i: i, range(3)) == [0, 1, 2]
    assert blas_threads() == before


def test_many_user_threads_at_once(several_threads):
    before, wrong = blas_threads(), []

    def user(seed):
        a = np.random.default_rng(seed).standard_normal((40, 40))
        for _ in range(20):
            got = parallel(lambda i: a @ a * i, range(5))
            wrong.extend(i for i in range(5) if not np.allclose(got[i], a @ a * i))

    users = [threading.Thread(target=user, args=(seed,)) for seed in range(6)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    assert not wrong and blas_threads() == before


def test_many_threads_that_use_one_network_get_the_same_bits(several_threads):
    rng = np.random.default_rng(0)
    layers = {"a": nn.Conv2d(3, 24, 3, padding=1, rng=rng), "relu": nn.ReLU(), "pool": nn.MaxPool2d(2)}
    model = nn.Sequential(layers | {"b": nn.Conv2d(24, 48, 3, padding=1, rng=rng)})
    image = rng.standard_normal((3, 3, 75, 71), np.float32)

    def bits():
        x = mg.Tensor(image, requires_grad=True)
        y = model(x)
        return [a.numpy().tobytes() for a in (y, *mg.grad((y * y).sum(), [x, *model.parameters()]))]

    expected, different = bits(), []
    users = [threading.Thread(target=lambda: different.extend(bits() != expected for _ in range(12))) for _ in range(4)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    assert different == [False] * 48


def test_threads_follow_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert thread_count() == 1
    here = threading.get_ident()
    assert all(parallel(lambda i: threading.get_ident() == here, range(4)))
    monkeypatch.setenv("OMP_NUM_THREADS", "10000")
    assert thread_count() <= os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_kernels_work_in_a_forked_child():
    parallel(lambda i: i, range(4))
    child = os.fork()
    if child == 0:
        os._exit(0 if parallel(lambda i: i, range(4)) == [0, 1, 2, 3] else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("length", "size"), [(0, 5), (1, 5), (2, 5), (7, 3), (100, 7), (5, 1), (3, 0)])
def test_blocks_cover_the_range_once(length, size):
    cut = blocks(length, size)
    assert [i for run in cut for i in range(length)[run]] == list(range(length))
    assert all(run.stop - run.start <= max(1, size) for run in cut)


def test_workspace_is_kept_small_and_apart_for_each_thread():
    workspace = memory.Workspace(limit=1000)
    first = workspace.empty("a", (10, 10), np.float32)
    again = workspace.empty("a", (5, 5), np.float32)
    assert np.shares_memory(first, again)
    assert not np.shares_memory(workspace.empty("b", (10,), np.float32), first)
    large = workspace.empty("c", (1000,), np.float32)
    assert large.shape == (1000,) and not np.shares_memory(large, workspace.empty("c", (1000,), np.float32))
    other = []
    thread = threading.Thread(target=lambda: other.append(workspace.empty("a", (10, 10), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(first, other[0])


@pytest.mark.skipif(len(threads._cores()) < 2, reason="needs two cores")
def test_workers_do_their_work_awake_and_asleep(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    expected = [i * i for i in range(50)]
    for _ in range(20):  # from one way of waiting to the other and back
        with threads.whole_pass():
            assert threads.parallel(lambda i: i * i, range(50)) == expected
            with threads.whole_pass():
                assert threads.parallel(lambda i: i * i, range(50)) == expected
            assert any(worker.spins for worker in threads._pool.workers.values()) or not threads.CAN_SPIN
        assert not any(worker.spins for worker in threads._pool.workers.values())
        assert threads.parallel(lambda i: i * i, range(50)) == expected


def test_workers_are_usable_after_an_error_while_awake():
    def fail(i):
        raise ArithmeticError(i)

    for _ in range(3):
        with pytest.raises(ArithmeticError), threads.whole_pass():
            threads.parallel(fail, range(10))
        assert threads.parallel(abs, range(10)) == list(range(10))
        assert not any(worker.spins for worker in threads._pool.workers.values())


def test_two_threads_that_want_the_workers_at_once_both_finish():
    results = {}

    def use(name):
        for _ in range(30):
            with threads.whole_pass():
                results[name] = threads.parallel(lambda i: i + name, range(20))

    users = [threading.Thread(target=use, args=(name,)) for name in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join(LONG)
    assert results == {name: [i + name for i in range(20)] for name in range(4)}


@pytest.mark.parametrize("shape", [(3, 5), (3 << 20,), (2, 1 << 20)])
def test_lasting_arrays_are_private_and_as_asked_for(shape):
    array = memory.lasting_empty(shape, np.float32)
    assert array.shape == shape and array.dtype == np.float32 and array.flags.c_contiguous and array.flags.writeable
    array[...] = 1
    large = array.nbytes >= 4 << 20 and hasattr(mmap, "MADV_HUGEPAGE")
    assert (_memory_of(array) is mmap.mmap) == large
    if hasattr(os, "fork"):
        child = os.fork()
        if child == 0:
            array[...] = 2
            os._exit(0)
        os.waitpid(child, 0)
    assert (array == 1).all()


def _memory_of(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return type(array.base.obj if isinstance(array.base, memoryview) else array.base)


def test_an_array_too_large_for_memory_is_a_memory_error():
    with pytest.raises(MemoryError):
        memory.lasting_empty((1 << 60,), np.uint8)
