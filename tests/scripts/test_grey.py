"""Networks that see something other than RGB, through every command: a result, or one sentence."""

import numpy as np
import pytest

import models
from tests.scripts import tiny
from viz.commands.command import find, main
from viz.commands.pictures import in_channels
from viz.commands.techniques import COMMANDS

NAMES = sorted({name for name, *_ in COMMANDS.values()} - {"gallery", "explore"})
NO_MODEL = {name for name in NAMES if "--model" not in find(name).options._option_string_actions}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bands")


@pytest.fixture(scope="module")
def run(folder):
    """run(name, channels, *words): (exit code, stdout, stderr), on photographs in grey, or in colour."""
    weights = {channels: tiny.write(folder, channels) for channels in (1, 4)}
    photographs = {1: tiny.photographs(folder / "grey", 1), 4: tiny.photographs(folder / "colour", 3)}

    def run(capsys, name, channels, *words):
        options = find(name).options
        model = ["--model", str(weights[channels])] if name not in NO_MODEL else []
        argv = [*tiny.arguments(name, *photographs[channels]), *model, "--out", str(folder / f"out{channels}"), *words]
        capsys.readouterr()
        return main(name, options, find(name).run, argv), *capsys.readouterr()

    return run


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_a_grey_network(name, run, capsys):
    code, out, err = run(capsys, name, 1)
    if name == "patch_index":
        assert (code, out) == (2, "") and "is for networks that see RGB" in err and err.count("\n") == 1
        return
    assert code == 0 and " -> " in out and "Traceback" not in err


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NO_MODEL])
def test_a_network_of_four_bands(name, run, capsys):
    code, out, err = run(capsys, name, 4)
    if name == "weights":  # shows them as it does a deeper layer's
        assert code == 0 and " -> " in out
    else:
        assert (code, out) == (2, "") and err.startswith(f"{name}: ") and err.count("\n") == 1
        assert "takes images of 4 channels, and a picture has three" in err or "images of 4 channels cannot be" in err


@pytest.mark.parametrize(
    "name, words, said",
    [
        ("style_transfer", ["--original-colours"], "original_colors is for networks that see RGB"),
        ("maximize", ["--preset", "fourier"], "the fourier parameterization is for networks that see RGB"),
    ],
)
def test_what_has_a_meaning_in_colour_only(name, words, said, run, capsys):
    code, out, err = run(capsys, name, 1, *words)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1


def test_grey_of_colours_is_their_luminance():
    picture = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    found = in_channels(tiny.network(1), picture)
    np.testing.assert_allclose(found[:, 0], picture.transpose(0, 2, 3, 1) @ [0.299, 0.587, 0.114], rtol=1e-5)
    grey = picture[:, :1].repeat(3, 1)
    np.testing.assert_array_equal(in_channels(tiny.network(1), grey), picture[:, :1])
    np.testing.assert_array_equal(in_channels(tiny.network(3), picture), picture)


def test_preprocessing_of_other_channels():
    for bad in ({"mean": (0.5,), "std": (0.5, 0.5)}, {"mean": (), "std": ()}):
        with pytest.raises(ValueError, match="as many numbers as images have channels"):
            models.Preprocess(**bad)
    with pytest.raises(ValueError, match="'BGR' is for three channels, mean has 1"):
        models.Preprocess(mean=(0.5,), std=(1,), channel_order="BGR")
