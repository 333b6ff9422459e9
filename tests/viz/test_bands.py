"""Networks that see something other than RGB: every function gives what it gives for RGB, or refuses in a sentence."""

import re

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
import viz
from minigrad import nn
from models.layers import Preprocess
from tests.viz.every_method import METHODS, arrays, network, pictures
from viz import animation, colours, defenses, plot
from viz.corruptions import SEVERITIES

BANDS = [1, 4, 5]
RGB_ONLY = {
    "maximize, fourier": "the fourier parameterization is for networks that see RGB, this one takes images of",
    "maximize_as_blog": "the first layer is 'conv1', expected \"preprocess\"",
}


def shapes(result, channels):
    """The shapes of all arrays of a result, with C for the channels of the images."""
    return [
        tuple("C" if n == channels and i == a.ndim - 3 else n for i, n in enumerate(a.shape)) for a in arrays(result)
    ]


@pytest.mark.parametrize("channels", BANDS)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.filterwarnings("ignore:.*zero everywhere")
def test_every_method(name, channels):
    model, x = network(channels=channels), pictures(channels=channels)
    if name in RGB_ONLY:
        with pytest.raises(ValueError, match=re.escape(RGB_ONLY[name])):
            METHODS[name](model, x, 0)
        return
    found, wanted = METHODS[name](model, x, 0), METHODS[name](network(), pictures(), 0)
    assert shapes(found, channels) == shapes(wanted, 3)
    assert all(np.isfinite(a).all() for a in arrays(found))


@pytest.mark.parametrize("channels", BANDS)
@pytest.mark.parametrize("width", [3, 4, 1, 2])
def test_no_width_is_taken_for_colours(channels, width):
    x = np.random.default_rng(0).random((2, channels, 4, width))
    if width != channels:
        assert viz.as_images(network(channels=channels), x) is x
    last = x.transpose(0, 2, 3, 1)
    if last.shape[1] != channels:
        sentence = f"image must be (N,{channels},H,W) or ({channels},H,W)"
        with pytest.raises(ValueError, match=re.escape(sentence)):
            viz.as_images(network(channels=channels), last)


@pytest.mark.parametrize("channels", BANDS)
@pytest.mark.parametrize("method", [viz.saliency, viz.fgsm, viz.features, viz.invert, viz.deep_dream])
def test_the_wrong_number_of_bands_is_named(channels, method):
    layer = ["conv2"] if method in (viz.features, viz.invert, viz.deep_dream) else []
    with pytest.raises(ValueError, match=f"3 channels.*expects {channels}"):
        method(network(channels=channels), pictures(), *layer)


def test_pictures_for_a_grey_network():
    model = network(channels=1)
    levels = np.random.default_rng(0).integers(0, 256, (12, 12), np.uint8)
    grey, rgb = Image.fromarray(levels), np.repeat(levels[:, :, None], 3, 2)
    wanted = levels[None, None] / np.float32(255)
    levels_of_one = levels[:, :, None]
    for picture in (grey, rgb, [grey, rgb], grey.convert("RGB"), levels, levels_of_one, [levels, rgb]):
        for one in viz.as_images(model, picture):
            np.testing.assert_array_equal(one[None], wanted)
    model.input_size = (6, 6)
    assert viz.saliency(model, grey).shape == (1, 6, 6)
    assert viz.deep_dream(model, grey, "conv2", octaves=1, steps=1).image.shape == (1, 1, 12, 12)
    styled = viz.style_transfer(model, grey, grey, ["conv2"], ["conv1"], style_scale=0.5, steps=1)
    assert styled.image.shape == (1, 1, 12, 12)


@pytest.mark.parametrize(("channels", "hint"), [(1, "convert it to grey first"), (4, "give floats")])
def test_colours_for_a_network_without_are_refused(channels, hint):
    picture = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    with pytest.raises(ValueError, match=f"images of {channels} channels, and a picture is RGB: {hint}"):
        viz.saliency(network(channels=channels), picture)


