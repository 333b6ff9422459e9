"""Stage 3: functions with a vjp on tensors, and the pass that calls them; against differences and by hand."""

import numpy as np

from ..compare import Mistake, require, same

F32 = np.float32
LEFT_OUT = "g is left out: a vjp hands on g times its slope"
AVERAGED = "the batch is averaged: the gradients of copies add up"
ONE_MATRIX = "the batch is not summed: one matrix met five"


def recorded(student):
    """Function.__call__: the result remembers its function, the function its inputs"""
    a = student.Tensor(np.array([1, 2], F32))
    example = "c = Tensor([1, 2]) + Tensor([1, 2])"
    c = student.Add()(a, a)
    if not isinstance(c, student.Tensor):
        raise Mistake(f"a Tensor is expected, this is {type(c).__name__}", example)
    same(f"{example}; c.data", c, np.array([2, 4], F32))
    require(isinstance(c.function, student.Add), "c.function is not the Add that made it", example, "Add", c.function)
    kept = getattr(c.function, "inputs", ())
    sentence = "the function does not keep the very Tensors it was given: copies cut the graph"
    require(len(kept) == 2 and all(x is a for x in kept), sentence, example)
    same("(Tensor([1, 2]) * 0.5).data", a * 0.5, np.array([0.5, 1], F32))


def by_hand(student, example, function, arrays, expected, mistakes=None):
    """Compare the gradients of function(*tensors).sum() with `expected`; mistakes: a dictionary for each input."""
    tensors = [student.Tensor(a) for a in arrays]
    found = student.grad(function(*tensors), tensors)
    require(isinstance(found, list | tuple), "a list of Tensors is expected", example, "a list", type(found).__name__)
    for i, wanted in enumerate(expected):
        nothing = {"the gradient is 0: the output has the gradient 1 by itself, begin with that": 0 * wanted}
        same(f"{example}, by input {i}", found[i], wanted, (mistakes or {}).get(i, {}) | nothing)


def products(student):
    """Mul.vjp, with broadcasting"""
    a, b = np.array([[1], [2]], F32), np.array([3, 4, 5], F32)
    mistakes = {
        0: {
            "broadcast axes are not summed": np.broadcast_to(b, (2, 3)),
            "the factors are swapped: by a it is g times b": a * 3,
        },
        1: {"broadcast axes are not summed": np.broadcast_to(a, (2, 3)), "the factors are swapped": b * 2},
    }
    example = "grad(a * b, [a, b]), a of shape (2, 1), b of shape (3,)"
    by_hand(student, example, lambda a, b: a * b, (a, b), (np.full((2, 1), 12, F32), np.full(3, 3, F32)), mistakes)
    g = np.array([[1, 0, 2], [3, 1, 1]], F32)
    mistakes = {0: {LEFT_OUT: np.full((2, 1), 12, F32)}, 1: {LEFT_OUT: np.full(3, 3, F32)}}
    expected = ((g * b).sum(1, keepdims=True), (g * a).sum(0))
    by_hand(student, "grad(a * b * g, [a, b])", lambda a, b: a * b * student.Tensor(g), (a, b), expected, mistakes)


def powers(student):
    """Pow.vjp"""
    x = np.array([1, 2, 3], F32)
    mistakes = {
        0: {"the exponent is not taken down by one": 3 * x**3, "the factor n is missing": x**2, "g is left out": x * 0}
    }
    by_hand(student, "grad(x**3, [x]), x = [1, 2, 3]", lambda x: x**3, (x,), (3 * x**2,), mistakes)
    by_hand(
        student,
        "grad(2.0 * x**3, [x]), x = [1, 2, 3]",
        lambda x: 2.0 * x**3,
        (x,),
        (6 * x**2,),
        {0: {LEFT_OUT: 3 * x**2}},
    )
    for x, n, mistakes in (
        (np.array([1, 2, 4], F32), -1, {"the sign of n is lost: n may be negative": F32([1, 0.25, 0.0625])}),
        (np.array([1, 4, 9], F32), 0.5, {"n - 1 was made an integer: n may be a fraction": F32([0.5, 0.5, 0.5])}),
        (np.array([-1, 2, -3], F32), 2, {"the sign of x is lost in x^(n-1)": F32([2, 4, 6])}),
    ):
        example = f"grad(x**{n}, [x]), x = {x.astype(int).tolist()}"
        by_hand(student, example, lambda x, n=n: x**n, (x,), (F32(n * x ** (n - 1)),), {0: mistakes})


