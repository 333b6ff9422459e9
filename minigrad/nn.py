"""Layers and networks, with torch.nn's names and arguments.

A Module holds parameters (Tensors that require grad), buffers (Tensors that do not, such as running means) and inner
modules, found by their attribute names. `Sequential` is the network everything else works on: its layers have names,
and each intermediate is an ordinary Tensor.
"""

import math

import numpy as np

from . import functional as F
from .autograd import ReadOnly, is_observed, is_recorded, watched
from .backend import awake, device_of, to_device
from .kernels.frozen import freeze
from .tensor import Tensor, as_tensor


class Module:
    """Base of layers and networks. A subclass sets Tensors and Modules as attributes and defines `forward(x)`."""

    training = False

    def forward(self, x):
        """The output of the module."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def __call__(self, x):
        with watched(self):
            return self.forward(x)

    def children(self):
        """(name, module) of the modules directly inside."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Module)]

    def named_tensors(self, prefix=""):
        """(dotted name, Tensor) of all parameters and buffers, outermost first."""
        found = [(prefix + name, value) for name, value in vars(self).items() if isinstance(value, Tensor)]
        for name, child in self.children():
            found += child.named_tensors(f"{prefix}{name}.")
        return found

    def named_parameters(self):
        """(dotted name, Tensor) of the tensors that require grad."""
        return [(name, tensor) for name, tensor in self.named_tensors() if tensor.requires_grad]

    def parameters(self):
        """The tensors that require grad."""
        return [tensor for _, tensor in self.named_parameters()]

    def state_dict(self):
        """{dotted name: array} of parameters and buffers; the arrays are the module's own."""
        return {name: tensor.data for name, tensor in self.named_tensors()}

    def load_state_dict(self, state):
        """Take over the arrays of `state` (no copy: a memory map stays one), moved to where the module's own are.

        Raises ValueError for missing, extra or mis-shaped entries, before anything is changed.
        """
        tensors = dict(self.named_tensors())
        missing, extra = sorted(tensors.keys() - state.keys()), sorted(state.keys() - tensors.keys())
        if missing or extra:
            raise ValueError(f"load_state_dict: missing {missing or 'none'}, unexpected {extra or 'none'}")
        for name, tensor in tensors.items():
            if state[name].shape != tensor.shape:
                raise ValueError(f"load_state_dict: {name} has shape {state[name].shape}, expected {tensor.shape}")
        for name, tensor in tensors.items():
            array = state[name]
            tensor.data = array if device_of(array) == tensor.device else to_device(array, tensor.device)

    def train(self, mode=True):
        """Set training mode (dropout drops, batch norm uses the batch); returns the module."""
        self.training = mode
        for _, child in self.children():
            child.train(mode)
        return self

    def eval(self):
        """Set evaluation mode, which is where modules start; returns the module."""
        return self.train(False)

    def requires_grad_(self, value=True):
        """Let all parameters require grad, or freeze them; returns the module."""
        for name, tensor in self.named_tensors():
            if name.rpartition(".")[2] not in ("running_mean", "running_var"):
                tensor.requires_grad = value
        return self

    def to(self, device):
        """Move parameters, their gradients and buffers to `device`, in place; returns the module.

        device: "cpu", "cuda" (the current GPU), "cuda:1", or "auto" (a GPU if there is one).
        """
        for tensor in vars(self).values():
            if isinstance(tensor, Tensor):
                tensor.data = to_device(tensor.data, device)
                tensor.grad = None if tensor.grad is None else tensor.grad.detach().to(device)
        for _, child in self.children():
            child.to(device)
        return self

    def __repr__(self):
        inner = ", ".join(f"{name}: {value!r}" for name, value in self.describe().items())
        return f"{type(self).__name__}({inner})"

    def describe(self):
        """{argument: value} that builds the module again; empty for one without arguments."""
        return {}


# ---- layers with parameters ------------------------------------------------------------------------------------------


def _he_normal(shape, fan_in, rng):
    """Normal with variance 2/fan_in, which keeps the variance of activations through ReLUs (He et al. 2015)."""
    return Tensor(
        rng.standard_normal(shape, np.float32) * math.sqrt(2.0 / fan_in), requires_grad=True, dtype=np.float32
    )


