"""`models.load("module:function")`: the network that a function of a user's own returns, or a sentence."""

import sys

import numpy as np
import pytest

import models
from models import description
from models.own import is_own

CODE = """
import numpy as np

import models
from minigrad import nn


@models.register
class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def network():
    rng = np.random.default_rng(0)
    head = {"conv": nn.Conv2d(3, 2, 4, rng=rng), "flatten": nn.Flatten()}
    return models.Model({"preprocess": models.Preprocess(), "own": Doubled(), **head}, "own", (4, 4), ("cat", "dog"))


def saved():
    return models.load("own.h5")


def training():
    return network().train()


def nothing():
    return network()["conv"]


def wrong():
    return {}["conv"]


def needing(path):
    return path


def quits():
    raise SystemExit


NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with own_network.py, broken.py and half.py in it; sys.path is another's."""
    (tmp_path / "own_network.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("import models\nmodels.no_such_name\n")
    (tmp_path / "half.py").write_text("def network(:\n")
    (tmp_path / "needs.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    yield tmp_path
    for name in ("own_network", "broken", "half", "needs"):
        sys.modules.pop(name, None)
    description.KINDS.pop("Doubled", None)


def test_a_network_that_a_function_builds(folder):
    model = models.load("own_network:network")
    assert model.labels == ("cat", "dog") and not models.load("own_network:training").training
    assert model.provenance["source"] == model.provenance["made_by"] == "own_network:network"
    again = models.load("own_network:network")
    assert again.provenance == model.provenance
    again["conv"].bias.data = again["conv"].bias.data + 1
    sys.modules["own_network"].network = lambda: again
    assert models.load("own_network:network").provenance["weights_sha256"] != model.provenance["weights_sha256"]


def test_a_file_with_a_class_of_ones_own_needs_no_more_than_the_function(folder):
    made = models.load("own_network:network")
    models.save_weights(made, "own.h5")
    del description.KINDS["Doubled"], sys.modules["own_network"]
    with pytest.raises(models.WeightsError, match="unknown kind 'Doubled'.*; at a command line, --model MODULE:FUNC"):
        models.load("own.h5")
    loaded = models.load("own_network:saved")
    x = np.random.default_rng(0).random((1, 3, 4, 4), np.float32)
    np.testing.assert_array_equal(loaded(x).numpy(), made(x).numpy())
    assert loaded.provenance["weights_sha256"] == made.provenance["weights_sha256"]


@pytest.mark.parametrize(
    "name, said",
    [
        ("no_such:network", "there is no module 'no_such' in "),
        ("no.such:network", "there is no module 'no' in "),
        ("own_network:none", "the module own_network has no function 'none': give MODULE:FUNCTION"),
        ("own_network:NUMBER", "the module own_network has no function 'NUMBER'"),
        ("own_network:nothing", "own_network:nothing returned a Conv2d: give MODULE:FUNCTION"),
        ("own_network:wrong", r"own_network:wrong: KeyError: 'conv' \(.*own_network.py, line 33\)"),
        ("own_network:needing", "own_network:needing: TypeError: needing.. missing 1 required positional argument"),
        ("own_network:quits", "own_network:quits: SystemExit"),
        ("own_network:saved", "there is no weights file own.h5"),
        ("broken:network", r"broken:network: AttributeError: .*no_such_name.*broken.py, line 2\)"),
        ("half:network", r"half:network: SyntaxError: .*half.py, line 1\)"),
        ("needs:network", r"needs:network: ModuleNotFoundError: No module named 'no_such_package' .*needs.py, line 1"),
    ],
)
def test_what_fails_is_one_sentence(name, said, folder):
    with pytest.raises(models.WeightsError, match=said) as caught:
        models.load(name)
    assert "\n" not in str(caught.value)


def test_what_is_told_of_files_is_refused(folder):
    with pytest.raises(ValueError, match="own_network:network says its preprocessing, labels itself: leave that out"):
        models.load("own_network:network", preprocessing="imagenet", labels="imagenet")


def test_a_file_of_such_a_name_is_a_file(folder):
    assert is_own("a.b:c") and not is_own("net.h5") and not is_own("C:\\net.h5") and not is_own("./a:b")
    (folder / "a:b").write_bytes(b"")
    assert not is_own("a:b")
