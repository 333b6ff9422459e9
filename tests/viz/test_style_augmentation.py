"""Many pictures styled at once: as style transfer would style each alone."""

import numpy as np
import pytest

import minigrad as mg
import viz
from viz.gram import mean_gram, style_losses

LAYERS = {"content_layers": ["relu2"], "style_layers": ["relu1", "relu2"]}


@pytest.fixture
def pictures(images):
    return images(3, seed=2, shape=(3, 12, 10)), images(3, seed=3, shape=(3, 8, 9))


def test_each_is_what_style_transfer_makes_of_it_alone(small_network, pictures):
    net, (content, style) = small_network(), pictures
    made = viz.stylize(net, content, style, **LAYERS, strength=40.0, steps=4)
    for i in range(3):
        alone = viz.style_transfer(
            net, content[i : i + 1], style[i : i + 1], **LAYERS, optimizer="adam", steps=4, lr=0.03
        )
        np.testing.assert_allclose(made[i], alone.image[0], atol=1e-9)
    assert abs(made - content).max() > 0.05


def unlike(net, image, other):
    """(N,): the style loss of each image against the other beside it, in relu1."""
    a, b = (net.activations(mg.Tensor(x), ["relu1"])["relu1"] for x in (image, other))
    return style_losses(a, mean_gram(b)).numpy()


def test_it_comes_nearer_to_its_own_style_and_stays_in_range(small_network, pictures):
    net, (content, style) = small_network(), pictures

    made = viz.stylize(net, content, style, **LAYERS, steps=20)
    assert (unlike(net, made, style) < 0.5 * unlike(net, content, style)).all()
    assert 0 <= made.min() and made.max() <= 1


def test_an_image_in_the_style_of_itself_stays_as_it_is(small_network, pictures):
    net, (content, _) = small_network(), pictures
    with pytest.warns(UserWarning, match="gradient is 0"):
        np.testing.assert_array_equal(viz.stylize(net, content, content, **LAYERS, steps=2), content)


def test_losses_of_a_batch_are_those_of_its_images(small_network, pictures):
    net, (content, style) = small_network(), pictures
    a, b = (net.activations(mg.Tensor(x), ["relu2"])["relu2"] for x in (content, style))
    found = style_losses(a, mean_gram(b), "chw").numpy()
    alone = [viz.style_loss(a[i : i + 1], mean_gram(b[i : i + 1]), "chw").item() for i in range(3)]
    np.testing.assert_allclose(found, alone, rtol=1e-12)


def test_a_style_is_needed_for_each(small_network, pictures):
    content, style = pictures
    with pytest.raises(ValueError, match="3 images and 2 styles"):
        viz.stylize(small_network(), content, style[:2], **LAYERS)
