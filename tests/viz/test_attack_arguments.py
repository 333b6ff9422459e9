"""What stands third behind an attack: label and target have names, and what is wrong already is left alone."""

import inspect
import re

import numpy as np
import pytest

import viz
from viz.attacks import scores

ATTACKS = {
    "fgsm": {},
    "pgd": {"steps": 2},
    "apgd": {"steps": 2},
    "auto_attack": {"steps": 2, "queries": 2},
    "square_attack": {"queries": 3},
    "targeted_ascent": {"steps": 2},
    "deepfool": {"steps": 2, "candidates": 3},
    "carlini_wagner": {"searches": 2, "steps": 2},
    "one_pixel": {"population": 6, "generations": 2},
    "jsma": {"gamma": 0.1},
}
LABEL, TARGET = "label= is the class to leave, the right one", "target= is the class to reach"


def test_every_function_that_takes_a_target_beside_an_image_in_0_to_1_is_here():
    keyword = {
        name
        for name, function in vars(viz).items()
        if inspect.isfunction(function)
        and any(
            p.kind is p.KEYWORD_ONLY and p.name in ("target", "label")
            for p in inspect.signature(function).parameters.values()
        )
    }
    assert keyword == {*ATTACKS, "report_attack"}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_third_argument_without_a_name_is_refused(name, small_network, images):
    model, x = small_network(), images(3)
    takes = inspect.signature(getattr(viz, name)).parameters
    meaning = "; ".join(text for argument, text in (("label", LABEL), ("target", TARGET)) if argument in takes)
    for third in (np.array([0, 1, 2]), 1, "tabby", [0, 1, 2]):
        with pytest.raises(TypeError, match=re.escape(f"{name}: give argument 3 by its name: {meaning}") + "$"):
            getattr(viz, name)(model, x, third, **ATTACKS[name])


def test_a_class_for_the_universal_perturbation_or_behind_the_report_is_refused(small_network, images):
    model, x = small_network(), images(3)
    with pytest.raises(TypeError, match="universal_perturbation: give argument 3 by its name: it takes no class"):
        viz.universal_perturbation(model, x, [0, 1, 2])
    with pytest.raises(TypeError, match=f"report_attack: give argument 4 by its name: .*{re.escape(LABEL)}"):
        viz.report_attack(model, x, x, [0, 1, 2])


@pytest.mark.parametrize("name", ATTACKS)
def test_the_signature_and_the_description_are_the_attacks_own(name):
    function = getattr(viz, name)
    assert function.__name__ == name and len(function.__doc__) > 200
    assert list(inspect.signature(function).parameters)[:2] == ["model", "image"]


@pytest.mark.parametrize("name", ["fgsm", "pgd", "deepfool", "carlini_wagner"])
def test_labels_by_name_lower_the_accuracy(name, small_network, images):
    """Untargeted attacks on the network's own labels never raise the label's lead over the best of the others."""
    model, x = small_network(), images(4)
    label = scores(model, x).argmax(1)

    def lead(image):
        z, own = scores(model, image), np.arange(4) == label[:, None]
        return z[own] - np.where(own, -np.inf, z).max(1)

    found = getattr(viz, name)(model, x, label=label, **ATTACKS[name])
    assert (lead(found) <= lead(x) + 1e-9).all()


LEAVE = [name for name in ATTACKS if "label" in inspect.signature(getattr(viz, name)).parameters]


@pytest.mark.parametrize("name", LEAVE)
@pytest.mark.parametrize("seed", range(3))
def test_an_image_that_is_wrong_already_is_left_as_it_is(name, seed, small_network, images):
    """Beside others that are not."""
    model, x = small_network(seed=seed), images(4, seed=seed)
    label = scores(model, x).argmax(1)
    wrong = np.array([True, False, True, False])
    label[wrong] = (label[wrong] + 1 + seed) % 4
    found = getattr(viz, name)(model, x, label=label, **ATTACKS[name])
    np.testing.assert_array_equal(found[wrong], x[wrong])
    if name in ("fgsm", "pgd"):  # which spend their budget always
        assert (abs(found - x).max((1, 2, 3)) > 0).tolist() == (~wrong).tolist()


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_a_score_is_lowered_further_wherever_it_is(name, small_network, images):
    model, x = small_network(), images(4)
    far = float(scores(model, x).max()) + 1
    found = getattr(viz, name)(model, x, label=lambda y: y[:, 1] - far, **ATTACKS[name])
    assert (scores(model, found)[:, 1] < scores(model, x)[:, 1]).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_class_that_is_none_is_named_as_it_was_given(name, small_network, images):
    model, x, attack = small_network(), images(2), getattr(viz, name)
    for argument in ("label", "target"):
        if argument not in inspect.signature(attack).parameters:
            continue
        for wrong, sentence in {
            7: f"^{argument} 7 is out of range: this model has classes 0 to 3",
            (1, 2, 3): f"^{argument} has 3 classes for 2 images",
            "cat": "this model has no class names: give class 'cat' as an index",
        }.items():
            with pytest.raises(ValueError, match=sentence):
                attack(model, x, **{argument: wrong}, **ATTACKS[name])
        with pytest.raises(TypeError, match=f"^{argument} must be a class index or name here, got 1.5"):
            attack(model, x, **{argument: 1.5}, **ATTACKS[name])


def test_a_third_argument_of_the_linear_attack_is_refused(images):
    x = images(2)
    for third in (np.array([0, 1]), 1, "tabby", 0.1):
        with pytest.raises(
            TypeError, match="linear_attack: give argument 3 by its name: it takes no class, for weight"
        ):
            viz.linear_attack(x[0], x, third)


def test_labels_of_tables_are_classes_by_index_or_name(small_network, images):
    """A name compared with an index is never equal: the accuracy would be 0."""
    model, x = small_network(), images(4)
    model.labels = ("ant", "bee", "cow", "doe")
    label = scores(model, x).argmax(1)
    names, attack = [model.labels[c] for c in label], lambda m, x, y, n: viz.fgsm(m, x, label=y)
    tables = {
        "accuracy": lambda y: viz.accuracy(model, x, y),
        "attack_table": lambda y: viz.attack_table(model, x, y, {"fgsm": attack}),
        "defence_table": lambda y: viz.defence_table(model, x, y, {}, attack),
        "transfer_table": lambda y: viz.transfer_table({"m": model}, x, y, attack),
        "robustness_table": lambda y: viz.robustness_table({"m": model}, x, y, {"fgsm": attack}),
        "shape_decisions": lambda y: viz.shape_decisions(model, x, y, (label + 1) % 4),
    }
    for name, call in tables.items():
        assert call(names) == call(label), name
        argument = "shape" if name == "shape_decisions" else "label"
        with pytest.raises(ValueError, match=f"{argument} 7 is out of range"):
            call([7, 0, 0, 0])
        with pytest.raises(ValueError, match=f"{argument} has 3 classes for 4 images"):
            call(label[:3])


@pytest.mark.parametrize("name", ["carlini_wagner", "one_pixel", "jsma", "targeted_ascent"])
@pytest.mark.parametrize("seed", range(3))
def test_an_image_that_has_the_target_already_is_left_as_it_is(name, seed, small_network, images):
    model, x = small_network(seed=seed), images(3, seed=seed)
    target = scores(model, x).argmax(1)
    target[1] = (target[1] + 1) % 4
    options = ATTACKS[name] | ({"confidence": 0.1} if name == "targeted_ascent" else {})
    found = getattr(viz, name)(model, x, target=target, **options)
    np.testing.assert_array_equal(found[[0, 2]], x[[0, 2]])