class Conv2d(Module):
    """2-D convolution with `.weight` (O, C/groups, KH, KW) and `.bias` (O,) or None.

    rng: the Generator that draws the He-normal weights; without it they are zeros, to be loaded. Biases start at 0.
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, rng=None
    ):
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups {groups} must divide in_channels {in_channels} and out_channels {out_channels}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = F.pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = _weight(shape, math.prod(shape[1:]), rng)
        self.bias = _zeros(out_channels) if bias else None

    _frozen = None  # while the weight does not require grad: its transformed forms, and a hold that keeps it read-only

    def forward(self, x, convolve=F.conv2d):
        weight = self.weight
        if weight.requires_grad:
            self._frozen = None
        elif self._frozen is None or self._frozen.weight is not weight.data:
            self._frozen = freeze(weight.data, ReadOnly([weight.data]))
        return convolve(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def to(self, device):
        self._frozen = None
        return super().to(device)

    def describe(self):
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names} | {"bias": self.bias is not None}


class Linear(Module):
    """x @ weight.T + bias with `.weight` (out_features, in_features) and `.bias` (out_features,) or None.

    rng: as for Conv2d.
    """

    def __init__(self, in_features, out_features, bias=True, rng=None):
        self.in_features, self.out_features = in_features, out_features
        self.weight = _weight((out_features, in_features), in_features, rng)
        self.bias = _zeros(out_features) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)

    def describe(self):
        return {"in_features": self.in_features, "out_features": self.out_features, "bias": self.bias is not None}


def _weight(shape, fan_in, rng):
    return _zeros(*shape) if rng is None else _he_normal(shape, fan_in, rng)


def _zeros(*shape):
    # np.zeros is not touched until written: a network about to be loaded costs no memory
    tensor = Tensor._wrap(np.zeros(shape, np.float32))
    tensor.requires_grad = True
    return tensor


class BatchNorm2d(Module):
    """Each channel to mean 0 and variance 1 over the batch, then scaled by `.weight` and shifted by `.bias`.

    In training the statistics are the batch's, and `.running_mean` and `.running_var` move towards them by `momentum`;
    in evaluation they are the running ones (Ioffe and Szegedy 2015).
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Tensor(np.ones(num_features, np.float32), requires_grad=True)
        self.bias = _zeros(num_features)
        self.running_mean = Tensor(np.zeros(num_features, np.float32))
        self.running_var = Tensor(np.ones(num_features, np.float32))

    def forward(self, x, normalize=F.batch_norm):
        stats = (self.running_mean, self.running_var)
        return normalize(x, *stats, self.weight, self.bias, self.training, self.momentum, self.eps)

    def describe(self):
        return {"num_features": self.num_features, "eps": self.eps, "momentum": self.momentum}


# ---- layers without parameters ---------------------------------------------------------------------------------------


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x):
        return F.relu(x)


class LeakyReLU(Module):
    """x where positive, negative_slope * x elsewhere."""

    def __init__(self, negative_slope=0.01):
        self.negative_slope = negative_slope

    def forward(self, x):
        return F.leaky_relu(x, self.negative_slope)

    def describe(self):
        return {"negative_slope": self.negative_slope}


