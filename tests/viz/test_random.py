"""Random numbers: a photograph's own, whatever its batch, and those of no other method."""

import inspect
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import viz
from tests.viz.every_method import METHODS, network
from viz import defenses
from viz.corruptions import SEVERITIES
from viz.random import pixels_key, stream, streams, taken_for

# Of one image, a pair of them, or of the set as a whole: the rest has a result for each photograph.
OF_A_SET = {
    "top_patches",
    "maximize",
    "maximize, fourier",
    "maximize_as_blog",
    "style_transfer",
    "synthesize_texture",
    "universal_perturbation",
}
MORE = {f"corrupt, {kind}": lambda model, x, seed, kind=kind: viz.corrupt(x, kind, seed=seed) for kind in SEVERITIES}
MORE |= {
    "noise": lambda model, x, seed: defenses.GaussianNoise(0.1, seed)(mg.Tensor(x)).numpy(),
    "fgsm of noise": lambda model, x, seed: viz.fgsm(noisy(model, seed), x, label=1, samples=2),
    "one_pixel of a class": lambda model, x, seed: viz.one_pixel(
        model, x, target=1, population=6, generations=2, seed=seed
    ),
    "pgd, l2, from the start": lambda model, x, seed: viz.pgd(model, x, norm="l2", epsilon=1.0, steps=1, seed=seed),
    "insertion_deletion of a flat map": lambda model, x, seed: viz.insertion_deletion(
        model, x, x.mean(1) * 0, 1, steps=3, seed=seed
    ),
    "reconstruct_content, adam": lambda model, x, seed: (
        viz.reconstruct_content(model, x, ["conv2"], optimizer="adam", steps=2, seed=seed).image
    ),
    "features of a photograph": lambda model, x, seed: viz.features(model, x, "conv2"),
}
OF_A_PHOTOGRAPH = {name: method for name, method in (METHODS | MORE).items() if name not in OF_A_SET}
OF_A_PHOTOGRAPH.pop("reconstruct_content")  # L-BFGS takes a step for the batch as a whole


def noisy(model, seed):
    return defenses.defend(model, defenses.GaussianNoise(0.1, seed))


@pytest.fixture(scope="module")
def precise():
    """The network of every_method in float64, so that no sign of an attack hangs on rounding."""
    model = network()
    return model.load_state_dict({name: t.numpy().astype(np.float64) for name, t in model.named_tensors()}) or model


def per_image(result):
    """The arrays of a result with one entry for each image."""
    if isinstance(result, viz.checks.Curves):
        return [result.insertion, result.deletion]
    if isinstance(result, viz.randomization.Randomization):
        return [part.swapaxes(0, 1) for part in (result.maps, result.spearman, result.ssim)]
    return [getattr(result, "image", result)]


@pytest.mark.parametrize("name", OF_A_PHOTOGRAPH)
@pytest.mark.filterwarnings("ignore:.*zero everywhere")
def test_a_result_does_not_depend_on_the_rest_of_the_batch(name, precise):
    """Alone, in another place, beside others: the same to rounding."""
    x = np.random.default_rng(4).random((3, 3, 12, 12))
    method = OF_A_PHOTOGRAPH[name]
    together = per_image(method(precise, x, 5))
    assert all(len(part) == 3 for part in together)
    for order in ([2, 0], [1]):
        for whole, part in zip(together, per_image(method(precise, x[order], 5)), strict=True):
            np.testing.assert_allclose(part, whole[order], rtol=0, atol=1e-9 * abs(whole).max())


def test_objectives_of_one_run_do_not_depend_on_each_other(precise):
    for options in ({}, {"parameterization": "fourier"}):
        options |= {"size": (12, 12), "steps": 3, "seed": 2}
        together = viz.maximize(precise, [viz.channel("conv2", 1), 3], **options).image
        alone = viz.maximize(precise, 3, **options).image
        np.testing.assert_allclose(together[1:], alone, atol=1e-9)


def test_no_two_methods_share_their_noise(monkeypatch):
    """All Generators that each method makes, of all photographs: no seed is one of another method's."""
    model, x, met = network(), np.random.default_rng(4).random((2, 3, 12, 12), dtype=np.float32), {}
    make = np.random.default_rng

    def recorded(seeds, seed=None):
        if not isinstance(seed, np.random.Generator):  # SciPy asks with the one that it was given
            seeds.add(str(seed))
        return make(seed)

    for name, method in (METHODS | MORE).items():
        seeds = met.setdefault(name.partition(",")[0].partition(" ")[0], set())
        monkeypatch.setattr(np.random, "default_rng", partial(recorded, seeds))
        method(model, x, 0)
        monkeypatch.undo()
    met["fgsm"] -= met["noise"]  # of the defence that it attacks
    met["maximize_as_blog"] -= met["maximize"]  # which it runs, without transforms
    made = {name: seeds for name, seeds in met.items() if seeds}
    assert len(made) >= 15
    seen = {}
    for name, seeds in made.items():
        for seed in seeds:
            assert seen.setdefault(seed, name) == name, f"{name} and {seen[seed]} draw the same numbers"


