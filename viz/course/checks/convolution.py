"""Stage 5: convolution against SciPy's correlation, its gradients against sums by hand, pooling with ties."""

import importlib
from contextlib import contextmanager

import numpy as np

from ..compare import Mistake, require, same

F32 = np.float32
NO_GRADIENT = (
    "no gradient arrives: something was computed on .data; call the Function on the Tensor, Unfold(k, padding)(x)"
)
SWAPPED = "height and width are swapped"


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
    if padding > 1:
        found["the padding is 1 whatever was asked for"] = by_scipy(x, w, b, 1)
    if padding:
        found["padding is left out: put zeros around the image first"] = by_scipy(x, w, b, 0)
        edge = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), "edge")
        found["the border is padded with the edge's values, it is zeros"] = by_scipy(edge, w, b, 0)
    return found


def definition(student):
    """conv_by_definition, against SciPy"""
    x, w, b = case()
    for p in (0, 1, 2):
        example = f"conv_by_definition(x, w, b, padding={p}), x {x.shape}, w {w.shape}"
        same(example, student.conv_by_definition(x, w, b, p), by_scipy(x, w, b, p), mistakes_of(x, w, b, p))


def windows(x, k):
    """The windows of x (H,W) as columns (1, k k, places)."""
    return np.lib.stride_tricks.sliding_window_view(x, (k, k)).transpose(2, 3, 0, 1).reshape(1, k * k, -1)


def forwarded(function, array, sentence, example, simpler):
    """function.forward(array); slices that do not fit together are the mistake in `sentence`, if simpler() works."""
    try:
        return function.forward(array)
    except ValueError as error:
        simpler()
        raise Mistake(sentence, example, "", f"ValueError: {error}") from None


def columns(student):
    """Unfold: each window is a column"""

    def square():
        student.Unfold(2, 0).forward(np.ones((1, 1, 3, 3), F32))

    x = np.arange(1, 13, dtype=F32).reshape(1, 1, 3, 4)
    expected = windows(x[0, 0], 2)
    swapped = "taps and places are swapped: a window is a column"
    mistakes = {
        swapped: expected.transpose(0, 2, 1),
        f"{swapped}, so stack on axis 2": expected.transpose(0, 2, 1).reshape(expected.shape),
        f"{SWAPPED}: the places go row by row": expected.reshape(1, 4, 2, 3).transpose(0, 1, 3, 2).reshape(1, 4, 6),
        f"{SWAPPED} within the window: it goes row by row": expected[:, [0, 2, 1, 3]],
    }
    example = "Unfold(2, 0).forward(x), x = 1 ... 12 as (1, 1, 3, 4)"
    same(example, forwarded(student.Unfold(2, 0), x, SWAPPED, example, square), expected, mistakes)
    example = "Unfold(3, 1).forward(x), x = 1 ... 12 as (1, 1, 3, 4)"
    sentence = "x is not padded: put zeros around it first, at all four sides"
    mistakes = {
        sentence: windows(x[0, 0], 3),
        "the border is padded with the edge's values, it is zeros": windows(np.pad(x[0, 0], 1, "edge"), 3),
    }
    found = forwarded(student.Unfold(3, 1), x, sentence, example, square)
    same(example, found, windows(np.pad(x[0, 0], 1), 3), mistakes)
    two = np.stack([x[0, 0], x[0, 0] + 20])[None]
    both = np.concatenate([expected, expected + 20], 1)
    mistakes = {"the taps come before the channels: stack on axis 2": both[:, [0, 4, 1, 5, 2, 6, 3, 7]]}
    same("Unfold(2, 0).forward of two channels", student.Unfold(2, 0).forward(two), both, mistakes)


def added_up(taps):
    """(1,1,3,4): what Fold makes of taps (2,2,2,3), row and column of the window, row and column of its place."""
    x = np.zeros((1, 1, 3, 4), F32)
    for u, v in np.ndindex(2, 2):
        x[0, 0, u : u + 2, v : v + 3] += taps[u, v]
    return x


