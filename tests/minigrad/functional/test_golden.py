"""Every case of cases.py gives what PyTorch gave: value, shape, dtype and gradients (tests/golden/functional.npz).

The same list is checked against numerical derivatives, of first and second order, and in float32.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad.tools.gradcheck import check_gradients
from tests.minigrad.functional.cases import CASES

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "functional.npz")
INDEX = json.loads(GOLDEN["index"].tobytes())["cases"]
VALUES = GOLDEN["values"]
SMOOTH = [c for c in CASES if c.smooth]


def starting_gradient(shape):
    """As in tests/golden/make_golden.py."""
    return np.cos(np.arange(np.prod(shape, dtype=int)) * 1.7 + 0.3).reshape(shape)


def golden_offsets():
    """{case name: where its numbers begin in VALUES}."""
    offsets, at = {}, 0
    for name, entry in INDEX.items():
        offsets[name] = at
        at += sum(int(np.prod(shape)) for shape in [entry["shape"], *entry["gradients"]] if shape is not None)
    assert at == VALUES.size
    return offsets


OFFSETS = golden_offsets()


def expected(name):
    """(output, [gradient or None]) of a case, as PyTorch gave them."""
    entry, at = INDEX[name], OFFSETS[name]
    found = []
    for shape in [entry["shape"], *entry["gradients"]]:
        size = 0 if shape is None else int(np.prod(shape))
        found.append(None if shape is None else VALUES[at : at + size].reshape(shape))
        at += size
    return found[0].astype(entry["dtype"]), found[1:]


def tensors_of(case, dtype=np.float64):
    arrays = [GOLDEN[f"input{i}"] for i in INDEX[case.name]["inputs"]]
    return [
        mg.Tensor(a, dtype=dtype, requires_grad=not spec.constant) if a.dtype.kind == "f" else mg.Tensor(a)
        for a, spec in zip(arrays, case.inputs, strict=True)
    ]


def channels_last(x):
    """The same tensor with another order of memory."""
    if x.ndim < 3:
        array = x.numpy().copy(order="F")
    else:
        array = np.moveaxis(np.ascontiguousarray(np.moveaxis(x.numpy(), -3, -1)), -1, -3)
    other = mg.from_numpy(array)
    other.requires_grad = x.requires_grad
    return other


def check(case, tensors, rtol, atol):
    wanted, gradients = expected(case.name)
    y = case.call(F, *tensors)
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y.numpy(), wanted, rtol, atol)
    if not y.requires_grad:  # comparisons, indices, sign
        assert all(g is None or not g.any() for g in gradients)
    else:
        inputs = [x for x in tensors if x.requires_grad]
        used = [(x, g) for x, g in zip(inputs, gradients, strict=True) if g is not None]
        found = mg.grad(y, [x for x, _ in used], mg.Tensor(starting_gradient(y.shape), dtype=y.dtype))
        for (x, g), ours in zip(used, found, strict=True):
            assert ours.dtype == x.dtype
            np.testing.assert_allclose(ours.numpy(), g, rtol, atol)
    return y, wanted


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_value_and_gradients(case):
    y, wanted = check(case, tensors_of(case), 1e-9, 1e-11)
    assert y.dtype == wanted.dtype


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_any_memory_order(case):
    check(case, [channels_last(x) for x in tensors_of(case)], 1e-9, 1e-11)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_float32_stays_float32(case):
    y, wanted = check(case, tensors_of(case, np.float32), 2e-4, 2e-4)
    assert y.dtype == (np.float32 if wanted.dtype == np.float64 else wanted.dtype)


def of_differentiable_inputs(case):
    """(function of the inputs that have a gradient, these inputs), at their golden values."""
    tensors = tensors_of(case)
    places = [i for i, x in enumerate(tensors) if x.requires_grad]

    def function(*xs):
        arguments = list(tensors)
        for i, x in zip(places, xs, strict=True):
            arguments[i] = x
        return case.call(F, *arguments)

    return function, [tensors[i] for i in places]


@pytest.mark.host("the same gradients are compared with golden values, in a hundredth of the time")
@pytest.mark.parametrize("case", SMOOTH, ids=lambda c: c.name)
def test_jacobian(case):
    check_gradients(*of_differentiable_inputs(case), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", SMOOTH, ids=lambda c: c.name)
def test_second_derivative(case):
    rng = np.random.default_rng(1)
    check_gradients(*of_differentiable_inputs(case), order=2, direction=rng, rtol=1e-5, atol=1e-6)


def test_every_function_has_a_case():
    """A function added to minigrad.functional without a case here is one that nobody compared with PyTorch."""
    called = set().union(*(names_in(c.call.__code__) | set(map(str, c.call.__defaults__ or ())) for c in CASES))
    called |= {c.name.split("(")[0].split()[0] for c in CASES}
    tested_elsewhere = {"cast", "to_device", "ones_like", "zeros_like", "sum_to", "getitem", "pair", "neg"}
    tested_elsewhere |= {"logical_and", "logical_or", "logical_not", "argmin", "argmax"}
    tested_elsewhere |= {"conv2d_relu", "conv2d_relu_max_pool", "batch_norm_relu", "cat_relu", "relu_of_rectified"}
    functions = {name for name in vars(F) if name.islower() and not name.startswith("_") and callable(getattr(F, name))}
    assert functions - called - tested_elsewhere == set()


def names_in(code):
    return set(code.co_names)
