"""viz.trust: on a network whose right answer is known, and on maps that cannot be right."""

import numpy as np
import pytest

import viz
from minigrad import nn
from viz import perturbation
from viz.intervals import Estimate, estimate
from viz.trusted import Rivals, Trust, centre_blob

pytestmark = pytest.mark.host("maps are made and compared as arrays of NumPy")
pytest.importorskip("skimage")

SIDE = 16


@pytest.fixture(scope="module")
def detector():
    """Class 1 for what is bright in the upper left quarter, class 0 otherwise; the other pixels do not matter."""
    weight = np.zeros((2, 3, SIDE, SIDE))
    weight[1, :, : SIDE // 2, : SIDE // 2] = 0.1
    weight[0] = -weight[1]
    fc = nn.Linear(3 * SIDE * SIDE, 2)
    fc.load_state_dict({"weight": weight.reshape(2, -1), "bias": np.array([2.0, -2.0])})
    return nn.Sequential({"flatten": nn.Flatten(), "fc": fc}).eval()


@pytest.fixture(scope="module")
def pictures():
    """(the photograph, bright in that quarter; six others, bright elsewhere), noisy everywhere."""
    rng = np.random.default_rng(0)
    noisy = rng.uniform(0, 0.2, (7, 3, SIDE, SIDE))
    noisy[0, :, :8, :8] += 0.7
    for k, (row, column) in enumerate([(8, 8), (8, 0), (0, 8), (4, 8), (8, 4), (6, 6)], 1):
        noisy[k, :, row : row + 8, column : column + 8] += 0.7
    return noisy[:1], noisy[1:]


PANEL = {
    "gradient": (viz.gradient, "signed"),
    "integrated": (lambda m, x, c: viz.integrated_gradients(m, x, c, steps=4), "signed"),
}


def tried(detector, pictures, method, **options):
    image, others = pictures
    options = {"how": "signed", "panel": PANEL, "draws": 3, "steps": 8} | options
    return viz.trust(detector, image, method, 1, others=others, **options)


def test_a_map_that_is_right_withstands(detector, pictures):
    found = tried(detector, pictures, viz.input_x_gradient)
    assert found.as_good("insertion") < 0.1 and found.as_good("deletion") < 0.1
    for name in ("insertion", "deletion", "stability", "agreement"):
        assert found.findings[name].against is False, found.findings[name]
    # but with any weights x * dy/dx is bright where the picture is, and that is said too
    assert found.verdict == "Do not lean on this map: learned speaks against it."
    assert found.map.shape == found.random_map.shape == (SIDE, SIDE)


def test_a_map_that_looks_at_the_picture_alone_does_not(detector, pictures):
    """The brightness away from the quarter: the same whatever the network has learned, and where the score is not."""

    def elsewhere(model, image, target):
        heat = np.asarray(image).mean(1)
        heat[:, :8, :8] = 0
        return heat

    found = tried(detector, pictures, elsewhere)
    assert found.top == found.all == 1 and found.findings["learned"].against
    assert found.findings["insertion"].against and found.findings["deletion"].against
    assert found.as_good("insertion", "blob at the centre") == 1
    assert found.verdict.startswith("Do not lean on this map: learned, insertion") and "against it." in found.verdict


def test_the_rivals_are_the_methods_other_maps_shifts_and_a_blob(detector, pictures):
    image, others = pictures
    found = tried(detector, pictures, viz.input_x_gradient)
    kinds = found.rivals
    theirs = viz.input_x_gradient(detector, others).sum(1)  # of their own top classes
    np.testing.assert_allclose(kinds["maps of other photographs"].maps, theirs)
    shifts = kinds["shifts of it"].maps
    assert len({shift.tobytes() for shift in shifts} | {found.map.tobytes()}) == 16
    np.testing.assert_allclose(np.sort(shifts.reshape(15, -1), 1), np.tile(np.sort(found.map.ravel()), (15, 1)))
    blob = centre_blob(SIDE, SIDE)
    np.testing.assert_array_equal(kinds["blob at the centre"].maps, blob[None])
    np.testing.assert_allclose(blob, blob[::-1, ::-1].T)
    curves = viz.insertion_deletion(detector, image, blob[None], 1, steps=8)
    np.testing.assert_allclose(kinds["blob at the centre"].insertion, curves.insertion_area)
    np.testing.assert_allclose(kinds["blob at the centre"].deletion, curves.deletion_area)


def test_the_numbers_are_those_of_the_checks(detector, pictures):
    image, _ = pictures
    found = tried(detector, pictures, viz.saliency, how="magnitude", seed=4)
    draws = [viz.model_randomization(detector, image, viz.saliency, 1, seed=(4, k)).spearman for k in range(3)]
    assert found.top == pytest.approx(estimate([one[1, 0] for one in draws]))
    moved = [viz.sensitivity(detector, image, viz.saliency, 1, samples=1, seed=(4, k))[0] for k in range(3)]
    assert found.change == pytest.approx(np.mean(moved)) == 0  # a linear network's gradient does not move
    assert found.agreement.keys() == PANEL.keys() and all(-1 <= r <= 1 for r in found.agreement.values())


def test_signs_come_within_a_part_too(detector, pictures, monkeypatch):
    """Between the passes of insertion and deletion, and the steps of the methods that have some."""
    monkeypatch.setattr(perturbation, "PIXELS_AT_ONCE", 16 * SIDE * SIDE)
    signs = []

    def seen(model, x, target, callback):
        return viz.integrated_gradients(model, x, target, steps=4, callback=callback)

    found = tried(detector, pictures, seen, callback=lambda step, of, heat: signs.append((step, of, heat.any())))
    steps = [step for step, *_ in signs]
    assert steps == sorted(steps) and set(steps) == set(range(10)) and {total for _, total, _ in signs} == {9}
    assert not signs[0][2] and all(drawn for step, _, drawn in signs if step)
    assert steps.count(0) == 4 + 4  # of this photograph and the others
    assert steps.count(1) == 1 + sum(-(-9 // max(1, 16 // n)) for n in (1, 6, 15, 1))  # curves of nine points
    assert found.map == pytest.approx(tried(detector, pictures, seen).map)


def result(**changed):
    ones = Rivals(np.ones((20, 2, 2)), np.linspace(0, 1, 20), np.linspace(0, 1, 20))
    sure = {"top": Estimate(0.2, 0.1, 0.3), "all": Estimate(0.0, -0.1, 0.1), "insertion": 1.1, "deletion": -0.1}
    sure |= {"rivals": {"shifts of it": ones}, "radius": 0.02, "change": Estimate(0.1, 0.1, 0.1)}
    sure |= {"agreement": {"a": 0.5, "b": 0.6}, "chance": Estimate(0.1, 0.0, 0.2)}
    return Trust(map=np.ones((2, 2)), random_map=np.ones((2, 2)), **sure | changed)


@pytest.mark.parametrize(
    "changed, name, against",
    [
        ({}, "learned", False),
        ({"top": Estimate(1.0, 0.99, 1.0)}, "learned", True),
        ({"all": Estimate(0.6, 0.55, 0.7)}, "learned", True),
        ({"all": Estimate(0.4, 0.2, 0.6)}, "learned", None),
        ({}, "insertion", False),
        ({"insertion": 0.5}, "insertion", True),
        ({"insertion": 0.9}, "insertion", None),
        ({"deletion": 0.5}, "deletion", True),
        ({"change": Estimate(0.7, 0.6, 0.8)}, "stability", None),
        ({"change": Estimate(1.5, 1.2, 1.8)}, "stability", True),
        ({"agreement": {"a": 0.1}}, "agreement", None),
        ({"agreement": {"a": -0.5}}, "agreement", True),
    ],
)
def test_what_speaks_against_a_map(changed, name, against):
    found = result(**changed)
    assert found.findings[name].against is against
    if against:
        assert found.verdict == f"Do not lean on this map: {name} speaks against it."
    elif against is None:
        assert found.verdict == f"Nothing speaks against this map, but {name} leaves it open."
    else:
        assert found.verdict == "Nothing here speaks against this map, which does not prove it."


@pytest.mark.parametrize(
    "count, draws, sentence",
    [(3, 3, "others of its size, at least four: got .*16.* and .*16"), (6, 1, "draws must be at least 2")],
)
def test_what_allows_no_answer_is_refused(count, draws, sentence, detector, pictures):
    with pytest.raises(ValueError, match="^trust: .*" + sentence):
        viz.trust(detector, pictures[0], viz.saliency, 1, others=pictures[1][:count], panel=PANEL, draws=draws)


def test_a_method_of_the_panel_that_refuses_the_network_is_left_out(detector, pictures):
    panel = PANEL | {"grad_cam": (viz.grad_cam, "signed")}  # of a network without maps
    found = tried(detector, pictures, viz.input_x_gradient, panel=panel)
    assert found.agreement == tried(detector, pictures, viz.input_x_gradient).agreement
    with pytest.raises(ValueError, match="name a layer"):
        tried(detector, pictures, viz.input_x_gradient, panel={"grad_cam": (viz.grad_cam, "signed")})


@pytest.mark.parametrize("target", [lambda y: y[:, 1].mean((1, 2)), viz.channel("conv2", 1)])
@pytest.mark.parametrize("method", [viz.saliency, viz.grad_cam])
def test_a_function_of_maps_is_explained_in_the_others_too(pictures, method, target):
    """Of a network without classes, as one of segmentation: there is no top class of the others."""
    image, others = pictures
    rng = np.random.default_rng(0)
    layers = {"conv1": nn.Conv2d(3, 8, 3, padding=1, rng=rng), "relu1": nn.ReLU(), "conv2": nn.Conv2d(8, 5, 1, rng=rng)}
    model, asked = nn.Sequential(layers).eval(), []

    def seen(model, image, target):
        asked.append((len(image), target))
        return method(model, image, target)

    found = viz.trust(model, image, seen, target, others=others, draws=2, steps=4)
    assert asked[:2] == [(1, target), (len(others), target)]
    np.testing.assert_allclose(found.map, viz.per_pixel(method(model, image, target))[0], rtol=1e-6)
    theirs = viz.per_pixel(method(model, others, target))
    np.testing.assert_allclose(found.rivals["maps of other photographs"].maps, theirs, rtol=1e-6)
    assert len(found.agreement) >= 3 and found.verdict
