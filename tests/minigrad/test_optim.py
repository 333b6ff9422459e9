"""Optimisers against their recursions written out, against torch, and on problems with a known minimum."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
from minigrad import optim
from minigrad.kernels import one_thread


def quadratic(seed=0, n=6):
    """f(x) = (x - c)^T A (x - c) / 2 with A symmetric positive definite; its gradient is A (x - c)."""
    rng = np.random.default_rng(seed)
    m = rng.standard_normal((n, n))
    a, c = m @ m.T / n + np.eye(n), rng.standard_normal(n)

    def f(x):
        d = x - mg.from_numpy(c)
        return (d @ mg.from_numpy(a) @ d) * 0.5

    return f, a, c


def run(optimizer, x, f, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        f(x).backward()
        optimizer.step()
    return x.numpy()


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_follows_its_recursion(nesterov):
    f, a, c = quadratic()
    x = mg.Tensor(np.zeros(6), requires_grad=True)
    found = run(optim.SGD([x], lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=nesterov), x, f, 7)
    y, v = np.zeros(6), None
    for _ in range(7):
        g = a @ (y - c) + 0.01 * y
        v = g if v is None else 0.9 * v + g
        y = y - 0.05 * (g + 0.9 * v if nesterov else v)
    np.testing.assert_allclose(found, y, rtol=1e-12)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_follows_its_recursion(decoupled):
    f, a, c = quadratic()
    x = mg.Tensor(np.ones(6), requires_grad=True)
    adam = optim.Adam([x], lr=0.1, betas=(0.8, 0.95), weight_decay=0.02, decoupled=decoupled)
    found = run(adam, x, f, 6)
    y, m, v = np.ones(6), 0.0, 0.0
    for t in range(1, 7):
        g = a @ (y - c) + (0 if decoupled else 0.02 * y)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        step = m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
        y = y - 0.1 * step - (0.1 * 0.02 * y if decoupled else 0)
    np.testing.assert_allclose(found, y, rtol=1e-10)


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1), lambda p: optim.Adam(p)])
def test_a_step_is_the_same_by_one_thread_and_by_all(make):
    """Threads share out whole parameters: none of them writes what another one reads."""
    rng = np.random.default_rng(0)
    shapes = [(3,), (200, 300), (64, 64, 3, 3), (), (5, 7), (300, 200)]
    starts, gradients = ([rng.standard_normal(shape, np.float32) for shape in shapes] for _ in range(2))

    def moved():
        params = [mg.Tensor(start, requires_grad=True) for start in starts]
        optimizer = make(params)
        for _ in range(3):
            for p, gradient in zip(params[:-1], gradients, strict=False):  # the last one has none
                p.grad = mg.Tensor(gradient)
            optimizer.step()
        assert np.array_equal(params[-1].numpy(), starts[-1])
        return [p.numpy() for p in params]

    with one_thread():
        alone = moved()
    assert all(np.array_equal(a, b) for a, b in zip(alone, moved(), strict=True))


@pytest.mark.host("the memory of NumPy's arrays")
@pytest.mark.parametrize("what", ["g", "part of g", "state", "x", "kept"])
def test_an_update_may_hand_out_what_it_was_given(what):
    """Nothing is written to where the update lies: it may be somebody else's."""

    class Whole(optim.Optimizer):
        def update(self, x, g, state):
            state["v"], self.kept = g.copy(), g.copy()
            return {"kept": self.kept, "g": g, "part of g": g[::1], "state": state["v"], "x": x}[what]

    x = mg.Tensor(np.arange(4.0), requires_grad=True)
    before, x.grad = x.data, mg.Tensor(np.full(4, 0.5))
    optimizer = Whole([x], 1.0)
    optimizer.step()
    assert np.array_equal(x.numpy(), np.arange(4.0) - (np.arange(4.0) if what == "x" else 0.5))
    assert np.array_equal(before, np.arange(4.0)) and np.array_equal(x.grad.numpy(), np.full(4, 0.5))
    assert np.array_equal(optimizer.state[0]["v"], np.full(4, 0.5))
    assert np.array_equal(optimizer.kept, np.full(4, 0.5))


