"""Padding of convolutions and pools: four sides, "same_upper" and "same_lower", against loops and against PyTorch."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given, settings

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.tools.gradcheck import check_gradients

RNG = np.random.default_rng(0)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def geometries(draw):
    """(hw, kernel, stride, dilation, padding): padding as an argument, less at each side than a window spans."""
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    hw = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    rows, columns = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
    four = st.tuples(*(st.integers(0, min(n, 4)) for n in (columns, columns, rows, rows)))
    return hw, kernel, stride, dilation, draw(st.sampled_from(["same_upper", "same_lower"]) | four)


def widths(hw, kernel, stride, dilation, padding):
    """(top, bottom, left, right) by TensorFlow's formula: the output has ceil(n / stride) rows."""
    if not isinstance(padding, str):
        return (*padding[2:], *padding[:2])
    found = []
    for n, k, s, d in zip(hw, kernel, stride, dilation, strict=True):
        need = max((int(np.ceil(n / s)) - 1) * s + d * (k - 1) + 1 - n, 0)
        small, large = need // 2, need - need // 2
        found += [small, large] if padding == "same_upper" else [large, small]
    return found


def windows(x, geometry, ceil_mode=False):
    """[(row, column, {(a, b): values (N,C) or None in the padding, or "outside" beyond it})] of every window."""
    (h, w), kernel, stride, dilation, _ = geometry
    top, bottom, left, right = widths(*geometry)
    counts = []
    for n, k, s, d, a, b in zip((h, w), kernel, stride, dilation, (top, left), (bottom, right), strict=True):
        free = n + a + b - d * (k - 1) - 1
        out = (-(-free // s) if ceil_mode else free // s) + 1
        counts.append(out - (ceil_mode and (out - 1) * s >= n + a))
    found = []
    for i in range(counts[0]):
        for j in range(counts[1]):
            taps = {}
            for a in range(kernel[0]):
                for b in range(kernel[1]):
                    r, c = i * stride[0] + a * dilation[0] - top, j * stride[1] + b * dilation[1] - left
                    inside = 0 <= r < h and 0 <= c < w
                    taps[a, b] = x[:, :, r, c] if inside else None if r < h + bottom and c < w + right else "outside"
            found.append((i, j, taps))
    assume(found)
    return found


def numbers(values):
    return [v for v in values if not (v is None or isinstance(v, str))]


@settings(max_examples=150)
@given(geometries())
def test_convolution(geometry):
    hw, kernel, stride, dilation, padding = geometry
    x, w = RNG.normal(size=(2, 3, *hw)), RNG.normal(size=(4, 3, *kernel))
    wanted = windows(x, geometry)
    y = F.conv2d(mg.Tensor(x), mg.Tensor(w), None, stride, padding, dilation).numpy()
    assert y.shape[2:] == tuple(n + 1 for n in wanted[-1][:2])
    for i, j, taps in wanted:
        total = sum((v @ w[:, :, a, b].T for (a, b), v in taps.items() if v is not None), np.zeros((2, 4)))
        np.testing.assert_allclose(y[:, :, i, j], total, atol=1e-12)


@settings(max_examples=150)
@given(geometries(), st.booleans())
def test_max_pool(geometry, ceil_mode):
    hw, kernel, stride, dilation, padding = geometry
    x = RNG.normal(size=(2, 3, *hw))
    wanted = windows(x, geometry, ceil_mode)
    assume(all(numbers(taps.values()) for *_, taps in wanted))
    arguments = kernel, stride, padding, dilation, ceil_mode
    y, indices = F.max_pool2d(mg.Tensor(x), *arguments, return_indices=True)
    assert y.shape[2:] == tuple(n + 1 for n in wanted[-1][:2])
    for i, j, taps in wanted:
        np.testing.assert_array_equal(y.numpy()[:, :, i, j], np.max(numbers(taps.values()), 0))
    flat = x.reshape(2, 3, -1)
    np.testing.assert_array_equal(np.take_along_axis(flat, indices.numpy().reshape(2, 3, -1), 2), flat_of(y))
    np.testing.assert_array_equal(nn.MaxPool2d(*arguments)(mg.Tensor(x)).numpy(), y.numpy())


def flat_of(y):
    return y.numpy().reshape(*y.shape[:2], -1)


@settings(max_examples=150)
@given(geometries(), st.booleans(), st.booleans(), st.sampled_from([None, 5]))
def test_average_pool(geometry, ceil_mode, count_include_pad, divisor):
    hw, kernel, stride, dilation, padding = geometry
    x = RNG.normal(size=(2, 3, *hw))
    wanted = windows(x, geometry, ceil_mode)
    assume(all(numbers(taps.values()) for *_, taps in wanted))
    arguments = kernel, stride, padding, ceil_mode, count_include_pad, divisor, dilation
    y = F.avg_pool2d(mg.Tensor(x), *arguments).numpy()
    assert y.shape[2:] == tuple(n + 1 for n in wanted[-1][:2])
    for i, j, taps in wanted:
        inside = numbers(taps.values())
        count = sum(v is None or not isinstance(v, str) for v in taps.values()) if count_include_pad else len(inside)
        np.testing.assert_allclose(y[:, :, i, j], np.sum(inside, 0) / (divisor or count), atol=1e-12)
    np.testing.assert_array_equal(nn.AvgPool2d(*arguments)(mg.Tensor(x)).numpy(), y)


POOLS = {
    "max": lambda x, *arguments: F.max_pool2d(x, 3, 2, *arguments),
    "average": lambda x, padding, dilation: F.avg_pool2d(x, 3, 2, padding, False, False, None, dilation),
}
IMAGE = RNG.permutation(60).reshape(1, 2, 6, 5) / 7


@pytest.mark.host("differences are the host's")
@pytest.mark.parametrize("padding", ["same_upper", "same_lower", (2, 0, 1, 2)])
def test_derivatives_of_convolutions(padding):
    x, weight = (mg.Tensor(v, requires_grad=True) for v in (IMAGE, RNG.normal(size=(3, 2, 3, 3))))
    check_gradients(lambda x, w: F.conv2d(x, w, None, 2, padding), [x, weight], order=2)


@pytest.mark.host("differences are the host's")
@pytest.mark.parametrize("padding, dilation", [("same_upper", 1), ("same_lower", 2), ((2, 0, 1, 2), (2, 1))])
@pytest.mark.parametrize("name", POOLS)
def test_derivatives_of_pools(name, padding, dilation):
    x = mg.Tensor(IMAGE, requires_grad=True)
    check_gradients(lambda x: F.square(POOLS[name](x, padding, dilation)), [x], order=2)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float16])
