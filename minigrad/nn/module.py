"""Networks: modules, chains of them and branches.

A Module holds parameters (Tensors that require grad), buffers (Tensors that do not, such as running means) and inner
modules, found by their attribute names, and computes in `forward`. An inner module of an inner module is named with a
dot, "fire2.squeeze". Whoever wants to know what happens inside a network observes its calls (observe.py): it holds for
chains, for branches, for graphs of named nodes (graph.py) and for a `forward` of your own.
"""

import copy
import difflib
from collections.abc import Iterator
from typing import Any, Self

from .. import functional as F
from ..device import device_of, to_device
from ..guard import Constant
from ..tensor import Tensor, as_tensor
from .observe import Collected, called, observed
from .peephole import in_turn


class Module:
    """Base of layers and networks. A subclass sets Tensors and Modules as attributes and defines `forward(x, ...)`."""

    training = False
    buffers: tuple[str, ...] = ("running_mean", "running_var")  # not learnt; a subclass may add its own
    _constants: Any = ()  # of a frozen network, what keeps its parameters read-only
    _called: Any = staticmethod(called)  # of a frozen network, by plan.py

    def forward(self, *inputs: Any) -> Any:
        """The output of the module, a Tensor or a tuple of them."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def __call__(self, *inputs: Any) -> Any:
        return self._called(self, *inputs)

    # ---- what is inside ----------------------------------------------------------------------------------------------

    def children(self) -> list:
        """(name, module) of the modules directly inside."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Module)]

    def named_modules(self, prefix: str = "") -> list:
        """(dotted name, module) of all modules inside, those within another before it: a chain's order of execution."""
        found = []
        for name, child in self.children():
            found += [*child.named_modules(f"{prefix}{name}."), (prefix + name, child)]
        return found

    def names(self) -> list[str]:
        """The dotted names of all modules inside, in the order of `named_modules`."""
        return [name for name, _ in self.named_modules()]

    def __getitem__(self, name: str) -> Any:
        """The module inside of that dotted name, this one for "". Raises ValueError, with all names, for any other."""
        found: Any = self
        for part in str(name).split(".") if name != "" else ():
            found = dict(found.children()).get(part)
            if found is None:
                near = " or ".join(difflib.get_close_matches(str(name), self.names()))
                near = f", did you mean {near}?" if near else "; the layers are: " + ", ".join(self.names())
                raise ValueError(f"there is no layer {name!r}{near}")
        return found

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    __iter__: Any = None  # not by Python's old way, asking for [0], [1] ...

    def activations(self, x: Tensor, names: str | list[str] | tuple[str, ...]) -> dict[str, Tensor]:
        """{name: Tensor}, the outputs of the modules `names` inside, by one pass that ends when it has them all.

        x: the network's input. names: one or several, dotted; of a module that runs several times, the first output.
        Each Tensor can be differentiated by. Raises ValueError for a name there is not, or a module that did not run.
        """
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            self[name]
        found = Collected(wanted)
        with observed(self, found):
            self(as_tensor(x))
        missing = [name for name in wanted if name not in found.outputs]
        if missing:
            raise ValueError(f"activations: layer {missing[0]!r} is there, but did not run in this pass")
        return {name: found.outputs[name] for name in wanted}

    def layers(self, input_shape: tuple[int, ...] | None = None) -> list:
        """One `Layer` record for each module inside: name, kind, output shape, parameters, FLOPs, receptive field.

        input_shape: (C, H, W) of one image; by default (3, *input_size) of a model that has an `input_size`.
        """
        from ..tools.summary import summarize

        return summarize(self, input_shape)

    # ---- parameters --------------------------------------------------------------------------------------------------

    def named_tensors(self, prefix: str = "") -> list[tuple[str, Tensor]]:
        """(dotted name, Tensor) of all parameters and buffers, outermost first."""
        found = [(prefix + name, value) for name, value in vars(self).items() if isinstance(value, Tensor)]
        for name, child in self.children():
            found += child.named_tensors(f"{prefix}{name}.")
        return found

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """(dotted name, Tensor) of the tensors that require grad."""
        return [(name, tensor) for name, tensor in self.named_tensors() if tensor.requires_grad]

    def parameters(self) -> list[Tensor]:
        """The tensors that require grad."""
        return [tensor for _, tensor in self.named_parameters()]

    def requires_grad_(self, value: bool = True) -> Self:
        """Let all parameters require grad, or freeze them; returns the module. Integers, and `buffers`, are left alone.

        A frozen module's parameters are read-only, so that kernels may keep what they derive from them. Assign to
        `.data` to replace one.
        """
        for name, tensor in vars(self).items():
            if isinstance(tensor, Tensor) and name not in self.buffers and tensor.dtype.kind == "f":
                tensor.requires_grad = value
        for _, child in self.children():
            child.requires_grad_(value)
        self._hold_constants()
        if value:
            vars(self).pop("_called", None)
        else:
            from .plan import Plans

            vars(self).setdefault("_called", Plans())
        return self

    def _hold_constants(self):
        own = [(name, tensor) for name, tensor in vars(self).items() if isinstance(tensor, Tensor)]
        held = [Constant.of(x.data) for name, x in own if name not in self.buffers and not x.requires_grad]
        vars(self).setdefault("_constants", [])[:] = held  # the same list: a new one would be an attribute that changed

    def state_dict(self) -> dict:
        """{dotted name: array} of parameters and buffers; the arrays are the module's own."""
        return {name: tensor.data for name, tensor in self.named_tensors()}

    def load_state_dict(self, state: dict) -> None:
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
        self._renew_constants()

    def to(self, device: str) -> Self:
        """Move parameters, their gradients and buffers to `device`, in place; returns the module.

        device: "cpu", "cuda" (the current GPU), "cuda:1", or "auto" (a GPU if there is one).
        """
        for _, tensor in self.named_tensors():
            tensor.data = to_device(tensor.data, device)
            tensor.grad = None if tensor.grad is None else tensor.grad.detach().to(device)
        self._renew_constants()
        return self

    def _renew_constants(self):
        """After parameters were replaced: what was frozen stays so."""
        if self._constants:
            self._hold_constants()
        for _, child in self.children():
            child._renew_constants()

    def __setstate__(self, state: dict) -> None:  # of a copy, whose arrays are its own
        vars(self).update(state)
        if "_called" in state:
            self._called = copy.copy(self._called)  # without the plans of the other
        if self._constants:
            self._constants = []
            self._hold_constants()

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set training mode (dropout drops, batch norm uses the batch); returns the module."""
        self.training = mode
        for _, child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode, which is where modules start; returns the module."""
        return self.train(False)

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}: {value!r}" for name, value in self.describe().items())
        return f"{type(self).__name__}({inner})"

    def describe(self) -> dict:
        """{argument: value} that builds the module again; empty for one without arguments."""
        return {}


