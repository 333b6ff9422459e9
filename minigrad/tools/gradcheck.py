"""Numerical checks of derivatives: is what `vjp` gives what `forward` does?"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import grad
from ..device import to_device, to_numpy
from ..tensor import Tensor


def check_gradients(
    function: Callable[..., Any],
    inputs: Tensor | Sequence[Tensor],
    order: int = 1,
    direction: np.random.Generator | None = None,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
) -> None:
    """Compare the gradients of `function` with central differences; silent when they agree.

    function: takes Tensors, returns a Tensor.
    inputs: float64 Tensors at which to check. Stay `eps` away from kinks (ReLU at 0, equal values in a max pool).
    order: 1 checks the gradient; 2 checks that the gradient itself is differentiated rightly, by the inputs and by
        what it starts from.
    direction: None compares the whole Jacobian, at two evaluations for every input element; a numpy.random.Generator
        compares derivatives along one random direction of it, at two evaluations in all.

    Raises AssertionError naming the worst element, ValueError for inputs that are not float64.
    """
    inputs = [x.detach() for x in ((inputs,) if isinstance(inputs, Tensor) else inputs)]
    for i, x in enumerate(inputs):
        if x.dtype != np.float64:
            raise ValueError(f"check_gradients: inputs[{i}] must be float64, got {x.dtype}: differences need it")
    if order not in (1, 2):
        raise ValueError(f"check_gradients: order must be 1 or 2, got {order!r}")
    for x in inputs:
        x.requires_grad = True
    function = _connected(function)
    y = function(*inputs)
    if order == 2:
        start = np.random.default_rng(0).normal(size=y.shape)
        inputs = [*inputs, Tensor(to_device(start, y.device), requires_grad=True)]
        function = _connected(_gradient_of(function))
        y = function(*inputs)

    if direction is None:
        _check_jacobian(function, inputs, y, eps, rtol, atol)
    else:
        _check_direction(function, inputs, y, direction, eps, rtol, atol)


def _connected(function):
    """`function` with 0 times each input added: all inputs then have a gradient, 0 where the output ignores them."""
    return lambda *xs: sum((F.sum(x) * 0.0 for x in xs), start=function(*xs))


def _gradient_of(function):
    """(inputs..., g) -> the gradients of `function` from g, joined in one vector."""

    def gradients(*xs_and_start):
        *xs, start = xs_and_start
        return F.cat([F.reshape(g, (-1,)) for g in grad(function(*xs), xs, start, create_graph=True)])

    return gradients


def _check_jacobian(function, inputs, y, eps, rtol, atol):
    """Every element: row by row from vjp, column by column from differences."""
    ours = [np.empty((y.size, x.size)) for x in inputs]
    for row in range(y.size):
        one = np.zeros(y.shape)
        one.flat[row] = 1
        for jacobian, g in zip(ours, _gradients(y, inputs, one), strict=True):
            jacobian[row] = g.ravel()

    for i, (x, jacobian) in enumerate(zip(inputs, ours, strict=True)):
        for column in range(x.size):
            step = np.zeros(x.shape)
            step.flat[column] = eps
            steps = [step if j == i else np.zeros(other.shape) for j, other in enumerate(inputs)]
            numeric = _difference(function, inputs, steps).ravel() / (2 * eps)
            off = np.abs(jacobian[:, column] - numeric) - (atol + rtol * np.abs(numeric))
            if not np.all(off <= 0):
                row = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
                raise AssertionError(
                    f"d output{_place(row, y.shape)} / d inputs[{i}]{_place(column, x.shape)} is "
                    f"{jacobian[row, column]:.9g} by vjp, {numeric[row]:.9g} by differences"
                )


def _check_direction(function, inputs, y, rng, eps, rtol, atol):
    """One number, v . J u for random u and v: by vjp (J^T v) . u, by differences v . (f(x + eps u) - f(x - eps u))."""
    us = [rng.normal(size=x.shape) for x in inputs]
    v = rng.normal(size=y.shape)
    gradients = _gradients(y, inputs, v)
    ours = sum(float(np.sum(g * u)) for g, u in zip(gradients, us, strict=True))
    numeric = float(np.sum(v * _difference(function, inputs, [eps * u for u in us]))) / (2 * eps)
    # what rounding and cancellation leave of the sum is relative to the size of its terms
    size = sum(float(np.sum(np.abs(g * u))) for g, u in zip(gradients, us, strict=True))
    if not abs(ours - numeric) <= atol + rtol * max(abs(numeric), size):
        raise AssertionError(
            f"along a random direction the derivative is {ours:.9g} by vjp, {numeric:.9g} by differences"
        )


def _gradients(y, inputs, start):
    """The gradients of y by each input from the array `start`, as NumPy arrays."""
    return [to_numpy(g.data) for g in grad(y, inputs, Tensor(to_device(start, y.device)))]


def _difference(function, inputs, steps):
    """function(inputs + steps) - function(inputs - steps), as a NumPy array."""

    def moved(sign):
        arrays = [to_numpy(x.data) + sign * step for x, step in zip(inputs, steps, strict=True)]
        tensors = [Tensor(to_device(a, x.device), requires_grad=True) for a, x in zip(arrays, inputs, strict=True)]
        return to_numpy(function(*tensors).data)

    return moved(1) - moved(-1)


def _place(flat, shape):
    return str([int(i) for i in np.unravel_index(flat, shape)])


from .. import functional as F  # noqa: E402
