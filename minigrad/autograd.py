"""Reverse-mode automatic differentiation.

A computation is a graph: Tensors are made by Functions from other Tensors. `grad` walks it from the outputs back to the
inputs and applies the chain rule at each Function: given g = d(output of everything)/d(output of this function), the
function's `vjp` (vector-Jacobian product) gives the same derivative for each of its inputs. That is all of it; the rest
of this file is which functions to visit, in which order, and the errors that keep a wrong gradient from passing as a
right one.
"""

import contextlib
import functools
import inspect
import operator
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .device import array_module, current_device, device_of, one_device
from .guard import ReadOnly
from .kernels import whole_pass  # within it the kernels' threads wait for the next function, not to be started again
from .tensor import Tensor, as_tensor


class _Mode(threading.local):
    """Per-thread switches: is a graph recorded, are NaNs looked for, who times functions, which pass is under way."""

    recording = True
    anomaly = False
    observer: Any = None
    backward: Any = None


_mode = _Mode()
_on_cpu = contextlib.nullcontext()


class Function:
    """An operation with its derivative.

    A subclass takes its parameters in `__init__`, computes on arrays in `forward(*arrays)`, and gives in `vjp(g)`, on
    Tensors, the gradient for its input, or a tuple with one for each (None for an input without one). `vjp` may use

        self.inputs             the Tensors it was called with
        self.output             the Tensor it made
        self.needs_input_grad   for each input, whether this pass asks for it: what is not needed may be left None
        self.constants()        the arrays given in `__init__` that it needs, which stay read-only like the inputs

    and is written in public functions, so that it can be differentiated in turn. Calling an instance runs it:
    `ReLU()(x)`; one that was recorded does not run again.
    """

    shortened = False  # of nn/plan.py, which stands for many

    def forward(self, *arrays: Any) -> Any:
        """The output array, from the input arrays."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def vjp(self, g: Tensor) -> Any:
        """The gradients by the inputs, from the gradient g by the output."""
        raise NotImplementedError(f"{type(self).__name__} has no derivative")

    def constants(self) -> tuple:
        """Arrays besides the inputs' that vjp needs and that a caller could write to."""
        return ()

    def __call__(self, *inputs: Any) -> Any:
        if hasattr(self, "inputs"):
            raise RuntimeError(f"{type(self).__name__}: an instance runs once (it keeps what vjp needs); make another")
        inputs = tuple(as_tensor(x) for x in inputs)
        arrays = tuple(x.data for x in inputs)
        with self._device(arrays):
            result = self.forward(*arrays) if _mode.observer is None else _mode.observer.forward(self, arrays)
        output = Tensor._wrap(np.asarray(result) if isinstance(result, np.generic) else result)
        if _mode.anomaly:
            _refuse_nan(output, f"{type(self).__name__}.forward", inputs)

        if is_recorded(*inputs) and output.dtype.kind == "f":
            self._note(inputs, output, (*arrays, output.data))
        return output

    def _note(self, inputs: tuple, output: Tensor, arrays: tuple) -> None:
        """Note in the graph that this function made `output` of Tensors `inputs`; arrays: theirs, and the output's."""
        self.inputs = inputs
        self._output = weakref.ref(output)  # weak: output -> function -> output would need the garbage collector
        self._used = arrays
        self._read_only = ReadOnly((*arrays, *self.constants()))
        output.requires_grad = True
        output._function = self

    def _device(self, arrays):
        """The context in which forward runs, with the arrays' GPU the current one; TypeError if they are on several."""
        if all(type(array) is np.ndarray for array in arrays):
            return _on_cpu
        if len({device_of(array) for array in arrays}) > 1:  # the names are only for the error
            names = list(inspect.signature(self.forward).parameters)
            names = [names[i] if len(names) >= len(arrays) else f"{names[0]}[{i}]" for i in range(len(arrays))]
            one_device(type(self).__name__, dict(zip(names, arrays, strict=True)))
        return current_device(arrays[0])

    @property
    def output(self) -> Any:
        """The Tensor this function made."""
        output = self._output()
        if output is None:
            raise RuntimeError(f"{type(self).__name__}.output: the output is gone; keep it for its function")
        return output

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """For each input, whether the backward pass that has come to this function asks for its gradient.

        It belongs to the pass: several may be under way, one inside another's rule, or in several threads. Outside of
        any it is whether the inputs require grad.
        """
        running = _mode.backward
        while running is not None and self not in running.needs:
            running = running.outer
        return tuple(x.requires_grad for x in self.inputs) if running is None else running.needs[self]

    def _check_unchanged(self):
        """Refuse to differentiate at other values than those `forward` saw."""
        for i, (x, array) in enumerate(zip((*self.inputs, self.output), self._used, strict=True)):
            if x.data is not array:
                which = f"inputs[{i}]" if i < len(self.inputs) else "the output"
                raise RuntimeError(
                    f"{type(self).__name__}: the data of {which} (shape {x.shape}) was replaced after the graph "
                    "used it, so its gradient would be wrong; compute the output again"
                )


