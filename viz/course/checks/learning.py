"""Stage 4: linear, log-softmax, cross-entropy and a step by hand; then digits."""

import numpy as np

from ..compare import require, same
from ..digits import digits

F32 = np.float32
Z = np.array([[1, 2, 4], [0, 3, 1]], F32)


def linear_layer(student):
    """linear"""
    x, w, b = np.array([[1, 2]], F32), np.array([[3, 4], [5, 6]], F32), np.array([10, 20], F32)
    found = student.linear(*(student.Tensor(a) for a in (x, w, b)))
    mistakes = {"w is not transposed": x @ w + b, "the bias is left out": x @ w.T}
    same("linear(x, w, b), x = [[1, 2]], w = [[3, 4], [5, 6]], b = [10, 20]", found, x @ w.T + b, mistakes)


def logarithms(student):
    """log_softmax, of small scores and of large ones"""
    e = np.exp(Z)
    expected = np.log(e / e.sum(1, keepdims=True))
    lowered = Z - Z.max(1, keepdims=True)
    mistakes = {
        "the sum is over the batch, not over the classes: axis 1": lowered - np.log(np.exp(lowered).sum(0)),
        "the sum is over all images: each has its own": lowered - np.log(np.exp(lowered).sum()),
        "these are the probabilities, their logarithms are wanted": np.exp(expected),
        "each row is lowered by its own largest score (axis 1, keepdims)": Z
        - Z.max(0)
        - np.log(np.exp(Z - Z.max(0)).sum(1, keepdims=True)),
    }
    same("log_softmax([[1, 2, 4], [0, 3, 1]])", student.log_softmax(student.Tensor(Z)), expected, mistakes)
    large = np.array([[1000, 0]], F32)
    found = student.log_softmax(student.Tensor(large)).data
    sentence = "softmax overflows: lower each row's scores by their largest before exp"
    require(np.isfinite(found).all(), sentence, "log_softmax([[1000, 0]])", "[[0, -1000]]", found)
    same("log_softmax([[1000, 0]])", found, np.array([[0, -1000]], F32))
    two = np.array([[1000, 1000], [0, 0]], F32)
    found = student.log_softmax(student.Tensor(two)).data
    sentence = (
        "lowered by the largest of all images a row of small scores is exp(...) = 0: lower each by its own largest"
    )
    example = "log_softmax([[1000, 1000], [0, 0]])"
    require(np.isfinite(found).all(), sentence, example, "-log 2 everywhere", found)
    same(example, found, np.full((2, 2), -np.log(2), F32))


def loss(student):
    """cross_entropy, and its gradient (p - right) / N"""
    p = np.exp(Z) / np.exp(Z).sum(1, keepdims=True)
    labels = np.array([2, 0])
    each = -np.log(p[[0, 1], labels])
    x = student.Tensor(Z)
    found = student.cross_entropy(x, labels)
    mistakes = {
        "the sum over the batch is taken, not the mean": each.sum(),
        "the mean is over all N K numbers: it is over the N images": each.sum() / 6,
        "the sign is wrong: the loss is minus the logarithm": -each.mean(),
    }
    same("cross_entropy([[1, 2, 4], [0, 3, 1]], [2, 0])", found, F32(each.mean()), mistakes)
    expected = (p - np.eye(3, dtype=F32)[labels]) / 2
    mistakes = {
        "the sum of log_softmax is outside the graph: keep to Tensors": -np.eye(3, dtype=F32)[labels] / 2,
        "no gradient arrives: keep to Tensors": 0 * Z,
    }
    same("its gradient by the scores", student.grad(found, [x])[0], expected, mistakes)


def step(student):
    """sgd: one step down, into new Tensors"""
    p, g = student.Tensor(np.array([1, 2], F32)), student.Tensor(np.array([10, -10], F32))
    found = student.sgd([p], [g], 0.1)
    require(isinstance(found, list | tuple), "a list of new Tensors is expected", "sgd([p], [g], 0.1)")
    mistakes = {"this goes up the slope: subtract": np.array([2, 1], F32), "lr is left out": np.array([-9, 12], F32)}
    same("sgd([p], [g], 0.1), p = [1, 2], g = [10, -10]", found[0], np.array([0, 3], F32), mistakes)
    same("p itself, afterwards", p, np.array([1, 2], F32), {"the old parameter was changed": np.array([0, 3], F32)})
    sentence = "the new parameter has a graph, which grows with every step: compute with .data"
    require(getattr(found[0], "function", None) is None, sentence, "sgd([p], [g], 0.1)[0].function", None, "a Function")
    q, h = student.Tensor(np.array([5, 6], F32)), student.Tensor(np.array([1, 4], F32))
    found = student.sgd([p, q], [g, h], 0.5)
    require(len(found) == 2, "each parameter has a new one", "sgd([p, q], [g, h], 0.5)", 2, len(found))
    mistakes = {
        "lr is not looked at": np.array([4.9, 5.6], F32),
        "each parameter has its own gradient, this is the first one's": np.array([0, 11], F32),
        "the gradient's size counts, not its sign alone": np.array([4.5, 5.5], F32),
    }
    same("sgd([p, q], [g, h], 0.5)[1], q = [5, 6], h = [1, 4]", found[1], np.array([4.5, 4], F32), mistakes)


def reads_digits(student):
    """train: above 95 % of digits it has not seen"""
    parameters = student.train(*digits(2000, seed=0))
    require(parameters is not None, "nothing came back (None): a `return` is missing", "train(images, labels)")
    right = student.accuracy(parameters, *digits(500, seed=1))
    sentence = "it has not learned enough: does every step use the new parameters?"
    require(right > 0.95, sentence, "accuracy(train(*digits(2000)), *digits(500, seed=1))", "above 0.95", right)


CHECKS = (linear_layer, logarithms, loss, step, reads_digits)
