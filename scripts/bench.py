"""Time minigrad against PyTorch and DeZero, side by side, with accuracy and memory: the table that README shows.

Each case runs in a process of its own, in which the engines take turns. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, with
which some environments hold BLAS back, are unset. Writes bench.md, bench.json and bench.png (cost against size).

--before DIR times this checkout against an earlier one instead (git worktree add DIR COMMIT), call by call in turns,
and writes before.md: what a change has cost.

--device cuda times it on a GPU instead, against PyTorch on the same one, and writes bench_cuda.md and bench_cuda.json.
It needs CuPy and a torch for CUDA, nothing else. A case that fails is named in the report, and the exit code is 1.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import begin  # noqa: F401 (first of all: see there)
import numpy as np
from benchmarks import before, cases
from benchmarks.one_checkout import CASES as BEFORE_CASES

from minigrad.device import device_of, to_device
from models.exits import exit_code
from models.mistakes import UserError
from viz.commands.record import check_folder

EXAMPLE = "python scripts/bench.py --only vgg16-b1,vgg16-grad-b1 --rounds 30"
PINNING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
NEEDED = ("torch", "captum", "skimage")
NEEDED_ON_GPU = ("torch",)
SCRIPTS = Path(__file__).parent


def chosen(text, known):
    """The names in "a,b", in the order of `known`; all of those where nothing was asked for."""
    names = known if text is None else text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"there is no case {unknown[0]!r}: choose from {', '.join(known)}")
    return [name for name in known if name in names]


def positive(text):
    if not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"rounds must be at least 2, got {text!r}")
    return int(text)


options = argparse.ArgumentParser(
    description=__doc__, epilog=f"Example:\n  {EXAMPLE}", formatter_class=argparse.RawDescriptionHelpFormatter
)
ON_GPU = f"{', '.join(cases.NAMES)}; on a GPU {', '.join(cases.GPU_NAMES)}"
options.add_argument("--only", metavar="CASE,...", help=ON_GPU)
options.add_argument("--before", type=Path, metavar="DIR", help=f"an earlier checkout: {', '.join(BEFORE_CASES)}")
options.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or auto (default %(default)s)")
options.add_argument("--rounds", type=positive, default=20, metavar="N", help="of every case (default %(default)s)")
options.add_argument("--out", type=Path, default=Path("out/bench"), metavar="DIR", help="default %(default)s")


def unpinned(environment, *folders):
    """The environment without what pins OpenBLAS's kernels, and with the modules of these folders to be found."""
    kept = {name: value for name, value in environment.items() if name not in PINNING}
    return kept | {"PYTHONPATH": os.pathsep.join([*map(str, folders), *filter(None, [kept.get("PYTHONPATH")])])}


def child(module, *arguments):
    """What `python -m benchmarks.MODULE ARGUMENTS` prints as JSON in its last line."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=unpinned(os.environ, SCRIPTS, SCRIPTS.parent))
    if done.returncode:
        raise RuntimeError(f"benchmarks.{module} {' '.join(map(str, arguments))} failed:\n{done.stderr[-2000:]}")
    *said, last = done.stdout.splitlines() or [""]
    for line in said:
        print(f"  {line}")
    return json.loads(last) if last.startswith(("{", "[")) else None


def timed(case, folder, rounds):
    """One case: its times, and each engine's peak memory."""
    result = child("case", case.name, folder, rounds)
    engines = ["minigrad", "contiguous", "channels_last", *(["dezero"] if "dezero" in result["seconds"] else [])]
    peaks = {engine: child("peak", engine, case.name, folder) for engine in engines}
    return result | {"memory": {(n if n in ("minigrad", "dezero") else f"torch {n}"): p for n, p in peaks.items()}}


def networks(names):
    """The networks that these cases need."""
    needed = {case.network for case in cases.CASES if case.name in names}
    needed |= {"vgg16", "photograph"} if {cases.COLD, cases.ACCURACY, cases.PAGE} & set(names) else set()
    needed |= {case.network for case in cases.BUSY_CASES} if cases.BUSY in names else set()
    return sorted(needed | ({"vgg16_features"} if cases.GROWTH in names else set()))


def write(found, out):
    """Replace the files of the report by what there is so far."""
    from benchmarks import report

    (out / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "bench.md").write_text(report.markdown(found))
    if found.get("growth"):
        report.plot(found, out / "bench.png")