def without_gradient(compute: Callable[..., Any], *inputs: Any) -> Any:
    """compute(*arrays) as a Tensor without a gradient, computed where the Tensors `inputs` are."""
    arrays = [x.data for x in inputs]
    with current_device(arrays[0]):
        result = compute(*arrays)
    return Tensor._wrap(np.asarray(result) if isinstance(result, np.generic) else result)


# ---- gradients -------------------------------------------------------------------------------------------------------


def grad(outputs: Tensor | list | tuple, inputs: Tensor | list | tuple, grad_outputs: Any = None,
         rules: dict[Any, Any] | None = None, create_graph: bool = False) -> Any:  # fmt: skip
    """Gradients of `outputs` (their sum, weighted by `grad_outputs`) by each of `inputs`.

    outputs: a Tensor or a sequence of them.
    inputs: a Tensor or a sequence; leaves or intermediates, anything the outputs were computed from.
    grad_outputs: what to start from, one for each output and of its shape; may be left out for one-element outputs.
    rules: {Function class: rule}. `rule(function, g)` stands in for `function.vjp(g)` at every function of that class,
        in this call only: an attribution method is such a set of rules.
    create_graph: record the backward pass as well, so that its result can be differentiated. Otherwise vjps and rules
        run as within `no_grad`: one that differentiates something new does so within `mg.enable_grad()`.

    Returns a Tensor, or a tuple of them if `inputs` was a sequence, of the inputs' shapes and dtypes. Only functions on
    a path from the inputs to the outputs are visited.

    Raises ValueError for a non-scalar output without its gradient and for an input that no output depends on.
    """
    outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    sequence = not isinstance(inputs, Tensor)
    inputs = tuple(inputs) if sequence else (inputs,)
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            raise TypeError(f"grad: inputs[{i}] is {type(x).__name__}, expected a Tensor")
        if not x.requires_grad:
            raise ValueError(f"grad: inputs[{i}] does not require grad; make it with requires_grad=True")

    starts = _starts("grad", outputs, grad_outputs)
    made_by = _finder(rules, create_graph)
    gradients = _BackwardPass(outputs, inputs, made_by).run(starts, rules or {}, create_graph)
    for i, x in enumerate(inputs):
        if id(x) not in gradients:
            raise ValueError(f"grad: no output depends on inputs[{i}] (shape {x.shape}), or a rule hands it nothing")
    found = tuple(gradients[id(x)] for x in inputs)
    return found if sequence else found[0]


def backward(output: Tensor, gradient: Tensor | None = None, rules: dict[Any, Any] | None = None) -> None:
    """Add the gradient of `output` to `.grad` of every leaf it was computed from that requires grad.

    gradient, rules: as in `grad`. Raises ValueError for a non-scalar output without `gradient`.
    """
    starts = _starts("backward", (output,), None if gradient is None else (gradient,))
    made_by = _finder(rules, create_graph=False)
    tensors = [output, *(x for f in functions_before((output,), made_by) for x in f.inputs)]
    leaves = {id(x): x for x in tensors if x.requires_grad and made_by(x) is None}
    gradients = _BackwardPass((output,), leaves.values(), made_by).run(starts, rules or {}, create_graph=False)
    for key, g in gradients.items():  # a rule may have left a leaf without one
        leaf = leaves[key]
        leaf.grad = g if leaf.grad is None else leaf.grad.detach() + g


