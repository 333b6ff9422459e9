"""The threads of the kernels: sharing out, BLAS, errors, forks; handing over; and what they make of the machine."""

import os
import threading
import time
import types
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_info

import minigrad as mg
from minigrad import kernels, nn
from minigrad.kernels import blocks, one_thread, parallel, thread_count
from minigrad.kernels.cpu import threads, workers

needs_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(threads._cores()) < 2, reason="needs two cores to be pinned to"
)


@pytest.fixture(params=["a core each", "roaming"])
def several_threads(request, monkeypatch):
    """As many threads as cores, each kept on one of its own; or fewer, free to roam. Whatever the environment says."""
    monkeypatch.setattr(threads, "cgroup_quota", lambda: None)
    if request.param == "roaming":
        monkeypatch.setattr(threads, "_cores", lambda: [0, 1, 2])
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
    elif len(threads._cores()) < 2:
        pytest.skip("this machine lends one core")
    else:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_parallel_keeps_order_and_uses_several_threads(several_threads):
    meeting = threading.Barrier(2, timeout=60)  # passed only if two items run at the same time

    def item(i):
        if i < 2:
            meeting.wait()
        return i * i

    assert parallel(item, range(9)) == [i * i for i in range(9)]
    assert parallel(item, []) == []


def blas_threads():
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
            there.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    assert here.wait(60) and blas_threads() == {1}
    with threads.whole_pass():
        there.set()
        thread.join()
        assert blas_threads() == {1}
    assert blas_threads() == before

    here.clear(), there.clear()
    thread = threading.Thread(target=other)
    with threads.whole_pass():
        thread.start()
        assert here.wait(60)
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
    meeting = threading.Barrier(2, timeout=60)

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


def test_a_thread_may_keep_to_itself(several_threads):
    before, meeting = blas_threads(), threading.Barrier(2, timeout=60)

    def alone(_):
        with one_thread():
            meeting.wait()
            ran = parallel(lambda i: threading.current_thread(), range(4))
            found = thread_count(), set(ran) == {threading.current_thread()}, blas_threads()
            meeting.wait()
            return found

    with ThreadPool(2) as pool:
        assert pool.map(alone, range(2)) == [(1, True, {1})] * 2
    assert thread_count() > 1 and blas_threads() == before


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


