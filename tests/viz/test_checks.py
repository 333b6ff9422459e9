"""The checks of attributions, each against a case whose answer is known."""

import numpy as np
import pytest
from scipy.ndimage import convolve, convolve1d, gaussian_filter
from skimage.metrics import structural_similarity

import minigrad as mg
import viz
from minigrad import nn
from models import Preprocess
from tests.viz.reference_networks import reference
from viz.random import streams


@pytest.fixture(scope="module")
def golden():
    return reference("vgg")


@pytest.fixture
def image():
    return np.random.default_rng(1).uniform(size=(2, 3, 6, 5))


@pytest.fixture
def weight():
    return np.random.default_rng(0).normal(size=(2, 3, 6, 5))


def test_per_pixel():
    a = np.array([1.0, -3, 0.5, 2, -2, -1]).reshape(1, 3, 1, 2)
    assert viz.per_pixel(a).tolist() == [[[3.5, 6]]]
    assert viz.per_pixel(a, "signed").tolist() == [[[-0.5, -2]]]
    assert viz.per_pixel(-a, "positive").tolist() == [[[0.5, 2]]]
    assert viz.per_pixel(a[:, 0]).tolist() == [[[1, 3]]]
    with pytest.raises(ValueError, match="magnitude, signed or positive"):
        viz.per_pixel(a, "mean")


def test_completeness_of_a_linear_score(linear_model, image, weight):
    model = linear_model(weight.reshape(2, -1), np.array([5.0, -1]))
    complete = weight[[1, 0]] * (image - 0.25)
    np.testing.assert_allclose(viz.completeness(model, image, complete, [1, 0], baseline=0.25), 0, atol=1e-12)
    np.testing.assert_allclose(viz.completeness(model, image, complete + 0.01, [1, 0], baseline=0.25), 0.9)
    against_nothing = viz.completeness(model, image, weight[[1, 0]] * image, [1, 0], baseline=None)
    np.testing.assert_allclose(against_nothing, [1, -5])  # minus the biases
    assert viz.completeness(model, image, np.zeros((2, 6, 5)), layer="fc", unit=1).shape == (2,)


# ---- insertion and deletion ------------------------------------------------------------------------------------------


def test_insertion_and_deletion_step_by_step(linear_model, image, weight):
    model = linear_model(weight.reshape(2, -1))
    maps = np.random.default_rng(2).normal(size=(2, 6, 5))
    curves = viz.insertion_deletion(model, image, maps, [1, 0], steps=3, fill=0.5)
    np.testing.assert_allclose(curves.fraction, [0, 1 / 3, 2 / 3, 1])
    kernel = np.exp(-(np.arange(-5, 6) ** 2) / 50)
    blurred = convolve1d(convolve1d(image, kernel / kernel.sum(), 2), kernel / kernel.sum(), 3)
    for n, c in enumerate([1, 0]):
        order = np.argsort(-maps[n].ravel())
        for step, count in enumerate((0, 10, 20, 30)):
            chosen = np.isin(np.arange(30), order[:count]).reshape(6, 5)
            for curve, changed in (
                (curves.deletion, np.where(chosen, 0.5, image[n])),
                (curves.insertion, np.where(chosen, image[n], blurred[n])),
            ):
                y = weight.reshape(2, -1) @ changed.ravel()
                np.testing.assert_allclose(curve[n, step], 1 / (1 + np.exp(y[1 - c] - y[c])), rtol=1e-9)
    areas = curves.insertion @ [1 / 6, 1 / 3, 1 / 3, 1 / 6]
    np.testing.assert_allclose(curves.insertion_area, areas)


