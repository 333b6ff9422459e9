"""Tables counted again by hand, on networks small enough to know the answer."""

import numpy as np
import pytest

from viz import robustness
from viz.attack_report import as_saved
from viz.attacks import fgsm, scores
from viz.corruptions import SEVERITIES, corrupt
from viz.defenses import BitDepth, GaussianNoise, defend


def attack(model, image, label, samples):
    return fgsm(model, image, label=label, epsilon=16 / 255, samples=samples)


def nothing(model, image, label, samples):
    return image


@pytest.fixture
def case(small_network, images):
    """A network, 10 images on the grey levels, and their labels, of which two are wrong."""
    model = small_network()
    x = as_saved(images(10, shape=(3, 8, 8))).astype(np.float64)
    labels = scores(model, x).argmax(1)
    labels[:2] = (labels[:2] + 1) % 4
    return model, x, labels


def test_accuracy(case):
    assert robustness.accuracy(*case) == 0.8


def test_the_attack_table_counts_right_answers_only(case):
    model, x, labels = case
    attacked, none = robustness.attack_table(model, x, labels, {"fgsm": attack, "nothing": nothing}, batch_size=3)
    saved = as_saved(attack(model, x[2:], labels[2:], 1))
    fooled = scores(model, saved.astype(np.float64)).argmax(1) != labels[2:]
    assert attacked["images"] == 8 and attacked["success_saved"] == fooled.mean() > 0
    assert attacked["accuracy"] == pytest.approx((8 - fooled.sum()) / 10)
    assert attacked["linf"] == pytest.approx(16 / 255) and attacked["l0"] == 64
    never = {"success": 0.0, "success_saved": 0.0, "accuracy": 0.8, "linf": None, "l2": None, "l0": None}
    assert none == {"attack": "nothing", "images": 8} | never


def test_the_defence_table_has_an_attack_that_knows_the_defence(case):
    model, x, labels = case
    defences = {"bits": BitDepth(2), "noise": GaussianNoise(0.02)}
    none, bits, noise = robustness.defence_table(model, x, labels, defences, attack, samples=2, batch_size=4)
    assert none["clean"] == 0.8 and none["attacked"] == none["adaptive"]
    unaware = as_saved(attack(model, x, labels, 1))
    defended = defend(model, BitDepth(2))
    adaptive = as_saved(attack(defended, x, labels, 1))
    assert bits["attacked"] == robustness.accuracy(defended, unaware, labels)
    assert bits["adaptive"] == robustness.accuracy(defended, adaptive, labels)
    assert bits["clean"] == robustness.accuracy(defended, x, labels)
    assert noise["images"] == 10


def test_a_random_defence_is_attacked_with_averaged_gradients(case):
    model, x, labels = case
    asked = []

    def note(model, image, label, samples):
        asked.append(samples)
        return image

    robustness.defence_table(model, x, labels, {"bits": BitDepth(2), "noise": GaussianNoise()}, note, samples=5)
    assert asked == [1, 1, 5]


def test_the_transfer_table_is_over_what_the_victim_had_right(case, small_network):
    model, x, labels = case
    other = small_network(seed=1)
    right = scores(other, x).argmax(1) == labels
    rows = robustness.transfer_table({"a": model, "b": other}, x, labels, attack)
    attacked = as_saved(attack(model, x, labels, 1))
    expected = (scores(other, attacked).argmax(1) != labels)[right].mean()
    assert rows[0]["attacked"] == "a" and rows[0]["b"] == expected
    assert rows[0]["a"] == (scores(model, attacked).argmax(1) != labels)[2:].mean()


def test_the_robustness_table_has_a_column_for_every_corruption(case):
    model, x, labels = case
    (row,) = robustness.robustness_table({"small": model}, x, labels, {"fgsm": attack}, severity=2, seed=4)
    found = [row[kind] for kind in SEVERITIES]
    assert row["corruptions"] == pytest.approx(np.mean(found))
    assert row["contrast"] == robustness.accuracy(model, corrupt(x, "contrast", 2), labels)
    assert row["shot_noise"] == robustness.accuracy(model, corrupt(x, "shot_noise", 2, seed=4), labels)
    assert row["fgsm"] == robustness.accuracy(model, as_saved(attack(model, x, labels, 1)), labels)


def test_groups_take_their_best_class(small_network, images):
    model, x = small_network(), images()
    z = scores(model, x)
    grouped = robustness.regroup(model, [[2], [0, 3]], labels=("c", "a or d"))
    np.testing.assert_array_equal(scores(grouped, x), np.stack([z[:, 2], z[:, [0, 3]].max(1)], axis=1))
    assert grouped.labels == ("c", "a or d")


# ---- what refuses has its sentence in the table ----------------------------------------------------------------------


def refusing(model, image, label, samples):
    raise ValueError("refusing: it does not apply here")


SENTENCE = "refusing: it does not apply here"


def test_an_attack_that_refuses_leaves_the_others_their_rows(case):
    attacks = {"first": refusing, "fgsm": attack}
    refused, kept = robustness.attack_table(*case, attacks, batch_size=3)
    assert refused["success"] == SENTENCE and refused["accuracy"] is None and list(refused) == list(kept)
    assert [kept] == robustness.attack_table(*case, {"fgsm": attack}, batch_size=3)
    model, x, labels = case
    (row,) = robustness.robustness_table({"m": model}, x, labels, attacks)
    assert row["first"] == SENTENCE and row["fgsm"] == kept["accuracy"] == pytest.approx(row["fgsm"])
    for call in (
        lambda: robustness.attack_table(*case, {"first": refusing}),
        lambda: robustness.transfer_table({"m": model}, x, labels, refusing),
    ):
        with pytest.raises(ValueError, match=SENTENCE):
            call()


def test_a_network_or_a_defence_that_an_attack_refuses(case):
    model, x, labels = case

    def on_one_only(attacked, image, label, samples):
        return (attack if attacked is model else refusing)(attacked, image, label, samples)

    first, second = robustness.transfer_table({"a": model, "b": defend(model, BitDepth(8))}, x, labels, on_one_only)
    assert second["b"] == SENTENCE and second["a"] is None and isinstance(first["b"], float)
    bare, defended = robustness.defence_table(model, x, labels, {"bits": BitDepth(3)}, on_one_only)
    assert defended["clean"] == SENTENCE and defended["adaptive"] is None and isinstance(bare["clean"], float)
