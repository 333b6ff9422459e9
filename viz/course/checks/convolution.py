"""Stage 5: convolution against SciPy's correlation, its gradients against sums by hand, pooling with ties."""

import importlib

import numpy as np

from ..compare import same

F32 = np.float32


def engine():
    """The student's tensor.py."""
    return importlib.import_module("tensor")


def case():
    """x, w and b."""
    rng = np.random.default_rng(0)
    shapes = ((2, 3, 5, 6), (4, 3, 3, 3), (4,))
    return [rng.standard_normal(shape).astype(F32) for shape in shapes]


def by_scipy(x, w, b, padding, function="correlate"):
    """(N,O,h,w) by SciPy, channel by channel; function: "convolve" flips the kernel."""
    from scipy import signal

    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    one = getattr(signal, function)
    sums = [[sum(one(c, k, "valid") for c, k in zip(image, kernel, strict=True)) for kernel in w] for image in x]
    return np.array(sums, F32) + b[:, None, None]


def mistakes_of(x, w, b, padding):
    """What classic mistakes give for the convolution."""
    found = {
        "the kernel is flipped: networks correlate, y(i) sums w(u) x(i + u)": by_scipy(x, w, b, padding, "convolve"),
        "the bias is left out": by_scipy(x, w, 0 * b, padding),
        "rows and columns of the kernel are swapped": by_scipy(x, w.transpose(0, 1, 3, 2), b, padding),
        "w's taps come before its channels: reshape it as it is": by_scipy(
            x, w.transpose(0, 2, 3, 1).reshape(w.shape), b, padding
        ),
    }
    if padding == 0:  # as many columns as there are biases
        without = by_scipy(x, w, 0 * b, 0)
        found["the bias is added along the columns: give it two more axes, (O, 1, 1)"] = without + b
    if padding:
        found["padding is left out: put zeros around the image first"] = by_scipy(x, w, b, 0)
        edge = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge")
        found["the border is padded with the edge's values, it is zeros"] = by_scipy(edge, w, b, 0)
    return found


def definition(student):
    """conv_by_definition, against SciPy"""
    x, w, b = case()
    for p in (0, 1):
        example = f"conv_by_definition(x, w, b, padding={p}), x {x.shape}, w {w.shape}"
        same(example, student.conv_by_definition(x, w, b, p), by_scipy(x, w, b, p), mistakes_of(x, w, b, p))


def columns(student):
    """Unfold: each window is a column"""
    x = np.arange(1, 10, dtype=F32).reshape(1, 1, 3, 3)
    expected = np.array([[[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]], F32)
    mistakes = {"each window is a row: windows are columns, channels and taps the rows": expected[:, [0, 1, 3, 2]]}
    same("Unfold(2, 0).forward(x), x = 1 ... 9 as (1, 1, 3, 3)", student.Unfold(2, 0).forward(x), expected, mistakes)
    two = np.stack([x[0, 0], x[0, 0] + 10])[None]
    both = np.concatenate([expected, expected + 10], 1)
    mistakes = {"the taps come before the channels: stack on axis 2": both[:, [0, 4, 1, 5, 2, 6, 3, 7]]}
    same("Unfold(2, 0).forward of two channels", student.Unfold(2, 0).forward(two), both, mistakes)


def pixels(student):
    """Fold: columns add up where their pixels came from"""
    counts = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], F32).reshape(1, 1, 3, 3)
    mistakes = {"overwritten where windows overlap: the gradients of copies add up": np.ones((1, 1, 3, 3), F32)}
    fold = student.Fold((1, 1, 3, 3), 2, 0)
    same("Fold((1, 1, 3, 3), 2, 0).forward(ones)", fold.forward(np.ones((1, 4, 4), F32)), counts, mistakes)
    inner = np.full((1, 1, 2, 2), 4, F32)
    fold = student.Fold((1, 1, 2, 2), 3, 1)
    border = np.outer([1, 2, 2, 1], [1, 2, 2, 1]).astype(F32).reshape(1, 1, 4, 4)
    mistakes = {
        "the border is still there: cut off what padding had added": border,
        "the border is cut off at one side only": border[:, :, :2, :2],
        "the border is cut off at the far side only": border[:, :, 2:, 2:],
    }
    same("Fold((1, 1, 2, 2), 3, padding=1).forward(ones)", fold.forward(np.ones((1, 9, 4), F32)), inner, mistakes)


def one_product(student):
    """conv2d: as one product, and its gradients"""
    arrays = case()
    for p in (0, 1):
        x, w, b = (engine().Tensor(a) for a in arrays)
        y = student.conv2d(x, w, b, p)
        example = f"conv2d(x, w, b, padding={p}), x {x.shape}, w {w.shape}"
        expected = by_scipy(*arrays, p)
        same(example, y, expected, mistakes_of(*arrays, p))
        by_x, by_w, by_b = engine().grad(y, [x, w, b])
        ones = np.ones(expected.shape, F32)
        flipped = arrays[1].transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        same(f"{example}, the gradient by x", by_x, by_scipy(ones, flipped, np.zeros(3, F32), 2 - p))
        padded = np.pad(arrays[0], ((0, 0), (0, 0), (p, p), (p, p))).transpose(1, 0, 2, 3)
        weights = by_scipy(padded, ones.transpose(1, 0, 2, 3), np.zeros(4, F32), 0).transpose(1, 0, 2, 3)
        same(f"{example}, the gradient by w", by_w, weights)
        same(f"{example}, the gradient by b", by_b, ones.sum((0, 2, 3)))


def pooling(student):
    """max_pool, and where the gradient of equal pixels goes"""
    x = np.array([[1, 2, 0, 0], [3, 4, 0, 0]], F32).reshape(1, 1, 2, 4)
    t = engine().Tensor(x)
    y = student.max_pool(t)
    mistakes = {
        "the mean of the window is taken": np.array([2.5, 0], F32).reshape(1, 1, 1, 2),
        "these are four pixels of a row, not 2x2: permute between the reshapes": np.array([2, 4], F32).reshape(
            1, 1, 1, 2
        ),
    }
    same("max_pool([[1, 2, 0, 0], [3, 4, 0, 0]])", y, np.array([4, 0], F32).reshape(1, 1, 1, 2), mistakes)
    expected = np.array([[0, 0, 1, 0], [0, 1, 0, 0]], F32).reshape(x.shape)
    all_of_them = np.array([[0, 0, 1, 1], [0, 1, 1, 1]], F32).reshape(x.shape)
    last = np.array([[0, 0, 0, 0], [0, 1, 0, 1]], F32).reshape(x.shape)
    mistakes = {
        "ties of the maximum: each of the equal pixels gets all of the gradient, the first alone should": all_of_them,
        "ties of the maximum: the last of equal pixels gets the gradient, the first should": last,
    }
    same("its gradient, where the second window is all 0", engine().grad(y, [t])[0], expected, mistakes)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype(F32)
    largest = np.max([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    same("max_pool(x), x (2, 3, 4, 6)", student.max_pool(engine().Tensor(x)), largest)


CHECKS = (definition, columns, pixels, one_product, pooling)