@pytest.mark.parametrize("channels", BANDS)
def test_optimised_images(channels):
    model, x = network(channels=channels), pictures(channels=channels)[:1]
    for start in ("zeros", "grey", "noise", x):
        assert viz.maximize(model, 1, start=start, size=(12, 12), steps=1).image.shape == x.shape
        assert viz.invert(model, x, "conv2", start=start, steps=1).image.shape == x.shape
        assert viz.reconstruct_content(model, x, ["conv2"], start=start, steps=1).image.shape == x.shape
    with pytest.raises(ValueError, match="style_transfer: original_colors is for networks that see RGB"):
        viz.style_transfer(model, x, x, ["conv2"], ["conv1"], original_colors=True)
    assert viz.stylize(model, x, x, ["conv2"], ["conv1"], steps=1).shape == x.shape
    assert viz.cue_conflict(model, x, x, 1, content_layers=["conv2"], style_layers=["conv1"]).shape == x.shape


@pytest.mark.parametrize("channels", BANDS)
@pytest.mark.parametrize("kind", SEVERITIES)
def test_corruptions(kind, channels):
    x = pictures(channels=channels)
    if kind == "jpeg" and channels != 1:
        with pytest.raises(ValueError, match=f"a JPEG file is of 1 or 3 channels, these images have {channels}"):
            viz.corrupt(x, kind)
    else:
        assert viz.corrupt(x, kind).shape == x.shape


def test_a_grey_image_is_corrupted_as_one_of_three_equal_channels():
    """But for what draws noise for each channel, and JPEG's colours."""
    x = pictures(channels=1)
    for kind in ("gaussian_blur", "contrast", "brightness", "pixelate"):
        np.testing.assert_array_equal(viz.corrupt(x, kind), viz.corrupt(np.repeat(x, 3, 1), kind)[:, 1:2])


def with_preprocessing(channels):
    mean, std = (0.2, 0.5, 0.7, 0.1, 0.4)[:channels], (0.5,) * channels
    return nn.Sequential(
        {"preprocess": Preprocess(mean=mean, std=std), **dict(network(channels=channels).children())}
    ).eval()


@pytest.mark.parametrize("channels", [*BANDS, 3])
def test_covered_by_the_mean(channels):
    """What the preprocessing makes 0, band by band."""
    model, x = with_preprocessing(channels), pictures(channels=channels)
    mean = np.reshape(model["preprocess"].mean, (-1, 1, 1)).astype(np.float32)
    for call in (
        lambda fill: viz.occlusion(model, x, 1, patch=4, stride=4, fill=fill),
        lambda fill: viz.rise(model, x, 1, samples=8, cells=3, fill=fill),
        lambda fill: viz.insertion_deletion(model, x, x.mean(1), 1, steps=3, fill=fill).deletion,
    ):
        np.testing.assert_allclose(call("mean"), call(mean), rtol=1e-5, atol=1e-7)
    curves = viz.insertion_deletion(model, x, x.mean(1), 1, steps=3, fill="mean", blur="authors")
    assert np.isfinite(curves.insertion).all()


@pytest.mark.parametrize("channels", [*BANDS, 3])
def test_an_ideal_image_as_the_blog_makes_it(channels):
    found = viz.maximize_as_blog(with_preprocessing(channels), 1, size=(12, 12), steps=1, tv_steps=1)
    assert found.image.shape == (1, channels, 12, 12)


@pytest.mark.parametrize("channels", BANDS)
def test_the_robustness_of_other_bands(channels):
    model, x = network(channels=channels), pictures(channels=channels)
    label = viz.attacks.scores(model, x).argmax(1)
    (row,) = viz.robustness_table({"m": model}, x, label, {"fgsm": lambda m, x, y, n: viz.fgsm(m, x, label=y)})
    assert list(row)[-len(SEVERITIES) - 1 :] == [*SEVERITIES, "corruptions"]
    numbers = [row[kind] for kind in SEVERITIES if kind != "jpeg" or channels == 1]
    assert row["corruptions"] == pytest.approx(np.mean(numbers))
    if channels != 1:
        assert row["jpeg"] == f"jpeg: a JPEG file is of 1 or 3 channels, these images have {channels}"


def test_outlines_on_grey_are_in_colour_and_other_bands_are_refused():
    grey, four, mask = pictures(channels=1)[0], pictures(channels=4)[0], np.eye(12, dtype=bool)
    rgb = grey.repeat(3, 0)
    np.testing.assert_array_equal(viz.outline_box(grey, (2, 3, 8, 9)), viz.outline_box(rgb, (2, 3, 8, 9)))
    np.testing.assert_array_equal(viz.outline_mask(grey, mask), viz.outline_mask(rgb, mask))
    for refused in (lambda: viz.outline_box(four, (2, 3, 8, 9)), lambda: viz.outline_mask(four, mask)):
        with pytest.raises(ValueError, match=r"image must be floats \(3,H,W\) or \(1,H,W\), got float32 of shape \(4,"):
            refused()


