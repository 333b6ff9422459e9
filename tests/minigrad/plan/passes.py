"""The network of these tests, and its passes with and without plans."""

import numpy as np

import minigrad as mg
from minigrad import nn
from minigrad.nn.observe import called


def build(seed=0):
    """Chains, branches, a sum, a graph, every kind of fused layer, and what becomes of numbers."""
    rng = np.random.default_rng(seed)

    def conv(c, o, k=3, **named):
        return nn.Conv2d(c, o, k, rng=rng, **named)

    gate = nn.Sequential({"pool": nn.AdaptiveAvgPool2d(1), "conv": conv(8, 8, 1), "sigmoid": nn.Sigmoid()})
    graph = nn.Graph(
        {
            "conv1": conv(16, 16, padding=1, groups=16),
            "relu1": nn.ReLU6(),
            "conv2": conv(16, 16, 1),
            "add": (nn.Call("add"), ["conv2", "input"]),
            "half": nn.Call("mul", b=0.5),
        }
    )
    branches = {"a": conv(8, 8, 1), "b": conv(8, 8, padding=1)}
    layers = {
        "conv1": conv(3, 8, padding=1),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "gate": nn.Product({"maps": nn.Identity(), "gate": gate}),
        "bn": nn.BatchNorm2d(8),
        "conv2": conv(8, 8, padding=1, bias=False),
        "relu2": nn.ReLU6(),
        "sum": nn.Sum({"a": conv(8, 8, 1), "b": nn.Identity()}),
        "fire": nn.Parallel(branches),
        "relu3": nn.ReLU(),
        "graph": graph,
        "drop": nn.Dropout(),
        "pool2": nn.MaxPool2d(3, 2, 1),
        "pool3": nn.AvgPool2d(2, padding=1, count_include_pad=False),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(16 * 3 * 3, 5, rng=rng),
    }
    return nn.Sequential(layers)


def images(seed=1, batch=2):
    return np.random.default_rng(seed).random((batch, 3, 16, 16), np.float32)


def passes(network, array):
    """What a forward pass gives, and one with a graph and its gradient by the image."""
    with mg.no_grad():
        alone = network(mg.Tensor(array))
    x = mg.Tensor(array, requires_grad=True)
    y = network(x)
    return [alone.data, y.data, mg.grad((y * y).sum(), x).data]


def same(network, array):
    """Whether a pass of the network, replayed or not, gives the bits of an ordinary one."""
    found = passes(network, array)
    return all(
        a.tobytes() == b.tobytes() and a.dtype == b.dtype for a, b in zip(found, ordinary(network, array), strict=True)
    )


def ordinary(network, array):
    """What the network gives without plans."""
    own, network._called = network._called, called
    try:
        return passes(network, array)
    finally:
        network._called = own


def plans(network):
    """The plans of a network, {key: plan}."""
    known = network._called.network
    return {} if known is None else known.plans


def learnt(network, replays):
    """After three passes, of which the last is replayed both ways."""
    for seed in (1, 2, 3):
        passes(network, images(seed))
    assert replays == {"forward": 4, "backward": 1}
    replays.update(forward=0, backward=0)


def recorded_plan(network):
    """The network's only plan of passes with a graph."""
    (plan,) = (one for one in plans(network).values() if one.recorded)
    return plan