def needs(packages):
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)} must be installed to compare with: run `make bench`")


def against_earlier(args):
    """The table of this checkout beside the one in --before."""
    if not (args.before / "minigrad" / "__init__.py").exists():
        raise UserError(f"--before {args.before}: no checkout; `git worktree add DIR COMMIT` makes one")
    check_folder(args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in chosen(args.only, tuple(BEFORE_CASES)):
        found[name] = before.timed(args.before.resolve(), name, args.rounds, unpinned(os.environ))
        (args.out / "before.md").write_text(before.markdown(found) + "\n")
        print(f"{name}: {before.shares(found[name])}", flush=True)
    print(f"-> {args.out / 'before.md'}")


def run(args):
    if args.before is not None:
        return against_earlier(args)
    device = device_of(to_device(np.zeros(1, np.float32), args.device))  # says what is wrong with it
    names = chosen(args.only, cases.NAMES if device == "cpu" else cases.GPU_NAMES)
    needs(NEEDED if device == "cpu" else NEEDED_ON_GPU)
    check_folder(args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="minigrad-bench-") as folder:
        report, whole = (on_cpu if device == "cpu" else on_gpu)(args, names, folder, device)
    print(report.read_text())
    print(f"-> {report} {report.with_suffix('.json')}")
    if not whole:
        raise SystemExit(1)


def on_cpu(args, names, folder, device):
    print(f"writing networks to {folder}", flush=True)
    child("prepare", folder, *networks(names))
    found = child("machine") | {"rounds": args.rounds, "cases": {}}
    for name in names:
        start = time.time()
        print(f"{name} ...", flush=True)
        if name == cases.COLD:
            found["cold"] = child("cold", folder, args.rounds)
        elif name == cases.ACCURACY:
            found["accuracy"] = child("accuracy", folder)
        elif name == cases.GROWTH:
            found["growth"] = child("growth", folder, max(2, args.rounds // 4))
        elif name == cases.BUSY:
            found["busy"] = child("busy", folder, args.rounds)
        elif name == cases.PAGE:
            found["page"] = child("page", folder, args.rounds)
        else:
            found["cases"][name] = timed(cases.case(name), folder, args.rounds)
        write(found, args.out)
        print(f"  {time.time() - start:.0f} s", flush=True)
    return args.out / "bench.md", True


def on_gpu(args, names, folder, device):
    """The same on a GPU: each case timed in one process, and each engine's peak memory in another."""
    from benchmarks import gpu_report

    if not importlib.import_module("torch").cuda.is_available():
        raise UserError("torch finds no GPU to compare on: install its build for CUDA")
    chosen_cases = [case for case in cases.GPU_CASES if case.name in names]
    needed = {case.network for case in chosen_cases} | ({"vgg16"} if cases.ACCURACY in names else set())
    print(f"writing networks to {folder}", flush=True)
    child("prepare", folder, *sorted(needed))
    found = child("machine", device) | {"device": device, "rounds": args.rounds, "cases": {}, "failed": {}}
    for name in names:
        start = time.time()
        print(f"{name} ...", flush=True)
        try:
            if name == cases.ACCURACY:
                found["accuracy"] = child("gpu_accuracy", folder, device)
            else:
                found["cases"][name] = timed_on_gpu(name, folder, device, args.rounds)
        except RuntimeError as error:  # the other cases are still worth having
            print(error, file=sys.stderr)
            found["failed"][name] = str(error).splitlines()[-1]
        (args.out / "bench_cuda.json").write_text(json.dumps(found, indent=1) + "\n")
        (args.out / "bench_cuda.md").write_text(gpu_report.markdown(found))
        print(f"  {time.time() - start:.0f} s", flush=True)
    return args.out / "bench_cuda.md", not found["failed"]


def timed_on_gpu(name, folder, device, rounds):
    """One case: its times, and each engine's peak memory."""
    result = child("gpu", name, folder, device, rounds)
    engines = {"minigrad": "minigrad", "torch contiguous": "contiguous", "torch channels_last": "channels_last"}
    peaks = {title: child("gpu_peak", engine, name, folder, device) for title, engine in engines.items()}
    return result | {"memory": peaks}


def main(argv=None):
    args = options.parse_args(argv)
    return exit_code("bench", lambda: run(args))


if __name__ == "__main__":
    raise SystemExit(main())
