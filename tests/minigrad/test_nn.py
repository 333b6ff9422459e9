"""Modules, named layers, activations, and the table of layers."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn
from minigrad.tensor import Forgotten


@pytest.fixture
def network():
    rng = np.random.default_rng(0)
    branches = {"a": nn.Conv2d(4, 3, 1, rng=rng), "b": nn.Conv2d(4, 5, 3, padding=1, rng=rng)}
    fire = nn.Sequential({"squeeze": nn.Conv2d(6, 4, 1, rng=rng), "relu": nn.ReLU(), "expand": nn.Parallel(branches)})
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 6, 3, padding=1, rng=rng),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "fire2": fire,
            "gap": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc3": nn.Linear(8, 10, rng=rng),
        }
    )


@pytest.fixture
def image():
    return mg.Tensor(np.random.default_rng(1).random((2, 3, 8, 8), dtype=np.float32), requires_grad=True)


def test_layers_are_found_by_dotted_names(network):
    assert network["fire2.expand.b"].kernel_size == (3, 3)
    assert network.names()[3:8] == ["fire2.squeeze", "fire2.relu", "fire2.expand.a", "fire2.expand.b", "fire2.expand"]
    assert "fire2.relu" in network and "fire3" not in network
    with pytest.raises(ValueError, match="no layer 'fire3'; the layers are: conv1, relu1"):
        network["fire3"]


def test_activations_are_the_tensors_the_output_is_made_of(network, image):
    found = network.activations(image, ["fc3", "fire2.expand.b", "relu1", "fire2"])
    assert list(found) == ["fc3", "fire2.expand.b", "relu1", "fire2"]
    np.testing.assert_array_equal(found["fc3"].numpy(), network(image).numpy())
    np.testing.assert_array_equal(found["fire2"].numpy()[:, 3:], found["fire2.expand.b"].numpy())
    by_layer = mg.grad(found["fc3"].sum(), found["fire2.expand.b"])
    by_parent = mg.grad(found["fc3"].sum(), found["fire2"])
    np.testing.assert_array_equal(by_layer.numpy(), by_parent.numpy()[:, 3:])


def test_activations_stop_at_the_last_layer_named(network, image, monkeypatch):
    def never(self, x):
        raise AssertionError("a layer behind the last one named was computed")

    monkeypatch.setattr(nn.AdaptiveAvgPool2d, "forward", never)
    assert network.activations(image, ["pool1", "fire2.relu"])["fire2.relu"].shape == (2, 4, 4, 4)
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        network.activations(image, ["conv9"])


def test_parameters_buffers_and_freezing():
    layer = nn.BatchNorm2d(4)
    names = ["weight", "bias", "running_mean", "running_var"]
    assert [name for name, _ in layer.named_tensors()] == names
    assert [name for name, _ in layer.named_parameters()] == names[:2]
    assert layer.requires_grad_(False).parameters() == []
    assert len(layer.requires_grad_().parameters()) == 2


@pytest.mark.host("the arrays themselves are taken over")
def test_state_dict_round_trip_and_refusals(network):
    state = {name: array + 1 for name, array in network.state_dict().items()}
    network.load_state_dict(state)
    assert all(tensor.data is state[name] for name, tensor in network.named_tensors())

    broken = dict(state, **{"fc3.weight": np.zeros((10, 9), np.float32)})
    with pytest.raises(ValueError, match=r"fc3.weight has shape \(10, 9\), expected \(10, 8\)"):
        network.load_state_dict(broken)
    with pytest.raises(ValueError, match=r"missing \['fc3.bias'\], unexpected \['fc4.bias'\]"):
        network.load_state_dict({name.replace("fc3.bias", "fc4.bias"): array for name, array in state.items()})
    assert network["fc3"].weight.data is state["fc3.weight"]


def test_training_mode_reaches_inner_layers():
    rng = np.random.default_rng(0)
    model = nn.Sequential({"block": nn.Sequential({"norm": nn.BatchNorm2d(2), "drop": nn.Dropout(0.5, rng=rng)})})
    x = mg.Tensor(rng.standard_normal((8, 2, 4, 4)).astype(np.float32) + 3)
    assert not model.training and abs(model(x).numpy() - x.numpy()).max() < 1e-4  # running statistics 0 and 1
    trained = model.train()(x).numpy()
    assert 0.3 < (trained == 0).mean() < 0.7
    mean = model["block.norm"].running_mean.numpy()
    np.testing.assert_allclose(mean, 0.1 * x.numpy().mean((0, 2, 3)), rtol=1e-5)
    assert not model.eval()["block.drop"].training


def test_he_initialisation_has_its_variance_and_is_seeded():
    layer = nn.Conv2d(64, 128, 3, rng=np.random.default_rng(3))
    assert layer.weight.dtype == np.float32
    np.testing.assert_allclose(layer.weight.numpy().var(), 2 / (64 * 9), rtol=0.02)
    again = nn.Conv2d(64, 128, 3, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(layer.weight.numpy(), again.weight.numpy())
    assert not nn.Linear(4, 4).weight.numpy().any()


def test_sequential_refuses_what_is_no_layer_and_bad_names():
    with pytest.raises(TypeError, match="layer 'relu' is function"):
        nn.Sequential({"relu": F.relu})
    with pytest.raises(ValueError, match="must not be empty or hold a dot"):
        nn.Sequential({"a.b": nn.ReLU()})
    with pytest.raises(ValueError, match="groups 3 must divide"):
        nn.Conv2d(4, 6, 3, groups=3)


def test_table_of_layers(network):
    rows = {row.name: row for row in network.layers((3, 8, 8))}
    assert rows["conv1"].parameters == 6 * 3 * 9 + 6
    assert rows["conv1"].flops == 2 * 6 * 64 * 27 + 6 * 64
    assert rows["fire2.expand"].output_shape == (8, 4, 4)
    assert rows["fire2"].parameters == sum(rows[f"fire2.{n}"].parameters for n in ("squeeze", "expand.a", "expand.b"))
    assert rows["fire2"].flops == sum(rows[f"fire2.{n}"].flops for n in ("squeeze", "relu", "expand"))
    assert rows["fc3"].flops == 2 * 8 * 10 + 10
    assert sum(row.parameters for row in rows.values() if "." not in row.name) == sum(
        p.size for p in network.parameters()
    )


def test_same_padding_puts_the_field_around_the_unit():
    kernel = (3, 5)
    model = nn.Sequential({"conv": nn.Conv2d(1, 1, kernel, padding="same", dilation=(1, 2))})
    (row,) = model.layers((1, 9, 11))
    assert row.output_shape == (1, 9, 11)
    assert row.receptive_field.size == (3, 9) and row.receptive_field.offset == (-1, -4)
    with pytest.raises(ValueError, match=r"layers: give input_shape, \(C, H, W\) of one image"):
        model.layers()


def test_softmax_is_a_layer_and_a_module_without_forward_is_named():
    x = np.random.default_rng(0).standard_normal((4, 3))
    found = nn.Softmax(1)(mg.Tensor(x)).numpy()
    np.testing.assert_allclose(found, np.exp(x) / np.exp(x).sum(1, keepdims=True), rtol=1e-12)
    with pytest.raises(NotImplementedError, match="Module.forward"):
        nn.Module()(x)


@pytest.mark.parametrize("name", ["conv1", "pool1", "fire2.expand.b", "conv4"])
def test_receptive_field_is_where_the_gradient_lives(name):
    """With all weights positive, a unit's gradient fills its receptive field; at the edges some of it is padding."""
    rng = np.random.default_rng(0)
    branches = {"a": nn.Conv2d(4, 2, 1, rng=rng), "b": nn.Conv2d(4, 2, (3, 5), padding=(1, 2), dilation=2, rng=rng)}
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(1, 4, 3, stride=2, padding=1, rng=rng),
            "pool1": nn.AvgPool2d(3, 2),
            "fire2": nn.Sequential({"expand": nn.Parallel({"b": branches["b"]})}),
            "conv4": nn.Conv2d(2, 1, 2, rng=rng),
        }
    )
    for parameter in model.parameters():
        parameter.data = (abs(parameter.detach()) + 0.1).data
    x = mg.Tensor(np.ones((1, 1, 64, 64), np.float32), requires_grad=True)
    y = model.activations(x, [name])[name]
    field = next(row for row in model.layers((1, 64, 64)) if row.name == name).receptive_field
    for row, column in ((0, 0), (4, 3), (y.shape[2] - 1, y.shape[3] - 1)):
        touched = mg.grad(y[0, 0, row, column], x).numpy()[0, 0] != 0
        top, left, bottom, right = field.box(row, column, (64, 64))
        rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
        assert top <= rows[0] and left <= columns[0] and rows[-1] < bottom and columns[-1] < right
        if (bottom - top, right - left) == field.size:  # no part of it is padding
            assert (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1) == (top, left, bottom, right)
    inside = field.box(4, 3, (64, 64))
    assert (inside[2] - inside[0], inside[3] - inside[1]) == field.size


