"""Modules, named layers, activations, and the table of layers."""

import copy

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import kernels, nn


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
    with pytest.raises(ValueError, match="no layer 'fire3', did you mean"):
        network["fire3"]


def test_activations_are_the_tensors_the_output_is_made_of(network, image):
    found = network.activations(image, ["fc3", "fire2.expand.b", "relu1", "fire2"])
    assert list(found) == ["fc3", "fire2.expand.b", "relu1", "fire2"]
    np.testing.assert_allclose(found["fc3"].numpy(), network(image).numpy(), rtol=1e-5, atol=1e-6)
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


@pytest.fixture
def kernels_run(monkeypatch):
    """The names of the fused kernels that run, as they do."""
    run = []
    for name in ("conv2d_relu", "conv2d_relu_max_pool"):
        kernel = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, lambda *a, n=name, k=kernel, **named: run.append(n) or k(*a, **named))
    return run


@pytest.mark.parametrize("pool", [{}, {"stride": 1}, {"ceil_mode": True}, {"padding": 1}, {"kernel_size": 3}], ids=str)
@pytest.mark.parametrize(
    ("shape", "channels"), [((2, 3, 47, 62), 16), ((1, 16, 61, 45), 32), ((3, 300, 20, 22), 96), ((16, 31, 25), 16)]
)
def test_one_kernel_does_several_layers_where_no_graph_is_recorded(shape, channels, pool, kernels_run):
    """Direct, Winograd by tiles and by pieces, one image without a batch; an odd last row or column is left out."""
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(shape[-3], channels, 3, padding=1, rng=rng)
    conv.bias.data = rng.standard_normal(channels, np.float32)
    model = nn.Sequential({"conv": conv, "relu": nn.ReLU(), "pool": nn.MaxPool2d(**{"kernel_size": 2} | pool)})
    image = rng.standard_normal(shape, np.float32)
    recorded = model(mg.Tensor(image, requires_grad=True))
    assert isinstance(recorded.function, F.MaxPool2d) == (len(shape) == 4)
    assert kernels_run == []

    with mg.no_grad():
        unrecorded = model(mg.Tensor(image))
    np.testing.assert_allclose(unrecorded.numpy(), recorded.numpy(), rtol=1e-5, atol=1e-5)
    assert kernels_run == ([] if len(shape) == 3 else ["conv2d_relu_max_pool" if pool == {} else "conv2d_relu"])


@pytest.mark.parametrize("groups", [1, 16], ids=["full", "depthwise"])
def test_a_relu6_is_done_with_its_convolution_and_a_pool_after_them(groups, kernels_run):
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(16, 16, 3, padding=1, groups=groups, rng=rng)
    conv.bias.data = rng.standard_normal(16, np.float32)
    model = nn.Sequential({"conv": conv, "relu": nn.ReLU6(), "pool": nn.MaxPool2d(2)})
    image = 9 * rng.standard_normal((1, 16, 20, 20), np.float32)
    recorded = model(mg.Tensor(image, requires_grad=True))
    assert kernels_run == [] and recorded.max().item() == 6
    with mg.no_grad():
        unrecorded = model(mg.Tensor(image))
    np.testing.assert_allclose(unrecorded.numpy(), recorded.numpy(), rtol=1e-5, atol=1e-5)
    assert kernels_run == ["conv2d_relu"]


def test_what_somebody_asks_for_is_not_fused_and_the_rest_is(kernels_run):
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        {
            "block": nn.Sequential({"conv1": nn.Conv2d(3, 16, 3, padding=1, rng=rng), "relu1": nn.ReLU()}),
            "conv2": nn.Conv2d(16, 16, 3, padding=1, rng=rng),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
        }
    )
    image = rng.random((1, 3, 20, 20), np.float32)
    recorded = model.activations(mg.Tensor(image, requires_grad=True), model.names())
    assert kernels_run == []
    expected = {
        ("pool2",): ["conv2d_relu", "conv2d_relu_max_pool"],
        ("relu2",): ["conv2d_relu", "conv2d_relu"],
        ("conv2", "pool2"): ["conv2d_relu"],
        ("block.conv1", "pool2"): ["conv2d_relu_max_pool"],
        ("block",): ["conv2d_relu"],
        ("block.relu1", "block"): ["conv2d_relu"],
    }
    for names, kernels_expected in expected.items():
        with mg.no_grad():
            found = model.activations(mg.Tensor(image), names)
        assert kernels_run == kernels_expected, names
        kernels_run.clear()
        for name in names:
            np.testing.assert_allclose(found[name].numpy(), recorded[name].numpy(), rtol=1e-5, atol=1e-5)
    with mg.no_grad(), mg.detect_anomaly():
        model(mg.Tensor(image))
    assert kernels_run == []  # so that the layer which gave the first NaN can be named


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


