r"""A network of named layers

**Aim.** A trained network runs on your engine, and says what is in a photograph.

50 minutes, difficulty 2 of 5. Nothing new is to be derived: this stage is about layouts. The network is MiniVGG, which
knows twelve classes; its weights and a photograph lie in the package:
`from viz.course.material import PHOTOGRAPH, WEIGHTS`.

## What to know

A picture file holds rows of pixels of three bytes, red, green, blue: (H,W,3), from 0 to 255. A network wants
(N,3,H,W): a batch, channels first, here in [0,1] and in the order red, green, blue. It was trained on channels that
were **normalised**, by a mean and a deviation of each channel, and on others its scores mean nothing. Nothing fails
when a layout is wrong: a network says something about any numbers, and it is only less right. That is why each piece
is looked at by itself.

The weights file is HDF5, a tree of arrays like folders and files. `file["layers"]` holds a group for each layer with
weights, by name, and in it lie `weight`, of a convolution (O,C,k,k) and of a linear layer (O,I), and `bias` (O,). They
are stored as float16, to halve the file: compute with float32.

The layers stand one behind the other: convolutions, each with its ReLU, a pool now and then; at the end the average of
each channel over all places, two linear layers, twelve scores. Each has a name, and what comes out of it can be asked
for: an **activation** is a Tensor of the graph like any other, and the next stage takes gradients by it. So one pass
gives all that are asked for, and the scores with them: Tensors of two passes know nothing of each other. Dropout is in
the list too; it acts in training only, and here it hands its input on.

## The mathematics

$$ x_{c} \leftarrow \frac{x_c - \mu_c}{\sigma_c}, \qquad
\mathrm{flatten}(x)_{\,n,\;(cH + i)W + j} = x_{n,c,i,j}, \qquad
\mathrm{average}(x)_{n,c,1,1} = \frac{1}{HW} \sum_{i,j} x_{n,c,i,j} $$

## When it works

```py
from network import load, photograph, top
from tensor import Tensor
from viz.course.material import PHOTOGRAPH, WEIGHTS

network = load(WEIGHTS)
print(top(network(Tensor(photograph(PHOTOGRAPH))), network.labels))  # a cat, and the project says the same
```

Give it your own photograph of 112 by 112 pixels. Then one with its colours reversed, `x[:, ::-1]`, or one upside down,
`x[:, :, ::-1]`: what does the network mind?

## In the engine

`minigrad/nn/module.py` and `models/weights_file.py`. There a layer is a Module that owns its weights, chains may
branch and join, and activations are told to whoever observes a call, so that any `forward` will do. A weights file
is checked before it is believed: names, shapes, checksums. What is after the last activation asked for is left out
there too.

## Hints

1. `photograph`: `np.asarray(Image.open(path).convert("RGB"), np.float32) / 255`, then `transpose(2, 0, 1)`, then
   `[None]` for the batch.
2. `normalized`: make arrays of mean and std, of x's dtype and of shape (3, 1, 1), so that they are stretched over rows
   and columns and not along them.
3. `read_weights`: `file["layers"].items()` gives names and groups; `group["weight"][()]` is the array.
4. `layer`: make the two Tensors once, then return a function: `lambda x: conv2d(x, weight, bias, padding)`. `relu` and
   `max_pool` are such functions already.
5. `activations`: one loop over `self.layers.items()`, `x = layer(x)`, keep what is in names, and return as soon as
   there are as many as names.
6. `top`: `np.exp(log_softmax(scores).data[0])`, and `np.argsort(-p)[:k]`.
"""

import json

import h5py
import numpy as np
from convolution import conv2d, max_pool
from learning import linear, log_softmax
from PIL import Image
from tensor import Tensor, relu


def photograph(path):
    """(1,3,H,W), an array, float32 in [0,1], red, green and blue, of the picture in a file."""
    # YOURS: open it as RGB; divide by 255; channels to the front, and an axis for the batch
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
    return pixels.transpose(2, 0, 1)[None]
    # END