class MaxPool2d(Module):
    """Maximum over windows; arguments as in F.max_pool2d."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, x):
        return F.max_pool2d(x, **self.describe())

    def describe(self):
        return {name: getattr(self, name) for name in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")}


class AvgPool2d(Module):
    """Mean over windows; arguments as in F.avg_pool2d."""

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x):
        return F.avg_pool2d(x, **self.describe())

    def describe(self):
        names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
        return {name: getattr(self, name) for name in names}


class AdaptiveAvgPool2d(Module):
    """Mean over as many near-equal windows as the output has places; 1 is global average pooling."""

    def __init__(self, output_size):
        self.output_size = output_size

    def forward(self, x):
        return F.adaptive_avg_pool2d(x, self.output_size)

    def describe(self):
        return {"output_size": self.output_size}


class LocalResponseNorm(Module):
    """Each value divided by a power of the mean square over `size` neighbouring channels (Krizhevsky et al. 2012)."""

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x):
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def describe(self):
        return {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}


class Dropout(Module):
    """In training, zeros each element with probability p and divides the rest by 1-p; the identity in evaluation.

    `.rng` is the Generator that draws; set one before training.
    """

    def __init__(self, p=0.5, rng=None):
        self.p, self.rng = p, rng

    def forward(self, x):
        return F.dropout(x, self.p, self.training, rng=self.rng)

    def describe(self):
        return {"p": self.p}


class Flatten(Module):
    """(N, ...) to (N, features), in the order C, H, W."""

    def forward(self, x):
        return F.flatten(x, 1)


class Softmax(Module):
    """exp(x) / sum exp(x) over `dim`."""

    def __init__(self, dim=1):
        self.dim = dim

    def forward(self, x):
        return F.softmax(x, self.dim)

    def describe(self):
        return {"dim": self.dim}


# ---- networks --------------------------------------------------------------------------------------------------------


def _pools_unrecorded(conv, pool, x):
    """Whether `pool` is of 2x2 windows that do not overlap, and no graph is recorded of `conv` at x (N,C,H,W)."""
    x = as_tensor(x)
    if type(pool) is not MaxPool2d or pool.describe() != MaxPool2d(2).describe() or x.ndim != 4:
        return False
    return not is_recorded(x, conv.weight, *([] if conv.bias is None else [conv.bias]))


class Sequential(Module):
    """Named layers, one after the other: `Sequential({"conv1_1": Conv2d(...), "relu1_1": ReLU(), ...})`.

    A layer is `model["conv1_1"]`; one inside a layer is named with a dot, `model["fire2.squeeze"]`.
    """

    def __init__(self, layers):
        for name, layer in layers.items():
            if not isinstance(layer, Module):
                raise TypeError(f"Sequential: layer {name!r} is {type(layer).__name__}, expected a Module")
            if not name or "." in name:
                raise ValueError(f"Sequential: layer name {name!r} must not be empty or hold a dot")
        self._layers = dict(layers)

    def children(self):
        return list(self._layers.items())

    def forward(self, x):
        layers = [*self._layers.values(), None]
        with_its_relu = {Conv2d: F.conv2d_relu, BatchNorm2d: F.batch_norm_relu, Parallel: F.cat_relu}
        with awake():
            while (layer := layers.pop(0)) is not None:
                with_relu = with_its_relu.get(type(layer))
                if with_relu and type(layers[0]) is ReLU and not is_observed():
                    layers.pop(0)
                    if with_relu is F.conv2d_relu and _pools_unrecorded(layer, layers[0], x):
                        layers.pop(0)
                        with_relu = F.conv2d_relu_max_pool
                    x = layer.forward(x, with_relu)
                else:
                    x = layer(x)
        return x

    def __getitem__(self, name):
        return _find(self, name)

    def __iter__(self):
        return iter(self._layers)

    def __len__(self):
        return len(self._layers)

    def __contains__(self, name):
        return name in self.names()

    def names(self):
        """The names of all layers, inner ones dotted, in the order of execution."""
        return _names(self)

    def activations(self, x, names):
        """{name: Tensor} of the layers `names`, computed in one pass that stops at the last of them.

        x: the input, or a dotted path's; each Tensor can be differentiated by. Raises ValueError for an unknown name.
        """
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            _find(self, name)
        found = {}
        with awake(), watched(self):
            _collect(self, x, "", set(wanted), found)
        return {name: found[name] for name in wanted}

    def layers(self, input_shape=None):
        """One `Layer` record for each layer: name, kind, output shape, parameters, FLOPs, receptive field.

        input_shape: (C, H, W) of one image; by default (3, *input_size) of a model that has an `input_size`.
        """
        from .summary import summarize

        return summarize(self, input_shape)


class Parallel(Sequential):
    """Named branches that all see the same input; their outputs are concatenated over channels."""

    def forward(self, x, join=F.cat):
        return join([branch(x) for branch in self._layers.values()], 1)


def _names(module, prefix=""):
    names = []
    for name, child in module.children():
        names += [*_names(child, f"{prefix}{name}."), prefix + name]
    return names


def _find(module, name):
    found = module
    for part in name.split("."):
        found = dict(found.children()).get(part)
        if found is None:
            raise ValueError(f"there is no layer {name!r}; the layers are: {', '.join(_names(module))}")
    return found


def _collect(module, x, prefix, wanted, found):
    """Run a Sequential or Parallel, noting wanted outputs; returns None once all are found."""
    if isinstance(module, Parallel):
        outputs = [_collect_layer(layer, x, prefix + name, wanted, found) for name, layer in module.children()]
        return None if wanted <= found.keys() else F.cat(outputs, 1)
    for name, layer in module.children():
        x = _collect_layer(layer, x, prefix + name, wanted, found)
        if x is None:
            return None
    return x


def _collect_layer(layer, x, name, wanted, found):
    inner = isinstance(layer, Sequential) and any(w.startswith(f"{name}.") for w in wanted - found.keys())
    y = _collect(layer, x, f"{name}.", wanted, found) if inner else layer(x)
    if y is not None and name in wanted:
        found[name] = y
    return None if wanted <= found.keys() else y
