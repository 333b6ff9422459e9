"""An image as colour-decorrelated Fourier coefficients (Olah et al. 2017, "Feature Visualization", Distill, section
"Preconditioning and Parameterization").

Gradient descent on these coefficients is descent on the same objective with another notion of distance: one in which
the pixels and colours of photographs are uncorrelated. It needs no penalty against high frequencies.

    image = sigmoid(colours * inverse_fft(coefficients / frequency))

Letters: N images, C colours, H W height and width, K = W//2 + 1 columns of the half spectrum of a real image.
"""

import math
from typing import Any

import numpy as np

from minigrad import Function, Tensor
from minigrad import functional as F
from minigrad.device import array_module
from minigrad.functional.convert import constant_like

# Covariance of the RGB values in [0,1] of all pixels of 3,845 photographs of Imagenette, cats and zebras
# (`color_covariance` of every third training picture at 128 px).
COVARIANCE = (
    (0.07545265, 0.06815071, 0.06380883),
    (0.06815071, 0.07319965, 0.07204818),
    (0.06380883, 0.07204818, 0.08414211),
)


# ---- the inverse Fourier transform -----------------------------------------------------------------------------------


class InverseRealFFT(Function):
    """y (N,C,H,W): the real image whose half spectrum has real part x[..., 0] and imaginary part x[..., 1].

    x: (N,C,H,K,2). As numpy.fft.irfft2. With theta = 2 pi (u i/H + v j/W) and m_v the number of times that column v
    stands in the full spectrum (once for v = 0 and for v = W/2, twice for the rest, by symmetry):

        y_ij = 1/(H W) sum_uv m_v (x_uv0 cos theta - x_uv1 sin theta)
    """

    def __init__(self, width: int) -> None:
        self.width = width

    def forward(self, x: np.ndarray) -> np.ndarray:
        return array_module(x).fft.irfft2(x[..., 0] + 1j * x[..., 1], s=(x.shape[2], self.width)).astype(x.dtype)

    def vjp(self, g: Tensor) -> Tensor:
        return RealFFTAdjoint()(g)


class RealFFTAdjoint(Function):
    """gx (N,C,H,K,2) from g (N,C,H,W): the adjoint of InverseRealFFT, which is m_v / (H W) times the FFT of g.

    gx_uv0 = m_v/(H W) sum_ij g_ij cos theta        gx_uv1 = -m_v/(H W) sum_ij g_ij sin theta
    """

    def forward(self, g: np.ndarray) -> np.ndarray:
        xp, (height, width) = array_module(g), g.shape[2:]
        spectrum = xp.fft.rfft2(g)
        times = np.full(width // 2 + 1, 2.0)
        times[0] = 1
        if width % 2 == 0:
            times[-1] = 1
        spectrum *= xp.asarray(times / (height * width), dtype=g.dtype)
        return xp.stack([spectrum.real, spectrum.imag], -1).astype(g.dtype)

    def vjp(self, gg: Tensor) -> Tensor:
        (g,) = self.inputs
        return InverseRealFFT(g.shape[3])(gg)


def inverse_real_fft(x: Tensor, width: int) -> Tensor:
    """(N,C,H,width) from the half spectrum x (N,C,H,width//2+1,2), real and imaginary parts; numpy.fft.irfft2."""
    if x.ndim != 5 or x.shape[3:] != (width // 2 + 1, 2):
        raise ValueError(f"inverse_real_fft: x must be (N,C,H,{width // 2 + 1},2) for width {width}, got {x.shape}")
    return InverseRealFFT(width)(x)


# ---- colours ---------------------------------------------------------------------------------------------------------


def color_covariance(images: np.ndarray) -> np.ndarray:
    """(3,3): the covariance of the RGB values of all pixels of images (N,3,H,W)."""
    return np.cov(np.asarray(images, dtype=np.float64).transpose(1, 0, 2, 3).reshape(3, -1), bias=True)


def color_correlation(covariance: Any = COVARIANCE) -> np.ndarray:
    """(3,3): the matrix that gives uncorrelated colours the correlations of photographs.

    The square root U sqrt(S) of covariance = U S U^T, divided by its longest column. The first column is brightness,
    the others, red against blue and green against both, are far shorter.
    """
    vectors, variances, _ = np.linalg.svd(np.asarray(covariance, dtype=np.float64))
    root = vectors * np.sqrt(variances)
    return root / np.linalg.norm(root, axis=0).max()


# ---- the parameterisation --------------------------------------------------------------------------------------------


class FourierImage:
    """Images of `size` (H, W) as functions of coefficients (N,3,H,W//2+1,2).

    decay: coefficients are divided by frequency**decay; photographs have about 1. covariance: of their colours.
    """

    def __init__(self, size: tuple[int, int], decay: float = 1.0, covariance: Any = COVARIANCE) -> None:
        self.height, self.width = size
        rows, columns = np.fft.fftfreq(self.height)[:, None], np.fft.rfftfreq(self.width)
        frequency = np.maximum(np.hypot(rows, columns), 1 / max(size))
        self.scale = (math.sqrt(self.height * self.width) / frequency**decay)[..., None] / 4
        self.colors = color_correlation(covariance)

    def start(self, count: int, rng: np.random.Generator, spread: float = 0.01) -> np.ndarray:
        """(count,3,H,W//2+1,2) float32: coefficients of nearly grey images, normal with standard deviation `spread`."""
        return (spread * rng.standard_normal((count, 3, self.height, self.width // 2 + 1, 2))).astype(np.float32)

    def __call__(self, coefficients: Tensor) -> Tensor:
        """The images (N,3,H,W), strictly inside [0,1]. Differentiable."""
        x = coefficients
        planes = inverse_real_fft(x * constant_like(x, self.scale), self.width)
        mixed = F.matmul(constant_like(x, self.colors), planes.reshape(len(planes), 3, -1))
        return F.sigmoid(mixed.reshape(planes.shape))
