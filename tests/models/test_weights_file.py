"""The weights file: what is written comes back, large files are mapped, and every kind of damage is one sentence."""

import errno
import itertools
import json
import multiprocessing
import os
import signal

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import models
import viz
from minigrad import nn
from models import WeightsError, catalogue, description, weights_file
from models.architectures.vgg import minivgg_layers
from models.labels import minivgg_labels
from models.layers import Preprocess
from models.model import Model
from models.weights_file import read, save

LABELS = minivgg_labels()


def small(seed=0, labels=LABELS):
    layers = minivgg_layers(((4,), (5, 6)), 8, 12, np.random.default_rng(seed))
    preprocess = Preprocess(scale=255, mean=(1, 2, 3), std=(4, 5, 6), channel_order="BGR")
    layers["fire"] = nn.Sequential({"split": nn.Parallel({"a": nn.Linear(12, 2), "b": nn.Linear(12, 10)})})
    source = {"source": "a file", "source_sha256": "ab" * 32}
    return Model({"preprocess": preprocess, **layers}, "tiny", (20, 24), labels, source)


@pytest.fixture
def path(tmp_path):
    save(small(), tmp_path / "w.h5")
    return tmp_path / "w.h5"


def same_weights(one, other):
    return all(np.array_equal(array, other.state_dict()[name]) for name, array in one.state_dict().items())


def test_everything_comes_back(path):
    model, loaded = small(), read(path)
    assert same_weights(model, loaded) and model.state_dict().keys() == loaded.state_dict().keys()
    assert loaded.name == "tiny" and loaded.input_size == (20, 24) and loaded.training is False
    assert loaded.labels == model.labels and loaded.labels[2].names == model.labels[2].names
    assert loaded["preprocess"].describe() == model["preprocess"].describe()
    assert loaded.provenance["source"] == "a file" and loaded.provenance["source_sha256"] == "ab" * 32
    assert len(loaded.provenance["weights_sha256"]) == 64 and loaded.provenance["file"] == str(path)
    assert repr(model) == repr(loaded)


def test_a_file_describes_itself(path):
    """What another program needs to rebuild the network is there under plain names."""
    with h5py.File(path) as file:
        assert (
            file.attrs["format"] == b"minigrad weights"
            and file.attrs["format_version"] == 2
            and file.attrs["short_side"] == 0
        )
        layers = json.loads(file["architecture"][()])
        assert layers[0] == {
            "name": "conv1_1", "kind": "Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": [3, 3],
            "stride": 1, "padding": 1, "dilation": 1, "groups": 1, "bias": True,
        }  # fmt: skip
        assert json.loads(file["preprocessing"][()])["channel_order"] == "BGR"
        assert file["labels"][()].decode().splitlines()[3] == "n02391049 zebra"
        weight = file["layers/conv2_1/weight"]
        assert weight.shape == (5, 4, 3, 3) and weight.chunks is None and weight.id.get_offset() % 64 == 0
        assert "fire.split.a" in file["layers"]


def test_saving_again_gives_the_same_bytes(path, tmp_path):
    save(read(path), tmp_path / "again.h5")
    assert read(tmp_path / "again.h5").provenance["weights_sha256"] == read(path).provenance["weights_sha256"]
    assert (tmp_path / "again.h5").stat().st_size == path.stat().st_size
    save(read(path), path)  # onto itself
    assert same_weights(read(path), small())


def graphs():
    """Every container, one in another."""
    rng = np.random.default_rng(0)
    gate = {"gap": nn.AdaptiveAvgPool2d(1), "fc": nn.Conv2d(4, 4, 1, rng=rng), "sigmoid": nn.Call("sigmoid")}
    nodes = {
        "conv": nn.Conv2d(4, 4, 3, padding=1, bias=False, rng=rng),
        "bn": nn.BatchNorm2d(4),
        "gated": nn.Product({"maps": nn.Sequential({}), "gate": nn.Sequential(gate)}),
        "sum": nn.Sum({"a": nn.Conv2d(4, 4, 1, rng=rng), "b": nn.Sequential({})}),
        "pair": (nn.Graph({"r": nn.ReLU(), "s": (nn.ReLU(), "input")}, ["r", "s"]), "sum"),
        "cat": (nn.Call("cat", dim=1), [("pair", 1), "input", ("pair", 0)]),
        "mean": nn.Call("mean", axis=(2, 3)),
    }
    layers = {"preprocess": Preprocess(), "stem": nn.Conv2d(3, 4, 3, rng=rng), "block": nn.Graph(nodes)}
    layers["fc"] = nn.Linear(12, 3, rng=rng)
    return Model(layers, "own", (10, 8), ("a", "b", "c"), short_side=12)


