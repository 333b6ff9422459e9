"""Scripts are run in this process, as `python scripts/x.py` would: their own folder is where they find each other."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import models

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
        module = importlib.import_module(name)
        chosen = [] if "--model" in argv else ["--model", weights]
        out = [] if "--out" in argv else ["--out", tmp_path / "out"]
        capsys.readouterr()
        code = module.main(module.options, module.run, [str(a) for a in (*argv, *chosen, *out)])
        return code, *capsys.readouterr()

    return run
