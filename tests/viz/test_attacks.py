"""FGSM, PGD, ascent and the report, against closed forms on linear networks and properties of the budget."""

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import functional as F
from minigrad import nn
from models import load_image, save_image
from viz import attacks
from viz.attack_report import as_saved, distances, report_attack, round_within

SHAPE = (3, 6, 5)
SIZE = 3 * 6 * 5


@pytest.fixture
def two_classes(linear_model):
    """Two classes whose scores differ by w.x, w with both signs."""
    weight = np.random.default_rng(3).standard_normal((2, SIZE))
    return linear_model(weight), (weight[1] - weight[0]).reshape(SHAPE)


# ---- the gradient ----------------------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_cross_entropy_divided_by_1_minus_p(small_network, images):
    model, x = small_network(), images()
    labels = np.array([1, 0, 3])
    gradient, distance = attacks.distance_gradient(model, x, labels)
    variable = mg.Tensor(x, requires_grad=True)
    scores = model(variable)
    expected = mg.grad(F.cross_entropy(scores, mg.Tensor(labels), reduction="sum"), variable).numpy()
    p = F.softmax(scores, 1).numpy()[np.arange(3), labels]
    np.testing.assert_allclose(gradient * (1 - p)[:, None, None, None], expected, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(distance, np.log((1 - p) / p), rtol=1e-10)


def test_the_gradient_does_not_vanish_where_float32_calls_the_probability_1(linear_model, images):
    weight = np.random.default_rng(0).standard_normal((3, SIZE)).astype(np.float32)
    model = linear_model(weight, np.array([60.0, 0.0, 1.0], np.float32))
    x = images(1).astype(np.float32)
    assert F.softmax(model(mg.Tensor(x)), 1).numpy()[0, 0] == 1
    gradient, _ = attacks.distance_gradient(model, x, [0])
    z = weight.astype(np.float64) @ x.astype(np.float64).ravel() + [60, 0, 1]
    q = np.exp(z[1:] - z[1:].max())
    expected = (q / q.sum()) @ weight[1:] - weight[0]
    np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-4, atol=1e-5)


# ---- FGSM ------------------------------------------------------------------------------------------------------------


def test_fgsm_on_a_linear_model_is_the_closed_form(two_classes, images):
    model, w = two_classes
    x = images(4)
    labels = np.array([0, 1, 0, 1])
    sign = np.where(labels == 0, 1, -1)[:, None, None, None]  # leaving class 0 means raising w.x
    expected = np.clip(x + 0.07 * sign * np.sign(w), 0, 1)
    own = attacks.scores(model, x).argmax(1) == labels  # others are left alone
    left = np.where(own[:, None, None, None], expected, x)
    np.testing.assert_array_equal(attacks.fgsm(model, x, label=labels, epsilon=0.07), left)
    np.testing.assert_array_equal(attacks.fgsm(model, x, target=1 - labels, epsilon=0.07), expected)
    assert own.any() and not own.all()


def test_without_label_the_networks_own_class_is_left(small_network, images):
    model, x = small_network(), images()
    own = model(mg.Tensor(x)).numpy().argmax(1)
    np.testing.assert_array_equal(attacks.fgsm(model, x), attacks.fgsm(model, x, label=own))


def test_one_target_for_all_and_one_for_each_agree_and_images_do_not_interact(small_network, images):
    model, x = small_network(), images()
    together = attacks.fgsm(model, x, target=2)
    np.testing.assert_array_equal(together, attacks.fgsm(model, x, target=[2, 2, 2]))
    for n in range(3):
        np.testing.assert_array_equal(together[n : n + 1], attacks.fgsm(model, x[n : n + 1], target=2))


# ---- PGD -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm, epsilon", [("linf", 0.06), ("l2", 0.4)])
@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_never_leaves_the_budget_and_the_valid_range(norm, epsilon, random_start, small_network, images):
    model, x = small_network(), images()
    met = []
    keep = lambda step, x, value: met.append(x)  # noqa: E731
    attacks.pgd(
        model, x, epsilon=epsilon, norm=norm, steps=6, step_size=epsilon, random_start=random_start, callback=keep
    )
    assert len(met) == 6
    for adversarial in met:
        assert adversarial.min() >= 0 and adversarial.max() <= 1
        assert distances(x, adversarial)[norm].max() <= epsilon * (1 + 1e-12)


def test_pgd_in_linf_reaches_the_optimum_of_a_linear_model(two_classes, images):
    model, w = two_classes
    x = images(2)
    optimum = np.clip(x + 0.05 * np.sign(w), 0, 1)  # leaving class 0
    found = attacks.pgd(model, x, target=1, epsilon=0.05, steps=10)
    np.testing.assert_allclose(found, optimum, atol=1e-12)