def test_graphs_and_the_crop_come_back(tmp_path):
    model, x = graphs(), mg.Tensor(np.random.default_rng(1).random((2, 3, 10, 8), dtype=np.float32))
    save(model, tmp_path / "w.h5")
    loaded = read(tmp_path / "w.h5")
    assert loaded.short_side == 12 and loaded.names() == model.names() and same_weights(model, loaded)
    np.testing.assert_array_equal(loaded(x).numpy(), model(x).numpy())
    assert loaded["block"].nodes["cat"][1] == [("pair", 1), "input", ("pair", 0)]
    assert loaded["block.pair"].outputs == ["r", "s"]


@pytest.mark.parametrize("name, size, short_side", [("vgg16", 224, 256), ("vgg16", 200, None), ("own", 224, None)])
def test_files_of_version_1_take_the_crop_of_their_name(tmp_path, name, size, short_side):
    save(Model({"preprocess": Preprocess(), "fc": nn.Linear(3, 2)}, name, (size, size)), tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        file.attrs["format_version"] = 1
        del file.attrs["short_side"]
    assert read(tmp_path / "w.h5").short_side == short_side


def test_a_crop_larger_than_the_photograph_is_refused():
    with pytest.raises(ValueError, match="short_side 9 is less than the input size"):
        Model({"preprocess": Preprocess()}, "own", (10, 8), short_side=9)


@pytest.fixture
def registered():
    """A layer of one's own with a parameter, registered for the time of a test."""

    @models.register
    class Scale(nn.Module):
        def __init__(self, channels, power=1):
            self.channels, self.power = channels, power
            self.gamma = mg.Tensor(np.full((channels, 1, 1), 2, np.float32), requires_grad=True)

        def forward(self, x):
            return x * self.gamma**self.power

        def describe(self):
            return {"channels": self.channels, "power": self.power}

    yield Scale
    del description.KINDS["Scale"]


def test_a_layer_of_ones_own_is_kept_once_registered(tmp_path, registered):
    model = Model({"preprocess": Preprocess(), "block": nn.Sequential({"scale": registered(3, 2)})}, "own", (4, 4))
    model["block.scale"].gamma.data = np.arange(3, dtype=np.float32).reshape(3, 1, 1)
    save(model, tmp_path / "w.h5")
    loaded = read(tmp_path / "w.h5")
    assert type(loaded["block.scale"]) is registered and same_weights(model, loaded)
    x = mg.Tensor(np.ones((1, 3, 4, 4), np.float32))
    np.testing.assert_array_equal(loaded(x).numpy(), model(x).numpy())
    kept = description.KINDS.pop("Scale")
    with pytest.raises(
        WeightsError, match="'scale' is of unknown kind 'Scale': if the class is your own, call models.r"
    ):
        read(tmp_path / "w.h5")
    with pytest.raises(ValueError, match="'scale' is a Scale, which no weights file can describe"):
        save(model, tmp_path / "again.h5")
    description.KINDS["Scale"] = kept


def test_what_cannot_be_registered(registered, tmp_path):
    for one in (nn.ReLU(), dict, "Scale"):
        with pytest.raises(TypeError, match="is no class of layers"):
            models.register(one)
    for name in ("ReLU", "Graph", "Preprocess"):
        with pytest.raises(ValueError, match=f"another class called {name}"):
            models.register(type(name, (nn.Module,), {}))
    assert models.register(registered) is registered

    class Odd(nn.ReLU):
        def describe(self):
            return {"inputs": 3}

    description.KINDS["Odd"] = Odd
    try:
        with pytest.raises(ValueError, match="argument 'inputs', which the file needs itself"):
            save(Model({"preprocess": Preprocess(), "odd": Odd()}, "own", (1, 1)), tmp_path / "w.h5")
    finally:
        del description.KINDS["Odd"]


class Added(nn.Parallel):
    def forward(self, x):
        return sum((branch(x) for branch in self._layers.values()), start=x)


class Twice(nn.Sequential):
    def forward(self, x):
        return super().forward(super().forward(x))


class Built(nn.Sequential):
    """A chain that makes its layers itself."""

    def __init__(self, channels):
        super().__init__({"conv": nn.Conv2d(channels, channels, 1, rng=np.random.default_rng(3))})
        self.channels = channels

    def describe(self):
        return {"channels": self.channels}


class Undescribed(nn.Module):
    def __init__(self, power=1):
        self.power = power

    def forward(self, x):
        return x**self.power


class Wrapped(nn.Module):
    def __init__(self, inner):
        self.inner = inner

    def describe(self):
        return {"inner": self.inner}


class Needing(nn.Module):
    def __init__(self, channels):
        self.weight = mg.Tensor(np.ones((channels, 1, 1), np.float32), requires_grad=True)


class NoLayers(nn.Sequential):
    def __init__(self, channels):
        super().__init__({"conv": nn.Conv2d(channels, channels, 1)})


@pytest.fixture
def all_registered(monkeypatch):
    for kind in (Added, Twice, Built, Undescribed, Wrapped, Needing, NoLayers):
        monkeypatch.setitem(description.KINDS, kind.__name__, kind)


def test_own_chains_and_branches_are_kept_with_their_layers(tmp_path, all_registered):
    rng = np.random.default_rng(0)
    inner = Twice({"conv": nn.Conv2d(3, 3, 1, rng=rng), "relu": nn.ReLU(), "built": Built(3)})
    layers = {"preprocess": Preprocess(), "added": Added({"twice": inner, "same": nn.Identity()})}
    model = Model(layers | {"plain": Undescribed()}, "own", (4, 4))
    save(model, tmp_path / "w.h5")
    loaded = read(tmp_path / "w.h5")
    assert type(loaded["added"]) is Added and type(loaded["added.twice"]) is Twice and same_weights(model, loaded)
    assert type(loaded["added.twice.built"]) is Built
    x = mg.Tensor(rng.random((1, 3, 4, 4), np.float32))
    np.testing.assert_array_equal(loaded(x).numpy(), model(x).numpy())


@pytest.mark.parametrize(
    "layer, wrong",
    [
        (Undescribed(2), "built again its power would differ"),
        (Wrapped(nn.ReLU()), "not JSON serializable"),
        (Needing(3), "missing 1 required positional argument: 'channels'"),
        (NoLayers(3), "cannot be built"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_could_not_be_built_again_is_refused_when_it_is_saved(tmp_path, all_registered, layer, wrong):
    model = Model({"preprocess": Preprocess(), "block": nn.Sequential({"own": layer})}, "own", (4, 4))
    kind = type(layer).__name__
    with pytest.raises(ValueError, match=f"layer 'own', a {kind}, could not be read .*{wrong}.*let {kind}.describe"):
        save(model, tmp_path / "w.h5")
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_no_model_is_told_how_to_become_one(tmp_path):
    class Other(Model):
        def forward(self, x):
            return -super().forward(x)

    chain = {"preprocess": Preprocess(), "conv": nn.Conv2d(3, 3, 1)}
    for network in (nn.Sequential(chain), Needing(3), Other(chain, "own", (4, 4))):
        with pytest.raises(TypeError, match='put it into models.Model.{"preprocess": models.Preprocess'):
            save(network, tmp_path / "w.h5")


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"short_side": "a"}, "short_side is 'a': give a whole number of pixels, or None"),
        ({"short_side": 56.5}, "short_side is 56.5: give a whole number"),
        ({"short_side": True}, "short_side is True: give a whole number"),
        ({"labels": "abc"}, "labels is the text 'abc': give a tuple of names, one for each class"),
    ],
)
def test_what_a_model_says_of_itself_is_checked(wrong, said):
    with pytest.raises(TypeError, match=f"Model: {said}"):
        Model({"preprocess": Preprocess()}, "own", (4, 4), **wrong)