class _BackwardPass:
    """One walk back along a graph. All that is accumulated or asked for is kept here, never on a function, so a second
    pass gives the same answer and passes do not disturb each other."""

    def __init__(self, outputs, inputs, made_by):
        self.outer = _mode.backward  # the pass in whose rule this one was begun
        self.outputs = outputs
        self.wanted = {id(x) for x in inputs}
        self.gradients = {}  # id of a Tensor -> what it has received so far
        self.needs = {}  # Function that leads from a wanted input to the outputs -> for each input, is it needed?
        for f in functions_before(outputs, made_by):  # inputs before outputs
            needed = tuple(id(x) in self.wanted or made_by(x) in self.needs for x in f.inputs)
            if any(needed):
                self.needs[f] = needed

    def run(self, starts, rules, create_graph):
        """{id of input: its gradient}."""
        for y, g in zip(self.outputs, starts, strict=True):
            self.accumulate(y, g)
        with whole_pass(), _switched("recording", create_graph), _switched("backward", self):
            for f in reversed(self.needs):
                key = id(f.output)
                if key not in self.gradients:
                    continue
                f._check_unchanged()
                g = self.gradients[key] if key in self.wanted else self.gradients.pop(key)
                for x, gx, needed in zip(f.inputs, _gradients(f, g, rules), self.needs[f], strict=True):
                    if needed and gx is not None:
                        self.accumulate(x, gx)
        return {key: g for key, g in self.gradients.items() if key in self.wanted}

    def accumulate(self, x, g):
        """Add g to the gradient of x, in the dtype of x."""
        g = g.astype(x.dtype)
        earlier = self.gradients.get(id(x))
        self.gradients[id(x)] = g if earlier is None else earlier + g


def _gradients(f, g, rules):
    """What f's vjp, or the rule for its class, gives for each input, checked."""
    rule = next((rules[kind] for kind in type(f).__mro__ if kind in rules), None)
    vjp = f.vjp if rule is None else functools.partial(rule, f)
    try:
        gxs = vjp(g) if _mode.observer is None else _mode.observer.vjp(f, vjp, g)
    except FloatingPointError as error:  # from detect_anomaly: vjp is made of other functions
        raise FloatingPointError(f"{error}, in {type(f).__name__}.vjp") from None
    gxs = gxs if isinstance(gxs, tuple | list) else (gxs,)

    name = type(f).__name__
    if len(gxs) != len(f.inputs):
        raise ValueError(f"{name}: the vjp or rule returned {len(gxs)} gradients for {len(f.inputs)} inputs")
    for i, (x, gx) in enumerate(zip(f.inputs, gxs, strict=True)):
        if gx is None:
            continue
        if not isinstance(gx, Tensor):
            raise TypeError(f"{name}: the vjp or rule returned {type(gx).__name__} for inputs[{i}], expected a Tensor")
        if gx.shape != x.shape:
            raise ValueError(f"{name}: the gradient for inputs[{i}] has shape {gx.shape}, expected {x.shape}")
        if _mode.anomaly:
            _refuse_nan(gx, f"{name}.vjp", f.inputs)
    return gxs


def _starts(caller, outputs, grad_outputs):
    """The gradients to start from, checked."""
    if isinstance(grad_outputs, Tensor) or hasattr(grad_outputs, "dtype"):
        grad_outputs = (grad_outputs,)
    if not isinstance(grad_outputs, list | tuple | None):
        kind = type(grad_outputs).__name__
        raise TypeError(
            f"{caller}: the gradient to start from must be a Tensor or an array, or a list of them, got {kind}"
        )
    starts = [None] * len(outputs) if grad_outputs is None else list(grad_outputs)
    if len(starts) != len(outputs):
        raise ValueError(f"{caller}: {len(outputs)} outputs but {len(starts)} grad_outputs")

    for i, (y, g) in enumerate(zip(outputs, starts, strict=True)):
        if not isinstance(y, Tensor):
            raise TypeError(f"{caller}: outputs[{i}] is {type(y).__name__}, expected a Tensor")
        if not y.requires_grad:
            raise ValueError(
                f"{caller}: outputs[{i}] was not computed from a tensor that requires grad (or under no_grad)"
            )
        if g is None:
            if y.size != 1:
                raise ValueError(
                    f"{caller}: outputs[{i}] has shape {y.shape}; only a one-element output can do without a gradient "
                    "to start from: sum it, or give one"
                )
            starts[i] = without_gradient(lambda array: array_module(array).ones_like(array), y)
            continue
        starts[i] = g = as_tensor(g)
        if g.shape != y.shape:
            raise ValueError(f"{caller}: the gradient for outputs[{i}] has shape {g.shape}, expected {y.shape}")
    return starts