class Block(nn.Module):
    """A residual block, written as one writes it: inner modules by attribute, arithmetic in forward."""

    def __init__(self, channels, rng):
        self.body = nn.Sequential(
            {
                "conv1": nn.Conv2d(channels, channels, 3, padding=1, rng=rng),
                "relu1": nn.ReLU(),
                "conv2": nn.Conv2d(channels, channels, 3, padding=1, rng=rng),
            }
        )
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.body(x) + x)


@pytest.fixture
def residual():
    rng = np.random.default_rng(0)
    stem = nn.Conv2d(1, 4, 3, stride=2, padding=1, rng=rng)
    head = {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return nn.Sequential({"stem": stem, "block1": Block(4, rng), "block2": Block(4, rng)} | head)


def test_a_forward_of_ones_own_is_seen_as_any_other(residual):
    """activations, layers() and receptive fields come from calls and from the graph, not from containers."""
    x = mg.Tensor(np.random.default_rng(1).random((1, 1, 32, 32), np.float32), requires_grad=True)
    found = residual.activations(x, ["block2", "block1.body.relu1", "block1", "stem"])
    stem, block1 = found["stem"], found["block1"]
    by_hand = F.relu(residual["block1.body"](stem) + stem)
    np.testing.assert_allclose(block1.numpy(), by_hand.numpy(), rtol=1e-5, atol=1e-6)
    assert found["block1.body.relu1"].shape == (1, 4, 16, 16)
    mg.grad(found["block2"].sum(), found["block1.body.relu1"])  # they are of one graph

    rows = {row.name: row for row in residual.layers((1, 32, 32))}
    inside = ["body.conv1", "body.relu1", "body.conv2", "body", "relu"]
    assert list(rows)[:7] == ["stem", *(f"block1.{name}" for name in inside), "block1"]
    assert rows["stem"].receptive_field.size == (3, 3)
    assert rows["block1"].receptive_field.size == rows["block1.body"].receptive_field.size == (11, 11)
    assert rows["block2"].receptive_field.size == (19, 19) and rows["block2"].receptive_field.stride == (2, 2)
    inner = sum(rows[f"block1.{name}"].flops for name in ("body", "relu"))
    assert rows["block1"].flops == inner + 4 * 16 * 16  # and the addition


def test_a_subclass_of_a_container_is_observed_by_its_own_forward():
    class Doubled(nn.Sequential):
        def forward(self, x):
            return super().forward(x) * 2.0

    model = nn.Sequential({"twice": Doubled({"relu": nn.ReLU(), "again": nn.ReLU()}), "last": nn.ReLU()})
    x = np.arange(-4, 4, dtype=np.float32).reshape(1, 2, 2, 2)
    found = model.activations(x, ["twice.again", "twice", "last"])
    np.testing.assert_array_equal(found["twice"].numpy(), 2 * found["twice.again"].numpy())
    np.testing.assert_array_equal(found["last"].numpy(), model(x).numpy())


def test_a_pass_ends_when_it_has_what_was_asked_for():
    class Guarded(nn.Module):
        def __init__(self):
            self.first, self.never = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            try:
                y = self.first(x)
            except Exception:  # what ends the pass is not to be stopped by this
                y = x
            raise AssertionError(f"the pass went on after {y}")

    x = np.ones((1, 1, 2, 2), np.float32)
    assert Guarded().activations(x, "first")["first"].shape == x.shape
    outer = nn.Sequential({"inner": Guarded(), "behind": nn.ReLU()})
    assert outer.activations(x, "inner.first")["inner.first"].shape == x.shape
    with mg.profile() as p:  # one observer is done, the other goes on
        outer.activations(x, "inner.first")
        nn.ReLU()(x)
    assert [operation.layer for operation in p.operations] == ["inner.first", ""]


def test_a_layer_that_did_not_run_or_serves_under_two_names():
    class Lazy(nn.Module):
        def __init__(self):
            self.used, self.unused = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.used(x)

    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 2, 2, 2)
    with pytest.raises(ValueError, match="layer 'unused' is there, but did not run"):
        Lazy().activations(x, ["unused"])
    shared = nn.LeakyReLU(0.5)
    model = nn.Sequential({"a": shared, "b": shared})
    found = model.activations(x, ["a", "b"])
    np.testing.assert_array_equal(found["a"].numpy(), np.where(x > 0, x, x / 2))
    np.testing.assert_array_equal(found["b"].numpy(), np.where(x > 0, x, x / 4))
    assert [row.name for row in model.layers((2, 2, 2))] == ["a", "b"]


