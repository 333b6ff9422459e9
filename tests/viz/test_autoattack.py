"""APGD, Square and their ensemble: against the published algorithms, closed forms, and torchattacks."""

from functools import partial

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import functional as F
from viz import autoattack as ensemble
from viz.attack_report import distances
from viz.attacks import project, scores
from viz.autoattack import checkpoints, logits_ratio, others_by_score
from viz.random import stream
from viz.square import SquareSearch, _bump, two_bumps

BUDGETS = [("linf", 0.06), ("l2", 0.4)]


# ---- losses and checkpoints ------------------------------------------------------------------------------------------


def test_the_logits_ratio_by_hand():
    z = mg.Tensor([[5.0, 3, 2, 1], [1, 4, 0, 2]])
    np.testing.assert_allclose(logits_ratio(z, np.array([0, 0])).numpy(), [-(5 - 3) / 3, -(1 - 4) / 3])
    found = logits_ratio(z, np.array([0, 0]), np.array([2, 2])).numpy()
    np.testing.assert_allclose(found, [-(5 - 2) / (5 - 1.5), -(1 - 0) / (4 - 0.5)])
    np.testing.assert_allclose(logits_ratio(z * 7.0 + 3.0, np.array([0, 0])).numpy(), [-2 / 3, 1])


def test_checkpoints_are_the_papers():
    """p_0 = 0, p_1 = 0.22, p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06), times 100 steps."""
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == [1] and checkpoints(3) == [1, 2, 3]


def test_the_other_classes_stand_by_their_scores():
    z = np.array([[0.1, 3, 2, 1], [4, 1, 2, 3]])
    np.testing.assert_array_equal(others_by_score(z, [1, 1]), [[2, 3, 0], [0, 3, 2]])


# ---- APGD ------------------------------------------------------------------------------------------------------------


def apgd_in_plain_lines(loss_and_gradient, x0, start, epsilon, norm, steps):
    """Algorithm 1 for one image (1,C,H,W), with the authors' two choices; (all losses, all step sizes)."""
    step = np.sign if norm == "linf" else lambda g: g / np.sqrt((g**2).sum())
    x, before, eta = start, start, 2 * epsilon
    f, g = loss_and_gradient(x)
    losses, sizes, best = [f], [], (f, x, g)
    at_checkpoint, last_eta, w = f, None, 0
    for k in range(steps):
        z = project(x + eta * step(g), x0, epsilon, norm)
        a = 0.75 if k else 1
        x, before = project(x + a * (z - x) + (1 - a) * (x - before), x0, epsilon, norm), x
        f, g = loss_and_gradient(x)
        losses.append(f)
        sizes.append(eta)
        best = max(best, (f, x, g), key=lambda found: found[0])
        if k + 1 in checkpoints(steps):
            rises = sum(losses[i + 1] > losses[i] for i in range(w, k + 1))
            eta_then = eta
            if rises <= 0.75 * (k + 1 - w) or (last_eta == eta and best[0] == at_checkpoint):
                eta, (_, x, g) = eta / 2, best
            last_eta, at_checkpoint, w = eta_then if eta == eta_then else None, best[0], k + 1
    return losses, sizes


@pytest.mark.parametrize("norm, epsilon", BUDGETS)
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
def test_apgd_is_the_published_algorithm(norm, epsilon, loss, small_network, images, monkeypatch):
    model, x, labels = small_network(), images(3, shape=(3, 12, 12)), np.array([1, 0, 3])
    start = project(x + stream(0, "a start").uniform(-epsilon, epsilon, x.shape), x, epsilon, norm)
    monkeypatch.setattr(ensemble, "random_in_ball", lambda *_: start.copy())
    met, sizes = [], []
    look = ensemble._Climb.step
    monkeypatch.setattr(ensemble._Climb, "step", lambda self, a: sizes.append(self.size.ravel()) or look(self, a))
    keep = lambda step, x, loss: met.append(loss.copy())  # noqa: E731
    viz.apgd(model, x, label=labels, epsilon=epsilon, norm=norm, loss=loss, steps=60, callback=keep)

    for n in range(3):

        def loss_and_gradient(at, n=n):
            variable = mg.Tensor(at, requires_grad=True)
            z = model(variable)
            own = labels[n : n + 1]
            f = ensemble.distance_to(z, own) if loss == "cross_entropy" else logits_ratio(z, own)
            return f.numpy()[0], mg.grad(f.sum(), variable).numpy()

        expected = apgd_in_plain_lines(loss_and_gradient, x[n : n + 1], start[n : n + 1], epsilon, norm, 60)
        np.testing.assert_allclose(
            [f[n] for f in met], expected[0][:-1], rtol=1e-6, atol=1e-5
        )  # a bump over its own negative leaves rounding, made 1e12 times larger
        np.testing.assert_allclose([size[n] for size in sizes], expected[1])
    assert np.ptp(sizes) > 0  # some were halved


