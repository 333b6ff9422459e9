"""Long measurements in pieces that are kept as they come: after Ctrl-C or a kill the same command goes on."""

import time
from contextlib import contextmanager
from itertools import count

import numpy as np
from tqdm import tqdm

import minigrad as mg
from viz.many.store import Writer
from viz.many.work import identity

from .options import folder
from .record import code_sha256, plain, sha256, versions

# known by their weights, pixels, or no matter
ELSEWHERE = ("model", "beside", "image", "data", "out", "store", "quiet", "device")
BATCH = 16  # photographs


def add_store_option(options):
    """--store, for `kept`."""
    what = "keep each batch's results in this folder: after Ctrl-C or a kill the same command goes on"
    options.add_argument("--store", type=folder, metavar="DIR", help=what)


@contextmanager
def kept(job, images, networks=()):
    """A function keep(key, compute), which gives what compute() does, {name: array}: of --store, if it is there.

    images: the photographs, and networks those beside the job's own, that the figures depend on.
    """
    args = job.args
    if args.store is None:
        yield lambda key, compute: compute()
        return
    question = {
        "command": job.name,
        "options": plain({key: value for key, value in vars(args).items() if key not in ELSEWHERE}),
        "weights": [identity(model) for model in (job.model, *networks)],
        "photographs": {"count": len(images), "sha256": sha256(images)},
        "version": mg.__version__,
    }
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(job.began))
    facts = {"began": began, "command": job.command(job.name, *job.argv), "versions": versions()}
    with Writer(args.store, question) as store:
        store.note(facts | {"code_sha256": code_sha256()})
        yield store.remembered


def by_batches(keep, name, count, compute, size=None, progress=False):
    """{array: (N,...)} of what compute(part) gives, {array: (n,...)}, for slices `part` of N = `count` photographs,
    each kept under `name` and its place. size: of a batch (default: BATCH)."""
    found, size = {}, size or BATCH
    for start in tqdm(range(0, count, size), desc=name, disable=not progress):
        part = slice(start, start + size)
        for key, values in keep(f"{name} {start}", lambda part=part: compute(part)).items():
            found.setdefault(key, []).append(values)
    return {key: np.concatenate(values) for key, values in found.items()}


def remembered(keep, name, attack):
    """The attack(model, image, label, samples), whose results are kept batch by batch, in the order of its calls."""
    calls = count()

    def kept_attack(model, image, label, samples):
        key = f"{name}, call {next(calls)}, {sha256(image)}"
        return keep(key, lambda: {"attacked": np.asarray(attack(model, image, label, samples))})["attacked"]

    return kept_attack
