"""Reading in a process of its own, with limits: what kills, hangs or fills the reader is an answer and not the end.

A fault in C (libhdf5, libjpeg, ...) takes the process with it, so the reader lives in a child that is asked over a pipe
and started anew when it dies.
"""

import multiprocessing
import time
import traceback
from pathlib import Path

import numpy as np

SECONDS = 400  # of waiting: a reader that takes longer hangs, on a slow machine too
CPU_SECONDS = 10  # of work for one input: these are small files
MEMORY = {"image": 4 << 30}  # address space beyond what the idle reader has; 80 megapixels take a few copies
MEMORY_FOR_WEIGHTS = 1 << 30
LONGEST_SENTENCE = 2_000


def _image(path):
    from models import load_image

    image = load_image(path, 16)
    assert image.shape == (1, 3, 16, 16) and image.dtype == np.float32
    assert image.min() >= 0 and image.max() <= 1  # and so no NaN


def _weights(path):
    from models.weights_file import read

    assert all(np.isfinite(array).all() for array in read(path).state_dict().values())


def _foreign(path):
    from models.convert import read

    assert read(path).layers


def _onnx(path):
    from models.convert.onnx_file import read_onnx

    assert read_onnx(path, "unit", (16, 16)).input_size


def _convert(path):
    from models.convert import convert

    assert convert(path, preprocessing="unit", size=8).input_size


def _state(path):
    from minigrad.serialization import load

    assert all(isinstance(array, np.ndarray) for array in load(path).values())


READERS = {
    "image": _image,
    "weights": _weights,
    "foreign": _foreign,
    "onnx": _onnx,
    "convert": _convert,
    "state": _state,
}


def _documented(kind):
    """The exceptions that a reader may raise."""
    from models import ImageError, WeightsError

    return {"image": ImageError, "state": (OSError, ValueError)}.get(kind, WeightsError)


def _answer(kind, path):
    """("read", ""), ("refused", sentence) or ("failed", why)."""
    try:
        READERS[kind](path)
    except _documented(kind) as error:
        sentence = str(error)
        lines = kind != "state" and "\n" in sentence  # the engine passes HDF5's own words on
        if lines or not sentence or len(sentence) > LONGEST_SENTENCE or "memory" in sentence.lower():
            return "failed", f"no sentence for people: {sentence!r}"
        return "refused", sentence
    except BaseException:
        return "failed", traceback.format_exc()
    return "read", ""


def _serve(kind, connection):
    import resource  # not everywhere

    _answer(kind, Path(__file__))  # imports what it needs
    space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = space + MEMORY.get(kind, MEMORY_FOR_WEIGHTS)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send("ready")
    while True:
        path = connection.recv()
        began = time.process_time()
        outcome, why = _answer(kind, path)
        seconds = time.process_time() - began
        if seconds > CPU_SECONDS:
            outcome, why = "failed", f"took {seconds:.1f} s"
        connection.send((outcome, why, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10))


class Reader:
    """Asks a child to read files of one kind, and counts what came of it."""

    def __init__(self, kind, path):
        self.kind, self.path, self.process = kind, path, None
        self.outcomes, self.slowest, self.largest = {"read": 0, "refused": 0}, 0.0, 0

    def __call__(self, content):
        """The outcome, "read" or "refused", for a file of this content; AssertionError for anything else."""
        self.path.write_bytes(content)
        if self.process is None:
            self._start()
        try:
            self.connection.send(self.path)
            assert self.connection.poll(SECONDS), f"hangs: no answer in {SECONDS} s"
            outcome, why, seconds, megabytes = self.connection.recv()
        except (EOFError, ConnectionError, AssertionError) as error:
            code = self.stop()
            raise AssertionError(str(error) or f"the reader died, exit code {code}") from None
        assert outcome != "failed", why
        self.outcomes[outcome] += 1
        self.slowest, self.largest = max(self.slowest, seconds), max(self.largest, megabytes)
        return outcome

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(self.kind, theirs), daemon=True)
        self.process.start()
        theirs.close()
        assert self.connection.recv() == "ready"

    def stop(self):
        if self.process is None:
            return None
        self.process.kill()
        self.process.join()
        self.connection.close()
        code, self.process = self.process.exitcode, None
        return code
