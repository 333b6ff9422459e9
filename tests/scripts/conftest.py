"""Scripts are run in this process, as `python scripts/x.py` would; train and others find each other in scripts/."""

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import models
from viz.commands import gallery
from viz.commands.command import find, main
from viz.commands.gallery import attributions
from viz.commands.techniques import COMMANDS

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """The path of a weights file: MiniVGG as it is before training."""
    path = tmp_path_factory.mktemp("weights") / "random.h5"
    models.save_weights(models.build("minivgg", seed=0), path)
    return path


@pytest.fixture(scope="session")
def photograph(tmp_path_factory):
    """The path of a picture, wider than tall, with a space and a dollar sign in its name."""
    path = tmp_path_factory.mktemp("pictures") / "my $cat.png"
    models.save_image(np.random.default_rng(0).random((3, 90, 140)), path)
    return path


@pytest.fixture
def script(weights, tmp_path, capsys):
    """Run a script into tmp_path/out: `script("saliency", "--target", "cat")` gives (exit code, stdout, stderr)."""

    def run(name, *argv):
        module = find(name) if name in COMMANDS else importlib.import_module(name)
        chosen = (
            [] if "--model" in argv or "--model" not in module.options._option_string_actions else ["--model", weights]
        )
        out = [] if "--out" in argv else ["--out", tmp_path / "out"]
        capsys.readouterr()
        code = main(name, module.options, module.run, [str(a) for a in (*argv, *chosen, *out)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    """The path of a weights file: MiniVGG as it is before training, for 32 pixels."""
    model = models.build("minivgg", seed=0)
    model.input_size = (32, 32)
    path = tmp_path_factory.mktemp("weights") / "small.h5"
    models.save_weights(model, path)
    return path


# ---- the gallery: one page for all of its tests ----------------------------------------------------------------------


@pytest.fixture(scope="session")
def gallery_photographs(tmp_path_factory):
    """A folder of three pictures, the first with a name that would be an element of a page."""
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for name in ("<img src=x onerror=alert(1)> & 'co'.png", "b.png", "c.png"):
        models.save_image(rng.random((3, 6, 8)).repeat(90, 1).repeat(90, 2), folder / name)
    return folder


@pytest.fixture(scope="session")
def gallery_budget():
    """Little work for each section."""
    steps = dict(class_steps=4, channel_steps=2, attack_steps=3, style_steps=2, style_side=32, frames=3)
    return dataclasses.replace(gallery.BUDGET, class_images=3, channel_layers=1, maps=4, patch_channels=1, **steps)


@pytest.fixture(scope="session")
def gallery_written(small_weights, gallery_photographs, gallery_budget, tmp_path_factory):
    """The path of a page of the three photographs."""
    out = tmp_path_factory.mktemp("out")
    argv = [gallery_photographs, "--model", small_weights, "--out", out]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "BUDGET", gallery_budget)
        patch.setattr(attributions, "CHECKED", ("saliency", "grad_cam"))
        assert main("gallery", gallery.options, gallery.run, [str(a) for a in argv]) == 0
    (path,) = out.glob("*.html")
    return path
