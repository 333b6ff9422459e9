"""The door: what plain, cpu and cuda offer under one name is one function, and who is asked for it.

Arrays hold small whole numbers, so that sums are exact in every dtype and order, and pools have ties.
"""

import threading

import numpy as np
import pytest

import minigrad as mg
from minigrad import kernels, nn
from minigrad.kernels import cpu, plain
from minigrad.kernels.cpu import tuning

pytestmark = pytest.mark.host("kernels are called with arrays that the tests put on a device")

ONE = (1, 1)
CONVOLUTIONS = [  # x, w, stride, padding, dilation, groups
    ((2, 4, 9, 8), (6, 4, 3, 3), ONE, ONE, ONE, 1),
    ((2, 4, 11, 12), (6, 2, 3, 2), (2, 1), (0, 2), (1, 2), 2),
    ((2, 6, 9, 8), (12, 1, 3, 3), ONE, ONE, ONE, 6),
    ((1, 32, 7, 6), (4, 32, 3, 3), ONE, ONE, ONE, 1),
    ((2, 5, 6, 7), (3, 5, 1, 1), (2, 2), (0, 0), ONE, 1),
    ((0, 4, 9, 8), (6, 2, 3, 3), ONE, ONE, ONE, 2),
]
POOLS = [  # x, kernel, stride, padding, dilation, ceil_mode
    ((2, 3, 8, 10), (2, 2), (2, 2), (0, 0), ONE, False),
    ((2, 3, 9, 10), (3, 3), (2, 2), (1, 1), ONE, True),
    ((2, 3, 11, 12), (2, 3), (3, 1), (1, 0), (2, 2), True),
    ((0, 3, 8, 10), (3, 2), (2, 2), (1, 1), ONE, False),
]
FLOATS_ONLY = {  # batch normalisation's
    *("channel_sum_product", "channel_sums", "channel_moments", "channel_affine", "channel_affine2"),
}


def calls(dtype, last):
    """[(name, arguments)]: every function of the door with every kind of argument; last: channels-last in memory."""
    rng = np.random.default_rng(0)

    def array(*shape):
        made = rng.integers(-3, 4, shape).astype(dtype)
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(made, 1, -1)), -1, 1) if last else made

    for shape, w_shape, *geometry in CONVOLUTIONS:
        x, w = array(*shape), rng.integers(-3, 4, w_shape).astype(dtype)
        bias = rng.integers(-3, 4, w_shape[0]).astype(dtype)
        g = array(len(x), len(w), *plain.output_hw(shape[2:], w_shape[2:], *geometry[:3]))
        yield "conv2d", (x, w, None, *geometry)
        yield "conv2d", (x, w, bias, *geometry)
        yield "conv2d_relu", (x, (w, bias, *geometry))
        yield "conv2d_relu", (x, (w, bias, *geometry), (w[::-1], None, *geometry), (w, -bias, *geometry))
        yield "conv2d_relu_max_pool", (x, (w, bias, *geometry))
        yield "conv2d_input_grad", (g, w, shape[2:], *geometry)
        yield "conv2d_weight_grad", (x, g, w_shape[2:], *geometry)

    for shape, kernel, stride, padding, dilation, ceil_mode in POOLS:
        x, geometry = array(*shape), (kernel, stride, padding, dilation)
        _, winner = plain.max_pool(x, *geometry, ceil_mode)
        yield "max_pool", (x, *geometry, ceil_mode)
        yield "max_pool", (x, *geometry, ceil_mode, False)
        yield "window_scatter", (array(*winner.shape), winner, shape[2:], *geometry)
        yield "window_gather", (x, winner, *geometry)
        yield "flat_indices", (winner, shape[2:], *geometry)
        yield "window_sum", (x, *geometry[:3], ceil_mode)
        g_hw = plain.output_hw(shape[2:], *geometry[:3], ceil_mode=ceil_mode)
        yield "window_spread", (array(*shape[:2], *g_hw), shape[2:], *geometry[:3])

    a, b, c = rng.integers(-3, 4, (3, 5)).astype(dtype)
    for shape in ((4, 5, 6, 7), (8, 5)):
        x, y = array(*shape), array(*shape)
        yield "channel_sum", (x,)
        for axes in ((0,), (1,), (0, *range(2, x.ndim)), tuple(range(x.ndim))):
            yield "axis_sum", (x, axes)
        yield "channel_sum_product", (x, y)
        yield "channel_sums", (x, y)
        yield "channel_moments", (x,)
        yield "channel_affine", (x, a, b)
        yield "channel_affine2", (x, a, y, b, c)
        yield "concatenate", ((x, y), 1)
        yield "add", (x, y)
        yield "relu", (x,)
        yield "relu_grad", (y, x)
        yield "relu6_grad", (y, 3 * x)
        yield "where", (y > x, x, y)
        yield "where", (y > x, x, np.zeros((), dtype))
        yield "where", (y > x, np.ones((), dtype), -x[:1])
        yield "matmul", (x, np.swapaxes(y, -1, -2))


def moved(gpu, value):
    """Arguments with their arrays on the device."""
    if isinstance(value, tuple):
        return tuple(moved(gpu, item) for item in value)
    return gpu.put(value) if isinstance(value, np.ndarray) else value


def check(name, got, expected, get=lambda array: array):
    got, expected = (result if isinstance(result, tuple) else (result,) for result in (got, expected))
    for one, other in zip(got, expected, strict=True):
        assert (one is None) is (other is None)
        if other is not None:
            assert one.dtype == other.dtype, name
            rounding = {"rtol": 2e-3, "atol": 2e-3} if name == "channel_moments" else {"rtol": 0}
            np.testing.assert_allclose(get(one), other, err_msg=name, **rounding)


