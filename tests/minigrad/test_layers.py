"""Layers that are no activations: each tells its arguments, has torch's values, and derivatives of two orders."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.tools.gradcheck import check_gradients

# name -> (arguments, shape of x)
LAYERS = {
    "ConvTranspose2d": [
        ((4, 6, 3), {}, (2, 4, 3, 4)),
        ((4, 6, (3, 2), 2, 1, 1), {"groups": 2, "bias": False, "dilation": 2}, (1, 4, 3, 2)),
    ],
    "AdaptiveMaxPool2d": [((1,), {}, (2, 3, 4, 5)), (((2, 3),), {}, (2, 3, 5, 4))],
    "GroupNorm": [((2, 4), {}, (2, 4, 3, 2)), ((4, 4), {"eps": 1e-3, "affine": False}, (2, 4, 3, 2))],
    "InstanceNorm2d": [((3,), {}, (2, 3, 3, 4)), ((3,), {"eps": 1e-3, "affine": True}, (2, 3, 3, 4))],
    "LayerNorm": [
        ((4,), {}, (2, 3, 4)),
        (((3, 4),), {"eps": 1e-3, "elementwise_affine": False}, (2, 3, 4)),
        ((4,), {"bias": False}, (2, 4)),
    ],
    "ZeroPad2d": [((1,), {}, (1, 2, 3, 3)), (((1, 0, 2, 1),), {}, (1, 2, 3, 3))],
    "ConstantPad2d": [(((1, 0, 2, 1), 0.5), {}, (1, 2, 3, 3))],
    "ReflectionPad2d": [((2,), {}, (1, 2, 3, 4)), (((1, 0, 2, 1),), {}, (1, 2, 3, 4))],
    "ReplicationPad2d": [(((1, 0, 2, 1),), {}, (1, 2, 3, 3))],
    "CircularPad2d": [(((1, 0, 2, 1),), {}, (1, 2, 3, 3))],
    "Upsample": [
        ((), {"scale_factor": 2}, (1, 2, 3, 3)),
        (((5, 4),), {"mode": "bilinear", "align_corners": True}, (1, 2, 3, 3)),
        (((5, 4),), {"mode": "nearest-exact"}, (1, 2, 3, 3)),
    ],
    "PixelShuffle": [((2,), {}, (1, 8, 2, 3))],
}
CASES = [(name, *case) for name, cases in LAYERS.items() for case in cases]
each_layer = pytest.mark.parametrize("name, arguments, named, shape", CASES)


def numbers(*shape):
    return np.random.default_rng(len(shape)).permutation(np.prod(shape)).reshape(shape) / np.prod(shape) - 0.3


def made(name, arguments, named):
    """The layer in float64, with parameters other than those at the start."""
    layer = getattr(nn, name)(*arguments, **named)
    for i, (parameter, tensor) in enumerate(layer.named_parameters()):
        drawn = np.random.default_rng(i).normal(1, 0.5, tensor.shape)
        setattr(layer, parameter, mg.Tensor(drawn, requires_grad=True))
    return layer


@each_layer
def test_a_layer_tells_its_arguments(name, arguments, named, shape):
    layer = getattr(nn, name)(*arguments, **named)
    again = type(layer)(**layer.describe())
    assert again.describe() == layer.describe() and layer.describe().items() >= named.items()
    assert {n: t.shape for n, t in again.named_tensors()} == {n: t.shape for n, t in layer.named_tensors()}
    assert layer(mg.Tensor(numbers(*shape).astype(np.float32))).dtype == np.float32


@pytest.mark.host("differences are the host's")
@each_layer
def test_first_and_second_derivatives(name, arguments, named, shape):
    layer = made(name, arguments, named)
    names = [n for n, _ in layer.named_parameters()]

    def function(x, *parameters):
        for n, tensor in zip(names, parameters, strict=True):
            setattr(layer, n, tensor)
        return layer(x)

    inputs = [mg.Tensor(numbers(*shape)), *layer.parameters()]
    check_gradients(function, inputs, order=2, direction=np.random.default_rng(0), rtol=1e-4, atol=1e-6)


@pytest.mark.torch
@each_layer
def test_torch(name, arguments, named, shape):
    """Values, and derivatives of first and second order by input and parameters."""
    torch = pytest.importorskip("torch")
    layer, reference = made(name, arguments, named), getattr(torch.nn, name)(*arguments, **named).double()
    for n, tensor in layer.named_parameters():
        getattr(reference, n).data = torch.tensor(tensor.numpy())
    x, z = mg.Tensor(numbers(*shape), requires_grad=True), torch.tensor(numbers(*shape), requires_grad=True)
    y, w = layer(x), reference(z)
    np.testing.assert_allclose(y.numpy(), w.detach().numpy(), 1e-10, 1e-12)
    by = [x, *layer.parameters()], [z, *reference.parameters()]
    g = mg.grad((y * y * y).sum(), by[0], create_graph=True)
    h = torch.autograd.grad((w * w * w).sum(), by[1], create_graph=True)
    total, wanted = sum((a * a).sum() for a in g), sum((a * a).sum() for a in h)
    second = mg.grad(total, by[0]), torch.autograd.grad(wanted, by[1])
    for ours, theirs in ((g, h), second):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), 1e-8, 1e-8)


def test_layer_norm_of_channels_is_the_layer_norm_with_channels_last():
    layer, x = made("LayerNorm2d", (4,), {}), mg.Tensor(numbers(2, 4, 3, 5))
    last = F.layer_norm(F.permute(x, (0, 2, 3, 1)), 4, layer.weight, layer.bias, 1e-6)
    np.testing.assert_allclose(layer(x).numpy(), F.permute(last, (0, 3, 1, 2)).numpy(), rtol=1e-12)
    field = nn.Sequential({"conv": nn.Conv2d(3, 4, 3), "norm": nn.LayerNorm2d(4)}).layers((3, 8, 8))[1].receptive_field
    assert field.size == (3, 3)  # it mixes channels, not positions


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.ConvTranspose2d(3, 4, 3, groups=2), "ConvTranspose2d: groups 2 must divide in_channels 3"),
        (lambda: nn.GroupNorm(3, 4), "GroupNorm: num_groups 3 must divide num_channels 4"),
        (lambda: nn.LayerNorm(()), "LayerNorm: normalized_shape must be positive ints"),
        (lambda: nn.InstanceNorm2d(4)(mg.Tensor(numbers(1, 3, 2, 2))), r"InstanceNorm2d: x must be (N,4,H,W), got"),
        (lambda: nn.ZeroPad2d((1, 2))(mg.Tensor(numbers(1, 3, 2, 2))), "ZeroPad2d: padding must be an int or four"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError) as refused:
        make()
    assert message in str(refused.value)


# ---- ONNX's coordinates ----------------------------------------------------------------------------------------------

X = numbers(1, 2, 5, 4)


@pytest.mark.parametrize(
    "coordinates, as_torch, out",
    [
        ("half_pixel", {"align_corners": False}, (7, 3)),
        ("pytorch_half_pixel", {"align_corners": False}, (9, 2)),
        ("align_corners", {"align_corners": True}, (7, 1)),
    ],
)
def test_bilinear_coordinates_that_torch_has_too(coordinates, as_torch, out):
    x = mg.Tensor(X)
    found = F.interpolate(x, out, mode="bilinear", coordinates=coordinates)
    np.testing.assert_array_equal(found.numpy(), F.interpolate(x, out, mode="bilinear", **as_torch).numpy())


@pytest.mark.parametrize("out", [(5, 8), (10, 4), (7, 3), (3, 9)])
def test_nearest_coordinates_that_torch_has_too(out):
    x = mg.Tensor(X)
    floor = F.interpolate(x, out, coordinates="asymmetric", rounding="floor")
    np.testing.assert_array_equal(floor.numpy(), F.interpolate(x, out).numpy())
    centre = F.interpolate(x, out, coordinates="half_pixel", rounding="round_prefer_ceil")
    np.testing.assert_array_equal(centre.numpy(), F.interpolate(x, out, mode="nearest-exact").numpy())


def test_coordinates_by_hand():
    """A row of four numbers to eight, and to two."""
    x = mg.Tensor(np.array([[[[0.0, 10, 20, 30]]]]))

    def row(out, **arguments):
        return F.interpolate(x, (1, out), **arguments).numpy().ravel().tolist()

    assert row(8, mode="bilinear", coordinates="asymmetric") == [0, 5, 10, 15, 20, 25, 30, 30]
    assert row(8, mode="bilinear", coordinates="half_pixel") == [0, 2.5, 7.5, 12.5, 17.5, 22.5, 27.5, 30]
    assert row(1, mode="bilinear", coordinates="half_pixel") == [15] and row(1, coordinates="pytorch_half_pixel") == [0]
    assert row(2, coordinates="half_pixel", rounding="floor") == [0, 20]  # at 0.5 and 2.5
    assert row(2, coordinates="half_pixel", rounding="ceil") == [10, 30]
    assert row(2, coordinates="half_pixel") == row(2, coordinates="half_pixel", rounding="floor")
    assert row(2, coordinates="half_pixel", rounding="round_prefer_ceil") == [10, 30]
    assert row(3, coordinates="align_corners") == [0, 10, 30]  # at 0, 1.5 and 3
