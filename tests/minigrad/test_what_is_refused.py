"""What a mistake meets at the engine's edges: a sentence, or what was meant; never something else without a word."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.functional import elementwise, reduce


@pytest.mark.parametrize("kind, other", [(elementwise.Maximum, F.minimum), (elementwise.Minimum, F.maximum)])
def test_a_rule_for_one_extremum_is_not_for_the_other(kind, other):
    x = mg.Tensor([1.0, -2.0], requires_grad=True)
    g = mg.grad(other(x, 5.0 if other is F.minimum else -5.0).sum(), x, rules={kind: lambda f, g: (g * 100.0, None)})
    assert g.numpy().tolist() == [1, 1]
    assert not issubclass(reduce.Min, reduce.Max) and not issubclass(reduce.Max, reduce.Min)


def test_data_of_another_kind_is_refused():
    x = mg.Tensor([1.0, 2.0])
    for wrong in (np.array([1, 2]), np.array([True, False])):
        with pytest.raises(TypeError, match="the tensor holds float32, the array .*; convert it by .astype"):
            x.data = wrong
    with pytest.raises(TypeError, match="Tensor.data: expected an array, got list"):
        x.data = [1.0, 2.0]
    with pytest.raises(TypeError, match="the tensor holds int64, the array float64"):
        mg.Tensor([1, 2]).data = np.array([1.0, 2.0])
    assert x.numpy().tolist() == [1, 2]


@pytest.mark.host("NumPy's numbers are the host's")
def test_a_number_of_numpys_becomes_an_array():
    for number in (np.float32(2), np.int64(3), np.bool_(True)):
        assert type(mg.Tensor(number).data) is np.ndarray and mg.Tensor(number).dtype == number.dtype
    x = mg.Tensor(1.5, dtype=np.float64)
    x.data = np.float64(2.5)
    assert type(x.data) is np.ndarray and x.item() == 2.5


def test_a_number_as_gradient_to_start_from():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="grad: the gradient to start from must be a Tensor or an array, .* got float"):
        mg.grad(x.sum(), x, grad_outputs=2.0)


class Masked(nn.Module):
    buffers = (*nn.Module.buffers, "mask")

    def __init__(self):
        self.weight = mg.Tensor([1.0, 2.0], requires_grad=True)
        self.mask = mg.Tensor([1.0, 0.0])
        self.order = mg.Tensor([1, 0])


def test_integers_and_buffers_are_no_parameters():
    module = Masked().requires_grad_(False).requires_grad_(True)
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    assert [name for name, _ in module.named_tensors()] == ["weight", "mask", "order"]


@pytest.mark.host("a GPU's arrays have no flag")
def test_what_replaces_a_frozen_parameter_is_read_only_too():
    layer = nn.Linear(2, 1).requires_grad_(False)
    before, after = layer.weight.data, np.ones((1, 2), np.float32)
    layer.weight.data = after
    with pytest.raises(ValueError, match="read-only"):
        layer.weight.data[0, 0] = 5
    before[0, 0] = 7  # nobody's any more
    assert layer(mg.Tensor(np.ones((1, 2), np.float32))).item() == 2
    layer.requires_grad_(True)
    after[0, 0] = 3
    assert layer.weight.numpy()[0, 0] == 3