DTYPES = [np.float16, np.float32, np.float64, np.int64]


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_fast_functions_are_the_textbooks(dtype, last):
    for name, arguments in calls(dtype, last):
        if dtype is not np.int64 or name not in FLOATS_ONLY:
            check(name, getattr(kernels, name)(*arguments), getattr(plain, name)(*arguments))


def test_tiny_blocks_change_nothing(monkeypatch):
    for name in ("OPERAND_BYTES", "WINDOW_BYTES", "BLOCK_BYTES", "MIN_READ_BYTES", "MIN_MULTIPLICATIONS"):
        monkeypatch.setattr(tuning, name, 512)
    for name, arguments in calls(np.float32, last=True):
        check(name, getattr(kernels, name)(*arguments), getattr(plain, name)(*arguments))


def test_a_rectifier_ends_at_its_top():
    for name, arguments in calls(np.float32, last=True):
        if name == "conv2d_relu":
            expected = np.clip(plain.conv2d_relu(*arguments), 0, 2)
            assert not expected.size or (expected == 2).any()
            check(name, kernels.conv2d_relu(*arguments, top=2), expected)
            check(name, plain.conv2d_relu(*arguments, top=2), expected)


def test_a_rectifier_ends_at_its_top_on_a_device(gpu):
    for name, arguments in calls(np.float32, last=True):
        if name == "conv2d_relu":
            expected = np.clip(plain.conv2d_relu(*arguments), 0, 2)
            check(name, kernels.conv2d_relu(*moved(gpu, arguments), top=2), expected, gpu.get)


@pytest.mark.parametrize("way", kernels.modes.KERNELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_on_a_device_are_the_textbooks(dtype, way, gpu):
    for name, arguments in calls(dtype, last=True):
        if dtype is np.int64 and name in FLOATS_ONLY:
            continue
        with mg.use_kernels(way):
            got = getattr(kernels, name)(*moved(gpu, arguments))
        check(name, got, getattr(plain, name)(*arguments), gpu.get)


def test_every_function_of_the_door_is_called_above():
    door = {name for name, way in vars(kernels).items() if getattr(way, "__module__", None) == plain.__name__}
    called = {name for name, _ in calls(np.float32, True)}
    assert door - called == {"output_hw"}  # of shapes, not of arrays
    assert called == {*cpu.__all__, "flat_indices"}


# ---- who is asked ----------------------------------------------------------------------------------------------------


@pytest.fixture
def closed_cpu(monkeypatch):
    """Every function of cpu raises."""

    def refuse(*arguments, **named):
        raise AssertionError("cpu was asked")

    for name in cpu.__all__:
        monkeypatch.setattr(cpu, name, refuse)


def network():
    rng = np.random.default_rng(0)
    layers = {"conv": nn.Conv2d(3, 16, 3, padding=1, rng=rng), "relu": nn.ReLU(), "pool": nn.MaxPool2d(2)}
    layers |= {"conv2": nn.Conv2d(16, 16, 3, rng=rng), "bn": nn.BatchNorm2d(16), "relu2": nn.ReLU()}
    layers |= {"mean": nn.AvgPool2d(2), "flatten": nn.Flatten(), "fc": nn.Linear(16 * 5 * 5, 4, rng=rng)}
    return nn.Sequential(layers)


def passes():
    """A forward pass without a graph, one with it, and all gradients."""
    model, x = network().train(), mg.Tensor(np.random.default_rng(1).random((2, 3, 24, 24), np.float32))
    with mg.no_grad():
        alone = model(x)
    y = model(x)
    return [array.numpy() for array in (alone, y, *mg.grad((y**2).sum(), list(model.parameters())))]


def test_a_plain_pass_never_enters_cpu(request):
    expected = passes()
    request.getfixturevalue("closed_cpu")
    with pytest.raises(AssertionError, match="cpu was asked"):
        passes()
    with mg.use_kernels("plain"):
        got = passes()
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * max(1, np.abs(other).max()))


def test_what_a_fast_module_lacks_or_declines_is_left_to_plain(monkeypatch):
    x, asked = np.array([-1, 2.0]), []
    monkeypatch.setattr(cpu, "relu", lambda x: asked.append(x) or NotImplemented)
    np.testing.assert_array_equal(kernels.relu(x), [0, 2])
    assert len(asked) == 1
    monkeypatch.delattr(cpu, "relu")
    np.testing.assert_array_equal(kernels.relu(x), [0, 2])


def test_the_kernels_in_force_are_this_threads_and_restored(closed_cpu):
    elsewhere = []
    with pytest.raises(KeyError), mg.use_kernels("plain"):
        thread = threading.Thread(target=lambda: elsewhere.append(kernels.current_kernels()))
        thread.start(), thread.join()
        assert kernels.current_kernels() == "plain" and kernels.relu(np.ones(1)) == 1
        with mg.use_kernels("auto"), pytest.raises(AssertionError, match="cpu was asked"):
            kernels.relu(np.ones(1))
        assert kernels.current_kernels() == "plain"
        raise KeyError
    assert elsewhere == ["auto"] and kernels.current_kernels() == "auto"
    with pytest.raises(ValueError, match="use_kernels: name is 'fast', expected one of 'auto', 'plain'"):
        mg.use_kernels("fast")
