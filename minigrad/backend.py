"""Where arrays live and who works on them: NumPy or CuPy, CPU or GPU, and the threads of the CPU kernels.

CuPy is never imported here unless a GPU is asked for: an array can only be CuPy's if somebody imported CuPy already.
"""

import contextlib
import math
import mmap
import os
import sys
import threading

import numpy as np

from .workers import CAN_SPIN, Worker, stay_on

# ---------------------------------------------------------------------------------------------------------------------
# Array modules and devices
# ---------------------------------------------------------------------------------------------------------------------

_registered: dict = {}  # array type -> module with NumPy's functions


def register_array_module(array_type, module):
    """Let arrays of `array_type` be computed on by `module`, which offers NumPy's functions as CuPy does."""
    _registered[array_type] = module


def _module_of(array):
    """The module that computes on `array`; None for what goes with any module (Python scalars, lists)."""
    if type(array) is np.ndarray:
        return np
    for array_type, module in _registered.items():
        if isinstance(array, array_type):
            return module
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        return cupy
    return np if isinstance(array, np.ndarray) else None


def is_array(x):
    """Whether x is an array that can be computed on: NumPy's (scalars included), CuPy's or a registered one."""
    return isinstance(x, np.generic) or _module_of(x) is not None


def array_module(*arrays):
    """NumPy, or CuPy when the arrays are CuPy's. Python and NumPy scalars go with either.

    Raises TypeError when the arrays do not share one module.
    """
    found = None
    for array in arrays:
        module = _module_of(array)
        if module is None or module is found:
            continue
        if found is not None:
            names = ", ".join(getattr(_module_of(a), "__name__", type(a).__name__) for a in arrays)
            raise TypeError(f"arrays on different devices ({names}): move them to one device first, with .to(device)")
        found = module
    return np if found is None else found


def device_of(array):
    """ "cpu" for a NumPy array, "cuda:0" for a CuPy array on the first GPU."""
    if type(array) is np.ndarray or array_module(array) is np:
        return "cpu"
    return f"cuda:{int(getattr(getattr(array, 'device', None), 'id', 0))}"


_host = contextlib.nullcontext()


def current_device(array):
    """A context in which what is computed and made anew is where `array` is: its GPU is the current one."""
    if type(array) is np.ndarray or array_module(array) is np:
        return _host
    return getattr(array, "device", _host)


def one_device(function, arguments):
    """TypeError where the arrays or Tensors `arguments` ({name: value}) of `function` are not on one device."""
    if all(type(x) is np.ndarray for x in arguments.values() if x is not None):
        return
    devices = {
        name: getattr(x, "device", None) if isinstance(getattr(x, "device", None), str) else device_of(x)
        for name, x in arguments.items()
        if x is not None
    }
    if len(set(devices.values())) > 1:
        first, *others = devices.items()
        other = next(pair for pair in others if pair[1] != first[1])
        raise TypeError(f"{function}: {first[0]} is on {first[1]}, {other[0]} on {other[1]}: move one with .to(device)")


def to_numpy(array):
    """The array on the CPU: itself if it is there already, otherwise a copy."""
    module = array_module(array)
    return np.asarray(array) if module is np else module.asnumpy(array)


def to_device(array, device):
    """The array on `device`: "cpu", "cuda" (the current GPU), "cuda:1", or "auto" (a GPU if there is one).

    Returns the array itself where it is there already. Raises as `find_device` does.
    """
    device = find_device(device)
    if device == "cpu":
        return to_numpy(array)
    if device_of(array) == device:
        return array
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.asarray(array)


def find_device(device):
    """The device that the name stands for, "cpu" or "cuda:0" with the GPU's number.

    device: "cpu", "cuda" (the current GPU), "cuda:1", or "auto" (the current GPU if there is one, else the CPU). Raises
    ValueError for a name that is none of these, and RuntimeError where CuPy or the GPU is missing.
    """
    if device == "cpu":
        return device
    kind, colon, index = str(device).partition(":")
    if kind not in ("cuda", "auto") or colon and (kind == "auto" or not index.isdecimal()):
        raise ValueError(f'device is {device!r}: give "cpu", "cuda", "cuda:0" (a GPU\'s number) or "auto"')
    cupy, problem = _cupy()
    if cupy is None:
        if kind == "auto":
            return "cpu"
        raise RuntimeError(f"device {device!r} is not available: {problem}")
    count = cupy.cuda.runtime.getDeviceCount()
    if index and int(index) >= count:
        raise RuntimeError(f"device {device!r} is not available: this machine has {count} GPU(s), numbered from 0")
    return f"cuda:{int(index) if index else cupy.cuda.Device().id}"


def _cupy():
    """(cupy, "") or (None, why not)."""
    try:
        import cupy
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            return None, "CuPy is not installed (pip install 'minigrad[cuda12]' or 'minigrad[cuda13]')"
        said = [line.strip() for line in str(error).splitlines() if line.strip(" =")]  # of which the cause comes last
        return None, f"CuPy is installed but cannot be imported ({said[-1] if said else type(error).__name__})"
    try:
        if cupy.cuda.runtime.getDeviceCount() > 0:
            return cupy, ""
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return None, f"CuPy finds no GPU ({error})"
    return None, "CuPy finds no GPU"


# ---------------------------------------------------------------------------------------------------------------------
# Threads
# ---------------------------------------------------------------------------------------------------------------------
# NumPy's ufuncs and copies use one core and release the interpreter lock, BLAS uses all cores for one product. Kernels
# cut their work into blocks that fit a core's cache, and every thread takes block after block through all its steps,
# with BLAS held to one thread meanwhile.


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
def awake():
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


_HUGE = 1 << 21  # bytes of a huge page


def lasting_empty(shape, dtype):
    """An uninitialised array for long use, in memory of its own, where the system can in huge pages.

    Memory that malloc gives again has the small pages that it began with, and an address in small pages takes long to
    look up, above all in a virtual machine: with the kernels' scratch memory in small pages, VGG16 took 4 % more time.
    Linux begins a mapping where a huge page begins only if it is of whole ones.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < _HUGE // 2 or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(shape, dtype)
    try:
        memory = mmap.mmap(-1, -(-size // _HUGE) * _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:
        raise MemoryError(f"no memory for an array of shape {shape} and {np.dtype(dtype)}") from None
    with contextlib.suppress(OSError):  # a system without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE, 0, (size + _HUGE // 2) // _HUGE * _HUGE)  # not for a short rest
    return np.frombuffer(memory, dtype, math.prod(shape)).reshape(shape)


class Workspace(threading.local):
    """Scratch arrays kept from call to call, one set for each thread: a fresh array costs a page fault for every 4 KiB.

    At most `limit` bytes stay with one name; anything larger is allocated anew each time.
    """

    def __init__(self, limit=48 << 20):
        self.limit = limit
        self.buffers = {}

    def empty(self, name, shape, dtype):
        """An uninitialised array, valid until the same thread asks for `name` again."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > self.limit:
            return np.empty(shape, dtype)
        buffer = self.buffers.get(name)
        if buffer is None or buffer.nbytes < size:
            buffer = self.buffers[name] = lasting_empty((size,), np.uint8)
        return buffer[:size].view(dtype).reshape(shape)
