"""Defences on images whose defended form is known, and the gradients that adaptive attacks use."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

import minigrad as mg
from minigrad import nn
from viz import corruptions, defenses
from viz.attacks import distance_gradient, fgsm, pgd, scores


@pytest.fixture
def pass_through():
    """A network that is one defence and a fixed linear read-out, so that its gradient is the defence's."""

    def build(defence, weight):
        readout = nn.Linear(weight.size, 1, bias=False)
        readout.load_state_dict({"weight": weight.reshape(1, -1)})
        return nn.Sequential({"defence": defence, "flatten": nn.Flatten(), "fc": readout})

    return build


def gradient(model, x):
    variable = mg.Tensor(x, requires_grad=True)
    return mg.grad(model(variable).sum(), variable).numpy()


# ---- values ----------------------------------------------------------------------------------------------------------


def test_bit_depth_by_hand():
    x = np.array([0.0, 0.1, 0.17, 0.2, 0.49, 0.51, 0.9, 1.0])
    np.testing.assert_allclose(defenses.reduce_bit_depth(x, 1), [0, 0, 0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(defenses.reduce_bit_depth(x, 2) * 3, [0, 0, 1, 1, 1, 2, 3, 3])
    levels = np.arange(256) / 255
    np.testing.assert_allclose(defenses.reduce_bit_depth(levels, 8), levels, atol=1e-15)


def test_jpeg_is_pillows_and_keeps_a_flat_grey(images):
    x = images(2, shape=(3, 16, 24)).astype(np.float32)
    found = defenses.jpeg(x, 40)
    file = io.BytesIO()
    Image.fromarray(np.rint(x[1] * 255).astype(np.uint8).transpose(1, 2, 0)).save(file, "JPEG", quality=40)
    np.testing.assert_array_equal(np.rint(found[1].transpose(1, 2, 0) * 255), np.asarray(Image.open(file)))
    grey = np.full((1, 3, 16, 16), 128 / 255, np.float32)
    np.testing.assert_array_equal(defenses.jpeg(grey, 10), grey)


def test_blur_is_a_gaussian_filter(images):
    x = images(2, shape=(3, 15, 12))
    found = defenses.GaussianBlur(1.5)(mg.Tensor(x)).numpy()
    expected = gaussian_filter(x, (0, 0, 1.5, 1.5), mode="mirror", radius=(0, 0, 5, 5))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_noise_has_its_deviation_is_new_every_time_and_seeded():
    x = mg.Tensor(np.full((1, 3, 60, 60), 0.5))
    noise = defenses.GaussianNoise(0.07, seed=3)
    first, second = noise(x).numpy() - 0.5, noise(x).numpy() - 0.5
    assert first.std() == pytest.approx(0.07, rel=0.03) and abs(first.mean()) < 3 * 0.07 / np.sqrt(first.size)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05
    np.testing.assert_array_equal(first, defenses.GaussianNoise(0.07, seed=3)(x).numpy() - 0.5)


# ---- what an adaptive attack sees ------------------------------------------------------------------------------------


@pytest.mark.parametrize("defence", [defenses.Jpeg(30), defenses.BitDepth(2)])
def test_rounding_is_differentiated_straight_through(defence, pass_through, images):
    weight = np.random.default_rng(0).standard_normal((3, 16, 16))
    found = gradient(pass_through(defence, weight), images(2, shape=(3, 16, 16)))
    np.testing.assert_array_equal(found, np.broadcast_to(weight, found.shape))


def test_straight_through_takes_the_networks_gradient_at_the_defended_image(small_network, images):
    network, x = small_network(), images(shape=(3, 16, 16))
    defended = defenses.defend(network, defenses.BitDepth(2))
    at_rounded, _ = distance_gradient(network, defenses.reduce_bit_depth(x, 2), [0, 1, 2])
    np.testing.assert_allclose(distance_gradient(defended, x, [0, 1, 2])[0], at_rounded, rtol=1e-12, atol=1e-15)


def test_blur_is_differentiated_as_it_is(pass_through, images):
    weight, x = np.random.default_rng(0).standard_normal((3, 9, 8)), images(1, shape=(3, 9, 8))
    model = pass_through(defenses.GaussianBlur(0.8), weight)
    found, step = gradient(model, x), 1e-4
    for place in ((0, 0, 0, 0), (0, 1, 4, 4), (0, 2, 8, 7)):
        moved = x.copy()
        moved[place] += step
        difference = (model(mg.Tensor(moved)).item() - model(mg.Tensor(x)).item()) / step
        assert found[place] == pytest.approx(difference, rel=1e-7)


def test_the_expected_gradient_of_noise_is_that_over_its_draws(small_network, images):
    network, x = small_network(), images(2)
    noise = defenses.GaussianNoise(0.1, seed=5)
    found, _ = distance_gradient(defenses.defend(network, noise), x, [0, 1], samples=3)
    replay = defenses.GaussianNoise(0.1, seed=5)
    draws = [replay(mg.Tensor(x)).numpy() for _ in range(3)]
    expected = np.mean([distance_gradient(network, draw, [0, 1])[0] for draw in draws], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_without_straight_through_the_defence_would_hide_its_gradient(small_network, images):
    network, x = small_network(), images(shape=(3, 16, 16))
    own = scores(network, x).argmax(1)
    defended = defenses.defend(network, defenses.BitDepth(3))
    before = scores(defended, x)[np.arange(3), own]
    after = scores(defended, pgd(defended, x, label=own, epsilon=0.15, steps=10))[np.arange(3), own]
    assert (after < before).all()


# ---- the defended network --------------------------------------------------------------------------------------------


def test_a_defended_network_keeps_layers_labels_and_size(small_network):
    network = small_network()
    network.labels, network.input_size = ("a", "b", "c", "d"), (16, 16)
    defended = defenses.defend(network, defenses.Jpeg(50))
    assert defended["conv1"] is network["conv1"]
    assert defended.names() == ["defence", *network.names()]
    assert defended.labels == network.labels and defended.input_size == (16, 16)


def test_targets_may_be_names(small_network, images):
    network, x = small_network(), images()
    network.labels = ("tench", "zebra", "cat", "horn")
    defended = defenses.defend(network, defenses.GaussianBlur(1))
    np.testing.assert_array_equal(fgsm(defended, x, target="zebra"), fgsm(defended, x, target=1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: defenses.Jpeg(0),
        lambda: defenses.BitDepth(9),
        lambda: defenses.GaussianBlur(0),
        lambda: defenses.GaussianNoise(-1),
        lambda: defenses.GaussianBlur(3)(mg.Tensor(np.zeros((1, 3, 8, 8)))),
    ],
)
def test_mistakes_are_named(make):
    with pytest.raises(ValueError, match="must|too wide"):
        make()


# ---- corruptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", corruptions.SEVERITIES)
def test_corruptions_are_valid_seeded_and_grow(kind):
    row, column = np.mgrid[:32, :32] / 31
    x = np.stack([row, column, (row + column) / 2])[None].astype(np.float32) * 0.9
    x[:, :, 8:16, 8:16] = 0.05
    found = [corruptions.corrupt(x, kind, severity) for severity in (1, 3, 5)]
    for image in found:
        assert image.shape == x.shape and image.dtype == x.dtype
        assert image.min() >= 0 and image.max() <= 1
    np.testing.assert_array_equal(found[0], corruptions.corrupt(x, kind, 1))
    errors = [np.abs(image - x).mean() for image in found]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_corruptions_by_hand():
    x = np.array([0.2, 0.4, 0.8, 0.6], np.float64).reshape(1, 1, 2, 2).repeat(3, axis=1)
    np.testing.assert_allclose(corruptions.corrupt(x, "contrast", 1), 0.5 + 0.4 * (x - 0.5))
    np.testing.assert_allclose(corruptions.corrupt(x, "brightness", 2), np.minimum(x + 0.2, 1))
    colour = np.array([0.2, 0.4, 0.1]).reshape(1, 3, 1, 1)  # HSV value 0.4 becomes 0.6, hue and saturation stay
    np.testing.assert_allclose(corruptions.corrupt(colour, "brightness", 2).ravel(), [0.3, 0.6, 0.15])
    board = (np.indices((20, 20)).sum(0) % 2).astype(np.float64)[None, None].repeat(3, axis=1)
    np.testing.assert_allclose(corruptions.corrupt(board, "pixelate", 3), 0.5, atol=0.11)  # blocks of 2.5 pixels
    noisy = corruptions.corrupt(np.full((1, 3, 100, 100), 0.5), "impulse_noise", 5)
    for value in (0, 1):
        assert (noisy == value).mean() == pytest.approx(0.135, abs=0.01)


def test_an_unknown_corruption_is_refused(images):
    with pytest.raises(ValueError, match="gaussian_noise"):
        corruptions.corrupt(images(), "fog")
    with pytest.raises(ValueError, match="severity"):
        corruptions.corrupt(images(), "jpeg", 0)
