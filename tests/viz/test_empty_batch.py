"""No images at all: every function gives an empty result, or says in a sentence why there is none."""

import warnings

import numpy as np
import pytest

import viz
from tests.viz.every_method import METHODS, arrays, network, pictures

ATTACK = {"fgsm": lambda m, x, y, n: viz.fgsm(m, x, label=y)}
NONE, MAPS, NUMBERS = np.zeros((0, 3, 12, 12), np.float32), np.zeros((0, 12, 12)), np.zeros(0, int)
EMPTY = {  # beside METHODS: of a network and no images
    **{f"corrupt, {kind}": lambda m, x, kind=kind: viz.corrupt(x, kind) for kind in viz.corruptions.SEVERITIES},
    "saliency of the top class": lambda m, x: viz.saliency(m, x),
    "saliency of a class for each": lambda m, x: viz.saliency(m, x, []),
    "lrp, epsilon": lambda m, x: viz.lrp(m, x, rule="epsilon"),
    "guided_backprop of maps": lambda m, x: viz.guided_backprop(m, x, 1, only_convolutional=True),
    "rise, logit": lambda m, x: viz.rise(m, x, 1, samples=8, output="logit", fill="mean"),
    "insertion_deletion, authors": lambda m, x: viz.insertion_deletion(
        m, x, MAPS, 1, steps=3, fill="mean", blur="authors"
    ),
    "completeness": lambda m, x: viz.completeness(m, x, x, 1),
    "per_pixel": lambda m, x: viz.per_pixel(x),
    "pointing_game": lambda m, x: viz.pointing_game(MAPS, np.zeros((0, 4), int)),
    "positive_share": lambda m, x: viz.positive_share(MAPS, np.zeros((0, 4), int)),
    "localize": lambda m, x: viz.localize(MAPS),
    "mass_inside": lambda m, x: viz.mass_inside(MAPS, MAPS > 0),
    "channel_maxima": lambda m, x: list(viz.channel_maxima(m, x, ["relu1"])["relu1"]),
    "projections": lambda m, x: viz.projections(m, x, viz.top_patches(m, x, "relu1", 2)),
    "scores": lambda m, x: viz.attacks.scores(m, x),
    "as_saved": lambda m, x: viz.as_saved(x),
    "round_within": lambda m, x: viz.round_within(x, x, 0.1),
    "distances": lambda m, x: viz.distances(x, x),
    "enlarge": lambda m, x: viz.enlarge(x, 24),
    "apply_perturbation": lambda m, x: viz.apply_perturbation(x, np.zeros((1, 3, 12, 12), np.float32)),
    "as_images": lambda m, x: viz.as_images(m, x),
}
SENTENCES = {
    "features of an empty list": (lambda m, x: viz.features(m, [], "gap"), "image is an empty list"),
    "maximize": (lambda m, x: viz.maximize(m, [], size=12, steps=1), "the list of objectives is empty"),
    "style_transfer": (lambda m, x: viz.style_transfer(m, x, x, ["conv2"], ["conv1"]), "content must be one picture"),
    "synthesize_texture": (lambda m, x: viz.synthesize_texture(m, x, ["conv1"]), "style must be one picture"),
    "stylize": (lambda m, x: viz.stylize(m, x, x, ["conv2"], ["conv1"]), "stylize: there are no images"),
    "cue_conflict": (lambda m, x: viz.cue_conflict(m, x, x), "cue_conflict: there are no pictures"),
    "shape_decisions": (lambda m, x: viz.shape_decisions(m, x, NUMBERS, NUMBERS), "there are no images"),
    "report_attack": (lambda m, x: viz.report_attack(m, x, x), "report_attack: image is empty"),
    "accuracy": (lambda m, x: viz.accuracy(m, x, NUMBERS), "there are no images to measure"),
    "attack_table": (lambda m, x: viz.attack_table(m, x, NUMBERS, ATTACK), "there are no images to measure"),
    "defence_table": (lambda m, x: viz.defence_table(m, x, NUMBERS, {}, ATTACK["fgsm"]), "there are no images"),
    "transfer_table": (lambda m, x: viz.transfer_table({"m": m}, x, NUMBERS, ATTACK["fgsm"]), "there are no images"),
    "robustness_table": (lambda m, x: viz.robustness_table({"m": m}, x, NUMBERS, ATTACK), "there are no images"),
    "bias_table": (lambda m, x: viz.bias_table(*[NUMBERS] * 4, ["a"]), "bias_table: there are no images"),
    "mosaics": (lambda m, x: viz.mosaics(x, NUMBERS, 2), "mosaics: needs images of at least 4 classes, got 0"),
    "silhouette": (lambda m, x: viz.silhouette(np.zeros((0, 3)), NUMBERS), "silhouette: needs 2"),
    "train_linear": (
        lambda m, x: viz.train_linear(viz.linear_classifier((3, 12, 12), 2), x, NUMBERS),
        "there are no images to train with",
    ),
    "tile": (lambda m, x: viz.tile(x), "tile: there are no images"),
    "estimate": (lambda m, x: viz.estimate(NUMBERS), r"estimate: values must be .*, one at least"),
}


