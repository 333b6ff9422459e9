"""Maximisation where the best image is known, the blog's recipe in plain NumPy, and the course of a run."""

import sys

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
import viz
from minigrad import nn
from minigrad.device import to_numpy
from models import Preprocess, load_image, save_image
from viz.objective import evaluate
from viz.optimize import OPTIMIZERS
from viz.random import stream

SIZE = (3, 4, 5)


@pytest.fixture
def linear(linear_model):
    """A network of two linear scores, and its weights (2,3,4,5)."""
    weight = np.random.default_rng(0).standard_normal((2, 60))
    return linear_model(weight, np.array([0.1, -0.2])), weight.reshape(2, *SIZE)


# ---- known optima ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "lbfgs"])
@pytest.mark.parametrize("start", ["zeros", "grey", "noise"])
def test_the_best_image_of_a_linear_score_is_its_sign(linear, optimizer, start):
    model, weight = linear
    result = viz.maximize(model, 1, start, SIZE[1:], optimizer=optimizer, lr=0.5, steps=300, transforms=[])
    np.testing.assert_allclose(result.image[0], weight[1] > 0, atol=1e-5)
    best = weight[1][weight[1] > 0].sum() - 0.2
    assert result.losses["objective"][-1] == pytest.approx(-best, rel=1e-5)


@pytest.mark.parametrize("optimizer, lr, steps", [("sgd", 0.2, 200), ("momentum", 0.05, 300), ("lbfgs", 1, 30)])
def test_the_optimum_with_an_l2_penalty(linear, optimizer, lr, steps):
    # w.x - k |x - 1/2|^2 is largest at x = 1/2 + w/(2k)
    model, weight = linear
    result = viz.maximize(
        model, 0, "grey", SIZE[1:], optimizer=optimizer, lr=lr, steps=steps, transforms=[], clip=False,
        penalties={"l2": lambda x: viz.l2(x, 3.0)},
    )  # fmt: skip
    np.testing.assert_allclose(result.image[0], 0.5 + weight[0] / 6, atol=1e-5)
    assert result.losses["l2"][-1] == pytest.approx(3 * ((weight[0] / 6) ** 2).sum(), rel=1e-4)
    assert result.total[-1] == pytest.approx(-(weight[0].sum() * 0.5 + 0.1 + (weight[0] ** 2).sum() / 12), rel=1e-5)


def test_several_objectives_have_an_image_each(linear):
    model, weight = linear
    result = viz.maximize(model, [0, 1, -viz.class_score(0)], "grey", SIZE[1:], lr=0.2, steps=50, transforms=[])
    wanted = np.stack([weight[0] > 0, weight[1] > 0, weight[0] < 0])
    np.testing.assert_allclose(result.image, wanted, atol=1e-5)


def test_a_batch_is_as_good_as_one_by_one(small_network):
    model = small_network()
    images = np.random.default_rng(0).random((2, 3, 8, 8))
    together = viz.maximize(model, 2, images, steps=5, transforms=[]).image
    apart = [viz.maximize(model, 2, image[None], steps=5, transforms=[]).image for image in images]
    np.testing.assert_allclose(together, np.concatenate(apart), atol=1e-10)


# ---- objectives ------------------------------------------------------------------------------------------------------


def test_objectives_are_what_they_say(small_network, images):
    model, x = small_network(), images(2, shape=(3, 8, 6))
    relu, scores = model.activations(mg.Tensor(x), ["relu1"])["relu1"].numpy(), model(mg.Tensor(x)).numpy()
    softmax = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)

    def value(objective):
        return evaluate(model, [objective], mg.Tensor(x)).numpy()

    np.testing.assert_allclose(value(viz.class_score(3)), scores[:, 3])
    np.testing.assert_allclose(value(viz.log_probability(3)), np.log(softmax[:, 3]))
    np.testing.assert_allclose(value(viz.channel("relu1", 4)), relu[:, 4].mean((1, 2)))
    np.testing.assert_allclose(value(viz.neuron("relu1", 4, 1, 5)), relu[:, 4, 1, 5])
    np.testing.assert_allclose(value(viz.neuron("relu1", 4)), relu[:, 4, 4, 3])
    np.testing.assert_allclose(value(viz.neuron("fc", 2)), scores[:, 2])
    np.testing.assert_allclose(value(viz.energy("relu1")), (relu**2).mean((1, 2, 3)))
    mixed = 2 * viz.class_score(1) - viz.channel("relu1", 0)
    np.testing.assert_allclose(value(mixed), 2 * scores[:, 1] - relu[:, 0].mean((1, 2)))
    assert mixed.name == "2 * class 1 + -1 * relu1[0]"