@pytest.mark.parametrize("norm, epsilon", BUDGETS)
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
@pytest.mark.parametrize("target", [None, 2])
def test_apgd_keeps_the_budget_and_is_no_weaker_than_pgd(norm, epsilon, loss, target, small_network, images):
    model, x = small_network(), images(6, shape=(3, 12, 12))
    chosen = {"label": scores(model, x).argmax(1)} if target is None else {"target": target}
    found = viz.apgd(model, x, epsilon=epsilon, norm=norm, loss=loss, steps=30, **chosen)
    assert found.min() >= 0 and found.max() <= 1 and distances(x, found)[norm].max() <= epsilon * (1 + 1e-12)
    other = viz.pgd(model, x, epsilon=epsilon, norm=norm, steps=30, **chosen)
    fooled = [scores(model, one).argmax(1) for one in (found, other)]
    ours, theirs = ((top != chosen["label"]) if target is None else (top == target) for top in fooled)
    assert not (theirs & ~ours).any()


def test_apgd_reaches_the_optimum_of_a_linear_model(linear_model, images):
    weight = np.random.default_rng(3).standard_normal((2, 90))
    w = (weight[1] - weight[0]).reshape(3, 6, 5)
    x = images(2)
    found = viz.apgd(linear_model(weight), x, label=1, epsilon=0.05, steps=10)  # that is what both are called
    np.testing.assert_allclose(found, np.clip(x - 0.05 * np.sign(w), 0, 1), atol=1e-12)


def test_a_loss_that_the_network_has_too_few_classes_for_is_refused(small_network, images):
    x = images(2)
    with pytest.raises(ValueError, match="the logits ratio needs 3 classes, the network has 2: take cross-entropy"):
        viz.apgd(small_network(classes=2), x, label=0, loss="dlr")
    with pytest.raises(ValueError, match="needs 4 classes, the network has 3"):
        viz.apgd(small_network(classes=3), x, target=1, loss="dlr")
    with pytest.raises(ValueError, match='loss must be "cross_entropy" or "dlr", got \'margin\''):
        viz.apgd(small_network(), x, label=0, loss="margin")


# ---- Square ----------------------------------------------------------------------------------------------------------


def test_the_squares_shrink_as_published():
    """The sides of algorithm 1 for 10,000 queries on 224 px, p = 0.8 halved at 10, 50, 200, ... queries."""
    search = SquareSearch(None, np.zeros((1, 3, 224, 224)), None, 1, 0.05, "linf", 0.8, None)
    bounds = [0, 10, 11, 50, 51, 200, 201, 500, 501, 1000, 1001, 8000, 8001]
    powers = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 8, 9]
    expected = [round((0.8 / 2**power * 224**2) ** 0.5) for power in powers]
    assert [search.side(query / 10000) for query in bounds] == expected
    search.norm = "l2"
    assert {search.side(query / 10000) % 2 for query in range(0, 10000, 50)} == {1}


def test_the_bump_is_equation_2():
    for height, width in ((3, 7), (4, 8), (2, 5)):
        n, middle = max(height, width) // 2, (height // 2, width // 2)
        for row in range(height):
            for column in range(width):
                m = n - max(abs(row - middle[0]), abs(column - middle[1]))
                expected = sum(1 / (n + 1 - k) ** 2 for k in range(m + 1))
                assert _bump(height, width)[row, column] == pytest.approx(expected)


def test_two_bumps_are_of_opposite_sign_and_length_1():
    rng = np.random.default_rng(0)
    found = [two_bumps(rng, 7) for _ in range(20)]
    upright = [square[0, 0] * square[0, -1] > 0 for square in found]
    assert 0 < sum(upright) < 20
    for square, up in zip(found, upright, strict=True):
        square = square if up else square.T
        assert (square[:3] > 0).all() and (square[3:] < 0).all()
        assert np.linalg.norm(square) == pytest.approx(1) and np.linalg.norm(square[:3]) == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("norm, epsilon", BUDGETS)
@pytest.mark.parametrize("target", [None, 2])
def test_square_keeps_the_budget_and_its_loss_never_rises(norm, epsilon, target, small_network, images):
    model, x, losses = small_network(), images(4, shape=(3, 12, 15)), []
    keep = lambda query, x, loss: losses.append(loss.copy())  # noqa: E731
    found = viz.square_attack(model, x, target=target, epsilon=epsilon, norm=norm, queries=60, callback=keep)
    assert found.min() >= 0 and found.max() <= 1 and distances(x, found)[norm].max() <= epsilon * (1 + 1e-12)
    assert (np.diff(losses, axis=0) <= 0).all() and (losses[-1] < losses[0]).any()