@needs_cores
def test_results_and_affinity_within_passes_and_between_them(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores, expected = os.sched_getaffinity(0), [i * i for i in range(50)]
    for _ in range(20):
        with threads.whole_pass():
            assert parallel(lambda i: i * i, range(50)) == expected
            with threads.whole_pass():
                assert parallel(lambda i: i * i, range(50)) == expected
        assert os.sched_getaffinity(0) == cores
        assert parallel(lambda i: i * i, range(50)) == expected
        assert os.sched_getaffinity(0) == cores


def test_workers_are_usable_after_an_error_within_a_pass():
    def fail(i):
        raise ArithmeticError(i)

    for _ in range(3):
        with pytest.raises(ArithmeticError), threads.whole_pass():
            threads.parallel(fail, range(10))
        assert threads.parallel(abs, range(10)) == list(range(10))


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
        user.join(60)
    assert results == {name: [i + name for i in range(20)] for name in range(4)}


# ---- handing over ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["spinning", "asleep"])
def spin(request):
    return request.param


def test_a_worker_does_its_task_and_gives_its_error(spin):
    worker, done = workers.Worker(), []
    for task, error in ((lambda: done.append(1), None), (lambda: 1 / 0, ZeroDivisionError), (done.clear, None)):
        begun = threading.Event()
        worker.start(lambda task=task, begun=begun: (begun.set(), task()), spin)
        assert begun.wait(60)
        found = worker.finish()
        assert type(found) is error if error else found is None
    assert done == []


def test_a_task_that_has_not_begun_is_taken_back(spin):
    worker, held, begun, done = workers.Worker(), threading.Event(), threading.Event(), []
    worker.start(lambda: (begun.set(), held.wait(60)), spin)
    assert begun.wait(60)
    worker.start(lambda: done.append("taken back"), spin)
    assert worker.finish() is None
    begun.clear()
    worker.start(begun.set, spin)
    held.set()
    assert begun.wait(60) and worker.finish() is None
    assert done == []


def test_nobody_waits_for_a_worker_that_does_not_wake(several_threads, monkeypatch):
    held, here = threading.Event(), threading.get_ident()

    class Asleep(workers.Worker):
        def _run(self, cores):
            held.wait(60)
            super()._run(cores)

    monkeypatch.setattr(threads, "_pool", threads._Pool())
    monkeypatch.setattr(threads, "Worker", Asleep)
    assert parallel(lambda i: threading.get_ident() == here, range(9)) == [True] * 9
    held.set()


def test_ctrl_c_is_raised_once_the_task_has_ended(spin):
    worker, begun, go_on, done = workers.Worker(), threading.Event(), threading.Event(), []
    worker.start(lambda: (begun.set(), go_on.wait(60), done.append(True)), spin)
    assert begun.wait(60)
    task = worker._task
    gate = task.gate

    def interrupted():
        task.gate.get = gate.get
        go_on.set()
        raise KeyboardInterrupt

    task.gate = types.SimpleNamespace(get=interrupted, put=gate.put)
    with pytest.raises(KeyboardInterrupt):
        worker.finish()
    assert done


# ---- a busy machine, and a part of one -------------------------------------------------------------------------------


@pytest.fixture
def pool(monkeypatch):
    """A pool that knows nothing of the machine yet."""
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    return threads._pool


def a_pass(seconds):
    """How many cores the caller may run on in a pass that lasts so long, and after it."""
    with threads.whole_pass():
        parallel(abs, range(len(threads._cores())))
        within = len(os.sched_getaffinity(0))
        time.sleep(seconds)
    return within, len(os.sched_getaffinity(0))


@needs_cores
def test_a_pass_that_lost_its_time_unpins_those_after_it_for_a_while(pool, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "cgroup_quota", lambda: None)
    cores = len(threads._cores())
    assert a_pass(0.3) == (1, cores)  # asleep: the core was free for others
    assert pool.busy_until > time.monotonic()
    assert a_pass(0) == (cores, cores)
    pool.busy_until = time.monotonic() - 1
    assert a_pass(0) == (1, cores)


@needs_cores
def test_a_pass_that_has_the_cores_to_itself_is_no_sign(pool, monkeypatch):
    monkeypatch.setattr(threads, "time", types.SimpleNamespace(**vars(time)))
    monkeypatch.setattr(threads.time, "thread_time", time.perf_counter)  # every moment of the pass was worked in
    with pool.in_use:  # nor was it waiting for workers
        a_pass(0.01)
    assert pool.busy_until < time.monotonic()


@pytest.mark.parametrize(("quota", "expected"), [(None, 3), (3.5, 3), (2.5, 2), (1.5, 1), (0.5, 1)])
def test_the_control_groups_share_counts(quota, expected, monkeypatch):
    monkeypatch.setattr(threads, "_cores", lambda: [0, 1, 2])
    monkeypatch.setattr(threads, "cgroup_quota", lambda: quota)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert thread_count() == expected


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu.max": ""}, None),
        ({}, None),
    ],
)
def test_cgroup_quota(files, quota, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.cgroup_quota(tmp_path) == quota


def test_one_thread_where_blas_cannot_be_held(several_threads, pool):
    """As with Accelerate: threadpoolctl finds no library that it can limit."""
    assert thread_count() > 1
    pool.blas = ThreadpoolController().select(user_api="none of them")
    here = threading.get_ident()
    assert thread_count() == 1
    with threads.whole_pass():
        assert all(parallel(lambda i: threading.get_ident() == here, range(4)))
