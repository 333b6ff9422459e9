"""Reading .pth files: what torch writes is read, what torch would never write is refused, and nothing is ever run."""

import argparse
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
from models import WeightsError
from models.convert import convert, info
from models.convert.torch_file import read_checkpoint, read_state_dict
from tests.models.torch_format import (
    ORDERED_DICT,
    group,
    integer,
    name,
    pickled,
    tensor,
    text,
    write_legacy,
    write_state_dict,
    write_zip,
)  # fmt: skip

SHARED = Path(__file__).parents[3] / "shared" / "data"
STATE = {"a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "a.bias": np.array([1.5, -2], np.float32)}


def refused(path, message):
    with pytest.raises(WeightsError, match=message) as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats(tmp_path, legacy):
    write_state_dict(tmp_path / "w.pth", STATE, legacy)
    found = read_state_dict(tmp_path / "w.pth")
    assert list(found) == list(STATE)
    for key, array in STATE.items():
        np.testing.assert_array_equal(found[key], array)
        assert found[key].dtype == np.float32 and not found[key].flags.writeable


def test_strides_offsets_and_shared_storages(tmp_path):
    data = np.arange(12, dtype="<f4")
    items = {
        "whole": tensor("0", "f4", (3, 4)),
        "transposed": tensor("0", "f4", (4, 3), (1, 4)),
        "part": tensor("0", "f4", (2, 2), (4, 1), 5),
        "scalar": tensor("0", "f4", (), (), 7),
        "none": tensor("0", "f4", (2, 0), (1, 1)),
    }
    write_zip(tmp_path / "w.pth", pickled(items), {"0": data})
    found = read_state_dict(tmp_path / "w.pth")
    np.testing.assert_array_equal(found["transposed"], data.reshape(3, 4).T)
    np.testing.assert_array_equal(found["part"], [[5, 6], [9, 10]])
    assert found["scalar"] == 7 and found["none"].shape == (2, 0)


def test_dtypes(tmp_path):
    values = np.array([0.5, -3, 1e4])
    arrays = {dtype: values.astype(f"<{dtype}") for dtype in ("f8", "f4", "f2", "i8")}
    bfloat16 = (values.astype("<f4").view("<u4") >> 16).astype("<u2")
    items = {dtype: tensor(dtype, dtype, (3,)) for dtype in (*arrays, "bf16")}
    write_zip(tmp_path / "w.pth", pickled(items), arrays | {"bf16": bfloat16})
    found = read_state_dict(tmp_path / "w.pth")
    for dtype, array in arrays.items():
        np.testing.assert_array_equal(found[dtype], array)
        assert found[dtype].dtype == np.dtype(dtype)
    np.testing.assert_allclose(found["bf16"], values, rtol=2**-8)


def test_big_endian_archives(tmp_path):
    data = np.array([1, 2.5], ">f4")
    extra = [("archive/byteorder", b"big")]
    write_zip(tmp_path / "w.pth", pickled({"w": tensor("0", "f4", (2,))}), {"0": data}, extra=extra)
    np.testing.assert_array_equal(read_state_dict(tmp_path / "w.pth")["w"], [1, 2.5])


def test_checkpoints_that_wrap_a_state_dict(tmp_path):
    inner = pickled({"w": tensor("0", "f4", (2,))})[2:-1]
    write_zip(tmp_path / "w.pth", pickled({"epoch": integer(3), "state_dict": inner}), {"0": np.zeros(2, "<f4")})
    assert list(read_state_dict(tmp_path / "w.pth")) == ["w"]


@pytest.mark.parametrize("wrapper", ["model_state_dict", "net", "model", "ema", "anything"])
@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoints_with_an_optimisers_tensors(tmp_path, wrapper, legacy):
    def dictionary(**items):
        return pickled({key: value for key, value in items.items()})[2:-1]

    momentum = dictionary(exp_avg=tensor("1", "f8", (3,), legacy=legacy))
    items = {
        "epoch": integer(3),
        "optimizer": dictionary(state=dictionary(first=momentum)),
        wrapper: dictionary(w=tensor("0", "f4", (2,), legacy=legacy)),
    }
    storages = {"1": np.ones(3, "<f8"), "0": np.array([1, 2], "<f4")}
    (write_legacy if legacy else write_zip)(tmp_path / "w.pth", pickled(items), storages)
    found = read_state_dict(tmp_path / "w.pth")
    assert list(found) == ["w"] and found["w"].tolist() == [1, 2]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "taken, left, deeper",
    [
        ("model", "ema", False),
        ("state_dict", "state_dict_ema", False),
        ("model_ema", "ema_of_my_own", False),
        ("model", "ema", True),
    ],
)
def test_of_trained_and_averaged_weights_it_is_said_which(tmp_path, taken, left, deeper, legacy):
    def dictionary(**items):
        return pickled(items)[2:-1]

    averaged = dictionary(w=tensor("1", "f4", (2,), legacy=legacy))
    optimiser = dictionary(state=dictionary(first=dictionary(exp_avg=tensor("2", "f4", (2,), legacy=legacy))))
    items = {left: dictionary(module=averaged) if deeper else averaged, "optimizer": optimiser, "epoch": integer(3)}
    items[taken] = dictionary(w=tensor("0", "f4", (2,), legacy=legacy))
    storages = {"1": np.ones(2, "<f4"), "2": np.ones(2, "<f4"), "0": np.array([1, 2], "<f4")}
    (write_legacy if legacy else write_zip)(tmp_path / "w.pth", pickled(items), storages)
    found, note = read_checkpoint(tmp_path / "w.pth")
    assert found["w"].tolist() == [1, 2] and note == f"weights of its '{taken}' taken, those of '{left}' left"


