"""Elementwise passes against the plain ones, for every order of memory."""

import numpy as np
import pytest

from minigrad.kernels import add, relu, relu6_grad, relu_grad, where
from minigrad.kernels.cpu.elementwise import relu_in_place
from minigrad.kernels.layout import in_memory_order

pytestmark = pytest.mark.usefixtures("all_kernels")

SHAPES = [(), (0, 3), (7,), (3, 5, 4, 6), (2, 64, 70, 80)]


def layouts(x):
    yield x
    if x.ndim == 4:
        yield np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        yield np.repeat(x, 2, axis=3)[..., ::2]
        yield x[::-1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_relu_and_its_gradient(shape, dtype):
    rng = np.random.default_rng(0)
    values, gradient = (rng.integers(-2, 3, shape).astype(dtype) for _ in range(2))
    for x in layouts(values):
        y = relu(x)
        np.testing.assert_array_equal(y, np.maximum(x, 0))
        for g in layouts(gradient):
            gx = relu_grad(g, x)
            np.testing.assert_array_equal(gx, np.where(x > 0, g, 0))
            assert y.dtype == gx.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_of_relu6(shape, dtype):
    rng = np.random.default_rng(0)
    values, gradient = rng.integers(-1, 8, shape).astype(dtype), rng.integers(-2, 3, shape).astype(dtype)
    for x in layouts(values):
        for g in layouts(gradient):
            gx = relu6_grad(g, x)
            np.testing.assert_array_equal(gx, np.where((x > 0) & (x < 6), g, 0))
            assert gx.dtype == dtype


@pytest.mark.parametrize("shape", [*SHAPES, (8192,), (8193,), (20_000,)])
def test_relu_in_place(shape):
    values = np.random.default_rng(0).integers(-2, 3, shape).astype(np.float32)
    for layout in range(4 if len(shape) == 4 else 1):
        x = list(layouts(values.copy()))[layout]
        expected = np.maximum(x, 0)
        relu_in_place(x)
        np.testing.assert_array_equal(x, expected)


def test_nan_and_infinity():
    x = np.array([np.nan, 1, -1, 0], np.float32)
    np.testing.assert_array_equal(relu(x), [np.nan, 1, 0, 0])
    long = np.tile(x, 4097)
    np.testing.assert_array_equal(relu(long), np.tile([np.nan, 1, 0, 0], 4097))
    g = np.array([1, np.inf, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(relu_grad(g, x), [0, np.inf, 0, 0])
    np.testing.assert_array_equal(relu6_grad(g, x), [0, np.inf, 0, 0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_where_takes_either_number_as_it_is(dtype):
    a = np.array([[np.nan, np.inf, -0.0, 3]] * 2, dtype)
    b = np.array([[5, np.nan, 1, -np.inf], [-0.0, 0, np.inf, 2]], dtype)
    for other in (b, b[0], np.zeros((), dtype), -np.zeros((), dtype), np.full((), np.nan, dtype)):
        for condition in (np.arange(8).reshape(2, 4) % 3 == 0, np.zeros((2, 4), bool), np.ones((2, 1), bool)):
            found, expected = where(condition, a, other), np.where(condition, a, other)
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
            assert found.dtype == dtype


def test_results_keep_the_order_of_memory():
    x = np.ones((2, 9, 9, 16), np.float32).transpose(0, 3, 1, 2)
    assert relu(x).strides == relu_grad(x, x).strides == x.strides


def test_memory_order_of_arrays_that_differ():
    x = np.ones((3, 4))
    assert in_memory_order(x, x.T.copy().T) == [None, None]
    assert in_memory_order(x[:, ::2]) == [None]
    assert all(np.shares_memory(flat, x) for flat in in_memory_order(x.T, x.T))


def test_add_in_blocks_is_numpys_addition():
    rng = np.random.default_rng(0)
    shape = (1, 8, 300, 300)  # large enough for several blocks
    rows, columns = rng.random(shape, np.float32), rng.random((1, 300, 300, 8), np.float32).transpose(0, 3, 1, 2)
    for a, b in (
        (rows, rows),
        (columns, columns),
        (rows, columns),
        (rows, rows[:, :1]),
        (columns, columns.astype(np.float64)),
    ):
        total = add(a, b)
        assert total.dtype == np.result_type(a, b)
        np.testing.assert_array_equal(total, a + b)
    assert add(columns, columns).strides == columns.strides
