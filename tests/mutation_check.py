"""Mutation check: plant classic mistakes, one at a time, and see the tests catch every one.

    python tests/mutation_check.py                      all of mutants.py
    python tests/mutation_check.py --only grad_cam      those with "grad_cam" in their name

Each mistake is planted in a copy of the project in a temporary folder, where the tests that it names are run. They must
pass in the untouched copy first. Exits with 1 if a mistake survives or its tests do not run, with 2 for a wrong option.
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants import MUTANTS

ROOT = Path(__file__).parents[1]
PARTS = ("minigrad", "models", "viz", "scripts", "tests")
WORKERS = 2
LIMIT = 300  # seconds for the tests of one mistake; on a slow machine twice what all take without any
PYTEST = ("-m", "pytest", "-x", "-rfE", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not torch")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="NAME", default="", help="mistakes with this in their name")
    only = parser.parse_args().only
    chosen = [mutant for mutant in MUTANTS if only in mutant.name]
    if not chosen:
        parser.error(f"no mistake has {only!r} in its name; they are {', '.join(m.name for m in MUTANTS)}")

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        trees = queue.SimpleQueue()
        for number in range(WORKERS):
            trees.put(copy_of_the_project(Path(folder) / str(number)))
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        code, output, seconds = run_tests(trees, tests)
        if code:
            print(output, "These tests must pass before any mistake is planted.", sep="\n", file=sys.stderr)
            return 1
        limit = max(LIMIT, 2 * seconds)
        print(f"{len(tests)} tests or files of tests pass without mistakes ({seconds:.0f} s)\n")

        print(f"{'mistake':42} {'file':34} {'':8} {'s':>4}  by")
        verdicts = []
        checked = pool.map(lambda mutant: check(trees, mutant, limit), chosen)
        for mutant, (verdict, seconds, by) in zip(chosen, checked, strict=True):
            print(f"{mutant.name:42} {mutant.file:34} {verdict:8} {seconds:4.0f}  {by}", flush=True)
            verdicts.append(verdict)
    caught = verdicts.count("caught")
    print(f"\n{caught} of {len(chosen)} mistakes caught")
    return 0 if caught == len(chosen) else 1


def copy_of_the_project(tree):
    """A copy of what the tests need, without compiled files, which would outlive a change of the same second."""
    for part in PARTS:
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def check(trees, mutant, limit=None):
    """(verdict, seconds, the test that noticed): "caught", "SURVIVED" or "ERROR", of the tests with the mistake."""
    try:
        code, output, seconds = run_tests(trees, mutant.tests, mutant, limit)
    except ValueError as error:
        return "ERROR", 0.0, str(error)
    if code == 1 and (noticed := re.search(r"^(?:FAILED|ERROR) tests/(.+?)(?: - |$)", output, re.MULTILINE)):
        return "caught", seconds, noticed[1]
    if code == 0:
        return "SURVIVED", seconds, mutant.why
    return "ERROR", seconds, f"the tests did not run (exit code {code}): {' '.join(output.strip().splitlines()[-1:])}"


def planted(root, mutant):
    """The text of the mutant's file with the mistake in it. ValueError if it does not apply."""
    text = (root / mutant.file).read_text("utf-8")
    if (count := text.count(mutant.old)) != 1:
        raise ValueError(f"{mutant.name}: {mutant.old!r} is found {count} times in {mutant.file}, expected once")
    return text.replace(mutant.old, mutant.new)


def run_tests(trees, tests, mutant=None, limit=None):
    """(exit code, output, seconds) of pytest in one of the trees, with the mistake planted; stopped after `limit`."""
    tree = trees.get()
    path = mutant and tree / mutant.file
    original = path and path.read_text("utf-8")
    # The copy is imported, not the installed project; nothing compiled is left; drawn examples are the same every time.
    # Which lines of a copy run is not to be measured, where this itself runs under coverage.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    env |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "CI": "1", "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    try:
        if mutant:
            path.write_text(planted(tree, mutant), "utf-8")
        command = [sys.executable, *PYTEST, *tests]
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=limit)
        return done.returncode, done.stdout + done.stderr, time.perf_counter() - start
    except subprocess.TimeoutExpired:
        return None, f"stopped after {limit:.0f} s", time.perf_counter() - start
    finally:
        if mutant:
            path.write_text(original, "utf-8")
        trees.put(tree)


if __name__ == "__main__":
    sys.exit(main())
