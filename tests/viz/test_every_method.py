"""What holds of every technique: it repeats to the bit, frees its graph, keeps no memory, and minds no other thread.

MINIGRAD_SLOW=1 repeats each 500 times and measures the process itself.
"""

import gc
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.autograd import Function
from tests.viz.every_method import METHODS, SEEDED, network, pictures, run, same_bits

ROOT = Path(__file__).parents[2]
SLOW = "MINIGRAD_SLOW" in os.environ
MAY_GROW = 6 << 20  # of the process: pages that the allocator keeps
TOLERANCE = 2e-4


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_bits(name):
    assert same_bits(run(name, network(), pictures()), run(name, network(), pictures()))


@pytest.mark.parametrize("name", SEEDED)
def test_another_seed_gives_another_result(name):
    assert not same_bits(run(name, network(), pictures(), seed=0), run(name, network(), pictures(), seed=1))


# ---- memory ----------------------------------------------------------------------------------------------------------


def alive():
    """How many Tensors and Functions there are, reachable or not."""
    return sum(isinstance(thing, mg.Tensor | Function) for thing in gc.get_objects())


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def array_bytes():
    """Bytes that NumPy's arrays hold, as tracemalloc sees them."""
    ours = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([ours]).traces)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_is_left_behind(name, no_collector):
    """Without the garbage collector: the graph dies with its last reference, so no cycle holds an image or a layer."""
    model, x = network(), pictures()
    before = alive()
    tracemalloc.start()
    try:
        for _ in range(3):  # tables and scratch memory are made once
            run(name, model, x)
        held = array_bytes()
        for _ in range(4):
            run(name, model, x)
        assert array_bytes() <= held
    finally:
        tracemalloc.stop()
    assert alive() == before


@pytest.mark.skipif(not SLOW, reason="needs MINIGRAD_SLOW=1: some minutes")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux shows it")
@pytest.mark.parametrize("name", METHODS)
def test_500_repetitions_leave_the_process_no_larger(name, no_collector, record_property):
    model, x = network(), pictures()
    for _ in range(20):
        run(name, model, x)
    before, tensors = resident(), alive()
    for _ in range(500):
        run(name, model, x)
    grown = resident() - before
    record_property("grown", grown)
    assert grown < MAY_GROW and alive() == tensors


# ---- threads ---------------------------------------------------------------------------------------------------------


def alternating(model, x, names):
    return [run(name, model, x) for name in names]


@pytest.mark.parametrize("algorithm", ["auto", "direct"])
def test_two_models_in_two_threads_as_one_after_the_other(algorithm):
    """Rules, no_grad, the kernels' workspaces and the choice of algorithm belong to a thread: every bit is the same."""
    names = ["saliency", "guided_backprop", "features", "lrp", "pgd", "grad_cam", "smooth_grad", "maximize"]
    tasks = [(network(1), pictures(1, 48), names), (network(2), pictures(2, 40), names[::-1])]

    def work(task):
        with mg.conv_algorithm(algorithm):
            return alternating(*task)

    wanted = [work(task) for task in tasks]
    for _ in range(3):
        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(work, tasks))
        for one, other in zip(wanted, found, strict=True):
            assert all(same_bits(a, b) for a, b in zip(one, other, strict=True))


def test_one_model_in_two_threads():
    model, x = network(), pictures(0, 32)
    wanted = alternating(model, x, ["saliency", "lrp", "score_cam"])
    with ThreadPoolExecutor(2) as threads:
        for found in threads.map(lambda _: alternating(model, x, ["saliency", "lrp", "score_cam"]), range(4)):
            assert all(same_bits(a, b) for a, b in zip(wanted, found, strict=True))


def test_the_modes_of_one_thread_are_not_those_of_another():
    x = mg.Tensor(np.ones(3, np.float32), requires_grad=True)
    with mg.no_grad(), mg.conv_algorithm("direct"), ThreadPoolExecutor(1) as threads:
        assert not (x * 2).requires_grad
        assert threads.submit(lambda: (x * 2).requires_grad).result()


IN_A_PROCESS = """
import sys
import numpy as np
from tests.viz.every_method import METHODS, network, pictures, run
made = {}
for name in sys.argv[2:]:
    for i, array in enumerate(run(name, network(), pictures(0, 48))):
        made[f"{name} {i}"] = array
np.savez(sys.argv[1], **made)
"""


def test_other_counts_of_threads_agree(tmp_path):
    """One thread or two: within 2e-4 of the largest value (an attack's signs may flip where a gradient is nearly 0)."""
    names = ["saliency", "integrated_gradients", "smooth_grad", "grad_cam", "lrp", "rise", "occlusion", "features"]
    found = []
    for count in (1, 2):
        command = [sys.executable, "-c", IN_A_PROCESS, tmp_path / f"{count}.npz", *names]
        environment = os.environ | {"OMP_NUM_THREADS": str(count), "PYTHONPATH": str(ROOT)}
        subprocess.run(command, check=True, env=environment, cwd=ROOT)
        with np.load(tmp_path / f"{count}.npz") as file:
            found.append(dict(file))
    assert found[0].keys() == found[1].keys()
    for key, one in found[0].items():
        assert np.abs(one - found[1][key]).max() <= TOLERANCE * np.abs(one).max(), key
