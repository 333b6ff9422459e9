"""The same network as containers and as Modules with a forward of their own: equal in everything that is read off it.

Networks are drawn: chains, residual sums, gates, concatenations, dense blocks, one in another.
"""

import dataclasses
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
import viz
from minigrad import nn

C = 4  # channels everywhere, so that any block may follow any other
SHAPE = (3, 16, 16)


class Own(nn.Module):
    """Named parts, with a forward that is written by hand as a user would: `wiring` is that code."""

    def __init__(self, parts, wiring):
        for name, part in parts.items():
            setattr(self, name, part)
        self.wiring = wiring

    def forward(self, x):
        return self.wiring(self, x)


def in_turn(self, x):
    for _, part in self.children():
        x = part(x)
    return x


def summed(self, x):
    return self.a(x) + self.b(x)


def gated(self, x):
    return self.a(x) * self.b(x)


def joined(self, x):
    return self.fuse(self.cat(self.a(x), self.b(x)))


def rectified_sum(self, x):
    return self.relu(self.a(x) + x)


def dense(self, x):
    a = self.a(x)
    b = self.b(a + x)
    return self.fuse(self.cat(x, a, b))


def reused(self, x):
    return self.relu(self.b(self.relu(self.a(x))))


def as_graph(**nodes):
    return lambda parts: nn.Graph({name: (parts.get(name, node[0]), *node[1:]) for name, node in nodes.items()})


INNER = None  # in the place of a node's module: the part of that name
ADD = nn.Call("add")
CAT_OF_TWO = as_graph(a=(INNER, "input"), b=(INNER, "input"), cat=(INNER, ["a", "b"]), fuse=(INNER,))
RESIDUAL = as_graph(a=(INNER,), add=(ADD, ["a", "input"]), relu=(INNER,))
DENSE = as_graph(a=(INNER,), add=(ADD, ["a", "input"]), b=(INNER,), cat=(INNER, ["input", "a", "b"]), fuse=(INNER,))
# kind: (names of inner blocks, further parts, the forward by hand, the container)
KINDS = {
    "sum": ("ab", {}, summed, nn.Sum),
    "product": ("ab", {}, gated, nn.Product),
    "cat": ("ab", {"cat": 0, "fuse": 2}, joined, CAT_OF_TWO),
    "residual": ("a", {"relu": 0}, rectified_sum, RESIDUAL),
    "dense": ("ab", {"cat": 0, "fuse": 3}, dense, DENSE),
    "reused": ("ab", {"relu": 0}, reused, lambda parts: nn.Sequential(twice_rectified(**parts))),
}


def twice_rectified(a, b, relu):
    return {"a": a, "relu": relu, "b": b, "again": relu}


