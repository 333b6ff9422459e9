"""From the shell prompt to a written Grad-CAM PNG: VGG16 with full-size weights, a process of its own each time."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import measure

SCRIPTS = Path(__file__).parents[1]


def commands(folder):
    """{engine: (command, the PNG it writes)}"""
    folder = Path(folder)
    photo, out = folder / "cat.png", folder / "cold"
    ours = [SCRIPTS / "grad_cam.py", photo, "--model", folder / "vgg16.h5", "--out", out, "--quiet"]
    theirs = [SCRIPTS / "benchmarks" / "torch_grad_cam.py", folder / "vgg16.pth", photo, out / "torch.png"]
    written = {"minigrad": (ours, out / "grad_cam_cat_vgg16.png"), "torch and captum": (theirs, out / "torch.png")}
    return {engine: ([sys.executable, *map(str, words)], png) for engine, (words, png) in written.items()}


def environment():
    """This process's, but with bytecode kept: a second start of a program is what is timed, as on a user's machine."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(command, png):
    """Run the command; raises RuntimeError unless it wrote the PNG."""
    png.unlink(missing_ok=True)
    png.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode or not png.is_file() or png.read_bytes()[:4] != b"\x89PNG":
        raise RuntimeError(f"{Path(command[1]).name} wrote no PNG: {done.stderr.strip()[-400:]}")


def forget(path):
    """Drop a file's pages from the page cache, as far as no other process has them mapped; False where one cannot."""
    if not hasattr(os, "posix_fadvise"):
        return False
    with open(path, "rb") as file:
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def cold(folder, rounds):
    """{"cached": {engine: seconds}, "uncached": ... or None}: with the weights in the page cache, and without them.

    Libraries and bytecode are in the page cache in both; uncached is run a quarter as often.
    """
    steps = {engine: lambda c=command, p=png: run(c, p) for engine, (command, png) in commands(folder).items()}
    for step in steps.values():
        step()
    cached, uncached = measure.interleaved(steps, rounds), None
    weights = {"minigrad": Path(folder) / "vgg16.h5", "torch and captum": Path(folder) / "vgg16.pth"}
    if all(forget(path) for path in weights.values()):
        uncached = {engine: [] for engine in steps}
        for _ in range(max(2, rounds // 4)):
            for engine, step in steps.items():
                forget(weights[engine])
                start = time.perf_counter()
                step()
                uncached[engine].append(time.perf_counter() - start)
    return {"cached": cached, "uncached": uncached}


if __name__ == "__main__":
    print(json.dumps(cold(sys.argv[1], int(sys.argv[2]))))