def test_max_pool_of_any_dtype(dtype):
    x = mg.Tensor(np.arange(16).reshape(1, 1, 4, 4).astype(dtype))
    y = F.max_pool2d(x, 3, 2, "same_upper")
    assert y.dtype == dtype and y.numpy().ravel().tolist() == [10, 11, 14, 15]


def test_as_layers_and_one_image():
    x = mg.Tensor(RNG.normal(size=(3, 9, 7)))
    weight = mg.Tensor(RNG.normal(size=(2, 3, 3, 3)))
    one = F.conv2d(x, weight, None, 2, "same_lower")
    assert one.shape == (2, 5, 4)
    np.testing.assert_array_equal(
        one.numpy(), F.conv2d(x.reshape(1, 3, 9, 7), weight, None, 2, "same_lower").numpy()[0]
    )
    assert F.max_pool2d(x, 3, 2, "same_upper").shape == F.avg_pool2d(x, 3, 2, "same_upper").shape == (3, 5, 4)
    for layer in (nn.Conv2d(3, 2, 3, 2, "same_upper"), nn.MaxPool2d(3, 2, (0, 1, 2, 0)), nn.AvgPool2d(3, 1, "same")):
        assert type(layer)(**layer.describe()).describe() == layer.describe()
        assert layer.describe()["padding"] == layer.padding


def test_no_kernel_is_fused_where_the_sides_differ():
    """Convolution, ReLU and pool without a graph, whose convolution is a part of a larger one's output."""
    rng = np.random.default_rng(0)
    layers = {"conv": nn.Conv2d(3, 4, 3, 2, "same_upper", rng=rng), "relu": nn.ReLU(), "pool": nn.MaxPool2d(2)}
    model = nn.Sequential(layers)
    x = mg.Tensor(rng.standard_normal((1, 3, 8, 8)).astype(np.float32), requires_grad=True)
    with mg.no_grad():
        found = model(x)
    np.testing.assert_allclose(found.numpy(), model(x).numpy(), rtol=1e-5, atol=1e-6)
    assert found.shape == (1, 4, 2, 2)


