"""The benchmark on a GPU, its clock and report on made-up numbers, and what it says without a GPU."""

import json
import sys

import bench
import numpy as np
import pytest
from benchmarks import cases, gpu, gpu_report


def small(kind):
    return cases.Case("small", "a small case", kind, "vgg16", 4, 32, 0.8)


# ---- the clock -------------------------------------------------------------------------------------------------------


class Event:
    """A moment of a GPU whose clock is a list."""

    log: list = []

    def record(self):
        self.log.append("record")
        self.at = len(self.log)

    def synchronize(self):
        self.log.append("wait")


def test_events_enclose_the_steps_and_nothing_else():
    Event.log = []
    timed = gpu.by_events(lambda: Event.log.append("idle"), Event, lambda start, end: 1e3 * (end.at - start.at - 1))
    assert timed(lambda: Event.log.append("step"), 4) == 1.0
    assert Event.log == ["idle", "record", *["step"] * 4, "record", "wait"]


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, 1), (0.01, 3), (1e-6, gpu.MOST)])
def test_short_steps_are_timed_many_at_a_time(seconds, expected):
    asked = []
    assert gpu.calls(small("forward"), lambda step, calls: asked.append(calls) or seconds, None) == expected
    assert asked == [3, 3]  # the first is the warm-up
    assert gpu.calls(small("fed"), lambda step, calls: seconds, None) == gpu.FED


def test_results_that_differ_by_more_than_rounding_are_refused():
    a = np.linspace(1, 2, 100)
    assert gpu.apart(small("forward"), a, a * (1 + 1e-5)) == pytest.approx(1e-5, rel=1e-3)
    with pytest.raises(RuntimeError, match="small: the engines' results differ by 0.0"):
        gpu.apart(small("forward"), a, a * 1.01)


# ---- the report ------------------------------------------------------------------------------------------------------


def seconds(mine, contiguous, channels_last):
    engines = {"minigrad": mine, "torch contiguous": contiguous, "torch channels_last": channels_last}
    return {name: [value] * 3 for name, value in engines.items()} | {
        f"{name} TF32": [value / 2] * 3 for name, value in engines.items()
    }


ERRORS = {"scores max": 2e-6, "held gradient max": 4e-6, "gradient max": 1e-3}
FLIPS = {"relu flips": 2, "relu decisions": 1000, "pool flips": 1, "pool decisions": 250}
FOUND = {
    "machine": {"GPU": "a GPU, CuPy 14", "torch": "2.13, CUDA 13.0, cuDNN 91000"},
    "cases": {
        "vgg16-b64": {
            "seconds": seconds(0.05, 0.06, 0.045),
            "memory": {
                "minigrad": {"kept": 600 << 20},
                "torch contiguous": {"kept": 500 << 20, "used": 450 << 20},
                "torch channels_last": {"kept": 400 << 20, "used": 300 << 20},
            },
        },
        "minivgg-step": {"seconds": seconds(0.02, 0.01, 0.011)},
    },
    "accuracy": {"minigrad": ERRORS | FLIPS, "minigrad TF32": ERRORS | {"scores max": 1e-3}, "torch": ERRORS},
}


def line(text, beginning):
    return next(row for row in text.splitlines() if row.startswith(f"| {beginning}"))


def test_report_judges_tf32_off_and_shows_tf32_on():
    text = gpu_report.markdown(json.loads(json.dumps(FOUND)))
    assert text.startswith("- GPU: a GPU, CuPy 14\n- torch: 2.13, CUDA 13.0, cuDNN 91000\n")
    off = line(text, "VGG16 224 px, batch 64, forward, TF32 off")
    assert "| 50 (50 to 50) ms | 1,280 | 45 (45 to 45) ms, channels_last | **0.90** (0.90 to 0.90) | 0.8 (met) |" in off
    on = line(text, "VGG16 224 px, batch 64, forward, TF32 on")
    assert "| 25 (25 to 25) ms | 2,560 |" in on and on.endswith("| **0.90** (0.90 to 0.90) | – |")
    assert line(text, "MiniVGG training step, 96 px, batch 128, TF32 off").endswith("| 0.8 (missed) |")
    assert "| 600 | contiguous 500, channels_last 400 | contiguous 450, channels_last 300 | 1.50 |" in text
    assert line(text, "minigrad | 2.0e-06 | 4.0e-06 | 1.0e-03 | 2 of 1,000 | 1 of 250").endswith("| 1e-05 (met) |")
    assert line(text, "minigrad TF32 | 1.0e-03").endswith("| – |")


def test_report_of_a_part_has_only_that_part():
    text = gpu_report.markdown({"machine": {}, "accuracy": {"minigrad": ERRORS | {"scores max": 2e-5}}})
    assert "1e-05 (missed)" in text and "TF32 off |" not in text and "peak memory" not in text


# ---- the command -----------------------------------------------------------------------------------------------------


def test_without_a_gpu_it_ends_with_one_sentence(tmp_path, capsys):
    if "cupy" in sys.modules:
        pytest.skip("there may be a GPU")
    out = tmp_path / "out"
    assert bench.main(["--device", "cuda", "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("bench: device 'cuda' is not available: ") and said.err.count("\n") == 1
    assert said.out == "" and not out.exists()
    assert bench.main(["--device", "tpu", "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith("bench: device is 'tpu': give")
