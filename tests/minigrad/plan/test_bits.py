"""A replayed pass gives what an ordinary one gives, to the bit, in all threads; plans are bounded and go."""

import copy
import dataclasses
import gc
import pickle
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import kernels, nn
from minigrad.nn import plan
from minigrad.nn.observe import called
from tests.minigrad.plan.passes import build, images, learnt, ordinary, passes, plans, same

pytestmark = pytest.mark.host("only passes over NumPy's arrays are replayed")


@pytest.mark.parametrize("batch", [1, 3])
def test_a_replayed_pass_gives_the_same_bits(network, replays, batch):
    for seed in range(4):
        assert same(network, images(seed, batch))
    assert replays == {"forward": 6, "backward": 2} and all(one.sound for one in plans(network).values())


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_dtypes(replays, dtype):
    network = build()
    for _, tensor in network.named_tensors():
        tensor._data = tensor._data.astype(dtype)
    network.requires_grad_(False)
    for seed in range(4):
        assert same(network, images(seed).astype(dtype))
    assert replays["forward"] >= 3


@pytest.mark.parametrize("outputs, size", [(1, (14, 14)), (1, (7, 7)), (4, (1, 40)), (4, (40, 1)), (3, (1, 1))])
@pytest.mark.parametrize("rectifier", [nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("pool", [nn.Identity(), nn.MaxPool2d(3, 1, 1)])
def test_sums_over_sides_of_one(outputs, size, rectifier, pool, replays):
    """A side of one may have any stride, and NumPy adds up in the order of strides."""
    rng = np.random.default_rng(0)
    layers = {"conv": nn.Conv2d(3, outputs, 3, padding=1, rng=rng), "relu": rectifier(), "pool": pool}
    network = nn.Sequential(layers | {"mean": nn.AdaptiveAvgPool2d(1)}).requires_grad_(False)
    for _ in range(20):
        assert same(network, rng.standard_normal((1, 3, *size)).astype(np.float32))
    assert replays["backward"] == 18


def test_shapes_dtypes_and_orders_of_memory_have_plans_of_their_own(network, replays):
    turned = np.ascontiguousarray(images().transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for array in (images(), images(batch=1), turned):
        for _ in range(3):
            assert same(network, array)
    assert len(plans(network)) == 6 and replays == {"forward": 12, "backward": 3}


def test_kinds_of_layers_that_are_left_out(replays):
    norm = nn.Sequential({"conv": nn.Conv2d(3, 4, 3, rng=np.random.default_rng(0)), "lrn": nn.LocalResponseNorm(3)})
    for network in (
        norm.requires_grad_(False),
        nn.Sequential({"gelu": nn.GELU(), "elu": nn.ELU()}).requires_grad_(False),
    ):
        for seed in range(4):
            assert same(network, images(seed))
    assert not plans(norm)


def test_a_network_of_ones_own_is_not_compared():
    class Own(nn.Module):
        def __init__(self):
            self.conv, self.losses = nn.Conv2d(3, 4, 3, rng=np.random.default_rng(0)), [0.0] * 1000

        def forward(self, x):
            return self.conv(x)

    network = Own().requires_grad_(False)
    assert all(same(network, images(seed)) for seed in range(3)) and network._called.network is None


def test_a_layer_of_ones_own_takes_part_if_it_says_so(replays):
    class Halved(nn.Module):
        def forward(self, x):
            return x * 0.5

    for decorator, expected in ((lambda kind: kind, 0), (plan.by_shape, 6)):
        network = nn.Sequential({"half": decorator(Halved)(), "relu": nn.ReLU()}).requires_grad_(False)
        assert all(same(network, images(seed)) for seed in range(4)) and replays["forward"] == expected


def test_what_looks_at_numbers_is_not_replayed(replays):
    class Loud(nn.Module):
        def forward(self, x):
            return x * 2.0 if x.mean().item() > 0.5 else x

    class Louder(nn.ReLU):
        def forward(self, x):
            return F.relu(x) * float(x.max().item())

    for layer in (Loud(), Louder()):
        network = nn.Sequential({"layer": layer}).requires_grad_(False)
        for scale in (1.0, 0.1, 1.0, 0.1):
            assert same(network, images() * np.float32(scale))
    assert replays["forward"] == 0


def test_several_outputs_and_a_network_that_does_nothing(network):
    two = nn.Graph({"a": nn.Conv2d(3, 4, 3, rng=np.random.default_rng(0)), "b": nn.ReLU()}, ["a", "b"]).requires_grad_(
        False
    )
    with mg.no_grad():
        for _ in range(3):
            assert [y.shape for y in two(mg.Tensor(images()))] == [(2, 4, 14, 14)] * 2
    nothing, x = nn.Sequential({"same": nn.Identity()}).requires_grad_(False), mg.Tensor(images())
    for _ in range(3):
        assert nothing(x) is x


def test_results_are_the_callers_own(network):
    with mg.no_grad():
        found = [network(mg.Tensor(images(seed))).data for seed in range(5)]
        copies = [array.copy() for array in found]
        network(mg.Tensor(images(9)))
    assert all(np.array_equal(a, b) for a, b in zip(found, copies, strict=True))
    assert not any(np.shares_memory(a, b) for a, b in zip(found, found[1:], strict=False))
    found[-1][...] = 7
    assert same(network, images(4))


def test_a_gradient_to_start_from_that_is_an_array_of_the_pass(network):
    def gradient(seed, own):
        x = mg.Tensor(images(seed), requires_grad=True)
        y = network(x)
        return mg.grad(y, x, y.detach() if own else mg.Tensor(y.data * 1.0)).data

    passes(network, images())
    own = network._called
    for seed in range(4):
        network._called = called
        expected = gradient(seed, True)
        network._called = own
        np.testing.assert_array_equal(gradient(seed, True), expected)
    for seed in range(4):
        network._called = called
        expected = gradient(seed, False)
        network._called = own
        np.testing.assert_array_equal(gradient(seed, False), expected)


def test_threads_replay_at_once(network, replays):
    learnt(network, replays)
    expected = {seed: ordinary(network, images(seed)) for seed in range(6)}

    def work(seed):
        with kernels.one_thread():
            return all(
                a.tobytes() == b.tobytes() for a, b in zip(passes(network, images(seed)), alone[seed], strict=True)
            )

    with kernels.one_thread():  # sums may be cut otherwise than with threads
        alone = {seed: ordinary(network, images(seed)) for seed in expected}
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, [seed for _ in range(5) for seed in expected]))
    assert replays == {"forward": 60, "backward": 30}


def test_threads_may_ask_for_different_kernels(network, replays):
    learnt(network, replays)
    expected = {}
    for name in kernels.modes.KERNELS:
        with mg.use_kernels(name):
            expected[name] = ordinary(network, images(5))
    start = threading.Barrier(2)

    def work(name):
        with mg.use_kernels(name):
            start.wait()
            found = [passes(network, images(5)) for _ in range(6)]
        return all(a.tobytes() == b.tobytes() for one in found for a, b in zip(one, expected[name], strict=True))

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(work, kernels.modes.KERNELS))


