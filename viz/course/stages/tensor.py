r"""Tensors: functions with a derivative of their own

**Aim.** A tensor remembers the function that made it, and a function says its derivative on tensors, so that
derivatives can be differentiated again.

60 minutes, difficulty 3 of 5. Stages 1 and 2 are put together: the graph and the order of the first, the arrays and
the `sum_to` of the second.

## What to know

A **Function** computes on arrays (`forward`) and knows its vjp: from g, the gradient by its output, the gradient by
each of its inputs. (vjp is for vector-Jacobian product: g times the matrix of all slopes, which nobody writes down.)
What `forward` takes are arrays; what `vjp` takes and returns are **Tensors**, computed with the same functions. That
is the whole trick: the gradient then has a graph too, and second derivatives cost not one line more.

Python's numbers become Tensors of float32, by stage 2's rule, in a graph of float64 too: there `x / 3.0` and `x.mean()`
have float32's seven digits. Networks here compute in float32; where digits count, write `np.float64(3)`.

Two functions undo each other's shapes. `SumTo` adds up to a shape and its vjp stretches: `Expand`. The vjp of
`Expand` is `SumTo`. Reshape and permute go back by the reverse reshape and permute. And `relu` passes g where its
input was above 0: the mask is a constant, it has no derivative.

`grad` walks as `gradients` did, with a dictionary from tensors to gradients. Only tensors that depend on a wanted
input matter; the others are skipped. And it takes `rules`: a dictionary from a class of Functions to what shall be
used in the place of its vjp. That is one line, and all that guided backpropagation needs.

## The mathematics

For C = A B (matrices) with the gradient G of C's shape:

$$ \frac{\partial L}{\partial A} = G B^T, \qquad \frac{\partial L}{\partial B} = A^T G . $$

There is no need to remember it: the shapes allow nothing else. For y = xⁿ: g n xⁿ⁻¹; for y = eˣ: g y; for y = log x:
g / x.

## When it works

```py
import numpy as np
from tensor import Tensor, grad

x = Tensor(np.array(2.0))
for n in range(4):
    y = x**3 if n == 0 else grad(y, [x])[0]
    print(n, y.data)  # 8, 12, 12, 6: the cube and its derivatives at 2
```

What does the fourth derivative give, and why does it not fail?

## In the engine

`minigrad/autograd.py` and `minigrad/functional/elementwise.py` read like your file. What is more there: tensors that
need no gradient record nothing (here everything does); a Function is told which of its inputs' gradients are wanted,
so that the gradient by an image costs no gradient by weights; arrays that a graph still needs are read-only; and
errors have sentences.

## Hints

1. `Function.__call__`: make Tensors of the inputs, call `self.forward` on their `.data`, put the result into a Tensor
   with `function=self`, and keep the inputs as `self.inputs`.
2. `Mul.vjp`: `sum_to(g * b, a.shape)` and the same for b. The Tensor function `sum_to` is already there.
3. `MatMul.vjp`: `swap` exchanges the last two axes, so it is `g @ swap(b)` and `swap(a) @ g`; each through `sum_to`,
   as a batch of matrices may meet a single one.
4. `ReLU.vjp`: the mask is a plain array, `(x.data > 0).astype(x.dtype)`; `g * mask` makes it a Tensor.
5. `grad`: walk `order(output)`, whose Tensors have `t.function.inputs` for parents. `needed` begins with the ids of
   inputs, and a tensor is needed if one of its function's inputs is. Keys are `id(tensor)`.
6. `grad`: the line with rules is `parts = rules[type(f)](f, g) if type(f) in rules else f.vjp(g)`.
"""

import numpy as np
from arrays import as_array
from arrays import sum_to as sum_array_to


class Tensor:
    """An array, and the Function that made it (None if you made it)."""

    __array_ufunc__ = None  # array * Tensor asks Tensor.__rmul__

    def __init__(self, data, function=None):
        self.data, self.function = as_array(data), function

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)

    def __add__(self, other):
        return Add()(self, other)

    def __mul__(self, other):
        return Mul()(self, other)

    def __pow__(self, n):
        return Pow(n)(self)

    def __matmul__(self, other):
        return MatMul()(self, other)

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -tensor(other)

    def __rsub__(self, other):
        return tensor(other) + -self

    def __truediv__(self, other):
        return self * tensor(other) ** -1

    __radd__, __rmul__ = __add__, __mul__

    def sum(self, axis=None, keepdims=False):
        """The sum over an axis, several, or all."""
        axes = tuple(range(len(self.shape))) if axis is None else (axis,) if isinstance(axis, int) else axis
        axes = tuple(i % len(self.shape) for i in axes)
        kept = SumTo(tuple(1 if i in axes else n for i, n in enumerate(self.shape)))(self)
        return kept if keepdims else kept.reshape(tuple(n for i, n in enumerate(self.shape) if i not in axes))

    def mean(self, axis=None, keepdims=False):
        """The mean over an axis, several, or all."""
        total = self.sum(axis, keepdims)
        return total * (total.data.size / self.data.size)

    def reshape(self, shape):
        """The same elements in another shape; one length may be -1."""
        return Reshape(shape)(self)

    def permute(self, axes):
        """The axes in another order."""
        return Permute(axes)(self)


def tensor(x):
    """x itself if it is a Tensor, else a Tensor of it."""
    return x if isinstance(x, Tensor) else Tensor(x)