def test_a_conversion_says_which_weights_it_took(tmp_path):
    arrays = models.build("squeezenet1_1", seed=0, labels=["cat", "dog"]).state_dict()

    def dictionary(number):
        tensors = {key: tensor(f"{number}{key}", "f4", array.shape) for key, array in arrays.items()}
        return pickled(tensors)[2:-1]

    storages = {f"{number}{key}": array + np.float32(number) for number in (0, 1) for key, array in arrays.items()}
    write_zip(tmp_path / "w.pth", pickled({"ema": dictionary(1), "model": dictionary(0)}), storages)
    model, told = convert(tmp_path / "w.pth"), "weights of its 'model' taken, those of 'ema' left"
    np.testing.assert_array_equal(model["conv1"].weight.numpy(), arrays["conv1.weight"])
    assert told in model.provenance["conversion"] and told in info(tmp_path / "w.pth")[0]


def test_texts_of_python_2(tmp_path):
    made = b"\x80\x02" + ORDERED_DICT + b"U\x01w" + tensor("0", "f4", (2,)) + b"s."
    write_zip(tmp_path / "w.pth", made, {"0": np.array([1, 2], "<f4")})
    assert read_state_dict(tmp_path / "w.pth")["w"].tolist() == [1, 2]


def test_expanded_tensors_take_no_memory(tmp_path):
    made = pickled({"w": tensor("0", "f4", (1000, 3), (0, 1), numel=3)})
    write_zip(tmp_path / "w.pth", made, {"0": np.array([1, 2, 3], "<f4")})
    found = read_state_dict(tmp_path / "w.pth")["w"]
    assert found.shape == (1000, 3) and found.strides == (0, 4) and found[999].tolist() == [1, 2, 3]


def test_numbers_of_numpy_and_options_beside_the_weights_are_left_out(tmp_path):
    scalar = name("numpy.core.multiarray", "scalar") + group(name("numpy", "dtype") + group(text("f8")) + b"R") + b"R"
    options = name("argparse", "Namespace") + b")\x81}" + text("lr") + integer(1) + b"sb"
    weights = pickled({"w": tensor("0", "f4", (2,))})[2:-1]
    made = pickled({"best": scalar, "args": options, "state_dict": weights})
    write_zip(tmp_path / "w.pth", made, {"0": np.zeros(2, "<f4")})
    assert list(read_state_dict(tmp_path / "w.pth")) == ["w"]


# ----------------------------------------------------------------------------------------------------------------------
# Against torch
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_writes(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Linear(3, 2).half(),
        torch.nn.Linear(2, 2).bfloat16(),
    )
    state = network.state_dict()
    state["view"] = state["0.weight"].permute(1, 0, 2, 3)[1:]
    state["parameter"] = torch.nn.Parameter(torch.ones(2, 3))
    state["count"] = torch.arange(6)[2:5]
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = read_state_dict(tmp_path / "w.pth")
    assert list(found) == list(state)
    for key, value in state.items():
        value = value.detach()
        np.testing.assert_array_equal(found[key], (value.float() if value.dtype == torch.bfloat16 else value).numpy())


