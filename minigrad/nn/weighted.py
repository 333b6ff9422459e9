"""A function of x and of an array of weights as a layer, for what is no layer of its own: x * gamma, positions + x."""

from collections.abc import Sequence

import numpy as np

from ..tensor import Tensor
from .graph import Call
from .module import Module


class WeightedCall(Module):
    """function(x, .weight), or function(.weight, x) if `first`: WeightedCall("mul", (64, 1, 1)) scales each channel.

    function: the name of one of `minigrad.functional` of two tensors. shape: that of `.weight`, zeros to be loaded.
    """

    def __init__(self, function: str, shape: Sequence[int], first: bool = False) -> None:
        self.function, self.shape, self.first = function, tuple(shape), first
        self._compute = Call(function)._compute
        self.weight = Tensor(np.zeros(self.shape, np.float32), requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return self._compute(self.weight, x) if self.first else self._compute(x, self.weight)

    def describe(self) -> dict:
        return {"function": self.function, "shape": self.shape, "first": self.first}
