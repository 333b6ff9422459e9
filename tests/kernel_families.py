"""Tests on every family of BLAS kernels that the processor can execute, and with other numbers of threads.

    python tests/kernel_families.py tests/viz tests/test_docs.py        what follows is pytest's
    python tests/kernel_families.py --others tests/viz                  what a run in this environment has not tried

OpenBLAS chooses its kernels by the processor, so a test that asks for equal bits where only rounding can be promised
passes on one machine and fails on the next. Here the variable OPENBLAS_CORETYPE chooses: the tests run once for each of
FAMILIES, in a process of its own, then with one thread and with one more than there are cores. Variables of the
environment that begin with OPENBLAS_ or OMP_ are left out. A family that cannot run here is named, with the reason.
After a run of the same tests in this environment --others does not repeat them with the family that they had, and the
numbers of threads are tried together with the first of the others, not by runs of their own.

Exits with 1 if a test fails, with 2 where nothing was asked for.
"""

import os
import signal
import subprocess
import sys
import time
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[1]
# From the oldest to the newest of x86-64. NumPy's wheels hold four of them, which stand in for the others; the OpenBLAS
# of a distribution may hold all. NumPy itself does not run on what is older.
FAMILIES = ("Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids")
PYTEST = ("-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not torch")
PROBE = """
import numpy as np
from threadpoolctl import threadpool_info

for dtype in ("f4", "f8"):
    square = np.ones((300, 300), dtype)
    assert (square @ square == 300).all() and (square @ square[0] == 300).all()
print(*{blas.get("architecture") for blas in threadpool_info() if blas["user_api"] == "blas"})
"""


def main(given):
    tests = [word for word in given if word != "--others"]
    if not tests:
        print(__doc__, file=sys.stderr)
        return 2
    had = tried(os.environ).stdout.strip().lower() if len(tests) < len(given) else None
    runs, verdicts = planned(had)
    for name, variables in runs.items():
        print(f"\n---- {name}", flush=True)
        start = time.perf_counter()
        code = subprocess.run([sys.executable, *PYTEST, *tests], cwd=ROOT, env=environment(variables)).returncode
        verdict = "FAILED" if code else "passed"
        verdicts.append(f"{name:36} {verdict} ({time.perf_counter() - start:.0f} s)")
    print("", *verdicts, sep="\n")
    return int(any("FAILED" in verdict for verdict in verdicts))


def planned(had):
    """({name: environment variables} of each run, what is said of each family that is not run).

    had: the family that the tests have run with, in lower case; None where they have not run.
    """
    reasons = {each: "the tests have run with them" if each.lower() == had else missing(each) for each in FAMILIES}
    families = [family for family, reason in reasons.items() if not reason]
    threads = [{"OMP_NUM_THREADS": str(count)} for count in (1, cores() + 1)]
    together = [{"OPENBLAS_CORETYPE": family} for family in families]
    if had is None:
        together += threads
    else:
        together = [one | other for one, other in zip_longest(together, threads, fillvalue={})]
    skipped = [f"{family + ' kernels':36} skipped: {reason}" for family, reason in reasons.items() if reason]
    return {named(variables): variables for variables in together}, skipped


def named(variables):
    """What a run is called: "Nehalem kernels, OMP_NUM_THREADS=1"."""
    words = {"OPENBLAS_CORETYPE": "{} kernels", "OMP_NUM_THREADS": "OMP_NUM_THREADS={}"}
    return ", ".join(words[name].format(value) for name, value in variables.items())


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def environment(variables):
    """This environment with `variables` in place of all that pin BLAS; drawn examples are the same in every run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "OMP_"))}
    return kept | {"CI": "1"} | variables


def tried(variables):
    """A child that multiplies with these variables as its environment, and says which family it runs."""
    return subprocess.run([sys.executable, "-c", PROBE], env=variables, capture_output=True, text=True)


def missing(family):
    """Why this family of kernels cannot run here; "" if it can.

    A child tries: it may die of an illegal instruction. In place of a family that it does not have, OpenBLAS takes
    another without a word, so the child says which one it runs.
    """
    done = tried(environment({"OPENBLAS_CORETYPE": family}))
    if done.returncode < 0:
        return f"the processor cannot execute them ({signal.Signals(-done.returncode).name})"
    if done.returncode:
        return f"the trial failed: {' '.join(done.stderr.strip().splitlines()[-1:])}"
    runs = done.stdout.strip()
    return (
        "" if runs.lower() == family.lower() else f"NumPy's BLAS does not have them, and runs {runs or 'unnamed ones'}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
