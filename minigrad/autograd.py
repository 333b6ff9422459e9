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
import threading
import weakref
from typing import Any

import numpy as np

from .backend import awake, current_device, device_of, one_device
from .tensor import Forgotten, Tensor, as_tensor


class _Mode(threading.local):
    """Per-thread switches: is a graph recorded, are NaNs looked for, is this a backward pass, who watches it."""

    recording = True
    anomaly = False
    backward = False
    observer: Any = None


_mode = _Mode()
_on_cpu = contextlib.nullcontext()


class Function:
    """An operation with its derivative.

    A subclass takes its parameters in `__init__`, computes on arrays in `forward(*arrays)`, and gives in `vjp(g)`, on
    Tensors, the gradient for its input, or a tuple with one for each (None for an input without one). `vjp` may use

        self.inputs             the Tensors it was called with
        self.output             the Tensor it made
        self.needs_input_grad   for each input, whether anyone asked: what is not needed may be left None
        self.constants()        the arrays given in `__init__` that it needs, which stay read-only like the inputs

    and is written in public functions, so that it can be differentiated in turn. Calling an instance runs it, once:
    `ReLU()(x)`.
    """

    def forward(self, *arrays):
        """The output array, from the input arrays."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def vjp(self, g):
        """The gradients by the inputs, from the gradient g by the output."""
        raise NotImplementedError(f"{type(self).__name__} has no derivative")

    def constants(self):
        """Arrays besides the inputs' that vjp needs and that a caller could write to."""
        return ()

    def __call__(self, *inputs):
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
            self.inputs = inputs
            self.needs_input_grad = tuple(x.requires_grad for x in inputs)
            self._output = weakref.ref(output)  # weak: output -> function -> output would need the garbage collector
            self._used = (*arrays, output.data)
            self._read_only = ReadOnly((*self._used, *self.constants()))
            output.requires_grad = True
            output.function = self
        return output

    def _device(self, arrays):
        """The context in which forward runs, with the arrays' GPU the current one; TypeError if they are on several."""
        if all(type(array) is np.ndarray for array in arrays):
            return _on_cpu
        if len({device_of(array) for array in arrays}) > 1:  # the names are only for the error
            kind = type(self).__name__
            names = list(inspect.signature(self.forward).parameters)
            names = [names[i] if len(names) >= len(arrays) else f"{names[0]}[{i}]" for i in range(len(arrays))]
            public = {name.replace("_", ""): name for name in dir(F)}.get(kind.lower(), kind)
            one_device(public, dict(zip(names, arrays, strict=True)))
        return current_device(arrays[0])

    @property
    def output(self):
        """The Tensor this function made."""
        output = self._output()
        if output is None:
            raise RuntimeError(
                f"{type(self).__name__}.output: the output is gone; keep it while its function is in use"
            )
        return output

    def _check_unchanged(self):
        """Refuse to differentiate at other values than those `forward` saw."""
        for i, (x, array) in enumerate(zip((*self.inputs, self.output), self._used, strict=True)):
            if not isinstance(x, Forgotten) and x.data is not array:
                which = f"inputs[{i}]" if i < len(self.inputs) else "the output"
                raise RuntimeError(
                    f"{type(self).__name__}: the data of {which} (shape {x.shape}) was replaced after the graph "
                    "used it, so its gradient would be wrong; compute the output again"
                )