def conv(rng, channels, kernel=3, **arguments):
    return nn.Conv2d(channels, C, kernel, padding=kernel // 2, rng=rng, **arguments)


def gate(rng):
    return {"gap": nn.AdaptiveAvgPool2d(1), "fc": conv(rng, C, 1), "sigmoid": nn.Call("sigmoid")}


CHAINS = {
    "conv": lambda rng: {"conv": conv(rng, C), "relu": nn.ReLU()},
    "norm": lambda rng: {"conv": conv(rng, C, bias=False), "bn": nn.BatchNorm2d(C), "relu": nn.ReLU()},
    "linear": lambda rng: {"conv": conv(rng, C, 1)},
    "smooth": lambda rng: {"conv": conv(rng, C), "act": nn.Call("tanh")},
    "dilated": lambda rng: {"conv": nn.Conv2d(C, C, 3, padding=2, dilation=2, rng=rng), "leaky": nn.LeakyReLU(0.1)},
    "gate": gate,
    "identity": lambda rng: {},
}

blocks = st.recursive(
    st.sampled_from(sorted(CHAINS.keys() - {"gate"})),
    lambda inner: (
        st.tuples(st.sampled_from(sorted(KINDS)), inner, inner) | st.tuples(st.just("product"), inner, st.just("gate"))
    ),
    max_leaves=6,
)
networks = st.lists(blocks, min_size=1, max_size=3)


def both_ways(block, rng):
    """(containers, Modules of one's own) that share every layer."""
    if isinstance(block, str):
        parts = CHAINS[block](rng)
        return nn.Sequential(parts), Own(parts, in_turn)
    kind, *inner = block
    names, more, forward, container = KINDS[kind]
    pairs = {name: both_ways(one, rng) for name, one in zip(names, inner, strict=False)}
    layers = {"relu": nn.ReLU(), "cat": nn.Call("cat", dim=1)}
    more = {name: conv(rng, C * wide, 1) if wide else layers[name] for name, wide in more.items()}
    ours = container({name: pair[0] for name, pair in pairs.items()} | more)
    return ours, Own({name: pair[1] for name, pair in pairs.items()} | more, forward)


def network(drawn, seed):
    rng = np.random.default_rng(seed)
    stem = {"stem": nn.Conv2d(3, C, 3, stride=2, padding=1, rng=rng), "relu": nn.ReLU()}
    pairs = {f"block{i}": both_ways(block, rng) for i, block in enumerate(drawn)}
    head = {"pool": nn.MaxPool2d(2), "gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    head["fc"] = nn.Linear(C, 3, rng=rng)
    ours = nn.Sequential(stem | {name: pair[0] for name, pair in pairs.items()} | head)
    own = Own(stem | {name: pair[1] for name, pair in pairs.items()} | head, in_turn)
    ours.load_state_dict({name: tensor.numpy().astype(np.float64) for name, tensor in ours.named_tensors()})
    return ours, own


@settings(max_examples=60)
@given(networks, st.integers(0, 99))
def test_a_forward_of_ones_own_and_containers_are_the_same(drawn, seed):
    ours, own = network(drawn, seed)
    image = np.random.default_rng(seed).random((2, *SHAPE))
    x = mg.Tensor(image, requires_grad=True)
    y = ours(x)
    np.testing.assert_array_equal(own(x).numpy(), y.numpy())

    rows, others = ({row.name: row for row in model.layers(SHAPE)} for model in (ours, own))
    for name in [name for name in rows if name.endswith("again")]:  # in `own` a second call of "relu"
        first = name.removesuffix("again") + "relu"
        rows[first] = dataclasses.replace(rows[first], flops=rows[first].flops + rows.pop(name).flops)
    for name, row in others.items():
        found = rows[name]
        assert (row.output_shape, row.parameters, row.receptive_field, row.flops) == (
            found.output_shape, found.parameters, found.receptive_field, found.flops
        )  # fmt: skip
    assert {name for name in rows if not isinstance(ours[name], nn.Call)} <= others.keys() | chains_of_nothing(ours)

    layer = viz.default_layer(own, SHAPE)
    assert viz.default_layer(ours, SHAPE) == layer
    np.testing.assert_array_equal(viz.grad_cam(own, image, 1, signed=True), viz.grad_cam(ours, image, 1, signed=True))
    patches = [viz.top_patches(model, image, layer, 0, count=2) for model in (ours, own)]
    np.testing.assert_array_equal(patches[0].box, patches[1].box)
    np.testing.assert_array_equal(patches[0].pixels, patches[1].pixels)

    found = ours.activations(x, [*others])
    assert all(np.array_equal(a.numpy(), found[name].numpy()) for name, a in own.activations(x, [*others]).items())


def chains_of_nothing(model):
    return {name for name, module in model.named_modules() if isinstance(module, nn.Sequential) and not len(module)}


@settings(max_examples=60)
@given(networks, st.integers(0, 99))
def test_receptive_fields_are_what_gradients_see(drawn, seed):
    """A unit of the default layer depends on no pixel beyond its field."""
    ours, _ = network(drawn, seed)
    layer = viz.default_layer(ours, SHAPE)
    image = np.random.default_rng(seed).random((1, *SHAPE))
    row = next(row for row in ours.layers(SHAPE) if row.name == layer)
    x = mg.Tensor(image, requires_grad=True)
    a = ours.activations(x, [layer])[layer]
    middle = (a.shape[2] // 2, a.shape[3] // 2)
    top, left, bottom, right = row.receptive_field.box(*middle, SHAPE[1:])
    seen = np.abs(mg.grad(a[0, :, middle[0], middle[1]].sum(), x).numpy()[0]).sum(0) > 0
    outside = seen.copy()
    outside[top:bottom, left:right] = False
    assert not outside.any()


@pytest.mark.host("weights files are read to the CPU")
@settings(max_examples=30)
@given(networks, st.integers(0, 99))
def test_weights_files_and_folding_keep_drawn_networks(tmp_path_factory, drawn, seed):
    import models

    ours, _ = network(drawn, seed)
    ours.load_state_dict({name: tensor.numpy().astype(np.float32) for name, tensor in ours.named_tensors()})
    model = models.Model({"preprocess": models.Preprocess(), **dict(ours.children())}, "own", SHAPE[1:])
    path = tmp_path_factory.getbasetemp() / "drawn.h5"
    models.save_weights(model, path)
    x = mg.Tensor(np.random.default_rng(seed).random((2, *SHAPE), dtype=np.float32))
    loaded, y = models.load(path), model(x).numpy()
    np.testing.assert_array_equal(loaded(x).numpy(), y)
    folded = models.fold_batch_norm(loaded)
    assert not any(isinstance(layer, nn.BatchNorm2d) for _, layer in folded.named_modules())
    np.testing.assert_allclose(folded(x).numpy(), y, rtol=1e-4, atol=1e-4 * abs(y).max() + 1e-6)


def test_an_empty_chain_as_a_branch_has_a_default_layer():
    block = nn.Sum({"chain": conv(np.random.default_rng(0), C), "identity": nn.Sequential({})})
    head = {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(C, 2)}
    model = nn.Sequential({"stem": conv(np.random.default_rng(1), 3), "block": block, **head})
    assert viz.default_layer(model, SHAPE) == "block"


@pytest.mark.parametrize("own", [False, True])
def test_average_pooling_reaches_into_graphs_and_refuses_what_it_cannot_know(own):
    inner = {"conv": conv(np.random.default_rng(0), 3), "pool": nn.MaxPool2d(2)}
    model = nn.Sequential({"block": Own(inner, in_turn) if own else nn.Graph(inner)})
    if own:
        with pytest.raises(NotImplementedError, match="'block' has a pool inside and a forward of its own"):
            viz.with_average_pooling(model)
    else:
        assert isinstance(viz.with_average_pooling(model)["block.pool"], nn.AvgPool2d)


def with_one_relu(forward):
    parts = {"conv1": nn.Conv2d(3, C, 3, stride=2, padding=1, rng=np.random.default_rng(0))}
    parts |= {
        "conv2": conv(np.random.default_rng(1), C),
        "relu": nn.ReLU(),
        "fc": nn.Linear(C, 3, rng=np.random.default_rng(2)),
    }
    return Own(parts, lambda self, x: self.fc(forward(self, x).mean((2, 3))))


@pytest.mark.parametrize("second", ["the same module", "a function"])
def test_behind_a_rectifier_without_a_name_the_layer_before_it_is_the_default(second):
    def forward(self, x):
        y = self.conv2(self.relu(self.conv1(x)))
        return self.relu(y) if second == "the same module" else mg.functional.relu(y)

    model, image = with_one_relu(forward), np.random.default_rng(2).random((1, *SHAPE))
    assert viz.default_layer(model, SHAPE) == "conv2"
    ours, theirs = (viz.grad_cam(model, image, 0, layer=layer, signed=True) for layer in (None, "conv2"))
    np.testing.assert_array_equal(ours, theirs)
    assert ours.any()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        viz.grad_cam(model, image, 0, layer="relu", signed=True)
    said = [str(one.message) for one in caught]
    assert any("'relu' runs 2 times in one pass, and its name means the first" in one for one in said) == (
        second == "the same module"
    )


def test_a_convolution_in_a_loop_is_no_default_layer():
    def forward(self, x):
        x = self.relu(self.conv1(x))
        for _ in range(3):
            x = self.relu(self.conv2(x))
        return x

    model = with_one_relu(forward)
    with pytest.raises(ValueError, match="a later call of 'relu', and its name means the first: give each call a mod"):
        viz.default_layer(model, SHAPE)
    rows = {row.name: row for row in model.layers(SHAPE)}
    once = nn.Sequential({"conv1": model["conv1"], "conv2": model["conv2"]}).layers(SHAPE)[-1]
    assert rows["conv2"] == dataclasses.replace(once, flops=3 * once.flops)
    assert rows["relu"].output_shape == (C, 8, 8)


def test_without_a_size_the_default_layer_asks_for_its_own_argument():
    with pytest.raises(ValueError, match=r"default_layer: give image_shape, \(C, H, W\) of one image"):
        viz.default_layer(nn.Sequential({"conv": conv(np.random.default_rng(0), 3)}))


def test_channels_at_the_end_are_no_maps():
    """As in ConvNeXt's head: a norm over (N,1,1,C) is no row of C places."""
    layers = {"maps": nn.Conv2d(3, 8, 3, rng=np.random.default_rng(0)), "act": nn.GELU()}
    layers |= {"mean": nn.AdaptiveAvgPool2d(1), "last": nn.Call("permute", dims=(0, 2, 3, 1)), "norm": nn.LayerNorm(8)}
    head = {"first": nn.Call("permute", dims=(0, 3, 1, 2)), "flat": nn.Flatten(), "fc": nn.Linear(8, 2)}
    assert viz.default_layer(nn.Sequential(layers | head), SHAPE) == "act"
