"""The network of these tests, and how many of its passes were replayed."""

import pytest

from minigrad.nn import plan
from tests.minigrad.plan.passes import build


@pytest.fixture
def network():
    return build().requires_grad_(False)


@pytest.fixture
def replays(monkeypatch):
    """How many passes were replayed, and how many ways back."""
    counts = {"forward": 0, "backward": 0}
    replay, vjp = plan._Plan.replay, plan.Replayed.vjp

    def counted(self, x):
        counts["forward"] += 1
        return replay(self, x)

    def counted_vjp(self, g):
        counts["backward"] += self.plan.backward is not None
        return vjp(self, g)

    monkeypatch.setattr(plan._Plan, "replay", counted)
    monkeypatch.setattr(plan.Replayed, "vjp", counted_vjp)
    return counts
