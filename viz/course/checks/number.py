"""Stage 1: sums, products, order and gradients of single numbers."""

import random
from functools import partial

from .. import compare
from ..compare import Mistake, require

same = partial(compare.same, other_dtype=True)  # Python's numbers: 1 is as good as 1.0


def sums_and_products(student):
    """sums, products and powers, with a slope for each parent"""
    N = student.Number
    for example, found, value, slopes, mistakes in _sums_and_products(N):
        if not isinstance(found, N):
            raise Mistake(f"a Number is expected, this is {type(found).__name__}", example)
        same(f"({example}).value", found.value, value)
        require(
            len(found.parents) == len(slopes), "the parents are incomplete", example, len(slopes), len(found.parents)
        )
        shown = dict(example=f"({example}).parents", found=[type(parent).__name__ for parent in found.parents])
        plain = not all(isinstance(parent, N) for parent in found.parents)
        require(not plain, "a parent is a plain number: make it a Number with number(other)", **shown)
        same(f"({example}).slopes", found.slopes, slopes, mistakes)


def _sums_and_products(N):
    """Of each example: its Python, what that gives, the value, the slopes, and {what is wrong: slopes that show it}."""
    return (
        (
            "Number(2.0) + Number(5.0)",
            N(2.0) + N(5.0),
            7.0,
            (1.0, 1.0),
            {
                "these are the values: the slopes of a sum are 1 and 1": (2.0, 5.0),
                "the slopes of a sum are 1 and 1, these are a product's": (5.0, 2.0),
            },
        ),
        ("Number(2.0) + 1.0", N(2.0) + 1.0, 3.0, (1.0, 1.0), {}),
        (
            "Number(2.0) * Number(5.0)",
            N(2.0) * N(5.0),
            10.0,
            (5.0, 2.0),
            {"the slopes of a product are swapped: by the first factor it is the second's value": (2.0, 5.0)},
        ),
        ("3.0 * Number(2.0)", 3.0 * N(2.0), 6.0, (3.0, 2.0), {}),
        (
            "Number(2.0) ** 3",
            N(2.0) ** 3,
            8.0,
            (12.0,),
            {
                "the exponent is not taken down by one: the slope of x^n is n x^(n-1)": (24.0,),
                "the factor n is missing: the slope of x^n is n x^(n-1)": (4.0,),
                "x stands where x^(n-1) should: the slope of x^n is n x^(n-1)": (6.0,),
            },
        ),
        ("Number(-3.0) ** 2", N(-3.0) ** 2, 9.0, (-6.0,), {"the sign of x is lost in x^(n-1)": (6.0,)}),
        ("Number(2.0) ** -1", N(2.0) ** -1, 0.5, (-0.25,), {"the sign of n is lost: n may be negative": (0.25,)}),
        (
            "Number(4.0) ** 0.5",
            N(4.0) ** 0.5,
            2.0,
            (0.25,),
            {"n - 1 was made an integer: n may be a fraction": (0.5,), "n is taken up by one": (4.0,)},
        ),
    )


def topological_order(student):
    """order: each Number once, parents first"""
    N = student.Number
    a, b, c, d = (N(float(i)) for i in range(4))
    b.parents, b.slopes = (a,), (1.0,)
    c.parents, c.slopes = (a, b), (1.0, 1.0)
    d.parents, d.slopes = (b, c), (1.0, 1.0)
    names = {a: "a", b: "b", c: "c", d: "d"}
    example = "order(d), where b is made from a, c from a and b, d from b and c"
    result = student.order(d)
    require(result is not None, "nothing came back (None): a `return` is missing", example)
    found = [names.get(x, "?") for x in result]
    shown = dict(example=example, expected="a b c d", found=" ".join(found))
    require(
        len(set(found)) == len(found), "a Number is visited twice: remember which are in the order already", **shown
    )
    require(set(found) == set("abcd"), "some Numbers are missing, or do not belong", **shown)
    require(found != list("dcba"), "this is the order backwards: parents come first", **shown)
    require(found == list("abcd"), "a Number comes before one of its parents", **shown)
    random_order(student, [float(i) for i in range(40)])
    try:
        random_order(student, [1.0] * 40)
    except Mistake as mistake:
        mistake.sentence = "two Numbers of one value are two: ask for the Number itself, not for its value"
        raise


