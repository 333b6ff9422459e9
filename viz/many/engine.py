"""Who computes: threads of this process, or the workers of a Dask cluster. Nothing of scheduling is ours.

`here` and `on_dask` give the answers as they come. A worker that dies has its batches computed by another, a batch that
fails is tried again; each answer comes once.
"""

import logging
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from itertools import islice
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np

from minigrad.device import current_device, to_device
from minigrad.kernels import one_thread, thread_count
from minigrad.nn import Module
from models.mistakes import UserError

from .photographs import Batch, decoded
from .work import Answer, Question, answer, held, share_cores, unanswered

AHEAD = 2  # batches that wait, for a thread or at a worker, while others are computed
SIDE_BY_SIDE = 4  # batches at most, each in memory with its activations; with more cores, one after another on all
RETRIES = 2
PATIENCE = "10s"  # until a scheduler answers


def here(question: Question, batches: Iterator[Batch]) -> Iterator[Answer]:
    """The answers in order, computed by threads of this process: a batch on each core, which beats one batch on all.
    The caller's thread reads and decodes the next ones meanwhile."""
    model, cores = held(question), thread_count() if question.device == "cpu" else 1
    count = cores if cores <= SIDE_BY_SIDE else 1
    waiting: deque = deque()
    with ThreadPool(count) as threads:  # daemons: a second Ctrl-C does not wait for them
        for batch in batches:
            waiting.append(threads.apply_async(in_thread, (question, batch, decoded(model, batch), count > 1)))
            if len(waiting) == count + AHEAD:
                yield waiting.popleft().get()
        while waiting:
            yield waiting.popleft().get()


def in_thread(question: Question, batch: Batch, ready: tuple, alone: bool) -> Answer:
    """`answer`, in a thread of `here`; alone: on one core."""
    device = current_device(to_device(np.zeros(1, np.float32), question.device))
    with device, one_thread() if alone else nullcontext():
        return answer(question, batch, ready)


# ---- Dask ------------------------------------------------------------------------------------------------------------


@contextmanager
def client(scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """A Dask client: of the scheduler at an address, or of a cluster of `workers` processes on this machine."""
    try:
        import distributed
    except ImportError:
        raise UserError("--scheduler and --workers need Dask: pip install 'minigrad[dask]'") from None
    if scheduler is not None:
        try:
            found = distributed.Client(scheduler, timeout=PATIENCE, set_as_default=False)
        except Exception as error:  # of any kind, where something else answers at the address
            raise UserError(f"there is no Dask scheduler at {scheduler}: {error}") from None
        with found:
            yield found
        return
    options = {"threads_per_worker": 1, "dashboard_address": ":0", "processes": True, "memory_limit": 0}
    # what fails at a worker comes back; what its log says at the end is that it misses the scheduler
    options["silence_logs"] = logging.CRITICAL
    with without_ctrl_c():
        cluster = distributed.LocalCluster(n_workers=workers, **options)
    with cluster:
        with distributed.Client(cluster, set_as_default=False) as found:
            yield found


@contextmanager
def without_ctrl_c() -> Iterator[Any]:
    """Processes started within do not hear Ctrl-C, which a terminal sends to all: this one ends them in order."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def on_dask(
    found: Any, question: Question, batches: Iterator[Batch], stopped: Callable[[], bool] = lambda: False
) -> Iterator[Answer]:
    """The answers of a Dask client's workers, as they come.

    stopped: asked every second; True ends the work, without what is in flight.
    """
    for batch, future in finished(found, partial(at_worker, question), batches, stopped):
        yield failed(question, batch, future.exception()) if future.status == "error" else future.result()


def finished(
    found: Any, work: Callable[..., Any], items: Iterable[Any], stopped: Callable[[], bool], *more: Any
) -> Iterator[tuple[Any, Any]]:
    """(item, future of work(item, threads, *more)) of a Dask client, as they end; AHEAD are with every worker's thread.

    threads: {worker's address: its count}.
    """
    from distributed import wait

    waiting, unread = {}, iter(items)
    while not stopped():
        threads = found.nthreads()
        for item in islice(unread, max(0, AHEAD * max(1, sum(threads.values())) - len(waiting))):
            waiting[found.submit(work, item, threads, *more, retries=RETRIES, pure=False)] = item
        if not waiting:
            return
        with suppress(TimeoutError), found.as_current():
            wait(list(waiting), timeout=1, return_when="FIRST_COMPLETED")
        for future in [future for future in waiting if future.done()]:
            yield waiting.pop(future), future


def failed(question: Question, batch: Batch, error: BaseException) -> Answer:
    """The Answer of a batch that no worker could compute: rows that say why."""
    if isinstance(error, UserError):
        raise error
    return unanswered(question, batch, f"{type(error).__name__}: {error}")


def at_worker(question: Question, batch: Batch, threads: dict[str, int]) -> Answer:
    """`answer`, at a worker."""
    share_with(threads)
    return answer(question, batch)


def sent(found: Any, model: Module) -> Any:
    """The model as each of a Dask client's workers has it from now on, for `pieces`."""
    return found.scatter(model, broadcast=True, hash=False)


def pieces(found: Any, compute: Callable[..., dict], there: Any, items: dict[str, tuple]) -> Iterator[tuple[str, dict]]:
    """(key, compute(model, *items[key])) of a Dask client's workers, as they come. there: the model, `sent`."""
    try:
        for (key, _), future in finished(found, partial(piece_at_worker, compute), items.items(), lambda: False, there):
            yield key, future.result()
    except CancelledError:
        raise UserError(
            "every worker that had the network has died: take more --workers, and --store to go on"
        ) from None


def piece_at_worker(
    compute: Callable[..., dict], item: tuple[str, tuple], threads: dict[str, int], model: Module
) -> dict:
    """A piece of `pieces`, at a worker."""
    share_with(threads)
    return compute(model, *item[1])


def share_with(threads: dict[str, int]) -> None:
    """Keep to this worker's share of the cores of its machine. threads: {worker's address: its count}."""
    from distributed import get_worker

    worker = get_worker()
    share_cores(threads_beside(worker.address, worker.state.nthreads, threads))


def threads_beside(address: str, own: int, threads: dict[str, int]) -> int:
    """How many threads the workers have on the machine of the one at `address`, its `own` with them: it may have come
    after `threads`, {worker's address: its count}, were counted."""
    counts = threads | {address: max(1, own)}
    return sum(count for other, count in counts.items() if host(other) == host(address))


def host(address: str) -> str:
    """ "10.0.0.7" of "tcp://10.0.0.7:8786"."""
    return address.partition("://")[2].rpartition(":")[0]