class _Guard:
    """Makes the arrays that a graph needs read-only while the graph lives.

    Writing into them is then NumPy's error at the line that writes, and not a wrong gradient later. Counted, since one
    array serves many functions. An array that is a view has its base held with it, so that nothing is written through
    that either.

    What passes unseen: a write through another view that was taken before the graph used the memory (NumPy lets a view
    keep its own flag), and any write to CuPy's arrays, which have no such flag.
    """

    def __init__(self):
        self.lock = threading.RLock()  # reentrant: a function may be freed while this thread holds the lock
        self.counts = {}  # id of array -> number of holds; who holds an array keeps it alive, so the id stays its own
        self.waiting = {}  # id of a held base -> {id: weak reference to a view of it that is free again}

    def hold(self, arrays):
        """Hold the arrays and their bases; returns what was held, which is what to release."""
        held = []
        with self.lock:
            for array in arrays:
                while isinstance(array, np.ndarray):
                    if id(array) in self.counts or array.flags.writeable:  # else read-only by someone else's will
                        self.counts[id(array)] = self.counts.get(id(array), 0) + 1
                        array.flags.writeable = False
                        held.append(array)
                    array = array.base
        return held

    def release(self, held):
        with self.lock:
            for array in held:
                self.counts[id(array)] -= 1
            for array in reversed(held):  # bases before their views: a view cannot be made writeable before its base
                if self.counts.get(id(array)) == 0:
                    del self.counts[id(array)]
                    self._free(array)

    def _free(self, array):
        base = array.base
        if isinstance(base, np.ndarray) and not base.flags.writeable:
            if id(base) in self.counts:
                self.waiting.setdefault(id(base), {})[id(array)] = weakref.ref(array)
            return
        with contextlib.suppress(ValueError):  # np.from_dlpack's arrays stay read-only for good
            array.flags.writeable = True
        for view in self.waiting.pop(id(array), {}).values():
            if (view := view()) is not None and id(view) not in self.counts:
                self._free(view)


_guard = _Guard()


class ReadOnly:
    """Keeps arrays from being written to for as long as it lives."""

    def __init__(self, arrays):
        self._held = _guard.hold(arrays)

    def __del__(self):
        _guard.release(self._held)


# ---- gradients -------------------------------------------------------------------------------------------------------