def test_corruptions_draw_their_own(monkeypatch):
    x, seeds, make = np.full((1, 3, 8, 8), 0.5), [], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: seeds.append(str(seed)) or make(seed))
    for kind in SEVERITIES:
        viz.corrupt(x, kind)
    assert len(seeds) == len(set(seeds)) == len(SEVERITIES)


@pytest.mark.parametrize("one, other", [((0, "a", "k"), (1, "a", "k")), ((0, "a", "k"), (0, "b", "k"))])
@pytest.mark.parametrize("shift", [0, 1])
def test_streams_differ_by_seed_method_and_key(one, other, shift):
    if shift:
        other = (*one[:2], "l")
    assert not np.array_equal(stream(*one).random(4), stream(*other).random(4))
    np.testing.assert_array_equal(stream(*one).random(4), stream(*one).random(4))


def test_the_key_of_a_photograph_is_its_pixels_or_the_name_that_is_given():
    x = np.random.default_rng(0).random((2, 3, 4, 4))
    assert pixels_key(x[0]) == pixels_key(x[0].astype(np.float32).copy()) != pixels_key(x[1])
    assert pixels_key(x[0] * 0) == pixels_key(-x[0] * 0) != pixels_key(np.zeros((3, 2, 8)))
    for key, same in ((None, False), ("cat", True), (["a", "b"], False), (range(2), False)):
        one, other = (rng.random(3) for rng in streams(3, "m", x, key))
        assert np.array_equal(one, other) == same
    named = [streams(3, "m", image, ["a"])[0].random() for image in (x[:1], x[1:])]
    assert named[0] == named[1] == streams(3, "m", x, ["b", "a"])[1].random()
    with pytest.raises(ValueError, match="m: key has 3 names for 2 images: give one, or one for each"):
        streams(0, "m", x, ["a", "b", "c"])


def test_sensitivity_measures_what_the_image_does_not_how_two_draws_differ(precise):
    x = np.random.default_rng(4).random((2, 3, 12, 12))
    named = lambda model, x, target: viz.smooth_grad(model, x, target, samples=4, key="x")  # noqa: E731
    plain = lambda model, x, target: viz.smooth_grad(model, x, target, samples=4)  # noqa: E731
    for method in (named, plain, viz.smooth_grad):
        assert viz.sensitivity(precise, x, method, 1, radius=1e-6, samples=2).max() < 1e-2
    moved = x + 1e-6
    for key, same in (("x", True), (["a", "b"], True), (None, False)):
        one, other = (viz.smooth_grad(precise, image, 1, samples=4, key=key) for image in (x, moved))
        assert (abs(one - other).max() < 1e-2 * abs(one).max()) == same
    with taken_for(moved, x):
        np.testing.assert_array_equal(*(streams(0, "m", image)[1].random(3) for image in (x, moved)))
    assert streams(0, "m", x)[1].random() != streams(0, "m", moved)[1].random()


def test_a_picture_met_again_has_new_noise():
    x = mg.Tensor(np.full((2, 3, 8, 8), 0.5))
    noise = defenses.GaussianNoise(0.1)
    drawn = [*noise(x).numpy(), *noise(x).numpy()]
    assert len({one.tobytes() for one in drawn}) == 4


def test_viz_draws_in_one_place_only():
    """No module of the library but random.py makes a Generator; layers that are drawn anew are given one."""
    for path in Path(viz.__file__).parent.glob("*.py"):
        if path.name != "random.py":
            assert "default_rng" not in path.read_text(), path


def test_every_method_that_takes_a_seed_is_among_these():
    tried = {name.partition(",")[0].partition(" ")[0] for name in METHODS | MORE}
    seeded = {
        name
        for name, function in vars(viz).items()
        if inspect.isfunction(function) and "seed" in inspect.signature(function).parameters
    }
    others = {"cue_conflict", "grabcut", "linear_classifier", "mosaics", "robustness_table", "segment", "trust", "tsne"}
    assert seeded - tried == others | {"train_linear"}
