"""Every architecture is replayed by a plan of minigrad/nn/plan.py, to the bit, with and without a gradient."""

import numpy as np
import pytest

import models
from models.architectures import FEATURES, NAMES
from tests.minigrad.plan.passes import ordinary, passes, plans

SIDE = 64
# VGG's fully connected layers, alike in all and in AlexNet, take longer to draw than all else here
CASES = [name + FEATURES if name.startswith("vgg") else name for name in NAMES]


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
        for a, b in zip(found, ordinary(network, array), strict=True):
            assert a.any() and a.tobytes() == b.tobytes() and a.strides == b.strides
    made = plans(network).values()
    assert len(made) == 4 and all(one.sound and one.recorded == (one.backward is not None) for one in made)


@pytest.mark.host("only passes over NumPy's arrays are replayed")
def test_batch_normalisation_is_replayed_as_it_is():
    network = models.build("resnet18").eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    for name, tensor in network.named_tensors():
        if name.endswith("running_mean"):
            tensor.data[...] = rng.random(tensor.shape, np.float32)
    for _ in range(3):
        found = passes(network, array := rng.random((1, 3, SIDE, SIDE), np.float32))
    assert plans(network) and all(one.sound for one in plans(network).values())
    assert [a.tobytes() for a in found] == [a.tobytes() for a in ordinary(network, array)]
