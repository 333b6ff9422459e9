"""Networks of full size from torch, by both of its exporters: the same scores and gradients, and viz on them."""

import numpy as np
import pytest

import viz
from models.convert.onnx_file import read_onnx
from tests.models.test_convert_onnx import assert_same, exported

pytest.importorskip("onnx")
pytest.importorskip("torch", reason="PyTorch is not installed (make verify installs it)")
pytestmark = pytest.mark.torch

SIDE = 64
NAMES = ("mobilenet_v2", "densenet121", "googlenet", "shufflenet_v2", "regnet_y_400mf", "convnext_tiny")


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("name", NAMES)
def test_scores_gradients_and_maps(name, dynamo):
    from tests.models.torch_full_size import FULL_SIZE
    from tests.models.torch_networks import lively

    build, parameters = FULL_SIZE[name]
    network = lively(build())
    assert sum(one.numel() for one in network.parameters()) == parameters
    model = read_onnx(exported(network, dynamo, side=SIDE), "unit")
    fields = {row.name: row.receptive_field for row in model.layers()}
    layer = viz.default_layer(model)
    assert fields[layer] is not None and fields[layer].size[0] >= SIDE
    heat = viz.grad_cam(
        model, np.random.default_rng(0).random((1, 3, SIDE, SIDE), dtype=np.float32), target=7, signed=True
    )
    assert heat.shape == (1, SIDE, SIDE) and np.abs(heat).max() > 0
    assert_same(model, network, 1e-9, side=SIDE)