def rectifier(student):
    """ReLU.vjp: open above 0, closed at 0"""
    x = np.array([-2, 0, 3], F32)
    mistakes = {
        0: {
            "the derivative at 0 is taken as 0: the mask is x > 0, not x >= 0": np.array([0, 1, 1], F32),
            "g passes where g is positive; ReLU's gate is its input's sign": np.array([1, 1, 1], F32),
            "the gate is the wrong way round": np.array([1, 0, 0], F32),
            "the value is passed back, the slope is 1": np.array([0, 0, 3], F32),
        }
    }
    by_hand(student, "grad(relu(x), [x]), x = [-2, 0, 3]", student.relu, (x,), (np.array([0, 0, 1], F32),), mistakes)
    x, g = np.array([-2, 0, 3, 4], F32), np.array([5, -7, -3, 2], F32)
    mistakes = {
        0: {
            "g passes only where it is positive, too: ReLU's gate is its input's sign": np.array([0, 0, 0, 2], F32),
            LEFT_OUT: np.array([0, 0, 1, 1], F32),
        }
    }
    example = "grad(relu(x) * g, [x]), x = [-2, 0, 3, 4], g = [5, -7, -3, 2]"
    by_hand(student, example, lambda x: student.relu(x) * g, (x,), (np.array([0, 0, -3, 2], F32),), mistakes)


def matrix_products(student):
    """MatMul.vjp, single matrices and a batch"""
    rng = np.random.default_rng(0)
    a, b, g = (rng.standard_normal(shape).astype(F32) for shape in ((2, 3), (3, 4), (2, 4)))
    square = {name: rng.standard_normal((3, 3)).astype(F32) for name in "abg"}
    for case in (tuple(square.values()), (a, b, g)):
        x, y, weight = case
        shapes = f"a of shape {x.shape}, b of shape {y.shape}"
        mistakes = {
            0: {"b is not transposed: by a it is G B^T": weight @ y} if x.shape == y.shape else {},
            1: {"the order of the product is wrong: by b it is A^T G": weight @ x.T, "a is not transposed": x @ weight}
            if x.shape == y.shape
            else {},
        }
        by_hand(
            student,
            f"grad((a @ b) * g, [a, b]), {shapes}",
            lambda a, b, weight=weight: (a @ b) * weight,
            (x, y),
            (weight @ y.T, x.T @ weight),
            mistakes,
        )
    batches(student, rng, a, b)


def batches(student, rng, a, b):
    """MatMul.vjp of matrices a (2,3) and b (3,4) and batches of them."""
    batch = rng.standard_normal((5, 3, 4)).astype(F32)
    by_hand(
        student,
        "grad(a @ b, [a, b]), a of shape (2, 3), b of shape (5, 3, 4)",
        lambda a, b: a @ b,
        (a, batch),
        (batch.sum((0, 2)) * np.ones((2, 1), F32), np.broadcast_to(a.sum(0)[:, None], batch.shape)),
        {
            0: {
                ONE_MATRIX: batch.sum(2)[:, None] * np.ones((1, 2, 1), F32),
                AVERAGED: batch.sum(2).mean(0) * np.ones((2, 1), F32),
            }
        },
    )
    many, weight = (rng.standard_normal(shape).astype(F32) for shape in ((5, 2, 3), (5, 2, 4)))
    without_g = (np.ones_like(weight) @ batch.swapaxes(1, 2)).sum(0)
    by_a, by_b = weight @ batch.swapaxes(1, 2), many.swapaxes(1, 2) @ weight
    for x, y, expected, mistakes in (
        (a, batch, (by_a.sum(0), a.T @ weight), {0: {LEFT_OUT: without_g}}),
        (many, b, (weight @ b.T, by_b.sum(0)), {1: {ONE_MATRIX: by_b, AVERAGED: by_b.mean(0)}}),
        (many, batch, (by_a, by_b), {}),
    ):
        example = f"grad((a @ b) * g, [a, b]), a of shape {x.shape}, b of shape {y.shape}"
        by_hand(student, example, lambda a, b: (a @ b) * weight, (x, y), expected, mistakes)


