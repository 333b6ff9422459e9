"""Style transfer: its losses against loops and PyTorch's numbers, and what the optimised images keep."""

import json
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import models
import viz
from minigrad import functional as F
from minigrad import nn
from minigrad.tools.gradcheck import check_gradients
from viz.gram import NORMALIZATIONS, mean_gram
from viz.style import YIQ, default_layers, luminance, luminance_only

GOLDEN = Path(__file__).parents[1] / "golden"
LAYERS = {"content_layers": ["relu2"], "style_layers": ["relu1", "relu2"]}


@pytest.fixture
def net(small_network):
    return small_network(dtype=np.float32)


def picture(seed, shape=(3, 16, 20), grain=4):
    """A picture of coloured blocks, a little blurred."""
    blocks = np.random.default_rng(seed).random((1, 3, shape[1] // grain, shape[2] // grain))
    return viz.gaussian_blur(np.kron(blocks, np.ones((1, 1, grain, grain))), 0.7).astype(np.float32)


# ---- losses ----------------------------------------------------------------------------------------------------------


def maps(shape, seed):
    """As in golden/make_style.py."""
    n = np.arange(np.prod(shape), dtype=np.float64)
    return np.maximum(np.sin(n * 0.7 + seed) + np.cos(n * (0.13 + 0.01 * seed)), 0).reshape(shape)


def test_gram_by_loops():
    a = np.random.default_rng(0).standard_normal((2, 3, 2, 4))
    found = viz.gram(mg.Tensor(a)).numpy()
    for image in range(2):
        for i in range(3):
            for j in range(3):
                products = [a[image, i, r, c] * a[image, j, r, c] for r in range(2) for c in range(4)]
                assert found[image, i, j] == pytest.approx(sum(products), rel=1e-12)


def test_losses_and_gradients_are_pytorchs():
    golden = json.loads((GOLDEN / "style.json").read_text())
    a, style = mg.Tensor(maps((1, 6, 5, 7), 1), requires_grad=True), mg.Tensor(maps((1, 6, 5, 7), 2))
    np.testing.assert_allclose(viz.gram(style).numpy()[0], golden["gram"], rtol=1e-12)
    losses = {"content": viz.content_loss(a, style)}
    losses |= {name: viz.style_loss(a, mean_gram(style), name) for name in NORMALIZATIONS}
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(golden[name]["loss"], rel=1e-11)
        gradient = mg.grad(loss, a).numpy().ravel()
        wanted = np.array(golden[name]["gradient"])
        np.testing.assert_allclose(gradient, wanted, atol=1e-11 * abs(wanted).max())


def test_style_loss_by_loops_for_a_style_of_another_size():
    rng = np.random.default_rng(0)
    a, style = rng.random((1, 3, 2, 4)), rng.random((1, 3, 3, 5))
    total = 0.0
    for i in range(3):
        for j in range(3):
            total += ((a[0, i] * a[0, j]).sum() / 8 - (style[0, i] * style[0, j]).sum() / 15) ** 2
    wanted = mean_gram(mg.Tensor(style))
    assert viz.style_loss(mg.Tensor(a), wanted).item() == pytest.approx(total / (4 * 9), rel=1e-12)
    check_gradients(lambda a: viz.style_loss(a, wanted), mg.Tensor(a))


def test_mistakes_of_the_losses_are_named():
    a = mg.Tensor(np.ones((1, 3, 2, 2)))
    with pytest.raises(ValueError, match="gatys, chw, hw"):
        viz.style_loss(a, mean_gram(a), "mean")
    with pytest.raises(ValueError, match="shape"):
        viz.content_loss(a, mg.Tensor(np.ones((1, 3, 2, 3))))
    with pytest.raises(ValueError, match="channels"):
        viz.gram(mg.Tensor(np.ones((1, 3))))


# ---- the whole -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer, steps", [("lbfgs", 60), ("adam", 150)])
def test_the_style_loss_falls_by_95_percent(net, optimizer, steps):
    result = viz.style_transfer(
        net, picture(0), picture(1), **LAYERS, content_weight=0.4, optimizer=optimizer, steps=steps
    )
    style = result.losses["style"]
    assert style[-1] < 0.05 * style[0] and result.losses["content"][0] == 0
    assert result.image.shape == (1, 3, 16, 20) and 0 <= result.image.min() and result.image.max() <= 1
    assert result.image.dtype == np.float32


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6])
def test_the_course_of_lbfgs_is_that_of_any_multiple(net, scale):
    """Only what the two weights are to each other matters; small ones once left the photograph as it was."""

    def course(scale):
        weights = {"content_weight": 0.4 * scale, "style_weight": 1000.0 * scale}
        result = viz.style_transfer(net, picture(0), picture(1), **LAYERS, **weights, optimizer="lbfgs", steps=60)
        return np.array(result.losses["style"]) / scale

    found, expected = course(scale), course(1.0)
    np.testing.assert_allclose(found[:4], expected[:4], rtol=1e-3)
    np.testing.assert_allclose(found[-1], expected[-1], rtol=0.05)
    assert found[-1] < 0.2 * found[0]


