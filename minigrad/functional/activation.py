"""Activations: rectifiers, sigmoids and their smooth relatives. (Softmax is beside the losses it serves.)

Values and first derivatives are torch's, at the kinks too. Each is computed from x as a whole by one Function, so that
a rule, such as those of layer-wise relevance propagation, meets it as one.
"""

import importlib
import math

from .. import kernels
from ..autograd import Function
from ..device import array_module
from ..tensor import Tensor, as_tensor, together
from ..typing import Array, Gradients, TensorLike
from .broadcast import sum_to
from .choice import clamp, logical_and, where
from .convert import constant_like, floating, in_float32
from .elementwise import exp, square
from .shape import reshape


class Activation(Function):
    """y = f(x), number by number. A subclass gives f in `forward`, and its derivative, on Tensors, in `slope`."""

    def slope(self, x: Tensor) -> Tensor:
        """f'(x), which can be differentiated in turn."""
        raise NotImplementedError(f"{type(self).__name__} has no derivative")

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return g * self.slope(x)


def _floats(name, x):
    x = as_tensor(x)
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: x must be floating point, got dtype {x.dtype}; convert with .astype")
    return x


# ---- rectifiers ------------------------------------------------------------------------------------------------------


class ReLU(Activation):
    """max(x, 0), elementwise. The derivative at 0 is taken as 0."""

    def forward(self, x: Array) -> Array:
        return kernels.relu(x)

    def vjp(self, g: Tensor) -> Gradients:
        return ReLUGrad()(g, self.output)  # positive where the input is


class ReLUGrad(Function):
    """g where x > 0, else 0."""

    def forward(self, g: Array, x: Array) -> Array:
        return kernels.relu_grad(g, x)

    def vjp(self, gg: Tensor) -> Gradients:
        _, x = self.inputs
        return ReLUGrad()(gg, x), None


def relu(x: TensorLike) -> Tensor:
    """max(x, 0), elementwise. The derivative at 0 is taken as 0."""
    x = as_tensor(x)
    if x.dtype.kind == "b":
        raise TypeError("relu: x must be numbers, got dtype bool; convert with .astype")
    return ReLU()(x)


class ReLU6(Activation):
    """min(max(x, 0), 6). The derivative at 0 and at 6 is taken as 0."""

    def forward(self, x: Array) -> Array:
        return array_module(x).clip(x, 0, 6)

    def vjp(self, g: Tensor) -> Gradients:
        return ReLU6Grad()(g, self.output.detach())  # within its bounds where the input is


class ReLU6Grad(Function):
    """g where 0 < x < 6, else 0."""

    def forward(self, g: Array, x: Array) -> Array:
        return kernels.relu6_grad(g, x)

    def vjp(self, gg: Tensor) -> Gradients:
        _, x = self.inputs
        return ReLU6Grad()(gg, x), None


@in_float32
def relu6(x: TensorLike) -> Tensor:
    """min(max(x, 0), 6), elementwise. The derivative at 0 and at 6 is taken as 0. x must be floating point."""
    return ReLU6()(_floats("relu6", x))


class LeakyReLU(Activation):
    """x where positive, negative_slope * x elsewhere."""

    def __init__(self, negative_slope: float) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> Array:
        return array_module(x).where(x > 0, x, x * self.negative_slope)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return where(x > 0, g, g * self.negative_slope)


@in_float32
def leaky_relu(x: TensorLike, negative_slope: float = 0.01) -> Tensor:
    """x where positive, negative_slope * x elsewhere (0 included). x must be floating point."""
    return LeakyReLU(negative_slope)(_floats("leaky_relu", x))


class PReLU(Function):
    """x where positive, weight * x elsewhere; weight broadcasts to x."""

    def forward(self, x: Array, weight: Array) -> Array:
        return array_module(x, weight).where(x > 0, x, x * weight)

    def vjp(self, g: Tensor) -> Gradients:
        x, weight = self.inputs
        by_x, by_weight = self.needs_input_grad
        return (
            where(x > 0, g, g * weight) if by_x else None,
            sum_to(where(x > 0, 0.0, g * x), weight.shape) if by_weight else None,
        )


