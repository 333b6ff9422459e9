"""Where the boxes of a graph go, and the SVG of it: layers from top to bottom (Sugiyama, Tagawa and Toda 1981).

1. Rank: a box stands one layer below the lowest of those it was computed from; a leaf right above the first box that
   takes it. An edge over several layers passes through a point in each, and the edges of one box share these points.
2. Order: within a layer, boxes are sorted by the mean place of their neighbours in the layer above, then below, in
   turns; the order with the fewest crossings is kept.
3. Place: each box wants to be at the weighted mean of its neighbours, but boxes must keep their order and distance.
   With d the wanted places, the places x that minimise sum w (x - d)^2 under x[i+1] - x[i] >= gap[i] are an isotonic
   regression of d[i] - (gap[0] + ... + gap[i-1]), which pooling adjacent violators solves exactly.
"""

from bisect import bisect_right, insort
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

_CHARACTER, _LINE, _MARGIN = 6.7, 15, 7  # pixels: a character of the font, a line of text, around the text
_GAP, _RANK_GAP = 18, 34  # between boxes of one layer, between layers
_SWEEPS = 12
_STYLE = """
.mg text { font: 11px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #1b1f24; text-anchor: middle }
.mg text:first-of-type { font-weight: bold } .mg rect { stroke-width: 1.2 }
.mg .function rect { fill: #dbe8f8; stroke: #4a78b0 }
.mg .asked rect { fill: #dbe8f8; stroke: #14335c; stroke-width: 2.4 }
.mg .variable rect { fill: #fbe5c8; stroke: #b9791f } .mg .constant rect { fill: #eceef1; stroke: #9aa2ad }
.mg path { fill: none; stroke: #7d8590; stroke-width: 1.2 } .mg marker path { fill: #7d8590; stroke: none }
"""  # all of it within .mg, for the page around an SVG would follow it too


@dataclass(eq=False)
class Box:
    """A node: its text (the first line is the title), what it looks like, and the boxes it was computed from."""

    lines: Sequence[str]
    kind: str  # "function", "asked" (a function whose result was asked for), "variable" or "constant" (leaves)
    inputs: "list[Box]"
    rank: int = 0
    x: float = 0.0  # of the centre
    dots: "dict[int, Box]" = field(default_factory=dict)  # by rank, where edges from here pass through later layers

    @property
    def width(self) -> float:
        longest = max((len(line) for line in self.lines), default=0)
        return longest * _CHARACTER + 2 * _MARGIN if self.lines else 2.0

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + _MARGIN

    @property
    def leaf(self) -> bool:
        return not self.inputs and bool(self.lines)


def svg(boxes: Sequence[Box], title: str) -> str:
    """The drawing of boxes, given so that each comes after its inputs."""
    _rank(boxes)
    layers, edges = _layers(boxes)
    _order(layers, edges)
    _place(layers, edges)
    return _draw(boxes, layers, edges, title)


# ---- 1. ranks --------------------------------------------------------------------------------------------------------


def _rank(boxes):
    for box in boxes:
        if box.inputs:
            box.rank = 1 + max(source.rank for source in box.inputs)
    highest: dict[Box, int] = {}  # rank of the first box that takes it
    for box in reversed(boxes):
        if box in highest and all(source.leaf for source in box.inputs):
            box.rank = highest[box] - 1
        for source in box.inputs:
            highest[source] = min(highest.get(source, box.rank), box.rank)


def _layers(boxes):
    """The boxes of each rank with the points (boxes without text) that edges pass through, and all short edges."""
    layers: list[list[Box]] = [[] for _ in range(1 + max(box.rank for box in boxes))]
    edges: dict[tuple[Box, Box], None] = {}  # in the place of an ordered set
    for box in reversed(boxes):  # so that the inputs of a box come side by side
        for source in [box, *box.inputs]:
            if source not in layers[source.rank]:
                layers[source.rank].append(source)
        for source in box.inputs:
            above = source
            for rank in range(source.rank + 1, box.rank):
                if rank not in source.dots:
                    source.dots[rank] = Box((), "", [above], rank)
                    layers[rank].append(source.dots[rank])
                edges[above, source.dots[rank]] = None
                above = source.dots[rank]
            edges[above, box] = None
    return layers, list(edges)


# ---- 2. order --------------------------------------------------------------------------------------------------------


def _order(layers, edges):
    above, below = _neighbours(edges)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, above)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        for before, layer in pairwise(layers if down else layers[::-1]):
            place = {box: i for i, box in enumerate(before)}
            neighbours = above if down else below
            own = {box: i * len(before) / len(layer) for i, box in enumerate(layer)}
            layer.sort(key=lambda box: _mean([place[n] for n in neighbours.get(box, ())], own[box]))
        if (count := _crossings(layers, above)) < fewest:
            best, fewest = [list(layer) for layer in layers], count
    layers[:] = best


