"""Files that hold the beginning of a network: recognised by their layers, and computing what they say."""

import numpy as np
import pytest
from scipy.signal import correlate2d

import minigrad as mg
from models import WeightsError
from models.convert import convert
from tests.models.layouts import narrow, scores
from tests.models.torch_format import write_state_dict

NORMALISED = {"2": (3, 4), "5": (4, 4), "9": (4, 5), "12": (5, 5), "16": (5, 6)}  # a narrow one


def normalised_vgg19(matrix):
    """The state dict of a narrow VGG19 up to conv3_1 whose first layer takes colours to `matrix` @ rgb + shift."""
    rng = np.random.default_rng(0)
    state = {"0.weight": np.asarray(matrix, np.float32)[:, :, None, None], "0.bias": np.float32([-100, -110, -120])}
    for key, (inputs, outputs) in NORMALISED.items():
        state[f"{key}.weight"] = rng.standard_normal((outputs, inputs, 3, 3)).astype(np.float32) / 10
        state[f"{key}.bias"] = rng.standard_normal(outputs).astype(np.float32)
    return state


def by_loops(state, image):
    """relu3_1 of one image (3,H,W): mirrored borders, 3x3 kernels, two maximum pools."""
    x = np.einsum("oc,chw->ohw", state["0.weight"][:, :, 0, 0], image) + state["0.bias"][:, None, None]
    for key in NORMALISED:
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="reflect")
        kernels = state[f"{key}.weight"].astype(np.float64)
        y = [sum(correlate2d(a, k, "valid") for a, k in zip(x, kernel, strict=True)) for kernel in kernels]
        x = np.maximum(np.stack(y) + state[f"{key}.bias"][:, None, None], 0)
        if key in ("5", "12"):
            c, h, w = x.shape
            x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(c, h // 2, 2, w // 2, 2).max((2, 4))
    return x


@pytest.mark.parametrize(("order", "matrix"), [("RGB", 255 * np.eye(3)), ("BGR", 255 * np.eye(3)[::-1])])
def test_the_normalised_vgg19(tmp_path, order, matrix):
    state = normalised_vgg19(matrix)
    write_state_dict(tmp_path / "w.pth", state)
    model = convert(tmp_path / "w.pth")
    assert model.name == "vgg19_normalised" and list(model)[-1] == "relu3_1"
    assert model["preprocess"].scale == 255 and model["preprocess"].channel_order == order
    image = np.random.default_rng(1).random((3, 22, 18))
    found = model(mg.Tensor(image[None].astype(np.float32))).numpy()[0]
    np.testing.assert_allclose(found, by_loops(state, image), rtol=1e-4, atol=1e-3)

    plain = convert(tmp_path / "w.pth", "vgg19_normalised", "none")
    assert plain["preprocess"].describe()["scale"] == 1 and "vgg19" in plain.name


def test_a_first_layer_that_mixes_colours_is_no_preprocessing(tmp_path):
    write_state_dict(tmp_path / "w.pth", normalised_vgg19(np.ones((3, 3))))
    with pytest.raises(WeightsError, match="it mixes colours"):
        convert(tmp_path / "w.pth")


def test_a_batch_normalised_vgg_is_folded(tmp_path):
    """As torchvision writes vgg16_bn: biases before the normalisations, which disappear into the convolutions."""
    rng = np.random.default_rng(3)
    model = narrow(seed=1, batch_norm=True)
    state, place = {}, 0
    for name, layer in model.children():
        if name == "preprocess":
            continue
        if name.startswith("conv"):
            bias = rng.standard_normal(layer.out_channels).astype(np.float32)
            state |= {f"features.{place}.weight": layer.weight.numpy(), f"features.{place}.bias": bias}
        if name.startswith("bn"):
            layer.running_var.data = rng.uniform(0.5, 2, layer.num_features).astype(np.float32)
            mean = rng.uniform(-1, 1, layer.num_features).astype(np.float32)
            tensors = {key: tensor.numpy() for key, tensor in layer.named_tensors()} | {"running_mean": mean}
            state |= {f"features.{place}.{key}": array for key, array in tensors.items()}
            # our convolution before it has no bias: what it would have added is taken off the mean
            layer.running_mean.data = mean - bias
        if name.startswith(("conv", "bn", "relu", "pool")):
            place += 1
        if name == "pool5":
            break
    for place, name in zip((0, 3, 6), ("fc6", "fc7", "fc8"), strict=True):
        tensors = {"weight": model[name].weight.numpy(), "bias": model[name].bias.numpy()}
        state |= {f"classifier.{place}.{key}": array for key, array in tensors.items()}
    write_state_dict(tmp_path / "vgg16_bn.pth", state)

    converted = convert(tmp_path / "vgg16_bn.pth", narrow(batch_norm=True), "caffe")
    assert "bn1_1" not in converted
    wanted = scores(model)
    np.testing.assert_allclose(scores(converted), wanted, atol=2e-5 * np.abs(wanted).max())
