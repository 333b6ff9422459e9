"""`python -m models`: what it says of a network, and of what is here."""

import numpy as np
import pytest

import models
from models.__main__ import main
from tests.models import test_keras_archive as keras


def test_without_a_command_it_describes_itself(capsys):
    assert main([]) in (0, None)
    said = capsys.readouterr().out
    assert all(f"\n{name}  " in said for name in ("download", "convert", "info"))


def test_info_of_a_network(capsys):
    assert main(["info", "minivgg"]) == 0
    said = capsys.readouterr().out
    count = sum(parameter.size for parameter in models.load("minivgg").parameters())
    assert said.startswith(f"minivgg, {count:,} parameters") and "looks at 112 x 112 pixels" in said
    assert "12 classes: tench, English springer, cat" in said and "weights_sha256" in said
    assert "conv1_1" in said and "32 x 112 x 112" in said


def test_info_of_what_is_here(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGRAD_HOME", str(tmp_path))
    (tmp_path / "vgg19.h5").touch()
    assert main(["info"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["minivgg"].endswith("minivgg.h5") and lines["vgg19"] == str(tmp_path / "vgg19.h5")
    assert lines["vgg16"] == "no weights here: python -m models download vgg16"


@pytest.mark.parametrize("name, said", [("nomodel", "there is no model 'nomodel'"), ("no.h5", "no weights file no.h5")])
def test_info_of_nothing(name, said, capsys):
    assert main(["info", name]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("info: ") and said in shown.err and shown.err.count("\n") == 1


def test_a_foreign_file_before_conversion_and_with_labels(tmp_path, capsys):
    state = models.build("squeezenet1_1", seed=1, labels=["cat", "dog"]).state_dict()
    np.savez(tmp_path / "w.npz", **state)
    assert main(["info", str(tmp_path / "w.npz")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "w.npz: NumPy npz, 26 layers with weights\nbecomes squeezenet1_1, 26 layers matched by name\n"
    )
    assert "preprocessing caffe-squeezenet, as usual for NumPy npz" in said
    assert said.endswith("python -m models convert w.npz --out w.h5\n")

    (tmp_path / "labels.txt").write_text("a cat\na dog\n")
    options = [str(tmp_path / "w.npz"), "--labels", str(tmp_path / "labels.txt"), "--out", str(tmp_path / "w.h5")]
    assert main(["convert", *options]) == 0
    assert "recognised as squeezenet1_1; 52 arrays matched by name, none left over" in capsys.readouterr().out
    assert models.load(tmp_path / "w.h5").labels == ("a cat", "a dog")
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    assert main(["convert", *options]) == 2 and "no text in UTF-8" in capsys.readouterr().err


def test_where_to_write_is_asked_for_and_never_the_source(tmp_path, capsys):
    np.savez(tmp_path / "w.npz", **models.build("squeezenet1_1", seed=1, labels=["cat", "dog"]).state_dict())
    before = (tmp_path / "w.npz").read_bytes()
    assert main(["convert", str(tmp_path / "w.npz")]) == 2
    assert "--out is missing" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "w.npz"), "--out", str(tmp_path / "x" / ".." / "w.npz")]) == 2
    (tmp_path / "x").mkdir()
    assert main(["convert", str(tmp_path / "w.npz"), "--out", str(tmp_path / "x" / ".." / "w.npz")]) == 2
    assert "is the file to convert: give another name" in capsys.readouterr().err
    assert (tmp_path / "w.npz").read_bytes() == before


def test_info_of_a_keras_archive(tmp_path, capsys):
    layers = [*keras.LAYERS[:6], keras.layer("Lambda", "mine", ["sum"])]
    keras.write(tmp_path / "net.keras", layers)
    assert main(["info", str(tmp_path / "net.keras")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "net.keras: Keras archive, 7 layers, pictures of 8 x 8 pixels"
    assert [line.split(maxsplit=2) for line in said if line.startswith("  Lambda")] == [
        ["Lambda", "1", "has no layer here"]
    ]
    assert said[-1] == "it cannot be converted, for want of Lambda"
    keras.write(tmp_path / "net.keras", [keras.layer("InputLayer", "i", batch_shape=[None, None, 8, 3]), *layers[1:6]])
    assert main(["info", str(tmp_path / "net.keras")]) == 0
    said = capsys.readouterr().out
    assert "pictures of ? x 8 pixels" in said
    assert said.endswith("python -m models convert net.keras --preprocessing NAME --size PIXELS --out net.h5\n")
