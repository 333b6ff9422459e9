"""What a place is computed from, and who takes it: compared with the network itself, layer by layer."""

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import nn
from models.layers import Preprocess


def network(seed=0):
    """Layers of every kind that is taken apart: strides, groups, dilation, borders, branches, sums, norms."""
    rng = np.random.default_rng(seed)
    branches = {"a": nn.Conv2d(8, 4, 1, rng=rng), "b": nn.Sequential({"pad": nn.Conv2d(8, 6, 3, padding=1, rng=rng)})}
    sums = {"way": nn.Conv2d(10, 10, 3, padding=2, dilation=2, groups=2, rng=rng), "same": nn.Identity()}
    layers = {
        "preprocess": Preprocess(scale=255, mean=(104, 117, 123), std=(50, 60, 70), channel_order="BGR"),
        "conv1": nn.Conv2d(3, 8, (3, 5), stride=2, padding=(1, 2), rng=rng),
        "norm": nn.BatchNorm2d(8),
        "relu1": nn.ReLU(),
        "pool": nn.MaxPool2d(3, 2, padding=1),
        "branches": nn.Parallel(branches),
        "sum": nn.Sum(sums),
        "mean": nn.AvgPool2d(2),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(10 * 3 * 3, 5, rng=rng),
    }
    model = nn.Sequential(layers).eval()
    for name, tensor in model.named_tensors():
        if name.endswith(("bias", "running_mean")):
            tensor.data = mg.Tensor(rng.standard_normal(tensor.shape).astype(np.float32)).data
    return model.requires_grad_(False)


MODEL, IMAGE = network(), np.random.default_rng(1).random((1, 3, 24, 24), np.float32)
LAYERS = [name for name in MODEL.names() if "." not in name or name.count(".") == 1]


def outputs(model, image, names):
    with mg.no_grad():
        return {name: y.numpy()[0] for name, y in model.activations(mg.Tensor(image), names).items()}


def places(y, seed=0, count=6):
    """Corners and some others."""
    rng = np.random.default_rng(seed)
    return [
        (0,) * y.ndim,
        tuple(n - 1 for n in y.shape),
        *(tuple(int(rng.integers(n)) for n in y.shape) for _ in range(count)),
    ]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_parts_add_up_to_what_the_network_has(layer):
    found = outputs(MODEL, IMAGE, LAYERS)
    for unit in places(found[layer]):
        a = viz.arithmetic(MODEL, IMAGE, layer, unit, count=2)
        assert a.value == pytest.approx(found[layer][unit], rel=1e-6) and a.kind == type(MODEL[layer]).__name__
        if a.kind in ("Conv2d", "Linear"):
            assert len(a.terms) == 2 and a.summed + a.bias == pytest.approx(a.value, rel=2e-4, abs=2e-4)
            assert abs(a.terms[0].sum) >= abs(a.terms[1].sum)
        elif a.kind == "MaxPool2d":
            assert a.terms[0].patch.max() == pytest.approx(a.value, rel=1e-6)
        elif a.kind == "AvgPool2d":
            assert a.terms[0].patch.mean() == pytest.approx(a.value, rel=1e-5, abs=1e-6)
        elif a.kind in ("Sum", "Parallel", "Identity", "Flatten"):
            assert sum(one.value for one in a.inputs) == pytest.approx(a.value, rel=1e-5, abs=1e-5)
        for one in a.inputs:  # each is where it is said to be
            whole = IMAGE[0] if one.layer == "" else found[one.layer] if one.layer in found else None
            assert whole is None or one.value == pytest.approx(whole[one.unit], rel=1e-6)


def test_a_term_is_the_patch_at_its_place():
    found = outputs(MODEL, IMAGE, ["preprocess", "conv1"])
    a = viz.arithmetic(MODEL, IMAGE, "conv1", (5, 3, 4), count=3)
    assert a.source == "preprocess" and {term.channel for term in a.terms} == {0, 1, 2} and not a.more
    for term in a.terms:
        assert (term.row, term.column) == (2 * 3 - 1, 2 * 4 - 2)
        np.testing.assert_array_equal(term.patch, found["preprocess"][term.channel, 5:8, 6:11])
        np.testing.assert_array_equal(term.kernel, MODEL["conv1"].weight.numpy()[5, term.channel])
    border = viz.arithmetic(MODEL, IMAGE, "conv1", (5, 0, 0), count=3).terms[0]
    assert (border.row, border.column) == (-1, -2) and not border.patch[0].any() and not border.patch[:, :2].any()


def test_grouped_and_dilated_kernels_look_where_they_look():
    a = viz.arithmetic(MODEL, IMAGE, "sum.way", (7, 2, 3), count=9)
    assert {term.channel for term in a.terms} == set(range(5, 10)) and a.terms[0].step == (2, 2)
    found = outputs(MODEL, IMAGE, ["branches"])["branches"]
    term = a.terms[0]
    np.testing.assert_array_equal(term.patch, found[term.channel, 0:5:2, 1:6:2])