def normalized(x, mean, std):
    """(N,3,H,W), a Tensor of x's dtype: each channel of the Tensor x less its mean, over its std (lists of 3)."""
    # YOURS: make arrays of x's dtype that broadcast along the channels; subtract, then divide
    mean, std = (np.array(values, x.dtype).reshape(3, 1, 1) for values in (mean, std))
    return (x - mean) / std
    # END


def average(x):
    """(N,C,1,1), a Tensor: the mean of each channel of x (N,C,H,W) over all places."""
    # YOURS: the mean over two axes, which stay with length 1
    return x.mean((2, 3), keepdims=True)
    # END


def flatten(x):
    """(N, C H W), a Tensor: each image of x (N,C,H,W) in one row, channel by channel."""
    # YOURS: reshape; the batch stays
    return x.reshape((x.shape[0], -1))
    # END


def read_weights(file):
    """{layer name: (weight, bias)}, arrays of float32, of an open HDF5 file: see the page for where they lie."""
    # YOURS: go through the groups of layers in the file, read the two arrays, and make float32 of them
    groups = file["layers"].items()
    return {name: tuple(group[kind][()].astype(np.float32) for kind in ("weight", "bias")) for name, group in groups}
    # END


def layer(kind, weight=None, bias=None, padding=0):
    """A function from a Tensor to a Tensor; weight, bias: arrays, for the first two of these kinds.

    kind: "Conv2d", "Linear", "ReLU", "MaxPool2d" (2x2), "AdaptiveAvgPool2d" (average), "Flatten" or "Dropout".
    """
    # YOURS: Tensors of weight and bias, made once; then the function of this kind
    if kind in ("Conv2d", "Linear"):
        weight, bias = Tensor(weight), Tensor(bias)
    if kind == "Conv2d":
        return lambda x: conv2d(x, weight, bias, padding)
    if kind == "Linear":
        return lambda x: linear(x, weight, bias)
    others = {"ReLU": relu, "MaxPool2d": max_pool, "AdaptiveAvgPool2d": average, "Flatten": flatten}
    return others.get(kind, lambda x: x)
    # END


class Network:
    """Layers by name, one behind the other: `layers` is {name: function from a Tensor to a Tensor}, in order."""

    def __init__(self, layers, labels=()):
        self.layers, self.labels = layers, labels

    def activations(self, x, names):
        """{name: Tensor} for the layers in names, from one pass of the Tensor x, which ends with the last of them."""
        # YOURS: x goes through the layers in order; keep what is asked for; stop when all is there
        found = {}
        for name, function in self.layers.items():
            x = function(x)
            if name in names:
                found[name] = x
            if len(found) == len(names):
                break
        return found
        # END

    def __call__(self, x):
        """(N,K), a Tensor: the output of the last layer."""
        last = list(self.layers)[-1]
        return self.activations(x, [last])[last]


def load(path):
    """The Network in a weights file, with its labels; its first layer, "preprocess", normalises."""
    with h5py.File(path) as file:
        weights = read_weights(file)
        labels = [line.split(" ", 1)[1].split(",")[0] for line in file["labels"][()].decode().splitlines()]
        preprocessing, architecture = (json.loads(file[name][()]) for name in ("preprocessing", "architecture"))
    layers = {"preprocess": lambda x: normalized(x, preprocessing["mean"], preprocessing["std"])}
    for one in architecture:
        layers[one["name"]] = layer(one["kind"], *weights.get(one["name"], ()), padding=one.get("padding", 0))
    return Network(layers, labels)


def top(scores, labels, k=5):
    """[(label, probability)] of the k classes with the highest of scores, a Tensor (1,K); the highest first."""
    # YOURS: probabilities by log_softmax; the order that sorts them, backwards
    p = np.exp(log_softmax(scores).data[0])
    return [(labels[i], float(p[i])) for i in np.argsort(-p)[:k]]
    # END
