"""Stage 6: each layout by itself, on a picture and a weights file made here; then MiniVGG and the photograph."""

import importlib
import tempfile
from pathlib import Path

import numpy as np

from .. import reference
from ..compare import Mistake, require, same
from ..material import PHOTOGRAPH, WEIGHTS

F32 = np.float32


def engine():
    """The student's tensor.py."""
    return importlib.import_module("tensor")


def picture(student):
    """photograph: channels first, from 0 to 1"""
    from PIL import Image

    pixels = np.array(
        [[[255, 0, 51], [0, 102, 0], [204, 0, 255]], [[0, 51, 102], [255, 255, 0], [0, 153, 51]]], np.uint8
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "two_by_three.png")
        Image.fromarray(pixels).save(path)
        found = student.photograph(path)
        Image.fromarray(pixels).quantize(8).save(path)  # a palette: one number for each pixel
        try:
            of_palette = np.shape(student.photograph(path))
        except Exception as error:
            of_palette = f"{type(error).__name__}: {error}"
    scaled = (pixels / 255).astype(F32)
    expected = scaled.transpose(2, 0, 1)[None]
    mistakes = {
        "the range is 0 to 255: divide by 255": expected * 255,
        "the range is -1 to 1: it should be 0 to 1": expected * 2 - 1,
        "the channels are blue, green, red: keep red, green, blue": expected[:, ::-1],
        "the channels are last: transpose(2, 0, 1) brings them to the front": scaled[None],
        "the channels are not brought to the front, only the shape is changed: transpose, not reshape": scaled.reshape(
            1, 3, 2, 3
        ),
        "the axis of the batch is missing: (1,3,H,W)": expected[0],
        "rows and columns are swapped": expected.transpose(0, 1, 3, 2),
    }
    same("photograph(path), a picture of 2 rows and 3 columns", found, expected, mistakes)
    sentence = "this file has a palette, one number for each pixel: convert the picture to RGB when it is opened"
    require(of_palette == expected.shape, sentence, "photograph(path)", expected.shape, of_palette)


def preprocessing(student):
    """normalized: less the mean, over the deviation, for each channel"""
    x = np.random.default_rng(0).random((2, 3, 3, 3), F32)
    mean, std = [0.5, 0.25, 0.125], [0.5, 0.25, 2.0]
    m, s = (np.array(values, F32).reshape(3, 1, 1) for values in (mean, std))
    rows = np.array(mean, F32), np.array(std, F32)
    mistakes = {
        "mean and deviation are taken along the columns, not the channels: shape (3, 1, 1)": (x - rows[0]) / rows[1],
        "mean and deviation are in the order blue, green, red": (x - m[::-1]) / s[::-1],
        "the deviation is left out": x - m,
        "the mean is left out": x / s,
        "divided first: subtract the mean, then divide": x / s - m,
        "multiplied by the deviation: divide": (x - m) * s,
        "the mean is added: subtract it": (x + m) / s,
    }
    example = f"normalized(x, mean={mean}, std={std}), x (2, 3, 3, 3)"
    found = student.normalized(engine().Tensor(x), mean, std)
    require(isinstance(found, engine().Tensor), "a Tensor is expected, whose gradient goes back to the pixels", example)
    same(example, found, (x - m) / s, mistakes)


def to_a_row(student):
    """average and flatten"""
    x = np.arange(16, dtype=F32).reshape(2, 2, 2, 2)
    t = engine().Tensor(x)
    means = x.mean((2, 3), keepdims=True)
    mistakes = {
        "the mean is over the channels: it is over the places, axes 2 and 3": x.mean(1, keepdims=True),
        "keepdims is missing: the two axes stay, with length 1": means[:, :, 0, 0],
        "the sum is taken, not the mean": means * 4,
        "the largest is taken, not the mean": x.max((2, 3), keepdims=True),
        "the mean is over the batch too": np.broadcast_to(x.mean((0, 2, 3), keepdims=True), means.shape),
    }
    same("average(x), x = 0 ... 15 as (2, 2, 2, 2)", student.average(t), means, mistakes)
    expected = x.reshape(2, 8)
    mistakes = {
        "the order is wrong: all of channel 0 comes first, not place by place": x.transpose(0, 2, 3, 1).reshape(2, 8),
        "the order is wrong: row by row within a channel": x.transpose(0, 1, 3, 2).reshape(2, 8),
        "the batch is flattened too: each image has a row": x.reshape(-1),
        "the batch is flattened too: (1, ...) holds all images": x.reshape(1, -1),
    }
    same("flatten(x), x = 0 ... 15 as (2, 2, 2, 2)", student.flatten(t), expected, mistakes)