def test_insertion_and_deletion_as_the_authors_measure_them(linear_model):
    """Petsiuk's evaluation: preprocessed pixels, zeros for what is deleted, and a convolution with gkern(11, 5)."""
    rng = np.random.default_rng(5)
    image, maps, weight = rng.uniform(size=(2, 3, 14, 14)), rng.normal(size=(2, 14, 14)), rng.normal(size=(2, 588))
    preprocess = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    whole = nn.Sequential({"preprocess": preprocess, **dict(linear_model(weight * 0.05).children())})
    curves = viz.insertion_deletion(whole, image, maps, [1, 0], steps=14, fill="mean", blur="authors")

    kernel = np.zeros((11, 11))
    kernel[5, 5] = 1
    kernel = gaussian_filter(kernel, 5)
    for n, c in enumerate([1, 0]):
        seen = preprocess(mg.Tensor(image[n])).numpy()
        blurred = np.stack([convolve(plane, kernel, mode="constant") for plane in seen])
        order = np.flip(np.argsort(maps[n].ravel()))
        for curve, now, later in ((curves.deletion, seen, 0 * seen), (curves.insertion, blurred, seen)):
            now, scores = now.reshape(3, -1).copy(), []
            for i in range(15):
                y = weight * 0.05 @ now.ravel()
                scores.append(1 / (1 + np.exp(y[1 - c] - y[c])))
                some = order[14 * i : 14 * (i + 1)]
                now[:, some] = later.reshape(3, -1)[:, some]
            np.testing.assert_allclose(curve[n], scores, rtol=1e-9)
        scores = np.array(scores)
        area = (scores.sum() - scores[0] / 2 - scores[-1] / 2) / (len(scores) - 1)  # auc
        np.testing.assert_allclose(curves.insertion_area[n], area)
    with pytest.raises(ValueError, match="blur must be gaussian or authors, got 'box'"):
        viz.insertion_deletion(whole, image, maps, 1, blur="box")


def test_the_right_order_beats_its_reverse_and_chance(linear_model, image, weight):
    model = linear_model(weight.reshape(2, -1))
    worth = (weight[0] * (image - 0.5)).sum(1) - (weight[1] * (image - 0.5)).sum(1)
    right, wrong, flat = (viz.insertion_deletion(model, image, m, 0, steps=30) for m in (worth, -worth, worth * 0))
    assert (right.deletion_area < flat.deletion_area).all() and (flat.deletion_area < wrong.deletion_area).all()


def test_equal_pixels_go_in_random_order(linear_model):
    """A flat map deletes a random half first, not the upper half."""
    weight = np.zeros((2, 1, 20, 20))
    weight[0, :, :10] = 1 / 20
    model = linear_model(weight.reshape(2, -1))
    curves = viz.insertion_deletion(model, np.ones((1, 1, 20, 20)), np.zeros((1, 20, 20)), 0, steps=2, fill=0.0)
    left = -np.log(1 / curves.deletion[0, 1] - 1)  # the score: 10 for the whole image
    assert 4 < left < 6
    with pytest.raises(ValueError, match="one for each image"):
        viz.insertion_deletion(model, np.ones((1, 1, 20, 20)), np.zeros((20, 20)), 0)


# ---- where it falls --------------------------------------------------------------------------------------------------


def test_curves_so_far_are_those_of_the_end(small_network, images, monkeypatch):
    for most in ("PIXELS_AT_ONCE", "AT_ONCE_ON_GPU"):
        monkeypatch.setattr(viz.perturbation, most, 1)
    model, x, seen = small_network(), images(2), []
    whole = viz.insertion_deletion(model, x, x[:, 0], steps=5, callback=lambda *given: seen.append(given))
    assert [(done, points) for done, points, _ in seen] == [(n, 6) for n in range(1, 7)]
    ended = viz.insertion_deletion(model, x, x[:, 0], steps=5, callback=lambda done, *_: done == 3)
    for name in ("fraction", "insertion", "deletion"):
        np.testing.assert_array_equal(getattr(ended, name), getattr(seen[2][2], name))
        np.testing.assert_array_equal(getattr(ended, name), getattr(whole, name)[..., :3])


def test_pointing_game():
    maps = np.zeros((5, 20, 30))
    boxes = np.array([[5, 5, 10, 10]] * 5)
    for n, (row, column) in enumerate([(9, 5), (10, 5), (9, 12), (4, 4)]):
        maps[n, row, column] = 1  # inside; one row below; 3 columns to the right; one up and left; flat
    assert viz.pointing_game(maps, boxes, tolerance=0).tolist() == [True, False, False, False, False]
    assert viz.pointing_game(maps, boxes, tolerance=1).tolist() == [True, True, False, True, False]
    assert viz.pointing_game(maps, boxes, tolerance=15).tolist() == [True, True, True, True, False]
    with pytest.raises(ValueError, match=r"boxes \(N,4\)"):
        viz.pointing_game(maps, boxes[0])


