"""Networks set by hand, and what theory says of each method on them."""

import numpy as np
import pytest

import viz
from viz.ground_truth.known import AXIOMS, COLOURS, SIDE, WEIGHTED, axioms_kept, network, squares
from viz.ground_truth.networks import scored

pytestmark = pytest.mark.host("its networks are made on the CPU")

EVERYWHERE = {axiom: dict.fromkeys(networks, True) for axiom, networks in AXIOMS.items()}


def signed(function, **options):
    return lambda model, images, target: viz.per_pixel(function(model, images, target, **options), "signed")


def magnitude(function, **options):
    return lambda model, images, target: viz.per_pixel(function(model, images, target, **options))


def without(**broken):
    """What is kept when the axioms of `broken` are not, on the networks that it names."""
    return {
        axiom: {name: name not in broken.get(axiom, "").split() for name in networks}
        for axiom, networks in AXIOMS.items()
    }


# What follows from the definitions. A gradient is 0 where `or` is satisfied, and 2, not 1, where the template matches;
# the saliency of `edges` is also at the pixels left of red, which are black; absolute values do not add up.
THEORY = {
    "integrated_gradients": (signed(viz.integrated_gradients, steps=50), EVERYWHERE),
    "input_x_gradient": (
        signed(viz.input_x_gradient),
        without(complete="template and or", sensitive="or"),
    ),
    "lrp_epsilon": (signed(viz.lrp, rule="epsilon"), without(complete="template and or", sensitive="or")),
    "saliency": (
        magnitude(viz.saliency),
        without(complete="template edges and or", dummy="edges", sensitive="or"),
    ),
    "guided_backprop": (
        magnitude(viz.guided_backprop),
        without(complete="template edges and or", dummy="edges", sensitive="or"),
    ),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_network_says_1_of_three_squares_and_0_of_none(name):
    images, _ = squares(20, seed=1)
    np.testing.assert_allclose(scored(network(name), images), 1, atol=1e-6)
    np.testing.assert_allclose(scored(network(name), 0 * images), 0, atol=1e-6)


@pytest.mark.parametrize("name", WEIGHTED)
def test_which_squares_a_network_needs(name):
    """The formulas of the module: red is needed by three, both by `and`, either by `or`; blue by none."""
    expected = {
        "template": {("red",): 1, ("green",): 0, ("blue",): 0, ("green", "blue"): 0},
        "edges": {("red",): 1, ("green",): 0, ("blue",): 0, ("green", "blue"): 0},
        "and": {("red",): 0, ("green",): 0, ("blue",): 0, ("red", "green"): 1},
        "or": {("red",): 1, ("green",): 1, ("blue",): 0, ("red", "green"): 1},
    }[name]
    for colours, score in expected.items():
        images, _ = squares(5, seed=2, colours=colours)
        np.testing.assert_allclose(scored(network(name), images), score, atol=1e-6)


def test_squares_are_apart_and_off_the_rim():
    images, masks = squares(200, seed=0)
    stacked = np.stack([masks[colour] for colour in COLOURS])
    assert (stacked.sum((2, 3)) == SIDE**2).all() and stacked.sum(0).max() == 1
    assert not stacked[:, :, [0, -1]].any() and not stacked[:, :, :, [0, -1]].any()
    assert (images.sum((2, 3)) == SIDE**2).all()
    alone, _ = squares(200, seed=0, colours=("green",))
    np.testing.assert_array_equal(alone[:, 1], images[:, 1])
    assert not alone[:, [0, 2]].any()


@pytest.mark.parametrize("name", THEORY)
def test_a_method_keeps_the_axioms_that_theory_says(name):
    method, expected = THEORY[name]
    kept = axioms_kept(method, 10)
    assert {axiom: {n: bool(v.all()) for n, v in networks.items()} for axiom, networks in kept.items()} == expected
    mixed = [v for networks in kept.values() for v in networks.values() if v.any() != v.all()]
    assert not mixed, "an axiom is a matter of the method, not of where the squares lie"


@pytest.mark.parametrize("axiom", ["complete", "dummy", "symmetric"])
def test_the_shares_of_a_shapley_value_keep_an_axiom_and_half_of_one_does_not(axiom):
    def exact(model, images, target):
        """Red and green share `and` and `or`; red alone gets the others."""
        both = len(model["conv"].weight.numpy()) == 2 and images[:, 1].any()
        shares = images * np.reshape([0.5, 0.5, 0] if both else [1, 0, 0], (3, 1, 1)) / SIDE**2
        return shares.sum(1)

    assert all(v.all() for v in axioms_kept(exact, 4)[axiom].values())
    spoilt = {
        "complete": lambda maps, images: maps / 2,
        "dummy": lambda maps, images: maps + images[:, 2],
        "symmetric": lambda maps, images: maps * (1 + images[:, 0]),
    }[axiom]
    broken = axioms_kept(lambda m, x, t: spoilt(exact(m, x, t), x), 4)[axiom]
    assert not any(v.any() for v in broken.values())


def test_a_name_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="one of template, edges, and, or, got 'xor'"):
        network("xor")