@pytest.mark.torch
@pytest.mark.parametrize(
    "ours, theirs, arguments",
    [
        ("SGD", "SGD", {"lr": 0.03}),
        ("SGD", "SGD", {"lr": 0.03, "momentum": 0.9, "weight_decay": 0.1}),
        ("SGD", "SGD", {"lr": 0.03, "momentum": 0.9, "nesterov": True}),
        ("Adam", "Adam", {"lr": 0.05, "betas": (0.7, 0.9), "weight_decay": 0.1}),
        ("Adam", "AdamW", {"lr": 0.05, "weight_decay": 0.1}),
    ],
)
def test_optimisers_follow_torch(ours, theirs, arguments):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (make verify installs it)")
    f, a, c = quadratic(1)
    x = mg.Tensor(np.ones(6), requires_grad=True)
    extra = {"decoupled": True} if theirs == "AdamW" else {}
    found = run(getattr(optim, ours)([x], **arguments, **extra), x, f, 12)

    t = torch.ones(6, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, theirs)([t], **arguments)
    for _ in range(12):
        optimizer.zero_grad()
        d = t - torch.tensor(c)
        (d @ torch.tensor(a) @ d * 0.5).backward()
        optimizer.step()
    np.testing.assert_allclose(found, t.detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize("arguments", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True}])
@settings(max_examples=20)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 100))
def test_a_parameter_moves_as_if_it_were_alone(arguments, has_gradient, seed):
    """Steps in which a parameter has no gradient, before its first or between, do not count for it."""
    rng = np.random.default_rng(seed)
    start = rng.standard_normal(3)
    other, late, alone = (mg.Tensor(start, requires_grad=True) for _ in range(3))
    together = optim.Adam([other, late], lr=0.1, **arguments)
    by_itself = optim.Adam([alone], lr=0.1, **arguments)
    for has in has_gradient:
        other.grad = mg.Tensor(rng.standard_normal(3))
        late.grad = other.grad if has else None
        together.step()
        if has:
            alone.grad = late.grad
            by_itself.step()
    np.testing.assert_allclose(late.numpy(), alone.numpy(), rtol=1e-12)


@pytest.mark.parametrize("decoupled", [False, True])
def test_the_first_step_of_adam_is_as_long_as_the_learning_rate(decoupled):
    """Also of a parameter whose first gradient comes at step 6."""
    early, late = (mg.Tensor(np.zeros(1), requires_grad=True) for _ in range(2))
    adam = optim.Adam([early, late], lr=0.1, decoupled=decoupled)
    for step in range(1, 7):
        early.grad, late.grad = mg.Tensor(np.ones(1)), mg.Tensor(np.ones(1)) if step == 6 else None
        adam.step()
    np.testing.assert_allclose(late.numpy(), -0.1, rtol=1e-6)


def test_state_from_before_parameters_counted_their_gradients():
    f, _, _ = quadratic()
    x = mg.Tensor(np.zeros(6), requires_grad=True)
    whole = run(optim.Adam([x], lr=0.1), x, f, 8)
    y = mg.Tensor(np.zeros(6), requires_grad=True)
    adam = optim.Adam([y], lr=0.1)
    run(adam, y, f, 5)
    for state in adam.state:
        del state["t"]
    np.testing.assert_array_equal(run(adam, y, f, 3), whole)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.Adam(p, lr=0.01, eps=1e-12),
        lambda p: optim.Adam(p, lr=0.01, eps=1e-12, weight_decay=0.1, decoupled=True),
        lambda p: optim.SGD(p, lr=3e4, momentum=0.9, weight_decay=1e-5),
    ],
)
@settings(max_examples=20)
@given(st.integers(0, 100))
def test_float16_is_computed_in_float32(make, seed):
    """Gradients near 1e-6, whose squares float16 does not hold: one step is float32's, rounded once."""
    rng = np.random.default_rng(seed)
    start, gradient = rng.standard_normal(5).astype(np.float16), (rng.standard_normal(5) * 1e-6).astype(np.float16)
    moved = []
    for dtype in (np.float16, np.float32):
        x = mg.Tensor(start.astype(dtype), requires_grad=True)
        optimizer = make([x])
        x.grad = mg.Tensor(gradient.astype(dtype))
        optimizer.step()
        assert x.dtype == dtype
        moved.append(x.numpy())
    np.testing.assert_array_equal(moved[0], moved[1].astype(np.float16))


def test_state_carries_on_where_it_left():
    f, _, _ = quadratic()
    x = mg.Tensor(np.zeros(6), requires_grad=True)
    whole = run(optim.Adam([x], lr=0.1), x, f, 8)

    y = mg.Tensor(np.zeros(6), requires_grad=True)
    first = optim.Adam([y], lr=0.1)
    run(first, y, f, 5)
    second = optim.Adam([y], lr=0.5)
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(run(second, y, f, 3), whole)


def test_steps_replace_data_and_keep_dtype():
    x = mg.Tensor(np.ones(3, np.float32), requires_grad=True)
    before = x.data
    loss = (x * x).sum()
    loss.backward()
    optim.Adam([x], lr=0.1).step()
    assert x.dtype == np.float32 and x.data is not before and before.tolist() == [1, 1, 1]
    with pytest.raises(RuntimeError, match="was replaced after the graph used it"):
        loss.backward()


