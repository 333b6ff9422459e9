"""Activations, norms and choices that ONNX writes with several operators: against its reference, and from torch."""

import io
import warnings

import numpy as np
import pytest

import minigrad as mg
import models
import viz

onnx = pytest.importorskip("onnx")
from models.convert.onnx_file import read_onnx  # noqa: E402
from tests.models.test_convert_onnx import INT, graph, node  # noqa: E402

HALF, ZERO = INT(np.float32(0.5), "half"), INT(np.float32(0), "zero")
ONES, PIXELS = INT(np.int64([1]), "ones"), INT(np.int64([1, 3, 8, 8]), "shape")
CASES = {  # of c, pictures of both signs
    "selu": ([node("Selu", "c")], []),
    "selu of its own": ([node("Selu", "c", alpha=2.0, gamma=3.0)], []),
    "celu": ([node("Celu", "c")], []),
    "celu of its own": ([node("Celu", "c", alpha=0.3)], []),
    "softsign": ([node("Softsign", "c")], []),
    "thresholded relu": ([node("ThresholdedRelu", "c", alpha=0.2)], []),
    "sign": ([node("Sign", "c")], []),
    "mean of three": ([node("Abs", "c", "a"), node("Mean", "c a x")], []),
    "mean of one": ([node("Mean", "c", "m"), node("Neg", "m")], []),
    "l1": ([node("ReduceL1", "c ones")], [ONES]),
    "l2": ([node("ReduceL2", "c ones", keepdims=0)], [ONES]),
    "squares": ([node("ReduceSumSquare", "c ones", noop_with_empty_axes=1)], [ONES]),
    "log of a sum": ([node("ReduceLogSum", "x ones")], [ONES]),
    "log of a sum of exponentials": ([node("ReduceLogSumExp", "c ones", keepdims=0)], [ONES]),
    "normalised": ([node("ReduceL2", "c ones", "n"), node("Clip", "n half", "m"), node("Expand", "m shape", "e"),
                    node("Div", "c e")], [ONES, HALF, PIXELS]),
    "a choice of values": ([node("Greater", "c zero", "p"), node("Where", "p c x")], [ZERO]),
    "a choice of a number": ([node("Less", "c half", "p"), node("Where", "p c half")], [HALF]),
    "a number first": ([node("LessOrEqual", "half c", "p"), node("Where", "p half c")], [HALF]),
    "numbers": ([node("GreaterOrEqual", "c zero", "p"), node("Where", "p half zero")], [HALF, ZERO]),
    "an array of one number": ([node("Less", "c x", "p"), node("Where", "p same c")],
                               [INT(np.full((1, 3, 8, 8), 2, np.float32), "same")]),
    "logic": ([node("Greater", "c zero", "p"), node("Less", "x half", "q"), node("And", "p q", "r"),
               node("Not", "q", "s"), node("Or", "r s", "t"), node("Where", "t c zero")], [ZERO, HALF]),
    "a mask": ([node("Greater", "c zero", "p"), node("Cast", "p", "m", to=1), node("Mul", "m c")], [ZERO]),
    "a mask of masks": ([node("Equal", "c c", "p"), node("Cast", "p", "q", to=9), node("Where", "q c zero")], [ZERO]),
}  # fmt: skip


def shifted(nodes, arrays, opset=19):
    return graph([node("Sub", "x half0", "c"), *nodes], [INT(np.float32(0.4), "half0"), *arrays], opset=opset)


@pytest.mark.parametrize("case", CASES)
def test_operators_against_onnx_own_reference(tmp_path, case):
    from onnx.reference import ReferenceEvaluator

    content = shifted(*CASES[case])
    images = np.random.default_rng(1).random((2, 3, 8, 8), dtype=np.float32)
    reference = ReferenceEvaluator(onnx.load_model_from_string(content))
    wanted = np.concatenate([reference.run(None, {"x": image[None]})[0] for image in images])
    models.save_weights(read_onnx(content, "unit"), tmp_path / "w.h5")
    found = models.load(tmp_path / "w.h5")(mg.Tensor(images)).numpy()
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("alpha", [1.0, 1.7])
def test_swish_of_opset_24(alpha):
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8))
    model = read_onnx(graph([node("Swish", "x", alpha=alpha)], opset=24), "unit")
    np.testing.assert_allclose(model(mg.Tensor(x)).numpy(), x / (1 + np.exp(-alpha * x)), rtol=1e-6)
    assert (mg.nn.SiLU in {type(model[name]) for name in model.names()}) == (alpha == 1)


