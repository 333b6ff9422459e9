"""Layers that change the grid, with torch.nn's names and arguments: padding, upsampling, pixel shuffle."""

from collections.abc import Sequence

from .. import functional as F
from ..functional.window import ints
from ..tensor import Tensor
from ..typing import Pair
from .module import Module

# ---- padding ---------------------------------------------------------------------------------------------------------


class _Pad2d(Module):
    """`padding` pixels on each side, an int or (left, right, top, bottom), by `mode` of F.pad."""

    mode = "constant"
    value: float | None = None

    def __init__(self, padding: Pair) -> None:
        widths = ints(type(self).__name__, "padding", padding)
        self.padding = widths[0] if len(widths) == 1 else widths

    def forward(self, x: Tensor):
        widths = (self.padding,) * 4 if isinstance(self.padding, int) else self.padding
        if len(widths) != 4:
            raise ValueError(f"{type(self).__name__}: padding must be an int or four, got {self.padding}")
        return F.pad(x, widths, self.mode, self.value)

    def describe(self) -> dict:
        return {"padding": self.padding}


class ZeroPad2d(_Pad2d):
    """Zeros around the image: `padding` an int, or (left, right, top, bottom)."""


class ConstantPad2d(_Pad2d):
    """`value` around the image: `padding` an int, or (left, right, top, bottom)."""

    def __init__(self, padding: Pair, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def describe(self) -> dict:
        return {"padding": self.padding, "value": self.value}


class ReflectionPad2d(_Pad2d):
    """The image mirrored about its edge pixels, not repeated: `padding` an int, or (left, right, top, bottom)."""

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """The edge pixels repeated: `padding` an int, or (left, right, top, bottom)."""

    mode = "replicate"


class CircularPad2d(_Pad2d):
    """The image going on at its other end: `padding` an int, or (left, right, top, bottom)."""

    mode = "circular"


# ---- finer grids -----------------------------------------------------------------------------------------------------


class Upsample(Module):
    """A finer or coarser grid; arguments as in F.interpolate."""

    def __init__(
        self,
        size: Pair | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        coordinates: str | None = None,
        rounding: str | None = None,
    ) -> None:
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners
        self.recompute_scale_factor, self.coordinates, self.rounding = recompute_scale_factor, coordinates, rounding

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, **self.describe())

    def describe(self) -> dict:
        first = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "coordinates", "rounding")
        return {name: getattr(self, name) for name in first}


class PixelShuffle(Module):
    """(N,C*r*r,H,W) to (N,C,H*r,W*r): r*r channels become squares of r by r pixels, r being upscale_factor."""

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, self.upscale_factor)

    def describe(self) -> dict:
        return {"upscale_factor": self.upscale_factor}