@pytest.mark.parametrize("pool", [{}, {"stride": 1}, {"ceil_mode": True}, {"padding": 1}, {"kernel_size": 3}], ids=str)
@pytest.mark.parametrize(
    ("shape", "channels"), [((2, 3, 47, 62), 16), ((1, 16, 61, 45), 32), ((3, 300, 20, 22), 96), ((16, 31, 25), 16)]
)
def test_pooling_in_the_same_pass_where_no_graph_is_recorded(shape, channels, pool, monkeypatch):
    """Direct, Winograd by tiles and by pieces, one image without a batch; an odd last row or column is left out."""
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(shape[-3], channels, 3, padding=1, rng=rng)
    conv.bias.data = rng.standard_normal(channels, np.float32)
    model = nn.Sequential({"conv": conv, "relu": nn.ReLU(), "pool": nn.MaxPool2d(**{"kernel_size": 2} | pool)})
    image = rng.standard_normal(shape, np.float32)
    recorded = model(mg.Tensor(image, requires_grad=True))
    assert isinstance(recorded.function, F.MaxPool2d) == (len(shape) == 4)

    together = []
    in_one = F.conv2d_relu_max_pool
    monkeypatch.setattr(F, "conv2d_relu_max_pool", lambda *a: together.append(1) or in_one(*a))
    with mg.no_grad():
        unrecorded = model(mg.Tensor(image))
    np.testing.assert_array_equal(unrecorded.numpy(), recorded.numpy())
    assert len(together) == (pool == {} and len(shape) == 4)


