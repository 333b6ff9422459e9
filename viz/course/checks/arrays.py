"""Stage 2: the way back through broadcasting, dtypes, and the student's own check by differences."""

import numpy as np

from ..compare import Mistake, require, same


def dtypes(student):
    """as_array: arrays keep their dtype, Python's numbers become float32"""
    found = student.as_array(np.zeros(2))
    sentence = "an array's own float64 is lost: only what was no array becomes float32"
    lost = getattr(found, "dtype", None) == np.float32
    require(not lost, sentence, "as_array(np.zeros(2))", "float64", "float32")
    found = student.as_array(np.float64(0.5))
    sentence = "NumPy's own numbers keep their dtype, as arrays do: ask for np.generic, too"
    lost = getattr(found, "dtype", None) == np.float32
    require(not lost, sentence, "as_array(np.float64(0.5))", "float64", "float32")
    for example, data, expected in (
        ("as_array(np.float64(0.5))", np.float64(0.5), np.float64(0.5)),
        ("as_array(0.5)", 0.5, np.float32(0.5)),
        ("as_array([1.0, 2.0])", [1.0, 2.0], np.array([1, 2], np.float32)),
        ("as_array(np.zeros(2, np.float32))", np.zeros(2, np.float32), np.zeros(2, np.float32)),
        ("as_array(np.arange(2))", np.arange(2), np.arange(2)),
    ):
        found = student.as_array(data)
        same(example, found, expected)
        sentence = "a NumPy number came back, an array is expected: np.asarray makes one of it"
        require(isinstance(found, np.ndarray), sentence, example, "ndarray", type(found).__name__)
    sentence = "Python's integers become float32 too: an array of int64 times one of float32 would be float64"
    for example, found in (("as_array(3)", student.as_array(3)), ("as_array([1, 2])", student.as_array([1, 2]))):
        dtype = getattr(found, "dtype", found)
        require(dtype == np.float32, sentence, example, "float32", dtype)


def summed_back(student):
    """sum_to: stretched axes are added up"""
    g = np.arange(12, dtype=np.float32).reshape(3, 4)
    for shape in ((3, 1), (1, 4), (1, 1)):
        axes = tuple(i for i in (0, 1) if shape[i] == 1)
        same(
            f"sum_to(g, {shape}), g of shape (3, 4)",
            student.sum_to(g, shape),
            g.sum(axes, keepdims=True),
            {
                "broadcast axes are not summed: g came back as it was": g,
                "keepdims is missing: an axis of length 1 stays": g.sum(axes),
                "the mean is taken, the gradients of copies add up": g.mean(axes, keepdims=True),
                "one copy's gradient was taken, they add up": g[
                    tuple(slice(0, 1) if i in axes else slice(None) for i in (0, 1))
                ],
            },
        )
    same("sum_to(g, (3, 4)), nothing was stretched", student.sum_to(g, (3, 4)), g)
    g = g.astype(np.float64) / 3
    same("sum_to(g, (3, 1)), g float64", student.sum_to(g, (3, 1)), g.sum(1, keepdims=True))


def leading_axes(student):
    """sum_to: axes that were missing in front go"""
    g = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for shape, expected in (((4,), g.sum((0, 1))), ((3, 1), g.sum((0, 2)).reshape(3, 1)), ((), g.sum())):
        same(
            f"sum_to(g, {shape}), g of shape (2, 3, 4)",
            student.sum_to(g, shape),
            expected,
            {
                "broadcast axes are not summed: g came back as it was": g,
                "the leading axes are summed but kept: shape lacks them": g.sum((0, 1), keepdims=True),
                "leading axes are summed, those of length 1 are not": g.sum(0),
            },
        )


def sum_and_product(student):
    """add_back and mul_back: a gradient for each, of its shape"""
    a, b = np.array([[1], [2], [3]], np.float32), np.array([10, 20, 30, 40], np.float32)
    g = np.array([[1, 0, 2, 1], [3, 1, 0, 1], [0, 2, 1, 4]], np.float32)
    rows, sums = g.sum(1, keepdims=True), g.sum(0)
    ones = np.ones_like(g)
    for name, expected, swapped, late, without in (
        ("add_back", (rows, sums), (), (), (4 * ones[:, :1], 3 * ones[0])),
        (
            "mul_back",
            ((g * b).sum(1, keepdims=True), (g * a).sum(0)),
            (a * rows, b * sums),
            (rows * b, sums * a),
            (100 * ones[:, :1], 6 * ones[0]),
        ),
    ):
        found = getattr(student, name)(g, a, b)
        example = f"{name}(g, a, b), g of shape (3, 4), a of shape (3, 1), b of shape (4,)"
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Mistake("two gradients are expected, for a and for b", example)
        for i, letter in enumerate("ab"):
            mistakes = {
                "broadcast axes are not summed": (g, g * b if i == 0 else g * a)[name == "mul_back"],
                "g is left out: the gradient is g times the slope": without[i],
            }
            if swapped:
                mistakes["the factors are swapped: by a it is g times b"] = swapped[i]
                mistakes["it is added up before the product is taken: multiply first, then add up"] = late[i]
            same(f"by {letter} of {example}", found[i], expected[i].astype(np.float32), mistakes)
    two = np.array(2, np.float32)
    for name, expected in (("add_back", g.sum()), ("mul_back", (g * a).sum())):
        found = getattr(student, name)(g, a * np.ones_like(g), two)
        same(f"by b of {name}(g, a, b), g and a of shape (3, 4), b of shape ()", found[1], expected)