def weights(student):
    """read_weights: by name, as float32"""
    import h5py

    w, b = np.array([[1, 2], [3, 4]], np.float16), np.array([5, 6], np.float16)
    with tempfile.TemporaryDirectory() as folder, h5py.File(Path(folder, "two.h5"), "w") as file:
        file["layers/fc1/weight"], file["layers/fc1/bias"] = w, b
        file["layers/fc2/weight"], file["layers/fc2/bias"] = w + 10, b + 10
        found = student.read_weights(file)
        example = 'read_weights(file), with "fc1" and "fc2" in file["layers"]'
        require(found is not None, "nothing came back (None): a `return` is missing", example)
        require(isinstance(found, dict), "a dictionary {layer name: (weight, bias)} is expected", example)
        names = "'fc1', 'fc2'"
        sentence = "its keys are the layers' names"
        require(set(found) == {"fc1", "fc2"}, sentence, example, names, ", ".join(map(repr, found)))
        for name, more in (("fc1", 0), ("fc2", 10)):
            pair, words = found[name], "two arrays are expected: (weight, bias)"
            shown = f'{example}["{name}"]', "(weight, bias)", type(pair).__name__
            require(isinstance(pair, tuple | list) and len(pair) == 2, words, *shown)
            if isinstance(pair[0], h5py.Dataset):
                raise Mistake("this is not read yet, and cannot be once the file is closed: dataset[()]", example)
            stored = np.asarray(pair[0]).dtype == np.float16
            require(not stored, "float16 is how they are stored: compute in float32", example, "float32", "float16")
            mistakes = {
                "the weight is transposed: keep (O, I)": (w + more).T,
                "weight and bias are swapped: (weight, bias)": b + more,
            }
            same(f'{example}["{name}"][0]', pair[0], (w + more).astype(F32), mistakes)
            same(f'{example}["{name}"][1]', pair[1], (b + more).astype(F32))


def layers(student):
    """layer: a function for each kind"""
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(F32) for shape in ((1, 2, 4, 4), (2, 2, 3, 3), (2,)))
    row, square = rng.standard_normal((1, 2)).astype(F32), w[:, :, 0, 0]
    learned, convolved = importlib.import_module("learning"), importlib.import_module("convolution")
    T = engine().Tensor

    def conv(w, padding):
        return convolved.conv2d(T(x), T(w), T(b), padding).data

    pooled = convolved.max_pool(T(x)).data
    cases = (
        ("Conv2d", (w, b, 1), x, conv(w, 1), {"padding is left out": conv(w, 0)}),
        ("Conv2d", (w, b, 0), x, conv(w, 0), {"padding is always 1: take it as it is given": conv(w, 1)}),
        ("Linear", (square, b), row, learned.linear(T(row), T(square), T(b)).data, {}),
        ("ReLU", (), x, np.maximum(x, 0), {}),
        ("MaxPool2d", (), x, pooled, {}),
        ("AdaptiveAvgPool2d", (), x, x.mean((2, 3), keepdims=True), {}),
        ("Flatten", (), x, x.reshape(1, -1), {}),
    )
    for kind, given, taken, expected, mistakes in cases:
        words = f'layer("{kind}"{", weight, bias" if given else ""}{f", padding={given[2]}" if len(given) > 2 else ""})'
        function = student.layer(kind, *given)
        require(callable(function), "a function is expected, which takes a Tensor", words, "a function", function)
        found = function(T(taken))
        if kind == "Linear":
            mistakes = {"the weight is transposed twice: linear does that": taken @ square + b}
        mistakes = mistakes | {"the input came back as it was: this kind is not looked at": taken}
        same(f"{words}(x), x {taken.shape}", found, expected, mistakes)
    dropped = student.layer("Dropout")
    require(
        callable(dropped), "a function is expected, which takes a Tensor", 'layer("Dropout")', "a function", dropped
    )
    sentence = "dropout acts in training only: here it hands its input on"
    found = np.asarray(getattr(dropped(T(x)), "data", np.nan))
    require(np.array_equal(found, x), sentence, 'layer("Dropout")(x)', "x", "another array")


