"""Every command that takes --target, with classes, contrasts, layers and neurons: a result or one sentence."""

import pytest

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
        words += [*argv, "--model", str(weights), "--out", str(folder / "out")]
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
