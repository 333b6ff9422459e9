r"""Arrays: broadcasting and its way back

**Aim.** From numbers to arrays: gradients keep the shape and the dtype of what they belong to, and you can test any
of them by finite differences.

40 minutes, difficulty 2 of 5. NumPy's broadcasting is all that is new.

## What to know

NumPy stretches shapes until they fit: (3,1) + (4,) is (3,4). It compares shapes from the right; an axis that is
missing or has length 1 is repeated. On the way back, a value that was used many times gets the **sum** of the
gradients of its copies (stage 1 again: what is used twice adds up). So the gradient of `a` in `a + b`, of shape
(3,4), is added up over each axis that was stretched, until it has `a`'s shape: over leading axes that were missing,
which go, and over axes of length 1, which stay.

The dtype is worth the same care. Networks compute in float32; one `np.ones(3)` is float64, and from there on
everything is, at half the speed and twice the memory, and no error says so; an array of int64 times one of float32
is float64 too. The rule of this course: arrays, and NumPy's own numbers such as `x.sum()`, keep their dtype, Python's
numbers become float32.

## The mathematics

For y = f(x) and a loss L, g is the array of ∂L/∂y, of y's shape. Then

$$ \frac{\partial L}{\partial a} = \mathrm{sum\_to}(g,\ \mathrm{shape}(a)) \ \text{for}\ a + b, \qquad
\mathrm{sum\_to}(g\,b,\ \mathrm{shape}(a)) \ \text{for}\ a\,b . $$

A derivative is tested by a central difference: its error falls with the *square* of the step h, while that of the
one-sided difference falls only with h.

$$ \frac{\partial f}{\partial x_i} \approx \frac{f(x + h e_i) - f(x - h e_i)}{2h} $$

In float64 and with h = 1e-6 about nine digits are right; in float32, with that h, one or two, and four or five at best.

## When it works

```py
import numpy as np
from arrays import differences, mul_back

a, b = np.random.rand(3, 1), np.random.rand(4)
by_a, by_b = mul_back(np.ones((3, 4)), a, b)
print(abs(by_a - differences(lambda a: (a * b).sum(), a)).max())  # below 1e-9
```

Try `differences(lambda a: np.exp(a).sum(), a, h)`, whose gradient is `np.exp(a)`, with h = 1e-2, 1e-4, ..., 1e-14:
where is the error least, and why does it grow again?

## In the engine

`sum_to` in `minigrad/functional/broadcast.py` is a Function, so that it can be differentiated (you will do that in
stage 3). `mg.check_gradients` (`minigrad/tools/gradcheck.py`) looks along random directions: two evaluations for an
array of any size, where `differences` needs two for each element.

## Hints

1. `as_array`: Python's `float` becomes float64 in NumPy, `int` int64. Ask `isinstance(data, np.ndarray | np.generic)`
   first; only what was no array is made one with `np.asarray(data, np.float32)`.
2. `sum_to`: first the axes that were missing: there are `g.ndim - len(shape)` of them, at the front; sum over them.
   Then each axis where `shape` has 1 and g has more: sum with `keepdims=True`.
3. `differences`: copy x to float64, loop over `np.ndindex(x.shape)`, set one element to its value + h, then - h, and
   **put it back**. Divide by `(2 * h)`.
"""

import numpy as np


def as_array(data):
    """data as an np.ndarray: NumPy's data keep their dtype, Python's numbers and lists of them become float32."""
    # YOURS: return an array as it is (np.ndarray, and NumPy's own numbers, np.generic); anything else as float32
    return np.asarray(data) if isinstance(data, np.ndarray | np.generic) else np.asarray(data, np.float32)
    # END


def sum_to(g, shape):
    """g added up to `shape`, from which broadcasting had made g's shape; g's dtype."""
    # YOURS: sum over the leading axes that shape lacks, then with keepdims over those where shape has 1
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] > 1)
    return g.sum(axis=stretched, keepdims=True)
    # END


def add_back(g, a, b):
    """The gradients by a and by b (arrays that broadcast) of their sum, from g, the sum's own: two arrays."""
    # YOURS: the slope of a sum is 1 by both; bring g back to each one's shape
    return sum_to(g, a.shape), sum_to(g, b.shape)
    # END


def mul_back(g, a, b):
    """The same for the product a * b."""
    # YOURS: g times the other factor, brought back to each one's shape
    return sum_to(g * b, a.shape), sum_to(g * a, b.shape)
    # END


def sum_back(g, shape, axis):
    """The gradient, of this `shape`, of x in x.sum(axis), from g; axis: one number, not negative."""
    # YOURS: give g its lost axis back with np.expand_dims, then repeat it with np.broadcast_to
    return np.broadcast_to(np.expand_dims(g, axis), shape)
    # END


def differences(f, x, h=1e-6):
    """The gradient of f, from arrays to one number, at x by central differences: float64, of x's shape; x stays."""
    # YOURS: on a float64 copy of x, move one element after the other by +h and -h, and put it back
    x = np.array(x, np.float64)
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        value = x[place]
        x[place] = value + h
        above = f(x)
        x[place] = value - h
        below = f(x)
        x[place] = value
        found[place] = (above - below) / (2 * h)
    return found
    # END