@in_float32
def prelu(x: TensorLike, weight: TensorLike) -> Tensor:
    """x where positive, weight * x elsewhere (0 included), with a learnt weight (He et al. 2015, arXiv:1502.01852).

    x: (N,C,...), floating point. weight: one number, or (C,), one for each channel, in the dtype of x.
    """
    x, weight = _floats("prelu", x), _floats("prelu: weight", weight)
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.ndim > 1 or weight.size not in (1, channels):
        raise ValueError(f"prelu: weight has shape {weight.shape}, expected (1,) or {(channels,)} (x.shape[1])")
    if weight.dtype != x.dtype:
        raise TypeError(f"prelu: x has dtype {x.dtype}, weight has {weight.dtype}; convert one with .astype")
    together("prelu", x=x, weight=weight)
    return PReLU()(x, reshape(weight, (-1, *(1,) * (x.ndim - 2)) if weight.size > 1 else ()))


class ELU(Activation):
    """x where positive, alpha * (exp(x) - 1) elsewhere."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        return xp.where(x > 0, x, xp.expm1(xp.minimum(x, 0)) * self.alpha)

    def slope(self, x: Tensor) -> Tensor:
        return where(x > 0, 1.0, exp(clamp(x, max=0)) * self.alpha)


@in_float32
def elu(x: TensorLike, alpha: float = 1.0) -> Tensor:
    """x where positive, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2015, arXiv:1511.07289). x: floating point."""
    return ELU(alpha)(_floats("elu", x))


# ---- sigmoids --------------------------------------------------------------------------------------------------------


class Tanh(Activation):
    """Hyperbolic tangent."""

    def forward(self, x: Array) -> Array:
        return array_module(x).tanh(x)

    def slope(self, x: Tensor) -> Tensor:
        return 1.0 - square(self.output)


@in_float32
def tanh(x: TensorLike) -> Tensor:
    """Hyperbolic tangent of each element."""
    return Tanh()(floating(x))


class Sigmoid(Activation):
    """1 / (1 + exp(-x)), by exp(-|x|), which cannot overflow and keeps small results exact."""

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        e = xp.exp(-xp.abs(x))
        return xp.where(x >= 0, x.dtype.type(1), e) / (1 + e)

    def slope(self, x: Tensor) -> Tensor:
        return self.output * (1.0 - self.output)


@in_float32
def sigmoid(x: TensorLike) -> Tensor:
    """1 / (1 + exp(-x)) of each element."""
    return Sigmoid()(floating(x))


class Hardsigmoid(Activation):
    """min(max(x + 3, 0), 6) / 6: straight lines for the sigmoid. The derivative at -3 and at 3 is taken as 0."""

    def forward(self, x: Array) -> Array:
        return array_module(x).clip(x + 3, 0, 6) / 6

    def slope(self, x: Tensor) -> Tensor:
        return where(logical_and(x > -3, x < 3), constant_like(x, 1 / 6), 0.0)


@in_float32
def hardsigmoid(x: TensorLike) -> Tensor:
    """min(max(x + 3, 0), 6) / 6, elementwise. The derivative at -3 and at 3 is taken as 0. x must be floating point."""
    return Hardsigmoid()(_floats("hardsigmoid", x))


class Erf(Function):
    """2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""

    def forward(self, x: Array) -> Array:
        return _erf(x)

    def vjp(self, g: Tensor) -> Gradients:
        (x,) = self.inputs
        return g * exp(-square(x)) * (2 / math.sqrt(math.pi))


def _erf(x):
    """SciPy's or, of a CuPy array, CuPy's; of SciPy's package imported here, as `import minigrad` needs NumPy only."""
    package = {"numpy": "scipy"}.get(array_module(x).__name__, "cupyx.scipy")
    return importlib.import_module(f"{package}.special").erf(x)


