"""The backward pass: what it visits, what it refuses, and what it leaves as it was."""

import gc
import re
import subprocess
import sys
import threading
import weakref

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import minigrad as mg
from minigrad import functional as F
from minigrad.tools.gradcheck import check_gradients
from tests.minigrad.functional.cases import beside


def tensor(*shape, seed=0, dtype=np.float64):
    return mg.Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True, dtype=dtype)


class Square(mg.Function):
    """x * x, counting how often its derivative is asked for."""

    calls = 0

    def forward(self, x):
        return x * x

    def vjp(self, g):
        type(self).calls += 1
        (x,) = self.inputs
        return g * x * 2.0


@pytest.fixture
def count_vjps(monkeypatch):
    """{class name: number of calls} of every vjp made during the test."""
    counts = {}

    def counted(kind):
        plain = kind.vjp

        def vjp(self, g):
            counts[kind.__name__] = counts.get(kind.__name__, 0) + 1
            return plain(self, g)

        monkeypatch.setattr(kind, "vjp", vjp)

    for kind in (F.Conv2d, F.Linear, F.ReLU, F.Conv2dInputGrad, F.Conv2dWeightGrad):
        counted(kind)
    for kind in (F.Conv2dInputGrad, F.Conv2dWeightGrad):

        def forward(self, *arrays, plain=kind.forward, name=f"{kind.__name__} forward"):
            counts[name] = counts.get(name, 0) + 1
            return plain(self, *arrays)

        monkeypatch.setattr(kind, "forward", forward)
    return counts


# ---- values ----------------------------------------------------------------------------------------------------------


def test_gradient_of_a_reused_tensor_adds_up():
    x = mg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * x
    np.testing.assert_allclose(mg.grad((y + y * x).sum(), x).numpy(), [2 + 3, 4 + 12, 6 + 27])


@pytest.mark.host("NumPy's arrays among the arguments")
def test_several_outputs_and_inputs_with_weights():
    a, b = tensor(3, seed=1), tensor(3, seed=2)
    ga, gb = mg.grad([a * b, a + b], [a, b], [mg.Tensor([1.0, 2.0, 3.0], dtype=np.float64), np.ones(3)])
    np.testing.assert_allclose(ga.numpy(), [1, 2, 3] * b.numpy() + 1)
    np.testing.assert_allclose(gb.numpy(), [1, 2, 3] * a.numpy() + 1)


def test_gradient_by_an_intermediate_and_by_an_output():
    x = tensor(4)
    h = x * 3.0
    y = (h * h).sum()
    np.testing.assert_allclose(mg.grad(y, h).numpy(), 2 * h.numpy())
    by_h, by_x, by_y = mg.grad(y, [h, x, y])
    np.testing.assert_allclose(by_h.numpy(), 2 * h.numpy())
    np.testing.assert_allclose(by_x.numpy(), 6 * h.numpy())
    assert by_y.item() == 1


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_derivatives_of_any_order(order):
    x = mg.Tensor(1.3, requires_grad=True, dtype=np.float64)
    y = x**5 + F.sin(x)
    for _ in range(order):
        y = mg.grad(y, x, create_graph=True)
    falling = np.prod([5 - k for k in range(order)])
    assert y.item() == pytest.approx(falling * 1.3 ** (5 - order) + np.sin(1.3 + order * np.pi / 2), rel=1e-9)


def test_third_derivative_of_a_small_network():
    x, w, v = tensor(1, 2, 5, 5), tensor(3, 2, 3, 3, seed=1), tensor(2, 12, seed=2)

    def gradient_norm(x, w, v):
        h = F.tanh(F.batch_norm(F.conv2d(x, w, padding=1), None, None, training=True))
        score = F.log_softmax(F.linear(F.flatten(F.avg_pool2d(h, 2), 1), v), 1)[0, 0]
        return F.square(mg.grad(score, x, create_graph=True)).sum()

    check_gradients(gradient_norm, [x, w, v], order=2, direction=np.random.default_rng(0), eps=1e-5, rtol=1e-4)