def pixels(student):
    """Fold: columns add up where their pixels came from"""
    counts = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], F32).reshape(1, 1, 3, 3)
    mistakes = {
        "overwritten where windows overlap: the gradients of copies add up": np.ones((1, 1, 3, 3), F32),
        "p:-p is empty for p = 0: cut the border off with p : p + H and p : p + W": np.ones((1, 1, 0, 0), F32),
    }
    fold = student.Fold((1, 1, 3, 3), 2, 0)
    same("Fold((1, 1, 3, 3), 2, 0).forward(ones)", fold.forward(np.ones((1, 4, 4), F32)), counts, mistakes)
    x = np.arange(1, 13, dtype=F32).reshape(1, 1, 3, 4)
    laid_out = windows(x[0, 0], 2)
    expected = x * np.outer([1, 2, 1], [1, 2, 2, 1]).astype(F32)
    mistakes = {
        "taps and places are swapped: a window is a column": added_up(
            laid_out.reshape(2, 3, 2, 2).transpose(2, 3, 0, 1)
        ),
        f"{SWAPPED}: the places go row by row": added_up(laid_out.reshape(2, 2, 3, 2).transpose(0, 1, 3, 2)),
        f"{SWAPPED} within the window: it goes row by row": added_up(
            laid_out.reshape(2, 2, 2, 3).transpose(1, 0, 2, 3)
        ),
        f"{SWAPPED} where the border is cut off": expected[..., :3],
    }
    example = "Fold((1, 1, 3, 4), 2, 0).forward(columns), those of Unfold(2, 0) for x = 1 ... 12"
    found = student.Fold((1, 1, 3, 4), 2, 0)  # of a square image it went well, above
    same(example, forwarded(found, laid_out, SWAPPED, example, lambda: None), expected, mistakes)
    inner = np.full((1, 1, 2, 2), 4, F32)
    fold = student.Fold((1, 1, 2, 2), 3, 1)
    border = np.outer([1, 2, 2, 1], [1, 2, 2, 1]).astype(F32).reshape(1, 1, 4, 4)
    mistakes = {
        "the border is still there: cut off what padding had added": border,
        "the border is cut off at one side only": border[:, :, :2, :2],
        "the border is cut off at the far side only": border[:, :, 2:, 2:],
    }
    same("Fold((1, 1, 2, 2), 3, padding=1).forward(ones)", fold.forward(np.ones((1, 9, 4), F32)), inner, mistakes)
    several(student)


def several(student):
    """Fold of two images with two channels, each of another size."""
    images = np.array([[1, 10], [100, 1000]], F32)[:, :, None, None]
    taps = np.random.default_rng(0).integers(1, 9, (2, 2, 2, 2, 3)).astype(F32)  # channel, window, place
    expected = np.stack([np.concatenate([added_up(t)[0] for t in taps]) for _ in images]) * images
    laid_out = (taps[None] * images[..., None, None]).reshape(2, 8, 6)
    first = laid_out.reshape(2, 2, 2, 2, 2, 3).transpose(0, 3, 1, 2, 4, 5)  # read as window, channel
    mistakes = {
        "the taps come before the channels: reshape to (N, C, k, k, P, Q)": np.stack(
            [np.concatenate([added_up(t)[0] for t in image]) for image in first]
        ),
        "the images of the batch are mixed up": expected[::-1],
        "the images of the batch are averaged: each has its own": np.broadcast_to(expected.mean(0), expected.shape),
        "the images of the batch are added up: each has its own": np.broadcast_to(expected.sum(0), expected.shape),
        "each image got the first one's columns": np.broadcast_to(expected[0], expected.shape),
    }
    fold = student.Fold((2, 2, 3, 4), 2, 0)
    same(
        "Fold((2, 2, 3, 4), 2, 0).forward(columns), two images of two channels",
        fold.forward(laid_out),
        expected,
        mistakes,
    )


@contextmanager
def forward_takes_arrays(function):
    """A class of Functions refuses a Tensor where its forward is called by hand."""
    forward = function.forward

    def checked(self, x):
        sentence = f"forward takes arrays: call the Function itself, {function.__name__}(...)(x)"
        require(not isinstance(x, engine().Tensor), sentence)
        return forward(self, x)

    function.forward = checked
    try:
        yield
    finally:
        function.forward = forward


def is_tensor(y, example):
    """Raise Mistake unless y can be differentiated."""
    found = type(y).__name__
    require(isinstance(y, engine().Tensor), "a Tensor is expected, so that it has a gradient", example, "Tensor", found)