def grad(outputs, inputs, grad_outputs=None, rules=None, create_graph=False):
    """Gradients of `outputs` (their sum, weighted by `grad_outputs`) by each of `inputs`.

    outputs: a Tensor or a sequence of them.
    inputs: a Tensor or a sequence; leaves or intermediates, anything the outputs were computed from.
    grad_outputs: what to start from, one for each output and of its shape; may be left out for one-element outputs.
    rules: {Function class: rule}. `rule(function, g)` stands in for `function.vjp(g)` at every function of that class,
        in this call only: an attribution method is such a set of rules.
    create_graph: record the backward pass as well, so that its result can be differentiated.

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

    gradients = _backward_pass(outputs, inputs, _starts("grad", outputs, grad_outputs), rules or {}, create_graph)
    for i, x in enumerate(inputs):
        if id(x) not in gradients:
            raise ValueError(f"grad: no output depends on inputs[{i}] (shape {x.shape})")
    found = tuple(gradients[id(x)] for x in inputs)
    return found if sequence else found[0]


def backward(output, gradient=None, rules=None):
    """Add the gradient of `output` to `.grad` of every leaf it was computed from that requires grad.

    gradient, rules: as in `grad`. Raises ValueError for a non-scalar output without `gradient`.
    """
    start = _starts("backward", (output,), None if gradient is None else (gradient,))
    functions = _functions_before((output,))
    tensors = [output, *(x for f in functions for x in f.inputs)]
    leaves = {id(x): x for x in tensors if x.requires_grad and x.function is None}
    gradients = _backward_pass((output,), tuple(leaves.values()), start, rules or {}, create_graph=False)
    for key, leaf in leaves.items():
        leaf.grad = gradients[key] if leaf.grad is None else leaf.grad.detach() + gradients[key]


def _starts(caller, outputs, grad_outputs):
    """The gradients to start from, checked."""
    if isinstance(grad_outputs, Tensor) or hasattr(grad_outputs, "dtype"):
        grad_outputs = (grad_outputs,)
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
            starts[i] = F.ones_like(y)
            continue
        starts[i] = g = as_tensor(g)
        if g.shape != y.shape:
            raise ValueError(f"{caller}: the gradient for outputs[{i}] has shape {g.shape}, expected {y.shape}")
    return starts


def _backward_pass(outputs, inputs, starts, rules, create_graph):
    """{id of input: its gradient}. Everything accumulated lives here, so a second pass gives the same answer."""
    wanted = {id(x) for x in inputs}
    functions = _functions_before(outputs)  # inputs before outputs

    # Forward along the graph: which functions lead from a wanted input to the outputs?
    active = set()
    for f in functions:
        if any(id(x) in wanted or x.function in active for x in f.inputs):
            active.add(f)

    gradients = {}
    for y, g in zip(outputs, starts, strict=True):
        _accumulate(gradients, y, g)

    with awake(), _recording(create_graph), _switched("backward", True):
        for f in reversed(functions):
            if f not in active or id(f.output) not in gradients:
                continue
            f._check_unchanged()
            key = id(f.output)
            g = gradients[key] if key in wanted else gradients.pop(key)
            f.needs_input_grad = tuple(id(x) in wanted or x.function in active for x in f.inputs)
            rule = next((rules[kind] for kind in type(f).__mro__ if kind in rules), None)
            vjp = f.vjp if rule is None else functools.partial(rule, f)
            try:
                gxs = vjp(g) if _mode.observer is None else _mode.observer.vjp(f, vjp, g)
            except FloatingPointError as error:  # from detect_anomaly: vjp is made of other functions
                raise FloatingPointError(f"{error}, in {type(f).__name__}.vjp") from None
            gxs = gxs if isinstance(gxs, tuple | list) else (gxs,)
            _check_gradients(f, gxs)
            for x, gx, needed in zip(f.inputs, gxs, f.needs_input_grad, strict=True):
                if needed and gx is not None:
                    _accumulate(gradients, x, gx)
    return {key: g for key, g in gradients.items() if key in wanted}


def _accumulate(gradients, x, g):
    """Add g to the gradient of x, in the dtype of x."""
    if g.dtype != x.dtype:
        g = F.cast(g, x.dtype)
    earlier = gradients.get(id(x))
    gradients[id(x)] = g if earlier is None else earlier + g


def _functions_before(outputs):
    """All functions that led to the outputs, each after those it depends on. Iterative, so that depth is no limit."""
    order, seen = [], set()
    stack = [y.function for y in outputs if y.function]
    while stack:
        f = stack[-1]
        if f in seen:
            stack.pop()
            continue
        waiting = [x.function for x in f.inputs if x.function and x.function not in seen]
        if waiting:
            stack.extend(waiting)
        else:
            seen.add(f)
            order.append(f)
            stack.pop()
    return order


def _check_gradients(f, gxs):
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


def _recording(value):
    return _switched("recording", value)


def is_recorded(*inputs):
    """Whether a function of these Tensors is noted in a graph: one of them requires grad, and not within no_grad."""
    return _mode.recording and any(x.requires_grad for x in inputs)


def no_grad():
    """`with mg.no_grad():` (or `@mg.no_grad()`) computes without recording a graph, in this thread."""
    return _recording(False)


def detect_anomaly():
    """`with mg.detect_anomaly():` raises FloatingPointError where a NaN first appears, forward or backward."""
    return _switched("anomaly", True)


_UNWATCHED = contextlib.nullcontext()


def watched(module):
    """The context in which a module runs: whoever observes this thread (see profile.py) learns which one it is."""
    return _UNWATCHED if _mode.observer is None else _mode.observer.inside(module)


def is_observed():
    """Whether someone observes this thread, and is to see every layer run."""
    return _mode.observer is not None


def _refuse_nan(tensor, where, inputs):
    if tensor.dtype.kind != "f":
        return
    with current_device(tensor.data):
        found = bool((tensor.data != tensor.data).any())
    if found:
        shapes = ", ".join(str(x.shape) for x in inputs)
        raise FloatingPointError(f"a NaN first appeared in {where}, called with inputs of shape {shapes}")


from . import functional as F  # noqa: E402  (see the end of tensor.py)
