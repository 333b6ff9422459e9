"""Where things are computed: `device` everywhere, two GPUs, mixed devices refused by name, nothing moved unasked."""

import numpy as np
import pytest

import minigrad as mg
import models
import viz
from minigrad import functional as F
from minigrad import nn, optim, serialization
from models.training import Recipe
from viz.adversarial_training import AdversarialTrainer

X = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)


def on(device, array=X):
    return mg.Tensor(array).to(device)


def network(seed=0):
    rng = np.random.default_rng(seed)
    layers = {"conv": nn.Conv2d(3, 4, 3, padding=1, bias=False, rng=rng), "bn": nn.BatchNorm2d(4), "relu": nn.ReLU()}
    layers |= {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(4, 3, rng=rng)}
    return nn.Sequential(layers)


def test_names_of_devices(standin):
    x = mg.Tensor(X)
    assert x.to("cpu") is x and x.to("auto").device == x.to("cuda").device == "cuda:0"
    there = x.to("cuda:1")
    assert there.device == "cuda:1" and there.to("cuda:1") is there and there.to("cuda").device == "cuda:0"
    with standin.cuda.Device(1):
        assert x.to("cuda").device == "cuda:1" and there.to("auto") is there
    with pytest.raises(RuntimeError, match=r"'cuda:2' is not available: this machine has 2 GPU\(s\)"):
        x.to("cuda:2")
    with pytest.raises(ValueError, match="device is 'gpu'"):
        there.to("gpu")


CPU, FIRST, SECOND = "cpu", "cuda:0", "cuda:1"
MIXED = [
    (lambda: F.conv2d(on(FIRST), on(CPU, W)), "conv2d: x is on cuda:0, weight on cpu: move one with .to(device)"),
    (lambda: F.conv2d(on(FIRST), on(FIRST, W), np.ones(4, np.float32)), "conv2d: x is on cuda:0, bias on cpu"),
    (lambda: F.conv2d(on(FIRST), on(SECOND, W)), "conv2d: x is on cuda:0, weight on cuda:1"),
    (lambda: F.conv_transpose2d(X, on(SECOND, W[:3])), "conv_transpose2d: x is on cpu, weight on cuda:1"),
    (lambda: F.linear(on(CPU), on(FIRST, X[0, 0])), "linear: x is on cpu, weight on cuda:0"),
    (lambda: on(SECOND) @ X, "matmul: a is on cuda:1, b on cpu"),
    (lambda: X + on(FIRST), "add: a is on cpu, b on cuda:0"),
    (lambda: on(SECOND) * on(FIRST), "mul: a is on cuda:1, b on cuda:0"),
    (lambda: on(FIRST) > X, "gt: a is on cuda:0, b on cpu"),
    (lambda: F.where(X > 0, on(FIRST), 0.0), "where: condition is on cpu, a on cuda:0"),
    (lambda: F.clamp(on(FIRST), min=X), "is on c"),
    (lambda: F.cat([on(FIRST), on(CPU)]), "cat: tensors[0] is on cuda:0, tensors[1] on cpu"),
    (lambda: on(FIRST)[np.array([0, 1])], "getitem: x is on cuda:0, index on cpu"),
    (lambda: on(FIRST)[on(SECOND) > 0], "getitem: x is on cuda:0, index on cuda:1"),
    (lambda: F.cross_entropy(on(FIRST, X[0, 0]), np.zeros(8, int)), "cross_entropy: x is on cuda:0, target on cpu"),
    (lambda: F.mse_loss(on(FIRST), X), "mse_loss: a is on cuda:0, b on cpu"),
    (
        lambda: F.batch_norm(on(FIRST), mg.Tensor(np.zeros(3, np.float32)), on(FIRST, np.ones(3, np.float32))),
        "batch_norm: x is on cuda:0, running_mean on cpu",
    ),
    (
        lambda: F.max_unpool2d(on(FIRST), np.zeros(X.shape, int), 2),
        "max_unpool2d: x is on cuda:0, indices on cpu",
    ),
    (lambda: network().to(FIRST)(on(CPU)), "conv2d: x is on cpu, weight on cuda:0"),
]


@pytest.mark.parametrize(("call", "message"), MIXED, ids=lambda value: value if isinstance(value, str) else "")
def test_mixed_devices_are_refused_by_name(call, message, standin):
    with pytest.raises(TypeError) as refusal:
        call()
    assert message in str(refusal.value) and str(refusal.value).endswith("move one with .to(device)")


def test_a_gradient_on_another_gpu_than_the_current_one(standin):
    """Forward, backward and a second derivative on the second GPU, and numbers as the CPU's."""

    def gradients(device):
        x = mg.Tensor(on(device), requires_grad=True)
        w = mg.Tensor(on(device, W), requires_grad=True)
        y = F.max_pool2d(F.relu(F.conv2d(x, w, padding=1)), 2)
        first = mg.grad((y * y).sum(), x, create_graph=True)
        return y, first, mg.grad((first * first).sum(), w)

    for here, there in zip(gradients("cpu"), gradients("cuda:1"), strict=True):
        assert there.device == "cuda:1" and standin.cuda.Device().id == 0
        np.testing.assert_allclose(there.numpy(), here.numpy(), rtol=2e-4, atol=1e-3)


