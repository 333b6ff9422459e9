"""State dicts in HDF5, and files that are replaced whole or not at all."""

import h5py
import numpy as np
import pytest

from minigrad.serialization import load, replacing, save


def test_a_state_dict_comes_back_to_the_bit(tmp_path):
    rng = np.random.default_rng(0)
    state = {
        "conv1.weight": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "fire2.squeeze.bias": rng.standard_normal(5),
        "half": rng.standard_normal(3).astype(np.float16),
        "steps": np.array(7),
    }
    save(tmp_path / "state.h5", state)
    found = load(tmp_path / "state.h5")
    assert found.keys() == state.keys()
    for name, array in state.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    with h5py.File(tmp_path / "state.h5") as file:
        assert file["fire2/squeeze/bias"].shape == (5,)


def test_links_and_texts_are_refused(tmp_path):
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["weight"] = h5py.ExternalLink("other.h5", "secret")
    with pytest.raises(ValueError, match="weight is a link"):
        load(tmp_path / "link.h5")
    with h5py.File(tmp_path / "text.h5", "w") as file:
        file["layer/weight"] = "words"
    with pytest.raises(ValueError, match="layer.weight holds"):
        load(tmp_path / "text.h5")


def test_the_old_file_survives_an_error_and_nothing_stays_behind(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"), replacing(tmp_path):
        pass
    with pytest.raises(FileNotFoundError, match="does not exist"), replacing(tmp_path / "no" / "file"):
        pass
