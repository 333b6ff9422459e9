"""A replayed graph is the ordinary one for whoever looks, and refuses what it refuses."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.autograd import functions_before
from minigrad.functional.activation import ReLUGrad
from minigrad.functional.pool import WindowScatter
from minigrad.nn import plan
from minigrad.nn.observe import called
from minigrad.nn.peephole import Fused, masked_before
from tests.minigrad.plan.passes import images, learnt, passes, plans, recorded_plan, same

pytestmark = pytest.mark.host("only passes over NumPy's arrays are replayed")


def test_the_graph_is_the_ordinary_one_for_whoever_looks(network, replays):
    def graph():
        x = mg.Tensor(images(), requires_grad=True)
        y = network(x)
        order = functions_before([y])
        known = {id(x): "x", **{id(t): name for name, t in network.named_tensors()}}
        places = {f: i for i, f in enumerate(order)}
        told = [(type(f), [known.get(id(t), places.get(t.function)) for t in f.inputs], f.output.shape) for f in order]
        assert order[-1] is y.function and y.function.output is y
        flags = [(t.requires_grad, t.data.flags.writeable) for f in order for t in f.inputs]
        return told, flags, [t.data.tobytes() for f in order for t in (*f.inputs, f.output)], str(mg.graph(y))

    expected = graph()
    passes(network, images())
    assert graph() == expected and replays["forward"] >= 1
    network._called = called
    assert graph() == expected


def test_convolutions_and_their_rectifier_are_one_step_until_somebody_looks(network, replays):
    learnt(network, replays)
    made = recorded_plan(network)
    together = [step for step in made.way.instead if step.kind is Fused]
    assert [len(step.state["geometries"]) for step in together] == [1, 1, 2, 1]  # conv1, conv2, fire, the graph's conv1
    assert len(made.way.instead) == len(made.way.steps) - 6 and len(made.left_out) == 6
    y = network(mg.Tensor(images(), requires_grad=True))
    values = y._function.values
    assert all(values[place] is None for place in made.left_out)
    before = [f for f in functions_before([y]) if isinstance(f, F.ReLU)][0].inputs[0]
    assert isinstance(before.function, F.Conv2d) and (before.data < 0).any()


def test_what_was_left_out_is_made_as_in_a_pass(replays):
    """With BLAS held as it is then: its AVX2 kernels round otherwise on two threads."""
    rng = np.random.default_rng(0)
    layers = {"conv": nn.Conv2d(10, 10, 3, padding=1, rng=rng), "relu": nn.ReLU()}
    network = nn.Sequential(layers).requires_grad_(False)
    for _ in range(10):
        y = network(mg.Tensor(rng.standard_normal((2, 10, 18, 18)).astype(np.float32), requires_grad=True))
        (before,) = y.function.inputs
        np.testing.assert_array_equal(np.maximum(before.data, 0), y.data)
    assert replays["forward"] == 9


MODES = [(mg.use_kernels, "plain"), (mg.conv_algorithm, "winograd"), (mg.conv_algorithm, "direct")]


@pytest.mark.parametrize("mode, name", MODES)
def test_what_was_left_out_does_not_follow_who_looks(mode, name, replays):
    rng = np.random.default_rng(0)
    layers = {"conv": nn.Conv2d(32, 32, 3, padding=1, rng=rng), "relu": nn.ReLU()}
    network = nn.Sequential(layers).requires_grad_(False)
    for size in (48, 48, 48, 5, 5, 5):
        y = network(mg.Tensor(rng.standard_normal((1, 32, size, size)).astype(np.float32), requires_grad=True))
        with mode(name):
            (before,) = y.function.inputs
        np.testing.assert_array_equal(np.maximum(before.data, 0), y.data)
    assert replays["forward"] == 4


@plan.by_shape
class Weighed(nn.Module):
    """Two convolutions, the weight of the second made behind the first."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.a, self.b = (mg.Tensor(rng.standard_normal((4, 3, 3, 3)).astype(np.float32)) for _ in range(2))

    def forward(self, x):
        return F.relu(F.cat([F.conv2d(x, self.a, padding=1), F.conv2d(x, self.b * 2.0, padding=1)], 1))


def test_joined_convolutions_wait_for_their_weights(replays):
    network = nn.Sequential({"pool": nn.AvgPool2d(2), "weighed": Weighed()}).requires_grad_(False)
    for seed in range(4):
        assert same(network, images(seed))
    made = recorded_plan(network)
    assert made.way.instead[-1].kind is Fused and replays["backward"] == 2


class Kept(mg.Function):
    """A gate in an attribute, where no step's inputs tell of it."""

    def __init__(self, gate):
        self.gate = gate

    def forward(self, g):
        return g * (self.gate > 0.1)


def takes(self, g):
    return F.where(self.inputs[0] > 0.1, g, g * 0.0)


def keeps(self, g):
    return Kept(self.inputs[0].data)(g)


@pytest.mark.parametrize("vjp", [takes, keeps])
def test_a_way_back_from_what_is_left_out_ends_the_plan(vjp, network, replays, monkeypatch):
    monkeypatch.setattr(F.ReLU, "vjp", vjp)
    for seed in range(4):
        assert same(network, images(seed))
    assert not any(one.sound for one in plans(network).values() if one.recorded) and replays["backward"] == 0


