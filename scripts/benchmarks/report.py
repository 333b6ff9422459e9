"""The report: a Markdown table for each question, from what bench.py gathered, and the plot of cost against size."""

import math

from benchmarks import cases, measure

MIB = 1 << 20


def markdown(found):
    """The report as Markdown; `found` is what bench.py gathered, the same dictionary that bench.json holds."""
    parts = [heading(found)]
    sections = (speed, against_numpy, against_onnxruntime, cold, memory, accuracies, growth, busy, page, limits)
    return "\n\n".join(filter(None, [*parts, *(section(found) for section in sections)])) + "\n"


def table(head, rows):
    """A Markdown table; the first column is text, the others stand to the right."""
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, ruler, *rows))


def judged(value, bar, at_least=True):
    """ "1.2 (met)", "1.2 (missed)", or a dash where there is no bar."""
    if bar is None:
        return "–"
    return f"{bar:g} ({'met' if (value >= bar if at_least else value <= bar) else 'missed'})"


def milliseconds(seconds):
    """ "84 (80 to 90) ms": the median and quartiles of a list of seconds."""
    middle, low, high = (1e3 * value for value in measure.spread(seconds))
    digits = 1 if middle < 20 else 0
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f}) ms"


def times(theirs, ours):
    """(text, median): "1.31 (1.25 to 1.38)", how many times as fast."""
    middle, low, high = measure.ratio(theirs, ours)
    return f"**{middle:.2f}** ({low:.2f} to {high:.2f})", middle


# ---- sections --------------------------------------------------------------------------------------------------------


def heading(found):
    machine = "\n".join(f"- {name}: {text}" for name, text in found["machine"].items())
    return (
        f"{machine}\n\nMedians, and quartiles in brackets. Engines take turns in one process, with the same threads, "
        "weights and inputs; ratios are medians of the ratios of neighbouring runs."
    )


def timed(found):
    """(case, its results) of the cases that ran."""
    return [(case, found["cases"][case.name]) for case in cases.CASES if case.name in found.get("cases", {})]


def speed(found):
    rows, peak = [], max(found["limits"]["sgemm"].values())
    for case, result in timed(found):
        taken, ours = result["seconds"], result["seconds"]["minigrad"]
        best = measure.fastest(taken, "torch")
        text, value = times(taken[best], ours)
        share = result["flops"] / measure.spread(ours)[0] / peak
        others = ", ".join(
            f"{name.removeprefix('torch ')} {1e3 * measure.spread(taken[name])[0]:.0f}"
            for name in taken
            if name.startswith("torch") and name != best
        )
        theirs = f"{milliseconds(taken[best])}, {best.removeprefix('torch ')}; {others}"
        rows.append((case.title, milliseconds(ours), theirs, text, judged(value, case.bar), f"{share:.0%}"))
    if not rows:
        return ""
    head = ("case", "minigrad", "torch, best mode; others (ms)", "times as fast", "at least", "of the sgemm limit")
    return table(head, rows) + (
        "\n\nThe last column counts convolutions by their definition: Winograd's algorithm, which multiplies less, can "
        "pass 100 %."
    )


def against_numpy(found):
    rows = []
    for case, result in timed(found):
        taken = result["seconds"]
        if "dezero" in taken:
            text, value = times(taken["dezero"], taken["minigrad"])
            rows.append((case.title, milliseconds(taken["dezero"]), text, judged(value, case.numpy_bar)))
    return table(("another NumPy engine", "DeZero", "times as fast", "at least"), rows) if rows else ""


def against_onnxruntime(found):
    rows = []
    for case, result in timed(found):
        taken = result["seconds"]
        if "onnxruntime" in taken:
            text, _ = times(taken["onnxruntime"], taken["minigrad"])
            rows.append((case.title, milliseconds(taken["onnxruntime"]), text))
    return table(("for orientation", "onnxruntime", "times as fast"), rows) if rows else ""


def cold(found):
    rows = []
    for name, title in (("cached", "weights in the page cache"), ("uncached", "weights read from the disk")):
        taken = (found.get("cold") or {}).get(name)
        if taken:
            ours, theirs = taken["minigrad"], taken["torch and captum"]
            text, value = times(theirs, ours)
            bar = judged(value, cases.COLD_BAR) if name == "cached" else "–"
            rows.append((f"{cases.COLD_TITLE}, {title}", milliseconds(ours), milliseconds(theirs), text, bar))
    return table(("case", "minigrad", "torch and captum", "times as fast", "at least"), rows) if rows else ""


def memory(found):
    rows = []
    for case, result in timed(found):
        peaks = result.get("memory")
        if not peaks:
            continue
        whole = {name: peak["whole"] for name, peak in peaks.items()}
        beyond = {name: peak["whole"] - peak["imported"] for name, peak in peaks.items()}
        for sizes, which, bar in ((whole, "whole process", case.memory_bar), (beyond, "beyond importing", None)):
            mine = sizes.pop("minigrad")
            share = mine / min(size for name, size in sizes.items() if name.startswith("torch"))
            others = ", ".join(f"{name} {size / MIB:.0f}" for name, size in sizes.items())
            verdict = judged(share, bar, at_least=False)
            rows.append((f"{case.title}, {which}", f"{mine / MIB:.0f}", others, f"{share:.2f}", verdict))
    if not rows:
        return ""
    head = ("peak memory", "minigrad, MiB", "others, MiB", "of torch's least", "at most")
    return table(head, rows) + (
        "\n\nThe largest resident size of each engine's own process, and how much of it came after importing: "
        "weights as far as they are read, activations, workspaces, transformed weights. The other engines' processes "
        "import minigrad too, for the inputs: about 10 MiB."
    )


