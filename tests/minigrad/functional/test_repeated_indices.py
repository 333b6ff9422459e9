"""What puts by index adds where indices repeat: the second derivative is checked against differences."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
from minigrad import functional as F
from minigrad.tools.gradcheck import check_gradients


def max_unpooled(x, kernel, stride, padding):
    y, indices = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
    return F.max_unpool2d(y, indices, kernel, stride, padding, output_size=x.shape)


def test_unpooling_behind_an_overlapping_pool():
    """One pixel wins all four windows: torch's gradient is 4, and so is the gradient of that by what came in."""
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 2
    x = mg.Tensor(x, requires_grad=True)
    g = mg.Tensor(np.ones((1, 1, 3, 3)), requires_grad=True)
    gx = mg.grad(max_unpooled(x, 2, 1, 0), x, g, create_graph=True)
    assert gx.numpy()[0, 0, 1, 1] == 4
    assert mg.grad(gx.sum(), g).numpy()[0, 0, 1, 1] == 4


PUTS = {  # name -> function of x (1,2,6,6) and drawn numbers
    "getitem": lambda x, draw: x[:, :, draw(6), draw(6)],
    "getitem of rows": lambda x, draw: x[:, draw(2)[:, None], draw(6)],
    "getitem by tensors": lambda x, draw: x[0, mg.Tensor(draw(2)).to(x.device), 1:, None, ::-2],
    "max_unpool2d": lambda x, draw: max_unpooled(x, 3, int(1 + draw(1)[0]), int(draw(2)[0])),
    "max_unpool2d by indices": lambda x, draw: F.max_unpool2d(
        x[:, :, :2, :2], mg.Tensor(np.resize(draw(3), (1, 2, 2, 2))).to(x.device), 2
    ),
    "max_pool2d": lambda x, draw: F.max_pool2d(x, 3, 1, int(draw(2)[0])),
    "avg_pool2d": lambda x, draw: F.avg_pool2d(x, 3, 1, int(draw(2)[0])),
    "adaptive_avg_pool2d": lambda x, draw: F.adaptive_avg_pool2d(x, 4),
    "interpolate": lambda x, draw: F.interpolate(x, 7 + int(draw(6)[0])),
    "unfold": lambda x, draw: F.unfold(x, 3, padding=int(draw(2)[0])),
    "reflect": lambda x, draw: F.pad(x, tuple(int(n) for n in draw(5)), "reflect"),
    "circular": lambda x, draw: F.pad(x, tuple(int(n) for n in draw(5)), "circular"),
    "replicate": lambda x, draw: F.pad(x, tuple(int(n) for n in draw(5)), "replicate"),
    "cross_entropy": lambda x, draw: F.cross_entropy(x[0, 0], mg.Tensor(np.resize(draw(6), 6)).to(x.device)),
}


@pytest.mark.host("indices are the host's")
@settings(max_examples=60, deadline=None)
@given(st.sampled_from([name for name in PUTS if not name.startswith("max_unpool2d")]), st.integers(0, 1000))
def test_gradients_of_gradients(name, seed):
    """Of a cube, so that the second derivative does not vanish. Unpooling's gradient is torch's, and no difference:
    of equal indices the last wins, but each receives its gradient."""

    def function(x, g):
        drawn = np.random.default_rng(seed)
        y = PUTS[name](x, lambda high: drawn.integers(0, high, 4))
        return (y * y * y).sum() * g

    rng = np.random.default_rng(seed)
    x = mg.Tensor(rng.permutation(72).reshape(1, 2, 6, 6) / 20.0, requires_grad=True)
    g = mg.Tensor(rng.standard_normal(()), requires_grad=True)
    check_gradients(function, [x, g], order=2, direction=np.random.default_rng(1), rtol=1e-5, atol=1e-5)


@pytest.mark.host("indices are the host's")
@pytest.mark.parametrize("name", PUTS)
def test_the_way_back_and_forth_are_adjoint(name):
    """<J v, u> = <v, J^T u>, J v being the gradient of J^T u by u: what is put together comes from the same places."""
    rng = np.random.default_rng(0)
    x = mg.Tensor(rng.permutation(72).reshape(1, 2, 6, 6) / 20.0, requires_grad=True)
    drawn = np.random.default_rng(3)
    y = PUTS[name](x, lambda high: drawn.integers(0, high, 4))
    u = mg.Tensor(rng.standard_normal(y.shape), requires_grad=True)
    back = mg.grad(y, x, u, create_graph=True)
    v = rng.standard_normal(x.shape)
    forth = mg.grad(back, u, mg.Tensor(v))
    np.testing.assert_allclose((forth.numpy() * u.numpy()).sum(), (back.numpy() * v).sum(), rtol=1e-10)