def test_a_rectifier_by_a_choice_is_one():
    """Guided backpropagation finds it, as in a network of ours: it warns of none that is missing."""
    chosen = [node("Greater", "c zero", "p"), node("Where", "p c zero", "r")]
    content = shifted([*chosen, node("GlobalAveragePool", "r", "s"), node("Flatten", "s")], [ZERO])
    model = read_onnx(content, "unit")
    images = np.random.default_rng(1).random((1, 3, 8, 8), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert viz.guided_backprop(model, images, 0).any()


REFUSED = {
    "different constants": ([node("Greater", "c zero", "p"), node("Where", "p c w")],
                            [ZERO, INT(np.arange(8, dtype=np.float32), "w")], "array of different constants"),
    "a constant condition": ([node("Where", "w c x")], [INT(np.eye(8, dtype=bool), "w")], "condition is a constant"),
    "a spread choice": ([node("ReduceMax", "c ones", "m"), node("Greater", "m zero", "p"), node("Where", "p m w")],
                        [ZERO, ONES, INT(np.zeros((1, 3, 8, 8), np.float32), "w")], "spreads the others"),
    "of the picture": ([node("ReduceMax", "c ones", "m"), node("Cast", "m", to=9)], [ONES], "rounds to integers"),
    "more than one picture": ([node("Expand", "c shape")], [INT(np.int64([2, 3, 8, 8]), "shape")], "than one picture"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_choices_that_cannot_be_expressed_are_one_sentence(case):
    nodes, arrays, message = REFUSED[case]
    with pytest.raises(models.WeightsError, match=message):
        read_onnx(shifted(nodes, arrays), "unit")


# ---- from torch ------------------------------------------------------------------------------------------------------


def torch_cases():
    torch = pytest.importorskip("torch")
    nn, functional = torch.nn, torch.nn.functional
    names = "ELU SELU CELU Softplus Softsign Hardshrink Softshrink Tanhshrink LogSigmoid Mish Hardtanh"
    kinds = {name: getattr(nn, name)() for name in names.split()}
    return kinds | {
        "ELU of its own": nn.ELU(0.5),
        "Softplus of its own": nn.Softplus(2.0),
        "LocalResponseNorm": nn.LocalResponseNorm(3, alpha=0.5),
        "where": lambda x: torch.where(x > 0, x, 0.1 * x),
        "where of numbers": lambda x: torch.where(x < 0.2, 0.0, 1.0) + x,
        "zeros": lambda x: torch.where(x > x.mean((2, 3), keepdim=True), x, torch.zeros_like(x)),
        "mask": lambda x: (x > 0).float() * x,
        "logic": lambda x: torch.where((x > 0) & (x < 1) | ~(x > -1), x, x * x),
        "normalize": lambda x: functional.normalize(x, dim=1),
        "normalize by sums": lambda x: functional.normalize(x, p=1, dim=1),
        "logsumexp": lambda x: x * torch.logsumexp(x, 1, keepdim=True),
        "expand": lambda x: x.mean(1, keepdim=True).expand(-1, 6, -1, -1) * 3,
    }


@pytest.mark.torch
@pytest.mark.parametrize("dynamo", [False, True])
def test_functions_of_torch_by_both_exporters_and_back(dynamo):
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    images = np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)
    for name, function in torch_cases().items():

        class Network(torch.nn.Module):
            def __init__(self, function):
                super().__init__()
                self.conv, self.function = torch.nn.Conv2d(3, 6, 3, padding=1), function

            def forward(self, x):
                return self.function(self.conv(x) * 3 - 0.1)

        network, content = Network(function).eval(), io.BytesIO()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (torch.tensor(images[:1]),), content, dynamo=dynamo, verbose=False)
            wanted = network(torch.tensor(images)).numpy()
        model = read_onnx(content.getvalue(), "unit")
        with torch.no_grad():
            back = models.to_torch(model)(torch.tensor(images)).numpy()
        for found in (model(mg.Tensor(images)).numpy(), back):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.torch
def test_networks_with_local_response_normalisation_from_torch():
    torch = pytest.importorskip("torch")
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.LocalResponseNorm(5), torch.nn.Conv2d(8, 4, 3)]
    network = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    model = models.from_torch(network, 12, "unit")  # which compares the scores
    images = np.random.default_rng(0).random((2, 3, 12, 12), dtype=np.float32)
    relevance = viz.lrp(model, images, 1, rule="epsilon")
    assert np.isfinite(relevance).all() and relevance.any()


@pytest.mark.torch
def test_what_torch_cannot_export_is_a_sentence_and_nothing_else(capfd):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Threshold(0.1, -2.0))
    with pytest.raises(models.WeightsError, match="torch cannot export this Sequential .*threshold"):
        models.from_torch(network, 12, "unit")
    assert capfd.readouterr() == ("", "")
