"""Products shared out among threads against NumPy's, for every way of cutting them."""

import numpy as np
import pytest

from minigrad.kernels.cpu.product import matmul


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, 2048), (2048, 1024)),  # along N
        ((700, 300), (300, 40)),  # along M
        ((8, 300_000), (300_000, 8)),  # along K
        ((2, 3, 100, 200), (3, 200, 150)),  # stacks
        ((3, 4), (4, 5)),  # small
        ((0, 2048), (2048, 1024)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_are_numpys(a, b, dtype):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(a).astype(dtype), rng.standard_normal(b).astype(dtype)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    tolerance = {np.float32: 2e-6, np.float64: 1e-14}[dtype] * np.sqrt(a.shape[-1])
    product = matmul(a, b)
    assert product.dtype == dtype and product.shape == expected.shape
    np.testing.assert_allclose(product, expected, atol=tolerance * 5)
    np.testing.assert_allclose(
        matmul(b.swapaxes(-1, -2), a.swapaxes(-1, -2)), expected.swapaxes(-1, -2), atol=tolerance * 5
    )

    out = np.empty(expected.shape, dtype)
    assert matmul(a, b, out=out) is out
    np.testing.assert_array_equal(out, product)