def test_modules_move_in_place_with_gradients_and_buffers(standin):
    model = network()
    weight = model["conv"].weight
    model(mg.Tensor(X)).sum().backward()
    assert model.to("cuda:1") is model and model["conv"].weight is weight and weight.requires_grad
    assert {tensor.device for _, tensor in model.named_tensors()} == {"cuda:1"}
    assert weight.grad.device == "cuda:1" and model["bn"].running_mean.device == "cuda:1"
    assert model(on("cuda:1")).device == "cuda:1"
    model.to("cpu")
    assert model(mg.Tensor(X)).device == weight.grad.device == "cpu"


def test_states_follow_their_module(standin, tmp_path):
    """A state dict read on one device goes to where the module is; a file is written from any."""
    model, other = network(0).to("cuda:1"), network(1)
    serialization.save(tmp_path / "state.h5", model.state_dict())
    other.load_state_dict(model.state_dict())
    assert other["fc"].weight.device == "cpu"
    again = network(2).to("cuda:0")
    again.load_state_dict(serialization.load(tmp_path / "state.h5"))
    assert again["fc"].weight.device == "cuda:0"
    for name, tensor in model.named_tensors():
        np.testing.assert_array_equal(dict(other.named_tensors())[name].numpy(), tensor.numpy())
        np.testing.assert_array_equal(dict(again.named_tensors())[name].numpy(), tensor.numpy())


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1, momentum=0.9), lambda p: optim.Adam(p, 0.1)])
def test_optimisers_follow_their_parameters(standin, make):
    def course(*devices):
        model = network().train()
        optimizer = make(model.parameters())
        for device in devices:
            model.to(device)
            optimizer.zero_grad()
            F.cross_entropy(model(on(device)), mg.Tensor([0, 2]).to(device)).backward()
            optimizer.step()
        arrays = [array for state in optimizer.state for array in state.values() if hasattr(array, "device")]
        assert arrays and all(array.device.id == 1 for array in arrays if device == "cuda:1")
        return {name: tensor.numpy() for name, tensor in model.named_tensors()}

    expected = course("cpu", "cpu", "cpu")
    for name, found in course("cpu", "cuda:0", "cuda:1").items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-3, atol=1e-4, err_msg=name)

    p = mg.Tensor(X, requires_grad=True)
    p.grad = on("cuda:1")
    with pytest.raises(TypeError, match=r"params\[0\] is on cpu, params\[0\].grad on cuda:1"):
        make([p]).step()


def test_lbfgs_answers_where_it_was_asked(standin):
    x, loss = optim.lbfgs(lambda t: ((t - 2.0) ** 2).sum(), on("cuda:1", np.zeros(4)))
    assert x.device == "cuda:1" and loss < 1e-12
    np.testing.assert_allclose(x.numpy(), 2)


def test_models_are_loaded_onto_a_device(standin):
    model = models.load("minivgg", device="cuda:1")
    assert {tensor.device for _, tensor in model.named_tensors()} == {"cuda:1"}
    image = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    found = viz.saliency(model, image, "zebra")
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, viz.saliency(model.to("cpu"), image, "zebra"), rtol=1e-2, atol=1e-6)


def test_adversarial_training_on_a_device(standin):
    rng = np.random.default_rng(0)
    pictures, labels = rng.integers(0, 256, (8, 12, 12, 3), dtype=np.uint8), rng.integers(0, 3, 8)
    recipe = Recipe(epochs=1, batch_size=4, sizes=(10,), lr=0.02)
    weights = {}
    for device in ("cpu", "cuda:1"):
        trainer = AdversarialTrainer(network(), pictures, labels, np.arange(8), recipe, device=device, attack_steps=1)
        list(trainer.steps())
        assert {tensor.device for _, tensor in trainer.model.named_tensors()} == {device}
        weights[device] = trainer.model["fc"].weight.numpy()
    np.testing.assert_allclose(weights["cuda:1"], weights["cpu"], rtol=1e-3, atol=1e-4)


def test_writing_into_a_device_array_that_a_graph_needs_is_not_noticed(standin):
    """CuPy's arrays cannot be made read-only (docs/gpu.md, Memory); replacing them is noticed as ever."""
    x = mg.Tensor(on("cuda"), requires_grad=True)
    y = (x * x).sum()
    x.data[...] = 1.0
    assert (mg.grad(y, x).numpy() == 2).all()
    x.data = (x.detach() * 2).data
    with pytest.raises(RuntimeError, match="replaced after the graph"):
        mg.grad(y, x)


def test_numpy_gets_a_tensor_of_a_gpu_only_when_asked(standin):
    x = on("cuda:1")
    for call in (lambda: np.asarray(x), lambda: np.array(x, copy=True), lambda: np.stack([x, x])):
        with pytest.raises(
            TypeError, match=r"this one is on cuda:1, NumPy's functions are on cpu: give them .numpy\(\)"
        ):
            call()
    np.testing.assert_array_equal(x.numpy(), X)
    assert "tensor(" in repr(x) and x[0, 0, 0].tolist() == X[0, 0, 0].tolist() and float(x.sum()) == x.sum().item()