def test_square_in_linf_stands_in_the_corners_of_the_ball(small_network, images):
    x = images(2, shape=(3, 12, 12), low=0.3, high=0.7)
    found = viz.square_attack(small_network(), x, epsilon=0.03, queries=40)
    np.testing.assert_allclose(abs(found - x), 0.03)


def test_square_in_l2_spends_the_whole_budget(small_network, images):
    x = images(2, shape=(3, 12, 12), low=0.4, high=0.6)
    found = viz.square_attack(small_network(), x, epsilon=0.2, norm="l2", queries=40)
    np.testing.assert_allclose(distances(x, found)["l2"], 0.2)


def test_square_finds_the_corner_of_a_linear_model(linear_model, images):
    """With one sign for each channel the best corner is the sign of w, which is reached channel by channel."""
    weight = np.repeat([[0.0], [1.0], [-1.0]], 100, axis=0).reshape(1, -1)
    model = linear_model(np.concatenate([-weight, weight]), np.array([1e3, 0]))
    x = images(1, shape=(3, 10, 10), low=0.4, high=0.6)
    found = viz.square_attack(model, x, label=0, epsilon=0.1, queries=800)
    np.testing.assert_allclose((found - x)[0, 1:].mean((1, 2)), [0.1, -0.1], atol=0.02)


def test_what_square_cannot_do_is_refused(small_network, images):
    with pytest.raises(ValueError, match="L2 needs images of at least 10 pixels a side"):
        viz.square_attack(small_network(), images(1), norm="l2")
    with pytest.raises(ValueError, match="area must be above 0|queries must be at least 1"):
        viz.square_attack(small_network(), images(1), area=0)


@pytest.mark.parametrize("attack", [viz.apgd, viz.square_attack, viz.auto_attack])
def test_what_is_no_class_is_refused(attack, small_network, images):
    with pytest.raises(ValueError, match=f"{attack.__name__}: takes a class only"):
        attack(small_network(), images(1, shape=(3, 12, 12)), label=lambda y: y[:, 0])


# ---- the ensemble ----------------------------------------------------------------------------------------------------


def test_each_attack_gets_what_withstood_those_before(small_network, images, monkeypatch):
    model, x = small_network(), images(12, shape=(3, 12, 12))
    labels, given = scores(model, x).argmax(1), []
    run, search = ensemble._Climb.run, SquareSearch.run
    monkeypatch.setattr(ensemble._Climb, "run", lambda self, *a: given.append(len(self.image)) or run(self, *a))
    monkeypatch.setattr(SquareSearch, "run", lambda self, *a: given.append(-len(self.image)) or search(self, *a))
    options = {"label": labels, "epsilon": 4 / 255, "steps": 5, "queries": 10}
    found = viz.auto_attack(model, x, **options)
    assert given[0] == 12 and given[-1] < 0 and len(given) == 1 + 3 + 1  # three other classes
    assert all(abs(after) <= before for before, after in zip(given, given[1:], strict=False))
    fooled = scores(model, viz.as_saved(found)).argmax(1) != labels
    assert 0 < fooled.sum() < 12  # else nothing is shown
    np.testing.assert_array_equal(found[~fooled], x[~fooled])
    alone = viz.apgd(model, x, label=labels, epsilon=4 / 255, steps=5)
    assert fooled.sum() >= (scores(model, viz.as_saved(alone)).argmax(1) != labels).sum()


@pytest.mark.parametrize("classes, samples, runs", [(2, 1, 1), (3, 1, 2), (4, 1, 4), (12, 1, 10), (4, 2, 2)])
def test_the_losses_are_those_of_the_papers_versions(classes, samples, runs):
    assert len(ensemble._losses(classes, 9, samples)) == runs


def test_what_is_wrong_already_comes_back(small_network, images):
    model, x = small_network(), images(3)
    own = scores(model, x).argmax(1)
    np.testing.assert_array_equal(viz.auto_attack(model, x, label=(own + 1) % 4, steps=1, queries=1), x)


# ---- torchattacks ----------------------------------------------------------------------------------------------------