@pytest.mark.torch
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_programs_checkpoint(tmp_path, protocol, zipped):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    network.register_buffer("expanded", torch.arange(3.0)[:, None].expand(3, 5))
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3, 8, 8)).sum().backward()
    optimiser.step()
    made = {"epoch": 3, "optimizer": optimiser.state_dict(), "net": network.state_dict(), "best": np.float64(0.5)}
    made |= {"size": torch.Size([1, 2]), "args": argparse.Namespace(lr=0.1)}
    torch.save(made, tmp_path / "w.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = read_state_dict(tmp_path / "w.pth")
    assert list(found) == list(network.state_dict())
    for key, value in network.state_dict().items():
        np.testing.assert_array_equal(found[key], value.numpy())


@pytest.mark.torch
@pytest.mark.parametrize("how", ["script", "trace", "frozen"])
def test_torchscript_gives_its_weights(tmp_path, how):
    torch = pytest.importorskip("torch")
    inner = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), inner, torch.nn.ReLU()).eval()
    made = torch.jit.trace(network, torch.ones(1, 3, 8, 8)) if how == "trace" else torch.jit.script(network)
    if how == "frozen":
        torch.jit.freeze(made).save(tmp_path / "w.pt")
        return refused(tmp_path / "w.pt", "no state dict in it")
    made.save(tmp_path / "w.pt")
    found, wanted = read_state_dict(tmp_path / "w.pt"), network.state_dict()
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value.numpy())


@pytest.mark.torch
def test_a_part_of_torchscript_that_is_called_model_is_no_wrapper(tmp_path):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential()
    network.add_module("model", torch.nn.Conv2d(3, 4, 3))
    network.add_module("head", torch.nn.Conv2d(4, 2, 1))
    torch.jit.trace(network, torch.ones(1, 3, 8, 8)).save(tmp_path / "w.pt")
    assert set(read_state_dict(tmp_path / "w.pt")) == set(network.state_dict())


@pytest.mark.torch
def test_torch_reads_what_the_tests_write(tmp_path):
    torch = pytest.importorskip("torch")
    for legacy in (False, True):
        write_state_dict(tmp_path / "w.pth", STATE, legacy)
        found = torch.load(tmp_path / "w.pth", weights_only=True)
        assert all(np.array_equal(found[key].numpy(), array) for key, array in STATE.items())


@pytest.mark.torch
def test_whole_pickled_models_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "whole pickled model .*nn.modules.linear.Linear.*model.state_dict")


# ----------------------------------------------------------------------------------------------------------------------
# Malice
# ----------------------------------------------------------------------------------------------------------------------


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("container", ["zip", "legacy", "bare"])
def test_nothing_in_a_pickle_is_run(tmp_path, protocol, container):
    attack = pickle.dumps({"weight": Evil(tmp_path / "owned")}, protocol)
    if container == "zip":
        write_zip(tmp_path / "w.pth", attack, {})
    elif container == "legacy":
        write_legacy(tmp_path / "w.pth", attack, {})
    else:
        (tmp_path / "w.pth").write_bytes(attack)
    refused(tmp_path / "w.pth", "nothing in it was run|which no state dict needs")
    assert not (tmp_path / "owned").exists()
    pickle.loads(attack)  # the attack is a real one
    assert (tmp_path / "owned").is_dir()


@pytest.mark.parametrize(
    "instructions",
    [
        name("builtins", "eval") + group(text("1")) + b"R",
        name("torch._utils", "_rebuild_tensor_v2\x00"),
        name("collections", "OrderedDict.__init__"),
        text("os") + text("system") + b"\x93" + group(text("ls")) + b"R",
        b"\x82\x01",  # a registered extension
        b"(" + text("ls") + b"ios\nsystem\n",
    ],
)
def test_every_way_to_name_a_function(tmp_path, instructions):
    write_zip(tmp_path / "w.pth", pickled({"w": instructions}), {})
    refused(tmp_path / "w.pth", "was run|which no state dict needs")


def test_known_names_are_not_called_with_anything(tmp_path):
    for instructions, message in (
        (
            name("torch._utils", "_rebuild_tensor_v2") + group(text("x"), integer(0), b")", b")") + b"R",
            "Storage expected",
        ),
        (name("torch", "FloatStorage") + group(integer(3)) + b"R", "is not a function"),
        (text("x") + b")R", "Global expected"),
        (
            group(text("module"), name("torch", "FloatStorage"), text("0"), text("cpu"), integer(1)) + b"Q",
            "than a storage",
        ),
        (ORDERED_DICT + group() + text("v") + b"s", "expected, found tuple"),
    ):
        write_zip(tmp_path / "w.pth", pickled({"w": instructions}), {})
        refused(tmp_path / "w.pth", message)


def test_tensors_beyond_their_data(tmp_path):
    for made in (
        tensor("0", "f4", (5,), numel=4),
        tensor("0", "f4", (2, 2), (3, 1)),
        tensor("0", "f4", (2,), (1,), offset=3),
        tensor("0", "f4", (1 << 20, 1 << 20), (0, 0)),
        tensor("0", "f4", (2,), (-1,), offset=3),
        tensor("0", "f4", (-1,)),
        tensor("0", "f4", (2, 2), (1,)),
        tensor("0", "f4", (2,), (1,), offset=-1),
        tensor("0", "f4", (1 << 62, 1 << 62), (1, 1)),
    ):
        write_zip(tmp_path / "w.pth", pickled({"w": made}), {"0": np.zeros(4, "<f4")})
        refused(tmp_path / "w.pth", "beyond its data|cannot be")