def test_pgd_in_l2_reaches_the_optimum_of_a_linear_model(two_classes, images):
    model, w = two_classes
    x = images(2, low=0.4, high=0.6)  # far from 0 and 1, so only the ball binds
    optimum = x + 0.3 * w / np.sqrt((w**2).sum())
    found = attacks.pgd(model, x, target=1, epsilon=0.3, norm="l2", steps=400, step_size=0.05, random_start=True)
    np.testing.assert_allclose(found, optimum, atol=1e-6)


def test_the_random_start_is_seeded_and_fills_the_ball(small_network, images):
    model, x = small_network(), images(200, low=0.5, high=0.5)
    starts = {}
    for norm, epsilon in (("linf", 0.1), ("l2", 0.3)):
        met = []
        stop = lambda step, x, value, met=met: met.append(x) or True  # noqa: E731
        for seed in (7, 7, 8):
            attacks.pgd(model, x, label=0, epsilon=epsilon, norm=norm, seed=seed, key=range(200), callback=stop)
        np.testing.assert_array_equal(met[0], met[1])
        assert not np.array_equal(met[0], met[2])
        starts[norm] = distances(x, met[0])[norm]
    assert 0.09 < starts["linf"].min() and starts["linf"].max() <= 0.1  # 90 values: some are near the border
    # in a ball of D dimensions the radius is epsilon * u^(1/D): its median is epsilon * 2^(-1/D)
    assert np.median(starts["l2"]) == pytest.approx(0.3 * 0.5 ** (1 / SIZE), rel=2e-3)


def test_pgd_takes_the_iterative_methods_steps_without_a_random_start(small_network, images):
    model, x = small_network(), images()
    expected = x
    for _ in range(3):
        variable = mg.Tensor(expected, requires_grad=True)
        gradient = mg.grad(F.cross_entropy(model(variable), mg.Tensor([2, 2, 2])), variable).numpy()
        expected = np.clip(x + np.clip(expected - 0.02 * np.sign(gradient) - x, -0.05, 0.05), 0, 1)
    found = attacks.pgd(model, x, target=2, epsilon=0.05, steps=3, step_size=0.02, random_start=False)
    np.testing.assert_allclose(found, expected, atol=1e-15)


def test_gradients_are_averaged_over_samples(small_network, images):
    class Shift(nn.Module):
        """Adds 0, 1, 0, 1, ... so that the gradient differs from call to call."""

        calls = 0

        def forward(self, x):
            self.calls += 1
            return x + float(self.calls % 2)

    network, x = small_network(), images()
    shift = Shift()
    model = nn.Sequential({"shift": shift, **dict(network.children())})
    plain = [attacks.distance_gradient(network, x + offset, [0, 1, 2])[0] for offset in (0.0, 1.0)]
    mean, _ = attacks.distance_gradient(model, x, [0, 1, 2], samples=2)
    np.testing.assert_allclose(mean, np.mean(plain, axis=0), rtol=1e-10, atol=1e-14)


# ---- ascent and the linear demonstration -----------------------------------------------------------------------------


def test_ascent_takes_steps_of_unit_gradients_and_stops_when_sure(two_classes, linear_model, images):
    (_, w), x = two_classes, images(2, low=0.45, high=0.55)
    model = linear_model(np.stack([np.zeros(SIZE), w.ravel()]), np.array([w.sum() * 0.5 + 3, 0.0]))
    found = attacks.targeted_ascent(model, x, target=1, objective="cross_entropy", confidence=0.8, step_size=0.01)
    z = model(mg.Tensor(found)).numpy()
    margin = z[:, 1] - z[:, 0]
    one_step = 0.01 * np.sqrt((w**2).sum())  # what a step adds to the margin
    assert (margin >= np.log(4)).all() and (margin < np.log(4) + one_step).all()
    delta = (found - x).reshape(2, -1)
    np.testing.assert_allclose(delta @ w.ravel(), np.sqrt((delta**2).sum(1)) * np.sqrt((w**2).sum()), rtol=1e-9)


def test_ascent_on_the_score_follows_the_scores_own_gradient(linear_model, images):
    weight = np.random.default_rng(5).standard_normal((3, SIZE))
    x = images(1, low=0.4, high=0.6)
    found = attacks.targeted_ascent(linear_model(weight), x, target=2, confidence=1.0, step_size=0.03, steps=4)
    expected = 0.12 * weight[2] / np.linalg.norm(weight[2])
    np.testing.assert_allclose((found - x).ravel(), expected, atol=1e-12)


def test_linear_attack_moves_the_score_by_epsilon_times_the_l1_norm(images):
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal(SHAPE), images(2)
    attacked, move = attacks.linear_attack(w, x, epsilon=0.03)
    np.testing.assert_allclose(((attacked - x) * w).sum((1, 2, 3)), move, rtol=1e-12)
    assert move == pytest.approx(0.03 * np.abs(w).sum())
    assert np.abs(attacked - x).max() <= 0.03 + 1e-15


