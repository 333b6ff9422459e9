"""Pictures as arguments: PIL images, uint8 arrays and single images give what the batch of floats gives."""

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
import models
import viz


@pytest.fixture(scope="module")
def model():
    """MiniVGG before training, for images of 32 pixels."""
    network = models.build("minivgg", seed=0).eval()
    network.input_size = (32, 32)
    return network


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)


@pytest.mark.parametrize("name", ["saliency", "grad_cam", "occlusion", "guided_grad_cam", "fgsm"])
def test_a_picture_is_brought_to_the_models_size(model, pixels, name):
    method = getattr(viz, name)
    if name == "fgsm":
        method = lambda model, image, target: viz.fgsm(model, image, target=target)  # noqa: E731
    picture = Image.fromarray(pixels)
    expected = method(model, models.load_image(picture, model.input_size), 3)
    np.testing.assert_array_equal(method(model, picture, 3), expected)
    np.testing.assert_array_equal(method(model, pixels, 3), method(model, models.load_image(pixels, 32), 3))
    assert expected.shape[0] == 1 and expected.shape[-2:] == (32, 32)


def test_batches_keep_their_length(model, pixels):
    whole = models.load_image(pixels)
    assert viz.saliency(model, [pixels, pixels[:, ::-1], pixels]).shape == (3, 32, 32)
    assert viz.features(model, [Image.fromarray(pixels)] * 2, "fc7").shape == (2, 12)
    np.testing.assert_array_equal(viz.saliency(model, whole[0], 1), viz.saliency(model, whole, 1))
    assert viz.saliency(model, np.repeat(whole, 2, 0), 1).shape == (2, 40, 52)


def test_floats_are_taken_as_they_are(model):
    image = np.random.default_rng(1).uniform(-0.4, 1.4, (1, 3, 20, 24)).astype(np.float32)
    assert viz.as_images(model, image) is image
    tensor = mg.Tensor(image)
    assert viz.as_images(model, tensor) is tensor
    np.testing.assert_array_equal(viz.saliency(model, tensor, 2), viz.saliency(model, image, 2))


def test_a_network_tested_on_centres_sees_the_centre(pixels):
    class Named:
        input_size, short_side = (16, 16), 24

    picture = Image.fromarray(pixels)
    np.testing.assert_array_equal(viz.as_images(Named, picture), models.load_image(picture, 16, 24))
    small = picture.resize((16, 16))
    np.testing.assert_array_equal(viz.as_images(Named, small), models.load_image(small))


def test_without_a_size_a_picture_keeps_its_own(model, pixels, small_network):
    assert viz.as_images(None, pixels).shape == (1, 3, 40, 52)
    assert viz.saliency(small_network(), pixels).shape == (1, 40, 52)
    assert viz.deep_dream(model, Image.fromarray(pixels), "relu2_1", octaves=1, steps=1).image.shape == (1, 3, 40, 52)
    styled = viz.style_transfer(model, pixels, Image.fromarray(pixels[:32]), steps=1)
    assert styled.image.shape == (1, 3, 40, 52)
    assert viz.maximize(model, 1, start=pixels, steps=1).image.shape == (1, 3, 32, 32)


def test_pictures_go_through_an_attack_and_its_report(model, pixels):
    attacked = viz.pgd(model, Image.fromarray(pixels), epsilon=0.1, steps=2)
    (report,) = viz.report_attack(model, Image.fromarray(pixels), attacked, epsilon=0.1)
    assert 0 < report["saved"]["linf"] <= 0.1 + 1e-6


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], ValueError, "one size, these are 8x8, 8x9"),
        (np.zeros((2, 3, 8, 8), np.uint8), TypeError, "divide 0-255 by 255"),
        (np.zeros((8, 8), np.float32), ValueError, "got shape"),
        (np.full((3, 8, 8), np.inf), ValueError, "NaN or infinite"),
        ("cat.jpg", ValueError, "must be"),
    ],
)
def test_what_is_no_picture_is_refused(image, error, message, small_network):
    with pytest.raises(error, match=message):
        viz.saliency(small_network(), image)
