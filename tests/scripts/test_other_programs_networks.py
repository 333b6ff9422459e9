"""Commands on another program's network: --model net.onnx and the like, with what its file does not say."""

import json

import numpy as np
import pytest

import models
from models.convert.safetensors_file import write_safetensors
from tests.models import test_keras_archive as keras
from tests.scripts.tiny import network
from viz.commands.command import find
from viz.commands.options import TOLD
from viz.commands.techniques import COMMANDS

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

ASKED = ("--preprocessing", "imagenet")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """The path of tiny.network() without its preprocessing as an ONNX file that leaves the size free; its labels'."""
    state, taken, nodes = network().state_dict(), "x", []
    ops = [
        *("conv1_1", "relu1_1", "pool1", "conv2_1", "relu2_1", "pool2", "conv3_1", "relu3_1", "conv4_1", "relu4_1"),
        *("conv5_1", "relu5_1", "gap", "flatten", "fc"),
    ]
    for name in ops:
        weights = [f"{name}.weight", f"{name}.bias"] if f"{name}.weight" in state else []
        op, given = {
            "conv": ("Conv", {"pads": [1] * 4}),
            "relu": ("Relu", {}),
            "pool": ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
            "gap": ("GlobalAveragePool", {}),
            "flat": ("Flatten", {}),
            "fc": ("Gemm", {"transB": 1}),
        }[name[:4] if name[:4] in ("conv", "relu", "pool", "flat") else name]
        nodes.append(helper.make_node(op, [taken, *weights], [name], name=name, **given))
        taken = name
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, "H", "W"))
    scores = helper.make_tensor_value_info("fc", TensorProto.FLOAT, None)
    arrays = [numpy_helper.from_array(array, key) for key, array in state.items()]
    made = helper.make_graph(nodes, "tiny", [image], [scores], arrays)
    folder = tmp_path_factory.mktemp("networks")
    content = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    (folder / "net.onnx").write_bytes(content)
    (folder / "classes.txt").write_text("a cat\na dog\na tiger\na zebra\n")
    return folder / "net.onnx", folder / "classes.txt"


def test_a_technique_on_an_onnx_file(script, net, photograph, tmp_path):
    model, labels = net
    code, said, wrong = script("grad_cam", photograph, "--model", model, *ASKED, "--input-size", 16, "--labels", labels)
    assert (code, wrong) == (0, "") and "a " in said
    record = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert record["target"]["name"] in ("a cat", "a dog", "a tiger", "a zebra")
    assert record["weights"]["source"] == "net.onnx" and "preprocessing as asked for" in record["weights"]["conversion"]
    wanted = network().replace(dict(network().children()) | {"preprocess": models.load(
        model, preprocessing="imagenet", size=16)["preprocess"]})  # fmt: skip
    image = np.load(next((tmp_path / "out").glob("*.npz")))["image"]
    assert wanted(image).numpy()[0].argmax() == record["target"]["index"]


def test_what_the_file_does_not_say_is_asked_for_in_one_sentence(script, net, photograph):
    code, said, wrong = script("saliency", photograph, "--model", net[0])
    assert (code, said) == (2, "") and wrong.count("\n") == 1
    assert f"nothing tells how pictures of {net[0]} are prepared: give preprocessing (--preprocessing), one of" in wrong
    assert all(name in wrong for name in ("imagenet (RGB", "unit (RGB", "rgb255", "half", "caffe (BGR"))
    code, _, wrong = script("saliency", photograph, "--model", net[0], *ASKED)
    assert code == 2 and "leaves the size of its pictures free: give size (--input-size), in pixels" in wrong
    code, _, wrong = script("saliency", photograph, "--model", net[0], "--preprocessing", "immagenet")
    assert code == 2 and "there is no preprocessing 'immagenet': choose from imagenet (RGB" in wrong
    code, _, wrong = script("saliency", photograph, *ASKED)
    assert code == 2 and "says its preprocessing itself: leave that out" in wrong
    code, _, wrong = script("saliency", photograph, "--model", net[0], *ASKED, "--input-size", 16, "--labels", "no.txt")
    assert code == 2 and "no.txt: No such file" in wrong


def test_one_of_several_outputs_is_named(script, net, photograph, tmp_path):
    model = onnx.load(net[0])
    model.graph.output.append(helper.make_tensor_value_info("flatten", TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "two.onnx")
    asked = ("--model", tmp_path / "two.onnx", *ASKED, "--input-size", 16)
    code, _, wrong = script("classify", photograph, *asked)
    assert code == 2 and "it has 2 outputs (fc, flatten): name one (output_name, --output-name)" in wrong
    code, _, wrong = script("classify", photograph, *asked, "--output-name", "none")
    assert code == 2 and "there is no output 'none': it has fc, flatten" in wrong
    assert script("grad_cam", photograph, *asked, "--output-name", "fc", "--input-name", "x", "--target", 1)[0] == 0
    record = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert record["target"]["index"] == 1


def test_size_stays_that_of_the_picture_where_one_is_made(script, net, tmp_path):
    asked = (*ASKED, "--input-size", 16, "--size", 20, "--steps", 1, "--target", 0)
    assert script("maximize", "--model", net[0], *asked)[0] == 0
    assert np.load(next((tmp_path / "out").glob("*.npz")))["result"].shape[2:] == (20, 20)


def test_keras_archives_and_weights_alone(script, photograph, tmp_path):
    keras.write(tmp_path / "net.keras")
    assert script("classify", photograph, "--model", tmp_path / "net.keras", "--preprocessing", "rgb255")[0] == 0
    known = models.build("squeezenet1_1", seed=1, labels=["cat", "dog"])
    write_safetensors(known, tmp_path / "net.safetensors")
    asked = ("--model", tmp_path / "net.safetensors", "--input-size", 64)
    code, _, note = script("classify", photograph, *asked)
    assert code == 0 and note.count("\n") == 1
    assert "recognised as squeezenet1_1" in note and "preprocessing torchvision as usual for safetensors" in note
    assert script("classify", photograph, *asked, *ASKED)[::2] == (0, "")
    assert script("classify", photograph, *asked, "--quiet")[::2] == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_takes_a_network_takes_any(name):
    found = find(COMMANDS[name][0]).options
    known = found._option_string_actions
    if "--model" in known:
        assert {f"--{option.replace('_', '-')}" for option in TOLD.values()} <= known.keys()
    written = {"--seed", "--out", "--quiet"} if name != "explore" else set()  # which writes no results
    assert {"--device", *written} <= known.keys()