def _finder(rules, create_graph):
    """How a pass finds the function that made a Tensor. A network that was replayed stays one function for a pass that
    cannot tell: without rules, higher orders and observers, and with the weights as they were."""
    if rules or create_graph or _mode.observer is not None or _mode.anomaly:
        return _made_by
    return functools.cache(lambda x: f if (f := x._function) and f.shortened and f.still_serves() else x.function)


_made_by = operator.attrgetter("function")


def functions_before(outputs: Iterable[Tensor], made_by: Callable[..., Any] = _made_by) -> list[Function]:
    """All functions that led to the outputs, each after those it depends on. Iterative, so that depth is no limit."""
    order: list[Function] = []
    seen: set[Function] = set()
    stack: list[Any] = [made_by(y) for y in outputs if made_by(y)]
    while stack:
        f = stack[-1]
        if f in seen:
            stack.pop()
            continue
        waiting = [made for x in f.inputs if (made := made_by(x)) and made not in seen]
        if waiting:
            stack.extend(waiting)
        else:
            seen.add(f)
            order.append(f)
            stack.pop()
    return order


# ---- modes -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _switched(name, value):
    """Within, this thread's switch `name` has another value."""
    earlier = getattr(_mode, name)
    setattr(_mode, name, value)
    try:
        yield
    finally:
        setattr(_mode, name, earlier)


def is_recorded(*inputs: Any) -> bool:
    """Whether a function of these Tensors is noted in a graph: one of them requires grad, and not within no_grad."""
    return _mode.recording and any(x.requires_grad for x in inputs)


def no_grad() -> Any:
    """`with mg.no_grad():` (or `@mg.no_grad()`) computes without recording a graph, in this thread."""
    return _switched("recording", False)


def enable_grad() -> Any:
    """`with mg.enable_grad():` records, also within no_grad and within a rule."""
    return _switched("recording", True)


def detect_anomaly() -> Any:
    """`with mg.detect_anomaly():` raises FloatingPointError where a NaN first appears, forward or backward."""
    return _switched("anomaly", True)


@contextlib.contextmanager
def observing_functions(caller: str, observer: Any) -> Iterator[None]:
    """Within it, this thread's functions run by observer.forward(function, arrays) and observer.vjp(function, vjp, g).

    Raises RuntimeError within another one.
    """
    if _mode.observer is not None:
        raise RuntimeError(f"{caller}: this thread is being profiled already; leave the outer `with` first")
    with _switched("observer", observer):
        yield


def unobserved() -> bool:
    """Whether nobody can tell, in this thread, by which functions something is computed."""
    return _mode.observer is None and not _mode.anomaly and _mode.backward is None


def constant(array: Any) -> Any:
    """The array, which was made of numbers alone: told to who observes functions and wants to know."""
    getattr(_mode.observer, "constant", id)(array)
    return array


def within_backward() -> bool:
    """Whether a backward pass is under way in this thread."""
    return _mode.backward is not None


def looks_for_nan() -> bool:
    """Whether this thread is within `with mg.detect_anomaly():`."""
    return _mode.anomaly


def _refuse_nan(tensor, where, inputs):
    if tensor.dtype.kind == "f" and bool(without_gradient(lambda array: (array != array).any(), tensor).data):
        shapes = ", ".join(str(x.shape) for x in inputs)
        raise FloatingPointError(f"a NaN first appeared in {where}, called with inputs of shape {shapes}")
