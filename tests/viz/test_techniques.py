"""`python -m viz`: every technique is listed, and what is said of it is so."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from viz.techniques import FAMILIES, TECHNIQUES

import viz
from viz.__main__ import main

pytestmark = pytest.mark.host("a list of names")

ROOT = Path(__file__).parents[2]


def test_the_list_names_all_of_them(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    for technique in TECHNIQUES.values():
        assert f"  {technique.name} " in listed and technique.what in listed
        assert (technique.command or "") in listed and (technique.paper or "") in listed
    assert max(map(len, listed.splitlines())) <= 130
    assert main([]) == 0 and capsys.readouterr().out == listed


@pytest.mark.parametrize("technique", TECHNIQUES.values(), ids=lambda technique: technique.name)
def test_what_is_said_of_it_is_so(technique, monkeypatch):
    function = getattr(viz, technique.name)
    assert (ROOT / "docs" / "techniques" / technique.page).is_file()
    source = inspect.getsource(sys.modules[function.__module__])
    if technique.script:
        program, *options = technique.script.split()
        monkeypatch.syspath_prepend(ROOT / "scripts")
        script = importlib.import_module(program)
        known = script.options._option_string_actions
        assert all(word in known for word in options if word.startswith("--"))
        source += inspect.getsource(script)
    for number in re.findall(r"arXiv:[\d.]+", technique.paper or ""):
        assert number in source + "".join(inspect.getsource(m) for n, m in sys.modules.items() if n.startswith("viz."))
    for year in re.findall(r" (?:19|20)\d\d\b", technique.paper or ""):
        assert year.strip() in source


def test_methods_that_explain_or_attack_an_image_are_all_listed():
    methods = {
        name
        for name, function in vars(viz).items()
        if inspect.isfunction(function)
        and list(inspect.signature(function).parameters)[:3] == ["model", "image", "target"]
    }
    assert {"saliency", "lrp", "pgd"} <= methods
    assert methods - set(TECHNIQUES) == {"gradient", "loss_gradient"}  # what saliency and fgsm are made of
    assert sum(len(rows) for _, _, rows in FAMILIES) == len(TECHNIQUES)


def test_one_of_them(capsys):
    assert main(["grad-cam"]) == 0
    shown = capsys.readouterr().out
    assert "viz.grad_cam(model, image, target=None" in shown and "a_k = mean over positions" in shown
    assert "python scripts/grad_cam.py" in shown and "arXiv:1610.02391" in shown and "docs/techniques/cam.md" in shown


def test_a_mistyped_name(capsys):
    assert main(["salience"]) == 2
    assert capsys.readouterr().err == "viz: there is no technique 'salience': did you mean saliency?\n"


def test_as_a_program():
    found = subprocess.run(
        [sys.executable, "-m", "viz", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "guided_backprop" in found.stdout and not found.stderr