@in_float32
def erf(x: TensorLike) -> Tensor:
    """The error function of each element: 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return Erf()(floating(x))


# ---- x times a gate that opens with x --------------------------------------------------------------------------------


class SiLU(Activation):
    """x * sigmoid(x)."""

    def forward(self, x: Array) -> Array:
        return x * Sigmoid().forward(x)

    def slope(self, x: Tensor) -> Tensor:
        gate = sigmoid(x)
        return gate + x * gate * (1.0 - gate)


@in_float32
def silu(x: TensorLike) -> Tensor:
    """x * sigmoid(x), elementwise (Elfwing et al. 2017, arXiv:1702.03118; also called swish). x: floating point."""
    return SiLU()(_floats("silu", x))


class Hardswish(Activation):
    """x * hardsigmoid(x)."""

    def forward(self, x: Array) -> Array:
        return x * Hardsigmoid().forward(x)

    def slope(self, x: Tensor) -> Tensor:
        return hardsigmoid(x) + where(logical_and(x > -3, x < 3), x / 6.0, 0.0)


@in_float32
def hardswish(x: TensorLike) -> Tensor:
    """x * min(max(x + 3, 0), 6) / 6, elementwise (Howard et al. 2019, arXiv:1905.02244). x must be floating point.

    The derivative at -3 is taken as 0 and that at 3 as 1.
    """
    return Hardswish()(_floats("hardswish", x))


class GELU(Activation):
    """x times the share of a standard normal distribution that lies below x."""

    def forward(self, x: Array) -> Array:
        return x * 0.5 * (1 + _erf(x * math.sqrt(0.5)))

    def slope(self, x: Tensor) -> Tensor:
        density = exp(square(x) * -0.5) * (1 / math.sqrt(2 * math.pi))
        return (erf(x * math.sqrt(0.5)) + 1.0) * 0.5 + x * density


class GELUTanh(Activation):
    """x * (1 + tanh(c (x + 0.044715 x^3))) / 2 with c = sqrt(2/pi)."""

    def forward(self, x: Array) -> Array:
        return x * 0.5 * (1 + array_module(x).tanh((x + 0.044715 * x * x * x) * math.sqrt(2 / math.pi)))

    def slope(self, x: Tensor) -> Tensor:
        y = tanh((x + x * square(x) * 0.044715) * math.sqrt(2 / math.pi))
        inner = (square(x) * (3 * 0.044715) + 1.0) * math.sqrt(2 / math.pi)
        return (y + 1.0) * 0.5 + x * 0.5 * (1.0 - square(y)) * inner


@in_float32
def gelu(x: TensorLike, approximate: str = "none") -> Tensor:
    """x times the standard normal distribution function of x, elementwise (Hendrycks, Gimpel 2016, arXiv:1606.08415).

    approximate: "none", by the error function, or "tanh", by 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
    x must be floating point.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    return (GELU() if approximate == "none" else GELUTanh())(_floats("gelu", x))


class Softplus(Activation):
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Array) -> Array:
        xp, scaled = array_module(x), x * self.beta
        soft = xp.log1p(xp.exp(xp.minimum(scaled, self.threshold))) / self.beta
        return xp.where(scaled > self.threshold, x, soft)

    def slope(self, x: Tensor) -> Tensor:
        scaled = x * self.beta
        return where(scaled > self.threshold, 1.0, sigmoid(scaled))


@in_float32
def softplus(x: TensorLike, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, elementwise: a smooth max(x, 0). Where beta x > threshold it is x.

    x must be floating point.
    """
    if beta == 0:
        raise ValueError("softplus: beta must not be 0")
    return Softplus(beta, threshold)(_floats("softplus", x))


class Mish(Activation):
    """x * tanh(softplus(x))."""

    def forward(self, x: Array) -> Array:
        return x * array_module(x).tanh(Softplus().forward(x))

    def slope(self, x: Tensor) -> Tensor:
        gate = tanh(softplus(x))
        return gate + x * sigmoid(x) * (1.0 - square(gate))


@in_float32
def mish(x: TensorLike) -> Tensor:
    """x * tanh(log(1 + exp(x))), elementwise (Misra 2019, arXiv:1908.08681). x must be floating point."""
    return Mish()(_floats("mish", x))