def _neighbours(edges):
    above: dict[Hashable, list[Box]] = {}
    below: dict[Hashable, list[Box]] = {}
    for source, target in edges:
        above.setdefault(target, []).append(source)
        below.setdefault(source, []).append(target)
    return above, below


def _mean(values, default):
    return sum(values) / len(values) if values else default


def _crossings(layers, above):
    """How many pairs of edges cross: pairs in one order above and in the other below."""
    count = 0
    for before, layer in pairwise(layers):
        place = {box: i for i, box in enumerate(before)}
        seen: list[int] = []
        for box in layer:
            ends = sorted(place[source] for source in above.get(box, ()))
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


# ---- 3. places -------------------------------------------------------------------------------------------------------


def _place(layers, edges):
    above, below = _neighbours(edges)
    for layer in layers:
        right = 0.0
        for box in layer:
            box.x = right + box.width / 2
            right += box.width + _GAP
    for sweep in range(2 * _SWEEPS):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            wanted, weights = [], []
            for box in layer:
                pulls = [(n.x, _pull(box, n)) for n in (*above.get(box, ()), *below.get(box, ()))] or [(box.x, 1)]
                weights.append(sum(weight for _, weight in pulls))
                wanted.append(sum(x * weight for x, weight in pulls) / weights[-1])
            gaps = [(a.width + b.width) / 2 + _GAP for a, b in pairwise(layer)]
            for box, x in zip(layer, _keep_apart(wanted, weights, gaps), strict=True):
                box.x = x


def _pull(a, b):
    """How much an edge wants to be straight: long edges most, those of leaves least."""
    return 0.05 if a.leaf or b.leaf else 8 if not (a.lines and b.lines) else 4


def _keep_apart(wanted, weights, gaps):
    """The places nearest to `wanted` (weighted least squares) that are in order and `gaps` apart."""
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    pools: list[list[float]] = []  # mean, weight, count
    for x, weight, offset in zip(wanted, weights, offsets, strict=True):
        pools.append([x - offset, weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, weight, count = pools.pop()
            other = pools[-1]
            other[0] = (other[0] * other[1] + mean * weight) / (other[1] + weight)
            other[1], other[2] = other[1] + weight, other[2] + count
    means = [mean for mean, _, count in pools for _ in range(int(count))]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


# ---- drawing ---------------------------------------------------------------------------------------------------------


def _draw(boxes, layers, edges, title):
    left = min(box.x - box.width / 2 for layer in layers for box in layer) - _MARGIN
    right = max(box.x + box.width / 2 for layer in layers for box in layer) + _MARGIN
    bands, y = [], float(_MARGIN)  # (top, bottom) of each layer
    for layer in layers:
        height = max(box.height for box in layer)
        bands.append((y, y + height))
        y += height + _RANK_GAP
    size = f"{right - left:.0f}", f"{y - _RANK_GAP + _MARGIN:.0f}"

    parts = [
        f'<svg class="mg" xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="{left:.0f} 0 {size[0]} {size[1]}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    parts += [f'<path d="{_trunk(a, b, bands)}"/>' for a, b in edges if not b.lines]
    parts += [f'<path d="{d}" marker-end="url(#arrow)"/>' for box in boxes for d in _arrows(box, bands)]
    parts += [_box(box, bands) for box in boxes]
    return "\n".join([*parts, "</svg>"])


def _bottom(box, bands):
    """Where edges leave: the lower edge of a box, or of the layer for a point."""
    top, bottom = bands[box.rank]
    return (top + bottom + box.height) / 2 if box.lines else bottom


def _curve(x0, y0, x1, y1):
    middle = (y0 + y1) / 2
    return f"M{x0:.1f} {y0:.1f}C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"


def _trunk(above, dot, bands):
    """To a point that an edge passes through, and on down through its layer."""
    top, bottom = bands[dot.rank]
    return f"{_curve(above.x, _bottom(above, bands), dot.x, top)}V{bottom:.1f}"


def _arrows(box, bands):
    """One curve for each input, the ends spread over the upper edge of the box in the order of where they come from."""
    top = (sum(bands[box.rank]) - box.height) / 2
    starts = sorted((source.dots.get(box.rank - 1, source) for source in box.inputs), key=lambda start: start.x)
    step = min(16.0, (box.width - 10) / max(1, len(starts)))
    for i, start in enumerate(starts):
        yield _curve(start.x, _bottom(start, bands), box.x + (i - (len(starts) - 1) / 2) * step, top)


def _box(box, bands):
    top = (sum(bands[box.rank]) - box.height) / 2
    radius = 3 if box.kind in ("function", "asked") else 9
    lines = "".join(
        f'<text x="{box.x:.1f}" y="{top + _LINE * (i + 1):.1f}">{escape(line)}</text>'
        for i, line in enumerate(box.lines)
    )
    rect = f'<rect x="{box.x - box.width / 2:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    return f'<g class="{box.kind}">{rect} rx="{radius}"/>{lines}</g>'
