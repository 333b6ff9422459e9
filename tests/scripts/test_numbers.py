"""Numeric options of every command, and the functions behind them: a result or one sentence, never a traceback."""

import math

import numpy as np
import pytest

import viz
from tests.scripts import tiny
from viz.commands.command import find, main
from viz.commands.techniques import COMMANDS
from viz.ranges import Range, range_of

NAMES = sorted(
    {name for name, *_ in COMMANDS.values()} - {"gallery", "explore"}
)  # a page each, without results of numbers


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """run(name, *words): (exit code, stdout, stderr) of a command with what lets it run, on the tiny network."""
    folder = tmp_path_factory.mktemp("tiny")
    weights, (data, image) = tiny.write(folder), tiny.photographs(folder / "photographs")

    def run(capsys, name, *words):
        options = find(name).options
        model = ["--model", str(weights)] if "--model" in options._option_string_actions else []
        argv = [*tiny.arguments(name, data, image), *model, "--out", str(folder / "out"), *map(str, words)]
        capsys.readouterr()
        return main(name, options, find(name).run, argv), *capsys.readouterr()

    return run


def drawn(within, kind, rng):
    """Values for a number in a Range: its ends, what lies just beyond them, and some others."""
    low = within.low if math.isfinite(within.low) else within.above
    ends = [low, low - 1, 0, -1, 3, float(rng.normal(0, 3))]
    if math.isfinite(within.above):
        ends += [within.above + 1e-9]
    if kind is not int:
        ends += [within.high, within.high * 1.5, 1e9, math.nan, math.inf]
    return dict.fromkeys(str(int(v)) if kind is int else repr(float(v)) for v in ends if kind is not int or v < 1e6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_every_number_is_taken_or_refused_in_one_sentence(name, run, capsys):
    rng = np.random.default_rng(sum(map(ord, name)))
    code, out, err = run(capsys, name)
    assert code == 0 and " -> " in out, err
    options = find(name).options
    for flag, within in options.ranges.values():
        action = options._option_string_actions[flag]
        count = action.nargs if isinstance(action.nargs, int) else 1
        for value in drawn(within, action.type, rng):
            code, out, err = run(capsys, name, *[f"{flag}={value}"] if count == 1 else [flag, *[value] * count])
            assert code in (0, 2), (flag, value, err)
            assert (" -> " in out) if code == 0 else (out == "" or " -> " in out) and err.count("\n") == 1, (
                flag,
                value,
            )
            if float(value) not in within:
                assert code == 2 and (flag in err), (flag, value, err)


X = np.full((1, 3, 16, 16), 0.5, np.float32)
FUNCTIONS = {
    "integrated_gradients": (viz.integrated_gradients, ("steps",)),
    "smooth_grad": (viz.smooth_grad, ("samples", "sigma")),
    "rise": (viz.rise, ("samples", "cells", "keep", "batch_size")),
    "occlusion": (viz.occlusion, ("batch_size",)),
    "invert": (lambda m, x, **n: viz.invert(m, x, "relu2_1", **n), ("alpha", "alpha_weight", "beta", "tv_weight")),
    "deep_dream": (
        lambda m, x, **n: viz.deep_dream(m, x, "relu2_1", **n),
        ("octaves", "octave_scale", "steps", "lr", "jitter"),
    ),
    "style_transfer": (
        lambda m, x, **n: viz.style_transfer(m, x, x, **n),
        ("content_weight", "style_weight", "tv_weight", "style_scale"),
    ),
    "style_coarse_to_fine": (lambda m, x, **n: viz.style_coarse_to_fine(m, x, x, **n), ("scales", "style_scale")),
    "reconstruct_content": (viz.reconstruct_content, ("tv_weight",)),
    "synthesize_texture": (viz.synthesize_texture, ("weight", "tv_weight", "style_scale")),
    "localize": (lambda m, x, **n: viz.localize(x[:, 0], **n), ("fraction",)),
    "an optimised image": (lambda m, x, **n: viz.maximize(m, 0, **n), ("steps",)),
    "adam": (lambda m, x, **n: viz.maximize(m, 0, **n), ("lr",)),
    "sgd": (lambda m, x, **n: viz.maximize(m, 0, optimizer="sgd", **n), ("lr",)),
    "lrp": (viz.lrp, ("epsilon", "gamma", "alpha")),
    "fgsm": (viz.fgsm, ("samples",)),
    "pgd": (viz.pgd, ("steps", "samples")),
    "apgd": (viz.apgd, ("steps", "samples")),
    "auto_attack": (viz.auto_attack, ("targets", "queries")),
    "square_attack": (viz.square_attack, ("queries", "area")),
    "targeted_ascent": (lambda m, x, **n: viz.targeted_ascent(m, x, target=0, **n), ("steps", "confidence")),
    "jsma": (lambda m, x, **n: viz.jsma(m, x, target=0, **n), ("gamma", "candidates")),
    "deepfool": (viz.deepfool, ("candidates", "steps", "overshoot")),
    "carlini_wagner": (viz.carlini_wagner, ("kappa", "c", "searches", "steps", "lr")),
    "one_pixel": (viz.one_pixel, ("pixels", "population", "generations")),
    "score_cam": (viz.score_cam, ("batch_size",)),
    "insertion_deletion": (lambda m, x, **n: viz.insertion_deletion(m, x, x[:, 0], **n), ("steps",)),
    "sensitivity": (lambda m, x, **n: viz.sensitivity(m, x, viz.saliency, **n), ("radius", "samples")),
    "infidelity": (lambda m, x, **n: viz.infidelity(m, x, x, **n), ("sigma", "samples")),
    "relative_infidelity": (lambda m, x, **n: viz.relative_infidelity(m, x, x, **n), ("sigma",)),
    "stylize": (lambda m, x, **n: viz.stylize(m, x, x, **n), ("strength",)),
    "pointing_game": (lambda m, x, **n: viz.pointing_game(x[:, 0], np.zeros((1, 4), int), **n), ("tolerance",)),
    "segment": (lambda m, x, **n: viz.segment(x[0], x[0, 0], **n), ("components", "iterations")),
    "outline_mask": (lambda m, x, **n: viz.outline_mask(x[0], x[0, 0] > 0.5, **n), ("outside",)),
    "universal_perturbation": (viz.universal_perturbation, ("epochs", "fooling_rate", "candidates", "steps")),
}


@pytest.mark.parametrize("function, name", [(f, name) for f, (_, names) in FUNCTIONS.items() for name in names])
def test_functions_refuse_what_their_options_refuse(function, name):
    within = range_of(name, function)
    beyond = [within.low - 1] if math.isfinite(within.low) else [within.above]
    for value in [*beyond, *([within.high * 2] if math.isfinite(within.high) else []), math.nan, "2", 2.5]:
        right = isinstance(value, int if within.whole else int | float)
        if right and value in within:
            continue
        kind = "" if right else "a whole number " if within.whole else "a number "
        with pytest.raises(ValueError) as refused:
            FUNCTIONS[function][0](tiny.network(), X, **{name: value})
        assert str(refused.value) == f"{function}: {name} must be {kind}{within}, got {value!r}"


@pytest.mark.parametrize(
    "name, words, said",
    [
        ("maximize", ["--preset", "paper", "--size", "3"], "at least 4 x 4 pixels up to fc, this image has 3 x 3"),
        ("dream", ["--size", "16", "--octaves", "30", "--target", "relu4_1"], "at least 4 x 4 pixels up to relu4_1"),
        ("texture", ["--width", "2"], "this network takes images of at least 4 x 4 pixels"),
        ("style_transfer", ["--style-scale", "0.01"], "this network takes images of at least 4 x 4 pixels"),
        ("attack", ["--epsilon", "4"], "epsilon is in units of pixels, which lie in [0, 1], got 4"),
        ("attack", ["--epsilon", "1000"], "which lie in [0, 1], got 1000\n"),
        ("dream", ["--lr", "1.5"], "--lr must be above 0 and at most 1, got 1.5"),
        ("maximize", ["--target", "0", "--lr", "1000"], "adam: lr must be above 0 and at most 1, got 1000"),
        ("invert", ["--lr", "1.5"], "adam: lr must be above 0 and at most 1, got 1.5"),
        ("linear_demo", ["--epsilon", "0"], "--epsilon must be above 0 and at most 1, got 0"),
        ("linear_demo", ["--sizes", "8", "8"], "the size 8 is named twice"),
        ("attack", ["--norm", "l2", "--method", "fgsm"], "fgsm has no use for --norm"),
        ("attack", ["--method", "jsma", "--target", "cat", "--steps", "3"], "jsma has no use for --steps"),
        ("robustness", ["--tables", "transfer"], "name the other, --beside MODEL"),
        ("compare", ["--targets", "cat,0"], "the class 'cat' is named twice"),
        ("compare", ["--methods", "lrp,lrp"], "the method 'lrp' is named twice"),
        ("saliency", ["--out", ""], "--out is empty"),
        ("saliency", ["--target", "relu9_1"], "there is no class or layer 'relu9_1', did you mean relu"),
        ("templates", ["--model", "nomodel"], "unrecognized arguments: --model nomodel"),
        ("embedding", ["--method", "tsne", "--perplexity", "30"], "at most a third of the other photographs"),
        ("embedding", ["--perplexity", "5"], "--perplexity has no effect without --method tsne"),
        ("embedding", ["--layers", "fc,fc"], "the layer 'fc' is named twice"),
        ("top_patches", ["--channels", "1", "1"], "the channel 1 is named twice"),
        ("invert", ["--layers", "relu1_1,relu1_1"], "the layer 'relu1_1' is named twice"),
        ("sanity_check", ["--count", "3"], "--count has no effect without --data"),
        (
            "evaluate_attribution",
            ["--measures", "curves", "--tiles", "full", "--noises", "4"],
            "no effect without --measures infidelity",
        ),
        ("evaluate_attribution", ["--measures", "grid", "--steps", "3"], "no effect without --measures curves"),
        ("evaluate_attribution", ["--curves", "authors"], "--steps has no effect with --curves authors"),
        ("maximize", ["--targets", "cat,dog"], "give --target or --targets, not both"),
        ("maximize", ["--jitter", "3"], "--jitter has no effect with --preset fourier or --robust, whose transforms"),
        ("maximize", ["--blur", "0", "--blur-every", "3"], "--blur-every has no effect without --blur"),
        ("maximize", ["--tv-kind", "l2"], "--tv-kind has no effect without --tv-weight"),
        ("top_patches", ["--patches", "99"], "give fewer --patches, or a larger --count"),
    ],
)
def test_what_was_taken_or_crashed(name, words, said, run, capsys):
    code, out, err = run(capsys, name, *words)
    assert code == 2 and out == "" and err.startswith(f"{name}: ") and err.count("\n") == 1 and said in err


def test_a_target_that_is_named_already_is_no_target(run, capsys):
    code, out, err = run(capsys, "classify")
    top = out.partition("classes: ")[2].split(" ")[0]
    code, out, err = run(capsys, "attack", "--target", top)
    assert (code, out) == (2, "") and err == f"attack: the network says {top} already: give another --target, or none\n"


@pytest.mark.parametrize(
    "within, said, inside, outside",
    [
        (Range(1), "at least 1", (1, 2), (0, math.nan, math.inf)),
        (Range(above=0), "above 0", (1e-9,), (0, -1)),
        (Range(0, 1), "from 0 to 1", (0, 0.5, 1), (-0.1, 1.1)),
        (Range(high=1, above=0), "above 0 and at most 1", (0.1, 1), (0, 1.1)),
    ],
)
def test_ranges(within, said, inside, outside):
    assert str(within) == said
    assert all(number in within for number in inside) and not any(number in within for number in outside)