def sum_over_an_axis(student):
    """sum_back: each of what was added up gets the gradient of the sum"""
    g = np.array([1, 2, 3], np.float32)
    repeated = np.repeat(g[:, None], 3, 1)
    same(
        "sum_back(np.array([1., 2., 3.], np.float32), (3, 3), axis=1)",
        student.sum_back(g, (3, 3), 1),
        repeated,
        {
            "the lost axis came back at another place: rows and columns are swapped": repeated.T,
            "the gradient is shared out: each element gets all of it": repeated / 3,
        },
    )
    example = "sum_back(np.array([1., 2., 3.], np.float32), (2, 3), axis=0)"
    same(example, student.sum_back(g, (2, 3), 0), np.stack([g, g]))
    g = np.arange(4.0).reshape(2, 2)  # float64
    example = "sum_back(np.arange(4.0).reshape(2, 2), (2, 2, 2), axis=1)"
    places = {i: np.broadcast_to(np.expand_dims(g, i), (2, 2, 2)) for i in (0, 1, 2)}
    mistakes = {f"the lost axis came back at place {i}, not at 1": places[i] for i in (0, 2)}
    same(example, student.sum_back(g, (2, 2, 2), 1), places[1], mistakes)


def by_differences(student):
    """differences: central, in float64, one element after the other"""
    x = np.array([[[0.5, -1.0]], [[2.0, 3.0]]], np.float32)
    before = x.copy()
    h, y = 1e-3, x.astype(np.float64)
    mistakes = {
        "the difference is one-sided: take x + h and x - h, and divide by 2 h": ((y + h) ** 3 - y**3) / h,
        "only x + h is moved, and x itself taken for x - h": ((y + h) ** 3 - y**3) / (2 * h),
        "the division is by h, the two points are 2 h apart": 2 * (3 * y**2 + h**2),
        "/ 2 * h divides by 2 and then multiplies by h: divide by (2 * h)": (3 * y**2 + h**2) * h**2,
    }
    seen = []
    student.differences(lambda x: seen.append(x.copy()) or 0.0, x)
    sentence = "rounding spoils it: differences in float32 see only a few digits, copy x to float64"
    require(
        all(moved.dtype != np.float32 for moved in seen),
        sentence,
        "differences(f, x), x float32",
        "f gets float64",
        "f gets float32",
    )
    elements = next((n for moved in seen if (n := np.count_nonzero(moved != x))), 0)
    sentence = "a whole row is moved at once: go through np.ndindex(x.shape), one element after the other"
    require(elements <= 1, sentence, "differences(f, x), x (2, 1, 2)", "1 element", f"{elements} elements")
    found = student.differences(lambda x: (x**3).sum(), x, h)
    rounded = getattr(found, "dtype", None) == np.float32
    sentence = "the result is float32, which rounds the digits away: make it float64"
    require(not rounded, sentence, "differences(f, x), x float32", "float64", "float32")
    expected = 3 * y**2 + h**2
    same("differences(lambda x: (x**3).sum(), x, h=1e-3)", found, expected, mistakes, tolerance=1e-9, other_dtype=True)
    same("x, after differences(f, x)", x, before, {"x itself was changed: work on a copy": found})

    a = np.array([0.3, 0.7])
    same(
        "differences(lambda x: x[0] * x[1], np.array([0.3, 0.7]))",
        student.differences(lambda x: x[0] * x[1], a),
        [0.7, 0.3],
        {"an element was not put back before the next was moved": [0.7, 0.3 - 1e-6], "not put back": [0.7, 0.3 + 1e-6]},
        tolerance=1e-8,
        other_dtype=True,
    )


CHECKS = (dtypes, summed_back, leading_axes, sum_and_product, sum_over_an_axis, by_differences)
