"""The transforms by what they do to known images, and by their gradients."""

import numpy as np
import pytest

import minigrad as mg
from minigrad.tools.gradcheck import check_gradients
from viz import transform
from viz.transform import Gather, Scatter, jitter, pad, robust, rotate, rotated, scale, transformed


class Fixed:
    """Stands for a Generator: draws what it is told."""

    def __init__(self, value):
        self.value = value

    def integers(self, low, high, count):
        assert all(low <= v < high for v in self.value)
        return np.array(self.value[:count])

    def uniform(self, low, high):
        assert low <= self.value <= high
        return self.value


def image(shape=(2, 3, 5, 6), seed=0):
    return np.random.default_rng(seed).random(shape)


def test_jitter_shifts_around():
    x = image()
    y = jitter(3)(mg.Tensor(x), Fixed((2, -3))).numpy()
    np.testing.assert_array_equal(y[:, :, 3, 1], x[:, :, 1, 4])
    corner = np.zeros((1, 1, 3, 3))
    corner[0, 0, 0, 0] = 1
    found = [jitter(1)(mg.Tensor(corner), np.random.default_rng(seed)).numpy().argmax() for seed in range(60)]
    assert set(found) == set(range(9))


def test_a_crop_shifts_by_half_of_it_and_does_not_wrap():
    x = np.arange(36.0).reshape(1, 1, 6, 6)
    found = {transform.crop(2)(mg.Tensor(x), np.random.default_rng(seed)).numpy().tobytes() for seed in range(60)}
    assert found == {x[:, :, i : i + 4, j : j + 4].tobytes() for i in range(3) for j in range(3)}


class Noted:
    """A Generator that draws the first of what there is, and notes what there was."""

    def __init__(self):
        self.seen = []

    def integers(self, low, high, count):
        self.seen.append((low, high - 1))
        return np.full(count, low)

    def choice(self, values):
        self.seen.append(sorted(values))
        return list(values)[0]

    def uniform(self, low, high):
        self.seen.append((low, high))
        return low


@pytest.mark.parametrize(
    ("like", "frame", "drawn"),
    [
        ("article", 16, [(-16, 16), [0.95, 0.975, 1, 1.025, 1.05], list(range(-5, 6)), (-8, 8)]),
        (
            "lucid",
            12,
            [(0, 8), [0.9, 0.92, 0.94, 0.96, 0.98, 1, 1.02, 1.04, 1.06, 1.08, 1.1], [*range(-10, 0), *[0] * 6]]
            + [(0, 4)],
        ),
        ("minigrad", 12, [(-8, 8), (0.9, 1.1), (-10, 10), (-4, 4)]),
    ],
)
def test_robust_draws_as_published(like, frame, drawn):
    rng, (first, *others) = Noted(), robust(like)
    x = first(mg.Tensor(image((1, 3, 40, 40))), None)
    assert x.shape[2:] == (40 + 2 * frame,) * 2
    for one in others:
        x = one(x, rng)
    if like == "lucid":
        drawn[2] = [*drawn[2], *range(1, 11)]
    for seen, wanted in zip(rng.seen, drawn, strict=True):
        np.testing.assert_allclose(seen, wanted, atol=1e-12)
    with pytest.raises(ValueError, match="like must be article, lucid or minigrad"):
        robust("distill")


def test_pad_frames_in_grey():
    y = pad(2)(mg.Tensor(image()), None).numpy()
    assert y.shape == (2, 3, 9, 10) and (y[..., :2, :] == 0.5).all() and (y[..., -2:] == 0.5).all()
    np.testing.assert_array_equal(y[..., 2:-2, 2:-2], image())


@pytest.mark.parametrize("degrees, turns", [(0, 0), (90, 1), (180, 2), (-90, 3), (360, 0)])
def test_quarter_turns_are_numpys(degrees, turns):
    x = image((2, 3, 5, 5))
    np.testing.assert_allclose(rotated(mg.Tensor(x), degrees).numpy(), np.rot90(x, turns, (2, 3)), atol=1e-12)


def test_rotation_is_scipys():
    from scipy.ndimage import rotate as wanted

    x = image((1, 1, 21, 31))
    y = rotated(mg.Tensor(x), 17.0).numpy()[0, 0]
    inside = wanted(np.ones((21, 31)), 17.0, reshape=False, order=1, mode="constant", cval=0.0) > 0.999999
    np.testing.assert_allclose(y[inside], wanted(x[0, 0], 17.0, reshape=False, order=1)[inside], atol=1e-12)
    assert y[0, 0] == 0.5  # the corner shows what lies outside


def test_scale_enlarges():
    flat = np.tile(np.linspace(0, 1, 11), (1, 3, 11, 1))
    y = scale(1, 2)(mg.Tensor(flat), Fixed(2.0)).numpy()
    assert y.shape == (1, 3, 22, 22)
    np.testing.assert_allclose(np.diff(y[0, 0, 0, 1:-1]), 0.05, atol=1e-12)  # half the slope: twice as large


@pytest.mark.parametrize(
    "change", [jitter(2), pad(1), scale(0.8, 1.2), rotate(20)], ids=["jitter", "pad", "scale", "rotate"]
)
def test_gradients(change):
    check_gradients(lambda x: change(x, np.random.default_rng(3)), mg.Tensor(image((1, 2, 4, 5))))
    check_gradients(lambda x: change(x, np.random.default_rng(3)) ** 2, mg.Tensor(image((1, 1, 3, 4))), order=2)


def test_gradients_of_all_in_a_row():
    x = mg.Tensor(image((1, 2, 6, 5)))
    steps = [pad(2), jitter(2), scale(0.9, 1.1), rotate(10), jitter(1)]
    check_gradients(lambda x: transformed(x, steps, np.random.default_rng(5)), x)


def test_the_adjoint_identity_of_gathering():
    rng = np.random.default_rng(0)
    index, weight = rng.integers(0, 30, (4, 30)), rng.random((4, 30))
    x, y = image((2, 3, 5, 6)), image((2, 3, 5, 6), seed=1)
    left = (Gather(index, weight, (5, 6)).forward(x) * y).sum()
    assert left == pytest.approx((x * Scatter(index, weight, (5, 6)).forward(y)).sum(), rel=1e-12)


def test_the_size_is_kept_and_so_is_the_middle():
    x = mg.Tensor(image((2, 3, 30, 40)).astype(np.float32))
    y = transformed(x, robust(), np.random.default_rng(0))
    assert y.shape == x.shape and y.dtype == np.float32
    still = transformed(x, [pad(12), scale(1, 1), rotate(0)], np.random.default_rng(0))
    np.testing.assert_allclose(still.numpy(), x.numpy(), atol=1e-6)
    smaller = transformed(x, [scale(0.5, 0.5)], np.random.default_rng(0)).numpy()
    assert smaller.shape == x.shape and (smaller[..., :7, :] == 0.5).all() and (smaller[..., 8:22, 11:29] != 0.5).any()


def test_draws_differ_and_repeat():
    x = mg.Tensor(image((1, 3, 20, 20)))
    first, second = (transformed(x, transform.robust(), np.random.default_rng(s)).numpy() for s in (1, 2))
    assert abs(first - second).max() > 0.1
    np.testing.assert_array_equal(first, transformed(x, transform.robust(), np.random.default_rng(1)).numpy())
