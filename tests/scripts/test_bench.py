"""The benchmark's arithmetic: taking turns, ratios of neighbours, tables. Nothing here is timed."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import bench
import numpy as np
import pytest
from benchmarks import busy, cases, cold, measure, page, report

import minigrad as mg
import models

from . import tiny
from .browser import needed

SCRIPTS = Path(bench.__file__).parent
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="compares with PyTorch")


# ---- measuring -------------------------------------------------------------------------------------------------------


def test_engines_take_turns_and_the_order_alternates():
    called, now = [], [0.0]

    def step(name, seconds):
        def run():
            called.append(name)
            now[0] += seconds

        return run

    taken = measure.interleaved(
        {"a": step("a", 1.0), "b": step("b", 2.0), "slow": step("slow", 8.0)}, 4, {"slow": 2}, clock=lambda: now[0]
    )
    assert called == ["a", "b", "slow", "b", "a", "a", "b", "slow", "b", "a"]
    assert taken == {"a": [1.0] * 4, "b": [2.0] * 4, "slow": [8.0, None, 8.0, None]}


def test_rest_after_a_step_is_not_counted(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(measure.time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    steps = dict.fromkeys(("a", "b"), lambda: now.append(now.pop() + 1))
    taken = measure.interleaved(steps, 2, rest={"b": 0.5}, clock=lambda: now[0])
    assert taken == {"a": [1.0, 1.0], "b": [1.0, 1.0]} and now == [5.0]


def test_spread_is_median_and_quartiles():
    assert measure.spread([5, None, 1, 2, 4, 3]) == (3, 2, 4)
    assert measure.spread([None, 7.0]) == (7.0, 7.0, 7.0)


def test_ratio_pairs_runs_of_one_round():
    """The machine halves its speed half-way: the ratio of medians would say 1.5, neighbours say 2."""
    ours, theirs = [1, 1, 2, 2, 2], [2, 2, 4, 4, 4]
    assert measure.ratio(theirs, ours) == (2, 2, 2)
    assert measure.ratio([4, None, None, 8, None], ours)[0] == 4


def test_fastest_of_torchs_modes():
    taken = {"minigrad": [1], "torch contiguous": [5, 5, 1], "torch channels_last": [3, 3, 9]}
    assert measure.fastest(taken, "torch") == "torch channels_last"
    assert measure.fastest({"minigrad": [1]}, "torch") is None


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_exponent(power):
    sizes = [1, 2, 4, 8]
    assert measure.exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


# ---- the report ------------------------------------------------------------------------------------------------------


ERRORS = ("scores", "gradient", "held gradient")


def error_row(error, flips=0):
    errors = {f"{what} {kind}": error for what in ERRORS for kind in ("99.9 %", "max")}
    counts = {"relu flips": flips, "relu decisions": 1000, "pool flips": flips, "pool decisions": 250}
    return errors | {f"{what} 1 - cosine": 1e-12 for what in ERRORS} | counts


FOUND = {
    "machine": {"minigrad": "0.1.0", "CPU": "a CPU"},
    "limits": {"sgemm": {"1": 1e11, "2": 2e11}, "copy": {"1": 1e10, "2": 2e10}},
    "cases": {
        "vgg16-b1": {
            "seconds": {
                "minigrad": [0.1, 0.1, 0.1],
                "torch contiguous": [0.2, 0.2, 0.2],
                "torch channels_last": [0.15, 0.15, 0.15],
                "dezero": [0.3, None, None],
            },
            "flops": 1e10,
        },
        "vgg16-grad-b1": {
            "seconds": {"minigrad": [0.2], "torch contiguous": [0.2]},
            "flops": 2e10,
            "memory": {
                "minigrad": {"whole": 300 << 20, "imported": 50 << 20},
                "torch contiguous": {"whole": 400 << 20, "imported": 150 << 20},
                "torch channels_last": {"whole": 240 << 20, "imported": 140 << 20},
            },
        },
    },
    "cold": {"cached": {"minigrad": [1.0], "torch and captum": [3.5]}, "uncached": None},
    "accuracy": {"direct": error_row(1e-6), "winograd": error_row(1e-4, flips=3)},
    "busy": {"a case": {"quiet": {"1": [0.1], "2": [0.05]}, "busy": {"1": [0.2, 0.2], "2": [0.125]}}},
    "page": {"MiniVGG 112 px": {"lrp": {"page": [0.1, 0.18], "own": [0.07]}}},
    "growth": {"pixels": {"100": {"minigrad": 0.1}, "400": {"minigrad": 0.4}}},
}


def line(text, beginning):
    return next(row for row in text.splitlines() if row.startswith(f"| {beginning}"))


def test_report_judges_every_bar(tmp_path):
    text = report.markdown(json.loads(json.dumps(FOUND)))
    forward = line(text, "VGG16 224 px, batch 1, forward | 100 (100 to 100) ms")
    assert "150 (150 to 150) ms, channels_last; contiguous 200" in forward
    assert "| **1.50** (1.50 to 1.50) | 1.4 (met) | 50% |" in forward
    assert "| **1.00** (1.00 to 1.00) | 1.3 (missed) | 50% |" in line(text, cases.case("vgg16-grad-b1").title)
    assert "| **3.00** (3.00 to 3.00) | 4 (missed) |" in text
    assert "| **3.50** (3.50 to 3.50) | 5 (missed) |" in line(text, cases.COLD_TITLE)
    assert "whole process | 300 | torch contiguous 400, torch channels_last 240 | 1.25 | 1 (missed) |" in text
    assert "beyond importing | 250 | torch contiguous 250, torch channels_last 100 | 2.50 | – |" in text
    assert "| 2e-06 (met) |" in line(text, "direct") and "| 2e-05 (missed) |" in line(text, "winograd")
    assert "3 of 1,000 | 3 of 250" in text
    assert line(text, "a case, 1 thread").endswith("| 100 (100 to 100) ms | 200 (200 to 200) ms | 2.0 |")
    assert line(text, "a case, 2 threads").endswith("| 50 (50 to 50) ms | 125 (125 to 125) ms | 2.5 |")
    row = line(text, "lrp, MiniVGG 112 px")
    assert row.endswith("| 140 (120 to 160) ms | 70 (70 to 70) ms | 150 ms (met) |")
    assert line(text, "time against pixels, minigrad").endswith("| 1.00 |")
    report.plot(FOUND, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes()[:4] == b"\x89PNG"


def test_report_of_a_part_has_only_that_part():
    text = report.markdown({"machine": {}, "limits": FOUND["limits"], "cold": FOUND["cold"], "cases": {}})
    assert cases.COLD_TITLE in text and "VGG16 224" not in text and "error of" not in text and "peak" not in text


# ---- the command -----------------------------------------------------------------------------------------------------


def test_what_pins_openblas_is_unset():
    pinned = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "1", "HOME": "/h", "PYTHONPATH": "/p"}
    kept = bench.unpinned(pinned, SCRIPTS, SCRIPTS.parent)
    assert kept.keys() == {"HOME", "PYTHONPATH"} and kept["PYTHONPATH"].endswith("/p")
    assert str(SCRIPTS) in kept["PYTHONPATH"]


def test_options(tmp_path, capsys):
    assert bench.chosen("squeezenet,vgg16-b1", cases.NAMES) == ["vgg16-b1", "squeezenet"]
    assert bench.chosen(None, cases.GPU_NAMES) == list(cases.GPU_NAMES)
    assert bench.networks(["grad-cam-cold", "growth"]) == ["photograph", "vgg16", "vgg16_features"]
    assert bench.networks(["page"]) == ["photograph", "vgg16"]
    assert bench.networks(["busy"]) == ["squeezenet1_1", "vgg16"]
    with pytest.raises(SystemExit) as left:
        bench.main(["--rounds", "1"])
    assert left.value.code == 2 and "rounds must be at least 2" in capsys.readouterr().err
    assert bench.main(["--only", "resnet", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("bench: there is no case 'resnet': choose from vgg16-b1, ")


def test_without_torch_it_says_what_to_do(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "NEEDED", ("no_such_package",))
    assert bench.main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "bench: no_such_package must be installed to compare with: run `make bench`\n"


def test_a_failing_child_is_no_result():
    with pytest.raises(RuntimeError, match="benchmarks.case nonsense .* failed:(.|\n)*"):
        bench.child("case", "nonsense", "nowhere", 2)


def test_the_machine_measures_itself():
    found = bench.child("machine")
    assert all(rate > 0 for kind in found["limits"].values() for rate in kind.values())
    assert found["machine"]["NumPy"] == np.__version__ and found["machine"]["CPU"] == mg.show_config("dicts")["CPU"]


@needed
def test_the_page_is_timed_from_click_to_picture(tmp_path):
    pytest.importorskip("selenium", reason="selenium is not installed: pip install 'minigrad[test]'")
    pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'minigrad[test]'")
    weights, picture = str(tiny.write(tmp_path)), str(tmp_path / "a.png")
    models.save_image(np.random.default_rng(0).random((3, 20, 20)), picture)
    with page.chromium(tmp_path / "profile") as browser:
        found = page.in_page(browser, picture, weights, 2)
    own = page.alone(picture, weights, 2)
    assert list(found) == list(own) == ["saliency", "grad_cam", "lrp"]
    assert all(len(times) == 2 and min(times) > 0 for times in (*found.values(), *own.values()))


def test_busy_processes_are_ended_whatever_happens():
    with pytest.raises(ZeroDivisionError), busy.neighbours() as processes:
        assert len(processes) == 2 and all(process.poll() is None for process in processes)
        raise ZeroDivisionError
    assert all(process.returncode is not None for process in processes)


def test_a_busy_process_ends_with_its_parent():
    code = f"import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy.BUSY!r}, str(os.getpid())])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.read() == ""  # until both that have the pipe have ended


def test_threads_of_a_step_and_the_bound_on_its_rounds(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    now, seen = [0.0], []

    def step():
        seen.append(os.environ["OMP_NUM_THREADS"])
        now[0] += 10

    steps = {1: busy.on(1, step), 2: busy.on(2, step)}
    assert busy.timed(steps, 3, at_most=1000, clock=lambda: now[0]) == {1: [10] * 4, 2: [10] * 4}
    assert busy.timed(steps, 100, at_most=50, clock=lambda: now[0]) == {1: [10] * 4, 2: [10] * 4}
    assert seen == ["1", "2", "2", "1"] * 4


def test_cold_start_needs_a_png(tmp_path):
    cold.run([sys.executable, "-c", f"open({str(tmp_path / 'a.png')!r}, 'wb').write(b'\\x89PNG')"], tmp_path / "a.png")
    with pytest.raises(RuntimeError, match="wrote no PNG"):
        cold.run([sys.executable, "-c", "pass"], tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


@needs_torch
@pytest.mark.torch
def test_a_case_from_end_to_end(tmp_path):
    assert bench.main(["--only", "squeezenet", "--rounds", "2", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "bench.json").read_text())
    result = found["cases"]["squeezenet"]
    assert {"minigrad", "torch contiguous", "torch channels_last"} <= result["seconds"].keys()
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in result["seconds"].values())
    assert max(result["difference"].values()) < 1e-5
    assert 7e8 < result["flops"] < 9e8  # about 0.39 G multiplications and additions (Iandola et al.)
    assert all(1 << 20 < peak["imported"] < peak["whole"] < 1 << 30 for peak in result["memory"].values())
    assert "SqueezeNet 1.1, 227 px, forward" in (tmp_path / "bench.md").read_text()


@needs_torch
@pytest.mark.torch
@pytest.mark.parametrize("kind", ["forward", "gradient", "style", "training", *cases.SWEEPS])
def test_engines_do_the_same_work(kind, tmp_path, monkeypatch):
    """On small inputs, each kind of step gives what torch gives."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks.prepare", str(tmp_path), "vgg16_features", "minivgg_bn"],
        env=bench.unpinned({}, SCRIPTS, SCRIPTS.parent),
        check=True,
    )
    from benchmarks import case as timing
    from benchmarks import minigrad_side, torch_side

    monkeypatch.setattr(cases, "LEARNING_RATE", 1e-6)  # each engine takes several steps
    monkeypatch.setattr("benchmarks.minigrad_side.keep_freed_memory", lambda: None)
    network = "minivgg_bn" if kind in ("training", *cases.SWEEPS) else "vgg16_features"
    small = cases.Case("small", "", kind, network, 32 if kind == "training" else 1, 32)
    steps = minigrad_side.steps(small, tmp_path) | torch_side.steps(small, tmp_path, torch_side.EAGER)
    for name in ("torch contiguous", "torch channels_last"):
        timing.agreement(small, steps["minigrad"], steps[name])
    if kind not in ("training", "score_cam"):
        with pytest.raises(RuntimeError, match="the engines' results differ by"):
            timing.agreement(small, lambda: 2 * steps["minigrad"](), steps["torch contiguous"])


