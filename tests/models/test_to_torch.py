"""Networks of ours as torch modules: equal scores and gradients, in float64."""

import numpy as np
import pytest

import minigrad as mg
import models
from minigrad import nn
from models.architectures import build
from tests.models.test_weights_file import graphs

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def lively(model, seed=0):
    """Statistics and shifts drawn, everything in float64."""
    rng = np.random.default_rng(seed)
    for name, tensor in model.named_tensors():
        kind = name.rpartition(".")[2]
        if kind in ("running_mean", "bias"):
            tensor.data = rng.normal(0, 0.1, tensor.shape)
        elif kind == "running_var":
            tensor.data = rng.uniform(0.8, 1.25, tensor.shape)
        else:
            tensor.data = tensor.data.astype(np.float64)
    return model


def assert_equal(model, shape, tolerance=1e-9):
    """Scores, gradients by the image, and the names of weights."""
    network = models.to_torch(model)
    x = np.random.default_rng(1).random((2, *shape))
    ours, theirs = mg.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, wanted = model(ours), network(theirs)
    assert np.abs(y.numpy() - wanted.detach().numpy()).max() <= tolerance * np.abs(y.numpy()).max()
    found = mg.grad((y * y).sum(), ours).numpy()
    (wanted * wanted).sum().backward()
    assert np.abs(found - theirs.grad.numpy()).max() <= tolerance * np.abs(found).max() and found.any()
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    assert names == list(model.state_dict())


@pytest.mark.parametrize(
    "name",
    ["minivgg", "squeezenet1_1", "googlenet", "resnet18", "densenet121", "mobilenet_v2", "efficientnet_b0",
     "efficientnet_lite0"],
)  # fmt: skip
def test_architectures(name):
    assert_equal(lively(build(name, seed=0)), (3, 97, 80))


def test_containers():
    assert_equal(lively(graphs()), (3, 10, 8))


def test_layers():
    rng = np.random.default_rng(0)
    layers = {
        "conv": nn.Conv2d(3, 4, 3, padding=(1, 0, 2, 1), rng=rng),
        "scaled": nn.WeightedCall("mul", (4, 1, 1)),
        "less": nn.WeightedCall("sub", (4, 1, 1), first=True),
        "around": nn.AvgPool2d(3, 1, (1, 0, 0, 1), count_include_pad=False),
        "group": nn.GroupNorm(2, 4),
        "gelu": nn.GELU(approximate="tanh"),
        "max": nn.MaxPool2d(3, 2, padding="same_lower"),
        "up": nn.Upsample(scale_factor=2, mode="bilinear"),
        "prelu": nn.PReLU(4),
        "lrn": nn.LocalResponseNorm(3),
        "avg": nn.AvgPool2d(2, padding=1, count_include_pad=False),
        "drop": nn.Dropout(),
        "mean": nn.Call("mean", axis=(2, 3), keepdims=True),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(4, 3, rng=rng),
        "softmax": nn.Softmax(),
    }
    layers["scaled"].weight.data = rng.random((4, 1, 1))
    assert_equal(lively(nn.Sequential(layers)), (3, 9, 8))


def test_what_has_no_counterpart_is_refused():
    class Own(nn.Module):
        def forward(self, x):
            return x

    for layer, message in (
        (Own(), "'layer' is a Own, whose forward is its own"),
        (nn.Call("channel_layer_norm"), "calls channel_layer_norm, which torch has not"),
        (nn.AvgPool2d(2, padding="same_upper", ceil_mode=True), "is padded as torch's cannot be"),
        (nn.AvgPool2d(2, dilation=2), "has a dilation, which torch's has not"),
        (nn.LayerNorm2d(3), "is a LayerNorm2d, which is torchvision's"),
    ):
        with pytest.raises(ValueError, match=f"to_torch: .*{message}"):
            models.to_torch(nn.Sequential({"layer": layer}))