def test_plans_are_bounded(network):
    for side in range(16, 16 + plan.LIMIT + 3):
        convolution = network["conv1"]
        convolution.requires_grad_(False)
        convolution(mg.Tensor(np.zeros((1, 3, side, side), np.float32)))
        assert len(plans(convolution)) <= plan.LIMIT


def test_plans_hold_no_array_of_a_pass_and_go_with_the_network(network, replays):
    learnt(network, replays)
    gc.collect()
    gc.disable()
    try:
        x = mg.Tensor(images(), requires_grad=True)
        y = network(x)
        mg.grad(y.sum(), x)
        seen = [weakref.ref(x.data), weakref.ref(y.data), weakref.ref(y._function)]
        del x, y
        assert [one() for one in seen] == [None] * 3
        weight = weakref.ref(network["conv1"].weight.data)
        network["conv1"].weight.data = network["conv1"].weight.data * 2
        assert weight() is None
        weight = weakref.ref(network["conv1"].weight.data)
        del network
    finally:
        gc.enable()


def test_the_network_is_not_kept_alive():
    network = build().requires_grad_(False)
    for seed in range(3):
        passes(network, images(seed))
    gc.collect()
    gc.disable()
    try:
        seen = weakref.ref(network), weakref.ref(network["conv1"].weight)
        del network
        assert seen[0]() is seen[1]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("of_plans", [True, False])
def test_a_network_whose_attributes_lead_back_to_it_is_not_kept_alive(of_plans):
    network = build() if of_plans else nn.Sequential({"norm": nn.LocalResponseNorm(3)})  # compared all the same
    network.requires_grad_(False).helper = network.names
    for seed in range(3):
        network(mg.Tensor(images(seed)))
    assert bool(plans(network)) == of_plans
    seen = weakref.ref(network)
    del network
    gc.collect()
    assert seen() is None


def test_modules_that_are_equal_and_such_without_a_hash():
    @plan.by_shape
    @dataclasses.dataclass
    class Times(nn.Module):
        factor: float

        def forward(self, x):
            return x * self.factor

    class Alike(Times):
        __eq__, __hash__ = (lambda self, other: True), (lambda self: 1)

    plan.by_shape(Alike)
    for kind in (Times, Alike):
        networks = [kind(factor).requires_grad_(False) for factor in (2.0, 3.0)]
        for _ in range(3):
            assert [network(mg.Tensor([1.0])).item() for network in networks] == [2, 3]


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_has_plans_of_its_own(network, replays, how):
    learnt(network, replays)
    other = how(network)
    assert plans(network) and not plans(other)
    other._layers = dict(other._layers) | {"relu1": nn.ReLU6(), "last": nn.ReLU()}
    assert all(same(one, images(seed)) for seed in range(3) for one in (network, other))
    assert passes(network, images())[0].tobytes() != passes(other, images())[0].tobytes()
