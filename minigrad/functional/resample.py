"""Changing the grid of an image: interpolation, and windows laid out as columns.

Letters: N images, C channels, H W height and width, OH OW of the output, KH KW of a window, L the number of windows.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..autograd import Function
from ..device import array_module
from ..kernels import output_hw
from ..tensor import Tensor, as_tensor
from ..typing import Array, Gradients, Pair, TensorLike
from .convert import constant_like, in_float32
from .index import getitem
from .linalg import matmul
from .shape import pad, permute, reshape, squeeze, transpose, unsqueeze
from .window import pair

# ---- interpolation ---------------------------------------------------------------------------------------------------


@in_float32
def interpolate(
    x: TensorLike,
    size: Pair | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    coordinates: str | None = None,
    rounding: str | None = None,
) -> Tensor:
    """x on a finer or coarser grid, as torch.nn.functional.interpolate.

    x: (N,C,H,W). size: OH and OW, an int or a pair; or else scale_factor: a number or a pair: OH = floor(H * factor).
    mode: "nearest" (output row i takes row floor(i * H/OH)), "nearest-exact" (the row whose centre is nearest) or
    "bilinear" (the four neighbours, weighted by distance; pixels are squares, and beyond the outermost centres the edge
    is repeated). align_corners: for "bilinear", the centres of the corner pixels stay where they are.
    recompute_scale_factor: take the scale from the sizes even where scale_factor is given, which differs where
    H * factor is no whole number. Nothing is smoothed before going down.

    coordinates: as ONNX's Resize names them, in align_corners' place, where output i lies among the input's, with s
    input pixels to one of the output: "half_pixel", (i + 1/2) s - 1/2; "pytorch_half_pixel", the same but 0 for a
    single one; "asymmetric", i s; "align_corners", i (H-1)/(OH-1). rounding: then, for "nearest", "floor", "ceil",
    "round_prefer_floor" (where None) or "round_prefer_ceil".

    Bilinear is a product with two matrices, in which 0 * inf is NaN: an infinity or a NaN makes NaN of other pixels of
    its image and channel too, where torch spoils only its neighbours.
    """
    x = as_tensor(x)
    if mode not in ("nearest", "nearest-exact", "bilinear"):
        raise NotImplementedError(f'interpolate: mode must be "nearest", "nearest-exact" or "bilinear", got {mode!r}')
    if antialias:
        raise NotImplementedError("interpolate: antialias is not supported")
    if x.ndim != 4 or x.dtype.kind != "f" or 0 in x.shape[1:]:
        raise ValueError(f"interpolate: x must be floating point (N,C,H,W), got {x.dtype} of shape {x.shape}")
    if align_corners is not None and (mode != "bilinear" or coordinates is not None):
        raise ValueError('interpolate: align_corners goes with mode "bilinear", and without coordinates')
    _check_coordinates(mode, coordinates, rounding)

    size, scales = _size_and_scales(x, size, scale_factor, recompute_scale_factor)
    if mode == "bilinear":
        coordinates = coordinates or ("align_corners" if align_corners else "half_pixel")
        rows, columns = (_bilinear(x, *one, coordinates) for one in zip(x.shape[2:], size, scales, strict=True))
        return matmul(matmul(rows, x), transpose(columns, 0, 1))
    if coordinates is None:
        rows, columns = (_nearest(*one, mode) for one in zip(x.shape[2:], size, scales, strict=True))
    else:
        rounded = _ROUNDINGS[rounding or "round_prefer_floor"]
        places = (_positions(*one, coordinates) for one in zip(x.shape[2:], size, scales, strict=True))
        rows, columns = (np.clip(rounded(p), 0, n - 1) for p, n in zip(places, x.shape[2:], strict=True))
    rows, columns = (constant_like(x, index, np.int64) for index in (rows[:, None], columns))
    return getitem(x, (slice(None), slice(None), rows, columns))


_COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
_ROUNDINGS = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda position: np.ceil(position - 0.5),
    "round_prefer_ceil": lambda position: np.floor(position + 0.5),
}


def _check_coordinates(mode, coordinates, rounding):
    if coordinates is not None and (coordinates not in _COORDINATES or mode == "nearest-exact"):
        known = ", ".join(_COORDINATES)
        raise ValueError(f'interpolate: coordinates must be one of {known}, for "nearest" or "bilinear"')
    if rounding is not None and (rounding not in _ROUNDINGS or coordinates is None or mode != "nearest"):
        known = ", ".join(_ROUNDINGS)
        raise ValueError(f'interpolate: rounding must be one of {known}, with coordinates and mode "nearest"')


def _size_and_scales(x, size, scale_factor, recompute):
    """((OH, OW), (factor or None, factor or None)), None where the sizes give it."""
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    if recompute and size is not None:
        raise ValueError("interpolate: recompute_scale_factor goes with scale_factor, not with size")
    if size is not None:
        return pair("interpolate", "size", size, 1), (None, None)
    factors = scale_factor if isinstance(scale_factor, list | tuple) else (scale_factor, scale_factor)
    if len(factors) != 2 or not all(f > 0 for f in factors):
        raise ValueError(f"interpolate: scale_factor must be a positive number or a pair, got {scale_factor!r}")
    size = tuple(math.floor(n * f) for n, f in zip(x.shape[2:], factors, strict=True))
    if min(size) < 1:
        raise ValueError(f"interpolate: scale_factor {scale_factor} leaves no pixel of {x.shape[2:]}")
    return size, (None, None) if recompute else factors


def _positions(size, out, factor, coordinates):
    """(out,): where each output lies among the input's `size` elements, which are at 0, 1, 2 ..."""
    i, step = np.arange(out), 1 / factor if factor else size / out
    if coordinates == "asymmetric":
        return i * step
    if coordinates == "align_corners":
        return i * ((size - 1) / (out - 1) if out > 1 else 0.0)
    return np.zeros(1) if coordinates == "pytorch_half_pixel" and out == 1 else (i + 0.5) * step - 0.5


