"""Regularisers against sums written out by hand, and against what they do to an image."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import minigrad as mg
from minigrad.tools.gradcheck import check_gradients
from models import load_image
from viz.regularize import (
    TV_KINDS,
    alpha_norm,
    clip_small_contribution,
    clip_small_norm,
    gaussian_blur,
    l2,
    total_variation,
)

SHARED = Path(__file__).parents[3] / "shared" / "data"

#   1 3 0      dx: 2 -3 | 0 2 | 4 -8      dy: 1 -1 2 | 2 6 -4
#   2 2 2
#   4 8 0
SMALL = np.array([[1.0, 3.0, 0.0], [2.0, 2.0, 2.0], [4.0, 8.0, 0.0]])[None, None]
BY_HAND = {
    "l1": (2 + 3 + 0 + 0 + 4 + 8) + (1 + 1 + 2 + 2 + 6 + 2),
    "l1_mean": 17 / 6 + 14 / 6,
    "l2": (4 + 9 + 0 + 0 + 16 + 64) + (1 + 1 + 4 + 4 + 36 + 4),
    # pixels with both neighbours: (0,0) 4+1, (0,1) 9+1, (1,0) 0+4, (1,1) 0+36
    "jcjohnson": (5 + 10 + 4 + 36) / 2,
}
# (dx^2 + dy^2)^(3/2) at every pixel, differences past the edge 0
BETA_3 = 5**1.5 + 10**1.5 + 4**1.5 + 4**1.5 + 36**1.5 + 4**1.5 + 16**1.5 + 64**1.5 + 0


@pytest.mark.parametrize("kind", BY_HAND)
def test_total_variation_by_hand(kind):
    assert total_variation(mg.Tensor(SMALL), kind).item() == pytest.approx(BY_HAND[kind], rel=1e-14)


def test_total_variation_with_a_power_by_hand():
    assert total_variation(mg.Tensor(SMALL), "beta", beta=3).item() == pytest.approx(BETA_3, rel=1e-14)
    assert total_variation(mg.Tensor(SMALL), "beta").item() == pytest.approx(BY_HAND["l2"], rel=1e-14)


@pytest.mark.parametrize("kind", TV_KINDS)
def test_total_variation_adds_up_over_images_and_channels(kind):
    x = np.random.default_rng(0).random((2, 3, 4, 5))
    whole = total_variation(mg.Tensor(x), kind, weight=2.5, beta=3.0).item()
    parts = [total_variation(mg.Tensor(image[None]), kind, beta=3.0).item() for image in x]
    assert whole == pytest.approx(2.5 * sum(parts), rel=1e-12)
    planes = [total_variation(mg.Tensor(x[:1, c : c + 1]), kind, beta=3.0).item() for c in range(3)]
    assert parts[0] == pytest.approx(np.mean(planes) if kind == "l1_mean" else sum(planes), rel=1e-12)


@pytest.mark.parametrize("kind", TV_KINDS)
def test_total_variation_gradient(kind):
    x = mg.Tensor(np.random.default_rng(0).random((2, 2, 4, 3)))
    check_gradients(lambda x: total_variation(x, kind, beta=1.5), x)


def test_jcjohnson_is_the_gradient_that_its_author_adds():
    # The module in his neural-style has no loss; its backward pass is this, written as it stands there.
    x = np.random.default_rng(0).random((1, 3, 5, 6))
    x_diff, y_diff = x[..., :-1, :-1] - x[..., :-1, 1:], x[..., :-1, :-1] - x[..., 1:, :-1]
    wanted = np.zeros_like(x)
    wanted[..., :-1, :-1] += x_diff + y_diff
    wanted[..., :-1, 1:] -= x_diff
    wanted[..., 1:, :-1] -= y_diff
    variable = mg.Tensor(x, requires_grad=True)
    np.testing.assert_allclose(mg.grad(total_variation(variable, "jcjohnson"), variable).numpy(), wanted, atol=1e-14)


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_a_flat_image_has_no_variation_and_no_gradient(beta):
    x = mg.Tensor(np.full((1, 3, 4, 4), 0.3), requires_grad=True)
    tv = total_variation(x, "beta", beta=beta)
    assert tv.item() == 0 and not mg.grad(tv, x).numpy().any()


def test_total_variation_of_a_course_exercise():
    # CS231n's style transfer assignment: 2e-2 * sum of squared differences of tubingen.jpg, short side 192, divided by
    # ImageNet's deviations. Its own number was made with another JPEG decoder: 1e-3 is as near as it gets (bicubic
    # resizing is 40 % off, antialiasing left out as well).
    photo, checks = SHARED / "photos/tuebingen.jpg", SHARED / "reference/cs231n/style-transfer-checks.npz"
    if not (photo.exists() and checks.exists()):
        pytest.skip("needs the photograph tuebingen.jpg and CS231n's numbers in ../shared/data")
    from PIL import Image

    with Image.open(photo) as picture:
        pixels = np.asarray(picture.resize((256, 192), Image.Resampling.BILINEAR))
    normalised = load_image(pixels).astype(np.float64) / np.array([0.229, 0.224, 0.225])[:, None, None]
    with np.load(checks) as wanted:
        assert total_variation(mg.Tensor(normalised), "l2", 2e-2).item() == pytest.approx(
            wanted["tv_out"].item(), rel=1e-3
        )


def test_an_unknown_convention_is_named():
    with pytest.raises(ValueError, match="l3.*jcjohnson"):
        total_variation(mg.Tensor(SMALL), "l3")


def test_l2_and_alpha_norm_by_hand():
    x = mg.Tensor(np.array([0.5, 1.0, 0.0, 0.25]).reshape(1, 1, 2, 2))
    assert l2(x, 4.0).item() == pytest.approx(4 * (0.25 + 0.25 + 0.0625))
    assert l2(x, centre=0.0).item() == pytest.approx(0.25 + 1 + 0.0625)
    assert alpha_norm(x, 3, 2.0).item() == pytest.approx(2 * (0.125 + 0.125 + 0.015625))
    check_gradients(lambda x: alpha_norm(x, 6) + l2(x), mg.Tensor(np.random.default_rng(0).random((1, 2, 3, 2))))


def test_blur_is_scipys():
    x = np.random.default_rng(0).random((2, 3, 9, 12))
    wanted = gaussian_filter(x, (0, 0, 1.3, 1.3), mode="nearest")
    np.testing.assert_allclose(gaussian_blur(x, 1.3), wanted, atol=1e-14)
    assert gaussian_blur(x.astype(np.float32), 1.3).dtype == np.float32


def test_pixels_of_small_norm_become_grey():
    x = np.full((1, 3, 2, 2), 0.5)
    x[0, :, 0, 0] = 0.9, 0.1, 0.5
    x[0, :, 0, 1] = 0.6, 0.5, 0.5
    x[0, :, 1, 0] = 0.5, 0.5, 0.3
    x[0, :, 1, 1] = 0.0, 0.5, 0.5
    changed = clip_small_norm(x, 50)
    assert (changed[0, :, 0, 1] == 0.5).all() and (changed[0, :, 1, 0] == 0.5).all()
    np.testing.assert_array_equal(changed[0, :, [0, 1], [0, 1]], x[0, :, [0, 1], [0, 1]])


def test_pixels_of_small_contribution_become_grey():
    rng = np.random.default_rng(0)
    x, g = rng.random((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    changed = clip_small_contribution(x, g, 30)
    for image, gradient, found in zip(x, g, changed, strict=True):
        weight = abs(sum((image[c] - 0.5) * gradient[c] for c in range(3)))
        smallest = weight.ravel().argsort()[:6]  # 30 % of 20
        greyed = (found == 0.5).all(0).ravel().nonzero()[0]
        assert set(greyed) == set(smallest)
        kept = np.setdiff1d(np.arange(20), smallest)
        np.testing.assert_array_equal(found.reshape(3, -1)[:, kept], image.reshape(3, -1)[:, kept])
    with pytest.raises(ValueError, match="percentile"):
        clip_small_norm(x, 101)