def test_nothing_behind_the_named_layer_is_computed(small_network):
    model = small_network()
    model["fc"].forward = lambda x: pytest.fail("the last layer was computed")
    result = viz.maximize(model, viz.channel("relu1", 0), size=8, steps=2)
    assert result.image.shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"objective": 9}, "out of range"),
        ({"objective": viz.channel("relu1", 6)}, "out of range"),
        ({"objective": viz.neuron("relu1", 0, 8, 0)}, "out of range"),
        ({"objective": viz.channel("conv7", 0)}, "no layer 'conv7'"),
        ({"objective": 0, "start": "white"}, "zeros, grey, noise"),
        ({"objective": 0, "optimizer": "newton"}, "lbfgs"),
        ({"objective": 0, "parameterization": "wavelets"}, "fourier"),
        ({"objective": 0, "parameterization": "fourier", "start": "grey"}, "starts from noise"),
        ({"objective": 0, "optimizer": "lbfgs", "transforms": viz.robust()}, "lbfgs"),
        ({"objective": 0, "steps": 0}, "steps"),
        ({"objective": 0, "lr": 0}, "lr"),
        ({"objective": 0, "after_step": [(0, lambda x, g: x)]}, "every"),
        ({"objective": 0, "size": None}, "input_size"),
    ],
)
def test_mistakes_are_named(small_network, arguments, message):
    with pytest.raises(ValueError, match=message):
        viz.maximize(small_network(), **{"size": 8, "steps": 1, **arguments})


# ---- what is done to the image ---------------------------------------------------------------------------------------


def test_changes_between_steps_come_every_so_often(linear):
    model, weight = linear
    seen = []

    def change(x, gradient):
        np.testing.assert_allclose(to_numpy(gradient)[0], -weight[0])
        seen.append(len(steps))
        return x * 0 + 0.25

    steps = []
    result = viz.maximize(
        model, 0, size=SIZE[1:], steps=7, transforms=[], after_step=[(3, change)],
        callback=lambda step, image, losses: steps.append((image == 0.25).all()),
    )  # fmt: skip
    assert seen == [2, 5] and steps == [False, False, True, False, False, True, False]
    assert not (result.image == 0.25).all()


def test_blurring_and_clipping_keep_a_linear_optimum_smooth(linear):
    model, _ = linear
    plain = viz.maximize(model, 0, size=SIZE[1:], steps=20, transforms=[])
    blurred = viz.maximize(
        model, 0, size=SIZE[1:], steps=20, transforms=[], after_step=[(1, lambda x, g: viz.gaussian_blur(x, 1.0))]
    )
    variation = [viz.total_variation(mg.Tensor(r.image), "l1").item() for r in (plain, blurred)]
    assert variation[1] < 0.5 * variation[0]


def test_pixels_stay_in_range_unless_told_otherwise(linear):
    model, _ = linear
    clipped = viz.maximize(model, 0, size=SIZE[1:], steps=50, lr=0.3).image
    assert clipped.min() == 0 and clipped.max() == 1
    free = viz.maximize(model, 0, size=SIZE[1:], steps=50, lr=0.3, clip=False).image
    assert free.min() < -1 and free.max() > 2


def test_fourier_climbs_and_stays_in_range(small_network):
    model = small_network()
    result = viz.maximize(model, 1, size=(12, 10), parameterization="fourier", transforms=[], steps=30)
    assert result.image.shape == (1, 3, 12, 10) and 0 < result.image.min() and result.image.max() < 1
    assert result.losses["objective"][-1] < result.losses["objective"][0] - 0.05


