"""Optimisers against torch.optim: ten steps of each, one by one, on the same loss; L-BFGS by where it arrives."""

import numpy as np
import torch

import minigrad as mg
from minigrad import functional as F
from minigrad import optim
from verification.agreement import WITHOUT_CONVOLUTION, Check

STEPS = 10
KINDS = {
    "SGD": (optim.SGD, torch.optim.SGD, {"lr": 0.05}),
    "SGD, momentum": (optim.SGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}),
    "SGD, Nesterov, decay": (
        optim.SGD,
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    "Adam": (optim.Adam, torch.optim.Adam, {"lr": 0.01}),
    "Adam, decay": (optim.Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1}),
    "AdamW": (optim.Adam, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
}


def loss(M, x, w, v, target):
    """A network of one hidden layer."""
    return M.square(M.tanh(x @ w) @ v - target).mean()


def checks(setting):
    rng = setting.rng("optimisers")
    arrays = [rng.normal(size=s).astype(np.float32) for s in ((30, 8), (8, 12), (12, 3), (30, 3))]
    for name, (kind, reference, options) in KINDS.items():
        ours = options | ({"decoupled": True} if name == "AdamW" else {})
        yield Check(
            *("optimisers", f"{name}, {STEPS} steps", "torch", "2 weights of (8,12) and (12,3)"),
            ours=lambda p, k=kind, o=ours: _our_steps(arrays, k, o, p.dtype),
            theirs=lambda r=reference, o=options: _their_steps(arrays, r, o),
            precisions=WITHOUT_CONVOLUTION,
            note="the weights after every step",
        )
    yield lbfgs(setting)


def _our_steps(arrays, kind, options, dtype):
    x, w, v, target = (mg.Tensor(a.astype(dtype), requires_grad=i in (1, 2)) for i, a in enumerate(arrays))
    optimizer, course = kind([w, v], **options), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(F, x, w, v, target).backward()
        optimizer.step()
        course += [w.numpy().copy(), v.numpy().copy()]
    return course


def _their_steps(arrays, kind, options):
    x, w, v, target = (torch.tensor(a, dtype=torch.float64, requires_grad=i in (1, 2)) for i, a in enumerate(arrays))
    optimizer, course = kind([w, v], **options), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(torch, x, w, v, target).backward()
        optimizer.step()
        course += [w.detach().numpy().copy(), v.detach().numpy().copy()]
    return course


def lbfgs(setting):
    """A convex loss with one minimum: both must arrive there, where it is so flat that rounding decides the place."""
    rng = setting.rng("lbfgs")
    a, b = rng.normal(size=(40, 15)), rng.normal(size=40)
    start = rng.normal(size=15)

    def value(M, x, a, b):
        return M.sqrt(1.0 + M.square(a @ x - b)).mean() + 0.05 * M.square(x).sum()

    def least(x):
        return value(F, mg.Tensor(x, dtype=np.float64), mg.Tensor(a), mg.Tensor(b)).numpy().reshape(1)

    def ours(precision):
        wide = [mg.Tensor(array.astype(precision.dtype)) for array in (a, b)]
        found, *_ = optim.lbfgs(lambda x: value(F, x, *wide), mg.Tensor(start.astype(precision.dtype)), max_iter=200)
        return least(found.numpy())

    def theirs():
        x = torch.tensor(start, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [x], max_iter=500, tolerance_grad=1e-13, tolerance_change=1e-16, line_search_fn="strong_wolfe"
        )

        def closure():
            optimizer.zero_grad()
            y = value(torch, x, torch.tensor(a), torch.tensor(b))
            y.backward()
            return y

        optimizer.step(closure)
        return least(x.detach().numpy())

    return Check(
        *("optimisers", "L-BFGS, the minimum it finds", "torch", "15 unknowns"),
        ours=ours,
        theirs=theirs,
        precisions=WITHOUT_CONVOLUTION,
        gate="outcome",
        tolerance=1e-6,
        note="the least value of a loss with one minimum; where about it the two stop is up to rounding",
    )