def named(student):
    """Network.activations: one pass, to the last that is asked for"""
    passes = []

    def add_one(x):
        passes.append("a")
        return x + 1.0

    def beyond(x):
        raise Mistake("what comes after the last name is computed: stop when all is there", example)

    network = student.Network({"a": add_one, "b": lambda x: x * 2.0, "c": beyond})
    x = engine().Tensor(np.array([1, 2], F32))
    example = 'Network({"a": x + 1, "b": 2 x, "c": ...}).activations([1, 2], ["a", "b"])'
    found = network.activations(x, ["a", "b"])
    require(found is not None, "nothing came back (None): a `return` is missing", example)
    require(isinstance(found, dict), "a dictionary {name: Tensor} is expected", example, "a dict", type(found).__name__)
    sentence = "its keys are the names asked for"
    require(set(found) == {"a", "b"}, sentence, example, "'a', 'b'", ", ".join(map(repr, found)))
    sentence = "its values are Tensors, so that gradients can be taken by them"
    require(all(isinstance(one, engine().Tensor) for one in found.values()), sentence, example)
    same(
        f'{example}["a"]', found["a"], np.array([2, 3], F32), {"this is what goes into a layer": np.array([1, 2], F32)}
    )
    mistakes = {
        "each layer got x itself, not what the layer before it made": np.array([2, 4], F32),
        "this is what goes into a layer": np.array([2, 3], F32),
    }
    same(f'{example}["b"]', found["b"], np.array([4, 6], F32), mistakes)
    by_a = engine().grad(found["b"], [found["a"]])[0]
    mistakes = {"b was not made from this a: both come from one pass": np.zeros(2, F32)}
    same(f'grad(found["b"], [found["a"]]), found = {example}', by_a, np.full(2, 2, F32), mistakes)
    require(len(passes) == 1, "the layers run once for each name: one pass gives all", example, "1 pass", len(passes))
    (only,) = network.activations(x, ["a"]).values()
    same('the same with ["a"] alone', only, np.array([2, 3], F32))


def highest(student):
    """top: the most probable classes"""
    scores, labels = np.array([[0, 3, 1, 2]], F32), ["ant", "bee", "cat", "dog"]
    example = 'top(scores [[0, 3, 1, 2]], ["ant", "bee", "cat", "dog"], k=2)'
    found = student.top(engine().Tensor(scores), labels, 2)
    require(found is not None, "nothing came back (None): a `return` is missing", example)
    pairs = isinstance(found, list | tuple) and all(isinstance(one, tuple | list) and len(one) == 2 for one in found)
    require(pairs, "a list of pairs (label, probability) is expected", example, "[('bee', ...), ...]", found)
    names = [name for name, _ in found]
    sentence = "these are the lowest, or the order is backwards: the highest comes first"
    require(names not in (["ant", "cat"], ["dog", "bee"]), sentence, example, "bee, dog", names)
    require(len(names) == 2, "there are k of them", example, 2, len(names))
    require(names == ["bee", "dog"], "these are not the labels of the highest scores", example, "bee, dog", names)
    p = np.exp(scores[0]) / np.exp(scores[0]).sum()
    values, expected = np.array([p for _, p in found]), np.sort(p)[:1:-1]
    mistakes = {
        "these are the scores, not probabilities": [3, 2],
        "these are logarithms: np.exp makes probabilities": np.log(expected),
        "the softmax is over the k highest alone: over all classes": expected / expected.sum(),
    }
    same(f"the probabilities of {example}", values, expected, mistakes, other_dtype=True)


def the_photograph(student):
    """MiniVGG: scores and top five as the project's"""
    network = student.load(WEIGHTS)
    image = reference.photograph()
    found = network(engine().Tensor(student.photograph(PHOTOGRAPH)))
    expected = reference.network()(image).numpy()
    same("network(Tensor(photograph(PHOTOGRAPH)))", found, expected.astype(F32), tolerance=1e-4)
    labels = reference.network().labels
    five = [str(labels[i]) for i in np.argsort(-expected[0])[:5]]
    names = [name for name, _ in student.top(found, network.labels)]
    require(names == five, "the top five differ", "top(scores, network.labels)", ", ".join(five), ", ".join(names))


CHECKS = (picture, preprocessing, to_a_row, weights, layers, named, highest, the_photograph)