@pytest.mark.host("arrays and lists are the host's")
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("given", [np.asarray, np.ndarray.tolist], ids=["array", "list"])
def test_a_network_takes_what_can_become_a_tensor(given, frozen):
    rng = np.random.default_rng(0)
    model = nn.Sequential({"conv": nn.Conv2d(1, 2, 3, rng=rng), "relu": nn.ReLU(), "pool": nn.MaxPool2d(2)})
    model.requires_grad_(not frozen)
    image = rng.standard_normal((1, 1, 8, 8), np.float32)
    np.testing.assert_array_equal(model(given(image)).numpy(), model(mg.Tensor(image)).numpy())
    with mg.no_grad():
        np.testing.assert_array_equal(model(given(image)).numpy(), model(mg.Tensor(image)).numpy())


@pytest.mark.parametrize("shape", [(1, 16, 1, 60), (1, 16, 60, 1)])
def test_an_image_too_small_to_be_pooled(shape):
    model = nn.Sequential({"conv": nn.Conv2d(16, 16, 3, padding=1), "relu": nn.ReLU(), "pool": nn.MaxPool2d(2)})
    for requires_grad in (True, False):
        with pytest.raises(ValueError, match="max_pool2d: the output would have size"):
            model.requires_grad_(False)(mg.Tensor(np.ones(shape, np.float32), requires_grad=requires_grad))


