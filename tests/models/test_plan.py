"""Every architecture is replayed by a plan of minigrad/nn/plan.py, to the bit, with and without a gradient."""

import numpy as np
import pytest

import minigrad as mg
import models
from minigrad.nn.observe import called
from models.architectures import FEATURES, NAMES

SIDE = 64
# VGG's fully connected layers, alike in all and in AlexNet, take longer to draw than all else here
CASES = [name + FEATURES if name.startswith("vgg") else name for name in NAMES]


def passes(network, array):
    """What a forward pass gives, and one with a graph and its gradient by the image."""
    with mg.no_grad():
        alone = network(mg.Tensor(array))
    x = mg.Tensor(array, requires_grad=True)
    y = network(x)
    return [alone.data, y.data, mg.grad((y * y).sum(), x).data]


@pytest.mark.host("only passes over NumPy's arrays are replayed")
@pytest.mark.parametrize("name", CASES)
def test_every_architecture_is_replayed_to_the_bit(name):
    network = models.fold_batch_norm(models.build(name)).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    for batch in (1, 8):
        for _ in range(2):
            passes(network, rng.random((batch, 3, SIDE, SIDE), np.float32))
        array = rng.random((batch, 3, SIDE, SIDE), np.float32)
        found = passes(network, array)
        own, network._called = network._called, called
        expected = passes(network, array)
        network._called = own
        for a, b in zip(found, expected, strict=True):
            assert a.any() and a.tobytes() == b.tobytes() and a.strides == b.strides
    plans = network._called.network.plans
    assert len(plans) == 4 and all(one.sound and one.recorded == (one.backward is not None) for one in plans.values())


@pytest.mark.host("only passes over NumPy's arrays are replayed")
def test_batch_normalisation_is_replayed_as_it_is():
    network = models.build("resnet18").eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    for name, tensor in network.named_tensors():
        if name.endswith("running_mean"):
            tensor.data[...] = rng.random(tensor.shape, np.float32)
    for _ in range(3):
        found = passes(network, array := rng.random((1, 3, SIDE, SIDE), np.float32))
    assert all(one.sound for one in network._called.network.plans.values())
    network._called = called
    assert [a.tobytes() for a in found] == [a.tobytes() for a in passes(network, array)]