@needs_torch
@pytest.mark.torch
def test_two_workers_do_their_passes_between_two_signs(monkeypatch):
    from benchmarks import halves

    done = []
    monkeypatch.setattr(halves, "steps", lambda case, folder: (None, lambda: done.append(threading.get_ident())))
    both = halves.pair(threading.Barrier, threading.Thread, None, None)
    done.clear()  # what they did to warm up
    both()
    assert len(done) == 2 * halves.PASSES and len(set(done)) == 2 and threading.get_ident() not in done


# ---- an earlier checkout ---------------------------------------------------------------------------------------------


def test_an_earlier_checkout_is_timed_by_turns_with_this_one(tmp_path, capsys):
    """The earlier one is this one's copy, each of whose calls of occlusion is marked: the calls are its own."""
    earlier = tmp_path / "earlier"
    for folder in ("minigrad", "models", "viz", "scripts"):
        shutil.copytree(SCRIPTS.parent / folder, earlier / folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (earlier / "viz/__init__.py").open("a") as written:
        calls = str(tmp_path / "calls")
        written.write(f"\n\ndef occlusion(*args, **options):\n    open({calls!r}, 'a').write('called ')\n")
    asked = ["--before", str(earlier), "--only", "occlusion", "--rounds", "2", "--out", str(tmp_path / "out")]
    assert bench.main(asked) == 0
    assert (tmp_path / "calls").read_text().split() == ["called"] * 4  # two to warm up, two timed
    head, _, row = (tmp_path / "out/before.md").read_text().splitlines()
    assert head == "| case | before | now | now / before |" and row.startswith("| occlusion | ")
    before, now = (float(cell.split()[0]) for cell in row.split("|")[2:4])
    assert 0 < before < now  # a call that only leaves a mark is quicker than occlusion


def test_what_is_no_checkout_is_refused(tmp_path, capsys):
    assert bench.main(["--before", str(tmp_path), "--only", "occlusion", "--out", str(tmp_path / "out")]) == 2
    assert "git worktree add" in capsys.readouterr().err
