"""mg.graph: what its boxes say, that nothing overlaps, that text is escaped, and that depth is no limit."""

import random
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import minigrad as mg
import minigrad.functional as F
from minigrad import nn
from minigrad.tools import graph_layout
from minigrad.tools.graph import Graph
from minigrad.tools.graph_layout import Box

SVG = "{http://www.w3.org/2000/svg}"


def drawn(graph):
    """[(kind, lines, (left, top, right, bottom))] of the boxes of an SVG, which must be well-formed."""
    root = ElementTree.fromstring(graph.svg())
    found = []
    for group in root.iter(f"{SVG}g"):
        x, y, width, height = (float(group.find(f"{SVG}rect").get(k)) for k in ("x", "y", "width", "height"))
        lines = [text.text for text in group.iter(f"{SVG}text")]
        found.append((group.get("class"), lines, (x, y, x + width, y + height)))
    left, top, width, height = map(float, root.get("viewBox").split())
    for _, _, box in found:
        assert left <= box[0] and top <= box[1] and box[2] <= left + width and box[3] <= top + height
    return found


def check_apart(boxes):
    for i, (_, _, a) in enumerate(boxes):
        for _, _, b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def small_network():
    rng = np.random.default_rng(0)
    branches = {"a": nn.Conv2d(4, 2, 1, rng=rng), "b": nn.Conv2d(4, 2, 3, padding=1, rng=rng)}
    return nn.Sequential(
        {
            "conv": nn.Conv2d(3, 4, 3, stride=(1, 2), rng=rng),
            "relu": nn.ReLU(),
            "fire": nn.Parallel(branches),
            "pool": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(12, 3, rng=rng),
        }
    )


def test_boxes_say_what_there_is():
    model = small_network()
    image = mg.Tensor(np.zeros((1, 3, 8, 8)), requires_grad=True, dtype=np.float32)
    score = model(image)[0, 1] * 2.0
    score.backward()
    drawing = mg.graph(score, names={"image": image, **dict(model.named_parameters())})
    boxes = drawn(drawing)
    check_apart(boxes)
    text = {tuple(lines): kind for kind, lines, _ in boxes}
    assert text["image", "(1, 3, 8, 8) float32", "grad (1, 3, 8, 8) float32"] == "variable"
    assert text["fire.b.weight", "(2, 4, 3, 3) float32", "grad (2, 4, 3, 3) float32"] == "variable"
    assert text["Conv2d", "stride (1, 2)", "(1, 4, 6, 3) float32"] == "function"
    assert text["Conv2d", "padding 1", "(1, 2, 6, 3) float32"] == "function"
    assert text["MaxPool2d", "kernel 2, stride 2", "(1, 4, 3, 1) float32"] == "function"
    assert text["GetItem", "index (0, 1)", "() float32"] == "function"
    assert text["2", "() float32"] == "constant"
    assert text["Mul", "() float32"] == "asked"
    assert repr(drawing) == "Graph(10 operations, 10 leaves)" and drawing._repr_svg_() == drawing.svg()


def test_boxes_stand_below_what_they_were_computed_from():
    model = small_network()
    image = mg.Tensor(np.zeros((1, 3, 8, 8)), requires_grad=True, dtype=np.float32)
    boxes = mg.graph(model(image)).boxes
    heights = [place[1] for _, _, place in drawn(mg.graph(model(image)))]
    for i, box in enumerate(boxes):
        assert all(heights[boxes.index(source)] < heights[i] for source in box.inputs)


def test_intermediates_and_several_outputs():
    x = mg.Tensor([1.0, -1.0], requires_grad=True)
    y = F.relu(x)
    boxes = mg.graph([y.sum(), y * y, x], names={"rectified": y}).boxes
    assert [box.lines[0] for box in boxes] == ["(2,) float32", "rectified: ReLU", "Mul", "Sum", "Reshape"]
    assert [box.kind for box in boxes] == ["variable", "function", "asked", "function", "asked"]
    assert boxes[2].inputs == [boxes[1], boxes[1]]


