"""Where the time goes: every operation's calls, time, FLOPs and bytes, and how near that is to the machine's limit.

    with mg.profile() as p:
        mg.grad(model(image)[0, 2], image)
    print(p)  # by operation; p.table("layer") by layer

An operation's limit is the larger of two times: its FLOPs at the rate of a large matrix product on this machine, and
its bytes at the rate of a large copy (the "roofline" of Williams, Waterman and Patterson, CACM 52(4), 2009). Both rates
are measured when first asked for. FLOPs and bytes follow from shapes, by the formulas of cost.py; convolution is
counted by its definition, so Winograd's algorithm, which multiplies four times less, may pass 100 % of the limit.
"""

import contextlib
import functools
import html
import time
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import Function, observing_functions, within_backward
from ..device import array_module
from ..kernels import blocks, parallel
from ..nn.observe import observed
from . import cost


@dataclass(frozen=True)
class Operation:
    """One call. `layer` is the dotted name of the layer it ran in, "" outside any; a vjp has the layer of its forward.

    For a forward call, seconds are those of `Function.forward`. For a backward one they are those of the whole vjp (or
    rule), and FLOPs and bytes are those of all operations in it; the sum of two gradients of one tensor is an "Add".
    """

    name: str
    backward: bool
    layer: str
    seconds: float
    flops: int
    bytes: int
    dtype: np.dtype


@dataclass(frozen=True)
class Row:
    """Operations of one name (or layer) and direction together.

    share: of the time between entering and leaving `with`; all rows' shares add to 1. limit: the least time this
    machine could take, divided by the time taken. The row "(between operations)" is what is left: Python, mostly.
    """

    name: str
    direction: str
    calls: int
    seconds: float
    share: float
    flops: int
    bytes: int
    limit: float


@dataclass(frozen=True)
class Limits:
    """What this machine can do: floating point operations and bytes (read or written) per second."""

    flops: float
    bytes: float

    def least_seconds(self, operation: Operation) -> float:
        """The time below which the operation cannot be done, unless with less arithmetic than its definition."""
        return max(operation.flops / self.flops, operation.bytes / self.bytes)


