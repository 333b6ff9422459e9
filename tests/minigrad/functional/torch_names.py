"""PyTorch's functions under the names and arguments that minigrad.functional has."""

import torch
from torch.nn import functional


class _Torch:
    """torch.nn.functional first, then torch; and the few that are spelt otherwise."""

    def __getattr__(self, name):
        return getattr(functional if hasattr(functional, name) else torch, name)

    def clamp(self, x, min=None, max=None):
        if isinstance(min, torch.Tensor) or isinstance(max, torch.Tensor):
            return torch.clamp(x, min=min, max=max)
        return torch.clamp(x, min, max)

    def hardsigmoid(self, x):
        return functional.relu6(x + 3) / 6  # torch's own has 1/6 to float32's digits only, as derivative of any dtype

    def channel_layer_norm(self, x, weight, bias, eps=1e-6):
        return functional.layer_norm(x.movedim(1, -1), x.shape[1:2], weight, bias, eps).movedim(-1, 1)

    def var(self, x, axis=None, ddof=0, keepdims=False):
        return torch.var(x, axis, correction=ddof, keepdim=keepdims)

    def max(self, x, axis, keepdims=False):
        return torch.amax(x, axis, keepdims)

    def min(self, x, axis, keepdims=False):
        return torch.amin(x, axis, keepdims)

    def getitem(self, x, index):
        return x[index]


TORCH = _Torch()