def _nearest(size, out, factor, mode):
    """The index that each output index takes. In float32, as in torch, whose rounding decides between neighbours.

    As in torch, too, for "nearest" an unchanged or doubled size is taken as a scale of 1 or 2, whatever the factor was.
    """
    factor = None if mode == "nearest" and out in (size, 2 * size) else factor
    step = np.float32(1 / factor) if factor else np.float32(size) / np.float32(out)
    index = np.arange(out, dtype=np.float32) + np.float32(0.5 if mode == "nearest-exact" else 0)
    return np.minimum(np.floor(index * step).astype(np.int64), size - 1)


def _bilinear(x, size, out, factor, coordinates):
    """(out, size): row i holds the weights of the two elements that output i lies between. In the dtype of x.

    As in torch, an unchanged size is taken as a scale of 1, whatever the factor was.
    """
    position = np.maximum(_positions(size, out, None if out == size else factor, coordinates), 0.0)
    low = np.minimum(np.floor(position).astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    share = np.minimum(position - low, 1.0)
    weights = np.zeros((out, size))
    np.add.at(weights, (np.arange(out), low), 1 - share)
    np.add.at(weights, (np.arange(out), high), share)
    return constant_like(x, weights)


def pixel_shuffle(x: TensorLike, upscale_factor: int) -> Tensor:
    """(N,C,H*r,W*r) of x (N,C*r*r,H,W), r being upscale_factor: r*r channels become squares of r by r pixels.

    As torch.nn.functional.pixel_shuffle; any dimensions may come before C. (Shi et al. 2016, arXiv:1609.05158.)
    """
    x, r = as_tensor(x), upscale_factor
    if not isinstance(r, int | np.integer) or r < 1:
        raise ValueError(f"pixel_shuffle: upscale_factor must be a positive int, got {r!r}")
    if x.ndim < 3 or x.shape[-3] % (r * r):
        raise ValueError(f"pixel_shuffle: x must be (N,C*{r}*{r},H,W), got shape {x.shape}")
    *outer, c, h, w = x.shape
    at = len(outer)
    squares = permute(reshape(x, (*outer, c // (r * r), r, r, h, w)), (*range(at + 1), at + 3, at + 1, at + 4, at + 2))
    return reshape(squares, (*outer, c // (r * r), h * r, w * r))


# ---- windows as columns ----------------------------------------------------------------------------------------------


class Unfold(Function):
    """(N, C*KH*KW, L): each window of x (N,C,H,W) as a column, windows in row-major order."""

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> None:
        self.geometry = (kernel, stride, dilation)

    def forward(self, x: Array) -> Array:
        n, c = x.shape[:2]
        kh, kw = self.geometry[0]
        taps, (oh, ow) = _taps(x.shape[2:], *self.geometry)
        out = array_module(x).empty((n, c, kh * kw, oh, ow), x.dtype)
        for k, (rows, columns) in enumerate(taps):
            out[:, :, k] = x[:, :, rows, columns]
        return out.reshape(n, c * kh * kw, oh * ow)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return Fold(x.shape[2:], *self.geometry)(g)


class Fold(Function):
    """x (N,C,H,W): the columns (N, C*KH*KW, L) added back at their windows."""

    def __init__(
        self, hw: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
    ) -> None:
        self.hw, self.geometry = hw, (kernel, stride, dilation)

    def forward(self, columns: Array) -> Array:
        kh, kw = self.geometry[0]
        taps, out_hw = _taps(self.hw, *self.geometry)
        columns = columns.reshape(columns.shape[0], columns.shape[1] // (kh * kw), kh * kw, *out_hw)
        x = array_module(columns).zeros((*columns.shape[:2], *self.hw), columns.dtype)
        for k, (rows, cols) in enumerate(taps):
            x[:, :, rows, cols] += columns[:, :, k]
        return x

    def vjp(self, g: Tensor) -> Gradients:
        return Unfold(*self.geometry)(g)


def _taps(hw, kernel, stride, dilation):
    """(for each element of the window the slices of x that all windows take there, (OH, OW))."""
    oh, ow = output_hw(hw, kernel, stride, (0, 0), dilation)
    (sh, sw), (dh, dw) = stride, dilation
    taps = [
        (slice(a * dh, a * dh + (oh - 1) * sh + 1, sh), slice(b * dw, b * dw + (ow - 1) * sw + 1, sw))
        for a in range(kernel[0])
        for b in range(kernel[1])
    ]
    return taps, (oh, ow)


@in_float32
def unfold(x: TensorLike, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> Tensor:
    """Every window of x as a column, as torch.nn.functional.unfold.

    x: (N,C,H,W) or (C,H,W). Returns (N, C*KH*KW, L): channels outermost, L windows in row-major order.
    """
    x, kernel, stride, padding, dilation = _window("unfold", x, kernel_size, stride, padding, dilation)
    if x.ndim == 3:
        return squeeze(unfold(unsqueeze(x, 0), kernel, dilation, padding, stride), 0)
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise ValueError(f"unfold: x must be (N,C,H,W) or (C,H,W), got shape {x.shape}")
    if min(output_hw(x.shape[2:], kernel, stride, padding, dilation)) < 1:
        raise ValueError(f"unfold: kernel_size {kernel} with dilation {dilation} does not fit x of shape {x.shape}")
    (ph, pw) = padding
    return Unfold(kernel, stride, dilation)(pad(x, (pw, pw, ph, ph)))


@in_float32
def fold(
    x: TensorLike, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
) -> Tensor:
    """The columns of unfold added back at their windows, as torch.nn.functional.fold: the adjoint of unfold.

    x: (N, C*KH*KW, L) or (C*KH*KW, L). Returns (N, C, *output_size).
    """
    x, kernel, stride, padding, dilation = _window("fold", x, kernel_size, stride, padding, dilation)
    if x.ndim == 2:
        return squeeze(fold(unsqueeze(x, 0), output_size, kernel, dilation, padding, stride), 0)
    hw = pair("fold", "output_size", output_size, 1)
    out_hw = output_hw(hw, kernel, stride, padding, dilation)
    if x.ndim != 3 or x.shape[1] % math.prod(kernel) or min(out_hw) < 1 or x.shape[2] != math.prod(out_hw):
        raise ValueError(
            f"fold: x has shape {x.shape}, expected (N, a multiple of {math.prod(kernel)}, {math.prod(out_hw)}) "
            f"for kernel_size {kernel} and an output of {hw}"
        )
    (ph, pw) = padding
    padded = Fold((hw[0] + 2 * ph, hw[1] + 2 * pw), kernel, stride, dilation)(x)
    return pad(padded, (-pw, -pw, -ph, -ph))


def _window(name, x, kernel_size, stride, padding, dilation):
    kernel, stride = pair(name, "kernel_size", kernel_size, 1), pair(name, "stride", stride, 1)
    return as_tensor(x), kernel, stride, pair(name, "padding", padding, 0), pair(name, "dilation", dilation, 1)