def test_a_rectifiers_mask_comes_before_its_pools_scattering(network, replays):
    learnt(network, replays)
    made = recorded_plan(network)
    way = made.backward[0]
    noted, run = (
        [step.kind.__name__ for step in steps if step.kind in (ReLUGrad, WindowScatter)]
        for steps in (way.steps, way.instead)
    )
    assert noted == ["WindowScatter", "ReLUGrad", "WindowScatter", "ReLUGrad"]  # of pool2, relu3, pool1, relu1
    assert run == ["WindowScatter", "ReLUGrad", "ReLUGrad", "WindowScatter"]
    assert sum(a is not b for a, b in zip(way.steps, way.instead, strict=True)) == 2


def test_a_mask_stays_behind_a_scattering_that_lies_otherwise_in_memory(network, replays):
    learnt(network, replays)
    made = recorded_plan(network)
    back = made.backward[0].steps
    for step in back:
        if step.kind is WindowScatter:
            step.strides = step.strides[::-1]
    assert masked_before(back, made.way.steps) == back


def test_the_ways_through_a_graph_may_follow_each_other(network, replays):
    learnt(network, replays)
    x = mg.Tensor(images(), requires_grad=True)
    y = network(x)
    score = (y * y).sum()
    first = mg.grad(score, x)
    again = mg.grad(score, [y, x])[1]
    inner = y.function.inputs[0]
    by_inner = mg.grad(score, [inner, x])
    last = mg.grad(score, x)
    assert first.data.tobytes() == again.data.tobytes() == by_inner[1].data.tobytes() == last.data.tobytes()
    assert by_inner[0].shape == inner.shape and replays["backward"] == 2


def test_backward_fills_grad(network, replays):
    def filled():
        x = mg.Tensor(images(), requires_grad=True)
        for _ in range(2):
            network(x * 2.0).sum().backward()
        return x.grad.data

    for _ in range(2):
        filled()
    replays.update(backward=0)
    found = filled()
    assert replays["backward"] == 2
    network._called = called
    assert found.tobytes() == filled().tobytes()


def test_an_input_that_others_take_too(network, replays):
    def gradient():
        x = mg.Tensor(images(), requires_grad=True)
        y = network(x)
        loss = (x * x).sum() + (y * y).sum() + F.exp(x).sum() + network(x * 0.5).sum()
        return mg.grad(loss, x).data

    for _ in range(3):
        found = gradient()
    network._called = called
    assert replays["backward"] >= 2 and found.tobytes() == gradient().tobytes()


def test_a_network_that_takes_its_input_twice_has_no_plan_with_a_graph(replays):
    rng = np.random.default_rng(0)
    branches = {"a": nn.Conv2d(3, 4, 3, rng=rng), "b": nn.Conv2d(3, 4, 3, rng=rng)}
    network = nn.Sequential({"both": nn.Parallel(branches)}).requires_grad_(False)
    assert all(same(network, images(seed)) for seed in range(3))
    assert replays == {"forward": 2, "backward": 0}


def test_arrays_of_the_graph_are_read_only_while_it_lives(network, replays):
    learnt(network, replays)
    x = mg.Tensor(images(), requires_grad=True)
    y = network(x)
    network.requires_grad_(True)  # the graph needs them as they are
    for array in (x.data, y.data, network["conv1"].weight.data, network["bn"].running_mean.data):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    del y
    for array in (x.data, network["conv1"].weight.data, network["bn"].running_mean.data):
        array[...] = 0


@pytest.mark.parametrize("which", ["weight", "input", "output"])
def test_data_that_is_replaced_before_the_way_back(network, replays, which):
    def refused():
        x = mg.Tensor(images(), requires_grad=True)
        y = network(x)
        tensor = {"weight": network["conv1"].weight, "input": x, "output": y}[which]
        tensor.data = tensor.data * 1.0
        with pytest.raises(RuntimeError) as error:
            mg.grad(y.sum(), x)
        return str(error.value)

    learnt(network, replays)
    found = refused()
    assert replays == {"forward": 1, "backward": 0}
    network._called = called
    assert found == refused()


def test_two_threads_that_look_see_one_graph(network, replays):
    learnt(network, replays)
    for _ in range(10):
        y = network(mg.Tensor(images(), requires_grad=True))
        with ThreadPoolExecutor(4) as pool:
            assert len({id(f) for f in pool.map(lambda _, y=y: y.function, range(8))}) == 1


def test_constants_that_someone_writes_to_once_the_graph_is_gone(network, replays):
    learnt(network, replays)
    y = network(mg.Tensor(images(), requires_grad=True))
    constants = [t.data for f in functions_before([y]) for t in f.inputs if t.size == 1 and not t.requires_grad]
    assert constants
    del y
    for array in constants:
        array[...] = 7
    assert same(network, images(3))


def test_printing_a_result(network, replays):
    learnt(network, replays)
    assert "function=Linear" in repr(network(mg.Tensor(images(), requires_grad=True)))