def one_product(student):
    """conv2d: as one product, and its gradients"""
    arrays = case()
    for p in (0, 1, 2):
        x, w, b = (engine().Tensor(a) for a in arrays)
        with forward_takes_arrays(student.Unfold):
            y = student.conv2d(x, w, b, p)
        example = f"conv2d(x, w, b, padding={p}), x {x.shape}, w {w.shape}"
        expected = by_scipy(*arrays, p)
        same(example, y, expected, mistakes_of(*arrays, p))
        is_tensor(y, example)
        g = np.random.default_rng(1).standard_normal(expected.shape).astype(F32)
        by_x, by_w, by_b = engine().grad(y * g, [x, w, b])
        flipped = arrays[1].transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        right = by_scipy(g, flipped, np.zeros(3, F32), 2 - p)
        none = [{NO_GRADIENT: 0 * a} for a in arrays]
        example = f"grad({example} * g)"
        same(f"{example}, the gradient by x", by_x, right, none[0])
        padded = np.pad(arrays[0], ((0, 0), (0, 0), (p, p), (p, p))).transpose(1, 0, 2, 3)
        weights = by_scipy(padded, g.transpose(1, 0, 2, 3), np.zeros(4, F32), 0).transpose(1, 0, 2, 3)
        same(f"{example}, the gradient by w", by_w, weights, none[1])
        same(f"{example}, the gradient by b", by_b, g.sum((0, 2, 3)), none[2])


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
    is_tensor(y, "max_pool(x)")
    expected = np.array([[0, 0, 1, 0], [0, 1, 0, 0]], F32).reshape(x.shape)
    all_of_them = np.array([[0, 0, 1, 1], [0, 1, 1, 1]], F32).reshape(x.shape)
    last = np.array([[0, 0, 0, 0], [0, 1, 0, 1]], F32).reshape(x.shape)
    shared = np.array([[0, 0, 0.25, 0.25], [0, 1, 0.25, 0.25]], F32).reshape(x.shape)
    mistakes = {
        NO_GRADIENT: 0 * x,
        "ties of the maximum: the gradient is shared out among equal pixels, the first gets all of it": shared,
        "ties of the maximum: each of the equal pixels gets all of the gradient, the first alone should": all_of_them,
        "ties of the maximum: the last of equal pixels gets the gradient, the first should": last,
        "a window of zeros has a winner, too: nothing is compared with 0": expected * np.array([1, 1, 0, 0], F32),
    }
    same("its gradient, where the second window is all 0", engine().grad(y, [t])[0], expected, mistakes)
    t = engine().Tensor(np.array([[1, 2], [2, 0]], F32).reshape(1, 1, 2, 2))
    expected, by_columns = (np.array(rows, F32).reshape(t.shape) for rows in ([[0, 1], [0, 0]], [[0, 0], [1, 0]]))
    mistakes = {"ties of the maximum: of equal pixels the first, row by row, counts": by_columns}
    example = "the gradient of max_pool([[1, 2], [2, 0]])"
    same(example, engine().grad(student.max_pool(t), [t])[0], expected, mistakes)
    below_zero_too(student)


def below_zero_too(student):
    """max_pool of several images and channels, of windows with negative numbers alone, too; and its gradient."""
    rng = np.random.default_rng(0)
    x = rng.permutation(144).reshape(2, 3, 6, 4).astype(F32) - 100  # no ties
    corners = [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    largest = np.max(corners, axis=0)
    mistakes = {
        "of negative numbers the largest is wanted, too, not 0": np.maximum(largest, 0),
        "of negative numbers the first is taken: nothing is compared with 0": np.where(
            largest > 0, largest, corners[0]
        ),
    }
    t, g = engine().Tensor(x), rng.standard_normal(largest.shape).astype(F32)
    y = student.max_pool(t)
    same("max_pool(x), x (2, 3, 6, 4)", y, largest, mistakes)
    won = np.repeat(np.repeat(largest, 2, 2), 2, 3) == x
    expected = np.where(won, np.repeat(np.repeat(g, 2, 2), 2, 3), F32(0))
    everywhere = np.repeat(np.repeat(g, 2, 2), 2, 3)
    mistakes = {"each of the four gets the gradient, the largest alone should": everywhere}
    same("grad(max_pool(x) * g), x (2, 3, 6, 4)", engine().grad(y * g, [t])[0], expected, mistakes)


CHECKS = (definition, columns, pixels, one_product, pooling)
