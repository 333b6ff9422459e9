r"""A number that remembers

**Aim.** A number knows which numbers it was made from, so that the derivative of the last by each of them can be had.

30 minutes, difficulty 1 of 5. Python is all you need: no NumPy yet.

## What to know

A computation is a graph: `c = a * b + a` makes a product and a sum, and each knows its two parents. A number needs
three things: its `value`, its `parents`, and its `slopes`: for each parent, by how much it grows when that parent
grows by a little. For a product a·b the slope by a is b, and by b it is a.

The chain rule, walked backwards: the last number has the gradient 1 by itself. Whoever has the gradient g hands g
times its slope to each parent. A number that is used twice gets a contribution from each use, and the two **add up**.
A Number can be a key of a dictionary: two are equal only if they are the same object. The file gives
`Number(value, parents=(), slopes=())`, and `number(x)`, which makes a Number of a plain number and hands on what is
one already.

So a number may hand on its own gradient only when all its users have been visited: the order matters, and it is the
order in which the numbers were made, backwards.

## The mathematics

$$ \frac{\partial\,\text{last}}{\partial x} = \sum_{y\ \text{made from}\ x} \frac{\partial\,\text{last}}{\partial y}\,
\frac{\partial y}{\partial x} $$

An order in which parents come before what was made from them is called topological. To find one: keep a list of what
is still to do, with `last` on it. Look at the number on top. If some of its parents are not in the order yet, put
these on top; else it leaves the list and goes into the order, unless it is there already. Keep a set of what is there,
too: `in` looks through a whole list, but finds in a set at once. It takes a loop and a list; a function that calls
itself would do for small graphs, but Python stops it at a depth of about 1000, and a network with a training loop is
deeper.

## When it works

```py
from number import Number, gradients

x = Number(2.0)
y = x
for _ in range(50):  # y = x^51, by repeated products
    y = y * x
print(gradients(y)[x], 51 * 2.0**50)  # the same
```

Write `__truediv__` with the quotient rule, and Newton's method for the square root of 2 with your own derivative.

## In the engine

`minigrad/tensor.py` and `minigrad/autograd.py`. There a Tensor holds the Function that made it, and the Function
holds the inputs: one object more, so that a function can bring a derivative of its own and be told apart by its class
(in guided backpropagation, say). Gradients live in a dictionary of the pass as here, not on the numbers, so that
asking twice gives the same answer.

## Hints

1. `__mul__`: the new Number has the value `self.value * other.value`, the parents `(self, other)` and the slopes
   `(other.value, self.value)`: by self it is the *other* one's value.
2. `order`: `stack = [last]`, and while it holds something, look at `stack[-1]`. A set of what is in the order already
   (`done`) answers whether a parent is missing. A number may be on the stack twice: skip it the second time.
3. `gradients`: a dictionary that begins with 1.0 for `last`, and a loop through `reversed(order(last))`. To each
   parent goes the number's own gradient times the slope, added to what the parent has; `get(parent, 0.0)` is that.
"""


class Number:
    """A number, the numbers it was made from (`parents`), and its derivative by each of them (`slopes`)."""

    def __init__(self, value, parents=(), slopes=()):
        self.value, self.parents, self.slopes = value, parents, slopes

    def __add__(self, other):
        """self + other; other is a Number or a plain number."""
        # YOURS: make other a Number with number(other), then return a Number with the sum, its parents and its slopes
        other = number(other)
        return Number(self.value + other.value, (self, other), (1.0, 1.0))
        # END

    def __mul__(self, other):
        """self * other; other is a Number or a plain number."""
        # YOURS: as in __add__, with the product and the slope by each of its two factors
        other = number(other)
        return Number(self.value * other.value, (self, other), (other.value, self.value))
        # END

    def __pow__(self, n):
        """self to the power n, a plain number, negative or a fraction too; self is not 0."""
        # YOURS: return a Number with one parent; the slope of x^n is n x^(n-1)
        return Number(self.value**n, (self,), (n * self.value ** (n - 1),))
        # END

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -number(other)

    def __rsub__(self, other):
        return number(other) + -self


def number(x):
    """x itself if it is a Number, else a Number of it."""
    return x if isinstance(x, Number) else Number(x)


def order(last):
    """A list of all Numbers that `last` was made from, and `last`: each once, parents before their children."""
    # YOURS: walk from last to its parents with a list of what is still to do; a number enters when all its parents have
    result, done, stack = [], set(), [last]
    while stack:
        top = stack[-1]
        missing = [parent for parent in top.parents if parent not in done]
        if missing:
            stack += missing
        else:
            stack.pop()
            if top not in done:
                done.add(top)
                result.append(top)
    return result
    # END


def gradients(last):
    """{Number: derivative of `last` by it}, for all Numbers in order(last), be it 0."""
    # YOURS: start with 1.0 for last; go through the order backwards and add gradient times slope to each parent
    found = {last: 1.0}
    for x in reversed(order(last)):
        for parent, slope in zip(x.parents, x.slopes, strict=True):
            found[parent] = found.get(parent, 0.0) + found[x] * slope
    return found
    # END
