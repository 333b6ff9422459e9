"""Long measurements in pieces that are kept as they come: after Ctrl-C or a kill the same command goes on."""

import time
from contextlib import contextmanager
from itertools import count

import numpy as np

import minigrad as mg
from viz.many.store import Writer
from viz.many.work import identity

from .options import folder
from .record import code_sha256, plain, sha256, versions

ELSEWHERE = (
    "model",
    "beside",
    "data",
    "out",
    "store",
    "quiet",
    "device",
)  # known by their weights, pixels, or no matter


def add_store_option(options):
    """--store, for `kept`."""
    what = "keep each batch's figures in this folder: after Ctrl-C or a kill the same command goes on"
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


def remembered(keep, name, attack):
    """The attack(model, image, label, samples), whose results are kept batch by batch, in the order of its calls."""
    calls = count()

    def kept_attack(model, image, label, samples):
        key = f"{name}, call {next(calls)}, {sha256(image)}"
        return keep(key, lambda: {"attacked": np.asarray(attack(model, image, label, samples))})["attacked"]

    return kept_attack
