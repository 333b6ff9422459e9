"""safetensors as source and as target, timm's folders, and what is wrong with either."""

import json

import numpy as np
import pytest

import models
from models import WeightsError
from models.__main__ import main
from models.convert import convert, read
from models.convert.safetensors_file import read_safetensors, write_safetensors

STATE = {"a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "a.bias": np.float16([1.5, -2])}


def written(header, data=b"", length=None):
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def test_what_the_package_writes_is_read_and_the_other_way_round(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file(STATE, tmp_path / "w.safetensors")
    found = read_safetensors(tmp_path / "w.safetensors")
    assert found.keys() == STATE.keys()
    for name, array in STATE.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    model = models.load("minivgg")
    write_safetensors(model, tmp_path / "ours.safetensors")
    theirs = numpy.load_file(tmp_path / "ours.safetensors")
    assert theirs.keys() == model.state_dict().keys()
    assert all(np.array_equal(array, theirs[name]) for name, array in model.state_dict().items())


def test_there_and_back_by_the_command(tmp_path, capsys):
    model = models.build("squeezenet1_1", seed=1, labels=["cat", "dog"])
    np.savez(tmp_path / "w.npz", **model.state_dict())
    assert main(["convert", str(tmp_path / "w.npz"), "--out", str(tmp_path / "w.safetensors")]) == 0
    assert "squeezenet1_1" in capsys.readouterr().out
    again = convert(tmp_path / "w.safetensors", labels=["cat", "dog"])
    assert again.name == "squeezenet1_1" and again.labels == ("cat", "dog")
    assert all(np.array_equal(array, again.state_dict()[name]) for name, array in model.state_dict().items())


def test_bfloat16(tmp_path):
    values = np.float32([0.5, -3, 1e4])
    data = (values.view("<u4") >> 16).astype("<u2").tobytes()
    header = {"w": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}, "__metadata__": {"format": "pt"}}
    (tmp_path / "w").write_bytes(written(header, data))
    np.testing.assert_allclose(read_safetensors(tmp_path / "w")["w"], values, rtol=2**-8)


@pytest.mark.parametrize(
    "content, message",
    [
        (written({}, length=1 << 20), "cut short or damaged"),
        (written({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"), "does not fit its place"),
        (
            written({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}, b"1234"),
            "does not fit its place",
        ),
        (
            written({"w": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}, b"1234"),
            "does not fit its place",
        ),
        (written({"w": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, b"1234"), "dtype F8_E4M3"),
        (written({"w": [1]}), "damaged, or no safetensors"),
        (written({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234"), "no weights are among"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read(tmp_path / "w.safetensors")


def test_a_folder_of_timms(tmp_path):
    """Mean, deviation, size, crop and names come from its config.json."""
    model = models.build("resnet18", seed=1, labels=["cat", "dog"])
    write_safetensors(model, tmp_path / "model.safetensors")
    config = {"architecture": "resnet18", "num_classes": 2, "label_names": ["cat", "dog"]}
    prepared = {"mean": [0.5] * 3, "std": [0.25] * 3, "input_size": [3, 160, 160], "crop_pct": 0.95}
    (tmp_path / "config.json").write_text(json.dumps(config | {"pretrained_cfg": prepared}))
    found = convert(tmp_path)
    assert found.name == "resnet18" and found.labels == ("cat", "dog")
    assert found.input_size == (160, 160) and found.short_side == 168
    assert found["preprocess"].mean == (0.5, 0.5, 0.5) and found["preprocess"].std == (0.25, 0.25, 0.25)
    np.testing.assert_array_equal(found["layer1.0.conv1"].weight.data, model["layer1.0.conv1"].weight.data)
    for more, short_side in (({"crop_pct": 0.9}, 177), ({"crop_pct": 1.0, "crop_mode": "center"}, 160)):  # 177.8
        (tmp_path / "config.json").write_text(json.dumps(config | {"pretrained_cfg": prepared | more}))
        assert convert(tmp_path).short_side == short_side
    for more in ({"crop_mode": "squash"}, {"crop_mode": "border"}, {"input_size": [3, 256, 160]}):
        (tmp_path / "config.json").write_text(json.dumps(config | {"pretrained_cfg": prepared | more}))
        with pytest.raises(WeightsError, match="the centre of a square is taken: give the weights file alone"):
            convert(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="config.json is not one of timm's .it lacks 'mean'"):
        convert(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(WeightsError, match="is a folder, not a weights file, and holds no config.json"):
        convert(tmp_path)