class Function:
    """An operation: `forward` on arrays, `vjp` on Tensors, one gradient for each of `self.inputs`."""

    def __call__(self, *inputs):
        """The Tensor of forward's result, which remembers this Function; this remembers the input Tensors."""
        # YOURS: make Tensors of the inputs and keep them as self.inputs; run forward on their arrays; return a Tensor
        self.inputs = tuple(tensor(x) for x in inputs)
        return Tensor(self.forward(*(x.data for x in self.inputs)), self)
        # END


class Add(Function):
    """a + b."""

    def forward(self, a, b):
        return a + b

    def vjp(self, g):
        a, b = self.inputs
        return sum_to(g, a.shape), sum_to(g, b.shape)


class Mul(Function):
    """a * b."""

    def forward(self, a, b):
        return a * b

    def vjp(self, g):
        """Two Tensors: by a and by b."""
        # YOURS: as in Add.vjp, with g times the other factor
        a, b = self.inputs
        return sum_to(g * b, a.shape), sum_to(g * a, b.shape)
        # END


class Pow(Function):
    """x to the power n, a number."""

    def __init__(self, n):
        self.n = n

    def forward(self, x):
        return x**self.n

    def vjp(self, g):
        """A tuple with one Tensor: by x."""
        # YOURS: g n x^(n-1), in a tuple
        (x,) = self.inputs
        return (g * self.n * x ** (self.n - 1),)
        # END


class Exp(Function):
    """e to the power x."""

    def forward(self, x):
        return np.exp(x)

    def vjp(self, g):
        return (g * exp(self.inputs[0]),)


class Log(Function):
    """The natural logarithm of x."""

    def forward(self, x):
        return np.log(x)

    def vjp(self, g):
        return (g / self.inputs[0],)


class ReLU(Function):
    """max(x, 0); the derivative at 0 is taken as 0."""

    def forward(self, x):
        return np.maximum(x, 0)

    def vjp(self, g):
        """A tuple with one Tensor: g where x is above 0, elsewhere 0."""
        # YOURS: g times a mask, an array of x's dtype
        (x,) = self.inputs
        return (g * (x.data > 0).astype(x.dtype),)
        # END


class MatMul(Function):
    """a @ b, matrices or batches of them."""

    def forward(self, a, b):
        return a @ b

    def vjp(self, g):
        """Two Tensors: by a and by b."""
        # YOURS: G B^T and A^T G, each through sum_to; swap(x) is the transpose
        a, b = self.inputs
        return sum_to(g @ swap(b), a.shape), sum_to(swap(a) @ g, b.shape)
        # END


class SumTo(Function):
    """x added up to a shape."""

    def __init__(self, shape):
        self.shape = shape

    def forward(self, x):
        return sum_array_to(x, self.shape)

    def vjp(self, g):
        return (Expand(self.inputs[0].shape)(g),)


class Expand(Function):
    """x stretched to a shape."""

    def __init__(self, shape):
        self.shape = shape

    def forward(self, x):
        return np.broadcast_to(x, self.shape)

    def vjp(self, g):
        return (SumTo(self.inputs[0].shape)(g),)


class Reshape(Function):
    """x in another shape."""

    def __init__(self, shape):
        self.shape = shape

    def forward(self, x):
        return x.reshape(self.shape)

    def vjp(self, g):
        return (g.reshape(self.inputs[0].shape),)


class Permute(Function):
    """x with its axes in another order."""

    def __init__(self, axes):
        self.axes = axes

    def forward(self, x):
        return x.transpose(self.axes)

    def vjp(self, g):
        return (g.permute(tuple(np.argsort(self.axes))),)


def exp(x):
    """e to the power of each element."""
    return Exp()(x)


def log(x):
    """The natural logarithm of each element."""
    return Log()(x)


def relu(x):
    """max(x, 0) of each element."""
    return ReLU()(x)


def sum_to(x, shape):
    """x added up to a shape from which broadcasting could have made x's."""
    return x if x.shape == shape else SumTo(shape)(x)


def swap(x):
    """x with its last two axes exchanged."""
    axes = tuple(range(len(x.shape)))
    return x.permute((*axes[:-2], axes[-1], axes[-2]))


def order(output):
    """A list of all Tensors that `output` was made from, and `output`: each once, inputs before results."""
    result, done, stack = [], set(), [output]
    while stack:
        top = stack[-1]
        missing = [x for x in top.function.inputs if id(x) not in done] if top.function else []
        if missing:
            stack += missing
        else:
            stack.pop()
            if id(top) not in done:
                done.add(id(top))
                result.append(top)
    return result


def grad(output, inputs, rules=None):
    """A list of Tensors, the derivative of output.sum() by each of `inputs`, zeros where there is none.

    rules: {class of Functions: rule(function, g)}; a rule is used in the place of the class's vjp.
    """
    # YOURS: 1 for output; backwards through order, add vjp's (or the rule's) parts to what is needed for inputs
    rules, tensors, needed = rules or {}, order(output), {id(x) for x in inputs}
    for t in tensors:
        if t.function and any(id(x) in needed for x in t.function.inputs):
            needed.add(id(t))
    found = {id(output): Tensor(np.ones_like(output.data))}
    for t in reversed(tensors):
        f = t.function
        if f is None or id(t) not in needed or id(t) not in found:
            continue
        g = found[id(t)]
        parts = rules[type(f)](f, g) if type(f) in rules else f.vjp(g)
        for x, part in zip(f.inputs, parts, strict=True):
            if id(x) in needed:
                found[id(x)] = found[id(x)] + part if id(x) in found else part
    return [found[id(x)] if id(x) in found else Tensor(np.zeros_like(x.data)) for x in inputs]
    # END