# ---- containers ------------------------------------------------------------------------------------------------------


def check_layer(owner: str, name: str, layer: Any) -> None:
    """Refuse what is no layer of a container, or no name for one."""
    if not isinstance(layer, Module):
        raise TypeError(f"{owner}: layer {name!r} is {type(layer).__name__}, expected a Module")
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(f"{owner}: layer name {name!r} must not be empty or hold a dot")


class Sequential(Module):
    """Named layers, one after the other: `Sequential({"conv1_1": Conv2d(...), "relu1_1": ReLU(), ...})`.

    A layer is `model["conv1_1"]`; one inside a layer is named with a dot, `model["fire2.squeeze"]`.
    """

    def __init__(self, layers: dict[str, Any]) -> None:
        for name, layer in layers.items():
            check_layer(type(self).__name__, name, layer)
        self._layers = dict(layers)

    def children(self) -> list:
        return list(self._layers.items())

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(self._layers.items(), x)

    def replace(self, layers: dict[str, Any]) -> Any:
        """The same container of other layers, {name: layer}, which are shared, not copied."""
        return type(self)(layers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


class Parallel(Sequential):
    """Named branches that all see the same input; their outputs are concatenated over channels."""

    def forward(self, x: Tensor) -> Tensor:
        return F.cat([branch(x) for branch in self._layers.values()], 1)
