r"""Learning: linear layers, softmax, cross-entropy, gradient descent

**Aim.** Your engine learns to read small digits, more than 95 % of those it has never seen.

45 minutes, difficulty 2 of 5. The digits are rendered when you ask for them: `from viz.course.digits import digits`.

## What to know

A linear layer is x Wᵀ + b: one row of W for each output. A network's last one gives a score for each class, and the
softmax makes probabilities of scores. The loss of an image is the cross-entropy: minus the logarithm of the
probability of the right class, and of a batch the **mean** over its images, so that the step does not grow with the
batch.

e¹⁰⁰⁰ overflows. Softmax does not change when all scores are lowered by the same number, so lower them by their
largest: then the largest power is e⁰. Its gradient is not needed, as the result does not depend on it: take it from
`.data`.

All this is computed on Tensors: they have `+`, `-`, `*`, `/`, `@`, `sum`, and `tensor.py` has `exp`, `log`, `relu`,
`swap` and `grad`. There is no indexing: to pick some numbers, multiply by an array of ones and zeros, and sum.

## The mathematics

$$ \log p_c = z_c - \max z - \log \sum_k e^{z_k - \max z}, \qquad
L = -\frac{1}{N} \sum_i \log p_{i, c_i}, \qquad w \leftarrow w - \eta \frac{\partial L}{\partial w} $$

## When it works

```py
from learning import accuracy, train
from viz.course.digits import digits

parameters = train(*digits(2000, seed=0))
print(accuracy(parameters, *digits(500, seed=1)))  # above 0.95
```

Train on 100 digits instead of 2000. How right is it on those, and how right on new ones?

## In the engine

`minigrad/functional/loss.py` and `minigrad/optim.py`. There cross-entropy is one Function with one pass over memory,
and optimisers have momentum and more. The idea is the same, down to the lowered scores.

## Hints

1. `linear`: `x @ swap(w) + b`.
2. `log_softmax`: `z = scores - scores.data.max(axis=1, keepdims=True)`, then `z - log(exp(z).sum(1, keepdims=True))`.
3. `cross_entropy`: multiply the logarithms by an array that is 1 at the right class (`np.eye(K, dtype=...)[labels]`);
   sum, and divide by `-len(labels)`.
4. `sgd`: new Tensors, `Tensor(p.data - lr * g.data)`, so that no graph grows from step to step.
"""

import numpy as np
from tensor import Tensor, exp, grad, log, relu, swap


def linear(x, w, b):
    """x W^T + b: x (N,I), w (O,I), b (O,); (N,O). Tensors."""
    # YOURS: one product with the transpose of w, and b
    return x @ swap(w) + b
    # END


def log_softmax(scores):
    """The logarithms (N,K) of the probabilities of scores (N,K); no overflow, however large they are."""
    # YOURS: lower each row of scores by its largest, take off the logarithm of the sum of their exponentials
    z = scores - scores.data.max(axis=1, keepdims=True)
    return z - log(exp(z).sum(1, keepdims=True))
    # END


def cross_entropy(scores, labels):
    """The mean over images of -log p(right class), a number; scores: Tensor (N,K), labels an array (N,) of integers."""
    # YOURS: pick the right classes with an array of ones and zeros, add up, and take the mean over the N images
    right = np.eye(scores.shape[1], dtype=scores.dtype)[labels]
    return (log_softmax(scores) * right).sum() * (-1 / len(labels))
    # END


def sgd(parameters, gradients, lr):
    """A list of new Tensors, one step of gradient descent from `parameters`; lr: the learning rate."""
    # YOURS: each parameter minus lr times its gradient, as a new Tensor made of arrays
    return [Tensor(p.data - p.dtype.type(lr) * g.data) for p, g in zip(parameters, gradients, strict=True)]
    # END


def start(inputs, hidden, classes, seed=0):
    """[w1, b1, w2, b2] of a network with one hidden layer, with He's deviation sqrt(2 / inputs)."""
    rng, parameters = np.random.default_rng(seed), []
    for i, o in ((inputs, hidden), (hidden, classes)):
        deviation = np.float32((2 / i) ** 0.5)
        parameters += [Tensor(rng.standard_normal((o, i), np.float32) * deviation), Tensor(np.zeros(o, np.float32))]
    return parameters


def scores(parameters, x):
    """(N,K): linear, relu, linear."""
    w1, b1, w2, b2 = parameters
    return linear(relu(linear(Tensor(x), w1, b1)), w2, b2)


def train(images, labels, steps=300, batch=64, lr=0.2, seed=0):
    """The parameters after `steps` of gradient descent on random batches of images (N,I) with labels (N,)."""
    # YOURS: begin with start(...); for each step draw a batch, take grad of its cross_entropy, and one step of sgd
    rng, parameters = np.random.default_rng(seed), start(images.shape[1], 64, 10, seed)
    for _ in range(steps):
        chosen = rng.integers(0, len(images), batch)
        loss = cross_entropy(scores(parameters, images[chosen]), labels[chosen])
        parameters = sgd(parameters, grad(loss, parameters), lr)
    return parameters
    # END


def accuracy(parameters, images, labels):
    """The share of images whose highest score is the right class."""
    return float((scores(parameters, images).data.argmax(1) == labels).mean())