def test_preprocessing_and_norms_say_their_formula():
    a = viz.arithmetic(MODEL, IMAGE, "preprocess", (0, 4, 5))
    (pixel,) = a.inputs
    assert (pixel.layer, pixel.unit) == ("", (2, 4, 5)) and a.note == "(255 times the pixel - 104) / 50"
    assert (255 * pixel.value - 104) / 50 == pytest.approx(a.value, rel=1e-5)
    a = viz.arithmetic(MODEL, IMAGE, "norm", (3, 1, 1))
    norm, number = MODEL["norm"], a.inputs[0].value
    mean, weight, bias = (t.numpy()[3] for t in (norm.running_mean, norm.weight, norm.bias))
    spread = np.sqrt(norm.running_var.numpy()[3] + norm.eps)
    assert a.inputs[0].layer == "conv1"
    assert a.note == f"(the number - {mean:.4g}) / {spread:.4g} times {weight:.4g}, and {bias:.4g}"
    assert (number - mean) / spread * weight + bias == pytest.approx(a.value, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    "layer, taker", [("preprocess", "conv1"), ("pool", "branches.b.pad"), ("flatten", "fc"), ("branches", "sum.way")]
)
def test_a_use_is_what_is_lost_where_the_number_is_0(layer, taker):
    """Set to 0, the unit takes its part from each of its takers, and from no other."""
    before = outputs(MODEL, IMAGE, [layer])[layer]
    unit = max(np.ndindex(*before.shape), key=lambda at: abs(before[at]))
    found = [use for use in viz.uses(MODEL, IMAGE, layer, unit, count=10**6) if use.layer == taker]
    y, changed = (_rerun(MODEL, layer, one, taker) for one in (None, unit))
    parts = np.zeros(y.shape)
    for use in found:
        parts[use.unit] += use.part
        assert use.value == pytest.approx(y[use.unit], rel=1e-5)
    np.testing.assert_allclose(y - changed, parts, rtol=1e-3, atol=2e-4)


def _rerun(model, layer, unit, taker):
    """The output of `taker` with one number of a layer at 0."""

    class Changed(nn.Module):
        def __init__(self, inner):
            self.inner = inner

        def forward(self, x):
            y = self.inner(x)
            if unit is None:
                return y
            mask = np.ones(y.shape, np.float32)
            mask[(0, *unit)] = 0
            return y * mg.Tensor(mask)

    changed = model.replace(dict(model.children()) | {layer: Changed(model[layer])})
    return outputs(changed, IMAGE, [taker])[taker]


def test_who_takes_what():
    takers = lambda layer, unit: [(use.layer, use.unit) for use in viz.uses(MODEL, IMAGE, layer, unit)]  # noqa: E731
    assert takers("conv1", (2, 3, 4)) == [("norm", (2, 3, 4))]
    assert takers("relu1", (2, 3, 3)) == [
        ("pool", (2, 1, 1)),
        ("pool", (2, 1, 2)),
        ("pool", (2, 2, 1)),
        ("pool", (2, 2, 2)),
    ]
    assert takers("mean", (1, 2, 0)) == [("flatten", (9 + 6,))]
    assert {name for name, _ in takers("pool", (0, 2, 2))} == {"branches.a", "branches.b.pad"}
    assert takers("fc", (0,)) == []
    assert takers("branches.a", (3, 2, 2)) == [("branches", (3, 2, 2))]
    assert takers("branches.b.pad", (5, 2, 2)) == [("branches", (4 + 5, 2, 2))]
    assert takers("sum.way", (1, 2, 2)) == [("sum", (1, 2, 2))]
    assert ("sum", (1, 2, 2)) in takers("branches", (1, 2, 2))  # by the branch that is the identity


def test_the_nodes_of_a_graph_take_each_other():
    rng = np.random.default_rng(0)
    nodes = {"conv": nn.Conv2d(3, 3, 1, rng=rng), "relu": nn.ReLU(), "add": (nn.Call("add"), ["relu", "input"])}
    model = nn.Sequential({"graph": nn.Graph(nodes)}).eval()
    assert [(u.layer, u.unit) for u in viz.uses(model, IMAGE, "graph.relu", (1, 2, 3))] == [("graph.add", (1, 2, 3))]
    found = viz.arithmetic(model, IMAGE, "graph.add", (1, 2, 3))
    assert [one.layer for one in found.inputs] == ["graph.relu", ""]
    assert sum(one.value for one in found.inputs) == pytest.approx(found.value, rel=1e-5)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("conv1", (8, 0, 0)), r"'conv1' gives \(8, 12, 12\), it has no unit \(8, 0, 0\)"),
        (("conv1", (0,)), "it has no unit"),
        (("fc", (0, 0, 0)), "it has no unit"),
        (("nothing", (0,)), "'nothing' is no layer that gives one output"),
    ],
)
def test_what_is_not_there_is_refused(arguments, sentence):
    for function in (viz.arithmetic, viz.uses):
        with pytest.raises(ValueError, match=sentence):
            function(MODEL, IMAGE, *arguments)
    with pytest.raises(ValueError, match="one image at a time, got 2"):
        viz.arithmetic(MODEL, np.repeat(IMAGE, 2, 0), "conv1", (0, 0, 0))


def test_a_layer_of_a_kind_of_its_own_is_not_taken_apart():
    model = nn.Sequential(
        {"conv": nn.Conv2d(3, 4, 1, rng=np.random.default_rng(0)), "lrn": nn.LocalResponseNorm(2)}
    ).eval()
    found = viz.arithmetic(model, IMAGE, "lrn", (0, 1, 1))
    assert not found.inputs and not found.terms and "not taken apart" in found.note
