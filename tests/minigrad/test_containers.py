"""Sums, products, functions as layers, and graphs of named nodes: what they compute, refuse, and fuse."""

import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import kernels, nn


def conv(rng, *channels, **arguments):
    return nn.Conv2d(*channels, 3, padding=1, rng=rng, **arguments)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def x(rng):
    return mg.Tensor(rng.standard_normal((2, 4, 6, 6)).astype(np.float32), requires_grad=True)


def residual(rng):
    return nn.Graph(
        {
            "conv1": conv(rng, 4, 4),
            "relu1": nn.ReLU(),
            "conv2": conv(rng, 4, 4),
            "add": (nn.Call("add"), ["conv2", "input"]),
            "relu2": nn.ReLU(),
        }
    )


class Two(nn.Module):
    """Two outputs of two inputs."""

    def forward(self, a, b):
        return a + b, a * b


# ---- values ----------------------------------------------------------------------------------------------------------


def test_a_graph_is_what_its_nodes_say(rng, x):
    block = residual(rng)
    by_hand = F.relu(block["conv2"](F.relu(block["conv1"](x))) + x)
    np.testing.assert_array_equal(block(x).numpy(), by_hand.numpy())
    assert block.names() == ["conv1", "relu1", "conv2", "add", "relu2"] == list(block) and len(block) == 5
    assert block.nodes["add"] == (block["add"], ["conv2", "input"]) and block.nodes["conv1"][1] == ["input"]
    found = block.activations(x, ["add", "conv2"])
    np.testing.assert_array_equal(found["add"].numpy(), (found["conv2"] + x).numpy())
    assert block.activations(x, "")[""].shape == x.shape


def test_sums_products_and_identity_branches(rng, x):
    branches = {"a": conv(rng, 4, 4), "b": nn.Sequential({})}
    a = branches["a"](x)
    np.testing.assert_array_equal(nn.Sum(branches)(x).numpy(), (a + x).numpy())
    np.testing.assert_array_equal(nn.Product(branches)(x).numpy(), (a * x).numpy())
    gate = nn.Sequential({"gap": nn.AdaptiveAvgPool2d(1), "fc": nn.Conv2d(4, 4, 1, rng=rng), "s": nn.Call("sigmoid")})
    gated = nn.Product({"maps": nn.Sequential({}), "gate": gate})
    np.testing.assert_array_equal(gated(x).numpy(), (x * gate(x)).numpy())


def test_functions_as_layers(x):
    np.testing.assert_array_equal(nn.Call("interpolate", scale_factor=2)(x).shape, (2, 4, 12, 12))
    np.testing.assert_array_equal(nn.Call("cat", dim=1)(x, x).numpy(), np.concatenate([x.numpy()] * 2, 1))
    np.testing.assert_array_equal(nn.Call("mean", axis=(2, 3), keepdims=True)(x).shape, (2, 4, 1, 1))
    assert repr(nn.Call("clamp", min=0, max=6)) == "Call(function: 'clamp', min: 0, max: 6)"


def test_several_inputs_and_outputs(x):
    graph = nn.Graph(
        {"two": (Two(), ["input", "input"]), "relu": (nn.ReLU(), ("two", 1)), "all": (Two(), [("two", 0), "relu"])},
        outputs=[("all", 1), "relu", "input"],
    )
    product, rectified, same = graph(x)
    np.testing.assert_array_equal(rectified.numpy(), F.relu(x * x).numpy())
    np.testing.assert_array_equal(product.numpy(), ((x + x) * rectified).numpy())
    assert same is x
    of_two = nn.Graph({"two": (Two(), [("input", 0), ("input", 1)])}, outputs=("two", 0))
    np.testing.assert_array_equal(of_two(x, x).numpy(), (x + x).numpy())
    rows = {row.name: row for row in graph.layers((4, 6, 6))}
    assert rows["two"].output_shape == ((4, 6, 6), (4, 6, 6)) and rows["two"].flops == 2 * 4 * 36
    assert isinstance(graph.activations(x, "two")["two"], tuple)