def test_without_create_graph_the_result_is_cut_off():
    x = tensor(3)
    g = mg.grad((x**3).sum(), x)
    assert not g.requires_grad and g.function is None


def test_backward_adds_to_leaves_only():
    x, w = tensor(3), tensor(3, seed=1)
    h = x * w
    h.sum().backward()
    h2 = x * w
    h2.backward(mg.Tensor(np.ones(3)))
    np.testing.assert_allclose(x.grad.numpy(), 2 * w.numpy())
    np.testing.assert_allclose(w.grad.numpy(), 2 * x.numpy())
    assert h.grad is None


def test_passes_are_repeatable():
    x = tensor(2, 3)
    y = (F.exp(x) * x).sum()
    first, second = mg.grad(y, x), mg.grad(y, x)
    np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_rules_hold_for_one_call_and_for_subclasses():
    class Gentle(F.ReLU):
        pass

    x = mg.Tensor([-1.0, 2.0], requires_grad=True)
    y = Gentle()(x).sum()
    rules = {F.ReLU: lambda relu, g: g * 10.0}
    np.testing.assert_array_equal(mg.grad(y, x, rules=rules).numpy(), [10, 10])
    np.testing.assert_array_equal(mg.grad(y, x).numpy(), [0, 1])
    with pytest.raises(ValueError, match=r"ReLU.*shape \(1,\).*expected \(2,\)|Gentle.*shape \(1,\).*expected \(2,\)"):
        mg.grad(y, x, rules={F.ReLU: lambda relu, g: g[:1]})


# ---- only what is needed ---------------------------------------------------------------------------------------------


def test_a_frozen_network_computes_no_weight_gradient(count_vjps):
    x = tensor(1, 2, 6, 6)
    w1, w2 = tensor(3, 2, 3, 3, seed=1).detach(), tensor(3, 3, 3, 3, seed=2).detach()
    y = F.relu(F.conv2d(F.relu(F.conv2d(x, w1)), w2)).sum()
    mg.grad(y, x)
    assert count_vjps == {"Conv2d": 2, "ReLU": 2, "Conv2dInputGrad forward": 2}


def test_a_gradient_by_a_late_layer_stops_there(count_vjps):
    x, w1, w2 = tensor(1, 2, 6, 6), tensor(3, 2, 3, 3, seed=1), tensor(3, 3, 3, 3, seed=2)
    hidden = F.relu(F.conv2d(x, w1))
    y = F.relu(F.conv2d(hidden, w2)).sum()
    mg.grad(y, w2)
    assert count_vjps == {"Conv2d": 1, "ReLU": 1, "Conv2dWeightGrad forward": 1}
    count_vjps.clear()
    mg.grad(y, hidden)
    assert count_vjps == {"Conv2d": 1, "ReLU": 1, "Conv2dInputGrad forward": 1}


def test_a_shared_part_is_visited_once():
    x = mg.Tensor(1.0, requires_grad=True, dtype=np.float64)
    Square.calls = 0
    y = x
    for _ in range(30):
        y = Square()(y) + y  # 2**30 paths
        y = y / y.item()
    mg.grad(y, x)
    assert Square.calls == 30


def test_no_grad_records_nothing_in_this_thread_only():
    x = tensor(3)
    recorded = []
    with mg.no_grad():
        worker = threading.Thread(target=lambda: recorded.append((x * 2.0).requires_grad))
        worker.start()
        worker.join()
        assert not (x * 2.0).requires_grad
    assert recorded == [True]
    assert (x * 2.0).requires_grad

    @mg.no_grad()
    def double(t):
        return t * 2.0

    assert not double(x).requires_grad


# ---- depth, memory, threads ------------------------------------------------------------------------------------------


def test_depth_20000():
    x = mg.Tensor(1.0, requires_grad=True, dtype=np.float64)
    y = x
    for _ in range(20_000):
        y = y + 1e-4
    g = mg.grad(y, x)
    assert g.item() == 1
    y.backward()
    assert x.grad.item() == 1
    del y  # freeing a deep graph must not overflow the stack either


