"""The report of a benchmark on a GPU, in Markdown: speed with TF32 off and on, peak memory, and errors."""

from benchmarks import cases, measure
from benchmarks.gpu import TF32
from benchmarks.report import MIB, flips, judged, milliseconds, shown, table, times


def markdown(found):
    """The report; `found` is what bench.py gathered, the dictionary that bench_cuda.json holds."""
    machine = "\n".join(f"- {name}: {text}" for name, text in found["machine"].items())
    heading = (
        f"{machine}\n\nMedians, and quartiles in brackets, of one step by the GPU's own clock. Engines take turns in "
        "one process, with the same weights and inputs; ratios are medians of the ratios of neighbouring runs. torch "
        "runs eagerly, in the better of its memory formats, with cudnn.benchmark."
    )
    return "\n\n".join(filter(None, [heading, speed(found), memory(found), errors(found), failed(found)])) + "\n"


def ran(found):
    """(case, its results) of the cases that ran."""
    results = found.get("cases", {})
    return [(case, results[case.name]) for case in cases.GPU_CASES if case.name in results]


def speed(found):
    rows = []
    for case, result in ran(found):
        for suffix in ("", TF32):
            taken = {name: s for name, s in result["seconds"].items() if name.endswith(TF32) == bool(suffix)}
            mine, best = taken[f"minigrad{suffix}"], measure.fastest(taken, "torch")
            text, value = times(taken[best], mine)
            rate = case.batch / measure.spread(mine)[0]
            theirs = f"{milliseconds(taken[best])}, {best.removeprefix('torch ').removesuffix(TF32)}"
            bar = "–" if suffix else judged(value, case.bar)
            name = f"{case.title}, TF32 {'on' if suffix else 'off'}"
            rows.append((name, milliseconds(mine), f"{rate:,.0f}", theirs, text, bar))
    head = ("case", "minigrad", "images/s", "torch, better format", "times as fast", "at least")
    return table(head, rows) if rows else ""


def memory(found):
    rows = []
    for case, result in ran(found):
        peak = result.get("memory") or {}
        if "minigrad" in peak:
            others = {name: sizes for name, sizes in peak.items() if name != "minigrad"}
            least = min(sizes["kept"] for sizes in others.values())
            kept = ", ".join(f"{name.removeprefix('torch ')} {s['kept'] / MIB:,.0f}" for name, s in others.items())
            used = ", ".join(f"{name.removeprefix('torch ')} {s['used'] / MIB:,.0f}" for name, s in others.items())
            mine = peak["minigrad"]["kept"]
            rows.append((case.title, f"{mine / MIB:,.0f}", kept, used, f"{mine / least:.2f}"))
    if not rows:
        return ""
    head = ("peak memory", "minigrad, MiB kept", "torch, MiB kept", "torch, MiB used", "of torch's least kept")
    return table(head, rows) + (
        "\n\nEach in its own process, TF32 off. Kept is what the pool holds of the GPU (CuPy's total_bytes, torch's "
        "max_memory_reserved), used the most of it that was in use (max_memory_allocated; CuPy does not tell). Weights "
        "are in it; contexts, kernels and the workspaces that CUDA's libraries take for themselves are not."
    )


def errors(found):
    rows = []
    for name, row in (found.get("accuracy") or {}).items():
        kinds = ("scores max", "held gradient max", "gradient max")
        worst = max(row["scores max"], row.get("held gradient max", 0))
        bar = judged(worst, cases.GPU_ERROR_BAR, at_least=False) if name == "minigrad" else "–"
        rows.append((name, *shown(row, kinds), *flips(row), bar))
    if not rows:
        return ""
    head = ("error of VGG16 at 224 px", "scores", "gradient", "gradient with flips", "ReLU flips", "pooling flips")
    return table((*head, "at most"), rows) + (
        "\n\nThe largest, against float64 on the CPU, as shares of the largest value; the worst of two images, flips "
        "added up. The gradient is compared with float64's by the same decisions of ReLU and max-pooling, then by "
        "float64's own: one decision that flips deep in the network changes the gradient everywhere."
    )


def failed(found):
    return "\n".join(f"- {name} failed: {reason}" for name, reason in (found.get("failed") or {}).items())