def test_zip_bombs(tmp_path):
    made = pickled({"w": tensor("0", "f4", (1 << 22,))})
    write_zip(tmp_path / "w.pth", made, {"0": bytes(1 << 24)}, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "w.pth").stat().st_size < 100_000
    refused(tmp_path / "w.pth", "its weights are compressed")

    write_zip(tmp_path / "w.pth", made, {"0": bytes(1000)})
    content = bytearray((tmp_path / "w.pth").read_bytes())
    where = content.rindex(b"PK\x01\x02")  # the directory's entry of the storage: 1000 bytes become 2 GB
    content[where + 20 : where + 28] = struct.pack("<II", 2_000_000_000, 2_000_000_000)
    (tmp_path / "w.pth").write_bytes(content)
    refused(tmp_path / "w.pth", "larger than the file")


def test_endless_pickles_are_given_up(tmp_path):
    write_zip(tmp_path / "w.pth", b"\x80\x02" + b"}" * 1_200_000 + b".", {})
    refused(tmp_path / "w.pth", "absurdly long")


def test_deep_nesting_is_harmless(tmp_path):
    write_zip(tmp_path / "w.pth", b"\x80\x02)" + b"\x85" * 100_000 + b".", {})
    refused(tmp_path / "w.pth", "no state dict, but a tuple")


# ----------------------------------------------------------------------------------------------------------------------
# Damage
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "empty"),
        (b"\x80\x02", "damaged, or no .pth"),
        (b"hello", "damaged, or no .pth"),
        (pickle.dumps({"a": 1}, 2), "not one of torch's"),
        (b"PK\x03\x04 no archive", "damaged, or no .pth"),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    (tmp_path / "w.pth").write_bytes(content)
    refused(tmp_path / "w.pth", message)
    refused(tmp_path / "absent.pth", "there is no file")


def test_archives_without_a_state_dict(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme", "hello")
    refused(tmp_path / "w.pth", "it has no data.pkl")
    write_zip(tmp_path / "w.pth", pickled({"epoch": integer(1)}), {})
    refused(tmp_path / "w.pth", "no state dict in it")
    write_zip(tmp_path / "w.pth", pickled({"w": tensor("0", "f4", (1,))}), {})
    refused(tmp_path / "w.pth", "damaged")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_truncated_files(tmp_path, legacy, kept):
    write_state_dict(tmp_path / "w.pth", STATE, legacy)
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: int(kept * len(content))])
    refused(tmp_path / "w.pth", "damaged|cut short|empty")


def test_flipped_bits_in_the_data_are_noticed(tmp_path):
    write_state_dict(tmp_path / "w.pth", STATE)
    content = bytearray((tmp_path / "w.pth").read_bytes())
    content[content.index(STATE["a.weight"].tobytes()) + 5] ^= 1
    (tmp_path / "w.pth").write_bytes(content)
    refused(tmp_path / "w.pth", "CRC")


def test_legacy_files_of_another_byte_order(tmp_path):
    write_legacy(tmp_path / "w.pth", pickled({"w": tensor("0", "f4", (1,), legacy=True)}), {}, little_endian=False)
    refused(tmp_path / "w.pth", "big-endian")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The content of one valid file of each format."""
    path = tmp_path_factory.mktemp("torch") / "w.pth"
    contents = []
    for legacy in (False, True):
        write_state_dict(path, STATE, legacy)
        contents.append(path.read_bytes())
    return contents


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory, both, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.pth"
    content = bytearray(data.draw(st.sampled_from(both)))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = read_state_dict(path)
    except WeightsError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())


@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="needs ../shared/data/weights")
def test_a_real_legacy_file():
    found = read_state_dict(SHARED / "weights" / "vgg19_normalised_to_conv3_1.pth")
    assert {key: array.shape for key, array in found.items() if key.endswith("weight")} == {
        "0.weight": (3, 3, 1, 1), "2.weight": (64, 3, 3, 3), "5.weight": (64, 64, 3, 3), "9.weight": (128, 64, 3, 3),
        "12.weight": (128, 128, 3, 3), "16.weight": (256, 128, 3, 3),
    }  # fmt: skip
    np.testing.assert_allclose(found["0.bias"], [-103.939, -116.779, -123.68], rtol=1e-6)