@pytest.mark.host("CuPy gives its results an order of its own")
def test_the_gradient_of_what_was_cut_off_lies_as_before():
    """What a convolution of uneven sides leaves out gets a gradient of zeros, in the order that kernels like."""
    x = mg.Tensor(np.ones((1, 8, 9, 16), np.float32).transpose(0, 3, 1, 2), requires_grad=True)
    y = x[:, :, 1:, :5]
    assert mg.grad((y * y).sum(), x).data.strides == x.data.strides


def test_receptive_fields_are_those_of_the_padding():
    layers = nn.Sequential({"conv": nn.Conv2d(3, 4, 3, 2, "same_upper"), "pool": nn.MaxPool2d(3, 2, "same_upper")})
    conv, pool = (layer.receptive_field for layer in layers.layers((3, 8, 8)))
    assert (conv.size, conv.stride, conv.offset) == ((3, 3), (2, 2), (0, 0))
    assert (pool.size, pool.stride, pool.offset) == ((7, 7), (4, 4), (0, 0))
    strided = nn.Sequential({"conv": nn.Conv2d(3, 4, 5, 2, "same_lower")}).layers((3, 8, 8))[0].receptive_field
    assert strided.offset == (-2, -2)


X = np.zeros((1, 3, 8, 8), np.float32)
REFUSED = [
    (lambda: F.max_pool2d(X, 2, padding="full"), 'max_pool2d: padding must be "valid", "same"'),
    (lambda: F.avg_pool2d(X, 3, 2, "same"), 'padding "same" needs stride 1, got (2, 2); "same_upper" takes any'),
    (
        lambda: F.max_pool2d(X, 3, padding=(3, 0, 0, 0)),
        "padding (3, 0, 0, 0) must be less, at each side, than the window",
    ),
    (lambda: F.avg_pool2d(X, 2, padding=(0, 0, -1, 0)), "avg_pool2d: padding must be at least 0, got -1"),
    (lambda: F.conv2d(X, np.zeros((1, 3, 3, 3), np.float32), padding=(1, 0, 0.5, 0)), "conv2d: padding must be an int"),
]


@pytest.mark.parametrize("call, message", REFUSED, ids=[message for _, message in REFUSED])
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError)) as refused:
        call()
    assert message in str(refused.value)


@pytest.mark.torch
@settings(max_examples=60)
@given(geometries())
def test_against_torch(geometry):
    """Padded by F.pad beforehand: values, first and second derivatives."""
    torch = pytest.importorskip("torch")
    hw, kernel, stride, dilation, padding = geometry
    top, bottom, left, right = widths(*geometry)
    x, w = RNG.normal(size=(2, 3, *hw)), RNG.normal(size=(4, 3, *kernel))
    assume(
        all(
            n + a >= d * (k - 1) + 1
            for n, a, k, d in zip(hw, (top + bottom, left + right), kernel, dilation, strict=True)
        )
    )
    t = torch.nn.functional
    theirs = {
        "conv": lambda x, w: t.conv2d(t.pad(x, (left, right, top, bottom)), w, None, stride, 0, dilation),
        "max": lambda x, w: t.max_pool2d(t.pad(x, (left, right, top, bottom), value=-1e9), kernel, stride, 0, dilation),
        "avg": lambda x, w: t.avg_pool2d(t.pad(x, (left, right, top, bottom)), kernel, stride),
    }
    ours = {
        "conv": lambda x, w: F.conv2d(x, w, None, stride, padding, dilation),
        "max": lambda x, w: F.max_pool2d(x, kernel, stride, padding, dilation),
        "avg": lambda x, w: F.avg_pool2d(x, kernel, stride, padding),
    }
    for name in ours:
        if name == "avg" and dilation != (1, 1):
            continue
        a, b = [mg.Tensor(v, requires_grad=True) for v in (x, w)], [torch.tensor(v, requires_grad=True) for v in (x, w)]
        y, z = ours[name](*a), theirs[name](*b)
        if z.numel() and z.min() < -1e6:  # a window that lies in the padding altogether: here -inf
            continue
        np.testing.assert_allclose(y.numpy(), z.detach().numpy(), 1e-10, 1e-12)
        g, h = (
            mg.grad((y * y).sum(), a[0], create_graph=True),
            torch.autograd.grad((z * z).sum(), b[0], create_graph=True)[0],
        )
        np.testing.assert_allclose(g.numpy(), h.detach().numpy(), 1e-9, 1e-11)
        second = mg.grad((g * g).sum(), a[:1]), torch.autograd.grad((h * h).sum(), b[:1])
        np.testing.assert_allclose(second[0][0].numpy(), second[1][0].numpy(), 1e-8, 1e-10)