# ---- the blog --------------------------------------------------------------------------------------------------------


def softmax_gradient(weight, bias, x, target):
    """d cross-entropy / dx of the linear scores weight @ x + bias, and the cross-entropy."""
    z = weight @ x.ravel() + bias
    p = np.exp(z - z.max())
    p /= p.sum()
    return ((p - np.eye(len(p))[target]) @ weight).reshape(x.shape), -np.log(p[target])


def test_the_blog_step_by_step():
    rng = np.random.default_rng(0)
    weight, bias = 0.2 * rng.standard_normal((4, 60)), rng.standard_normal(4)
    layer = nn.Linear(60, 4)
    layer.load_state_dict({"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)})
    preprocess = Preprocess(scale=255, mean=(104, 117, 123), channel_order="BGR")  # must not be used
    model = nn.Sequential({"preprocess": preprocess, "flatten": nn.Flatten(), "fc": layer})

    x = stream(7, "maximize_as_blog").standard_normal((1, *SIZE), np.float32).astype(np.float64)
    entropies, variations = [], []
    for step in range(10):
        gradient, entropy = softmax_gradient(weight, bias, x, 2)
        factor = 1 if step < 5 else 10
        entropies.append(factor * entropy)
        dx, dy = np.diff(x, axis=3), np.diff(x, axis=2)
        variations.append(0.005 * (abs(dx).sum() + abs(dy).sum()) if step >= 5 else 0)
        smooth = np.zeros_like(x)
        smooth[..., 1:] += np.sign(dx)
        smooth[..., :-1] -= np.sign(dx)
        smooth[..., 1:, :] += np.sign(dy)
        smooth[..., :-1, :] -= np.sign(dy)
        x = x - (factor * gradient + (0.005 * smooth if step >= 5 else 0))

    result = viz.maximize_as_blog(model, 2, size=SIZE[1:], steps=5, tv_steps=5, seed=7)
    np.testing.assert_allclose(result.image, x, atol=2e-5)
    np.testing.assert_allclose(result.losses["objective"][:10], entropies, rtol=1e-4)
    np.testing.assert_allclose(result.losses["tv"][:10], variations, rtol=1e-4)
    assert len(result.losses["objective"]) == len(result.losses["tv"]) == 11
    assert result.image.min() < 0  # nothing is clipped


def test_without_preprocessing_shares_the_layers():
    model = nn.Sequential({"preprocess": Preprocess(scale=255), "flatten": nn.Flatten()})
    x = np.random.default_rng(0).standard_normal((1, 3, 2, 2), np.float32)
    network = viz.without_preprocessing(model)
    np.testing.assert_allclose(network(mg.Tensor(x * 255)).numpy(), model(mg.Tensor(x)).numpy(), rtol=1e-6)
    assert network["flatten"] is model["flatten"]
    with pytest.raises(ValueError, match="preprocess"):
        viz.without_preprocessing(network)


# ---- the course of a run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"parameterization": "fourier", "transforms": viz.robust()}])
def test_a_seed_decides_everything(small_network, arguments):
    model = small_network()
    first, again = (viz.maximize(model, 1, size=8, steps=4, seed=3, **arguments) for _ in range(2))
    other = viz.maximize(model, 1, size=8, steps=4, seed=4, **arguments)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.losses == again.losses and abs(first.image - other.image).max() > 1e-3


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_ctrl_c_keeps_what_there_is(small_network, optimizer):
    model = small_network()

    def interrupt(step, image, losses):
        if step == 3:
            raise KeyboardInterrupt

    arguments = {"size": 8, "transforms": [], "optimizer": optimizer}
    stopped = viz.maximize(model, 1, steps=50, callback=interrupt, **arguments)
    whole = viz.maximize(model, 1, steps=3, **arguments)
    assert stopped.stopped and not whole.stopped
    np.testing.assert_array_equal(stopped.image, whole.image)
    assert stopped.losses["objective"][:3] == whole.losses["objective"][:3]


def test_ctrl_c_in_the_middle_of_a_step(small_network):
    model, calls = small_network(), []

    def penalty(x):
        calls.append(x)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return viz.l2(x)

    stopped = viz.maximize(model, 1, size=8, steps=50, transforms=[], penalties={"l2": penalty})
    whole = viz.maximize(model, 1, size=8, steps=2, transforms=[], penalties={"l2": viz.l2})
    np.testing.assert_array_equal(stopped.image, whole.image)


def test_ctrl_c_before_the_first_loss_goes_on_to_the_caller(small_network):
    def penalty(x):
        raise KeyboardInterrupt

    for optimizer in ("adam", "lbfgs"):
        with pytest.raises(KeyboardInterrupt):
            viz.maximize(small_network(), 1, size=8, transforms=[], optimizer=optimizer, penalties={"l2": penalty})


def test_ctrl_c_between_the_blogs_phases_keeps_the_first(small_network, monkeypatch):
    network = small_network(dtype=np.float32)
    model = nn.Sequential({"preprocess": Preprocess(scale=255), **dict(network.children())})

    def interrupt(*_):
        raise KeyboardInterrupt

    first = viz.maximize_as_blog(model, 1, size=8, steps=3, tv_steps=0)
    monkeypatch.setattr(sys.modules["viz.maximize"], "total_variation", interrupt)
    stopped = viz.maximize_as_blog(model, 1, size=8, steps=3, tv_steps=3)
    assert stopped.stopped and stopped.losses == first.losses
    np.testing.assert_array_equal(stopped.image, first.image)


def test_the_callback_sees_every_step_and_may_end_it(small_network):
    seen = []

    def callback(step, image, losses):
        seen.append((step, image.shape, losses["objective"]))
        return step == 4

    result = viz.maximize(small_network(), 1, size=8, steps=9, transforms=[], callback=callback, record=2)
    assert [s[:2] for s in seen] == [(i, (1, 3, 8, 8)) for i in (1, 2, 3, 4)]
    assert result.stopped and [s[2] for s in seen] == result.losses["objective"][:-1]
    assert len(result.frames) == 3  # before the first step, after the second and the fourth
    np.testing.assert_array_equal(result.frames[-1], result.image)


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_a_start_without_a_gradient_is_pointed_out(optimizer):
    dead = nn.Sequential({"relu": nn.ReLU()})
    with pytest.warns(UserWarning, match="start elsewhere"):
        viz.maximize(
            dead, viz.channel("relu", 0), np.full((1, 3, 4, 4), -1.0), optimizer=optimizer, steps=1, clip=False
        )


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_diverging_run_says_so(small_network):
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        viz.maximize(
            small_network(), 1, size=8, lr=1000, optimizer="sgd", steps=9, clip=False,
            penalties={"l2": lambda x: viz.l2(x) ** 2},
        )  # fmt: skip


def test_the_course_as_gif(small_network, tmp_path):
    result = viz.maximize(small_network(), [0, 1], size=(20, 24), steps=6, record=2)
    result.save_gif(tmp_path / "course.gif", seconds=0.1)
    with Image.open(tmp_path / "course.gif") as gif:
        assert gif.n_frames == 4 and gif.size == (48, 20) and gif.info["loop"] == 0
        gif.seek(0)
        assert gif.info["duration"] == 100
        shown = np.asarray(gif.convert("RGB")).transpose(2, 0, 1) / 255
    wanted = np.concatenate(list(result.frames[0]), axis=2)
    assert abs(shown - wanted).mean() < 0.04  # 256 colours, dithered
    with pytest.raises(ValueError, match="no frames"):
        viz.maximize(small_network(), 0, size=8, steps=1).save_gif(tmp_path / "empty.gif")


def test_an_8_bit_copy_is_as_good(linear, tmp_path):
    model, _ = linear
    result = viz.maximize(model, 0, size=SIZE[1:], steps=10, lr=0.03, transforms=[])
    save_image(result.image, tmp_path / "ideal.png")
    copy = load_image(tmp_path / "ideal.png").astype(np.float64)
    assert evaluate(model, [viz.class_score(0)], mg.Tensor(copy)).item() == pytest.approx(
        -result.losses["objective"][-1], abs=0.1
    )
