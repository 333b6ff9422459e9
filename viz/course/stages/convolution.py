r"""Convolution and pooling

**Aim.** A convolution, first as it is defined, then as one matrix product whose derivative comes for nothing.

60 minutes, difficulty 3 of 5.

## What to know

An output number is the sum of a window of the image times the weights: for image n, output channel o, place (i, j).
(It is not flipped: what networks call convolution, signal processing calls correlation.) Padding puts zeros around
the image first, so that a 3x3 kernel with padding 1 keeps the size.

Four nested loops say that and are slow. So copy: `Unfold` lays each window out as a column, (N, C·k·k, places), and
the convolution is **one product** of the weights as a matrix (O, C·k·k) with them. A pixel is copied into up to k·k
columns; on the way back their gradients add up in it (stage 1, once more): that is `Fold`. The two are each other's
vjp. A column holds channel after channel, each channel's window row by row; the places go row by row, too. The
`forward` of `Unfold` and `Fold` computes on arrays, but in `conv2d` you call the Function on a Tensor,
`Unfold(k, padding)(x)`, so that the graph knows of it. `conv2d` and `max_pool` compute on Tensors, which have `shape`,
`dtype`, `+`, `-`, `*`, `@`, `reshape`, `permute` and `sum`, but no indexing; `reshape` and `permute` take one tuple.

A 2x2 max pool keeps the largest of four. Its gradient goes to the pixel that won, and of equal ones to the **first**,
row by row: give all of it to each of them and it counts double. With a mask that is 1 at the winner, the pool is a
product and a sum, and needs no derivative of its own. The mask is an array, computed from `x.data`, of x's dtype.

## The mathematics

$$ y_{n,o,i,j} = b_o + \sum_{c,u,v} w_{o,c,u,v}\; x_{n,c,\,i+u-p,\,j+v-p} $$

with x taken as 0 outside of the image.

## When it works

```py
import numpy as np
from convolution import conv2d
from tensor import Tensor, grad

x, w = Tensor(np.random.rand(1, 1, 5, 5)), Tensor(np.random.rand(1, 1, 3, 3))
print(grad(conv2d(x, w, Tensor(np.zeros(1)), 1), [x])[0].data)  # borders get less: fewer windows see them
```

Make the gradient the target: what does `grad(..., [w])` look like as a convolution of x with g?

## In the engine

`minigrad/functional/conv.py` and `minigrad/kernels/plain.py`. There convolution is three Functions, itself and its
two gradients, each the derivative of the others, with strides, dilation and groups; and what runs is chosen for the
shape: blocks that fit into caches, or Winograd's algorithm.

## Hints

1. `conv_by_definition`: `np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))`, loops over i and j, and for each place
   `np.einsum("ncuv,ocuv->no", window, w) + b`.
2. `Unfold.forward`: pad, then for u and v below k the slice `x[:, :, u : u + h, v : v + w]`; `np.stack` them on axis
   2 and reshape to (N, C k k, P Q), where P = h = H + 2p - k + 1, and Q = w likewise from W.
3. `Fold.forward` does the reverse: reshape to (N, C, k, k, P, Q), `+=` each (u, v) into its slice of zeros of the
   padded size, and cut the border off.
4. `max_pool`: windows by reshape to (N, C, H/2, 2, W/2, 2), permute to (0, 1, 2, 4, 3, 5), reshape to (..., 4). The
   mask: `np.eye(4, dtype=...)[windows.data.argmax(-1)]`.
"""

import numpy as np
from tensor import Function


def conv_by_definition(x, w, b, padding):
    """(N,O,P,Q), an array: x (N,C,H,W), w (O,C,k,k), b (O,); P = H + 2 padding - k + 1, Q likewise. Slow and plain."""
    # YOURS: pad with zeros; for each place the sum over channels and window of pixels times weights, and the bias
    k, p = w.shape[-1], padding
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    y = np.zeros((len(x), len(w), x.shape[2] - k + 1, x.shape[3] - k + 1), x.dtype)
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            y[:, :, i, j] = np.einsum("ncuv,ocuv->no", x[:, :, i : i + k, j : j + k], w) + b
    return y
    # END


class Unfold(Function):
    """The windows of k by k of x (N,C,H,W), padded, as columns (N, C k k, places)."""

    def __init__(self, k, padding):
        self.k, self.padding = k, padding

    def forward(self, x):
        """An array (N, C k k, P Q), from an array (N,C,H,W)."""
        # YOURS: pad; take the slice of each (u, v) of the window; stack them on axis 2 and reshape
        k, p = self.k, self.padding
        x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        h, w = x.shape[2] - k + 1, x.shape[3] - k + 1
        windows = np.stack([x[:, :, u : u + h, v : v + w] for u in range(k) for v in range(k)], axis=2)
        return windows.reshape(len(x), -1, h * w)
        # END

    def vjp(self, g):
        return (Fold(self.inputs[0].shape, self.k, self.padding)(g),)


class Fold(Function):
    """Columns added up where their pixels came from: the vjp of Unfold."""

    def __init__(self, shape, k, padding):
        self.shape, self.k, self.padding = shape, k, padding

    def forward(self, columns):
        """An array of self.shape, (N,C,H,W), from an array (N, C k k, P Q)."""
        # YOURS: add each (u, v) of the columns to its slice of zeros of the padded size; cut the border off
        (n, c, height, width), k, p = self.shape, self.k, self.padding
        h, w = height + 2 * p - k + 1, width + 2 * p - k + 1
        columns = columns.reshape(n, c, k, k, h, w)
        x = np.zeros((n, c, height + 2 * p, width + 2 * p), columns.dtype)
        for u in range(k):
            for v in range(k):
                x[:, :, u : u + h, v : v + w] += columns[:, :, u, v]
        return x[:, :, p : p + height, p : p + width]
        # END

    def vjp(self, g):
        return (Unfold(self.k, self.padding)(g),)


def conv2d(x, w, b, padding):
    """(N,O,P,Q), a Tensor: as conv_by_definition, of Tensors, by one product."""
    # YOURS: w as a matrix (O, C k k) times the columns, reshaped, and b with two more axes
    n, _, height, width = x.shape
    o, _, k, _ = w.shape
    y = w.reshape((o, -1)) @ Unfold(k, padding)(x)
    return y.reshape((n, o, height + 2 * padding - k + 1, width + 2 * padding - k + 1)) + b.reshape((o, 1, 1))
    # END


def max_pool(x):
    """(N,C,H/2,W/2), a Tensor: the largest of each 2x2 of x (N,C,H,W), H and W even; of equal ones the first."""
    # YOURS: bring the four of a window to the last axis; times a mask that is 1 at the first largest; sum
    n, c, h, w = x.shape
    windows = x.reshape((n, c, h // 2, 2, w // 2, 2)).permute((0, 1, 2, 4, 3, 5)).reshape((n, c, h // 2, w // 2, 4))
    mask = np.eye(4, dtype=x.dtype)[windows.data.argmax(-1)]
    return (windows * mask).sum(-1)
    # END