def test_dot_has_every_node_and_edge_and_is_quoted():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    text = mg.graph(x * x, names={'say "x\\y"': x}).dot()
    assert text.splitlines() == [
        "digraph {",
        '  node [fontname="monospace", fontsize=10];',
        '  n0 [label="say \\"x\\\\y\\"\\n(2,) float32", shape=box, style="rounded,filled", fillcolor="#fbe5c8"];',
        '  n1 [label="Mul\\n(2,) float32", shape=box, penwidth=2.4];',
        "  n0 -> n1;",
        "  n0 -> n1;",
        "}",
    ]


def test_text_is_escaped():
    x = mg.Tensor([1.0], requires_grad=True)
    assert ["</text><script>&", "(1,) float32"] in [
        lines for _, lines, _ in drawn(mg.graph(x + x, {"</text><script>&": x}))
    ]
    assert "<script" not in mg.graph(x + x, {"<script>": x}).svg()


def test_a_leaf_a_result_that_was_not_recorded_and_a_gradient():
    x = mg.Tensor([3.0], requires_grad=True)
    with mg.no_grad():
        y = x * x
    assert [kind for kind, _, _ in drawn(mg.graph(x))] == ["variable"]
    assert drawn(mg.graph(y))[0][:2] == ("constant", ["9", "(1,) float32"])
    second = mg.graph(mg.grad((x * x * x).sum(), x, create_graph=True))
    assert {box.lines[0] for box in second.boxes} >= {"Mul", "Add"}


def test_what_is_no_tensor_is_refused(tmp_path):
    x = mg.Tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"outputs\[1\] is ndarray"):
        mg.graph([x, np.ones(2)])
    with pytest.raises(ValueError, match="outputs is empty"):
        mg.graph([])
    with pytest.raises(ValueError, match=r"must end in .svg or .dot"):
        mg.graph(x).save(tmp_path / "graph.png")
    for name, start in (("graph.svg", "<svg"), ("graph.dot", "digraph")):
        assert mg.graph(x * x).save(tmp_path / name).read_text("utf-8").startswith(start)


def test_depth_is_no_limit_and_large_graphs_are_refused():
    x = y = mg.Tensor([1.0], requires_grad=True)
    for _ in range(600):
        y = y + x
    assert len(drawn(mg.graph(y))) == 601
    for _ in range(20_000):
        y = F.neg(y)
    drawing = mg.graph(y)
    assert len(drawing.dot().splitlines()) > 40_000
    with pytest.raises(ValueError, match="20601 boxes are too many to draw"):
        drawing.svg()


def test_the_places_of_boxes_solve_the_least_squares_problem():
    """The gradient of the constrained problem is zero for each run of boxes that touch, and pushes them together."""
    rng = np.random.default_rng(0)
    wanted, weights, gaps = np.arange(9) * 3 + rng.normal(size=9) * 4, rng.uniform(1, 3, 9), rng.uniform(1, 3, 8)
    x = np.array(graph_layout._keep_apart(wanted, weights, gaps))
    slack = np.diff(x) - gaps
    assert (slack > -1e-9).all() and (slack < 1e-9).any() and (slack > 1e-3).any()
    force = weights * (x - wanted)  # a run of touching boxes balances, and each part of it is pressed against the rest
    pressed = np.cumsum(force)[:-1]
    assert abs(force.sum()) < 1e-9 and np.allclose(pressed[slack > 1e-9], 0) and (pressed[slack < 1e-9] < 1e-9).all()


@pytest.mark.parametrize("seed", range(6))
def test_any_graph_is_drawn_without_overlap(seed):
    draw = random.Random(seed)
    boxes = []
    for i in range(25):
        inputs = [draw.choice(boxes[-8:]) for _ in range(draw.randint(0, 3))] if boxes else []
        boxes.append(Box([f"box {i}"] * draw.randint(1, 3), "function" if inputs else "constant", inputs))
    check_apart(drawn(Graph(boxes)))


def test_crossings_are_removed_where_they_can_be():
    top = [Box([name], "constant", []) for name in "abcd"]
    bottom = [Box([f"from {box.lines[0]}"], "function", [box]) for box in (top[2], top[0], top[3], top[1])]
    last = Box(["all"], "asked", bottom)
    graph_layout.svg([*top, *bottom, last], "test")
    order = sorted(top, key=lambda box: box.x)
    assert [box.lines[0][-1] for box in sorted(bottom, key=lambda box: box.x)] == [box.lines[0] for box in order]
