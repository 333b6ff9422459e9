"""The threads of the kernels: blocks of work, shared out to one thread a core.

NumPy's ufuncs and copies use one core and release the interpreter lock, BLAS uses all cores for one product. Kernels
cut their work into blocks that fit a core's cache, and every thread takes block after block through all its steps,
with BLAS held to one thread meanwhile.

Kernels need `parallel`, and `blocks`, `runs` and `shares` to cut work up; `whole_pass` goes around many of them. How
threads wait for each other is in workers.py. Here is the machine's part: how many threads there are, and whether they
are pinned to cores and wait spinning. That pays where no other process wants the cores, and costs much where one does.
"""

import contextlib
import functools
import os
import threading
import time
from pathlib import Path

from minigrad.kernels.cpu import tuning
from minigrad.kernels.cpu.workers import CAN_SPIN, Worker, stay_on

# ---- how many --------------------------------------------------------------------------------------------------------


def thread_count():
    """How many threads the kernels use: the cores that this thread may run on, or fewer.

    At most OMP_NUM_THREADS, if that is set, and at most the whole cores in the control group's share of time. One where
    BLAS cannot be held to one: it has threads of its own then, which would be in the way.

    In the middle of one of several items of `parallel` it is 1 for whichever thread has it: else the order of its sums,
    and so their last bits, would depend on who took it.
    """
    if _pool.inside.active:
        return 1
    if threads := _pool.inside.threads:
        return threads
    threads, limit = len(_cores()), os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if limit.isdigit():
        threads = min(threads, int(limit))
    if threads > 1 and (quota := cgroup_quota()) is not None:
        threads = min(threads, int(quota))
    return threads if threads > 1 and _pool.blas.lib_controllers else 1


def _cores():
    """The cores that this thread may run on, in order."""
    if cores := _pool.inside.cores:
        return cores
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@functools.cache
def cgroup_quota(root=Path("/sys/fs/cgroup")):
    """How many cores' worth of time the control group of this process may use; None if there is no such limit.

    Read once from cgroup v2's file or v1's two, which a container sees below `root`.
    """
    for quota, period in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            numbers = (root / quota).read_text().split()
            numbers += (root / period).read_text().split() if period else []
            if numbers[0] not in ("max", "-1"):
                return int(numbers[0]) / int(numbers[1])
    return None


# ---- who works -------------------------------------------------------------------------------------------------------


class _Inside(threading.local):
    """What a thread is in the middle of."""

    active = False  # a block
    threads = None  # a whole pass: how many threads it has
    cores = None  # being pinned: the cores that it may run on afterwards
    spun = 0.0  # seconds that the pass was waiting, spinning


class _Pool:
    """The worker threads, and the hold on BLAS while any of them works.

    Where the threads are as many as the cores, each is pinned to a core of its own. Left to itself, the system wakes a
    worker on the core of the thread that woke it, behind it in the queue, and takes longer to notice than most kernels
    run: on two cores, keeping them apart doubled the rate of a 16 MB copy. On a busy machine it is the other way round:
    a pinned thread waits for its core while another one is free. Beside other processes nobody is pinned, and nobody
    spins: SqueezeNet's input gradient took a quarter of the time.
    """

    def __init__(self):
        self.in_use = threading.Lock()  # one thread at a time has the workers
        self.lock = threading.Lock()
        self.workers = {}  # the core it is pinned to, or the number of one that may roam -> Worker
        self.holders = 0
        self.hold = None
        self.busy_until = 0.0  # by time.monotonic(): other processes want the cores
        self.inside = _Inside()

    def worker(self, core, number):
        """The worker that is pinned to `core`, or, where that is None, the one of this number, which may roam."""
        key = number if core is None else ("core", core)
        if key not in self.workers:
            self.workers[key] = Worker(None if core is None else {core})
        return self.workers[key]

    @functools.cached_property
    def blas(self):
        """threadpoolctl's hold on the BLAS libraries in this process."""
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController().select(user_api="blas")

    def share_out(self, work, threads, cores):
        """Call work() in so many threads, of which this is one; the exceptions that ended it in the others, or None."""
        quiet, inside = time.monotonic() > self.busy_until, self.inside
        apart = quiet and threads == len(cores)
        started = []
        try:
            for i in range(1, threads):
                worker = self.worker(cores[i] if apart else None, i)
                worker.start(work, spin=quiet)
                started.append(worker)
            if apart and not inside.cores:
                inside.cores = cores
                stay_on(cores[:1])
            work()
        finally:
            if not inside.threads:
                self.roam()
            start = time.perf_counter()
            errors = [worker.finish() for worker in started]
            if quiet and CAN_SPIN:
                inside.spun += time.perf_counter() - start
        return errors

    def roam(self):
        """Let this thread run again where it might before it was pinned."""
        if cores := self.inside.cores:
            self.inside.cores = None
            stay_on(cores)

    def __enter__(self):
        """Hold BLAS to one thread; the first of several users takes hold, the last one lets go."""
        with self.lock:
            if self.holders == 0:
                self.let_anyone_limit()
                self.hold = self.blas.limit(limits=1)
            self.holders += 1

    def __exit__(self, *exception):
        with self.lock:
            self.holders -= 1
            if self.holders == 0:
                self.let_anyone_limit()
                self.hold.restore_original_limits()
                self.let_anyone_limit()

    def let_anyone_limit(self):
        """Let any thread say how many threads BLAS has: threadpoolctl 3.8 obeys only the first to do so otherwise."""
        for library in self.blas.lib_controllers:
            if hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread(force=True)