def test_the_simple_containers_are_cases_of_graphs(rng, x):
    a, b = conv(rng, 4, 4), conv(rng, 4, 4)
    for simple, call in (
        (nn.Parallel, nn.Call("cat", dim=1)),
        (nn.Sum, nn.Call("add")),
        (nn.Product, nn.Call("mul")),
    ):
        graph = nn.Graph({"a": (a, "input"), "b": (b, "input"), "joined": (call, ["a", "b"])})
        np.testing.assert_array_equal(simple({"a": a, "b": b})(x).numpy(), graph(x).numpy())


def test_graphs_are_copied_stored_and_trained(rng, x):
    block = residual(rng)
    for copied in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        np.testing.assert_array_equal(copied(x).numpy(), block(x).numpy())
        copied.load_state_dict({name: tensor.numpy() * 2 for name, tensor in copied.named_tensors()})
        assert not np.array_equal(copied(x).numpy(), block(x).numpy())
    state = {name: tensor.numpy() + 1 for name, tensor in block.named_tensors()}
    assert list(state) == ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"]
    block.load_state_dict(state)
    np.testing.assert_array_equal(block["conv2"].bias.numpy(), state["conv2.bias"])
    block(x).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())
    assert all(module.training for _, module in block.train().named_modules())


def test_one_module_at_two_nodes(rng, x):
    shared = conv(rng, 4, 4)
    twice = nn.Graph({"first": shared, "relu": nn.ReLU(), "second": shared})
    found = twice.activations(x, ["first", "second"])
    np.testing.assert_array_equal(found["second"].numpy(), shared(F.relu(shared(x))).numpy())
    np.testing.assert_array_equal(found["first"].numpy(), shared(x).numpy())


# ---- the peephole ----------------------------------------------------------------------------------------------------


def counted(monkeypatch):
    """What runs fused from here on: names of kernels."""
    seen = []
    for name in ("conv2d_relu", "conv2d_relu_max_pool"):
        kernel = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *a, k=kernel, n=name: seen.append(n) or k(*a))
    return seen


def test_chains_within_graphs_are_fused_where_nobody_asks_between(rng, x, monkeypatch):
    inner = nn.Sequential({"conv": conv(rng, 4, 4), "relu": nn.ReLU(), "pool": nn.MaxPool2d(2)})
    graph = nn.Graph({"block": residual(rng), "inner": inner, "conv": conv(rng, 4, 4), "relu": nn.ReLU()})
    wanted = graph(x).numpy()
    seen = counted(monkeypatch)
    with mg.no_grad():
        np.testing.assert_array_equal(graph(x).numpy(), wanted)
        assert seen == ["conv2d_relu", "conv2d_relu_max_pool", "conv2d_relu"]
        seen.clear()
        found = graph.activations(x, ["block.conv1", "block.relu2", "relu"])
    assert seen == ["conv2d_relu_max_pool", "conv2d_relu"]
    np.testing.assert_array_equal(found["relu"].numpy(), wanted)


def test_a_node_that_is_taken_twice_is_not_fused(rng, x, monkeypatch):
    nodes = {"conv": conv(rng, 4, 4), "relu": nn.ReLU(), "add": (nn.Call("add"), ["conv", "relu"])}
    twice, given = nn.Graph(nodes), nn.Graph({"conv": nodes["conv"], "relu": nn.ReLU()}, ["conv", "relu"])
    seen = counted(monkeypatch)
    with mg.no_grad():
        y = nodes["conv"](x)
        np.testing.assert_array_equal(twice(x).numpy(), (y + F.relu(y)).numpy())
        np.testing.assert_array_equal(given(x)[0].numpy(), y.numpy())
    assert seen == []


def branches(*convolutions):
    return nn.Sequential({"join": nn.Parallel(dict(zip("abc", convolutions, strict=False))), "relu": nn.ReLU()})