def used_twice(student):
    """grad: what is used twice gets the sum, and gradients are complete before they are handed on"""
    x = student.Tensor(np.array(3, F32))
    overwritten = "the gradient is overwritten where a value is used twice: add to what is there"
    mistakes = {
        overwritten: F32(2),
        f"{overwritten} (the last one won)": F32(4),
        "the gradients of the two uses are averaged: they add up": F32(3),
    }
    same("grad(x * 2.0 + x * 4.0, [x]), x = 3", student.grad(x * 2.0 + x * 4.0, [x])[0], F32(6), mistakes)
    mistakes = {"the gradient is overwritten where a value is used twice: add to what is there": F32(3)}
    same("grad(x * x, [x]), x = 3", student.grad(x * x, [x])[0], F32(6), mistakes)
    y = x * x
    same("y = x * x; grad(y * 3.0 + y * y, [x]), x = 3", student.grad(y * 3.0 + y * y, [x])[0], F32(126))
    z = y * 3.0
    kept = "what is asked for may stand in the middle: its gradient is kept, not only handed on"
    same("y = x * x; grad(y * 3.0, [y])", student.grad(z, [y])[0], F32(3), {kept: F32(0)})
    ones = {"the output's gradient by itself is 1": F32(0)}
    same("z = x * x * 3.0; grad(z, [z])", student.grad(z, [z])[0], F32(1), ones)
    other = student.Tensor(np.zeros(2, F32))
    try:
        (found,) = student.grad(x * x, [other])
    except KeyError:
        sentence = "an input that the output was not made from has the gradient 0, of its shape"
        raise Mistake(sentence, "grad(x * x, [z]), z not part of it", "[0, 0]", "KeyError") from None
    same("grad(x * x, [z]), z not part of it", found, np.zeros(2, F32))


def float32_stays(student):
    """float32 stays float32, through all functions and back"""
    x = student.Tensor(np.array([[0.5, 2.0]], F32))
    y = student.exp(student.log(x) * 0.5) / 3.0 + student.relu(x).mean() - x**2
    same("the dtype of the output", y, y.data.astype(F32))
    found = student.grad(y, [x])[0]
    same("the dtype of the gradient", found, found.data.astype(F32))


def second_derivatives(student):
    """second derivatives, for nothing"""
    x = student.Tensor(np.array([1, 2], F32))
    first = student.grad(x**3, [x])[0]
    require(
        first.function is not None,
        "the gradient has no graph: a vjp computes with Tensors, not with their .data",
        "grad(x**3, [x])[0].function",
    )
    same("grad(grad(x**3, [x])[0], [x]), x = [1, 2]", student.grad(first, [x])[0], np.array([6, 12], F32))
    found = student.grad(student.grad(x * x, [x])[0], [x])[0]
    mistakes = {"the graph is cut: gradients are added up as Tensors": np.zeros(2, F32)}
    same("grad(grad(x * x, [x])[0], [x])", found, np.full(2, 2, F32), mistakes)
    cut = {"the graph is cut: MatMul's vjp computes with its inputs, not with their .data": np.zeros((2, 2), F32)}
    one, two = (student.Tensor(np.array(rows, F32)) for rows in ([[1, 2], [3, 4]], [[5, 6], [7, 8]]))
    for i, name in enumerate("ab"):
        found = student.grad(student.grad(one @ two, [(one, two)[i]])[0], [(two, one)[i]])[0]
        same(f"grad(grad(a @ b, [{name}])[0], [{'ba'[i]}])", found, np.full((2, 2), 2, F32), cut)
    w = student.Tensor(np.array([[1, 2], [3, 4]], F32))
    slope = student.grad(student.relu(x.reshape((1, 2)) @ w), [x])[0]
    example = "grad(grad(relu(x @ w), [x])[0], [w]), x = [1, 2]"
    mistakes = {
        "the graph is cut: g is handed on as the Tensor it is, not as a copy of its data": np.zeros((2, 2), F32)
    }
    same(example, student.grad(slope, [w])[0], np.ones((2, 2), F32), mistakes)


def a_rule(student):
    """grad: a rule stands in for a vjp, in this pass only"""
    x = student.Tensor(np.array([-1, 2], F32))
    y = student.relu(x) * 2.0
    found = student.grad(y, [x], rules={student.ReLU: lambda f, g: (g * 10.0,)})[0]
    mistakes = {"the rules are not looked at": np.array([0, 2], F32)}
    same(
        "grad(relu(x) * 2.0, [x], rules={ReLU: lambda f, g: (g * 10.0,)}), x = [-1, 2]",
        found,
        np.array([20, 20], F32),
        mistakes,
    )
    same(
        "the same without rules, afterwards",
        student.grad(y, [x])[0],
        np.array([0, 2], F32),
        {"the rule is still there": [20, 20]},
    )


def deep(student):
    """grad: a chain of 3,000 functions"""
    x = y = student.Tensor(np.array(1, F32))
    for _ in range(3000):
        y = y + 1.0
    same("grad(x + 1 + 1 + ... + 1, [x])", student.grad(y, [x])[0], F32(1))


CHECKS = (
    recorded,
    products,
    powers,
    rectifier,
    matrix_products,
    used_twice,
    float32_stays,
    second_derivatives,
    a_rule,
    deep,
)
