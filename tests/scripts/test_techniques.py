"""`python -m viz`: every technique is listed and runs, and what is said of it is so; each number knows its range."""

import inspect
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

import viz
from models.mistakes import UserError
from viz.__main__ import main, words_for
from viz.commands import techniques
from viz.commands.command import find
from viz.commands.techniques import COMMANDS, FAMILIES, TECHNIQUES, reference

ROOT = Path(__file__).parents[2]
NAMES = sorted({name for name, *_ in COMMANDS.values()})


def test_the_list_names_all_of_them(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    for technique in TECHNIQUES.values():
        (line,) = re.findall(rf"^  {technique.name} +(.*)$", listed, re.MULTILINE)
        assert line.startswith(technique.what) and (technique.command or "in Python only") in f"{technique.name} {line}"
    assert max(map(len, listed.splitlines())) <= 120
    assert main([]) == 0 and capsys.readouterr().out == listed


@pytest.mark.parametrize("technique", TECHNIQUES.values(), ids=lambda technique: technique.name)
def test_what_is_said_of_it_is_so(technique):
    if technique.page:
        assert technique.name == "ground_truth" or callable(getattr(viz, technique.name))
        assert (ROOT / "docs" / "techniques" / technique.page).is_file()
    if technique.command:
        name, *options = technique.command.split()
        known = find(name).options._option_string_actions
        assert all(word in known for word in options if word.startswith("--"))


@pytest.mark.parametrize("name", NAMES)
def test_every_option_says_what_it_is_before_its_default(name):
    options = find(name).options
    bare = [
        action.option_strings for action in options._actions if not (action.help or "").strip() or action.help[0] == "("
    ]
    assert not bare
    assert not re.search(r"[\w,{}]{60}", options.format_help()), "a list that --help cannot break"


WITHOUT_A_PAPER = {"activations", "bias", "classify", "compare", "explore", "gallery", "templates", "weights"}


@pytest.mark.parametrize("name", NAMES)
def test_its_description_names_the_paper(name):
    paper = re.search(r"\b(19|20)\d\d\b", find(name).options.description)
    assert bool(paper) != (name in WITHOUT_A_PAPER)


def test_every_script_but_the_tools_starts_a_command():
    tools = {"begin", "adversarial_training", "bench", "convert", "download", "stylized", "train", "verify"}
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == {*NAMES, *tools}


def test_methods_that_explain_or_attack_an_image_are_all_listed():
    methods = {
        name
        for name, function in vars(viz).items()
        if inspect.isfunction(function)
        and list(inspect.signature(function).parameters)[:3] == ["model", "image", "target"]
    }
    assert {"saliency", "lrp", "pgd"} <= methods
    assert methods - set(TECHNIQUES) == {"gradient", "loss_gradient"}  # what saliency and fgsm are made of
    assert sum(map(len, FAMILIES.values())) == len(TECHNIQUES)


def test_one_is_described(capsys):
    with pytest.raises(SystemExit) as end:
        main(["grad-cam", "--help"])
    shown = capsys.readouterr().out
    assert not end.value.code and shown.startswith("usage: python -m viz grad_cam [-h]")
    assert "a_k = mean over positions" in shown and "python -m viz grad_cam photo.jpg --target cat" in shown
    assert "arXiv:1610.02391" in shown and "viz.grad_cam" in shown and "docs/techniques/cam.md" in shown


@pytest.mark.parametrize("name, page", [("trust", "trust"), ("ground_truth", "ground_truth"), ("rise", "perturbation")])
def test_help_names_the_page_of_the_guide_where_there_is_one(name, page, monkeypatch, tmp_path):
    assert reference(name).endswith(f"Guide: docs/techniques/{page}.md")
    monkeypatch.setattr(techniques, "PAGES", tmp_path)  # as installed
    monkeypatch.setattr(find(name).options, "epilog", None)  # of a run before
    assert "docs/" not in reference(name) + find(name).options.format_help()


def test_a_name_is_taken_as_papers_write_it():
    assert words_for("Grad-CAM++") == ["grad_cam_plus_plus"] and words_for("Score-CAM") == ["score_cam"]


def test_one_is_run_by_its_functions_name(weights, photograph, tmp_path, capsys):
    argv = [photograph, "--model", weights, "--out", tmp_path, "--epsilon", "2/255"]
    assert main(["fgsm", *map(str, argv)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("fgsm ")
    record = json.loads((tmp_path / "attack_my_cat_random_fgsm_epsilon-0.007843.json").read_text())
    assert record["command"].startswith("python -m viz attack --method fgsm ")


@pytest.mark.parametrize(
    "name, said",
    [
        ("salience", "there is no technique 'salience': did you mean saliency?"),
        ("cw", "there is no technique 'cw': did you mean attack --method cw?"),
        ("zplus", "there is no technique 'zplus': did you mean lrp --rule zplus?"),
        ("ideal", "there is no technique 'ideal': python -m viz names all"),
        (
            "lrp_zplus",
            "there is no technique 'lrp_zplus': did you mean trust --method lrp_zplus or "
            "localize --method lrp_zplus or bias --method lrp_zplus?",
        ),
        ("transfer", "there is no technique 'transfer': did you mean transfer_table or style_transfer?"),
        ("random", "there is no technique 'random': did you mean localize --method random or bias --method random?"),
        (
            "cam",
            "there is no technique 'cam': did you mean grad_cam or guided_grad_cam or grad_cam_plus_plus or "
            "layer_cam or hires_cam?",
        ),
        ("convert", "convert is about weights: python -m models convert"),
        ("zzz", "there is no technique 'zzz': python -m viz names all"),
        ("sensitivity", "sensitivity has no command: see help(viz.sensitivity) in Python"),
    ],
)
def test_a_name_that_is_no_command(name, said, capsys):
    assert main([name]) == 2
    assert capsys.readouterr().err == f"viz: {said}\n"


def test_as_a_program(weights, photograph, tmp_path):
    def run(*argv):
        command = [sys.executable, "-m", "viz", *map(str, argv)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert "guided_backprop" in run("--list").stdout
    done = run("saliency", photograph, "--model", weights, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.splitlines()[1].startswith("saliency: ")
    done = run("saliency", "nowhere.png")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr == "saliency: there is no file nowhere.png\n"


def test_importing_viz_imports_no_commands():
    code = "import sys, viz; print([name for name in sys.modules if 'commands' in name or 'matplotlib' in name])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# ---- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_numbers_beyond_their_range_are_refused_and_defaults_are_not(name):
    options = find(name).options
    required = [word for action in options._actions if action.required for word in (*action.option_strings[:1], "1")]
    assert options.parse_args(required)
    for flag, within in options.ranges.values():
        action = options._option_string_actions[flag]
        assert str(within) in action.help
        count = action.nargs if isinstance(action.nargs, int) else 1
        beyond = [max(within.low - 1, within.above), within.high + 1]
        for number in (action.type(f"{number:.15g}") for number in beyond if math.isfinite(number)):
            with pytest.raises(UserError, match=rf"^{flag} must be {re.escape(str(within))}, got {number}$"):
                options.parse_args([*required, flag, *[f"{number}"] * count])


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_range(name):
    options = find(name).options
    numbers = {action.dest for action in options._actions if action.type in (int, float)} - {"seed"}
    assert numbers <= set(options.ranges) | {
        action.dest for action in options._actions if action.help == "==SUPPRESS=="
    }


# ---- one meaning for an option ---------------------------------------------------------------------------------------

MEANINGS = {
    "--count": "how many photographs",
    "--layer": "where to look",
    "--target": "a class by name or index",
    "--channels": "which",
}


@pytest.mark.parametrize("flag, meaning", MEANINGS.items())
def test_an_option_means_one_thing_in_every_command(flag, meaning):
    having = {name: find(name).options._option_string_actions.get(flag) for name in NAMES}
    shown = {name: action.help for name, action in having.items() if action and action.help != "==SUPPRESS=="}
    assert shown and all(text.startswith(meaning) for text in shown.values()), shown


def test_help_says_what_stands_in_for_target():
    for name in NAMES:
        action = find(name).options._option_string_actions.get("--target")
        assert action is None or "(default: " in action.help