def test_depth_of_a_recorded_backward_pass():
    x = mg.Tensor(1.0, requires_grad=True, dtype=np.float64)
    y = x
    for _ in range(5_000):
        y = y * 1.0001
    g = mg.grad(y * y, x, create_graph=True)
    assert mg.grad(g, x).item() == pytest.approx(2 * 1.0001**10_000)


def test_a_graph_is_freed_without_the_garbage_collector():
    x = tensor(3)
    gc.disable()
    try:
        y = F.exp(x) * x
        watched = weakref.ref(y), weakref.ref(y.function)
        mg.grad(y.sum(), x)
        del y
        assert all(w() is None for w in watched)
    finally:
        gc.enable()


@pytest.mark.host("NumPy's arrays can be made read-only, CuPy's cannot")
def test_threads_do_not_disturb_each_other():
    w = tensor(4, 3, 3, 3, seed=9)
    results, errors = {}, []

    def work(seed):
        try:
            x = tensor(2, 3, 8, 8, seed=seed)
            for _ in range(5):
                y = F.square(F.relu(F.conv2d(x, w, padding=1))).sum()
                results[seed] = [g.numpy() for g in mg.grad(y, [x, w])]
        except Exception as error:  # noqa: BLE001  (an exception in a thread would pass unseen)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    together = {seed: results[seed] for seed in range(6)}
    for seed in range(6):
        work(seed)
        for alone, shared in zip(results[seed], together[seed], strict=True):
            np.testing.assert_allclose(alone, shared, rtol=1e-12)
    assert w.data.flags.writeable  # every graph is gone, and with it every hold on the shared weights


# ---- misuse ----------------------------------------------------------------------------------------------------------


