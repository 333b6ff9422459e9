"""DeepDream: one step in plain NumPy, the octaves, and that it does what it is for."""

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import functional as F
from viz.objective import evaluate


def energy(model, image, layer="relu2"):
    return evaluate(model, [viz.energy(layer)], mg.Tensor(image)).item()


@pytest.fixture
def photograph():
    x = np.random.default_rng(0).random((1, 3, 8, 6))
    return viz.gaussian_blur(np.kron(x, np.ones((1, 1, 4, 4))), 2.0)


def test_it_increases_the_activations(small_network, photograph):
    model = small_network()
    result = viz.deep_dream(model, photograph, "relu2", octaves=3, jitter=4, steps=5)
    assert result.image.shape == photograph.shape
    assert energy(model, result.image) > 1.3 * energy(model, photograph)
    assert -result.losses["objective"][-1] == pytest.approx(energy(model, result.image))
    assert len(result.losses["objective"]) == 16
    for octave in range(3):  # at each size on its own
        course = result.losses["objective"][5 * octave : 5 * octave + 5]
        assert course[-1] < course[0]


def test_one_step_by_hand(linear_model):
    # The energy of linear scores s = W x is mean s^2, its gradient 2/K W^T s.
    rng = np.random.default_rng(1)
    weight, x = rng.standard_normal((4, 60)), rng.random((2, 3, 4, 5))
    result = viz.deep_dream(linear_model(weight), x, "fc", octaves=1, steps=1, jitter=0, lr=0.01, clip=False)
    for before, after in zip(x, result.image, strict=True):
        g = (weight.T @ (weight @ before.ravel())).reshape(before.shape)
        np.testing.assert_allclose(after, before + 0.01 * g / abs(g).mean(), atol=1e-9)


def test_jitter_moves_the_image_and_puts_it_back(linear_model):
    weight = np.zeros((1, 60))
    weight[0, 0] = 1.0  # only the first pixel matters: the one that the jitter brings there is changed
    x = np.full((1, 3, 4, 5), 0.5)
    places = set()
    for seed in range(40):
        image = viz.deep_dream(linear_model(weight), x, "fc", octaves=1, steps=1, jitter=1, seed=seed).image
        places.add(int(abs(image - x).argmax()))
    assert places == {row * 5 + column for row in (0, 1, 3) for column in (0, 1, 4)}


def test_octaves_start_small_and_keep_the_details(small_network, photograph):
    model, sizes = small_network(), []
    forward = model["conv1"].forward
    model["conv1"].forward = lambda x: sizes.append(x.shape[2:]) or forward(x)
    result = viz.deep_dream(model, photograph, "relu1", octaves=3, octave_scale=2.0, steps=2, jitter=0, lr=1e-12)
    assert sizes == [(8, 6)] * 2 + [(16, 12)] * 2 + [(32, 24)] * 3
    np.testing.assert_allclose(result.image, photograph, atol=1e-9)  # hardly any step: hardly any change


def test_any_objective_will_do(small_network, photograph):
    model = small_network()
    result = viz.deep_dream(model, photograph, viz.channel("relu2", 3), octaves=2, steps=5, jitter=2)
    before, after = (
        evaluate(model, [viz.channel("relu2", 3)], mg.Tensor(x)).item() for x in (photograph, result.image)
    )
    assert after > before


def test_seed_ctrl_c_and_mistakes(small_network, photograph):
    model = small_network()

    def interrupt(step, image, losses):
        if step == 3:
            raise KeyboardInterrupt

    first, again = (viz.deep_dream(model, photograph, "relu2", octaves=2, steps=2, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    stopped = viz.deep_dream(model, photograph, "relu2", octaves=2, steps=2, callback=interrupt, record=1)
    assert stopped.stopped and stopped.image.shape == photograph.shape and len(stopped.frames) == 4
    np.testing.assert_array_equal(stopped.image, stopped.frames[-1])
    with pytest.raises(ValueError, match="octave_scale"):
        viz.deep_dream(model, photograph, "relu2", octave_scale=1.0)


def test_small_octaves_are_interpolated_up(small_network, photograph):
    # After the first octave, the frame is the small image enlarged.
    model = small_network()
    result = viz.deep_dream(model, photograph, "relu1", octaves=2, octave_scale=2.0, steps=1, jitter=0, record=1)
    small = F.interpolate(mg.Tensor(result.frames[1]), (16, 12), mode="bilinear")
    back = F.interpolate(small, (32, 24), mode="bilinear").numpy()
    assert abs(back - result.frames[1]).mean() < 0.02