@pytest.mark.parametrize("last", ["convolution", "batch norm"])
def test_a_layer_and_its_relu_in_one_pass_are_two_functions_to_whoever_looks(last):
    rng = np.random.default_rng(0)
    second = nn.Conv2d(16, 16, 3, padding=1, rng=rng) if last == "convolution" else nn.BatchNorm2d(16)
    layers = [nn.Conv2d(3, 16, 3, padding=1, rng=rng), second]
    for layer in layers:
        layer.bias.data = rng.standard_normal(16, np.float32)
    model = nn.Sequential({"conv1": layers[0], "relu1": nn.ReLU(), "second": second, "relu2": nn.ReLU()}).train()
    kind = {"convolution": F.Conv2d, "batch norm": F.BatchNorm}[last]
    image = mg.Tensor(rng.random((2, 3, 30, 30), np.float32), requires_grad=True)

    separate = image
    for layer in model:
        separate = model[layer](separate)
    fused = model(image)
    np.testing.assert_array_equal(fused.numpy(), separate.numpy())
    with mg.no_grad():
        np.testing.assert_array_equal(model(image).numpy(), separate.numpy())

    relu, relu_apart = fused.function, separate.function
    assert isinstance(relu, F.ReLU) and isinstance(relu.inputs[0].function, kind)
    before = relu.inputs[0]
    assert isinstance(before, Forgotten)
    assert before.shape == (2, 16, 30, 30) and before.dtype == np.float32 and before.ndim == 4
    assert before.size == 2 * 16 * 30 * 30 and before.device == image.device
    assert before.numpy().min() < 0
    np.testing.assert_array_equal(before.numpy(), relu_apart.inputs[0].numpy())
    kept, second.weight.data = second.weight.data, (3 * second.weight).data
    np.testing.assert_array_equal(before.numpy(), relu_apart.inputs[0].numpy())  # as the graph saw it
    second.weight.data = kept

    rules = {
        None: None,
        "guided": {F.ReLU: lambda relu, g: relu.vjp(F.relu(g))},
        "soft": {F.ReLU: lambda relu, g: g * F.sigmoid(relu.inputs[0])},  # sees what is below 0
        "output": {kind: lambda function, g: (function.vjp(g * function.output)[0], None, None)},
    }
    for rule in rules.values():
        one = mg.grad(fused.sum(), image, rules=rule)
        other = mg.grad(separate.sum(), image, rules=rule)
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    weights = [layer.weight for layer in layers]
    for one, other in zip(mg.grad(fused.sum(), weights), mg.grad(separate.sum(), weights), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("planar", [False, True], ids=["channels last", "one branch channels first"])
def test_branches_and_their_relu_in_one_pass_are_two_functions_to_whoever_looks(planar):
    rng = np.random.default_rng(0)
    branches = {"1x1": nn.Conv2d(16, 6, 1, rng=rng), "3x3": nn.Conv2d(16, 10, 3, padding=1, rng=rng)}
    if planar:
        branches["same"] = nn.Sequential({})
    model = nn.Sequential({"expand": nn.Parallel(branches), "relu": nn.ReLU()})
    image = mg.Tensor(rng.standard_normal((2, 16, 60, 61), np.float32), requires_grad=True)

    separate = F.relu(model["expand"](image))
    fused = model(image)
    np.testing.assert_array_equal(fused.numpy(), separate.numpy())
    with mg.no_grad():
        np.testing.assert_array_equal(model(image).numpy(), separate.numpy())
    before = fused.function.inputs[0]
    assert isinstance(fused.function, F.ReLU) and isinstance(before, Forgotten)
    np.testing.assert_array_equal(before.numpy(), separate.function.inputs[0].numpy())
    assert model(mg.Tensor(np.zeros((0, 16, 60, 61), np.float32))).shape == (0, *fused.shape[1:])
    for rule in (None, {F.ReLU: lambda relu, g: g * F.sigmoid(relu.inputs[0])}):
        one, other = (mg.grad(y.sum(), image, rules=rule).numpy() for y in (fused, separate))
        np.testing.assert_array_equal(one, other)
