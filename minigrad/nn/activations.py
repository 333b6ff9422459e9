"""Activations as layers, with torch.nn's names and arguments: rows of one table.

A row is a function of minigrad.functional, whose arguments after x are the layer's: `GELU(approximate="tanh")` calls
`F.gelu(x, approximate="tanh")`. Those with parameters that are learnt have a class of their own, below.
"""

import inspect
from typing import Any

import numpy as np

from .. import functional as F
from ..tensor import Tensor
from .module import Module


class Activation(Module):
    """y = f(x), number by number: `function`, with the arguments given here."""

    function: staticmethod
    _names: tuple = ()

    def __init__(self, *values: Any, **named: Any) -> None:
        first, *parameters = inspect.signature(self.function).parameters.values()
        given = inspect.Signature(parameters).bind(*values, **named)
        given.apply_defaults()
        vars(self).update(given.arguments)
        self._names = tuple(given.arguments)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, **self.describe())

    def describe(self) -> dict:
        return {name: getattr(self, name) for name in self._names}


def _row(name, function) -> type[Activation]:
    attributes = {"function": staticmethod(function), "__doc__": function.__doc__, "__module__": __name__}
    return type(name, (Activation,), attributes)


ReLU = _row("ReLU", F.relu)
ReLU6 = _row("ReLU6", F.relu6)
LeakyReLU = _row("LeakyReLU", F.leaky_relu)
ELU = _row("ELU", F.elu)
Softplus = _row("Softplus", F.softplus)
SiLU = _row("SiLU", F.silu)
Hardswish = _row("Hardswish", F.hardswish)
GELU = _row("GELU", F.gelu)
Mish = _row("Mish", F.mish)
Tanh = _row("Tanh", F.tanh)
Sigmoid = _row("Sigmoid", F.sigmoid)
Hardsigmoid = _row("Hardsigmoid", F.hardsigmoid)


class PReLU(Module):
    """x where positive, `.weight` * x elsewhere; .weight has `num_parameters` numbers, 1 or one for each channel.

    init: what they start at.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.num_parameters, self.init = num_parameters, init
        self.weight = Tensor(np.full(num_parameters, init, np.float32), requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight)

    def describe(self) -> dict:
        return {"num_parameters": self.num_parameters, "init": self.init}


# {name: class} of all of the above
ACTIVATIONS = {kind.__name__: kind for kind in [*Activation.__subclasses__(), PReLU]}
