"""A torch module handed over is compared with what was made of it; of several outputs one is named."""

import numpy as np
import pytest

import minigrad as mg
import models
from models import WeightsError

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
nn = torch.nn
SIDE = 12


class Branching(nn.Module):
    """One of two answers, by the values of x."""

    def __init__(self, decides):
        super().__init__()
        self.conv, self.decides = nn.Conv2d(3, 4, 3), decides

    def forward(self, x):
        return self.conv(x).mean((2, 3)) if self.decides(x) else self.conv(x / 4).mean((2, 3))


BRANCHES = {
    "beyond the range": lambda x: x.max() > 1,
    "dark pictures": lambda x: x.mean() < 0.1,
    "negative numbers": lambda x: bool((x < 0).any()),
}


@pytest.mark.parametrize("decides", BRANCHES.values(), ids=BRANCHES)
def test_a_module_whose_values_decide_is_refused(decides):
    with pytest.raises(WeightsError, match="differs from it, by .* values decide in its forward .*torch.where"):
        models.from_torch(Branching(decides), SIDE, "unit")


def test_what_an_exporter_leaves_out_is_refused():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2, divisor_override=3))
    with pytest.raises(WeightsError, match="torch's exporter has a fault .*divisor_override"):
        models.from_torch(network, SIDE, "unit")


class Chosen(nn.Module):
    """The same two answers by torch.where, and what is not finite, or not taken, beyond the usual range."""

    def __init__(self, positive):
        super().__init__()
        self.conv, self.positive = nn.Conv2d(3, 4, 3), positive

    def forward(self, x):
        if self.positive and not torch.jit.is_tracing() and x.min() < 0:
            raise ValueError("no picture")
        return self.conv(torch.sqrt(x) if self.positive else torch.clamp(x, max=1.0)).mean((2, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("positive", [False, True])
def test_modules_that_are_whole_pass(positive, dtype):
    network = Chosen(positive).to(getattr(torch, dtype))
    model = models.from_torch(network, SIDE, "unit")
    images = np.random.default_rng(0).random((2, 3, SIDE, SIDE), dtype=np.float32)
    with torch.no_grad():
        wanted = network.float()(torch.tensor(images)).numpy()
    np.testing.assert_allclose(model(mg.Tensor(images)).numpy(), wanted, rtol=1e-4, atol=1e-5)


class Several(nn.Module):
    def __init__(self, gives):
        super().__init__()
        self.conv, self.aside, self.gives = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), gives

    def forward(self, x):
        scores = self.conv(x)
        return self.gives(scores.mean((2, 3)), self.aside(scores).mean((2, 3)))


GIVES = {
    "tuple": (lambda one, other: (one, other), ("output_0", "output_1")),
    "list": (lambda one, other: [one, other], ("output_0", "output_1")),
    "dict": (lambda one, other: {"out": one, "aux": other}, ("out", "aux")),
}


@pytest.mark.parametrize("gives, names", GIVES.values(), ids=GIVES)
def test_one_of_several_outputs_is_named(gives, names):
    network = Several(gives)
    images = np.random.default_rng(0).random((2, 3, SIDE, SIDE), dtype=np.float32)
    with torch.no_grad():
        outputs = network(torch.tensor(images))
    for name, wanted in zip(names, outputs.values() if isinstance(outputs, dict) else outputs, strict=True):
        found = models.from_torch(network, SIDE, "unit", output_name=name)(mg.Tensor(images)).numpy()
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(WeightsError, match=f"it has 2 outputs .{', '.join(names)}.: name one .output_name"):
        models.from_torch(network, SIDE, "unit")
    with pytest.raises(ValueError, match=f"there is no output 'none': it has {', '.join(names)}"):
        models.from_torch(network, SIDE, "unit", output_name="none")


def test_outputs_of_no_kind_that_is_read():
    assert models.from_torch(Several(lambda one, other: (one,)), SIDE, "unit").name == "Several"
    with pytest.raises(WeightsError, match="neither a tensor nor a dict or tuple of tensors"):
        models.from_torch(Several(lambda one, other: (one, (one, other))), SIDE, "unit")