def _new_pool():
    global _pool
    _pool = _Pool()


_new_pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_pool)  # threads do not survive a fork


@contextlib.contextmanager
def whole_pass():
    """Around a pass through a network: what each `parallel` in it would do anew is done once.

    BLAS is held to one thread, the threads are counted, and this thread stays pinned; `inside.cores` remembers where it
    may run afterwards. At the end it is known whether the pass had the cores to itself.
    """
    pool, inside = _pool, _pool.inside
    if inside.threads or inside.active:
        yield
        return
    inside.threads, inside.spun = thread_count(), 0.0
    start, worked = time.perf_counter(), time.thread_time()
    try:
        with pool:
            yield
    finally:
        lasted = time.perf_counter() - start
        lost = lasted - (time.thread_time() - worked - inside.spun)  # asleep, without a core, or waiting for workers
        if inside.threads > 1 and lost > max(tuning.LOST_SECONDS, tuning.LOST_SHARE * lasted):
            pool.busy_until = time.monotonic() + tuning.BUSY_SECONDS
        inside.threads = None
        pool.roam()


@contextlib.contextmanager
def one_thread():
    """Within it, this thread's kernels use no other, and BLAS has one: for threads that each compute something else."""
    inside = _pool.inside
    before, inside.active = inside.active, True
    try:
        with _pool:
            yield
    finally:
        inside.active = before


def parallel(function, items):
    """[function(item) for item in items], the items shared out to threads as each becomes free.

    Each thread has BLAS to itself. While another thread has the workers, this one does all items, each as it would with
    workers, so with the same result. With one item, one core, or from inside another `parallel`, it is a plain loop.
    The first exception is raised here once no thread is working any more; items not yet begun are then dropped.
    """
    items, pool = list(items), _pool
    threads = min(thread_count(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
    cores = _cores()
    with_workers = pool.in_use.acquire(blocking=False)
    threads = threads if with_workers else 1

    results = [None] * len(items)
    queue = iter(range(len(items)))  # next() on it is atomic, so it is all the scheduling there is

    def work():
        pool.inside.active = True
        try:
            for i in queue:
                results[i] = function(items[i])
        except BaseException:
            for _ in queue:
                pass
            raise
        finally:
            pool.inside.active = False

    try:
        with pool:
            errors = pool.share_out(work, threads, cores)
    finally:
        if with_workers:
            pool.in_use.release()
    for error in errors:
        if error is not None:
            raise error
    return results


# ---- what is cut up --------------------------------------------------------------------------------------------------


def blocks(length, size):
    """Slices that cut range(length) into near-equal runs of at most about `size`, a multiple of the threads in number.

    A single short run where the whole is no longer than half of `size`: it is not worth waking a thread.
    """
    size = max(1, size)
    count = -(-length // size)
    if count > 1 or 2 * length > size:
        threads = thread_count()
        count = min(length, -(-count // threads) * threads)
    return _cut(length, count)


def runs(length, size):
    """Slices that cut range(length) into near-equal runs of at most `size`, to be done one after the other."""
    return _cut(length, -(-length // max(1, size)))


def shares(length):
    """Slices that cut range(length) into a near-equal run for each thread."""
    return blocks(length, -(-length // thread_count()))


def _cut(length, count):
    """Slices that cut range(length) into `count` near-equal runs, one at least, the longer ones first.

    Threads that take one after the other are done at the same time then: 4, 4, 3, 3 leaves neither of two waiting, as
    3, 4, 3, 4 would.
    """
    if count <= 1:
        return [slice(0, length)]
    short, longer = divmod(length, count)
    edges = [short * i + min(i, longer) for i in range(count + 1)]
    return [slice(lo, hi) for lo, hi in zip(edges, edges[1:], strict=False)]