def test_layers_leaves_a_network_in_training_as_it_was():
    model = nn.Sequential({"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "drop": nn.Dropout(0.5)}).train()
    before = model["norm"].running_mean.numpy().copy()
    assert len(model.layers((3, 8, 8))) == 3
    assert model.training and model["drop"].training
    np.testing.assert_array_equal(model["norm"].running_mean.numpy(), before)


@pytest.mark.host("CuPy's arrays have no such flag")
def test_frozen_parameters_are_read_only_until_they_are_not():
    model = nn.Sequential({"conv": nn.Conv2d(3, 4, 3), "block": nn.Sequential({"fc": nn.Linear(2, 2)})})
    arrays = list(model.state_dict().values())
    model.requires_grad_(False)
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1
    copied = copy.deepcopy(model)
    with pytest.raises(ValueError, match="read-only"):
        copied["conv"].weight.data[...] = 1
    model.load_state_dict({name: array + 1 for name, array in model.state_dict().items()})
    arrays[0][...] = 1  # replaced: it is its owner's again
    with pytest.raises(ValueError, match="read-only"):
        model["conv"].weight.data[...] = 1
    model.requires_grad_(True)["conv"].weight.data[...] = 1


def test_a_shared_layer_keeps_its_names_where_others_are_fused():
    rng, relu = np.random.default_rng(0), nn.ReLU()
    convs = [nn.Conv2d(2, 2, 3, padding=1, rng=rng) for _ in range(3)]
    layers = {"conv1": convs[0], "relu1": relu, "conv2": convs[1], "relu2": relu, "conv3": convs[2], "relu3": relu}
    model, x = nn.Sequential(layers), rng.random((1, 2, 8, 8), np.float32)
    recorded = model.activations(mg.Tensor(x, requires_grad=True), "relu2")["relu2"]
    with mg.no_grad():
        found = model.activations(mg.Tensor(x), "relu2")["relu2"]
    np.testing.assert_allclose(found.numpy(), recorded.numpy(), rtol=1e-5, atol=1e-6)


def test_a_layer_reached_around_its_containers_call_is_seen_all_the_same():
    class Around(nn.Module):
        def __init__(self):
            rng = np.random.default_rng(0)
            self.body = nn.Sequential({"conv": nn.Conv2d(2, 2, 3, padding=1, rng=rng), "relu": nn.ReLU()})

        def forward(self, x):
            return self.body.forward(x)

    model, x = Around(), np.random.default_rng(1).random((1, 2, 6, 6), np.float32)
    recorded = model.activations(mg.Tensor(x, requires_grad=True), "body.conv")["body.conv"]
    with mg.no_grad():
        found = model.activations(mg.Tensor(x), "body.conv")["body.conv"]
    np.testing.assert_allclose(found.numpy(), recorded.numpy(), rtol=1e-5, atol=1e-6)
    assert model.body.activations(mg.Tensor(x), []) == {}