class Profile:
    """What ran in this thread within `with mg.profile() as p:`; made by `profile`.

    `operations` are the single calls (see Operation), `seconds` the whole time; `rows` and `table` sum up.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.seconds = 0.0
        self._module = np
        self._layers: weakref.WeakKeyDictionary[Function, str] = weakref.WeakKeyDictionary()
        self._vjp: list[int] | None = None  # FLOPs and bytes so far of the vjp that is running

    def __enter__(self) -> "Profile":
        self._watching = contextlib.ExitStack()
        self._watching.enter_context(observing_functions("profile", self))
        self._watch = self._watching.enter_context(observed(None, self))
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds += time.perf_counter() - self._start
        self._watching.close()

    # ---- what the engine calls while this is running: see observing_functions, and observed in nn --------------------

    def forward(self, function: Function, arrays: tuple) -> Any:
        """Run `function.forward(*arrays)`."""
        start = time.perf_counter()
        result = function.forward(*arrays)
        self._wait(result)
        seconds = time.perf_counter() - start

        flops, moved = cost.flops(function, arrays, result), cost.bytes_moved(function, arrays, result)
        if self._vjp is not None:
            self._vjp[0] += flops
            self._vjp[1] += moved
        else:
            layer = next((name for name in reversed(self._watch.inside) if name), "")
            self._layers[function] = layer
            self._add(function, within_backward(), layer, seconds, flops, moved, result)
        return result

    def vjp(self, function: Function, vjp: Any, g: Any) -> Any:
        """Run `vjp(g)`, which is function's own or a rule."""
        if self._vjp is not None:  # a gradient within a gradient counts as part of it
            return vjp(g)
        self._vjp = [0, 0]
        start = time.perf_counter()
        try:
            result = vjp(g)
            self._wait(g.data)
        finally:
            (flops, moved), self._vjp = self._vjp, None
        seconds = time.perf_counter() - start
        self._add(function, True, self._layers.get(function, ""), seconds, flops, moved, g.data)
        return result

    done = False

    def asks_for(self, name: str) -> bool:
        """Every layer is to be seen by itself."""
        return True

    def leaves(self, name: str, module: Any, x: Any, y: Any) -> None:
        """Functions are noted, not layers."""

    def _add(self, function, backward, layer, seconds, flops, moved, array):
        self._module = array_module(array)
        self.operations.append(
            Operation(type(function).__name__, backward, layer, seconds, flops, moved, np.dtype(array.dtype))
        )

    def _wait(self, array):
        """A GPU computes after the call has returned: wait for it."""
        xp = array_module(array)
        if xp is not np and hasattr(xp, "cuda"):
            xp.cuda.get_current_stream().synchronize()

    # ---- results -----------------------------------------------------------------------------------------------------

    def rows(self, by: str = "operation") -> list[Row]:
        """The time by "operation" or by "layer", forward and backward apart, slowest first (layers in their order)."""
        if by not in ("operation", "layer"):
            raise ValueError(f'profile: by is {by!r}, expected "operation" or "layer"')
        groups: dict[tuple[str, bool], list[Operation]] = {}
        for operation in self.operations:
            name = operation.layer or f"({operation.name})" if by == "layer" else operation.name
            groups.setdefault((name, operation.backward), []).append(operation)
        rows = [self._row(name, "backward" if backward else "forward", ops) for (name, backward), ops in groups.items()]
        if by == "operation":
            rows.sort(key=lambda row: -row.seconds)
        rest = self.seconds - sum(row.seconds for row in rows)
        return [*rows, Row("(between operations)", "", 0, rest, self._share(rest), 0, 0, 0.0)]

    def _row(self, name, direction, operations):
        seconds = sum(o.seconds for o in operations)
        least = sum(limits(o.dtype, self._module).least_seconds(o) for o in operations)
        flops, moved = sum(o.flops for o in operations), sum(o.bytes for o in operations)
        limit = least / seconds if seconds else 0.0
        return Row(name, direction, len(operations), seconds, self._share(seconds), flops, moved, limit)

    def _share(self, seconds):
        return seconds / self.seconds if self.seconds else 0.0

    def table(self, by: str = "operation") -> str:
        """`rows(by)` as text, with rates, and below it the total and the machine's limits."""
        head, body, foot = self._cells(by)
        widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
        lines = [
            "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
            for line in (head, *body)
        ]
        return "\n".join([*(line.rstrip() for line in lines), foot])

    def _cells(self, by):
        head = (by, "direction", "calls", "ms", "share", "GFLOP", "GFLOP/s", "MB", "GB/s", "of limit")
        body = []
        for row in self.rows(by):
            work = [f"{row.flops / 1e9:.3f}", "", f"{row.bytes / 1e6:.1f}", "", f"{row.limit:.0%}"]
            if row.seconds and row.calls:
                work[1], work[3] = f"{row.flops / row.seconds / 1e9:.1f}", f"{row.bytes / row.seconds / 1e9:.1f}"
            calls = [str(row.calls), f"{row.seconds * 1e3:.2f}", f"{row.share:.1%}"]
            body.append(
                (row.name, row.direction, *calls, *work) if row.calls else (row.name, "", "", *calls[1:], *5 * [""])
            )
        dtype = self._dtype()
        limit, flops = limits(dtype, self._module), sum(o.flops for o in self.operations)
        foot = (
            f"total {self.seconds * 1e3:.2f} ms, {flops / 1e9:.3f} GFLOP; this machine: "
            f"{limit.flops / 1e9:.0f} GFLOP/s in a {dtype} matrix product, {limit.bytes / 1e9:.1f} GB/s in a copy"
        )
        return head, body, foot

    def _dtype(self):
        """The dtype that most of the arithmetic was in."""
        work: dict[np.dtype, int] = {}
        for o in self.operations:
            work[o.dtype] = work.get(o.dtype, 0) + o.flops
        return max(work, key=lambda dtype: work[dtype], default=np.dtype(np.float32))

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        head, body, foot = self._cells("operation")

        def line(cells, tag):
            inner = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
            return f"<tr>{inner}</tr>"

        rows = "".join(line(cells, "td") for cells in body)
        return f"<table><thead>{line(head, 'th')}</thead><tbody>{rows}</tbody></table><p>{html.escape(foot)}</p>"


def profile() -> Profile:
    """`with mg.profile() as p:` notes what every operation of this thread costs; print(p) shows it as a table.

    Other threads run on unobserved, and may profile themselves. When no profile is running, operations cost nothing
    more. Raises RuntimeError inside another profile of the same thread.
    """
    return Profile()


def limits(dtype: Any = np.float32, module: Any = np) -> Limits:
    """The rates of this machine, measured once in about a fifth of a second and then kept.

    flops: the best of three products of two 1024 x 1024 matrices, of float64 for float64 and of float32 for any other
    dtype, with as many threads as BLAS takes. bytes: the best of three copies of 64 MB by the engine's threads, each
    byte read and written. module: NumPy, or CuPy for the GPU.
    """
    return _limits(np.dtype(np.float64 if np.dtype(dtype) == np.float64 else np.float32), module)


@functools.cache
def _limits(dtype, module):
    n, size = 1024, 1 << 26
    a, b, product = (module.ones((n, n), dtype) for _ in range(3))
    source, target = module.ones(size, np.uint8), module.zeros(size, np.uint8)

    def copy():
        parallel(lambda part: np.copyto(target[part], source[part]), blocks(size, size // 2))

    def copy_on_device():
        target[...] = source

    seconds = _best_time(lambda: module.matmul(a, b, out=product), module)
    rate = 2 * n**3 / seconds
    return Limits(rate, 2 * size / _best_time(copy if module is np else copy_on_device, module))


def _best_time(work, module, times=3):
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        if hasattr(module, "cuda"):
            module.cuda.get_current_stream().synchronize()
        best = min(best, time.perf_counter() - start)
    return best