@pytest.mark.parametrize("channels", BANDS)
def test_defences(channels):
    model, x = network(channels=channels), pictures(channels=channels)
    for defence in (defenses.GaussianNoise(), defenses.GaussianBlur(), defenses.BitDepth(3)):
        assert viz.saliency(viz.defend(model, defence), x).shape == (2, 12, 12)
    if channels == 1:
        assert viz.saliency(viz.defend(model, defenses.Jpeg()), x).shape == (2, 12, 12)
    else:
        with pytest.raises(ValueError, match="a JPEG file is of 1 or 3 channels"):
            viz.saliency(viz.defend(model, defenses.Jpeg()), x)


@pytest.mark.parametrize("channels", BANDS)
def test_the_report_of_an_attack(channels, tmp_path):
    model, x = network(channels=channels), pictures(channels=channels)
    attacked = viz.pgd(model, x, epsilon=0.05, steps=2)
    reports = viz.report_attack(model, x, attacked, epsilon=0.05)
    assert all(0 < report["saved"]["linf"] <= 0.05 + 1e-6 for report in reports)
    paths = [tmp_path / f"{n}.png" for n in range(2)]
    if channels == 1:
        assert viz.report_attack(model, x, attacked, epsilon=0.05, paths=paths) == reports
    else:
        with pytest.raises(ValueError, match="save_image takes"):
            viz.report_attack(model, x, attacked, paths=paths)
    label, attack = viz.attacks.scores(model, x).argmax(1), lambda m, x, y, n: viz.fgsm(m, x, label=y)
    assert len(viz.attack_table(model, x, label, {"fgsm": attack})) == 1
    with pytest.raises(ValueError, match="attack_table: the model names none of these images right"):
        viz.attack_table(model, x, (label + 1) % 4, {"fgsm": attack})
    assert len(viz.defence_table(model, x, label, {}, attack)) == 1


@pytest.mark.parametrize("channels", BANDS)
def test_looking_inside_and_places(channels):
    model, x = network(channels=channels), pictures(channels=channels)
    assert viz.weight_images(model, "conv1").shape == (8, channels, 3, 3)
    linear = nn.Sequential({"flatten": nn.Flatten(), "fc": nn.Linear(channels * 144, 2)})
    linear.input_size, linear.image_shape = (12, 12), (channels, 12, 12)
    assert viz.weight_images(linear, "fc").shape == (2, channels, 12, 12)
    assert viz.templates(viz.linear_classifier((channels, 4, 4), 2)).shape == (2, channels, 4, 4)
    patches = viz.top_patches(model, x, "relu1", 2, count=2)
    assert viz.projections(model, x, patches).shape == (2, channels, 3, 3)
    assert viz.segment(x[0], viz.saliency(model, x)[0]).shape == (12, 12)
    assert viz.mosaics(np.repeat(x, 2, 0), [0, 1, 2, 3], 2)[0].shape == (2, channels, 24, 24)


def test_figures_show_grey_and_refuse_other_bands(tmp_path):
    grey, four = pictures(channels=1), pictures(channels=4)
    plot.pictures(list(grey)).savefig(tmp_path / "grey.png")
    assert viz.tile(grey).shape[0] == 3
    np.testing.assert_array_equal(colours.as_picture(grey[0]), colours.as_picture(np.repeat(grey[0], 3, 0)))
    animation.save_gif(list(grey), tmp_path / "grey.gif")
    assert (tmp_path / "grey.gif").stat().st_size
    for refused in (
        lambda: plot.pictures(list(four)),
        lambda: viz.tile(four),
        lambda: animation.save_gif(list(four), tmp_path / "four.gif"),
    ):
        with pytest.raises(ValueError, match=r"\(3,H,W\)|\(K,3,h,w\)"):
            refused()


def test_shapes_tell_bands_apart():
    assert shapes(np.zeros((2, 4, 12, 12)), 4) == shapes(np.zeros((2, 3, 12, 12)), 3) == [(2, "C", 12, 12)]
    assert viz.target.channels(mg.nn.Sequential({"flatten": nn.Flatten()})) == 3