def shown(row, kinds):
    """The errors of these kinds as text, with a dash for each that was not measured."""
    return [f"{row[kind]:.1e}" if kind in row else "–" for kind in kinds]


def flips(row):
    """How many decisions of ReLU, and of max-pooling, came out otherwise: ["3 of 1,000", "–"]."""
    return [
        f"{row[f'{kind} flips']} of {row[f'{kind} decisions']:,}" if f"{kind} flips" in row else "–"
        for kind in ("relu", "pool")
    ]


def accuracies(found):
    rows = []
    for name, row in (found.get("accuracy") or {}).items():
        kinds = [f"{what} {kind}" for what in ("scores", "held gradient", "gradient") for kind in ("99.9 %", "max")]
        errors = shown(row, kinds)
        cosine, verdict, bar = "–", "–", cases.ERROR_BARS.get(name)
        if bar is not None:
            cosine = f"{max(row['scores 1 - cosine'], row['held gradient 1 - cosine']):.1e}"
            verdict = f"{bar:g} ({'met' if cases.within(name, row) else 'missed'})"
        rows.append((name, *errors[:4], cosine, *flips(row), verdict, *errors[4:]))
    if not rows:
        return ""
    head = ("error of VGG16 at 224 px, float32", "scores, 99.9 %", "largest", "gradient, 99.9 %", "largest")
    head += ("1 - cosine", "ReLU flips", "pooling flips", "99.9 % at most", "gradient with flips, 99.9 %", "largest")
    return table(head, rows) + (
        "\n\nAgainst float64, as shares of the largest value; the worst of five images, flips added up. The gradient "
        "is compared with float64's by the same decisions of ReLU and max-pooling; in the last two columns, by "
        "float64's own: one decision that flips deep in the network changes the gradient everywhere."
    )


def growth(found):
    rows = []
    for axis, by_size in (found.get("growth") or {}).items():
        sizes = [float(size) for size in by_size]
        for engine in next(iter(by_size.values())):
            slope = measure.exponent(sizes, [entry[engine] for entry in by_size.values()])
            rows.append((f"time against {axis}, {engine}", f"{slope:.2f}"))
    return table(("growth (VGG16's convolutions, forward and input gradient)", "exponent"), rows) if rows else ""


def busy(found):
    rows = []
    for title, taken in (found.get("busy") or {}).items():
        for count, quiet in taken["quiet"].items():
            beside = taken["busy"][count]
            longer = measure.spread(beside)[0] / measure.spread(quiet)[0]
            name = f"{title}, {threads(count)}"
            rows.append((name, milliseconds(quiet), milliseconds(beside), f"{longer:.1f}"))
    head = ("beside other processes", "quiet", "beside two busy processes", "times as long")
    return table(head, rows) if rows else ""


def page(found):
    rows = []
    for title, taken in (found.get("page") or {}).items():
        _, bar = cases.PAGE_BARS[title]
        for method, times in taken.items():
            middle = measure.spread(times["page"])[0]
            verdict = f"{1e3 * bar:.0f} ms ({'met' if middle <= bar else 'missed'})"
            rows.append((f"{method}, {title}", milliseconds(times["page"]), milliseconds(times["own"]), verdict))
    head = ("explore, in Chromium", "from click to picture", "the method alone", "at most")
    return table(head, rows) if rows else ""


def threads(count):
    return f"{count} thread{'s' if str(count) != '1' else ''}"


def limits(found):
    head, rows = ("this machine", "1 thread"), []
    counts = list(found["limits"]["sgemm"])
    head = ("this machine's limits", *map(threads, counts))
    rows.append(("sgemm, GFLOP/s", *(f"{rate / 1e9:.0f}" for rate in found["limits"]["sgemm"].values())))
    rows.append(("copy, GB/s read and written", *(f"{rate / 1e9:.1f}" for rate in found["limits"]["copy"].values())))
    return table(head, rows)


# ---- plot ------------------------------------------------------------------------------------------------------------


def plot(found, path):
    """Time against pixels and against batch, on logarithmic axes, with a dotted line of linear growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), dpi=150, layout="constrained")
    titles = {"pixels": "one image: pixels", "batch": "112 px: images in the batch"}
    for axes, (axis, by_size) in zip(
        figure.subplots(1, len(found["growth"]), squeeze=False)[0], found["growth"].items(), strict=True
    ):
        sizes = [float(size) for size in by_size]
        for engine in next(iter(by_size.values())):
            axes.plot(sizes, [entry[engine] for entry in by_size.values()], "o-", markersize=3, label=engine)
        first = by_size[next(iter(by_size))]["minigrad"]
        axes.plot(sizes, [first * size / sizes[0] for size in sizes], ":", color="#888888", label="linear")
        axes.set(xscale="log", yscale="log", xlabel=titles[axis], ylabel="seconds")
        names = [f"{math.isqrt(int(size))}²" if axis == "pixels" else f"{int(size)}" for size in sizes]
        axes.set_xticks(sizes, names)
        axes.set_xticks([], minor=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle("VGG16's convolutions: forward and input gradient", fontsize=10)
    figure.savefig(path)