def test_refusals():
    x = mg.Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(ValueError, match="no parameters"):
        optim.SGD([], 0.1)
    with pytest.raises(ValueError, match="lr must be positive"):
        optim.SGD([x], 0)
    with pytest.raises(ValueError, match="must be a leaf Tensor that requires grad"):
        optim.SGD([x * 2], 0.1)
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        optim.SGD([x], 0.1, nesterov=True)
    with pytest.raises(ValueError, match="momentum -1 and weight_decay 0.0 must not be negative"):
        optim.SGD([x], 0.1, momentum=-1)
    with pytest.raises(ValueError, match="betas"):
        optim.Adam([x], betas=(0.9, 1.0))
    with pytest.raises(ValueError, match="weight_decay must not be negative, got -1"):
        optim.Adam([x], weight_decay=-1)
    with pytest.raises(ValueError, match="state of 2 parameters, expected 1"):
        optim.SGD([x], 0.1).load_state_dict(optim.SGD([x, mg.Tensor(np.ones(3), requires_grad=True)], 0.1).state_dict())
    with pytest.raises(ValueError, match=r"SGD: params\[2\] is params\[0\]; give it once"):
        optim.SGD([x, mg.Tensor(np.ones(3), requires_grad=True), x], 0.1)
    x.grad = mg.Tensor(np.ones(3))
    with pytest.raises(NotImplementedError, match="Optimizer.update"):
        optim.Optimizer([x], 0.1).step()


def test_lbfgs_finds_the_minimum_and_keeps_to_bounds():
    f, _, c = quadratic(2)
    x, loss = optim.lbfgs(f, mg.Tensor(np.zeros(6)), max_iter=50)
    np.testing.assert_allclose(x.numpy(), c, atol=1e-6)
    assert loss < 1e-12

    bounded, _ = optim.lbfgs(lambda t: ((t - 2.0) ** 2).sum(), mg.Tensor(np.zeros(4, np.float32)), bounds=(0, 1))
    assert bounded.dtype == np.float32 and bounded.numpy().tolist() == [1, 1, 1, 1]


def test_lbfgs_reports_and_can_be_stopped():
    f, _, _ = quadratic(3)
    seen = []

    def callback(iteration, x, loss):
        seen.append((iteration, f(x).item() - loss))
        return iteration == 3

    optim.lbfgs(f, mg.Tensor(np.zeros(6)), max_iter=50, callback=callback)
    assert [iteration for iteration, _ in seen] == [1, 2, 3]
    assert all(abs(difference) < 1e-12 for _, difference in seen)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
@settings(max_examples=10, deadline=None)
@given(st.floats(-12, 12), st.integers(0, 100))
def test_lbfgs_takes_the_same_course_at_every_scale(bounds, exponent, seed):
    scale = 10.0**exponent
    rng = np.random.default_rng(seed)
    target, weight, start = rng.uniform(-0.5, 1.5, 8), rng.uniform(0.1, 3, 8), rng.uniform(0, 1, 8)

    def course(scale):
        seen = []

        def f(x):
            d = x - mg.from_numpy(target).to(x.device)
            return ((d * d * d * d + d * d) * mg.from_numpy(weight).to(x.device)).sum() * scale

        x, loss = optim.lbfgs(
            f, mg.Tensor(start), 30, bounds, callback=lambda _, x, loss: seen.append((*x.numpy(), loss / scale))
        )
        return np.array([*seen, (*x.numpy(), loss / scale)])

    found, expected = course(scale), course(1.0)
    shared = min(5, len(expected))  # then differences are near rounding
    np.testing.assert_allclose(found[:shared], expected[:shared], rtol=1e-6)
    np.testing.assert_allclose(found[-1], expected[-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[-1, :-1], target if bounds is None else target.clip(*bounds), atol=1e-2)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_lbfgs_within_bounds_in_float32(scale):
    target = np.linspace(0.1, 0.9, 6).astype(np.float32)
    x, loss = optim.lbfgs(
        lambda t: ((t - mg.from_numpy(target).to(t.device)) ** 2).sum() * scale,
        mg.Tensor(np.zeros(6, np.float32)),
        bounds=(0, 1),
    )
    np.testing.assert_allclose(x.numpy(), target, atol=1e-5)
    assert loss <= 1e-9 * scale


def test_lbfgs_at_a_minimum_stays():
    x, loss = optim.lbfgs(lambda t: (t * t).sum(), mg.Tensor(np.zeros(3)), bounds=(-1, 1))
    assert (x.numpy() == 0).all() and loss == 0