def test_the_terms_are_weighted_as_asked(net):
    content, style = picture(0), picture(1, (3, 12, 12))
    start = picture(2)
    result = viz.style_transfer(
        net, content, style, **LAYERS, content_weight=3.0, style_weight=7.0, tv_weight=0.5, layer_weights=[0.2, 0.9],
        start=start, steps=1, optimizer="adam",
    )  # fmt: skip
    names = ["relu1", "relu2"]
    found, wanted, textures = (net.activations(mg.Tensor(x), names) for x in (start, content, style))
    styles = [viz.style_loss(found[name], mean_gram(textures[name])).item() for name in names]
    expected = {
        "content": 3 * viz.content_loss(found["relu2"], wanted["relu2"]).item(),
        "style": 7 * (0.2 * styles[0] + 0.9 * styles[1]),
        "tv": viz.total_variation(mg.Tensor(start), "l2", 0.5).item(),
    }
    assert {name: values[0] for name, values in result.losses.items()} == pytest.approx(expected, rel=1e-5)


def test_the_default_style_weight_balances_the_terms(net):
    content, style = picture(0), picture(1)
    result = viz.style_transfer(net, content, style, **LAYERS, steps=1)
    everything = 0.5 * (net.activations(mg.Tensor(content), ["relu2"])["relu2"].numpy() ** 2).sum()
    assert result.losses["style"][0] == pytest.approx(40 * everything, rel=1e-5)
    scaled = viz.style_transfer(net, content, style, **LAYERS, steps=1, normalization="chw").losses["style"][0]
    assert scaled == pytest.approx(40 * everything, rel=1e-5)


def test_balanced_layers_have_equal_parts_at_the_content(net):
    content, style = picture(0), picture(1)
    found = viz.style_transfer(net, content, style, **LAYERS, layer_weights="balanced", style_weight=7.0, steps=1)
    names = LAYERS["style_layers"]
    begun, wanted = (net.activations(mg.Tensor(x), names) for x in (content, style))
    parts = [viz.style_loss(begun[name], mean_gram(wanted[name])).item() for name in names]
    weights = found.settings["layer_weights"]
    assert sum(weights) == pytest.approx(1) and weights[0] != pytest.approx(0.5, rel=0.2)
    assert [w * part for w, part in zip(weights, parts, strict=True)] == pytest.approx([weights[0] * parts[0]] * 2)
    assert found.losses["style"][0] == pytest.approx(2 * 7 * weights[0] * parts[0], rel=1e-5)
    same = viz.style_transfer(net, content, content, **LAYERS, layer_weights="balanced", start="noise", steps=1)
    assert same.settings["layer_weights"] == [0.5, 0.5]
    with pytest.raises(ValueError, match="\"balanced\", got 'equal'"):
        viz.style_transfer(net, content, style, **LAYERS, layer_weights="equal")


