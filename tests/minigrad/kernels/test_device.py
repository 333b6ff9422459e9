"""The kernels on arrays of a GPU: what they give is what NumPy's arrays give. See tests/standin for how."""

import numpy as np
import pytest

from minigrad import kernels
from minigrad.device import to_device, to_numpy

pytestmark = pytest.mark.usefixtures("standin")


def arrays(*shapes, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def same(kernel, arrays, *rest):
    """The kernel gives on the device what it gives in NumPy."""
    expected = kernel(*arrays, *rest)
    got = kernel(*[to_device(array, "cuda") for array in arrays], *rest)
    pairs = zip(got, expected, strict=True) if isinstance(expected, tuple) else [(got, expected)]
    for a, b in pairs:
        assert not isinstance(a, np.ndarray) and a.dtype == b.dtype
        np.testing.assert_allclose(to_numpy(a), b, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("c", "o", "k", "geometry"),
    [
        (16, 16, 3, ((1, 1), (1, 1), (1, 1), 1)),
        (3, 8, 3, ((2, 2), (1, 0), (1, 2), 1)),
        (32, 4, 3, ((1, 1), (1, 1), (1, 1), 1)),
        (16, 24, 1, ((1, 1), (0, 0), (1, 1), 1)),
        (8, 12, 3, ((1, 2), (1, 1), (1, 1), 4)),
        (6, 12, 3, ((1, 1), (1, 1), (1, 1), 6)),
    ],
)
def test_convolutions(c, o, k, geometry):
    x, w, bias = arrays((2, c, 17, 19), (o, c // geometry[3], k, k), (o,))
    same(kernels.conv2d, (x, w, bias), *geometry)
    (g,) = arrays(kernels.conv2d(x, w, bias, *geometry).shape)
    same(kernels.conv2d_input_grad, (g, w), (17, 19), *geometry)
    same(kernels.conv2d_weight_grad, (x, g), (k, k), *geometry)


@pytest.mark.parametrize("geometry", [((2, 2), (2, 2), (0, 0), (1, 1)), ((3, 2), (2, 1), (1, 0), (1, 2))])
def test_pools(geometry):
    (x,) = arrays((2, 5, 14, 15))
    same(kernels.max_pool, (x,), *geometry, True)
    y, winner = kernels.max_pool(x, *geometry, True)
    same(kernels.window_gather, (x, winner), *geometry)
    same(kernels.window_scatter, (y, winner), (14, 15), *geometry)
    same(kernels.flat_indices, (winner,), (14, 15), *geometry)
    same(kernels.window_sum, (x,), *geometry[:3], True)
    summed = kernels.window_sum(x, *geometry[:3], True)
    same(kernels.window_spread, (summed,), (14, 15), *geometry[:3])


def test_channel_and_elementwise_passes():
    x, y, a, b, c = arrays((2, 5, 14, 15), (2, 5, 14, 15), (5,), (5,), (5,))
    same(kernels.channel_sum, (x,))
    same(kernels.channel_sum_product, (x, y))
    same(kernels.channel_moments, (x,))
    same(kernels.channel_affine, (x, a, b))
    same(kernels.channel_affine2, (x, a, y, b, c))
    same(kernels.relu, (x,))
    same(kernels.relu_grad, (y, x))
