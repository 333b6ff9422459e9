"""The Fourier parameterisation against numpy.fft, its adjoint, and the statistics it promises."""

import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from minigrad.tools.gradcheck import check_gradients
from models import load_image
from viz.fourier import (
    COVARIANCE,
    FourierImage,
    InverseRealFFT,
    RealFFTAdjoint,
    color_correlation,
    color_covariance,
    inverse_real_fft,
)

PHOTOGRAPHS = Path(__file__).parents[3] / "shared/data/sets/imagenette_cat_zebra_128px.tar.gz"
SIZES = [(4, 6), (5, 7), (6, 5), (1, 4), (3, 1), (8, 8)]


def spectrum(height, width, seed=0):
    return np.random.default_rng(seed).standard_normal((2, 3, height, width // 2 + 1, 2))


@pytest.mark.parametrize("size", SIZES)
def test_the_transform_is_numpys(size):
    x = spectrum(*size)
    wanted = np.fft.irfft2(x[..., 0] + 1j * x[..., 1], s=size)
    np.testing.assert_allclose(inverse_real_fft(mg.Tensor(x), size[1]).numpy(), wanted, atol=1e-14)


@pytest.mark.parametrize("size", SIZES)
def test_the_adjoint_identity(size):
    # <A x, y> = <x, A* y> for all x and y
    x, y = spectrum(*size), np.random.default_rng(1).standard_normal((2, 3, *size))
    left = (InverseRealFFT(size[1]).forward(x) * y).sum()
    right = (x * RealFFTAdjoint().forward(y)).sum()
    assert left == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("size", [(3, 4), (2, 5)])
def test_gradients_of_the_transform(size):
    x = mg.Tensor(spectrum(*size)[:1, :1])
    check_gradients(lambda x: inverse_real_fft(x, size[1]), x)
    check_gradients(lambda x: inverse_real_fft(x, size[1]) ** 2, x, order=2)


def test_dtype_stays_and_shapes_are_checked():
    x = spectrum(4, 6).astype(np.float32)
    assert InverseRealFFT(6).forward(x).dtype == np.float32
    assert RealFFTAdjoint().forward(np.ones((1, 3, 4, 6), np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match="width 9"):
        inverse_real_fft(mg.Tensor(x), 9)


def test_gradients_of_the_parameterisation():
    image = FourierImage((3, 4))
    check_gradients(image, mg.Tensor(0.1 * spectrum(3, 4)[:1]), atol=1e-6)


def test_colours_have_the_covariance_asked_for():
    covariance = np.array(COVARIANCE)
    mixing = color_correlation()
    np.testing.assert_allclose(mixing @ mixing.T / (mixing @ mixing.T)[0, 0], covariance / covariance[0, 0], rtol=1e-6)
    assert np.linalg.norm(mixing, axis=0).max() == pytest.approx(1)

    rng = np.random.default_rng(0)
    photographs = 0.5 + 0.1 * (mixing @ rng.standard_normal((3, 4 * 60 * 60))).reshape(3, 4, 60, 60)
    found = color_covariance(photographs.transpose(1, 0, 2, 3))
    np.testing.assert_allclose(found, 0.01 * mixing @ mixing.T, atol=3e-4)


def test_the_stored_covariance_is_that_of_photographs():
    if not PHOTOGRAPHS.exists():
        pytest.skip("needs the photographs of ../shared/data/sets")
    with tarfile.open(PHOTOGRAPHS) as archive:
        chosen = (member for member in archive if member.name.endswith(".jpg") and "/train/" in member.name)
        pictures = [load_image(Image.open(archive.extractfile(member))) for member in islice(chosen, 0, None, 40)]
    found = color_covariance(np.concatenate(pictures))
    np.testing.assert_allclose(found / found[0, 0], np.array(COVARIANCE) / COVARIANCE[0][0], atol=0.15)


def test_start_and_scale():
    image = FourierImage((16, 24))
    rng = np.random.default_rng(0)
    start = image.start(2, rng)
    assert start.shape == (2, 3, 16, 13, 2) and start.dtype == np.float32
    pixels = image(mg.Tensor(start)).numpy()
    assert pixels.shape == (2, 3, 16, 24) and pixels.dtype == np.float32
    assert 0 < pixels.min() and pixels.max() < 1 and abs(pixels - 0.5).max() < 0.1

    # One coefficient is divided by its frequency: row 2 of 16 at column 3 of 24 is |(1/8, 1/8)|.
    one = np.zeros((1, 3, 16, 13, 2))
    one[0, 0, 2, 3, 0] = 1e-4
    wave = np.log(1 / (1 / image(mg.Tensor(one)).numpy() - 1))  # the inverse of the sigmoid
    expected = 1e-4 * np.sqrt(16 * 24) / np.hypot(1 / 8, 1 / 8) / 4 * 2 / (16 * 24) * color_correlation()[:, 0]
    np.testing.assert_allclose(wave[0, :, 0, 0], expected, rtol=1e-6)
