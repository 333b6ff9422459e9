"""Each reason to give up a plan is one."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import kernels, nn
from minigrad.functional.activation import ReLUGrad
from minigrad.functional.convert import constant_like
from minigrad.functional.pool import WindowScatter
from minigrad.functional.shape import Cat
from minigrad.nn import plan
from minigrad.nn.observe import called
from tests.minigrad.plan.passes import build, images, learnt, passes, same

pytestmark = pytest.mark.host("only passes over NumPy's arrays are replayed")


def other_class(network):
    network["relu1"].__class__ = nn.Sigmoid


def other_attributes(network):
    network["conv2"].__dict__ = build(seed=7)["conv2"].requires_grad_(False).__dict__


def exchange(network):
    network._layers["relu1"] = nn.Sigmoid()


def add(network):
    network._layers["last"] = nn.ReLU()


def remove(network):
    del network._layers["drop"]


def new_weight(network):
    network["conv2"].weight = mg.Tensor(network["conv2"].weight.data * 2)


def shared_weight(network):
    network["graph.conv2"].weight = network["graph.conv2"].weight


def other_forward(network):
    network["relu1"].forward = lambda x: F.relu(x) * 3.0


def other_setting(network):
    network["pool2"].kernel_size = 2


def other_node(network):
    network["graph"]._nodes["half"] = (nn.Call("mul", b=4.0), ["add"])
    network["graph"]._plan = network["graph"]._planned()


def replaced_data(network):
    network["conv1"].weight.data = network["conv1"].weight.data * 2


def replaced_statistics(network):
    network["bn"].running_var.data = network["bn"].running_var.data * 4


def written_statistics(network):
    network["bn"].running_mean.data[...] = 0.25


def written_weight(network):
    weight = network["fc"].weight.data
    weight.flags.writeable = True  # as one may who made the array
    weight[...] *= 2


def loaded(network):
    network.load_state_dict(build(seed=7).state_dict())


def wider(network):
    for _, tensor in network.named_tensors():
        tensor.data = tensor.data.astype(np.float64)


def training(network):
    network["bn"].train()


CHANGES = [other_class, other_attributes, exchange, add, remove, new_weight, shared_weight, other_forward,
           other_setting, other_node, replaced_data, replaced_statistics, written_statistics, written_weight,
           loaded]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_network_that_changes(network, replays, change):
    learnt(network, replays)
    before = passes(network, images(4))
    change(network)
    for seed in (4, 5, 4):
        assert same(network, images(seed))
    unlike = change not in (shared_weight, remove)
    assert (passes(network, images(4))[0].tobytes() != before[0].tobytes()) == unlike


@plan.by_shape
class Scaled(nn.Module):
    """x times what a way to keep a number gives."""

    factor = 2.0

    def __init__(self, **kept):
        vars(self).update(kept)

    def forward(self, x):
        array, names = vars(self).get("array"), vars(self).get("names", ())
        return x * (constant_like(x, array) if array is not None else self.factor) * (3.0 if "three" in names else 1.0)


def class_attribute(layer, monkeypatch):
    monkeypatch.setattr(Scaled, "factor", 5.0)


def key_of_a_dict(layer, monkeypatch):
    layer.names["three"] = layer.names.pop("two")


def element_of_a_set(layer, monkeypatch):
    layer.names.add("three")


def written_array(layer, monkeypatch):
    layer.array[...] = 7


@pytest.mark.parametrize(
    "change, kept, replayed",
    [
        (class_attribute, {}, True),
        (key_of_a_dict, {"names": {"two": 2.0}}, True),
        (element_of_a_set, {"names": {"two"}}, False),
        (written_array, {"array": np.ones(16)}, False),
    ],
)
def test_attributes_of_ones_own_layer_that_change(change, kept, replayed, replays, monkeypatch):
    network = nn.Sequential({"scaled": Scaled(**kept), "relu": nn.ReLU()}).requires_grad_(False)
    for _ in range(3):
        before = passes(network, images(4))
    assert (replays["forward"] > 0) == replayed
    change(network["scaled"], monkeypatch)
    assert same(network, images(4)) and passes(network, images(4))[0].tobytes() != before[0].tobytes()


FUNCTIONS = (F.ReLU, F.ReLU6, F.Conv2d, F.MaxPool2d, Cat, ReLUGrad, WindowScatter)
EXCHANGED = [(F.ReLU, "vjp"), (F, "conv2d"), *((kind, "forward") for kind in FUNCTIONS)]


@pytest.mark.parametrize("owner, name", EXCHANGED)
def test_functions_that_are_exchanged(network, replays, monkeypatch, owner, name):
    learnt(network, replays)
    before, function = passes(network, images(4)), getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args: function(*args) * 0.5 + 0.25)
    found = passes(network, images(4))
    assert same(network, images(4)) and found[2].tobytes() != before[2].tobytes()


def test_an_input_that_no_longer_requires_grad(network):
    for _ in range(3):
        start = mg.Tensor(images(), requires_grad=True)
        x = start * 2.0
        y = network(x)
        x.requires_grad = False
        assert mg.grad(y.sum(), start).data.any()
        passes(network, images())


def test_other_dtypes_of_weights_are_refused_as_ever(network, replays):
    learnt(network, replays)
    wider(network)
    with pytest.raises(TypeError, match="dtype"):
        network(mg.Tensor(images()))


def test_training_mode(network, replays):
    learnt(network, replays)
    training(network)
    mean = network["bn"].running_mean.data
    passes(network, images())
    assert network["bn"].running_mean.data is not mean and replays == {"forward": 0, "backward": 0}
    network.eval()
    assert same(network, images(3))


@pytest.mark.parametrize("how", ["method", "attribute", "part"])
def test_weights_that_are_to_learn(network, replays, how):
    learnt(network, replays)
    if how == "attribute":
        network["fc"].weight.requires_grad = True
    else:
        (network if how == "method" else network["fc"]).requires_grad_(True)
    weight = network["fc"].weight
    gradient = mg.grad(network(mg.Tensor(images())).sum(), weight)
    assert gradient.shape == weight.shape and replays == {"forward": 0, "backward": 0}
    if how != "attribute":
        weight.data[...] = 0  # nobody holds it read-only
        assert not network(mg.Tensor(images())).data.any() or how == "part" or network["fc"].bias.data.any()
    network.requires_grad_(False)
    assert all(same(network, images(seed)) for seed in range(3)) and replays["forward"] in (4, 6)


def test_a_weight_that_begins_to_learn_after_the_pass(network, replays):
    learnt(network, replays)
    y = network(mg.Tensor(images(), requires_grad=True))
    network["fc"].weight.requires_grad = True
    assert mg.grad(y.sum(), network["fc"].weight).shape == network["fc"].weight.shape


def test_an_observer(network, replays):
    learnt(network, replays)
    found = network.activations(mg.Tensor(images()), ["pool1"])
    with mg.profile() as p:
        network(mg.Tensor(images()))
    assert found["pool1"].shape == (2, 8, 8, 8) and [o.name for o in p.operations][:2] == ["Conv2d", "ReLU"]
    assert replays == {"forward": 0, "backward": 0}


def test_a_profile_of_the_way_back_alone(network, replays):
    learnt(network, replays)
    x = mg.Tensor(images(), requires_grad=True)
    y = network(x)
    with mg.profile() as p:
        mg.grad(y.sum(), x)
    names = [o.name for o in p.operations]
    assert "Conv2d" in names and "Linear" in names and "Replayed" not in names and replays["backward"] == 0


@pytest.mark.parametrize("how", ["rule", "rule of all", "higher order", "anomaly"])
def test_what_asks_for_the_ordinary_way_back(network, replays, how):
    learnt(network, replays)
    seen = []

    def gradient():
        x = mg.Tensor(images(), requires_grad=True)
        y = network(x)
        score = (y * y).sum()
        if how == "anomaly":
            with mg.detect_anomaly():
                return mg.grad(score, x)
        kind = {"rule": F.ReLU, "rule of all": mg.Function}.get(how)
        rules = None if kind is None else {kind: lambda f, g: (seen.append(type(f)), f.vjp(g))[1]}
        found = mg.grad(score, x, rules=rules, create_graph=how == "higher order")
        return mg.grad((found * found).sum(), x) if how == "higher order" else found

    found, kinds = gradient(), list(seen)
    assert replays == {"forward": 1, "backward": 0} and plan.Replayed not in kinds
    network._called = called
    np.testing.assert_array_equal(found.numpy(), gradient().numpy())
    assert kinds == seen[len(kinds) :] and (len(kinds) > 0) == how.startswith("rule")


def test_anomalies_are_found_in_the_network(network, replays):
    learnt(network, replays)
    array = images()
    array[0, 0, 0, 0] = np.nan
    with mg.detect_anomaly(), pytest.raises(FloatingPointError, match=r"first appeared in Conv2d\.forward"):
        network(mg.Tensor(array))


def test_other_kernels_and_threads(network, replays, monkeypatch):
    learnt(network, replays)
    with mg.use_kernels("plain"):
        assert all(same(network, images(seed)) for seed in range(3))
    with mg.conv_algorithm("winograd"):
        assert all(same(network, images(seed)) for seed in range(3))
    with kernels.one_thread():
        assert all(same(network, images(seed)) for seed in range(3))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert all(same(network, images(seed)) for seed in range(3))


def test_kernels_are_asked_anew(network, replays, monkeypatch):
    learnt(network, replays)
    monkeypatch.setattr(kernels, "relu6_grad", lambda g, x: g * 0)
    assert same(network, images())
    assert not passes(network, images())[2].any()


@pytest.mark.parametrize("name", ["conv2d", "concatenate", "relu", "max_pool", "window_scatter", "relu_grad"])
def test_kernels_for_which_another_stands(network, replays, monkeypatch, name):
    learnt(network, replays)
    before, kernel = passes(network, images(4)), getattr(kernels, name)

    def other(*args, **named):
        found = kernel(*args, **named)
        return (found[0] * 0.5 + 0.25, found[1]) if isinstance(found, tuple) else found * 0.5 + 0.25

    monkeypatch.setattr(kernels, name, other)
    assert same(network, images(4)) and passes(network, images(4))[2].tobytes() != before[2].tobytes()


def test_a_call_that_is_exchanged(network, replays, monkeypatch):
    learnt(network, replays)
    seen, call = [], nn.Conv2d.__call__
    monkeypatch.setattr(nn.Conv2d, "__call__", lambda self, x: (seen.append(self), call(self, x))[1])
    network(mg.Tensor(images(), requires_grad=True))
    assert len(seen) == 8 and replays == {"forward": 0, "backward": 0}


def test_exchanged_classes(network, replays, monkeypatch):
    learnt(network, replays)
    before = passes(network, images(4))[0]
    monkeypatch.setattr(nn.MaxPool2d, "forward", lambda self, x: F.avg_pool2d(x, 2))
    assert same(network, images(4)) and passes(network, images(4))[0].tobytes() != before.tobytes()