def test_positive_share():
    maps = np.zeros((3, 4, 4))
    maps[0, :2, :2], maps[0, 3, 3], maps[0, 3, 0] = 1, 1, -7
    maps[1] = -1
    maps[2, 0, 0] = 2
    boxes = np.array([[0, 0, 2, 2]] * 3)
    np.testing.assert_allclose(viz.positive_share(maps, boxes), [0.8, 0, 1])


def test_mosaics_show_four_classes_and_know_where():
    labels = np.repeat(np.arange(6), 3)
    images = (labels / 10)[:, None, None, None] * np.ones((1, 3, 4, 5))
    pictures, classes, boxes = viz.mosaics(images, labels, 40, seed=1)
    assert pictures.shape == (40, 3, 8, 10)
    for picture, kind, (top, left, bottom, right) in zip(pictures, classes, boxes, strict=True):
        assert (bottom - top, right - left) == (4, 5)
        np.testing.assert_array_equal(picture[:, top:bottom, left:right], kind / 10)
        assert len(np.unique(picture)) == 4 and (picture == kind / 10).sum() == 3 * 4 * 5
    assert len(set(classes)) == 6 and len({tuple(box) for box in boxes}) == 4
    np.testing.assert_array_equal(viz.mosaics(images, labels, 40, seed=1)[0], pictures)
    with pytest.raises(ValueError, match="at least 4 classes, got 3"):
        viz.mosaics(images[:9], labels[:9], 2)


# ---- small changes ---------------------------------------------------------------------------------------------------


