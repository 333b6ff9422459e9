"""Every command that takes --target, with classes, contrasts, layers and neurons: a result or one sentence."""

import numpy as np
import pytest

import models
from minigrad import nn
from tests.scripts import tiny
from viz.commands.command import find, main
from viz.commands.target import ANYTHING, CLASS, SCORE
from viz.commands.techniques import COMMANDS

OPTIONS = {name: find(name).options for name in sorted({name for name, *_ in COMMANDS.values()} - {"gallery"})}
TARGETED = {name: options for name, options in OPTIONS.items() if "--target" in options._option_string_actions}
LAYERS = ("relu3_1", "relu3_1:5", "relu3_1:5,0,0", "fc:1")
MORE = {"trust": "--data {} --count 4 --draws 2 --steps 2", "switch_off": "--draws 2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("targets")


@pytest.fixture(scope="module")
def photographs(folder):
    return tiny.photographs(folder / "photographs")


@pytest.fixture
def command(folder, photographs, capsys):
    """Run a command on the tiny network: (exit code, stderr)."""
    weights = tiny.write(folder)

    def run(name, *argv):
        words = tiny.arguments(name, *photographs) + MORE.get(name, "").format(photographs[0]).split()
        if "--target" in words:
            at = words.index("--target")
            del words[at : at + 2]
        words += [*argv, "--model", str(weights), "--out", str(folder / "_".join(["out", *argv]))]
        code = main(name, OPTIONS[name], find(name).run, words)
        return code, capsys.readouterr().err

    return run


def takes(options, target):
    """Whether --help says that this may be explained."""
    said = options._option_string_actions["--target"].help
    assert CLASS in said
    return target == "zebra" or (ANYTHING if target in LAYERS else SCORE) in said


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", [*LAYERS, "cat-dog", "zebra"])
@pytest.mark.parametrize("name", TARGETED)
def test_a_result_or_one_sentence(command, name, target):
    code, err = command(name, "--target", target)
    assert code == (0 if takes(TARGETED[name], target) else 2), err
    if code:
        assert err.count("\n") == 1 and err.startswith(f"{name}: {name} ") and target in err


@pytest.mark.parametrize("name", ["trust", "switch_off", "grad_cam"])
def test_a_class_is_asked_for_where_a_layer_makes_no_sense(command, name):
    code, err = command(name, "--target", "relu3_1:5")
    hint = "give a class, or A-B for two" if name == "trust" else "--layer says where to look"
    assert (code, err) == (2, f"{name}: {name} explains classes, relu3_1:5 is a layer: {hint}\n")


def test_channels_switched_off_together_explain_classes(command):
    code, err = command("switch_off", "--target", "relu3_1:5", "--channels", "1")
    assert (code, err.count("\n")) == (2, 1) and "switch_off explains classes" in err


# ---- networks that give no scores of classes -------------------------------------------------------------------------


def dense(folder, wired):
    """The path of a network of dense maps (N,4,16,16), its last layer "out" of a chain or within a graph."""
    rng = np.random.default_rng(0)
    stem, out = nn.Conv2d(3, 8, 3, padding=1, rng=rng), nn.Conv2d(8, 4, 1, rng=rng)
    layers = {"stem": stem, "act": nn.ReLU(), "out": out}
    layers = {"network": nn.Sequential(layers)} if wired else layers
    path = folder / f"dense{wired:d}.h5"
    models.save_weights(models.Model({"preprocess": models.Preprocess(), **layers}, "dense", (16, 16)), path)
    return path


@pytest.fixture(params=[False, True], ids=["chain", "graph"])
def of_maps(request, folder, photographs, capsys):
    """Run a command on the network of maps: (its last layer, its layer "out", what runs: (exit code, stderr))."""
    weights = dense(folder, request.param)

    def run(name, *argv):
        words = [str(photographs[1]), *argv, "--model", str(weights), "--out", str(folder / "out")]
        code = main(name, OPTIONS[name], find(name).run, words)
        return code, capsys.readouterr().err

    return ("network", "network.out", run) if request.param else ("out", "out", run)


@pytest.mark.parametrize("name", ["saliency", "lrp", "occlusion"])
def test_what_can_be_typed_is_said_of_a_network_of_maps_and_works(of_maps, name):
    last, _, run = of_maps
    code, err = run(name)
    assert code == 2 and err.count("\n") == 1 and "lambda" not in err
    assert err.endswith(f"(N, classes): give --target LAYER:CHANNEL, such as --target {last}:0\n")
    assert run(name, *err.split("such as ")[1].split()) == (0, "")


@pytest.mark.parametrize("name", ["classify", "grad_cam", "trust", "attack", "compare", "localize"])
def test_commands_of_classes_say_that_they_need_them(of_maps, name):
    code, err = of_maps[2](name)
    assert (code, err.count("\n")) == (2, 1)
    assert err.endswith(f", not the scores of classes (N, classes), which {name} needs\n")


def test_a_channel_of_a_layer_that_is_not_there(of_maps):
    """Whatever is said to be meant can be typed."""
    _, out, run = of_maps
    code, err = run("saliency", "--layer", "out", "--unit", "1")
    if out == "out":
        assert code == 0 and err.endswith("one option now: taken for --target out:1\n")
    else:
        assert code == 2 and err.endswith("there is no class or layer 'out:1', did you mean network.out:1?\n")
    assert run("saliency", "--target", f"{out}:1") == (0, "")
    said = "saliency: there is no layer 'nosuch': --target is LAYER:CHANNEL, or a class\n"
    assert run("saliency", "--target", "nosuch:1") == (2, said)
