"""Optimisers. Each `step` replaces the data of its parameters by new arrays: a graph may still hold the old ones."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .autograd import grad as gradient_of
from .device import array_module, current_device, device_of, one_device, to_device
from .kernels import parallel
from .tensor import Tensor


class Optimizer:
    """What optimisers share: the parameters, the learning rate, the step count.

    params: Tensors that require grad. lr: the learning rate; assign to `.lr` to follow a schedule.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: no parameters to optimise")
        seen: dict[int, int] = {}
        for i, p in enumerate(self.params):
            if not isinstance(p, Tensor) or not p.requires_grad or p.function is not None:
                raise ValueError(f"{type(self).__name__}: params[{i}] must be a leaf Tensor that requires grad")
            if seen.setdefault(id(p), i) != i:
                raise ValueError(f"{type(self).__name__}: params[{i}] is params[{seen[id(p)]}]; give it once")
        if not lr > 0:
            raise ValueError(f"{type(self).__name__}: lr must be positive, got {lr}")
        self.lr = lr
        self.steps = 0
        self.state: list[dict[str, Any]] = [{} for _ in self.params]  # numbers, and arrays of its shape

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a `.grad`: on the CPU, threads take one after the other, the largest first."""
        self.steps += 1
        todo = [i for i, p in enumerate(self.params) if p.grad is not None]
        if all(self.params[i].device == "cpu" for i in todo):
            parallel(self._move, sorted(todo, key=lambda i: -self.params[i].size))
        else:
            for i in todo:
                self._move(i)

    def _move(self, i):
        p, state = self.params[i], self.state[i]
        one_device(type(self).__name__, {f"params[{i}]": p, f"params[{i}].grad": p.grad})
        for name, array in state.items():  # a parameter that was moved takes its state along
            if getattr(array, "ndim", 0) and device_of(array) != p.device:
                state[name] = to_device(array, p.device)
        with current_device(p.data):
            x, g = (a.astype(np.promote_types(a.dtype, np.float32), copy=False) for a in (p.data, p.grad.data))
            p.data = (x - self.update(x, g, state)).astype(p.dtype, copy=False)

    def update(self, x: Tensor, g: Any, state: Any) -> Any:
        """What is subtracted from x, given its gradient g and what `state` holds from earlier steps. float16 comes as
        float32, and the state stays in it: the square of a gradient below 2e-4 is 0 in float16."""
        raise NotImplementedError(f"{type(self).__name__}.update")

    def state_dict(self) -> dict[str, Any]:
        """The step count, the learning rate and the state of each parameter: all that a resumed run needs."""
        return {"steps": self.steps, "lr": self.lr, "state": [dict(s) for s in self.state]}

    def load_state_dict(self, state: Any) -> None:
        """Continue from what `state_dict` gave."""
        if len(state["state"]) != len(self.params):
            raise ValueError(f"load_state_dict: state of {len(state['state'])} parameters, expected {len(self.params)}")
        self.steps, self.lr = state["steps"], state["lr"]
        self.state = [dict(s) for s in state["state"]]


class SGD(Optimizer):
    """Gradient descent, with momentum (v <- momentum*v + g) and Nesterov's look-ahead as in torch.optim.SGD.

    weight_decay adds weight_decay * x to the gradient.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr)
        if not 0 <= momentum or not 0 <= weight_decay:
            raise ValueError(f"SGD: momentum {momentum} and weight_decay {weight_decay} must not be negative")
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs a momentum")
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov

    def update(self, x: Tensor, g: Any, state: Any) -> Any:
        """lr * g, or lr * v with momentum, or lr * (g + momentum*v) with Nesterov."""
        if self.weight_decay:
            g = g + self.weight_decay * x
        if self.momentum:
            v = state["v"] = g if "v" not in state else self.momentum * state["v"] + g
            g = g + self.momentum * v if self.nesterov else v
        return self.lr * g


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), as torch.optim.Adam; with decoupled=True its weight decay is AdamW's."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(params, lr)
        if not all(0 <= b < 1 for b in betas):
            raise ValueError(f"Adam: betas must lie in [0, 1), got {betas}")
        if not 0 <= weight_decay:
            raise ValueError(f"Adam: weight_decay must not be negative, got {weight_decay}")
        self.betas, self.eps, self.weight_decay, self.decoupled = betas, eps, weight_decay, decoupled

    def update(self, x: Tensor, g: Any, state: Any) -> Any:
        """lr * m / (sqrt(v) + eps), m and v the bias-corrected averages of the gradient and of its square.

        The bias is that of the t gradients that this parameter has had, which may be fewer than there were steps.
        """
        if self.weight_decay and not self.decoupled:
            g = g + self.weight_decay * x
        b1, b2 = self.betas
        before = state.get("t", self.steps - 1 if state else 0)  # state of earlier versions has no t
        t = state["t"] = int(before) + 1
        m = state["m"] = b1 * state.get("m", 0.0) + (1 - b1) * g
        v = state["v"] = b2 * state.get("v", 0.0) + (1 - b2) * g * g
        root = array_module(v).sqrt(v) / math.sqrt(1 - b2**t) + self.eps
        step = self.lr / (1 - b1**t) * m / root
        return step + self.lr * self.weight_decay * x if self.weight_decay and self.decoupled else step


def lbfgs(
    function: Callable[..., Any],
    x: Tensor,
    max_iter: int = 20,
    bounds: tuple[float, float] | None = None,
    history: int = 10,
    callback: Callable[..., Any] | None = None,
    gtol: float = 0.0,
    ftol: float = 0.0,
) -> tuple[Tensor, float]:
    """Minimise function(Tensor) -> scalar Tensor by L-BFGS-B (scipy; Byrd et al. 1995), from the Tensor x.

    max_iter: iterations; each may evaluate the function several times. bounds: (low, high) for every element, or None.
    history: how many past steps approximate the Hessian. callback(iteration, x as Tensor, loss): True stops.
    gtol, ftol: stop when the gradient, relative to the first one, or the relative decrease falls below; 0 runs all
    iterations.

    The course is the same for every scale of the function: scipy is given it in units of the first gradient's length.
    Within bounds its first step is as long as the gradient, and its line search gives up on the smallest.

    Returns (x, loss): a new Tensor with the dtype and device of x, and the smallest loss as a float. scipy computes in
    float64 on the CPU; the function sees the dtype and device of x.
    """
    from scipy.linalg import norm
    from scipy.optimize import minimize

    device, dtype, shape = x.device, x.dtype, x.shape
    iteration: int = 0
    unit: Any = None  # the first gradient's length

    def tensor(flat):
        return Tensor(flat.reshape(shape).astype(dtype)).to(device)

    def value_and_gradient(flat) -> tuple:
        nonlocal unit
        variable = tensor(flat)
        variable.requires_grad = True
        loss = function(variable)
        gradient = gradient_of(loss, variable).numpy().astype(np.float64).ravel()
        if unit is None:
            length = float(norm(gradient, check_finite=False))
            unit = length if 0 < length < np.inf else 1.0
        return loss.item() / unit, gradient / unit

    def report(intermediate_result) -> None:
        nonlocal iteration
        iteration += 1
        if callback and callback(iteration, tensor(intermediate_result.x), float(intermediate_result.fun) * unit):
            raise StopIteration

    result = minimize(
        value_and_gradient,
        x.numpy().astype(np.float64).ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=None if bounds is None else [bounds] * x.size,
        callback=report,
        options={"maxiter": max_iter, "maxfun": 20 * max_iter, "maxcor": history, "gtol": gtol, "ftol": ftol},
    )
    return tensor(result.x), float(result.fun) * unit