def random_order(student, values):
    """The order of a graph that is drawn, whose last Number is made from all others."""
    rng = random.Random(0)
    graph = []
    for i, value in enumerate(values):
        parents = tuple(rng.sample(graph, min(i, rng.choice((0, 1, 2)))))
        graph.append(student.Number(value, parents, (1.0,) * len(parents)))
    used = {parent for x in graph for parent in x.parents}
    last = student.Number(values[0], tuple(x for x in graph if x not in used))
    last.slopes = (1.0,) * len(last.parents)
    found = list(student.order(last))
    place = {x: i for i, x in enumerate(found)}
    example = f"order(last), of a graph of {len(values) + 1} Numbers"
    strangers = set(place) - {*graph, last}
    require(not strangers, "what an earlier call had found is still there: begin with an empty list", example)
    require(len(place) == len(found), "a Number is visited twice: remember which are in the order already", example)
    require(set(place) == {*graph, last}, "some Numbers are missing", example)
    before = all(place[parent] < place[x] for x in found for parent in x.parents)
    require(before, "a Number comes before one of its parents", example)


def used_twice(student):
    """gradients: what is used twice gets the sum"""
    a, b = student.Number(2.0), student.Number(7.0)  # values for which no two mistakes give the same
    product, example = a * b, "gradients(a * b + a)"
    last = product + a
    try:
        found = student.gradients(last)
    except KeyError as error:
        if not isinstance(error.args[0], student.Number):
            raise
        sentence = (
            "a Number has no gradient when its turn comes: begin with 1.0 for last, go through the order backwards"
        )
        raise Mistake(sentence, example, "", "KeyError") from None
    require(isinstance(found, dict), "a dictionary {Number: gradient} is expected", example)
    by_number = all(isinstance(key, student.Number) for key in found)
    require(by_number, "the keys are to be Numbers", example, "Number", {type(key).__name__ for key in found})
    shown = dict(expected="a, b, a * b, and last", found=f"{len(found)} Numbers")
    everyone = {a, b, product, last} <= set(found)
    require(everyone, "a Number of the graph has no gradient: each in order(last) has one", example, **shown)
    same(
        f"{example}[a], a = 2, b = 7",
        found[a],
        8.0,
        {
            "only one of two uses counted: the other was overwritten, or the order was not walked backwards": 1.0,
            "the gradient is overwritten where a value is used twice: add to what is there (the last one won)": 7.0,
            "the gradients of the two uses are averaged: they add up": 4.0,
            "the slopes of a product are swapped: the first check says more": 3.0,
            "last has the gradient 1 by itself: begin with {last: 1.0}": 0.0,
        },
    )
    same(f"{example}[b], a = 2, b = 7", found[b], 2.0, {"the slopes of a product are swapped": 7.0})
    x = student.Number(3.0)
    same("gradients(x * x)[x], x = 3", student.gradients(x * x)[x], 6.0, {"overwritten: x * x uses x twice": 3.0})
    mistakes = {
        "x + x uses x twice: both of its parents are x": 1.0,
        "an earlier pass's gradients are still there: begin with an empty dictionary": 8.0,
    }
    same("gradients(x + x)[x], x = 3", student.gradients(x + x)[x], 2.0, mistakes)
    found, sentence = student.gradients(x * 0.0), "a Number whose gradient is 0 has one, too: do not leave it out"
    require(x in found, sentence, "gradients(x * 0.0)[x]", "0.0", "no gradient")
    same("gradients(x * 0.0)[x]", found[x], 0.0)


def complete_before_handed_on(student):
    """gradients: a gradient is complete before it is handed on"""
    sentence = "a Number handed its gradient on before all its users had added to it: go through order(last) backwards"
    for text, function, expected in (
        ("y * 3.0 + y * y", lambda y: y * 3.0 + y * y, 44.0),  # wrong if a stack is walked instead
        ("y + (y * 3.0) * 3.0", lambda y: y + (y * 3.0) * 3.0, 40.0),  # wrong by a queue: one way to y is longer
    ):
        x = student.Number(2.0)
        found = student.gradients(function(x * x))[x]
        same(f"y = x * x; gradients({text})[x], x = 2", found, expected, {sentence: found})


def twice_the_same(student):
    """gradients: asked twice, the same answer"""
    x = student.Number(3.0)
    y = x * x
    first, second = student.gradients(y)[x], student.gradients(y)[x]
    same(
        "gradients(y)[x], asked a second time",
        second,
        first,
        {"the first pass's gradients are still there: begin with an empty dictionary": 2 * first},
    )


def deep(student):
    """order and gradients: a chain of 5,000 Numbers"""
    x = student.Number(1.0)
    y = x
    for _ in range(5000):
        y = y + 1.0
    same("gradients(x + 1 + 1 + ... + 1)[x]", student.gradients(y)[x], 1.0)


def wide(student):
    """order: 40 doublings take no longer than 40 steps"""
    x = y = student.Number(1.0)
    for _ in range(40):
        y = y + y
    same("gradients(y)[x], y doubled 40 times", student.gradients(y)[x], 2.0**40)


CHECKS = (sums_and_products, topological_order, used_twice, complete_before_handed_on, twice_the_same, deep, wide)