def test_branches_write_into_one_array(rng, monkeypatch):
    """By all ways of the kernels: a product of pixels, Winograd, windows; with a bias and without."""
    x = mg.Tensor(rng.standard_normal((2, 16, 14, 14), np.float32))
    without = nn.Conv2d(16, 5, 3, padding=2, dilation=2, bias=False, rng=rng)
    model = branches(nn.Conv2d(16, 24, 1, rng=rng), conv(rng, 16, 32), without).requires_grad_(False)
    for inner in (model["join.a"], model["join.b"]):
        inner.bias.data = mg.Tensor(rng.standard_normal(inner.bias.shape, np.float32)).data
    wanted = F.relu(F.cat([model[f"join.{name}"](x) for name in "abc"], 1)).numpy()
    seen = counted(monkeypatch)
    np.testing.assert_allclose(model(x).numpy(), wanted, atol=1e-5)
    assert seen == ["conv2d_relu"]
    seen.clear()
    found = model.activations(x, ["join.b", "relu"])
    np.testing.assert_allclose(F.relu(found["join.b"]).numpy(), wanted[:, 24:56], atol=1e-5)
    model(mg.Tensor(x.numpy(), requires_grad=True))
    nn.Sequential({"sum": nn.Sum({"a": conv(rng, 16, 4), "b": conv(rng, 16, 4)}), "relu": nn.ReLU()})(x)
    assert seen == []


def test_branches_of_different_sizes_are_refused_as_ever(rng, x):
    model = branches(conv(rng, 4, 4), nn.Conv2d(4, 4, 2, rng=rng)).requires_grad_(False)
    with pytest.raises(ValueError, match="cat"):
        model(x)


def test_outputs_of_nodes_are_freed_once_nobody_takes_them(x):
    """Without a graph of functions: three nodes' outputs at most are alive at once."""
    import weakref

    alive = []

    class Noting(nn.Module):
        def forward(self, x):
            y = x + 1
            alive.append(weakref.ref(y))
            counts.append(sum(ref() is not None for ref in alive))
            return y

    counts = []
    with mg.no_grad():
        nn.Graph({f"n{i}": Noting() for i in range(8)})(x)
    assert max(counts) <= 3


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nodes, outputs, message",
    [
        ({}, None, "at least one node"),
        ({"a": nn.ReLU(), "b": (nn.ReLU(), "c")}, None, "'b' takes 'c', which is no node: there are input, a$"),
        ({"conv": nn.ReLU(), "b": (nn.ReLU(), "cnv")}, None, "'b' takes 'cnv', which is no node, did you mean 'conv'?"),
        ({"a": (nn.ReLU(), "b"), "b": nn.ReLU()}, None, "'a' takes 'b', which comes after it: put 'b' before 'a'"),
        ({"a": (nn.ReLU(), "a")}, None, "'a' takes 'a', which is itself: name a node before it"),
        ({"a": nn.ReLU(), "b": (nn.ReLU(), "input")}, None, "no node takes what 'a' gives: let one take it, name it"),
        ({"a": nn.ReLU(), "b": nn.ReLU()}, "a", "no node takes what 'b' gives"),
        ({"a": nn.ReLU()}, "b", "outputs holds 'b', which is no node: there are input, a$"),
        ({"a": (nn.ReLU(), "input")}, "b", "outputs holds 'b', which is no node: there are input, a$"),
        ({"a": nn.ReLU()}, [], "outputs is empty: name nodes, or leave it out for the last one"),
        ({"a": nn.ReLU()}, ["a", 3], 'outputs holds 3: give the name of a node, or ."name", i. for its i-th output'),
        ({"a": nn.ReLU(), "b": (nn.ReLU(), 0)}, None, "node 'b' takes 0: give the name of a node"),
        ({"a": (nn.ReLU(), ["input", "input"])}, None, "node 'a', a ReLU, takes 1 input, and is given 2"),
        ({"a": (nn.ReLU(), [])}, None, "'a', a ReLU, takes 1 input, and is given 0"),
        ({"a": (Two(), "input")}, None, "'a', a Two, takes 2 inputs, and is given 1"),
        ({"a": (nn.Call("add"), "input")}, None, "'a', a Call of add, takes 2 inputs, and is given 1"),
        ({"a": (nn.Call("conv2d"), "input")}, None, "'a', a Call of conv2d, takes 2 to 7 inputs, and is given 1"),
        ({"a": (nn.Call("cat"), [])}, None, "'a', a Call of cat, takes 1 or more inputs, and is given 0"),
        ({"a": ()}, None, "node 'a' is a tuple of 0: give .module, input., or"),
        ({"a": nn.ReLU(), "add": (nn.Call("add"), "a", "input")}, None, "node 'add' is a tuple of 3: give .module, in"),
        ({"input": nn.ReLU()}, None, "the graph's own input"),
        ({"a.b": nn.ReLU()}, None, "must not be empty or hold a dot"),
    ],
)
def test_graphs_that_do_not_hold(nodes, outputs, message):
    with pytest.raises(ValueError, match=message) as caught:
        nn.Graph(nodes, outputs)
    assert "\n" not in str(caught.value)