def test_sensitivity():
    """0 for a constant; for the attribution x itself, the largest |d| / |x| of the uniform noise that is drawn."""
    image = np.random.default_rng(0).uniform(1, 2, (2, 3, 4, 4))
    model = nn.Sequential({"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()})
    assert viz.sensitivity(model, image, lambda model, x, target: np.ones((2, 4, 4))).tolist() == [0, 0]
    rngs = streams(7, "sensitivity", image)
    noise = [max(np.linalg.norm(rng.uniform(-0.1, 0.1, (3, 4, 4))) for _ in range(5)) for rng in rngs]
    found = viz.sensitivity(model, image, lambda model, x, target: x, radius=0.1, samples=5, seed=7)
    np.testing.assert_allclose(found, noise / np.linalg.norm(image.reshape(2, -1), axis=1))


def test_sensitivity_explains_the_class_of_the_unchanged_image(golden):
    model, image, *_ = golden
    top, seen = model(mg.Tensor(image)).numpy().argmax(1), []
    viz.sensitivity(model, image, lambda model, x, target: seen.append(target) or x, samples=2, radius=0.5)
    assert len(seen) == 3 and all((target == top).all() for target in seen)


# ---- randomisation ---------------------------------------------------------------------------------------------------


def test_randomisation_goes_down_from_the_top_in_a_copy(golden):
    model, image, target, _ = golden
    before = {name: tensor.numpy().copy() for name, tensor in model.named_tensors()}
    states = []

    def method(model, image, target):
        states.append({name: tensor.numpy().copy() for name, tensor in model.named_tensors()})
        return viz.gradient(model, image, target)

    found = viz.model_randomization(model, image, method, target, seed=5)
    assert found.layers == ("fc4", "fc3", "conv2", "conv1")
    for k, state in enumerate(states):
        same = {name for name in state if np.array_equal(state[name], before[name])}
        assert same == {f"{layer}.{kind}" for layer in found.layers[k:] for kind in ("weight", "bias")}
    spread = states[-1]["fc3.weight"].std() / np.sqrt(2 / 54)
    assert 0.85 < spread < 1.15 and not states[-1]["fc3.bias"].any()  # as before training
    for name, tensor in model.named_tensors():
        np.testing.assert_array_equal(tensor.numpy(), before[name])

    assert found.spearman.shape == found.ssim.shape == (5, 2) and found.maps.shape == (5, 2, 12, 12)
    np.testing.assert_allclose([found.spearman[0], found.ssim[0]], 1)
    assert abs(found.spearman[-1]).max() < 0.6


@pytest.mark.parametrize("looks, places", [(2, [1, 4]), (3, [1, 3, 4]), (4, [1, 2, 3, 4]), (99, [1, 2, 3, 4])])
def test_fewer_looks_are_some_of_all(golden, looks, places):
    """The same weights are drawn, whenever a map is made."""
    model, image, target, _ = golden
    every, some = (viz.model_randomization(model, image, viz.saliency, target, 3, looks=n) for n in (None, looks))
    assert some.layers == tuple(every.layers[k - 1] for k in places)
    np.testing.assert_array_equal(some.maps, every.maps[[0, *places]])
    np.testing.assert_array_equal(some.spearman, every.spearman[[0, *places]])


def test_likeness_is_of_ranks_and_of_structure(golden):
    """A method that shows an edge whatever the weights is found out; ranks do not mind a change of scale."""
    model, image, target, _ = golden
    same = viz.model_randomization(model, image, lambda model, x, target: x[:, 0], target)
    np.testing.assert_allclose([same.spearman, same.ssim], 1)

    power = iter(range(1, 6))
    stretched = viz.model_randomization(model, image, lambda model, x, target: x[:, 0] ** next(power), target)
    np.testing.assert_allclose(stretched.spearman, 1)
    a, b = ((m - m.min()) / np.ptp(m) for m in (stretched.maps[0, 0], stretched.maps[2, 0]))
    options = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    np.testing.assert_allclose(stretched.ssim[2, 0], structural_similarity(a, b, **options))
    assert stretched.ssim[2, 0] < 0.95


def test_a_flat_map_counts_as_uncorrelated(golden):
    model, image, target, _ = golden
    calls = iter(range(9))
    found = viz.model_randomization(model, image, lambda model, x, target: x[:, 0] * (next(calls) < 1), target)
    assert found.spearman.tolist() == found.ssim.tolist() == [[1, 1], [0, 0], [0, 0], [0, 0], [0, 0]]


# ---- few pixels, another class, smoothed -----------------------------------------------------------------------------


def test_sparseness_is_the_gini_index():
    """By its other definition: half of the mean difference of two values, over their mean."""
    a = np.random.default_rng(0).normal(size=(3, 4, 5))
    values = abs(a).reshape(3, -1)
    differences = abs(values[:, :, None] - values[:, None]).mean((1, 2))
    np.testing.assert_allclose(viz.sparseness(a), differences / (2 * values.mean(1)), rtol=1e-12)
    one = np.zeros((1, 10, 10))
    assert viz.sparseness(one)[0] == 0
    one[0, 3, 4] = -2
    np.testing.assert_allclose(viz.sparseness(one), 0.99)
    np.testing.assert_allclose(viz.sparseness(np.full((1, 6, 5), 3.0)), 0, atol=1e-12)


def test_another_class_has_another_map_or_the_same(golden):
    model, image, target, _ = golden
    rank, ssim = viz.random_logit(model, image, lambda m, x, c: np.ones((len(x), *x.shape[2:])) * x.sum(1), target)
    np.testing.assert_allclose((rank, ssim), 1)
    seen = []

    def noted(model, image, classes):
        seen.append(np.array(classes))
        return viz.saliency(model, image, classes)

    rank, _ = viz.random_logit(model, image, noted, target, seed=1)
    assert (seen[0] == target).all() and (seen[1] != seen[0]).all() and (rank < 0.9999).all()
    again, _ = viz.random_logit(model, image, viz.saliency, target, seed=1)
    np.testing.assert_array_equal(rank, again)


def test_every_other_class_is_drawn():
    rng = np.random.default_rng(0)
    model = nn.Sequential({"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(3, 4, rng=rng)})
    drawn = []
    images = rng.uniform(size=(60, 3, 12, 12)).astype(np.float32)
    viz.random_logit(model, images, lambda m, x, c: drawn.append(np.array(c)) or x[:, 0], 2)
    assert set(drawn[1]) == {0, 1, 3}
    single = nn.Sequential({"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(3, 1, rng=rng)})
    with pytest.raises(ValueError, match="random_logit: the model has a single class"):
        viz.random_logit(single, images, viz.saliency)


def test_a_smoothed_method_is_its_mean_over_noise(linear_model, image):
    seen = []
    method = viz.smoothed(lambda model, x, target: seen.append((x, target)) or x, samples=400, sigma=0.2)
    model = linear_model(np.random.default_rng(0).normal(size=(2, 90)))
    mean = method(model, image, None)
    noise = np.stack([x for x, _ in seen]) - image
    np.testing.assert_allclose(mean, image + noise.mean(0), rtol=1e-12)
    spread = 0.2 * np.ptp(image, axis=(1, 2, 3))
    np.testing.assert_allclose(noise.std((0, 2, 3, 4)), spread, rtol=0.02)
    assert len({tuple(target) for _, target in seen}) == 1, "the class is that of the image without noise"


def test_the_smooth_randomisation_test_runs_on_a_smoothed_method(golden):
    model, image, target, _ = golden
    test = viz.model_randomization(model, image, viz.smoothed(viz.saliency, samples=3), target)
    assert test.spearman[0].min() == 1 and (test.spearman[-1] < 0.99).all()


# ---- attributions and maps that are none of these images' ------------------------------------------------------------

MEASURES = {
    "completeness": lambda m, x, a: viz.completeness(m, x, a, 1),
    "infidelity": lambda m, x, a: viz.infidelity(m, x, a, 1, samples=3),
    "relative_infidelity": lambda m, x, a: viz.relative_infidelity(m, x, a, 1, samples=3),
    "faithfulness_correlation": lambda m, x, a: viz.faithfulness_correlation(m, x, a, 1, samples=3),
}
OF_MAPS = {
    "insertion_deletion": lambda m, x, maps: viz.insertion_deletion(m, x, maps, 1, steps=3),
    "road": lambda m, x, maps: viz.road(m, x, maps, 1, shares=(0.2,)),
    "pointing_game": lambda m, x, maps: viz.pointing_game(maps, np.zeros((3, 4), int)),
    "positive_share": lambda m, x, maps: viz.positive_share(maps, np.zeros((3, 4), int)),
    "localize": lambda m, x, maps: viz.localize(maps),
}


@pytest.mark.parametrize("name", MEASURES)
def test_an_attribution_of_another_shape_is_not_broadcast(name, small_network, images):
    model, x = small_network(), images(2)
    a = viz.gradient(model, x, 1)
    MEASURES[name](model, x, a)
    MEASURES[name](model, x, a.sum(1))
    for wrong in (a[:1], a[:, :1], a[0], a[:, :, :1], a[:, :, :, :1]):
        with pytest.raises(ValueError, match=f"{name}: the attribution must be .2, 3, 6, 5. or .2, 6, 5., got"):
            MEASURES[name](model, x, wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", [*MEASURES, *OF_MAPS])
def test_an_attribution_that_is_no_number_is_refused(name, value, small_network, images):
    model, x = small_network(), images(3)
    a = viz.gradient(model, x, 1)
    a[1, 1, 2, 3] = value
    with pytest.raises(ValueError, match=f"{name}: the (attribution|map) has NaN or infinite values"):
        MEASURES[name](model, x, a) if name in MEASURES else OF_MAPS[name](model, x, a[:, 1])


def test_units_and_channels_are_whole_numbers_and_seeds_are_given(small_network, images):
    model, x = small_network(), images(2)
    for call in (
        lambda: viz.saliency(model, x, layer="relu2", unit=1.5),
        lambda: viz.saliency(model, x, layer="relu2", unit=(1, 1.5, 0)),
        lambda: viz.maximize(model, viz.neuron("relu2", 1, 0.5, 1), size=6, steps=1),
        lambda: viz.top_patches(model, x, "relu1", 1.5),
    ):
        with pytest.raises(TypeError, match="(unit|channel) must be an int or a sequence of ints, got"):
            call()
    with pytest.raises(ValueError, match="smooth_grad: seed must be an int or ints, so that the result can be had"):
        viz.smooth_grad(model, x, 1, samples=2, seed=None)
