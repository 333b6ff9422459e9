"""The Tensor as a Python object: its operators, methods and conversions are NumPy's; it prints what it is."""

import numpy as np
import pytest

import minigrad as mg

A = np.random.default_rng(0).standard_normal((3, 4))
B = np.random.default_rng(1).standard_normal((4, 2))
POSITIVE = abs(A) + 0.5

# The same call on a Tensor and on the array it holds.
ALIKE = {
    "abs": lambda x: abs(x),
    "negative": lambda x: -x,
    "matmul": lambda x: x @ B,
    "rmatmul": lambda x: np.ascontiguousarray(B.T) @ x.T,
    "subtract from": lambda x: 1.5 - x,
    "divide by": lambda x: 1.5 / x,
    "power": lambda x: x**2,
    "not equal": lambda x: x != A[0, 0],
    "at most": lambda x: x <= A[0],
    "invert": lambda x: ~(x > 0),
    "var": lambda x: x.var(axis=1, ddof=1, keepdims=True),
    "argmax": lambda x: x.argmax(1),
    "min": lambda x: x.min(axis=0),
    "T": lambda x: x.T,
    "reshape": lambda x: x.reshape(2, -1),
    "reshape by a tuple": lambda x: x.reshape((4, 3)),
    "row": lambda x: x[1],
    "rows": lambda x: np.stack([np.asarray(row) for row in x]),
    "len": lambda x: len(x),
    "list": lambda x: x.tolist(),
}
METHODS = {
    "exp": (lambda x: x.exp(), np.exp(POSITIVE)),
    "log": (lambda x: x.log(), np.log(POSITIVE)),
    "sqrt": (lambda x: x.sqrt(), np.sqrt(POSITIVE)),
    "abs": (lambda x: (-x).abs(), POSITIVE),
    "clamp": (lambda x: x.clamp(0.6, 1), POSITIVE.clip(0.6, 1)),
    "permute": (lambda x: x.permute(1, 0), POSITIVE.T),
    "permute by a tuple": (lambda x: x.permute((1, 0)), POSITIVE.T),
    "flatten": (lambda x: x.flatten(), POSITIVE.ravel()),
    "transpose": (lambda x: x.transpose(0, 1), POSITIVE.T),
}


@pytest.mark.parametrize("name", ALIKE)
@pytest.mark.host("NumPy's arrays as operands")
def test_it_behaves_as_the_array(name):
    found = ALIKE[name](mg.Tensor(A))
    np.testing.assert_allclose(np.asarray(found), ALIKE[name](A), rtol=1e-14)


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    call, expected = METHODS[name]
    np.testing.assert_allclose(call(mg.Tensor(POSITIVE)).numpy(), expected, rtol=1e-14)


def test_one_element_is_a_number():
    x = mg.Tensor([[2.75]])
    assert float(x) == x.item() == 2.75 and int(x) == 2 and bool(x) and not mg.Tensor(0.0)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(mg.Tensor(A))
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(mg.Tensor(1.0))


@pytest.mark.host("NumPy takes tensors of the CPU only")
def test_numpy_takes_it_for_an_array():
    x = mg.Tensor(A)
    assert np.asarray(x).dtype == np.float64 and np.asarray(x, np.float32).dtype == np.float32
    copy = np.array(x)
    copy[:] = 0
    np.testing.assert_array_equal(x.numpy(), A)


def test_it_prints_what_it_is():
    assert repr(mg.Tensor([1.0, 2.5])) == "tensor([1. , 2.5], dtype=float32)"
    leaf = mg.Tensor([1.0, 2.5], requires_grad=True)
    assert repr(leaf) == "tensor([1. , 2.5], dtype=float32, requires_grad=True)"
    assert repr(leaf * 2) == "tensor([2., 5.], dtype=float32, function=Mul)"
    assert len(repr(mg.Tensor(np.zeros((100, 100))))) < 500


def test_hashing_is_by_identity():
    x, y = mg.Tensor(A), mg.Tensor(A)
    assert len({x, y, x}) == 2


def test_only_arrays_are_shared():
    with pytest.raises(TypeError, match="from_numpy: expected an array, got list"):
        mg.from_numpy([1, 2])


# ---- functions of one's own ------------------------------------------------------------------------------------------


class Double(mg.Function):
    def forward(self, x):
        return 2 * x


def test_what_a_function_lacks_is_named():
    with pytest.raises(NotImplementedError, match="Function.forward"):
        mg.Function()(A)
    with pytest.raises(NotImplementedError, match="Double has no derivative"):
        Double()(mg.Tensor(A, requires_grad=True)).sum().backward()


def test_a_function_does_not_keep_its_output_alive():
    double = Double()
    y = double(mg.Tensor(A, requires_grad=True))
    assert double.output is y
    del y
    with pytest.raises(RuntimeError, match="Double.output: the output is gone"):
        _ = double.output


def test_a_gradient_comes_in_the_dtype_of_its_input():
    """A rule may compute in another one."""
    x = mg.Tensor(A.astype(np.float32), requires_grad=True)
    found = mg.grad(Double()(x).sum(), x, rules={Double: lambda f, g: (g * 2).astype(np.float64)})
    assert found.dtype == np.float32 and (found.numpy() == 2).all()


def test_outputs_are_tensors():
    with pytest.raises(TypeError, match=r"grad: outputs\[0\] is ndarray, expected a Tensor"):
        mg.grad([A], mg.Tensor(A, requires_grad=True))