def test_styles_are_blended_by_weight(net):
    content, styles = picture(0), [picture(1), picture(2)]
    grams = [mean_gram(net.activations(mg.Tensor(s), ["relu1"])["relu1"]).numpy() for s in styles]
    seen = viz.style_transfer(
        net, content, styles, content_layers=["relu1"], style_layers=["relu1"], blend=[1, 3], steps=1, style_weight=1e3
    )
    start = net.activations(mg.Tensor(content), ["relu1"])["relu1"]
    wanted = viz.style_loss(start, mg.Tensor(0.25 * grams[0] + 0.75 * grams[1])).item() * 1e3
    assert seen.losses["style"][0] == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match="blend"):
        viz.style_transfer(net, content, styles, **LAYERS, blend=[1.0])


def test_style_scale_resizes_the_style(net):
    content, style = picture(0), picture(1)
    half = models.load_image(style, (8, 10))
    scaled, resized = (
        viz.style_transfer(net, content, s, **LAYERS, steps=1, style_scale=scale).losses["style"][0]
        for s, scale in ((style, 0.5), (half, 1.0))
    )
    assert scaled == pytest.approx(resized, rel=1e-6)


@pytest.mark.parametrize("start, wanted", [("content", 0), ("style", 1)])
def test_where_it_starts(net, start, wanted):
    pictures = [picture(0), picture(1)]
    result = viz.style_transfer(net, *pictures, **LAYERS, start=start, steps=1, record=1, optimizer="adam")
    np.testing.assert_allclose(result.frames[0], pictures[wanted], atol=1e-7)
    noise = viz.style_transfer(net, *pictures, **LAYERS, start="noise", steps=1, record=1).frames[0]
    assert abs(noise.mean() - 0.5) < 0.03 and 0.05 < noise.std() < 0.15


def test_original_colours(net):
    content, style = 0.25 + 0.5 * picture(0), picture(1)  # far from the limits, so that little is cut off
    result = viz.style_transfer(net, content, style, **LAYERS, content_weight=0.4, original_colors=True, steps=20)
    before, after = (np.einsum("ic,nchw->nihw", YIQ, x) for x in (content, result.image))
    inside = ((result.image > 0) & (result.image < 1)).all(1)[0]
    assert inside.mean() > 0.8
    np.testing.assert_allclose(after[0, 1:, inside], before[0, 1:, inside], atol=2e-6)  # colours stay
    assert abs(after[0, 0] - before[0, 0]).mean() > 0.01  # brightness does not


def test_the_styles_luminance_is_matched_to_the_contents():
    content, style = 0.4 + 0.2 * picture(0), picture(1)
    grey, (matched,), restore = luminance_only(content, [style])
    assert np.ptp(grey, axis=1).max() == 0 and np.ptp(matched, axis=1).max() == 0
    light = luminance(content)
    assert matched.mean() == pytest.approx(light.mean(), abs=1e-3) and matched.std() == pytest.approx(
        light.std(), abs=1e-3
    )
    np.testing.assert_allclose(restore(grey), content, atol=1e-6)


def test_only_layers_up_to_the_deepest_are_computed(net):
    net["fc"].forward = lambda x: pytest.fail("the last layer was computed")
    viz.style_transfer(net, picture(0), picture(1), **LAYERS, steps=1)


# ---- the halves ------------------------------------------------------------------------------------------------------


def test_content_comes_back_from_an_early_layer(net):
    image = picture(0)
    one = viz.reconstruct_content(net, image, "relu1", steps=60)
    assert one.losses["content"][-1] < 1e-3 * one.losses["content"][0] and "style" not in one.losses
    several = viz.reconstruct_content(net, image, ["relu1", "relu2"], steps=1)
    start = several.losses["content"][0]
    parts = [viz.reconstruct_content(net, image, layer, steps=1).losses["content"][0] for layer in ("relu1", "relu2")]
    assert start == pytest.approx(sum(parts), rel=1e-5)