@pytest.fixture
def twins(small_network):
    """(our network in float64, the same in PyTorch), of 6 classes."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchattacks")
    model = small_network(classes=6)
    tensors = {name: torch.from_numpy(t.numpy().copy()) for name, t in model.named_tensors()}
    nn = torch.nn
    twin = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1))
    twin.extend([nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)])
    places = {"conv1": "0", "conv2": "3", "fc": "7"}
    twin.double().load_state_dict({places[n.split(".")[0]] + "." + n.split(".")[1]: t for n, t in tensors.items()})
    return model, twin.eval()


@pytest.mark.torch
@pytest.mark.parametrize("norm, epsilon", [("linf", 0.02), ("l2", 0.25)])
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
def test_torchattacks_apgd(norm, epsilon, loss, twins, images, monkeypatch):
    """From the same starts the same images fall, and the best losses agree."""
    import torch
    from torchattacks import APGD

    model, twin = twins
    norms = {"linf": "Linf", "l2": "L2"}
    x = images(40, shape=(3, 12, 12))
    labels = scores(model, x).argmax(1)
    draw = np.random.default_rng(5)
    u = draw.random(x.shape) if norm == "linf" else draw.standard_normal(x.shape)
    t = 2 * u - 1 if norm == "linf" else u
    reach = abs(t).max((1, 2, 3), keepdims=True) if norm == "linf" else np.sqrt((t**2).sum((1, 2, 3), keepdims=True))
    start = np.clip(x + epsilon * t / reach, 0, 1)
    monkeypatch.setattr(ensemble, "random_in_ball", lambda *_: start.copy())
    given = {"rand": lambda *_: torch.from_numpy(u), "randn": lambda *_: torch.from_numpy(u)}
    for name, function in given.items():
        monkeypatch.setattr(torch, name, function)
    attack = APGD(twin, norms[norm], epsilon, 50, loss={"cross_entropy": "ce"}.get(loss, loss))
    best, _, best_loss, _ = attack.attack_single_run(torch.from_numpy(x), torch.from_numpy(labels))
    found = viz.apgd(model, x, label=labels, epsilon=epsilon, norm=norm, loss=loss, steps=50)

    fell = [scores(model, one).argmax(1) != labels for one in (best.detach().numpy(), found)]
    np.testing.assert_array_equal(*fell)
    assert 0 < fell[0].sum() < 40
    z = mg.Tensor(scores(model, found))
    ours = logits_ratio(z, labels) if loss == "dlr" else F.cross_entropy(z, mg.Tensor(labels), reduction="none")
    ours = ours.numpy()
    assert abs(ours - best_loss.detach().numpy()).max() < 0.02 * abs(ours).max()


@pytest.mark.torch
@pytest.mark.parametrize("norm, epsilon", [("linf", 0.05), ("l2", 0.3)])
def test_torchattacks_square(norm, epsilon, twins, images, monkeypatch):
    """Draw by draw: in L-infinity, and in L2 where there is one channel (torchattacks pools the channels' lengths).

    With small squares: a bump that falls on its own negative leaves rounding, which both make 1e12 times larger.
    """
    import torch
    from torchattacks.attacks import square

    model, twin = twins
    monkeypatch.setattr(torch, "ones", partial(torch.ones, dtype=torch.float64))
    monkeypatch.setattr(torch, "zeros", partial(torch.zeros, dtype=torch.float64))
    x = images(4, shape=(3, 20, 20))
    grey = norm == "l2"
    if grey:
        model["conv1"].weight = mg.Tensor(model["conv1"].weight.numpy()[:, :1])
        model["conv1"].in_channels = 1
        twin[0].weight.data = twin[0].weight.data[:, :1]
        x = x[:, :1]
    labels = scores(model, x).argmax(1)
    ours = viz.square_attack(model, x, label=labels, epsilon=epsilon, norm=norm, queries=120, area=0.1)
    for n in range(4):
        rng = viz.random.streams(0, "square_attack", x[n : n + 1])[0]
        attack = square.Square(twin, "Linf" if norm == "linf" else "L2", epsilon, 120, p_init=0.1)
        attack.random_choice = lambda shape, rng=rng: torch.from_numpy(rng.choice([-1.0, 1.0], shape[-3:]))
        attack.random_int = lambda low, high, rng=rng: int(rng.integers(high + 1))
        attack.eta = lambda s, rng=rng: torch.from_numpy(two_bumps(rng, s))
        attack.init_hyperparam(torch.from_numpy(x))
        attack.device = "cpu"
        for shape in ((3, 7), (4, 7), (2, 5)):
            theirs = attack.eta_rectangles(*shape).numpy()
            np.testing.assert_allclose(theirs, _bump(*shape) / np.linalg.norm(_bump(*shape)), rtol=1e-6)
        _, best = attack.attack_single_run(torch.from_numpy(x[n : n + 1]), torch.from_numpy(labels[n : n + 1]))
        np.testing.assert_allclose(ours[n], best[0].numpy(), atol=1e-9)
