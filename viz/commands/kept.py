"""Long measurements in pieces, which are kept as they come (after Ctrl-C or a kill the same command goes on), and which
the workers of a Dask cluster may compute."""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import minigrad as mg
from minigrad.nn import Module
from models.mistakes import UserError
from viz.many import engine
from viz.many.store import Writer
from viz.many.work import identity

from .job import Job
from .options import Parser
from .record import code_sha256, plain, sha256, versions

# known by their weights, pixels, or no matter
ELSEWHERE = ("model", "beside", "image", "data", "out", "store", "quiet", "device", "workers", "scheduler")
BATCH = 16  # photographs


def add_store_option(options: Parser) -> None:
    """--store, for `kept`."""
    what = "keep each batch's results in this folder: after Ctrl-C or a kill the same command goes on"
    options.add_argument("--store", type=Path, metavar="DIR", help=what)


def add_worker_options(options: Parser) -> None:
    """--workers and --scheduler, for `workers`."""
    here = "compute in so many processes here, by Dask"
    options.number("--workers", int, here, low=1, shown="default: in this one")
    there = "compute on the workers of a Dask scheduler, such as tcp://10.0.0.7:8786"
    options.add_argument("--scheduler", metavar="ADDRESS", help=there)


@contextmanager
def workers(args: Namespace) -> Iterator[Any]:
    """A Dask client of --workers or --scheduler, None without them."""
    if args.workers and args.scheduler:
        raise UserError("give --workers or --scheduler, not both")
    if not (args.workers or args.scheduler):
        yield None
        return
    with engine.client(args.scheduler, args.workers) as found:
        yield found


class Keep:
    """keep(key, compute) gives what compute() does, {name: array}: of --store, if it is there."""

    def __init__(self, store: Writer | None = None, client: Any = None) -> None:
        self.store, self.client = store, client
        self.sent: tuple[Any, Any] = None, None

    def __call__(self, key: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return compute() if self.store is None else self.store.remembered(key, compute)

    def all(
        self, compute: Callable[..., Any], model: Module, items: Mapping[str, tuple]
    ) -> Iterator[dict[str, np.ndarray]]:
        """What compute(model, *items[key]) gives for each of the items, {key: arguments}, in order; by --workers, where
        cloudpickle must take compute and its arguments."""
        found = {}
        if self.client is not None:
            missing = {key: its for key, its in items.items() if self.store is None or not self.store.remembers(key)}
            for key, result in engine.pieces(self.client, compute, self.at_workers(model), missing):
                found[key] = self(key, lambda result=result: result)
        for key, its in items.items():
            yield found[key] if key in found else self(key, lambda its=its: compute(model, *its))

    def at_workers(self, model: Module) -> Any:
        """The model, sent to each worker, where the last one was another."""
        if self.sent[0] is not model:
            self.sent = model, engine.sent(self.client, model)
        return self.sent[1]


@contextmanager
def kept(job: Job, images: np.ndarray, networks: Sequence[Module] = ()) -> Iterator[Keep]:
    """A Keep. images: the photographs, and networks those beside the job's own, that the figures depend on."""
    args = job.args
    with ExitStack() as stack:
        client = None
        if "workers" in vars(args):
            if (args.workers or args.scheduler) and args.device != "cpu":
                raise UserError(f"--workers and --scheduler of {job.name} compute on CPUs: leave --device out")
            client = stack.enter_context(workers(args))
        store = None if args.store is None else stack.enter_context(Writer(args.store, question(job, images, networks)))
        if store is not None:
            began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(job.began))
            facts = {"began": began, "command": job.command(job.name, *job.argv), "versions": versions()}
            store.note(facts | {"code_sha256": code_sha256()})
        yield Keep(store, client)


def question(job: Job, images: np.ndarray, networks: Sequence[Module]) -> dict[str, Any]:
    """What a store knows of a measurement."""
    return {
        "command": job.name,
        "options": plain({key: value for key, value in vars(job.args).items() if key not in ELSEWHERE}),
        "weights": [identity(model) for model in (job.model, *networks)],
        "photographs": {"count": len(images), "sha256": sha256(images)},
        "version": mg.__version__,
    }


def by_batches(
    keep: Keep,
    name: str,
    compute: Callable[..., Any],
    model: Module,
    arrays: Sequence[np.ndarray],
    size: int | None = None,
    progress: bool = False,
    title: str | None = None,
) -> dict[str, np.ndarray]:
    """{array: (N,...)} of what compute(model, *parts) gives, {array: (n,...)}, for parts of the (N,...) arrays, each
    kept under `name` and its place. size: of a part (default: BATCH). title: of the bar (default: `name`)."""
    found, size = {}, size or BATCH
    places = range(0, len(arrays[0]), size)
    items = {f"{name} {start}": tuple(array[start : start + size] for array in arrays) for start in places}
    for part in tqdm(keep.all(compute, model, items), desc=title or name, total=len(items), disable=not progress):
        for key, values in part.items():
            found.setdefault(key, []).append(values)
    return {key: np.concatenate(values) for key, values in found.items()}


def in_batches(
    keep: Keep, name: str, attack: Callable[..., Any], progress: bool = False, size: int | None = None
) -> Callable[..., np.ndarray]:
    """The attack(model, image, label, samples) of all photographs at once, by `by_batches`; what it gave is kept in the
    order of its calls."""
    calls = count()

    def whole(model: Module, image: np.ndarray, label: np.ndarray, samples: int) -> np.ndarray:
        key, compute = f"{name}, call {next(calls)}, {sha256(image)}", partial(attacked, attack, samples)
        return by_batches(keep, key, compute, model, [image, label], size, progress, title=name)["attacked"]

    return whole


def attacked(
    attack: Callable[..., Any], samples: int, model: Module, image: np.ndarray, label: np.ndarray
) -> dict[str, np.ndarray]:
    """What an attack gives for one batch."""
    return {"attacked": np.asarray(attack(model, image, label, samples))}