def test_texture_has_the_grams_but_not_the_picture(net):
    style = picture(1)
    result = viz.synthesize_texture(net, style, ["relu1", "relu2"], size=(20, 12), steps=80)
    assert result.image.shape == (1, 3, 20, 12) and list(result.losses) == ["style"]
    assert result.losses["style"][-1] < 0.02 * result.losses["style"][0]
    wanted, found = (
        mean_gram(net.activations(mg.Tensor(x), ["relu1"])["relu1"]).numpy() for x in (style, result.image)
    )
    assert abs(found - wanted).max() < 0.15 * abs(wanted).max()


# ---- networks --------------------------------------------------------------------------------------------------------


def test_average_pooling_is_put_in_everywhere_and_leaves_the_model():
    model = models.build("squeezenet1_1")
    changed = viz.with_average_pooling(model)
    assert [type(changed[name]) for name in ("pool1", "pool3", "pool5")] == [nn.AvgPool2d] * 3
    assert isinstance(model["pool1"], nn.MaxPool2d) and changed["conv1"] is model["conv1"]
    x = np.random.default_rng(0).random((1, 64, 12, 12), np.float32)
    wanted = F.avg_pool2d(mg.Tensor(x), 3, 2, ceil_mode=True).numpy()
    np.testing.assert_allclose(changed["pool1"](mg.Tensor(x)).numpy(), wanted, rtol=1e-6)
    assert changed.input_size == model.input_size and changed.labels == model.labels


class OfItsOwn(nn.Module):
    """A pool that nobody but its `forward` knows of."""

    def __init__(self):
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        return self.pool(x)


def test_pools_are_averaged_unless_refused_or_out_of_reach():
    rng = np.random.default_rng(0)
    content, style = rng.random((2, 1, 3, 16, 16), np.float32)
    layers = {"conv1": nn.Conv2d(3, 4, 3, padding=1, rng=rng), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2)}
    layers |= {"conv2": nn.Conv2d(4, 4, 3, padding=1, rng=rng), "relu2": nn.ReLU()}

    def last(model, **how):
        found = viz.style_transfer(model, content, style, "relu2", ["relu1", "relu2"], steps=2, **how)
        return found.losses["style"][-1]

    model, own = nn.Sequential(layers), nn.Sequential(layers | {"pool1": OfItsOwn()})
    assert last(model, average_pooling=None) == last(model, average_pooling=True) != last(model)
    assert last(own, average_pooling=None) == last(own)
    with pytest.raises(NotImplementedError, match="forward of its own"):
        last(own, average_pooling=True)


def test_default_layers():
    gatys = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    for name in ("vgg11", "vgg16", "vgg19", "minivgg"):
        assert default_layers(models.build(name + "_features", seed=None)) == [["relu4_2"], gatys]
    whole = nn.Sequential({"network": models.build("vgg16_features", seed=None)})  # as HED's lies in its model
    assert default_layers(whole) == [["network.relu4_2"], [f"network.{layer}" for layer in gatys]]
    names = models.build("squeezenet1_1", seed=None).names()
    content, style = default_layers(models.build("squeezenet1_1", seed=None))
    assert set(content + style) <= set(names) and len(style) == 5
    with pytest.raises(ValueError, match="name the layers"):
        default_layers(nn.Sequential({"relu": nn.ReLU()}))


