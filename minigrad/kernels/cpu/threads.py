"""The threads of the kernels: blocks of work, shared out to one thread a core.

NumPy's ufuncs and copies use one core and release the interpreter lock, BLAS uses all cores for one product. Kernels
cut their work into blocks that fit a core's cache, and every thread takes block after block through all its steps,
with BLAS held to one thread meanwhile.
"""

import contextlib
import os
import threading

from minigrad.kernels.cpu.workers import CAN_SPIN, Worker, stay_on


def _cores():
    """The cores that this thread may run on, in order."""
    if cores := getattr(_pool.inside, "cores", None):
        return cores
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def thread_count():
    """How many threads the kernels use: the cores this thread may run on, at most OMP_NUM_THREADS if that is set.

    In the middle of one of several items of `parallel` it is 1 for whichever thread has it: else the order of its sums,
    and so their last bits, would depend on who took it.
    """
    if getattr(_pool.inside, "active", False):
        return 1
    if threads := getattr(_pool.inside, "threads", None):
        return threads
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return max(1, min(len(_cores()), int(limit))) if limit.isdigit() else len(_cores())


class _Pool:
    """The worker threads, and the hold on BLAS while any of them works.

    Where the threads are as many as the cores, each is kept on a core of its own. Left to itself, a busy system wakes
    a worker on the core of the thread that woke it, behind it in the queue, and takes longer to notice than most
    kernels run: on two busy cores, keeping them apart doubled the rate of a 16 MB copy.
    """

    def __init__(self):
        self.in_use = threading.Lock()  # one thread at a time has the workers
        self.lock = threading.Lock()
        self.workers = {}  # the core it stays on, or the number of one that may roam -> Worker
        self.controller = None
        self.holders = 0
        self.hold = None
        self.inside = threading.local()  # .active: this thread is in the middle of a block; the others: see awake()

    def worker(self, core, number):
        """The worker that stays on `core`, or, where that is None, the one of this number, which may roam."""
        key = number if core is None else ("core", core)
        if key not in self.workers:
            self.workers[key] = Worker(None if core is None else {core})
        return self.workers[key]

    def lull(self):
        """Let the workers that are spinning sleep."""
        with self.in_use:
            for worker in self.workers.values():
                if worker.spins:
                    worker.start(lambda: None, spin=False)
                    worker.finish(spin=False)

    def __enter__(self):
        """Hold BLAS to one thread; the first of several users takes hold, the last one lets go."""
        with self.lock:
            if self.controller is None:
                from threadpoolctl import ThreadpoolController

                self.controller = ThreadpoolController().select(user_api="blas")
            if self.holders == 0:
                self.let_anyone_limit()
                self.hold = self.controller.limit(limits=1)
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
        for library in self.controller.lib_controllers:
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
    """Within it, workers that have finished wait for more to do spinning, not asleep: see workers.py.

    BLAS is held to one thread meanwhile: threads of its own would be in the way. This thread stays on its core, once it
    has been put on one, with `cores` those it may run on otherwise; `threads` is counted once.
    """
    pool = _pool
    if getattr(pool.inside, "awake", False) or getattr(pool.inside, "active", False):
        yield
        return
    pool.inside.awake, pool.inside.threads = True, thread_count()
    try:
        with pool:
            yield
    finally:
        pool.inside.awake, pool.inside.threads = False, None
        if cores := getattr(pool.inside, "cores", None):
            pool.inside.cores = None
            stay_on(cores)
        pool.lull()


def parallel(function, items):
    """[function(item) for item in items], the items shared out to threads as each becomes free.

    Each thread has BLAS to itself. While another thread has the workers, this one does all items, each as it would with
    workers, so with the same result. With one item, one core, or from inside another `parallel`, it is a plain loop.
    The first exception is raised here once no thread is working any more; items not yet begun are then dropped.
    """
    items, cores, pool = list(items), _cores(), _pool
    threads = min(thread_count(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
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

    apart = threads == len(cores)
    spin = CAN_SPIN and getattr(pool.inside, "awake", False)
    started = []
    try:
        with pool:
            try:
                for i in range(1, threads):
                    worker = pool.worker(cores[i] if apart else None, i)
                    worker.start(work, spin)
                    started.append(worker)
                if apart and not getattr(pool.inside, "cores", None):
                    stay_on(cores[:1])
                work()  # the caller is one of the threads
            finally:
                if apart and spin:
                    pool.inside.cores = cores
                elif apart:
                    stay_on(cores)
                errors = [worker.finish(spin) for worker in started]
    finally:
        if with_workers:
            pool.in_use.release()
    for error in errors:
        if error is not None:
            raise error
    return results


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
    count = max(1, count)
    short, longer = divmod(length, count)
    edges = [short * i + min(i, longer) for i in range(count + 1)]
    return [slice(lo, hi) for lo, hi in zip(edges, edges[1:], strict=False)]