def test_wrong_numbers_of_outputs_and_other_types(x):
    for one, name in ((F.relu, "relu"), ("relu", "relu"), (np.add, "add")):
        with pytest.raises(TypeError, match=f"node 'a' is no Module: nn.Call.'{name}'. makes one"):
            nn.Graph({"a": one})
    with pytest.raises(TypeError, match="layer 'a' is int, expected a Module"):
        nn.Graph({"a": 3})
    with pytest.raises(TypeError, match="give the nodes as a dict, .*, not as list"):
        nn.Graph([nn.ReLU()])
    with pytest.raises(ValueError, match="replace takes a module for each node and no other, not so for 'b'"):
        nn.Graph({"a": nn.ReLU()}).replace({"a": nn.ReLU(), "b": nn.ReLU()})
    two = (Two(), ["input", "input"])
    with pytest.raises(
        ValueError,
        match=r"node 'relu' takes 'two', and 'two' gives 2 outputs: say which, from \('two', 0\) to \('two', 1\)",
    ):
        nn.Graph({"two": two, "relu": nn.ReLU()})(x)
    with pytest.raises(ValueError, match=r"node 'relu' takes \('two', 2\), and 'two' gives 2 outputs: say which"):
        nn.Graph({"two": two, "relu": (nn.ReLU(), ("two", 2))})(x)
    with pytest.raises(
        ValueError, match=r"node 'relu' takes \('input', 1\), and 'input' gives one output: say 'input'"
    ):
        nn.Graph({"relu": (nn.ReLU(), ("input", 1))})(x)


def test_calls_that_do_not_hold():
    for name in ("no_such", "_helper", "ReLU", None, "conv", "__getattr__"):
        with pytest.raises(ValueError, match="there is no function"):
            nn.Call(name)
    with pytest.raises(ValueError, match="no function 'adds' in minigrad.functional, did you mean add?"):
        nn.Call("adds")
    with pytest.raises(ValueError, match="cat has no argument 'dims', it has "):
        nn.Call("cat", dims=1)
    with pytest.raises(TypeError, match="argument b of maximum"):
        nn.Call("maximum", b=np.ones(3))


def test_sums_and_products_that_do_not_fit(x):
    branches = {"a": nn.Conv2d(x.shape[1], x.shape[1], 3), "b": nn.Identity()}
    for kind in (nn.Sum, nn.Product):
        with pytest.raises(ValueError, match=f"{kind.__name__}: branch 'b' gives .*, and those before it .*: let all"):
            kind(branches)(x)
        with pytest.raises(TypeError, match=f"{kind.__name__}: layer 'a' is function, expected a Module"):
            kind({"a": F.relu})
        with pytest.raises(ValueError, match=f"{kind.__name__}: it has no branches: give at least one"):
            kind({})(x)