def test_seed_ctrl_c_and_mistakes(net):
    def interrupt(step, image, losses):
        if step == 2:
            raise KeyboardInterrupt

    arguments = {**LAYERS, "start": "noise", "seed": 4}
    first, again = (viz.style_transfer(net, picture(0), picture(1), steps=3, **arguments) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    stopped = viz.style_transfer(net, picture(0), picture(1), steps=30, callback=interrupt, **arguments)
    np.testing.assert_array_equal(
        stopped.image, viz.style_transfer(net, picture(0), picture(1), steps=2, **arguments).image
    )
    assert stopped.stopped
    with pytest.raises(ValueError, match=r"style must be one picture, \(1,3,H,W\)"):
        viz.style_transfer(net, picture(0), picture(1).repeat(2, 0))
    with pytest.raises(ValueError, match="layer_weights"):
        viz.style_transfer(net, picture(0), picture(1), **LAYERS, layer_weights=[1])


# ---- one half alone --------------------------------------------------------------------------------------------------


def test_without_content_layers_it_is_texture_synthesis(net):
    content, style = picture(0), picture(1)
    start = viz.style.start_image(net, "noise", (16, 20), viz.random.streams(3, "synthesize_texture", style)).numpy()
    alone = viz.style_transfer(
        net, content, style, [], ["relu1", "relu2"], start=start, optimizer="adam", lr=0.05, steps=4
    )
    wanted = viz.synthesize_texture(
        net, style, ["relu1", "relu2"], size=(16, 20), optimizer="adam", lr=0.05, steps=4, seed=3
    )
    assert set(alone.losses) == {"style"}
    np.testing.assert_allclose(alone.losses["style"], wanted.losses["style"], rtol=1e-5)
    np.testing.assert_allclose(alone.image, wanted.image, atol=1e-5)


def test_without_style_layers_it_is_content_reconstruction(net):
    content, style, start = picture(0), picture(1), picture(2)
    options = {"start": start, "optimizer": "adam", "lr": 0.05, "steps": 4}
    alone = viz.style_transfer(net, content, style, ["relu2"], [], **options)
    wanted = viz.reconstruct_content(net, content, ["relu2"], **options)
    assert set(alone.losses) == {"content"}
    np.testing.assert_allclose(alone.losses["content"], wanted.losses["content"], rtol=1e-5)
    np.testing.assert_allclose(alone.image, wanted.image, atol=1e-5)


@pytest.mark.parametrize("empty", [[], ()])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_either_half_alone_falls(net, empty, optimizer):
    for layers in (("relu2", empty), (empty, "relu1")):
        result = viz.style_transfer(
            net, picture(0), picture(1), *layers, start="noise", optimizer=optimizer, steps=5, tv_weight=1e-6
        )
        (name,) = set(result.losses) - {"tv"}
        assert result.losses[name][-1] < result.losses[name][0]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda net, x: viz.style_transfer(net, x, [], **LAYERS), "style_transfer: there is no style: give a picture"),
        (
            lambda net, x: viz.style_transfer(net, x, None, **LAYERS),
            "style_transfer: there is no style: give a picture",
        ),
        (lambda net, x: viz.style_transfer(net, x, x, [], []), "there is neither a content nor a style layer"),
        (lambda net, x: viz.reconstruct_content(net, x, []), "reconstruct_content: there is no layer: name one"),
        (lambda net, x: viz.synthesize_texture(net, x, ()), "synthesize_texture: there is no layer: name one"),
        (lambda net, x: viz.stylize(net, x, x, [], ["relu1"]), "stylize: needs a content and a style layer"),
        (lambda net, x: viz.stylize(net, x, x, ["relu1"], []), "stylize: needs a content and a style layer"),
        (lambda net, x: viz.style_transfer(net, x, x, ["relu2"] * 2, ["relu1"]), "'relu2' is named twice"),
        (lambda net, x: viz.style_transfer(net, x, x, ["relu2"], ["relu1"] * 2), "'relu1' is named twice"),
        (lambda net, x: viz.reconstruct_content(net, x, ["relu1", "relu2", "relu1"]), "'relu1' is named twice"),
        (lambda net, x: viz.synthesize_texture(net, x, ["relu1", "relu1"]), "'relu1' is named twice"),
        (lambda net, x: viz.stylize(net, x, x, ["relu2"], ["relu1", "relu1"]), "'relu1' is named twice"),
        (lambda net, x: viz.cue_conflict(net, x[:0], x[:0]), "cue_conflict: there are no pictures"),
    ],
)
def test_nothing_and_twice_are_refused_in_a_sentence(net, call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(net, picture(0))