@pytest.mark.host("NumPy's arrays can be made read-only, CuPy's cannot")
def test_writing_into_data_that_a_graph_needs():
    x = tensor(3)
    y = F.exp(x)
    for array in (x.data, y.data, x.numpy()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5.0
        with pytest.raises(ValueError, match="read-only"):
            array += 1.0
    del y
    x.data[0] = 5.0  # no graph, no harm
    assert x.numpy()[0] == 5


@pytest.mark.host("NumPy's arrays can be made read-only, CuPy's cannot")
def test_data_of_a_caller_is_copied_or_guarded():
    mine = np.ones(3)
    x = mg.Tensor(mine, requires_grad=True)
    y = (x * x).sum()
    mine[:] = 7
    np.testing.assert_array_equal(mg.grad(y, x).numpy(), [2, 2, 2])

    shared = mg.from_numpy(mine)
    shared.requires_grad = True
    y = (shared * shared).sum()
    with pytest.raises(ValueError, match="read-only"):
        mine[:] = 8


@pytest.mark.parametrize("kind", ["where", "index", "mask", "max_unpool2d"])
@pytest.mark.host("NumPy's arrays can be made read-only, CuPy's cannot")
def test_arrays_that_choose_are_guarded_too(kind):
    x = tensor(1, 1, 2, 2)
    choice = {"where": np.ones((1, 1, 2, 2), bool), "mask": np.ones((1, 1, 2, 2), bool), "index": np.array([0, 0])}
    mine = choice.get(kind, np.array([[[[0, 2], [8, 10]]]]))
    call = {
        "where": lambda a: F.where(a, x, 0.0),
        "index": lambda a: x[0, 0, a],
        "mask": lambda a: x[a],
        "max_unpool2d": lambda a: F.max_unpool2d(x, a, 2),
    }[kind]
    for given_as in (mine, mg.from_numpy(mine)):
        y = call(given_as)
        with pytest.raises(ValueError, match="read-only"):
            mine[...] = 0
        g = mg.grad(y.sum(), x, create_graph=True)
        del y, g
        assert mine.flags.writeable
    call(mine).detach()
    mine[...] = 0  # no graph, no harm


def leaf(array):
    x = mg.from_numpy(array)
    x.requires_grad = True
    return x


@pytest.mark.host("NumPy's arrays can be made read-only, CuPy's cannot")
def test_the_base_of_a_view_is_guarded_with_it():
    base = np.ones(6)
    x, z = leaf(base[1:3]), leaf(base[3:].reshape(3, 1))
    y, w = (x * x).sum(), (z * z).sum()
    for _ in range(2):  # as long as either graph lives
        with pytest.raises(ValueError, match="read-only"):
            base[0] = 7.0
        y = None
    y = F.exp(x)  # a view that waits for its base to be free is taken up again
    del w
    with pytest.raises(ValueError, match="read-only"):
        base[0] = 7.0
    del y
    assert base.flags.writeable and x.data.flags.writeable and z.data.flags.writeable


@pytest.mark.host("NumPy's arrays can be made read-only, CuPy's cannot")
def test_what_was_read_only_stays_so():
    base = np.ones(3)
    view = np.broadcast_to(base, (2, 3))
    y = leaf(view) * 2.0
    with pytest.raises(ValueError, match="read-only"):
        base[0] = 7.0
    del y
    assert base.flags.writeable and not view.flags.writeable


def test_threads_hold_views_of_one_base():
    base = np.ones((8, 50))
    views = [base[i] for i in range(8)]

    def work(view):
        for _ in range(100):
            x = leaf(view)
            mg.grad((x * x).sum(), x)

    threads = [threading.Thread(target=work, args=(view,)) for view in views]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert base.flags.writeable and all(view.flags.writeable for view in views)


def test_replacing_data_that_a_graph_needs():
    x = tensor(3)
    y = (x * x).sum()
    x.data = (x * 2).data
    with pytest.raises(RuntimeError, match="replaced after the graph"):
        mg.grad(y, x)
    z = F.exp(x)
    total = z.sum()
    z.data = (z * 2).data
    with pytest.raises(RuntimeError, match="replaced after the graph"):
        mg.grad(total, x)
    with pytest.raises(ValueError, match=r"expected shape \(3,\), got \(2,\)"):
        x.data = np.ones(2)


def test_a_function_runs_once():
    x = tensor(3)
    relu = F.ReLU()
    relu(x)
    with pytest.raises(RuntimeError, match="once"):
        relu(x)


def refused(error, pattern, call):
    with pytest.raises(error, match=pattern):
        call()


def test_bad_requests_say_what_to_do():
    x, other = tensor(3), tensor(2)
    y = x * 2.0
    refused(ValueError, r"outputs\[0\] has shape \(3,\).*sum it, or give one", lambda: mg.grad(y, x))
    refused(ValueError, r"outputs\[0\] has shape \(3,\)", lambda: y.backward())
    refused(
        ValueError, r"gradient for outputs\[0\] has shape \(2,\), expected \(3,\)", lambda: mg.grad(y, x, np.ones(2))
    )
    refused(ValueError, r"no output depends on inputs\[1\]", lambda: mg.grad(y.sum(), [x, other]))
    refused(ValueError, "does not require grad", lambda: mg.grad(y.sum(), mg.Tensor([1.0])))
    refused(TypeError, r"inputs\[0\] is ndarray", lambda: mg.grad(y.sum(), [np.ones(3)]))
    refused(ValueError, "not computed from a tensor that requires grad", lambda: mg.grad(mg.Tensor(1.0), x))
    refused(ValueError, "1 outputs but 2 grad_outputs", lambda: mg.grad(y, x, [np.ones(3)] * 2))
    refused(TypeError, "only floating point tensors can require grad", lambda: mg.Tensor([1, 2], requires_grad=True))
    refused(TypeError, "numbers or booleans", lambda: mg.Tensor(["a"]))


def test_a_vjp_that_returns_nonsense_is_named():
    class Wrong(mg.Function):
        def __init__(self, result):
            self.result = result

        def forward(self, x):
            return x + 0

        def vjp(self, g):
            return self.result

    x = tensor(3)
    refused(TypeError, "Wrong: .*ndarray.*expected a Tensor", lambda: mg.grad(Wrong(np.ones(3))(x).sum(), x))
    refused(
        ValueError, r"Wrong: .*shape \(2,\), expected \(3,\)", lambda: mg.grad(Wrong(mg.Tensor([1.0, 2.0]))(x).sum(), x)
    )
    refused(ValueError, "Wrong: .*2 gradients for 1 inputs", lambda: mg.grad(Wrong((None, None))(x).sum(), x))


def test_anomaly_detection_names_the_first_nan():
    x = mg.Tensor([-1.0, 0.0], requires_grad=True)
    with np.errstate(all="ignore"):
        with mg.detect_anomaly(), pytest.raises(FloatingPointError, match=r"Log\.forward"):
            F.exp(F.log(x)).sum()
        with mg.detect_anomaly():
            y = F.sqrt(x * 0.0).sum()
            with pytest.raises(FloatingPointError, match=r"in Mul\.vjp"):
                mg.grad(y, x)
        assert np.isnan(F.log(x).numpy()[0])  # outside, NaN is a value like any other


# ---- dtypes ----------------------------------------------------------------------------------------------------------


@given(
    st.sampled_from([np.float16, np.float32, np.float64]), st.sampled_from([2, 2.5, True, np.float64(1.5), np.int64(3)])
)
def test_numbers_never_promote(dtype, number):
    x = mg.Tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    results = [
        x + number,
        number - x,
        x * number,
        number / x,
        x**number,
        F.maximum(x, number),
        F.where(x > 1, x, number),
    ]
    assert {r.dtype for r in results} == {np.dtype(dtype)}
    assert mg.grad(results[2].sum(), x).dtype == dtype


def test_dtypes_of_new_tensors_and_of_mixtures():
    assert mg.Tensor([1.0]).dtype == np.float32
    assert mg.Tensor(np.ones(1)).dtype == np.float64
    assert mg.Tensor([1, 2]).dtype == np.int64
    integers = mg.Tensor([1, 2])
    assert (integers * 2).dtype == np.int64
    assert (integers * 2.5).dtype == (integers / 2).dtype == F.mean(integers).dtype == np.float32
    assert (integers * mg.Tensor([1.0, 2.0])).dtype == np.float32
    assert F.sum(mg.Tensor([True, True])).dtype == np.int64
    with pytest.raises(TypeError, match="matmul: dtypes differ"):
        F.matmul(mg.Tensor(np.ones((2, 2))), mg.Tensor(np.ones((2, 2), np.float32)))
    with pytest.raises(TypeError, match="conv2d: x has dtype float64, weight has float32"):
        F.conv2d(mg.Tensor(np.ones((1, 1, 3, 3))), mg.Tensor(np.ones((1, 1, 1, 1), np.float32)))


def test_a_gradient_has_its_inputs_dtype_across_a_cast():
    x = tensor(3, dtype=np.float32)
    assert mg.grad((x.astype(np.float64) ** 2).sum(), x).dtype == np.float32


# ---- messages --------------------------------------------------------------------------------------------------------

X = np.zeros((2, 3, 8, 8), np.float32)
MESSAGES = [
    (lambda: F.conv2d(X, np.zeros((4, 64, 3, 3), np.float32)),
     "conv2d: x has 3 channels (x.shape[1]), weight expects 64 (weight.shape[1] * groups)"),
    (lambda: F.conv2d(X, np.zeros((4, 3, 9, 3), np.float32)), "conv2d: the kernel spans 9 in height"),
    (lambda: F.conv2d(X, np.zeros((4, 3, 3, 3), np.float32), padding="full"), 'must be "valid", "same", "same_upper"'),
    (lambda: F.conv2d(X, np.zeros((4, 3, 3, 3), np.float32), stride=0), "conv2d: stride must be at least 1, got 0"),
    (lambda: F.conv_transpose2d(X, np.zeros((4, 3, 3, 3), np.float32)), "weight expects 4 (weight.shape[0])"),
    (lambda: F.max_pool2d(X, 2, padding=2), "max_pool2d: padding 2 must be at most half of kernel_size (2, 2)"),
    (lambda: F.max_pool2d(X, 9), "max_pool2d: the output would have size (0, 0)"),
    (lambda: F.avg_pool2d(X, 2, divisor_override=0), "avg_pool2d: divisor_override must be a non-zero int, got 0"),
    (lambda: F.linear(X, np.zeros((2, 5), np.float32)), "linear: x has shape (2, 3, 8, 8), weight expects rows of 5"),
    (lambda: F.matmul(X, X[:, :, :4]), "a.shape[-1] is 8, b has 4 rows"),
    (lambda: F.add(X, np.zeros(3, np.float32)), "add: shapes (2, 3, 8, 8) and (3,) do not broadcast"),
    (lambda: F.cat([X, X[0]]), "cat: tensors[1] has shape (3, 8, 8)"),
    (lambda: F.reshape(X, (5, -1)), "reshape: cannot reshape (2, 3, 8, 8) (384 elements) to (5, -1)"),
    (lambda: F.sum(X, 4), "sum: axis 4 is out of range for shape (2, 3, 8, 8)"),
    (lambda: F.cross_entropy(X[0, 0], np.full(8, 9)), "cross_entropy: target holds 9, but classes are 0 to 7"),
    (lambda: F.cross_entropy(X[0, 0], np.zeros(3, int)), "target has shape (3,), expected (8,)"),
    (lambda: F.nll_loss(X[0, 0], np.zeros(8, int), reduction="avg"), 'reduction must be "mean", "sum" or "none"'),
    (lambda: F.batch_norm(X, None, None), "running_mean and running_var are needed when training is False"),
    (lambda: F.batch_norm(X, None, None, mg.Tensor(np.ones(4)), training=True), "weight has shape (4,), expected (3,)"),
    (lambda: F.dropout(X, 0.5), "dropout: training needs rng"),
    (lambda: F.dropout(X, 1.5), "dropout: p must be from 0 to 1, got 1.5"),
    (lambda: F.pad(X, (8, 0), mode="reflect"), "pad: mode 'reflect' pads all but the first 1 or 2 dimensions"),
    (lambda: F.interpolate(X, 4, mode="bicubic"), '"nearest-exact" or "bilinear", got \'bicubic\''),
    (lambda: F.interpolate(X, 4, mode="bilinear", antialias=True), "interpolate: antialias is not supported"),
    (lambda: F.unfold(X, 9), "unfold: kernel_size (9, 9) with dilation (1, 1) does not fit"),
    (lambda: F.where(X, X, X), "where: condition must be boolean, got float32"),
    (lambda: mg.Tensor(X)[0, 5], "getitem: index 5 is out of bounds for axis 1 with size 3 (the tensor has shape"),
    (lambda: mg.Tensor(X).item(), "item: the tensor must have one element, this one has shape (2, 3, 8, 8)"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", MESSAGES, ids=lambda m: m if isinstance(m, str) else "")
def test_errors_name_function_argument_and_both_shapes(call, message):
    with pytest.raises((ValueError, TypeError, IndexError, NotImplementedError), match=re.escape(message)):
        call()


# ---- indexing, as NumPy does it ------------------------------------------------------------------------------------


@st.composite
def indices(draw, shape):
    """An index of an array of `shape`: slices, integers, None, Ellipsis, integer and boolean arrays."""

    def one(n):
        end = st.none() | st.integers(-n - 1, n + 1)
        steps = st.integers(1, 3) | st.integers(-3, -1)
        whole = st.lists(st.integers(-n, n - 1), min_size=2, max_size=2)
        masks = st.lists(st.booleans(), min_size=n, max_size=n).map(np.array)
        plain = st.integers(-n - 1, n) | st.builds(slice, end, end, steps) | st.none() | st.just(Ellipsis)
        return plain | whole | whole.map(np.array) | masks | whole.map(lambda i: np.array(i)[:, None])

    parts = tuple(draw(one(n)) for n in shape[: draw(st.integers(1, len(shape)))])
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else parts


@given(st.data(), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_indexing_of_every_kind(data, shape):
    x = tensor(*shape)
    index = data.draw(indices(shape))
    try:
        wanted = x.numpy()[index]
    except IndexError:
        with pytest.raises(IndexError, match="getitem"):
            x[beside(x, index)]
        return
    y = x[beside(x, index)]
    np.testing.assert_array_equal(y.numpy(), wanted)
    assert y.shape == np.shape(wanted)
    g = np.random.default_rng(1).normal(size=y.shape)
    expected = np.zeros(shape)
    np.add.at(expected, index, g)  # an element picked twice receives both gradients
    np.testing.assert_allclose(mg.grad(y, x, mg.Tensor(g)).numpy(), expected)


def test_indexing_by_tensors_and_what_is_refused():
    x = tensor(4, 3)
    np.testing.assert_array_equal(x[mg.Tensor([2, 0])].numpy(), x.numpy()[[2, 0]])
    np.testing.assert_array_equal(x[x > 0].numpy(), x.numpy()[x.numpy() > 0])
    for index in (1.5, np.array([0.5]), mg.Tensor([1.0]), "a", (0, 0, 0), np.ones((2, 2), bool)):
        with pytest.raises(IndexError):
            x[beside(x, index)]


# ---- what only minigrad has ------------------------------------------------------------------------------------------


def test_dropout_drops_the_share_it_says_and_can_be_repeated():
    x = mg.Tensor(np.ones((100, 100), np.float32), requires_grad=True)
    y = F.dropout(x, 0.3, rng=np.random.default_rng(5))
    assert set(np.unique(y.numpy())) == {np.float32(0), np.float32(1 / 0.7)}
    assert np.mean(y.numpy() == 0) == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(mg.grad(y.sum(), x).numpy(), y.numpy())
    again = F.dropout(x, 0.3, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(again.numpy(), y.numpy())
    assert F.dropout(x, 0.3, training=False) is x
    assert not F.dropout(x, 1.0, rng=np.random.default_rng(5)).numpy().any()


def test_running_statistics_are_replaced_not_written():
    mean, var = mg.Tensor(np.zeros(3)), mg.Tensor(np.ones(3))
    before = mean.data
    x = tensor(4, 3, 2, 2)
    y = F.batch_norm(x, mean, var, training=True, momentum=0.5)
    assert mean.data is not before and before.tolist() == [0, 0, 0]
    np.testing.assert_allclose(mean.numpy(), x.numpy().mean((0, 2, 3)) / 2)
    np.testing.assert_allclose(var.numpy(), 0.5 + x.numpy().var((0, 2, 3), ddof=1) / 2)
    mg.grad(y.sum(), x)


def test_gradient_check_finds_wrong_derivatives():
    class Crooked(mg.Function):
        def __init__(self, slope):
            self.slope = slope

        def forward(self, x):
            return x * x

        def vjp(self, g):
            (x,) = self.inputs
            return g * x * self.slope if self.slope else g * x.detach() * 2.0

    x = tensor(2, 2)
    for direction in (None, np.random.default_rng(0)):
        check_gradients(lambda t: Crooked(2.0)(t), x, order=2, direction=direction)
        with pytest.raises(AssertionError, match="by vjp"):
            check_gradients(lambda t: Crooked(2.001)(t), x, direction=direction)
        check_gradients(lambda t: Crooked(None)(t), x, direction=direction)  # right once, not twice
        with pytest.raises(AssertionError, match="by vjp"):
            check_gradients(lambda t: Crooked(None)(t), x, order=2, direction=direction)
    with pytest.raises(AssertionError, match=r"d output\[0, 0\] / d inputs\[0\]\[0, 0\]"):
        check_gradients(lambda t: Crooked(3.0)(t[:1, :1]), x)
    with pytest.raises(ValueError, match="must be float64"):
        check_gradients(F.exp, x.astype(np.float32))


def test_importing_is_light():
    heavy = ["torch", "cupy", "scipy", "matplotlib", "skimage", "sklearn"]
    code = f"import sys, minigrad; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_gradient_of_a_product_lies_in_memory_as_its_operand_does():
    rng = np.random.default_rng(0)
    columns = mg.Tensor(rng.random((2, 50, 3), np.float32).transpose(0, 2, 1), requires_grad=True)
    rows = mg.Tensor(rng.random((2, 50, 4), np.float32), requires_grad=True)
    by_columns, by_rows = mg.grad((columns @ rows).sum(), [columns, rows])
    assert by_columns.data.strides == columns.data.strides and by_rows.data.strides == rows.data.strides
    np.testing.assert_allclose(by_columns.numpy(), np.broadcast_to(rows.numpy().sum(2)[:, None], (2, 3, 50)), rtol=1e-5)


# ---- a pass keeps its state to itself --------------------------------------------------------------------------------


def test_a_rule_may_differentiate_through_its_own_function():
    """The inner pass asks for one input only; the outer one, which comes back to the same function, for both."""

    def rule(f, g):
        a, _ = f.inputs
        slope = mg.grad(f.output, a)  # of this very function
        ga, gb = f.vjp(g)  # both are asked for by the pass that this rule serves
        return ga + slope * 0.0, gb

    a, b = (mg.Tensor([value], requires_grad=True, dtype=np.float64) for value in (3.0, 5.0))
    y = a * b
    ga, gb = mg.grad(y.sum(), (a, b), rules={type(y.function): rule})
    assert (ga.item(), gb.item()) == (5.0, 3.0)

    x = mg.Tensor([3.0], requires_grad=True, dtype=np.float64)
    y = x * (x * 1.0 + 2.0)  # d/dx = 2x + 2 = 8, of which 5 comes by the first factor
    assert mg.grad(y.sum(), x, rules={type(y.function): rule}).item() == 8.0


def test_what_a_function_is_asked_for_outside_of_any_pass():
    a, b, c = mg.Tensor([1.0], requires_grad=True), mg.Tensor([2.0], requires_grad=True), mg.Tensor([3.0])
    assert (a * c).function.needs_input_grad == (True, False)
    y = a * b
    seen = []
    mg.grad(y, a, rules={type(y.function): lambda f, g: seen.append(f.needs_input_grad) or f.vjp(g)})
    assert seen == [(True, False)] and y.function.needs_input_grad == (True, True)


def test_two_threads_that_differentiate_one_graph():
    """By different inputs, 200 times at once: as one after the other."""
    rng = np.random.default_rng(0)
    a, b = (mg.Tensor(rng.standard_normal((6, 6)), requires_grad=True) for _ in range(2))
    y = ((a @ b) * a + b).sum()
    for _ in range(4):
        y = y * 1.0 + (a * b).sum()
    expected = {0: mg.grad(y, a).numpy(), 1: mg.grad(y, b).numpy(), 2: [g.numpy() for g in mg.grad(y, (a, b))]}
    wrong, start = [], threading.Barrier(3)

    def differentiate(which):
        start.wait()
        for _ in range(200):
            found = mg.grad(y, (a, b, (a, b))[which])
            found = [g.numpy() for g in found] if which == 2 else found.numpy()
            if not np.array_equal(found, expected[which]):
                wrong.append(which)

    users = [threading.Thread(target=differentiate, args=(which,)) for which in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert wrong == []


def test_a_rule_that_hands_nothing_on_leaves_the_leaf_without_a_gradient():
    a, b = mg.Tensor([2.0], requires_grad=True), mg.Tensor([3.0], requires_grad=True)
    y = a * b
    rules = {type(y.function): lambda f, g: (f.vjp(g)[0], None)}
    y.backward(rules=rules)
    assert a.grad.item() == 3.0 and b.grad is None
    with pytest.raises(ValueError, match="or a rule hands it nothing"):
        mg.grad(y, b, rules=rules)