@pytest.mark.parametrize("name", [*METHODS, *EMPTY])
def test_no_images_give_an_empty_result_or_a_sentence(name):
    call = EMPTY.get(name) or (lambda model, x: METHODS[name](model, x, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = arrays(call(network(), NONE))
        except ValueError as error:
            assert any(words in str(error) for words in ("image is empty", "must be one picture")), error
            return
    if not name.startswith("maximize"):  # which takes no image
        assert any(0 in a.shape for a in found) and not any(a.ndim == 4 and a.size for a in found)
    assert all(np.isfinite(a).all() for a in found)


@pytest.mark.parametrize("name", SENTENCES)
def test_what_needs_an_image_says_so(name):
    call, sentence = SENTENCES[name]
    with warnings.catch_warnings(), pytest.raises(ValueError, match=sentence):
        warnings.simplefilter("error")
        call(network(), NONE)


def test_a_model_that_has_no_right_answer_has_no_share_in_the_transfer_table():
    model, x = network(), pictures()
    label = (viz.attacks.scores(model, x).argmax(1) + 1) % 4
    (row,) = viz.transfer_table({"m": model}, x, label, ATTACK["fgsm"])
    assert row == {"attacked": "m", "images": 2, "m": None}


# ---- float16 networks ------------------------------------------------------------------------------------------------

HALF = [
    name for name in METHODS if name not in ("guided_grad_cam", "smooth_grad", "sensitivity", "model_randomization")
]
HALF = [name for name in HALF if "infidelity" not in name and name != "invert"]  # whose noise is drawn for other pixels


def half():
    model = network()
    for _, tensor in model.named_tensors():
        tensor.data = tensor.astype(np.float16).data
    return model


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.filterwarnings("ignore:.*zero everywhere")
def test_networks_of_float16(name):
    x = pictures().astype(np.float16).astype(np.float32)
    found, wanted = arrays(METHODS[name](half(), x, 0)), arrays(METHODS[name](network(), x, 0))
    assert [a.shape for a in found] == [a.shape for a in wanted] and all(np.isfinite(a).all() for a in found)
    if name in HALF:
        for one, other in zip(found, wanted, strict=True):
            assert abs(one.astype(float) - other).max() <= 0.1 * abs(other).max()


def test_styles_by_float16_networks():
    x = pictures()
    for call in (
        lambda model: viz.stylize(model, x, x[::-1], ["conv2"], ["conv1"], steps=2),
        lambda model: viz.style_transfer(model, x[:1], x[1:], ["conv2"], ["conv1"], steps=2).image,
        lambda model: viz.deep_dream(model, x, "conv2", octaves=1, steps=2).image,
    ):
        np.testing.assert_allclose(call(half()).astype(float), call(network()), atol=0.05)


# ---- names of layers -------------------------------------------------------------------------------------------------

LAYERS = {
    "invert": lambda m, x, layer: viz.invert(m, x, layer, steps=1),
    "saliency": lambda m, x, layer: viz.saliency(m, x, layer=layer),
    "lrp": lambda m, x, layer: viz.lrp(m, x, layer=layer),
    "grad_cam": lambda m, x, layer: viz.grad_cam(m, x, layer=layer),
    "deep_dream": lambda m, x, layer: viz.deep_dream(m, x, layer, octaves=1, steps=1),
    "activation_maps": lambda m, x, layer: viz.activation_maps(m, x, layer),
    "features": lambda m, x, layer: viz.features(m, x, layer),
    "top_patches": lambda m, x, layer: viz.top_patches(m, x, layer, 1),
    "weight_images": lambda m, x, layer: viz.weight_images(m, layer),
    "channel": lambda m, x, layer: viz.maximize(m, viz.channel(layer, 1), size=12, steps=1),
    "neuron": lambda m, x, layer: viz.maximize(m, viz.neuron(layer, 1), size=12, steps=1),
    "energy": lambda m, x, layer: viz.maximize(m, viz.energy(layer), size=12, steps=1),
    "model.activations": lambda m, x, layer: m.activations(x, [layer]),
    "reconstruct_content": lambda m, x, layer: viz.reconstruct_content(m, x, [layer], optimizer="adam", steps=1),
    "style_transfer": lambda m, x, layer: viz.style_transfer(m, x[:1], x[1:], [layer], ["conv1"], steps=1),
}


@pytest.mark.parametrize("layer", [["conv2"], [None], [""], ("conv2",), 3, "conv9"])
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_no_name_of_a_layer_is_refused_in_a_sentence(name, layer):
    with pytest.raises(ValueError, match=r"there is no layer|a layer is given by its name|layers are given by their"):
        LAYERS[name](network(), pictures(), layer)


@pytest.mark.parametrize("name", ["deep_dream", "energy", "channel", "invert", "features", "style_transfer"])
def test_none_is_no_name_either(name):
    with pytest.raises(ValueError, match=r"there is no layer None|got (None|\[None\])"):
        LAYERS[name](network(), pictures(), None)


@pytest.mark.parametrize("layer", ["", "fc"])
def test_a_layer_without_positions_has_no_style(layer):
    x = pictures()[:1]
    with pytest.raises(ValueError, match=f"layer '{layer}' has no positions, its output is .4,.: it has no style"):
        viz.synthesize_texture(network(), x, [layer], steps=1)