# ---- labels: a name for each score -----------------------------------------------------------------------------------


def with_head(head):
    """A chain of 3 to 12 channels that ends in {name: layer}."""
    return {"preprocess": Preprocess(), "conv": nn.Conv2d(3, 12, 3), "relu": nn.ReLU(), **head}


POOLED = {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
IN_A_GRAPH = {"pool": nn.AdaptiveMaxPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(12, 12), "half": nn.Call("relu")}
HEADS = {
    "linear": POOLED | {"fc": nn.Linear(12, 12), "softmax": nn.Softmax()},
    "convolution": POOLED,
    "maps": {},
    "nested": {"head": nn.Sequential({**POOLED, "drop": nn.Dropout(0.5), "fc": nn.Linear(12, 12)})},
    "graph": {"head": nn.Graph({name: node for name, node in IN_A_GRAPH.items() if name != "half"})},
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_as_many_labels_as_scores_or_a_sentence(head):
    ten, twelve = [tuple(f"class {n}" for n in range(count)) for count in (10, 12)]
    said = "Model: 10 labels for 12 classes: give a name for each of them, or None"
    model = Model(with_head(head), "own", (8, 8), twelve)
    with pytest.raises(ValueError, match=said):
        Model(with_head(head), "own", (8, 8), ten)
    with pytest.raises(ValueError, match=said):
        model.labels = ten
    assert model.labels == twelve and Model(with_head(head), "own", (8, 8)).labels is None


def test_where_the_layers_do_not_say_it_the_scores_do():
    flat = {"flatten": nn.Flatten()}  # 12 * 6 * 6 scores
    for head in (flat, {"head": nn.Graph(IN_A_GRAPH)}, {"sum": nn.Sum({"a": nn.Identity()}), **flat}):
        model = Model(with_head(head), "own", (8, 8), ("cat", "dog")).eval()
        with pytest.raises(ValueError, match="the model: 2 labels for (432|12) classes: give a name for each"):
            viz.saliency(model, np.zeros((1, 3, 8, 8), np.float32))


def test_a_file_with_other_labels_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("models.model.check_labels", lambda *_: None)  # as earlier versions
    save(Model(with_head(HEADS["linear"]), "own", (8, 8), [f"class {n}" for n in range(10)]), tmp_path / "w.h5")
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="description does not hold: Model: 10 labels for 12 classes"):
        read(tmp_path / "w.h5")


def test_half_precision(tmp_path, path):
    model = small()
    save(model, tmp_path / "half.h5", half=True)
    loaded = read(tmp_path / "half.h5")
    for name, array in model.state_dict().items():
        assert loaded.state_dict()[name].dtype == np.float32
        np.testing.assert_allclose(loaded.state_dict()[name], array, rtol=5e-4, atol=1e-7)
    with h5py.File(tmp_path / "half.h5") as file:
        assert file["layers/fc7/weight"].dtype == np.float16


def test_without_labels(tmp_path):
    save(small(labels=None), tmp_path / "w.h5")
    assert read(tmp_path / "w.h5").labels is None


def test_plain_strings_as_labels(tmp_path):
    save(small(labels=["chat, minou", "zèbre"] * 6), tmp_path / "w.h5")
    assert read(tmp_path / "w.h5").labels[1] == "zèbre" and read(tmp_path / "w.h5").labels[0].names[1] == "minou"


def test_large_files_are_mapped(path, monkeypatch):
    monkeypatch.setattr(weights_file, "MAP_ABOVE", 100)
    loaded = read(path)
    assert same_weights(small(), loaded)
    weight = loaded["conv2_1"].weight.data
    assert type(weight) is np.ndarray and not weight.flags.owndata

    content = path.read_bytes()
    weight += 1  # training goes on in memory; the file stays as it is
    assert path.read_bytes() == content and same_weights(small(), read(path))


def test_mapping_reads_nothing_until_it_is_used(tmp_path):
    """A model of 100 MB opens without its weights becoming resident."""
    layers = {"preprocess": Preprocess(), "fc": nn.Linear(5_000, 5_000)}
    save(Model(layers, "large", (1, 1)), tmp_path / "w.h5")
    before = resident()
    model = read(tmp_path / "w.h5")
    assert model["fc"].weight.shape == (5_000, 5_000) and resident() - before < 10e6


def resident():
    """Bytes of this process in memory."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        pytest.skip("needs /proc")


def test_chunked_and_double_precision_files_are_read(path):
    with h5py.File(path, "r+") as file:
        values = file["layers/conv2_1/weight"][()]
        del file["layers/conv2_1/weight"]
        file["layers/conv2_1"].create_dataset("weight", data=values, chunks=True, compression="gzip")
    assert same_weights(read(path), small())


# ----------------------------------------------------------------------------------------------------------------------
# Refusals
# ----------------------------------------------------------------------------------------------------------------------


def replaced(name, value):
    def edit(file):
        del file[name]
        file[name] = value

    return edit


def edited_architecture(**changes):
    def edit(file):
        layers = json.loads(file["architecture"][()])
        layers[0].update(changes)
        replaced("architecture", np.bytes_(json.dumps(layers).encode()))(file)

    return edit


def external(file):
    del file["layers/fc6/weight"]
    file["layers/fc6/weight"] = h5py.ExternalLink("/etc/passwd", "/")


def soft(file):
    del file["layers/fc6/weight"]
    file["layers/fc6/weight"] = h5py.SoftLink("/layers/fc7/weight")


def loop(file):
    file["layers/fc6/again"] = file["layers"]


def external_storage(file):
    del file["layers/fc6/bias"]
    file["layers/fc6"].create_dataset("bias", (8,), "f4", external=[("/dev/zero", 0, 32)])


def virtual(file):
    del file["layers/fc6/bias"]
    layout = h5py.VirtualLayout((8,), "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", shape=(8,))
    file["layers/fc6"].create_virtual_dataset("bias", layout)


def absurd(file):
    del file["layers/fc6/weight"]
    file["layers/fc6"].create_dataset("weight", (1 << 30, 1 << 20), "f4", chunks=(1, 1 << 20))


def poisoned(file):
    file["layers/fc6/weight"][0, 0] = np.nan


def nudged(file):
    file["layers/fc6/weight"][0, 0] += 1


REFUSED = [
    (lambda file: file.__delitem__("layers/fc6/bias"), "lacks fc6.bias"),
    (lambda file: file.__delitem__("layers/fc6"), "lacks fc6.weight, fc6.bias"),
    (lambda file: file.__delitem__("layers"), "layers is missing"),
    (lambda file: file.__setitem__("layers/fc9/weight", np.zeros(3, "f4")), "has also fc9.weight"),
    (replaced("layers/fc6/weight", np.zeros((8, 7), "f4")), r"fc6.weight has shape \(8, 7\), its architecture needs"),
    (replaced("layers/fc6/bias", np.zeros(8, "i4")), "fc6.bias has dtype int32"),
    (replaced("layers/fc6/bias", np.array([b"x"] * 8)), "fc6.bias has dtype"),
    (poisoned, "fc6.weight holds NaN or infinite"),
    (nudged, "do not match its checksum"),
    (external, "never followed"),
    (soft, "never followed"),
    (loop, "has also fc6.again"),
    (external_storage, "not a plain data set"),
    (virtual, "not a plain data set"),
    (absurd, "declares shape"),
    (lambda file: file.__delitem__("preprocessing"), "does not say how pictures are preprocessed"),
    (lambda file: file.__delitem__("labels"), "labels is missing"),
    (lambda file: file.__delitem__("architecture"), "architecture is missing"),
    (replaced("architecture", np.bytes_(b"[" * 100_000)), "description does not hold"),
    (replaced("architecture", np.bytes_(b"{'a'")), "description does not hold"),
    (replaced("architecture", np.arange(3)), "/architecture is not a text"),
    (replaced("preprocessing", np.bytes_(b'{"scale": 0}')), "description does not hold"),
    (replaced("preprocessing", np.bytes_(b'{"mean": 3}')), "description does not hold"),
    (replaced("provenance", np.bytes_(b"3")), "description does not hold"),
    (edited_architecture(out_channels=1 << 50), "absurd out_channels"),
    (edited_architecture(out_channels=5), "conv1_1.weight has shape"),
    (edited_architecture(kind="Exec"), "unknown kind"),
    (replaced("preprocessing", np.bytes_(b'{"scale": 1}')), "its description does not match its checksum"),
    (
        lambda file: file.attrs.__setitem__("format_version", 3),
        "format version is 3, this program reads 1 to 2: update",
    ),
    (lambda file: file.attrs.__setitem__("format_version", 0), "format version is 0"),
    (lambda file: file.attrs.__setitem__("short_side", 23), "short side of photographs, 23, is absurd"),
    (lambda file: file.attrs.__setitem__("short_side", -1), "short side of photographs, -1, is absurd"),
    (lambda file: file.attrs.__delitem__("short_side"), "is damaged"),
    (lambda file: file.attrs.__delitem__("format"), "not a minigrad weights file"),
    (lambda file: file.attrs.__setitem__("input_size", (0, 5)), "input size, 0x5, is absurd"),
    (lambda file: file.attrs.__delitem__("input_size"), "is damaged"),
]


@pytest.mark.parametrize("edit, message", REFUSED, ids=[message for _, message in REFUSED])
def test_edited_files_are_refused(path, edit, message):
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(WeightsError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 8, 100, 0.5, 0.99, -1])
def test_truncated_files_are_refused(path, length):
    content = path.read_bytes()
    path.write_bytes(content[: int(length * len(content)) if isinstance(length, float) else length])
    with pytest.raises(WeightsError, match="is empty|is not an HDF5 file, or is cut short|is damaged"):
        read(path)


def test_files_that_are_none(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    for target, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "no.h5", "there is no"),
        (tmp_path / "text.h5", "not an"),
    ):
        with pytest.raises(WeightsError, match=message):
            read(target)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.h5"
    save(small(), path)
    return path.read_bytes()


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory, content, data):
    """Whatever a byte is changed to, the file is refused with a sentence, or what was changed does not matter."""
    path = tmp_path_factory.getbasetemp() / "fuzz.h5"
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        loaded = read(path)
    except WeightsError as error:
        assert "\n" not in str(error)
    else:
        assert same_weights(loaded, small()) and repr(loaded) == repr(small()) and loaded.labels == LABELS


# ----------------------------------------------------------------------------------------------------------------------
# Writing
# ----------------------------------------------------------------------------------------------------------------------


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    model = small()
    model["fc6"].bias.data[0] = np.nan
    with pytest.raises(WeightsError, match="fc6.bias holds values that are NaN"):
        save(model, tmp_path / "w.h5")
    model["fc6"].bias.data[0] = 1e6
    save(model, tmp_path / "single.h5")
    with pytest.raises(WeightsError, match="too large for float16"):
        save(model, tmp_path / "w.h5", half=True)
    assert [file.name for file in tmp_path.iterdir()] == ["single.h5"]


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(small(seed=1), path)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def write_for_ever(path, connection):
    for seed in itertools.count():
        save(small(seed), path)
        if seed == 0:
            connection.send("written once")


def test_killed_while_writing_the_file_is_whole(path):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    for _ in range(2):
        process = context.Process(target=write_for_ever, args=(path, theirs))
        process.start()
        assert ours.recv() == "written once"
        process.join(0.5)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert read(path).name == "tiny"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folders_are_an_oserror(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot be written"):
        save(small(), tmp_path / "w.h5")


# ----------------------------------------------------------------------------------------------------------------------
# Loading by name
# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_load_takes_a_path_or_a_name(path, home):
    x = mg.Tensor(np.random.default_rng(0).random((1, 3, 20, 24), dtype=np.float32))
    for name in (path, str(path)):
        np.testing.assert_array_equal(models.load(name)(x).numpy(), small()(x).numpy())
    save(small(), home / "vgg11.h5")
    assert models.load("vgg11").name == "tiny"


@pytest.mark.parametrize(
    "name, message",
    [
        ("vgg16", "run `python -m models download vgg16`"),
        ("vgg13", r"python -m models convert SOURCE --arch vgg13 --out .*vgg13.h5"),
        ("vgg16_features", "load 'vgg16'"),
        ("resnet50", "run `python -m models download resnet50`"),
        ("resnet51", "there is no model 'resnet51'"),
        ("absent.h5", "there is no weights file absent.h5"),
    ],
)
def test_load_says_how_to_get_weights(home, name, message):
    with pytest.raises(WeightsError, match=message) as caught:
        models.load(name)
    assert "\n" not in str(caught.value)


def test_home(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIGRAD_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert catalogue.home() == tmp_path / "minigrad"
    monkeypatch.setenv("MINIGRAD_HOME", "~/weights")
    assert catalogue.home().name == "weights" and "~" not in str(catalogue.home())


def test_unknown_devices_are_refused(path):
    with pytest.raises(ValueError, match="device"):
        models.load(path, device="tpu")


def test_a_file_that_may_not_be_read(path, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(WeightsError, match=r"cannot be read \(Permission denied\)"):
        read(path)
