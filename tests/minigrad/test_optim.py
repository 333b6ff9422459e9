"""Optimisers against their recursions written out, against torch, and on problems with a known minimum."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim


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
        optim.SGD([x], 0.1).load_state_dict(optim.SGD([x, x], 0.1).state_dict())
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