def test_linear_attack_takes_the_weights_of_a_score_and_no_network(images):
    x = images(2)
    model = viz.linear_classifier(SHAPE, 4)
    with pytest.raises(TypeError, match=r"^linear_attack: takes the weights \(3,H,W\) of a score, no network, got Seq"):
        viz.linear_attack(model, x)
    wanted, move = viz.linear_attack(viz.templates(model)[1], x)
    for weight in (mg.Tensor(viz.templates(model)[1]), viz.templates(model)[1].tolist()):
        found, moved = viz.linear_attack(weight, x)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        assert moved == pytest.approx(move)


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"target": 1, "label": 0}, "not both"),
        ({"target": 9}, "out of range"),
        ({"target": [0, 1]}, "one for each image"),
        ({"epsilon": -1}, "epsilon"),
        ({"norm": "l1"}, "norm"),
        ({"steps": 0}, "steps"),
    ],
)
def test_mistakes_are_named(arguments, message, small_network, images):
    with pytest.raises(ValueError, match=message):
        attacks.pgd(small_network(), images(), **arguments)


def test_images_outside_0_to_1_are_refused(small_network, images):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        attacks.fgsm(small_network(), images() * 255)


# ---- saved and read again --------------------------------------------------------------------------------------------


def test_as_saved_is_what_a_png_gives_back(tmp_path, images):
    x = images(1, shape=(3, 32, 32)).astype(np.float32)
    save_image(x, tmp_path / "x.png")
    np.testing.assert_array_equal(as_saved(x), load_image(tmp_path / "x.png"))


def test_rounding_within_the_budget_stays_within_it(images):
    x = images(2)  # not on the levels: nearest rounding leaves the ball
    epsilon = 2.3 / 255
    adversarial = np.clip(x + epsilon * np.sign(images(2, seed=9) - 0.5), 0, 1)
    assert distances(x, as_saved(adversarial))["linf"].max() > epsilon
    rounded = round_within(adversarial, x, epsilon)
    assert distances(x, rounded)["linf"].max() <= epsilon + 1e-6
    assert rounded.min() >= 0 and rounded.max() <= 1
    np.testing.assert_allclose(rounded * 255, np.rint(rounded * 255), atol=1e-4)
    assert (np.abs(rounded - adversarial) <= 1 / 255 + 1e-7).all()


def test_rounding_keeps_whole_levels_of_an_image_on_the_levels(images):
    x = as_saved(images(2))
    adversarial = np.clip(x + 8 / 255 * np.sign(images(2, seed=9) - 0.5).astype(np.float32), 0, 1)
    np.testing.assert_array_equal(round_within(adversarial, x, 8 / 255), as_saved(adversarial))


def test_distances_by_hand():
    x = np.zeros((1, 3, 2, 2))
    other = x.copy()
    other[0, 0, 0, 0], other[0, 1, 0, 0], other[0, 2, 1, 1] = 0.3, 0.4, 0.0011
    found = distances(x, other)
    assert found["linf"][0] == 0.4 and found["l0"][0] == 2
    assert found["l2"][0] == pytest.approx(np.sqrt(0.09 + 0.16 + 0.0011**2))
    assert distances(x, other, threshold=0.002)["l0"][0] == 1


def test_the_report_tells_what_rounding_did(tmp_path, linear_model):
    # Class 1 leads by w.x - c with a border between two levels of the only pixel that counts.
    weight = np.zeros((2, 12))
    weight[1, 0] = 1000.0
    model = linear_model(weight, np.array([0.0, -1000 * 100.4 / 255]))
    image = np.full((2, 3, 2, 2), 90 / 255)
    adversarial = image.copy()
    adversarial[:, 0, 0, 0] = np.array([100.45, 101.0]) / 255  # over the border; level 100 is not
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    first, second = report_attack(model, image, adversarial, paths=paths)

    assert first["label"] == 0 and first["attacked"]["success"] and not first["saved"]["success"]
    assert second["attacked"]["success"] and second["saved"]["success"]
    assert first["attacked"]["linf"] == pytest.approx(10.45 / 255) and first["saved"]["linf"] == pytest.approx(10 / 255)
    assert first["saved"]["l0"] == 1 and first["attacked"]["l2"] == pytest.approx(10.45 / 255)
    p = 1 / (1 + np.exp(-1000 * 0.4 / 255))  # of class 0 at level 100
    assert first["saved"]["p_label"] == pytest.approx(p, rel=1e-4) and first["saved"]["class"] == 0
    np.testing.assert_allclose(load_image(paths[1])[0, 0, 0, 0], 101 / 255, atol=1e-7)


def test_the_report_of_a_target_and_its_budget(small_network, images):
    model, x = small_network(), images()
    adversarial = attacks.pgd(model, x, target=1, epsilon=3.4 / 255)
    for report in report_attack(model, x, adversarial, target=1, epsilon=3.4 / 255):
        assert report["target"] == 1 and report["saved"]["linf"] <= 3.4 / 255 + 1e-6
        assert report["saved"]["success"] == (report["saved"]["class"] == 1)
        assert 0 <= report["saved"]["p_target"] <= 1
